"""The parts of a call: encode, check the price, submit. What follows a failed hop is in _hops.py.

Model: steps are a generator that yields each `_core.Call` that it submits; a driver waits for it in
its own way (blocking, or on asyncio) and resumes the generator. The verbs of the gateway submit
with `start` and wait by themselves where there is no chain: that is the hot path.

`run` and `run_async` are the two drivers. Time here: a few microseconds a call.
"""

from __future__ import annotations

from collections.abc import Generator
from typing import TYPE_CHECKING, Any, TypeVar

from sluiceway import _aio, _core
from sluiceway._failures import Writing, dollars, unbounded, unwritable
from sluiceway._frames import current_frame
from sluiceway._told import route_of
from sluiceway.errors import ConfigError, InvalidRequest, SluicewayError
from sluiceway.money import usd_of
from sluiceway.providers.dialects.encoding import Encoded

if TYPE_CHECKING:
    from sluiceway._hub import Hub
    from sluiceway._target import Target
    from sluiceway.options import Plan
    from sluiceway.providers.registry import Provider

R = TypeVar("R")

_MARKER = "\x1aprompt\x1a"  # stands for a text prompt in a request; ASCII, as those are
# What of `Plan.submit` is the same for every call of a plan.
_SHARED = {
    "timeout_s",
    "pool_timeout_s",
    "connect_timeout_s",
    "read_timeout_s",
    "write_timeout_s",
    "tenant",
    "priority",
}


def run(steps: Generator[Any, Any, R]) -> R:
    """Drives steps by blocking waits (without the GIL; Ctrl-C cancels the call)."""
    try:
        call = next(steps)
        while True:
            call.wait()
            call = steps.send(None)
    except StopIteration as stop:
        return stop.value  # type: ignore[no-any-return]


async def run_async(steps: Generator[Any, Any, R]) -> R:
    """Drives steps on the running loop; cancelling the task cancels the call."""
    if _aio.running_loop() is None:
        _aio.check_host()
    try:
        call = next(steps)
        while True:
            await call
            call = steps.send(None)
    except StopIteration as stop:
        return stop.value  # type: ignore[no-any-return]


def start(hub: Hub, plan: Plan, target: Target, prompt: Any, stream: bool) -> _core.Call:
    """Submits a call without fallbacks. What its failure leads to is in `failed`.

    The two verbs call this and wait by themselves: most calls succeed, and a generator that says so
    costs a third of what Python does for a call.
    """
    frame = hub.frame.get() or hub.root
    if is_plain(prompt) and frame is not None and not frame.on_exceed:
        ready = ready_for(hub, plan, target, stream)
        if ready:
            return start_ready(hub, target, ready, prompt, frame.scopes)
    encoded = target.encode(target.facts, prompt, plan.body, stream)
    return start_encoded(hub, plan, target, encoded, stream)


def is_plain(prompt: Any) -> bool:
    """Whether all but the prompt's own text is the same as for any other such prompt."""
    return prompt.__class__ is str and prompt.isascii() and prompt != ""


def start_ready(
    hub: Hub, target: Target, ready: _core.Ready, prompt: str | bytes, scopes: Any
) -> _core.Call:
    """Submits a text prompt, or the body that `ready` made of one."""
    try:
        return hub.engine.submit_ready(ready, prompt, scopes)
    except SluicewayError:
        raise
    except (ValueError, TypeError, OverflowError) as error:
        raise unwritable(error, target.provider.id, target.facts.model) from None


def ready_for(
    hub: Hub, plan: Plan, target: Target, stream: bool, at_once: bool = False
) -> _core.Ready | None:
    """The request of this plan and model that lacks nothing but a text prompt; None if there is no
    such thing. A plan that was made for one call has no second: unless `at_once`, it is made then.
    """
    known = plan.ready[stream].get(target.name)
    if known is not None and known[0] is target:
        return known[1]
    if plan.prepared is None and not at_once:
        return None
    ready = _make_ready(hub, plan, target, stream)
    plan.ready[stream][target.name] = (target, ready)
    return ready


def _make_ready(hub: Hub, plan: Plan, target: Target, stream: bool) -> _core.Ready | None:
    if plan.max_cost_nanousd is not None or plan.count_tokens or not target.priced:
        return None
    # What an object of the caller's says may be another thing tomorrow; these cannot change.
    if not plan.submit.keys() <= _SHARED or not all(
        isinstance(value, str | int | float) for value in plan.body.values()
    ):
        return None
    encoded = target.encode(target.facts, _MARKER, plan.body, stream)
    if encoded.service_tier or encoded.unbounded:
        return None
    try:
        return _core.Ready(
            _route(hub, plan, target, ""),
            encoded.body,
            _MARKER,
            max_output_tokens=encoded.max_output_tokens,
            prompt_allowance=encoded.prompt_allowance,
            reachable_buckets=encoded.reachable_buckets,
            stream=stream,
            **plan.submit,
        )
    except ValueError:
        return None  # another text of the body is the marker's


def start_encoded(
    hub: Hub, plan: Plan, target: Target, encoded: Encoded, stream: bool
) -> _core.Call:
    """`start` for a request that is encoded already."""
    body, maximum, allowance, buckets, tier, unbounded_by = encoded
    frame = hub.frame.get() or hub.root
    if (
        tier
        or unbounded_by
        or not target.priced
        or target.route is None
        or plan.max_cost_nanousd is not None
        or plan.count_tokens
        or frame is None
        or frame.on_exceed
    ):
        cap = checked(target, encoded, plan, hub)
        return submit(hub, plan, target, encoded, cap, stream, plan.submit)
    prepared = plan.prepared
    if prepared is None:
        prepared = plan.prepared = _core.Prepared(**plan.submit)
    try:
        if stream:
            return hub.engine.submit(
                target.route, body, prepared, frame.scopes, maximum, allowance, buckets, stream=True
            )
        return hub.engine.submit(
            target.route, body, prepared, frame.scopes, maximum, allowance, buckets
        )
    except SluicewayError:
        raise
    except (ValueError, TypeError, OverflowError) as error:
        raise unwritable(error, target.provider.id, target.facts.model) from None


def checked(target: Target, encoded: Encoded, plan: Plan, hub: Hub) -> int:
    """Refuses what has no price or no bound; the cap to reserve instead of a ceiling, or -1.

    A cap of 0 reserves nothing, so it lets through only what is bounded, priced and free.
    """
    cap = plan.max_cost_nanousd
    if cap is None:
        if encoded[4] or not target.priced:
            target.check_price(encoded[4])
        if encoded[5]:
            raise unbounded(encoded[5], target.provider.id, target.facts.model)
        return -1
    if encoded[5] or not target.has_price(encoded[4]):
        if not cap:
            raise free_by_cap(f"what {target.name} costs here", target.provider.id)
        return cap
    # Bounded and priced: the ceiling is true by itself, and the cap is a promise to keep.
    quote = price(hub, plan, target, encoded)
    if quote["ceiling"] > cap:
        raise InvalidRequest(
            f"this call may cost up to {dollars(usd_of(quote['ceiling']))}, more than"
            f" max_cost_usd={dollars(usd_of(cap))}; lower max_output_tokens (now {encoded[1]}) or"
            " shorten the prompt",
            provider=target.provider.id,
            model=target.facts.model,
        )
    return -1


def free_by_cap(what: str, provider: str) -> InvalidRequest:
    """The error for a cap of 0 on what is not known to be free: it would count as nothing."""
    return InvalidRequest(
        f'max_cost_usd="0" where {what} is not known: state a cap above 0; what costs nothing is'
        " called with free=True (gw.raw)",
        provider=provider,
    )


def located(error: ConfigError, hub: Hub, provider: Provider, plan: Plan) -> ConfigError:
    """The error of a route that cannot be made; where it is the URL, with where that was set."""
    from sluiceway._accounts import said_by

    if "URL" not in str(error):
        return error
    return ConfigError(said_by(hub, str(error), provider, plan.account), provider=provider.id)


def _route(hub: Hub, plan: Plan, target: Target, tier: str) -> _core.Route:
    try:
        return target.route_for(tier, hub.engine)
    except ConfigError as error:
        raise located(error, hub, target.provider, plan) from None


def price(
    hub: Hub,
    plan: Plan,
    target: Target,
    encoded: Encoded,
    *,
    within_s: float | None = None,
    **guesses: int,
) -> dict[str, Any]:
    """The core's quote for a request; `guesses` are the expected counts. Sends nothing.

    The prices of every hour until the call's deadline count, or of the next `within_s` seconds.
    """
    with Writing(target.provider.id, target.facts.model):
        quote: dict[str, Any] = hub.engine.quote(
            _route(hub, plan, target, encoded.service_tier),
            encoded.body,
            max_output_tokens=encoded.max_output_tokens,
            prompt_allowance=encoded.prompt_allowance,
            reachable_buckets=encoded.reachable_buckets,
            timeout_s=plan.submit["timeout_s"] if within_s is None else within_s,
            **counted(plan, target, encoded),
            **guesses,
        )
        return quote


def counted(plan: Plan, target: Target, encoded: Encoded) -> dict[str, int]:
    """The tokenizer's bound on the prompt, where it was asked for and is proven; else nothing."""
    if not plan.count_tokens:
        return {}
    from sluiceway.tokenizers import prompt_bound

    bound = prompt_bound(target.provider.id, target.facts.model, encoded)
    return {} if bound is None else {"prompt_tokens_max": bound}


def submit(
    hub: Hub,
    plan: Plan,
    target: Target,
    encoded: Encoded,
    cap: int,
    stream: bool,
    options: dict[str, Any],
) -> _core.Call:
    body, maximum, allowance, buckets, tier, _ = encoded
    if cap >= 0:  # no bound, or no price: the usage may not hold all that is billed
        try:
            route = route_of(target, encoded, hub.engine)
        except ConfigError as error:
            raise located(error, hub, target.provider, plan) from None
    else:
        route = target.route if not tier and target.route else _route(hub, plan, target, tier)
    frame = hub.frame.get() or hub.root or current_frame(hub)
    with Writing(target.provider.id, target.facts.model):
        call: _core.Call = hub.engine.submit(
            route,
            body,
            stream=stream,
            scopes=frame.scopes,
            on_exceed=frame.wait,
            max_output_tokens=maximum,
            prompt_allowance=allowance,
            reachable_buckets=buckets,
            cap_nanousd=cap,
            **counted(plan, target, encoded),
            **options,
        )
        return call
