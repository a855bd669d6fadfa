"""Many calls at once: `gw.chat_many(model, prompts)`.

Model: every prompt is encoded, checked and written before the first is sent, so a mistake in any of
them is an error before anything costs money. Then all are handed to the engine with one wake-up and
are in flight together; from there each is a call of its own, with its own reservation, retries and
row in the ledger. What a failed one leads to (a fallback, a cut) is tried when its turn in the list
comes, while the others go on.

Results and errors come in the order of the prompts, and no error hides the results of the others.
Memory: the requests' bodies, once, until they are sent. Leaving early (a cancelled task, Ctrl-C)
cancels what is still in flight.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from sluiceway import _core
from sluiceway._failures import unwritable
from sluiceway._hops import chat_steps, failed
from sluiceway._steps import checked, run, run_async, start_encoded
from sluiceway.errors import InvalidType, SluicewayError
from sluiceway.types import ChatResult

if TYPE_CHECKING:
    from sluiceway._hub import Hub, Target
    from sluiceway.options import Plan
    from sluiceway.providers.dialects.encoding import Encoded, Prompt

Outcomes = list["ChatResult | SluicewayError"]


class _One:
    """A prompt under way: its call, and the steps that wait for it, if it is a chain."""

    __slots__ = ("call", "name", "prompt", "steps")

    def __init__(self, prompt: Any, name: str, call: Any, steps: Any = None) -> None:
        self.prompt = prompt
        self.name = name
        self.call = call
        self.steps = steps


def _checked(hub: Hub, plan: Plan, target: Target, prompt: Prompt) -> Encoded:
    """The request with its body as JSON text."""
    encoded = target.encode(target.facts, prompt, plan.body, False)
    checked(target, encoded, plan, hub)
    try:
        body = _core.json_bytes(encoded.body)
    except (ValueError, TypeError, OverflowError) as error:
        raise unwritable(error, target.provider.id, target.facts.model) from None
    # A cache's key is made of the values, not of their text.
    if "cache_ttl_s" in plan.submit:
        return encoded
    return encoded._replace(body=body)  # type: ignore[arg-type]  # the core takes both


def submit_all(hub: Hub, plan: Plan, model: str, prompts: Sequence[Prompt]) -> list[_One]:
    """Hands all of them over. Any mistake in one of them raises before anything is sent."""
    if isinstance(prompts, str) or not isinstance(prompts, Sequence):
        raise InvalidType("chat_many takes a list of prompts; for one prompt there is chat")
    target = hub.target(model, plan)
    requests = [_checked(hub, plan, target, prompt) for prompt in prompts]
    for name in plan.fallbacks:
        for prompt in prompts:
            _checked(hub, plan, hub.target(name, plan), prompt)
    with _core.Cork():
        if plan.fallbacks:
            chains = [chat_steps(hub, plan, model, prompt) for prompt in prompts]
            return [
                _One(prompt, target.name, next(steps), steps)
                for prompt, steps in zip(prompts, chains, strict=True)
            ]
        return [
            _One(prompt, target.name, start_encoded(hub, plan, target, encoded, False))
            for prompt, encoded in zip(prompts, requests, strict=True)
        ]


def _rest(hub: Hub, plan: Plan, one: _One) -> Any:
    """The steps that follow the first call of `one`, which has ended."""
    if one.steps is None:
        target = hub.target(one.name, plan)
        return (yield from failed(hub, plan, target, one.prompt, False, one.call))
    try:
        call = one.steps.send(None)
        while True:
            yield call
            call = one.steps.send(None)
    except StopIteration as stop:
        return stop.value


def _served(one: _One) -> ChatResult | None:
    plain = one.steps is None and one.call.ok
    return ChatResult(one.call, one.name, ()) if plain else None


def chat_many(hub: Hub, plan: Plan, model: str, prompts: Sequence[Prompt]) -> Outcomes:
    """See `Gateway.chat_many`."""
    out: Outcomes = []
    for one in submit_all(hub, plan, model, prompts):
        one.call.wait()
        result = _served(one)
        try:
            out.append(result or ChatResult(*run(_rest(hub, plan, one))))
        except SluicewayError as error:
            out.append(error)
    hub.ended()
    return out


async def chat_many_async(hub: Hub, plan: Plan, model: str, prompts: Sequence[Prompt]) -> Outcomes:
    """See `AsyncGateway.chat_many`."""
    out: Outcomes = []
    for one in submit_all(hub, plan, model, prompts):
        await one.call
        result = _served(one)
        try:
            out.append(result or ChatResult(*await run_async(_rest(hub, plan, one))))
        except SluicewayError as error:
            out.append(error)
    hub.ended()
    return out
