"""The steps of a call, written once: encode, submit, judge, fall back. Both twins drive them.

Model: `chat_steps` is a generator. It yields each `_core.Call` that it submits; the driver waits
for it in its own way (blocking, or on asyncio) and resumes the generator, which then returns what
was served, raises the typed error, or yields the next hop's call. For a stream the driver resumes
it as soon as the first deltas are there, sending True; from then on nothing is tried again. One
deadline covers all hops: a fallback gets what is left of `timeout_s`.

Every request of a chain is encoded and priced before the first is sent, so that a mistake in any of
them is an error before anything costs money.

`run` and `run_async` are the two drivers. Time here: a few microseconds a call.
"""

from __future__ import annotations

import time
from collections.abc import Generator
from typing import TYPE_CHECKING, Any, TypeVar

from sluiceway._budget import current_frame
from sluiceway._failures import Before, dollars, error_of, unbounded, unwritable
from sluiceway._log import log_fallback
from sluiceway.errors import (
    InvalidRequest,
    SluicewayError,
)
from sluiceway.money import usd_of
from sluiceway.providers.dialects.encoding import Encoded
from sluiceway.routing.chain import may_follow

if TYPE_CHECKING:
    from sluiceway import _core
    from sluiceway._hub import Hub, Target
    from sluiceway.options import Plan

Served = tuple[Any, str, Before]  # the Call that was served, its model, the hops before it
Steps = Generator[Any, Any, Served]
R = TypeVar("R")


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
    try:
        call = next(steps)
        while True:
            await call
            call = steps.send(None)
    except StopIteration as stop:
        return stop.value  # type: ignore[no-any-return]


def chat_steps(hub: Hub, plan: Plan, model: str, prompt: Any, stream: bool = False) -> Steps:
    """One call of the user; see the top of the file."""
    target = hub.target(model, plan)
    encoded = target.encode(target.facts, prompt, plan.body, stream)
    cap = _checked(target, encoded, plan, hub)
    if plan.fallbacks:
        return (yield from _chain(hub, plan, target, encoded, cap, prompt, stream))
    call = _submit(hub, plan, target, encoded, cap, stream, plan.submit)
    if (yield call) or call.ok:
        return call, target.name, ()
    frame = hub.frame.get() or hub.root
    if call.error_kind == "budget_exceeded" and frame is not None and frame.on_exceed:
        shorter = _cut(hub, plan, target, prompt, stream, call, frame.on_exceed)
        if shorter is not None:
            call = _submit(hub, plan, target, shorter, cap, stream, plan.submit)
            if (yield call) or call.ok:
                return call, target.name, ()
    raise error_of(call, target.name, ())


def _checked(target: Target, encoded: Encoded, plan: Plan, hub: Hub) -> int:
    """Refuses what has no price or no bound; the cap to reserve instead of a ceiling, or -1."""
    cap = plan.max_cost_nanousd
    if cap is None:
        if encoded[4] or not target.priced:
            target.check_price(encoded[4])
        if encoded[5]:
            raise unbounded(encoded[5], target.provider.id, target.facts.model)
        return -1
    if encoded[5] or not target.has_price(encoded[4]):
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


def price(hub: Hub, plan: Plan, target: Target, encoded: Encoded, **guesses: int) -> dict[str, Any]:
    """The core's quote for a request; `guesses` are the expected counts. Sends nothing."""
    try:
        quote: dict[str, Any] = hub.engine.quote(
            target.route_for(encoded.service_tier, hub.engine),
            encoded.body,
            max_output_tokens=encoded.max_output_tokens,
            prompt_allowance=encoded.prompt_allowance,
            reachable_buckets=encoded.reachable_buckets,
            timeout_s=plan.submit["timeout_s"],
            **guesses,
        )
        return quote
    except SluicewayError:
        raise
    except (ValueError, TypeError, OverflowError) as error:
        raise unwritable(error, target.provider.id, target.facts.model) from None


def _submit(
    hub: Hub,
    plan: Plan,
    target: Target,
    encoded: Encoded,
    cap: int,
    stream: bool,
    submit: dict[str, Any],
) -> _core.Call:
    body, maximum, allowance, buckets, tier, _ = encoded
    route = target.route if not tier and target.route else target.route_for(tier, hub.engine)
    frame = hub.frame.get() or hub.root or current_frame(hub)
    on_exceed = "wait" if "wait" in frame.on_exceed.values() else "refuse"
    try:
        call: _core.Call = hub.engine.submit(
            route,
            body,
            stream=stream,
            scopes=frame.scopes,
            on_exceed=on_exceed,
            max_output_tokens=maximum,
            prompt_allowance=allowance,
            reachable_buckets=buckets,
            cap_nanousd=cap,
            **submit,
        )
        return call
    except SluicewayError:
        raise
    except (ValueError, TypeError, OverflowError) as error:
        raise unwritable(error, target.provider.id, target.facts.model) from None


def _chain(
    hub: Hub,
    plan: Plan,
    target: Target,
    encoded: Encoded,
    cap: int,
    prompt: Any,
    stream: bool,
) -> Steps:
    """Tries the targets in order. All hops share the intent, the deadline and the key."""
    hops = [(target, encoded, cap)]
    for name in plan.fallbacks:
        following = hub.target(name, plan)
        request = following.encode(following.facts, prompt, plan.body, stream)
        hops.append((following, request, _checked(following, request, plan, hub)))
    deadline_s = time.monotonic() + plan.submit["timeout_s"]
    submit = plan.submit
    before: Before = ()
    index = 0
    while True:
        target, encoded, cap = hops[index]
        call = _submit(hub, plan, target, encoded, cap, stream, submit)
        if (yield call) or call.ok:
            return call, target.name, before
        index += 1
        left_s = deadline_s - time.monotonic()
        if index == len(hops) or left_s <= 0 or not _follows(hub, plan, call, stream):
            raise error_of(call, target.name, before)
        log_fallback(target.name, hops[index][0].name, call)
        before = (*before, (target.name, call))
        submit = {**submit, "timeout_s": left_s, "intent_id": call.intent_id}


def _follows(hub: Hub, plan: Plan, call: Any, stream: bool) -> bool:
    if stream and call.text:
        return False
    frame = current_frame(hub)
    refusal = call.budget_refusal or {}
    asks = _policy(frame.on_exceed, refusal) == "fallback"
    return may_follow(call.outcome, call.error_kind, in_doubt=plan.follow_in_doubt, budget=asks)


def _policy(on_exceed: dict[str, str], refusal: dict[str, Any]) -> str:
    """What the refusing scope asks for; a calendar scope is refused under its window's name."""
    name: str = refusal.get("scope", "")
    for known, policy in on_exceed.items():
        if name == known or name.startswith((known + "@", known + ":")):
            return policy
    return "refuse"


def _cut(
    hub: Hub,
    plan: Plan,
    target: Target,
    prompt: Any,
    stream: bool,
    call: Any,
    on_exceed: dict[str, str],
) -> Encoded | None:
    """The request with the largest maximum that the refusing scope can pay; None: not one token.

    Only for a scope whose template says on_exceed = "cut", and not where the caller set the maximum
    in the provider's own words.
    """
    refusal = call.budget_refusal or {}
    if (
        _policy(on_exceed, refusal) != "cut"
        or refusal["blocked"]
        or plan.max_cost_nanousd is not None
    ):
        return None
    left = refusal["limit"] - refusal["settled"] - refusal["held"] - refusal["in_doubt"]
    full = target.encode(target.facts, prompt, plan.body, stream)

    def encode(maximum: int) -> Encoded:
        options = {**plan.body, "max_output_tokens": maximum}
        return target.encode(target.facts, prompt, options, stream)

    low, high = 0, full[1]  # fits at low (0: not known to), does not at high
    while high - low > 1:
        middle = (low + high) // 2
        if price(hub, plan, target, encode(middle))["ceiling"] <= left:
            low = middle
        else:
            high = middle
    return encode(low) if low else None
