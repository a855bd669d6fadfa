"""What arrives piece by piece, and is iterator and context manager: the ground of both streams.

Model: a `Delivery` has a call, once it has started, and a batch in hand. `_take` keeps a batch; an
empty one is the end. It is read in one of two ways, blocking or awaited, which differ in nothing
but how they wait: `_start` submits and waits for the first batch, `_more` for the next one. Leaving
the `with` block early, or dropping the object, cancels the upstream call.

One consumer at a time.
"""

from __future__ import annotations

from collections.abc import Awaitable, Sequence
from typing import TYPE_CHECKING, Generic, Self, TypeVar

from sluiceway.errors import Cancelled

if TYPE_CHECKING:
    from sluiceway._core import Call

Piece = TypeVar("Piece")
Result = TypeVar("Result")


class Delivery(Generic[Piece, Result]):
    """The state, and what can be told without waiting."""

    __slots__ = ("__weakref__", "_call", "_over", "_pending")

    def __init__(self) -> None:
        self._call: Call | None = None
        self._pending: list[Piece] = []  # in hand, the next one last
        self._over = False

    def _take(self, pieces: Sequence[Piece]) -> None:
        """Keeps a batch; an empty one is the end, which raises when it was not a good one."""
        raise NotImplementedError

    def _finished(self) -> Result:
        """The result of what was read to its end. Raises what ended it badly."""
        raise NotImplementedError

    def _check_open(self) -> None:
        if self._over:
            raise Cancelled("this stream was closed before it started")

    def _state(self) -> str:
        return "over" if self._over else "not started" if self._call is None else "running"

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


class Blocking(Delivery[Piece, Result]):
    """Read by a thread that waits."""

    __slots__ = ()

    def _start(self) -> None:
        raise NotImplementedError

    def _more(self, call: Call) -> Sequence[Piece]:
        raise NotImplementedError

    def __iter__(self) -> Self:
        return self

    def __next__(self) -> Piece:
        while not self._pending:
            if self._over:
                raise StopIteration
            if self._call is None:
                self._start()
            else:
                self._take(self._more(self._call))
        return self._pending.pop()

    def __enter__(self) -> Self:
        if self._call is None and not self._over:
            self._start()
        return self

    def __exit__(self, *exc: object) -> None:
        if self._call is not None and not self._over:
            self._over = True
            self._call.cancel()
            self._call.wait()

    def _read_to_the_end(self) -> Result:
        for _ in self:
            pass
        return self._finished()


class Awaited(Delivery[Piece, Result]):
    """Read by a task of an event loop."""

    __slots__ = ()

    async def _start(self) -> None:
        raise NotImplementedError

    def _more(self, call: Call) -> Awaitable[Sequence[Piece]]:
        raise NotImplementedError

    def __aiter__(self) -> Self:
        return self

    async def __anext__(self) -> Piece:
        while not self._pending:
            if self._over:
                raise StopAsyncIteration
            if self._call is None:
                await self._start()
            else:
                self._take(await self._more(self._call))
        return self._pending.pop()

    async def __aenter__(self) -> Self:
        if self._call is None and not self._over:
            await self._start()
        return self

    async def __aexit__(self, *exc: object) -> None:
        if self._call is not None and not self._over:
            self._over = True
            self._call.cancel()
            await self._call

    async def _read_to_the_end(self) -> Result:
        async for _ in self:
            pass
        return self._finished()
