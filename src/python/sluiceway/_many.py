"""Many calls at once: `gw.chat_many(model, prompts)`.

Model: every prompt is encoded, checked and written before the first is sent, so a mistake in any of
them is an error before anything costs money. Then all are handed to the engine with one wake-up and
are in flight together; from there each is a call of its own, with its own reservation, retries,
row in the ledger and, where an idempotency key is given, its own: "KEY/0" for the first prompt.
What a failed one leads to (a fallback, a cut) is tried when its turn in the list comes, while the
others go on.

Results and errors come in the order of the prompts, and no error hides the results of the others.
Memory: the requests' bodies, once, until they are sent. Leaving early (a cancelled task, Ctrl-C)
cancels what is still in flight.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from sluiceway import _aio, _core
from sluiceway._failures import Writing, unwritable
from sluiceway._frames import current_frame
from sluiceway._hops import chat_steps, failed
from sluiceway._steps import (
    checked,
    is_plain,
    ready_for,
    run,
    run_async,
    start_encoded,
    start_ready,
)
from sluiceway.errors import InvalidType, SluicewayError
from sluiceway.types import ChatResult

if TYPE_CHECKING:
    from sluiceway._hops import Steps
    from sluiceway._hub import Hub
    from sluiceway._target import Target
    from sluiceway.options import Plan
    from sluiceway.providers.dialects.encoding import Encoded, Prompt

Outcomes = list["ChatResult | SluicewayError"]


class _Batch:
    """The calls under way, in the order of their prompts."""

    __slots__ = ("calls", "chains", "hub", "plans", "prompts", "simple", "target")

    def __init__(self, hub: Hub, plan: Plan, model: str, prompts: Sequence[Prompt]) -> None:
        """Hands all of them over. Any mistake in one of them raises before anything is sent."""
        if isinstance(prompts, str) or not isinstance(prompts, Sequence):
            raise InvalidType("chat_many takes a list of prompts; for one prompt there is chat")
        self.hub = hub
        self.prompts = list(prompts)
        self.plans = _plans(hub, plan, len(self.prompts))
        self.target = target = hub.target(model, plan)
        self.chains: list[Steps] | None = [] if plan.fallbacks else None
        self.calls: list[_core.Call] = []
        frame = current_frame(hub)
        # Nothing follows the first call of such a batch but an error.
        self.simple = not plan.fallbacks and not frame.on_exceed
        ready = None
        if self.simple and len(self.prompts) > 1:
            ready = ready_for(hub, plan, target, False, at_once=True)
        requests = [
            _text(target, ready, prompt)
            if ready and is_plain(prompt)
            else _checked(hub, plan, target, prompt)
            for prompt in self.prompts
        ]
        for name in plan.fallbacks:
            for prompt in self.prompts:
                _checked(hub, plan, hub.target(name, plan), prompt)
        # Left inside of the cork, what was handed over so far is hardly ever sent.
        with _core.Cork(), self:
            if self.chains is not None:
                for own, prompt in zip(self.plans, self.prompts, strict=True):
                    self.chains.append(chat_steps(hub, own, model, prompt))
                    self.calls.append(next(self.chains[-1]))
                return
            scopes = frame.scopes
            for own, request in zip(self.plans, requests, strict=True):
                self.calls.append(
                    start_ready(hub, target, ready, request, scopes)
                    if ready and isinstance(request, bytes)
                    else start_encoded(hub, own, target, request, False)  # type: ignore[arg-type]
                )

    def __enter__(self) -> None:
        pass

    def __exit__(self, kind: type[BaseException] | None, *_: object) -> None:
        """Who leaves early leaves nothing that runs on and is paid. That the calls are dropped does
        not do it: a traceback, and with it the frame, may be kept for long."""
        if kind is not None:
            # From the end, at once: a place that one of them gives back shall not go to the next.
            with _core.Cork():
                for call in reversed(self.calls):
                    call.cancel()

    def result(self, number: int) -> ChatResult | None:
        """The result of a call that has ended well at once."""
        call = self.calls[number]
        if self.chains is None and call.ok:
            return ChatResult(call, self.target.name, ())
        return None

    def rest(self, number: int) -> Steps:
        """The steps that follow the first call of a prompt, which has ended."""
        if self.chains is not None:
            return self.chains[number]
        call, prompt = self.calls[number], self.prompts[number]
        return failed(self.hub, self.plans[number], self.target, prompt, False, call)


def _plans(hub: Hub, plan: Plan, count: int) -> list[Plan]:
    """The plan of each prompt: an idempotency key is of one call, so each gets a part of it."""
    key = plan.submit.get("idempotency_key")
    if key is None:
        return [plan] * count
    return [
        plan.with_options({"idempotency_key": f"{key}/{index}"}, hub.variants)
        for index in range(count)
    ]


def _text(target: Target, ready: _core.Ready, prompt: Any) -> bytes:
    """The body of a text prompt."""
    try:
        return ready.body(prompt)
    except ValueError as error:
        raise unwritable(error, target.provider.id, target.facts.model) from None


def _checked(hub: Hub, plan: Plan, target: Target, prompt: Prompt) -> Encoded:
    """The request with its body as JSON text."""
    encoded = target.encode(target.facts, prompt, plan.body, False)
    checked(target, encoded, plan, hub)
    with Writing(target.provider.id, target.facts.model):
        body = _core.json_bytes(encoded.body)
    # A cache's key is made of the values, not of their text; so are a quote and a count of tokens.
    if "cache_ttl_s" in plan.submit or plan.max_cost_nanousd is not None or plan.count_tokens:
        return encoded
    return encoded._replace(body=body)  # type: ignore[arg-type]  # the core takes both


def chat_many(hub: Hub, plan: Plan, model: str, prompts: Sequence[Prompt]) -> Outcomes:
    """See `Gateway.chat_many`."""
    out: Outcomes = []
    batch = _Batch(hub, plan, model, prompts)
    with batch:
        for number, call in enumerate(batch.calls):
            call.wait()
            try:
                out.append(batch.result(number) or ChatResult(*run(batch.rest(number))))
            except SluicewayError as error:
                out.append(error)
    hub.ended()
    return out


async def chat_many_async(hub: Hub, plan: Plan, model: str, prompts: Sequence[Prompt]) -> Outcomes:
    """See `AsyncGateway.chat_many`."""
    if _aio.running_loop() is None:
        _aio.check_host()
    out: Outcomes = []
    batch = _Batch(hub, plan, model, prompts)
    with batch:
        if batch.simple and batch.calls:
            await batch.calls[-1]  # most have ended when the last has: one turn of the task for all
        for number, call in enumerate(batch.calls):
            if not call.done:
                await call
            try:
                out.append(batch.result(number) or ChatResult(*await run_async(batch.rest(number))))
            except SluicewayError as error:
                out.append(error)
    hub.ended()
    return out
