"""What follows when a hop fails: the next model of the chain, a cheaper one, or a shorter request.

Model: `chat_steps` is a generator. It yields each `_core.Call` that it submits; the driver waits
for it in its own way (blocking, or on asyncio) and resumes the generator, which then returns what
was served, raises the typed error, or yields the next hop's call. For a stream the driver resumes
it as soon as the first deltas are there, sending True; from then on nothing is tried again. One
deadline covers all hops: a fallback gets what is left of `timeout_s`.

Every request of a chain is encoded and priced before the first is sent, so that a mistake in any of
them is an error before anything costs money.

A scope that refuses says what then: "fallback" goes on with the cheaper ones of the chain (without
a chain, of the template's `fallbacks`); "cut" sends the same request with the largest maximum of
output tokens that the scope can still pay. Between the quote of a cut and its admission other calls
may take the money; it is cut anew, at most CUTS_MAX times. Nothing was sent before a refusal, so
none of this can pay twice. The refused hop stays in `result.hops`, which says that it was so.

Time here: some ten microseconds a hop, and a dozen quotes a cut.
"""

from __future__ import annotations

import time
from collections.abc import Generator
from typing import TYPE_CHECKING, Any, NamedTuple

from sluiceway._failures import Before, error_of
from sluiceway._frames import Policy, current_frame
from sluiceway._log import log_fallback
from sluiceway._steps import checked, price, start, submit
from sluiceway.errors import SluicewayError
from sluiceway.providers.dialects.encoding import Encoded
from sluiceway.routing.chain import may_follow

if TYPE_CHECKING:
    from sluiceway._hub import Hub
    from sluiceway._target import Target
    from sluiceway.options import Plan

Served = tuple[Any, str, Before]  # the Call that was served, its model, the hops before it
Steps = Generator[Any, Any, Served]
CUTS_MAX = 3


class Hop(NamedTuple):
    """A request that is ready to be sent."""

    target: Target
    encoded: Encoded
    cap: int


class Tried(NamedTuple):
    """What was tried before the hop that failed: only its own model, and how often cut."""

    first: bool
    cuts: int


def chat_steps(hub: Hub, plan: Plan, model: str, prompt: Any, stream: bool = False) -> Steps:
    """One call of the user; see the top of the file."""
    if plan.fallbacks:
        hops = [_hop(hub, plan, name, prompt, stream) for name in (model, *plan.fallbacks)]
        return (yield from _walk(hub, plan, prompt, stream, hops, None))
    target = hub.target(model, plan)
    call = start(hub, plan, target, prompt, stream)
    served = yield call
    hub.ended()
    if served or call.ok:
        return call, target.name, ()
    return (yield from failed(hub, plan, target, prompt, stream, call))


def failed(hub: Hub, plan: Plan, target: Target, prompt: Any, stream: bool, call: Any) -> Steps:
    """What follows a call without a chain that failed: what a refusing scope asks for, or the
    error."""
    if call.error_kind == "budget_exceeded" and current_frame(hub).on_exceed:
        hop = _hop(hub, plan, target.name, prompt, stream)
        return (yield from _walk(hub, plan, prompt, stream, [hop], call))
    raise error_of(call, target.name, ())


def _hop(hub: Hub, plan: Plan, name: str, prompt: Any, stream: bool) -> Hop:
    target = hub.target(name, plan)
    encoded = target.encode(target.facts, prompt, plan.body, stream)
    return Hop(target, encoded, checked(target, encoded, plan, hub))


def _walk(
    hub: Hub, plan: Plan, prompt: Any, stream: bool, hops: list[Hop], failed_call: Any
) -> Steps:
    """Tries hops until one serves. `failed_call`: the first hop's, if that was tried already."""
    deadline_s = time.monotonic() + plan.submit["timeout_s"]
    if failed_call is not None:
        deadline_s -= failed_call.latency_ms / 1000
    options = plan.submit
    before: Before = ()
    call = failed_call
    while True:
        hop = hops[0]
        if call is None:
            call = submit(hub, plan, hop.target, hop.encoded, hop.cap, stream, options)
            served = yield call
            hub.ended()
            if served or call.ok:
                return call, hop.target.name, before
        left_s = deadline_s - time.monotonic()
        policy = current_frame(hub).policy(call.budget_refusal or {})
        same = sum(name == hop.target.name for name, _ in before)
        tried = Tried(first=same == len(before), cuts=same)
        hops = _next(hub, plan, prompt, stream, hops, call, policy, tried) if left_s > 0 else []
        if not hops:
            raise error_of(call, hop.target.name, before)
        log_fallback(hop.target.name, hops[0].target.name, call)
        before = (*before, (hop.target.name, call))
        options = {**options, "timeout_s": left_s, "intent_id": call.intent_id}
        call = None


def _next(
    hub: Hub,
    plan: Plan,
    prompt: Any,
    stream: bool,
    hops: list[Hop],
    call: Any,
    policy: Policy,
    tried: Tried,
) -> list[Hop]:
    """The hops that are left to try after the first of `hops` failed; none: the error stands."""
    if stream and call.text:
        return []
    if call.error_kind != "budget_exceeded":
        follows = may_follow(
            call.outcome, call.error_kind, in_doubt=plan.follow_in_doubt, budget=False
        )
        return hops[1:] if follows else []
    if call.budget_refusal is None or call.budget_refusal["blocked"]:
        return []
    if policy.on_exceed == "cut":
        shorter = _cut(hub, plan, hops[0], prompt, stream, call) if tried.cuts < CUTS_MAX else None
        return [hops[0]._replace(encoded=shorter), *hops[1:]] if shorter else []
    if policy.on_exceed == "fallback":
        rest = hops[1:]
        if not plan.fallbacks and tried.first:
            rest = _configured(hub, plan, prompt, stream, hops[0].target, policy)
        return _cheaper(hub, plan, rest, call)
    return []


def _configured(
    hub: Hub, plan: Plan, prompt: Any, stream: bool, refused: Target, policy: Policy
) -> list[Hop]:
    """The template's own fallbacks, without those that cannot take this request."""
    ready = []
    for name in policy.fallbacks:
        try:
            hop = _hop(hub, plan, name, prompt, stream)
        except SluicewayError:
            continue  # no key, no price or no such feature there: the budget's error says more
        if hop.target is not refused:
            ready.append(hop)
    return ready


def _cheaper(hub: Hub, plan: Plan, hops: list[Hop], call: Any) -> list[Hop]:
    """Those that can cost less than what was refused, in the order of the chain."""
    refused = call.budget_refusal["amount"]
    return [hop for hop in hops if _ceiling(hub, plan, hop) < refused]


def _ceiling(hub: Hub, plan: Plan, hop: Hop) -> int:
    if hop.cap >= 0:
        return hop.cap
    return int(price(hub, plan, hop.target, hop.encoded)["ceiling"])


def _cut(hub: Hub, plan: Plan, hop: Hop, prompt: Any, stream: bool, call: Any) -> Encoded | None:
    """The request with the largest maximum that the refusing scope can pay; None: not one token.

    None as well where the caller set the maximum in the provider's own words, or a cap.
    """
    refusal = call.budget_refusal
    if hop.cap >= 0 or plan.max_cost_nanousd is not None:
        return None
    left = refusal["limit"] - refusal["settled"] - refusal["held"] - refusal["in_doubt"]
    target = hop.target

    def encode(maximum: int) -> Encoded:
        options = {**plan.body, "max_output_tokens": maximum}
        return target.encode(target.facts, prompt, options, stream)

    low, high = 0, hop.encoded.max_output_tokens  # fits at low (0: not known to), not at high
    while high - low > 1:
        middle = (low + high) // 2
        if price(hub, plan, target, encode(middle))["ceiling"] <= left:
            low = middle
        else:
            high = middle
    return encode(low) if low else None
