"""`gw.raw`: what we have not modelled, through the same pipeline.

Model: a method, a provider and a path. The call passes limits, breaker, budget and ledger like any
other. Its cost has no ceiling that we could know, so it needs `max_cost_usd` (which is reserved) or
`free=True` (an operation that costs nothing and may be executed twice, such as a poll). Where the
body names a model with a known price and the answer reports usage, the true cost is settled.

    gw.raw.post("openai", "/v1/embeddings", json={...}, max_cost_usd="0.01")
    gw.raw.get("openai", "/v1/models", free=True)

The path is joined to the provider's base URL; a leading part that both have, such as "/v1", counts
once. Errors are the same as for chat.
"""

from __future__ import annotations

from collections.abc import Generator, Mapping
from typing import TYPE_CHECKING, Any

from sluiceway import _core
from sluiceway._failures import error_of, unwritable
from sluiceway._frames import current_frame
from sluiceway._steps import run, run_async
from sluiceway.config import nearest
from sluiceway.errors import (
    InvalidRequest,
    InvalidType,
    SluicewayError,
    UnboundedOperation,
    UnknownModel,
)
from sluiceway.options import Money, Plan
from sluiceway.providers.dialects.encoding import words
from sluiceway.types import RawResult

if TYPE_CHECKING:
    from sluiceway._hub import Hub

Headers = Mapping[str, str]


def join_url(base_url: str, path: str) -> str:
    """`base_url` and `path` as one URL; an overlap of whole segments counts once."""
    base = base_url.rstrip("/")
    parts = path.lstrip("/").split("/")
    origin_end = base.find("/", base.find("://") + 3)
    prefix = base[origin_end + 1 :].split("/") if origin_end >= 0 else []
    for length in range(min(len(prefix), len(parts)), 0, -1):
        if prefix[-length:] == parts[:length]:
            parts = parts[length:]
            break
    return base + "/" + "/".join(parts)


def raw_steps(
    hub: Hub,
    plan: Plan,
    method: str,
    provider_id: str,
    path: str,
    body: Any,
    headers: Headers | None,
    free: bool,
) -> Generator[Any, Any, RawResult]:
    """One raw call; no fallback."""
    provider = hub.registry.get(provider_id)
    if provider is None:
        raise UnknownModel(f"no provider {provider_id!r}{nearest(provider_id, hub.registry)}")
    if not path.startswith("/") or path.startswith("//"):
        raise InvalidRequest(f'the path {path!r} does not start with one "/"')
    if "\n" in path or "\r" in path or " " in path:
        raise InvalidRequest("the path has spaces or line ends; quote it first")
    if body is not None and not isinstance(body, dict | list | bytes):
        raise InvalidType(f"json is a {type(body).__name__}, not a dict, a list or bytes")
    cap = plan.max_cost_nanousd
    if cap is None and not free:
        raise UnboundedOperation(
            f'what {method} {path} may cost is not known; state max_cost_usd="0.50", or free=True'
            " for an operation that costs nothing",
            provider=provider_id,
        )
    model = body.get("model", "") if isinstance(body, dict) else ""
    model = model if isinstance(model, str) else ""
    route = _route(hub, plan, provider, method, path, model, free)
    submit = dict(plan.submit)
    operation = provider.operation_at(path)
    if operation is not None and operation.counts:
        submit["other_units"] = operation.counted(body)
    if headers:
        submit["extra_headers"] = _headers(headers)
    frame = current_frame(hub)
    try:
        call = hub.engine.submit(
            route,
            body,
            scopes=frame.scopes,
            on_exceed=frame.wait,
            cap_nanousd=0 if cap is None else cap,
            **submit,
        )
    except SluicewayError:
        raise
    except (ValueError, TypeError, OverflowError) as error:
        raise unwritable(error, provider_id, model) from None
    yield call
    hub.ended()
    if not call.ok:
        raise error_of(call, f"{provider_id}/{model}" if model else provider_id, ())
    return RawResult(call, f"{provider_id}/{model}" if model else provider_id)


def _route(
    hub: Hub, plan: Plan, provider: Any, method: str, path: str, model: str, free: bool
) -> _core.Route:
    retry = plan.retry.key if plan.retry else None
    table = hub.price_table()  # in the key: a changed table makes other routes
    key = (provider.id, plan.account, retry, method, path, model, free, table)
    if key in hub.raw_routes:
        return hub.raw_routes[key]
    spec = hub.route_spec(provider, plan, model, "raw")
    spec["url"] = join_url(hub.base_url(provider, plan.account) or provider.base_url, path)
    spec["method"] = method
    spec["sheet"] = table.of(provider.id).get(model)
    operation = provider.operation_at(path)
    if operation is not None:
        spec["dialect"] = operation.dialect.core
    spec["lenient"] = True  # an answer need not hold what the dialect looks for
    spec["free"] = free
    spec["keep_headers"] = True
    return hub.raw_route(key, spec)


def _headers(headers: Mapping[Any, Any]) -> list[tuple[str, str]]:
    out = []
    for name, value in headers.items():
        if not isinstance(name, str) or not isinstance(value, str):
            raise InvalidType("headers is a dict of strs")
        if not (name.isascii() and name.isprintable() and value.isprintable()):
            raise InvalidRequest(
                "a header has a line end or another character that it cannot carry"
            )
        out.append((name, value))
    return out


class _Raw:
    __slots__ = ("_hub", "_plan")

    def __init__(self, hub: Hub, plan: Plan) -> None:
        self._hub = hub
        self._plan = plan

    def _steps(
        self,
        method: str,
        provider: str,
        path: str,
        json: Any,
        max_cost_usd: Money | None,
        free: bool,
        headers: Headers | None,
        options: dict[str, Any],
    ) -> Generator[Any, Any, RawResult]:
        for name in options:
            if name not in _OPTIONS:
                raise InvalidType(f"there is no option {name!r}{nearest(name, _OPTIONS)}")
        if max_cost_usd is not None:
            options["max_cost_usd"] = max_cost_usd
        plan = self._plan.with_options(options, self._hub.variants) if options else self._plan
        return raw_steps(self._hub, plan, method, provider, path, json, headers, free)


_OPTIONS = words(
    "timeout_s connect_timeout_s read_timeout_s tenant account idempotency_key priority retry"
)


class RawCalls(_Raw):
    """The blocking twin of `gw.raw`."""

    __slots__ = ()

    def request(
        self,
        method: str,
        provider: str,
        path: str,
        *,
        json: Any = None,
        max_cost_usd: Money | None = None,
        free: bool = False,
        headers: Headers | None = None,
        **options: Any,
    ) -> RawResult:
        """Any method. Options: timeouts, tenant, account, idempotency_key, priority, retry."""
        steps = self._steps(method, provider, path, json, max_cost_usd, free, headers, options)
        return run(steps)

    def get(self, provider: str, path: str, **options: Any) -> RawResult:
        """GET; most are `free=True`."""
        return self.request("GET", provider, path, **options)

    def post(self, provider: str, path: str, **options: Any) -> RawResult:
        """POST."""
        return self.request("POST", provider, path, **options)

    def put(self, provider: str, path: str, **options: Any) -> RawResult:
        """PUT."""
        return self.request("PUT", provider, path, **options)

    def patch(self, provider: str, path: str, **options: Any) -> RawResult:
        """PATCH."""
        return self.request("PATCH", provider, path, **options)

    def delete(self, provider: str, path: str, **options: Any) -> RawResult:
        """DELETE."""
        return self.request("DELETE", provider, path, **options)


class AsyncRawCalls(_Raw):
    """The asyncio twin of `gw.raw`."""

    __slots__ = ()

    async def request(
        self,
        method: str,
        provider: str,
        path: str,
        *,
        json: Any = None,
        max_cost_usd: Money | None = None,
        free: bool = False,
        headers: Headers | None = None,
        **options: Any,
    ) -> RawResult:
        """Any method. Options: timeouts, tenant, account, idempotency_key, priority, retry."""
        steps = self._steps(method, provider, path, json, max_cost_usd, free, headers, options)
        return await run_async(steps)

    async def get(self, provider: str, path: str, **options: Any) -> RawResult:
        """GET; most are `free=True`."""
        return await self.request("GET", provider, path, **options)

    async def post(self, provider: str, path: str, **options: Any) -> RawResult:
        """POST."""
        return await self.request("POST", provider, path, **options)

    async def put(self, provider: str, path: str, **options: Any) -> RawResult:
        """PUT."""
        return await self.request("PUT", provider, path, **options)

    async def patch(self, provider: str, path: str, **options: Any) -> RawResult:
        """PATCH."""
        return await self.request("PATCH", provider, path, **options)

    async def delete(self, provider: str, path: str, **options: Any) -> RawResult:
        """DELETE."""
        return await self.request("DELETE", provider, path, **options)
