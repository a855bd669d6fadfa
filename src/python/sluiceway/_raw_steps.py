"""How a call of `gw.raw` is checked and submitted, for all its verbs.

Model: an `Ask` is what the caller wants, unchecked. `submit_raw` checks it, makes or finds the
route (a route a method, path and kind of body), opens the files of its body and hands it to the
core; `raw_steps` is the generator of a whole answer, for the drivers of _steps.py. What may be
asked, what it costs and when it is free is told in _raw.py.

A body is `json` or an `Upload` (_upload.py), which is made last, so that no file is open when a
check fails, and closed as soon as the core has its own descriptors. With ELSEWHERE for a provider
the path is an absolute URL, which gets neither a key nor the headers of an account (_urls.py).

A header of the call replaces the one of the same name, in any case, that the account would send:
its key, its own headers, the provider's. A method is sent in upper case.

Errors: the typed ones, before anything is sent; later the call tells. Time: some ten microseconds
more than a chat call. Any thread.

    result = run(raw_steps(hub, plan, Ask("GET", "openai", "/v1/models", free=True)))
"""

from __future__ import annotations

from collections.abc import Callable, Generator, Mapping
from typing import TYPE_CHECKING, Any, NamedTuple

from sluiceway import _core
from sluiceway._accounts import header_names
from sluiceway._config_checks import TOKEN
from sluiceway._failures import Writing, error_of
from sluiceway._frames import current_frame
from sluiceway._steps import free_by_cap, located
from sluiceway._told import read_as, reading_of, region_of, tier_in, tiers_of
from sluiceway._urls import check_characters, check_url, join_url, reach_of, shown, wrong_url
from sluiceway.config import ELSEWHERE, nearest
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
ATTEMPT_HEADER = "sluiceway-attempt"


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
    reach: str = ""  # with an absolute URL: the provider whose account says how to get there


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
    headers = [*_headers(ask.headers), *ask.extra]
    names = {name.lower() for name, _ in headers}
    upload = ask.upload() if ask.upload else None
    try:
        if upload is not None:
            submit["parts"] = upload.parts
            if upload.content_type and "content-type" not in names:
                headers.append(("content-type", upload.content_type))
        if headers:
            submit["extra_headers"] = headers
        if ask.byte_stream:
            submit["byte_stream"] = True
        if upload is not None:
            names.add("content-type")  # in place of the route's "application/json"
        route = _route(hub, plan, provider, ask, model, names, named)
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
    check_line(ask)
    provider = None
    if ask.provider != ELSEWHERE or not ask.path.lower().startswith(("http://", "https://")):
        provider = provider_of(hub, ask.provider)
        if not ask.path.startswith("/") or ask.path.startswith("//"):
            raise InvalidRequest(
                f'the path {shown(ask.path)} does not start with one "/"; it is joined to the base'
                " URL of the provider"
            )
    else:
        check_url(ask.path)
    if not isinstance(ask.free, bool):
        raise InvalidType(f"free is a {type(ask.free).__name__}, not True or False")
    if ask.json is not None and not isinstance(ask.json, dict | list | bytes):
        raise InvalidType(f"json is a {type(ask.json).__name__}, not a dict, a list or bytes")
    if ask.json is not None and ask.upload is not None:
        raise InvalidRequest("json goes neither with content nor with data and files")
    if ask.method == "HEAD" and (ask.json is not None or ask.upload is not None):
        raise InvalidRequest(
            "a HEAD request has no body (RFC 9110, 9.3.2): leave json, content, data and files out"
        )
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
    names: set[str],
    body: Mapping[str, Any],
) -> _core.Route:
    retry = plan.retry.key if plan.retry else None
    table = hub.price_table()  # in the key: a changed table makes other routes
    operation = provider.operation_at(ask.path) if provider else None
    dialect = operation.dialect if operation else None
    tier, manner = reading_of(provider, dialect, body) if provider else ("", "")
    replaced: frozenset[str] = frozenset()  # of the headers that this account sends
    if provider is not None and names:
        replaced = header_names(hub, provider, plan.account) & names
    key = (
        *(ask.provider, ask.reach, plan.account, retry, ask.method, ask.path, model, ask.free),
        *(replaced, table, tier, manner),
    )
    if key in hub.raw_routes:
        return hub.raw_routes[key]
    base = ""
    if provider is None:
        spec: dict[str, Any] = {"provider": ELSEWHERE, "operation": "raw", "url": ask.path}
        reached = provider_of(hub, ask.reach) if ask.reach else None
        spec.update(reach_of(hub, reached, plan.account, ask.path))
        origin = ask.path.split("/", 3)[2] if ask.path.count("/") >= 2 else ""
        spec["account"] = origin  # breakers by where it goes
    else:
        spec = hub.route_spec(provider, plan, model, "raw", replaced)
        base = hub.base_url(provider, plan.account) or provider.base_url
        spec["url"] = join_url(base, ask.path)
        spec["own_key"] = any(name.lower() in replaced for name, _ in provider.auth_headers(""))
        spec["sheet"] = sheet = table.of(provider.id).get(model)
        region = region_of(provider, base, tiers_of(sheet, spec["plan"]))
        spec["service_tier"] = tier_in(region, tier)
        spec["dialect"] = read_as((dialect or provider.dialect).core, manner, region)
    spec["method"] = ask.method
    spec["lenient"] = True  # an answer need not hold what the dialect looks for
    spec["free"] = ask.free
    spec["keep_headers"] = True
    try:
        return hub.raw_route(key, spec)
    except ConfigError as error:
        if provider is None or not wrong_url(hub, base):
            if wrong := wrong_url(hub, spec["url"]):
                raise InvalidRequest(wrong) from None
            raise
        raise located(error, hub, provider, plan) from None


def provider_of(hub: Hub, name: object) -> Provider:
    """The provider of that name; InvalidType, UnknownModel."""
    if not isinstance(name, str):
        raise InvalidType(f"the provider is a {type(name).__name__}, not a str")
    provider = hub.registry.get(name)
    if provider is None:
        raise UnknownModel(f"no provider {name!r}{nearest(name, hub.registry)}")
    return provider


def check_line(ask: Ask) -> None:
    """InvalidType and InvalidRequest for a method and a path that cannot be sent."""
    if not isinstance(ask.method, str):
        raise InvalidType(f'the method is a {type(ask.method).__name__}, not a str such as "POST"')
    if not (ask.method and TOKEN.issuperset(ask.method)):
        raise InvalidRequest(
            f'{ask.method!r} is no method: letters, digits and "-" only, such as "POST"'
        )
    if ask.method == "CONNECT":
        raise InvalidRequest("CONNECT is for proxies; set the account's `proxy` for that")
    if not isinstance(ask.path, str):
        raise InvalidType(f"the path is a {type(ask.path).__name__}, not a str")
    check_characters(ask.path)


def _headers(headers: Mapping[Any, Any] | None) -> list[tuple[str, str]]:
    """The call's own headers, checked; the core checks the names and what frames the message."""
    if headers is None:
        return []
    if not isinstance(headers, Mapping):
        raise InvalidType(f"headers is a {type(headers).__name__}, not a dict of strs")
    out: dict[str, tuple[str, str]] = {}
    for name, value in headers.items():
        if not isinstance(name, str) or not isinstance(value, str):
            raise InvalidType("headers is a dict of strs")
        if not (name and TOKEN.issuperset(name)):
            raise InvalidRequest(f"{name!r} is no name of a header")
        if not value.replace("\t", " ").isprintable():
            raise InvalidRequest(
                f"the header {name!r} has a line end or another character that it cannot carry"
            )
        if name.lower() in out:
            raise InvalidRequest(f"the header {name!r} is given twice: names have no case")
        if name.lower() == ATTEMPT_HEADER:
            raise InvalidRequest(f"the header {ATTEMPT_HEADER!r} is set by the engine")
        out[name.lower()] = (name, value)
    return list(out.values())
