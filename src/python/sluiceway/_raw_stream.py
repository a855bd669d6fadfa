"""An answer's bytes as they come: audio, video, anything long. `gw.raw.stream`.

Model: the call is submitted when the stream is entered or first iterated; until its first byte it
is a call like any other (limited, refused, tried again where that is safe). From then on it yields
`bytes` in pieces of at most some 64 kB, as many at a time as have come. The core holds 256 kB for a
reader that is slow, then pauses the transfer, and goes on when they are taken; other transfers do
not notice. Leaving the `with` block early, or dropping the object, cancels the upstream call.

    with gw.raw.stream("POST", "openai", "/v1/audio/speech", json={...}, max_cost_usd="0.10") as s:
        s.status_code, s.headers["content-type"]
        for chunk in s:
            play(chunk)
        s.result().cost

A body is whole only with its Content-Length, last chunk or END_STREAM; one that breaks off raises
`StreamBroken` after its last piece. What a paid stream cost is known where its request says it
(characters of a speech), else it is in doubt at `max_cost_usd`, as for other raw calls.

One consumer at a time. Memory: what is in hand, and 256 kB in the core.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from sluiceway._failures import error_of
from sluiceway._raw_steps import Ask, submit_raw
from sluiceway.errors import Cancelled
from sluiceway.types import RawResult

if TYPE_CHECKING:
    from collections.abc import Sequence

    from sluiceway._core import Call
    from sluiceway._hub import Hub
    from sluiceway.options import Plan


class _RawStream:
    """What both twins share: the state, and what can be told without waiting."""

    __slots__ = ("__weakref__", "_ask", "_call", "_hub", "_name", "_over", "_pending", "_plan")

    def __init__(self, hub: Hub, plan: Plan, ask: Ask) -> None:
        self._hub = hub
        self._plan = plan
        self._ask = ask._replace(byte_stream=True)
        self._call: Call | None = None
        self._name = ask.provider
        self._pending: list[bytes] = []  # in hand, the next one last
        self._over = False

    def _begin(self) -> Call:
        if self._over:
            raise Cancelled("this stream was closed before it started")
        self._call, self._name = submit_raw(self._hub, self._plan, self._ask)
        return self._call

    def _take(self, pieces: Sequence[bytes]) -> None:
        """Keeps a batch; an empty one is the end, which raises when it was not a good one."""
        self._pending = list(reversed(pieces))
        if pieces or self._call is None:
            return
        self._over = True
        self._hub.ended()
        if not self._call.ok:
            raise error_of(self._call, self._name, ())

    def _finished(self) -> RawResult:
        call = self._call
        if call is None:
            raise Cancelled("this stream was closed before it started")
        if not call.ok:
            raise error_of(call, self._name, ())
        return RawResult(call, self._name)

    @property
    def status_code(self) -> int:
        """The HTTP status; 0 before the first bytes are there."""
        head = self._call.head if self._call is not None else None
        return head[0] if head else 0

    @property
    def headers(self) -> dict[str, str]:
        """Response headers by lower-case name; empty before the first bytes are there."""
        head = self._call.head if self._call is not None else None
        return {name.lower(): value for name, value in head[1]} if head else {}

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
        return f"{type(self).__name__}({self._ask.method} {self._name} {self._ask.path}, {state})"


class RawStream(_RawStream):
    """The blocking twin: `with`, `for`, `s.result()`."""

    __slots__ = ()

    def _start(self) -> None:
        self._take(self._begin().next_bytes_wait())

    def __iter__(self) -> RawStream:
        return self

    def __next__(self) -> bytes:
        while not self._pending:
            if self._over:
                raise StopIteration
            if self._call is None:
                self._start()
            else:
                self._take(self._call.next_bytes_wait())
        return self._pending.pop()

    def __enter__(self) -> RawStream:
        if self._call is None and not self._over:
            self._start()
        return self

    def __exit__(self, *exc: object) -> None:
        if self._call is not None and not self._over:
            self._over = True
            self._call.cancel()
            self._call.wait()

    def result(self) -> RawResult:
        """How it ended, without the body; reads what is left of it first, and drops it."""
        for _ in self:
            pass
        return self._finished()


class AsyncRawStream(_RawStream):
    """The asyncio twin: `async with`, `async for`, `await s.result()`."""

    __slots__ = ()

    async def _start(self) -> None:
        self._take(await self._begin().next_bytes())

    def __aiter__(self) -> AsyncRawStream:
        return self

    async def __anext__(self) -> bytes:
        while not self._pending:
            if self._over:
                raise StopAsyncIteration
            if self._call is None:
                await self._start()
            else:
                self._take(await self._call.next_bytes())
        return self._pending.pop()

    async def __aenter__(self) -> AsyncRawStream:
        if self._call is None and not self._over:
            await self._start()
        return self

    async def __aexit__(self, *exc: object) -> None:
        if self._call is not None and not self._over:
            self._over = True
            self._call.cancel()
            await self._call

    async def result(self) -> RawResult:
        """How it ended, without the body; reads what is left of it first, and drops it."""
        async for _ in self:
            pass
        return self._finished()
