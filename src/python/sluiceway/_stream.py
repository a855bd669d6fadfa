"""Streams: an object that is iterator and context manager, in a blocking and an asyncio twin.

Model: the stream starts when it is entered or first iterated. Until its first delta it is a call
like any other (retried, fallen back, refused); from then on it is one transfer whose deltas come in
batches, as many as were parsed since the last wake-up. Leaving the `with` block early, or dropping
the object, cancels the upstream call. An error after the first delta carries the partial `text`.

    with gw.stream("anthropic/claude-haiku-5-5", "A story") as s:
        for delta in s:
            print(delta.text, end="")
        print(s.result().cost)

One consumer at a time. Memory: the batch in hand; the core keeps the whole text.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from sluiceway._failures import Before, error_of
from sluiceway._hops import chat_steps
from sluiceway.errors import Cancelled, SluicewayError
from sluiceway.types import ChatResult, Delta

if TYPE_CHECKING:
    from sluiceway._core import Call
    from sluiceway._hub import Hub
    from sluiceway.options import Plan


class _Stream:
    """What both twins share: the state, and what can be told without waiting."""

    __slots__ = (
        "__weakref__",
        "_before",
        "_call",
        "_hub",
        "_model",
        "_over",
        "_pending",
        "_plan",
        "_prompt",
        "_texts",
        "model",
    )

    def __init__(self, hub: Hub, plan: Plan, model: str, prompt: Any) -> None:
        self._hub = hub
        self._plan = plan
        self._model = model
        self._prompt = prompt
        self._call: Call | None = None
        self._before: Before = ()
        self._pending: list[Delta] = []  # in hand, the next one last
        self._texts: list[str] = []  # of all batches; the core gives the whole text at the end
        self._over = False
        self.model = model  # who is answering, once the stream has started

    def _begin(self) -> Any:
        if self._over:
            raise Cancelled("this stream was closed before it started")
        prompt, self._prompt = self._prompt, None
        return chat_steps(self._hub, self._plan, self._model, prompt, stream=True)

    def _served(self, served: tuple[Any, str, Before], events: Sequence[Delta]) -> None:
        self._call, self.model, self._before = served
        self._take(events)

    def _take(self, events: Sequence[Delta]) -> None:
        """Keeps a batch; an empty one is the end, which raises when it was not a good one."""
        for event in events:
            if event.kind == "text":
                self._texts.append(event.text)
        self._pending = list(reversed(events))
        if not events:
            self._over = True
            self._hub.ended()
            call = self._call
            if call is not None and not call.ok:
                raise self._failure(call)

    def _failure(self, call: Call) -> SluicewayError:
        error = error_of(call, self.model, self._before)
        error.text = error.text or self.text
        return error

    def _finished(self) -> ChatResult:
        call = self._call
        if call is None:
            raise Cancelled("this stream was closed before it started")
        if not call.done:
            raise RuntimeError("the stream has not ended")
        if not call.ok:
            raise self._failure(call)
        return ChatResult(call, self.model, self._before)

    @property
    def text(self) -> str:
        """The text received so far."""
        if len(self._texts) > 1:
            self._texts = ["".join(self._texts)]
        return self._texts[0] if self._texts else ""

    def cancel(self) -> bool:
        """Stops the upstream call; False when it had ended already."""
        if self._call is None:
            self._over = True
            return True
        return self._call.cancel()

    def __del__(self) -> None:
        # An abandoned stream must not hold its connection and its place in the limits.
        call = getattr(self, "_call", None)
        if call is not None and not self._over:
            call.cancel()

    def __repr__(self) -> str:
        state = "over" if self._over else "not started" if self._call is None else "running"
        return f"{type(self).__name__}({self.model}, {state})"


class ChatStream(_Stream):
    """The blocking twin."""

    __slots__ = ()

    def _start(self) -> None:
        steps = self._begin()
        events: Sequence[Delta] = ()
        try:
            call = next(steps)
            while True:
                self._call = call
                events = call.next_events_wait()
                call = steps.send(bool(events))
        except StopIteration as stop:
            self._served(stop.value, events)
        except BaseException:
            self._over = self._call is None or self._call.done
            raise

    def __iter__(self) -> ChatStream:
        return self

    def __next__(self) -> Delta:
        while not self._pending:
            if self._over:
                raise StopIteration
            if self._call is None:
                self._start()
            else:
                self._take(self._call.next_events_wait())
        return self._pending.pop()

    def __enter__(self) -> ChatStream:
        if self._call is None and not self._over:
            self._start()
        return self

    def __exit__(self, *exc: object) -> None:
        if self._call is not None and not self._over:
            self._over = True
            self._call.cancel()
            self._call.wait()

    def result(self) -> ChatResult:
        """The whole answer; reads the stream to its end first. Raises what ended it badly."""
        for _ in self:
            pass
        return self._finished()


class AsyncChatStream(_Stream):
    """The asyncio twin: `async with`, `async for`, `await s.result()`."""

    __slots__ = ()

    async def _start(self) -> None:
        steps = self._begin()
        events: Sequence[Delta] = ()
        try:
            call = next(steps)
            while True:
                self._call = call
                events = await call.next_events()
                call = steps.send(bool(events))
        except StopIteration as stop:
            self._served(stop.value, events)
        except BaseException:
            self._over = self._call is None or self._call.done
            raise

    def __aiter__(self) -> AsyncChatStream:
        return self

    async def __anext__(self) -> Delta:
        while not self._pending:
            if self._over:
                raise StopAsyncIteration
            if self._call is None:
                await self._start()
            else:
                self._take(await self._call.next_events())
        return self._pending.pop()

    async def __aenter__(self) -> AsyncChatStream:
        if self._call is None and not self._over:
            await self._start()
        return self

    async def __aexit__(self, *exc: object) -> None:
        if self._call is not None and not self._over:
            self._over = True
            self._call.cancel()
            await self._call

    async def result(self) -> ChatResult:
        """The whole answer; reads the stream to its end first. Raises what ended it badly."""
        async for _ in self:
            pass
        return self._finished()
