"""How a call of `gw.raw` is checked and submitted, for all its verbs.

Model: an `Ask` is what the caller wants, unchecked. `submit_raw` checks it, makes or finds the
route (a route a method, path and kind of body), opens the files of its body and hands it to the
core; `raw_steps` is the generator of a whole answer, for the drivers of _steps.py. What may be
asked, what it costs and when it is free is told in _raw.py.

A body is `json` or an `Upload` (_upload.py), which is made last, so that no file is open when a
check fails, and closed as soon as the core has its own descriptors. With ELSEWHERE for a provider
the path is an absolute URL, which gets neither a key nor the headers of an account.

Errors: the typed ones, before anything is sent; later the call tells. Time: some ten microseconds
more than a chat call. Any thread.

    result = run(raw_steps(hub, plan, Ask("GET", "openai", "/v1/models", free=True)))
"""

from __future__ import annotations

from collections.abc import Callable, Generator, Mapping
from typing import TYPE_CHECKING, Any, NamedTuple

from sluiceway import _core
from sluiceway._failures import Writing, error_of
from sluiceway._frames import current_frame
from sluiceway._steps import free_by_cap, located
from sluiceway._told import read_as, reading_of
from sluiceway.config import nearest
from sluiceway.errors import (
    ConfigError,
    InvalidRequest,
    InvalidType,
    UnboundedOperation,
    UnknownModel,
)
from sluiceway.types import RawResult

if TYPE_CHECKING:
    from sluiceway._hub import Hub
    from sluiceway._upload import Upload
    from sluiceway.options import Plan
    from sluiceway.providers.registry import Provider

Headers = Mapping[str, str]
ELSEWHERE = "url"  # what a call to an absolute URL has in place of a provider


class Ask(NamedTuple):
    """What is asked of a provider. `upload` makes the body when the rest is found right."""

    method: str
    provider: str
    path: str  # or, with provider "url", an absolute URL
    json: Any = None
    headers: Headers | None = None
    free: bool = False
    upload: Callable[[], Upload | None] | None = None
    fields: Mapping[str, Any] | None = None  # of a form: may name the model
    extra: tuple[tuple[str, str], ...] = ()  # headers of ours
    byte_stream: bool = False


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


def raw_steps(hub: Hub, plan: Plan, ask: Ask) -> Generator[Any, Any, RawResult]:
    """One raw call with a whole answer; no fallback."""
    call, name = submit_raw(hub, plan, ask)
    yield call
    hub.ended()
    if not call.ok:
        raise error_of(call, name, ())
    return RawResult(call, name)


def submit_raw(hub: Hub, plan: Plan, ask: Ask) -> tuple[_core.Call, str]:
    """Submits it; the call and what it is called, "provider/model" or "provider"."""
    provider = _checked(hub, plan, ask)
    body = ask.json
    named = body if isinstance(body, dict) else ask.fields or {}
    model = named.get("model", "") if provider else ""
    model = model if isinstance(model, str) else ""
    name = f"{ask.provider}/{model}" if model else ask.provider
    submit = dict(plan.submit)
    submit.pop("cache_ttl_s", None)  # its key tells neither the method nor the path
    operation = provider.operation_at(ask.path) if provider else None
    if operation is not None and operation.counts:
        submit["other_units"] = operation.counted(named)
    headers = [*_headers(ask.headers or {}), *ask.extra]
    own_type = any(key.lower() == "content-type" for key, _ in headers)
    upload = ask.upload() if ask.upload else None
    try:
        if upload is not None:
            submit["parts"] = upload.parts
            if upload.content_type and not own_type:
                headers.append(("content-type", upload.content_type))
        if headers:
            submit["extra_headers"] = headers
        if ask.byte_stream:
            submit["byte_stream"] = True
        typed = upload is None and not own_type  # the route's "application/json" holds
        route = _route(hub, plan, provider, ask, model, typed, named)
        frame = current_frame(hub)
        with Writing(ask.provider, model):
            call = hub.engine.submit(
                route,
                body,
                scopes=frame.scopes,
                on_exceed=frame.wait,
                cap_nanousd=0 if ask.free else plan.max_cost_nanousd or 0,
                **submit,
            )
    finally:
        if upload is not None:
            upload.close()
    return call, name


def _checked(hub: Hub, plan: Plan, ask: Ask) -> Provider | None:
    """The provider; None for an absolute URL. Raises what is wrong with the rest, too."""
    provider = None
    if ask.provider != ELSEWHERE:
        provider = hub.registry.get(ask.provider)
        if provider is None:
            hint = nearest(ask.provider, hub.registry)
            raise UnknownModel(f"no provider {ask.provider!r}{hint}")
        if not ask.path.startswith("/") or ask.path.startswith("//"):
            raise InvalidRequest(f'the path {ask.path!r} does not start with one "/"')
    if "\n" in ask.path or "\r" in ask.path or " " in ask.path:
        raise InvalidRequest("the path has spaces or line ends; quote it first")
    if ask.json is not None and not isinstance(ask.json, dict | list | bytes):
        raise InvalidType(f"json is a {type(ask.json).__name__}, not a dict, a list or bytes")
    if ask.json is not None and ask.upload is not None:
        raise InvalidRequest("json goes neither with content nor with data and files")
    if plan.max_cost_nanousd is None and not ask.free:
        raise UnboundedOperation(
            f'what {ask.method} {ask.path} may cost is not known; state max_cost_usd="0.50", or'
            " free=True for an operation that costs nothing",
            provider=ask.provider,
        )
    if not plan.max_cost_nanousd and not ask.free:
        raise free_by_cap(f"what {ask.method} {ask.path} may cost", ask.provider)
    return provider


def _route(
    hub: Hub,
    plan: Plan,
    provider: Provider | None,
    ask: Ask,
    model: str,
    typed: bool,
    body: Mapping[str, Any],
) -> _core.Route:
    retry = plan.retry.key if plan.retry else None
    table = hub.price_table()  # in the key: a changed table makes other routes
    operation = provider.operation_at(ask.path) if provider else None
    dialect = operation.dialect if operation else None
    tier, manner = reading_of(provider, dialect, body) if provider else ("", "")
    key = (
        *(ask.provider, plan.account, retry, ask.method, ask.path, model, ask.free, typed, table),
        *(tier, manner),
    )
    if key in hub.raw_routes:
        return hub.raw_routes[key]
    if provider is None:
        spec: dict[str, Any] = {"provider": ELSEWHERE, "operation": "raw", "url": ask.path}
        origin = ask.path.split("/", 3)[2] if ask.path.count("/") >= 2 else ""
        spec["account"] = origin  # breakers by where it goes
    else:
        spec = hub.route_spec(provider, plan, model, "raw")
        base = hub.base_url(provider, plan.account) or provider.base_url
        spec["url"] = join_url(base, ask.path)
        spec["sheet"] = table.of(provider.id).get(model)
        spec["service_tier"] = tier
        spec["dialect"] = read_as((dialect or provider.dialect).core, manner)
        if not typed:
            spec["headers"] = [pair for pair in spec["headers"] if pair[0] != "content-type"]
    spec["method"] = ask.method
    spec["lenient"] = True  # an answer need not hold what the dialect looks for
    spec["free"] = ask.free
    spec["keep_headers"] = True
    try:
        return hub.raw_route(key, spec)
    except ConfigError as error:
        raise (located(error, hub, provider, plan) if provider else error) from None


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
