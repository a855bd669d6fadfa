"""An answer's bytes as they come: audio, video, anything long. `gw.raw.stream`.

Model: the call is submitted when the stream is entered or first iterated; until its first byte it
is a call like any other (limited, refused, tried again where that is safe). From then on it yields
`bytes` in pieces of at most some 64 kB, as many at a time as have come. The core holds 256 kB for a
reader that is slow, then pauses the transfer, and goes on when they are taken; other transfers do
not notice. Leaving early (the `with` block, `close()` or `aclose()`, a cancelled `result()`), or
dropping the object, cancels the upstream call.

    with gw.raw.stream("POST", "openai", "/v1/audio/speech", json={...}, max_cost_usd="0.10") as s:
        s.status_code, s.headers["content-type"]
        for chunk in s:
            play(chunk)
        s.result().cost

A body is whole only with its Content-Length, last chunk or END_STREAM; one that breaks off raises
`StreamBroken` after its last piece. What a paid stream cost is known where its request says it
(characters of a speech), else it is in doubt at `max_cost_usd`, as for other raw calls.

One reader at a time; see _delivery.py. Memory: what is in hand, and 256 kB in the core.
"""

from __future__ import annotations

from collections.abc import Awaitable, Sequence
from typing import TYPE_CHECKING

from sluiceway._delivery import Awaited, Blocking, Delivery
from sluiceway._failures import error_of
from sluiceway._raw_steps import Ask, submit_raw
from sluiceway.errors import Cancelled
from sluiceway.types import RawResult

if TYPE_CHECKING:
    from sluiceway._core import Call
    from sluiceway._hub import Hub
    from sluiceway.options import Plan


class _RawStream(Delivery[bytes, RawResult]):
    """What both twins share: the state, and what can be told without waiting."""

    __slots__ = ("_ask", "_hub", "_name", "_plan")

    def __init__(self, hub: Hub, plan: Plan, ask: Ask) -> None:
        super().__init__()
        self._hub = hub
        self._plan = plan
        self._ask = ask._replace(byte_stream=True)
        self._name = ask.provider

    def _begin(self) -> Call:
        call, self._name = submit_raw(self._hub, self._plan, self._ask)
        return call

    def _take(self, call: Call, pieces: Sequence[bytes]) -> None:
        """Keeps a batch; an empty one is the end, which raises when it was not a good one."""
        if not pieces and not call.done:
            return  # woken for nothing
        self._begun = True
        self._pending = list(reversed(pieces))
        if pieces:
            return
        self._over = True
        self._hub.ended()
        if not call.ok:
            raise error_of(call, self._name, ())

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

    def __repr__(self) -> str:
        asked = f"{self._ask.method} {self._name} {self._ask.path}"
        return f"{type(self).__name__}({asked}, {self._state()})"


class RawStream(_RawStream, Blocking[bytes, RawResult]):
    """The blocking twin: `with`, `for`, `s.result()`."""

    __slots__ = ()

    def _more(self, call: Call) -> Sequence[bytes]:
        return call.next_bytes_wait()

    def result(self) -> RawResult:
        """How it ended, without the body; reads what is left of it first, and drops it. Raises
        what ended it badly, also `Cancelled` for a stream that was left. Being left itself cancels
        the stream."""
        return self._read_to_the_end()


class AsyncRawStream(_RawStream, Awaited[bytes, RawResult]):
    """The asyncio twin: `async with`, `async for`, `await s.result()`."""

    __slots__ = ()

    def _more(self, call: Call) -> Awaitable[Sequence[bytes]]:
        return call.next_bytes()

    async def result(self) -> RawResult:
        """How it ended, without the body; reads what is left of it first, and drops it. Raises
        what ended it badly, also `Cancelled` for a stream that was left. Being left itself cancels
        the stream."""
        return await self._read_to_the_end()
