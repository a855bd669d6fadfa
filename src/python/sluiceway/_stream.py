"""Streams: an object that is iterator and context manager, in a blocking and an asyncio twin.

Model: the stream starts when it is entered or first iterated. Until its first delta it is a call
like any other (retried, fallen back, refused); from then on it is one transfer whose deltas come in
batches, as many as were parsed since the last wake-up. Leaving early (the `with` block, `close()`
or `aclose()`, a cancelled `result()`), or dropping the object, cancels the upstream call. An error
after the first delta carries the partial `text`.

    with gw.stream("anthropic/claude-haiku-5-5", "A story") as s:
        for delta in s:
            print(delta.text, end="")
        print(s.result().cost)

One reader at a time; see _delivery.py. Memory: the batch in hand; the core keeps the whole text.
"""

from __future__ import annotations

from collections.abc import Awaitable, Sequence
from typing import TYPE_CHECKING, Any

from sluiceway._delivery import Awaited, Blocking, Delivery
from sluiceway._failures import Before, error_of
from sluiceway._hops import chat_steps
from sluiceway.errors import Cancelled, SluicewayError
from sluiceway.types import ChatResult, Delta

if TYPE_CHECKING:
    from sluiceway._core import Call
    from sluiceway._hops import Steps
    from sluiceway._hub import Hub
    from sluiceway.options import Plan


class _Stream(Delivery[Delta, ChatResult]):
    """What both twins share: the state, and what can be told without waiting."""

    __slots__ = (
        "_before",
        "_hub",
        "_model",
        "_plan",
        "_prompt",
        "_steps",
        "_texts",
        "model",
    )

    def __init__(self, hub: Hub, plan: Plan, model: str, prompt: Any) -> None:
        super().__init__()
        self._hub = hub
        self._plan = plan
        self._model = model
        self._prompt = prompt
        self._before: Before = ()
        self._steps: Steps | None = None  # until somebody serves
        self._texts: list[str] = []  # of all batches; the core gives the whole text at the end
        self.model = model  # who is answering, once the stream has started

    def _begin(self) -> Call:
        prompt, self._prompt = self._prompt, None
        self._steps = chat_steps(self._hub, self._plan, self._model, prompt, stream=True)
        try:
            call: Call = next(self._steps)
        except BaseException:
            self._over = True  # nothing was sent, and nothing can be
            raise
        return call

    def _goes_on(self, steps: Steps, served: bool) -> bool:
        """Whether another hop follows the first batch; if not, who served is known."""
        try:
            self._call = steps.send(served)
        except StopIteration as stop:
            self._call, self.model, self._before = stop.value
            self._steps = None
            self._begun = True
            return False
        except BaseException:
            self._leave()
            raise
        if self._over:  # left meanwhile, when the hop before had just ended
            self._call.cancel()
        return True

    def _take(self, call: Call, events: Sequence[Delta]) -> None:
        """Keeps a batch; an empty one is the end, which raises when it was not a good one."""
        if not events and not call.done:
            return  # woken for nothing
        if self._steps is not None and self._goes_on(self._steps, bool(events)):
            return
        for event in events:
            if event.kind == "text":
                self._texts.append(event.text)
        self._pending = list(reversed(events))
        if not events:
            self._over = True
            self._hub.ended()
            if not call.ok:
                raise self._failure(call)

    def _failure(self, call: Call) -> SluicewayError:
        error = error_of(call, self.model, self._before)
        error.text = error.text or self.text
        return error

    def _finished(self) -> ChatResult:
        call = self._call
        if call is None:
            raise Cancelled("this stream was closed before it started")
        if not call.ok:
            raise self._failure(call)
        return ChatResult(call, self.model, self._before)

    @property
    def text(self) -> str:
        """The text received so far."""
        if len(self._texts) > 1:
            self._texts = ["".join(self._texts)]
        return self._texts[0] if self._texts else ""

    def __repr__(self) -> str:
        return f"{type(self).__name__}({self.model}, {self._state()})"


class ChatStream(_Stream, Blocking[Delta, ChatResult]):
    """The blocking twin."""

    __slots__ = ()

    def _more(self, call: Call) -> Sequence[Delta]:
        return call.next_events_wait()

    def result(self) -> ChatResult:
        """The whole answer; reads the stream to its end first. Raises what ended it badly, also
        `Cancelled` for a stream that was left. Being left itself cancels the stream."""
        return self._read_to_the_end()


class AsyncChatStream(_Stream, Awaited[Delta, ChatResult]):
    """The asyncio twin: `async with`, `async for`, `await s.result()`."""

    __slots__ = ()

    def _more(self, call: Call) -> Awaitable[Sequence[Delta]]:
        return call.next_events()

    async def result(self) -> ChatResult:
        """The whole answer; reads the stream to its end first. Raises what ended it badly, also
        `Cancelled` for a stream that was left. Being left itself cancels the stream."""
        return await self._read_to_the_end()
