"""What arrives piece by piece, and is iterator and context manager: the ground of both streams.

Model: a `Delivery` has a call, once it has started, and a batch in hand. It is read in one of two
ways, blocking or awaited, which differ in nothing but how they wait: `_fill` submits the call where
there is none, waits for a batch and takes it; an empty one of a call that has ended is the end.
Until the first batch is there the call may be followed by another one (a fallback's).

Leaving early cancels the upstream call: the `with` block, also when its entry is cancelled, so that
it is never left; `result()`; `close` or `aclose`; dropping the object. Iteration without all that
can be gone on with when a wait for a piece was cancelled (`asyncio.wait_for(anext(s), 1)`).

One reader at a time: who comes while another waits gets InvalidRequest, and the other reads on.
"""

from __future__ import annotations

import os
from collections.abc import Awaitable, Sequence
from typing import TYPE_CHECKING, Generic, Self, TypeVar

from sluiceway import _aio
from sluiceway.errors import InvalidRequest, SluicewayError

if TYPE_CHECKING:
    from sluiceway._core import Call

Piece = TypeVar("Piece")
Result = TypeVar("Result")


class Delivery(Generic[Piece, Result]):
    """The state, and what can be told without waiting."""

    __slots__ = ("__weakref__", "_begun", "_call", "_over", "_pending", "_reader")

    def __init__(self) -> None:
        self._call: Call | None = None
        self._pending: list[Piece] = []  # in hand, the next one last
        self._begun = False  # the first batch is there, or the end
        self._over = False
        self._reader = 0  # the process in which somebody waits for a batch

    def _begin(self) -> Call:
        """Submits the call."""
        raise NotImplementedError

    def _take(self, call: Call, pieces: Sequence[Piece]) -> None:
        """Keeps a batch; an empty one is the end, which raises when it was not a good one."""
        raise NotImplementedError

    def _finished(self) -> Result:
        """The result of a call that has ended. Raises what ended it badly."""
        raise NotImplementedError

    def _sit_down(self) -> Call:
        """Makes the caller the one who waits, until `_reader` is 0 again; his call."""
        self._check_alone()
        self._reader = os.getpid()  # a child of a fork has not inherited the waiting thread
        if self._call is None:
            try:
                self._call = self._begin()
            except BaseException:
                self._reader = 0
                raise
        return self._call

    def _check_alone(self) -> None:
        if self._reader and self._reader == os.getpid():
            raise InvalidRequest(
                "another thread or task is waiting for the next piece of this stream, which has"
                " one reader at a time: pass its pieces on, or ask for result() after it; this"
                " leaves the other undisturbed"
            )

    def _leave(self) -> Call | None:
        """Ends the reading and cancels the call, which is returned if there is one to wait for."""
        if self._over:
            return None
        self._over = True
        self._pending.clear()
        if self._call is not None:
            self._call.cancel()
        return self._call

    def _left_by(self, error: BaseException) -> None:
        """Leaves where a wait was cut short. Errors of ours are the call's own end, or another
        reader's business; and what was never sent may still be."""
        if self._call is not None and not isinstance(error, SluicewayError):
            self._leave()

    def _state(self) -> str:
        return "over" if self._over else "not started" if self._call is None else "running"

    def cancel(self) -> bool:
        """Stops the upstream call and does not wait; False when it had ended already. What has come
        can still be read, then `Cancelled` is raised."""
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

    def _more(self, call: Call) -> Sequence[Piece]:
        raise NotImplementedError

    def _fill(self) -> None:
        call = self._sit_down()
        try:
            self._take(call, self._more(call))
        finally:
            self._reader = 0

    def __iter__(self) -> Self:
        return self

    def __next__(self) -> Piece:
        while not self._pending:
            if self._over:
                raise StopIteration
            self._fill()
        return self._pending.pop()

    def __enter__(self) -> Self:
        self._check_alone()
        try:
            while not self._begun and not self._over:
                self._fill()
        except BaseException as error:
            self._left_by(error)  # __exit__ is not called then
            raise
        return self

    def close(self) -> None:
        """Leaves the stream: cancels the call, unless it has ended, and waits for its end, which is
        soon. What has come and was not read is dropped, and iterating goes no further. As often as
        one likes; for `contextlib.closing`."""
        call = self._leave()
        if call is not None:
            call.wait()

    def __exit__(self, *exc: object) -> None:
        self.close()

    def _read_to_the_end(self) -> Result:
        try:
            for _ in self:
                pass
            if self._call is not None and not self._call.done:
                self._call.wait()  # one that was left ends soon; a fork's child is told whose it is
        except BaseException as error:
            self._left_by(error)
            raise
        return self._finished()


class Awaited(Delivery[Piece, Result]):
    """Read by a task of an event loop."""

    __slots__ = ()

    def _more(self, call: Call) -> Awaitable[Sequence[Piece]]:
        raise NotImplementedError

    async def _fill(self) -> None:
        if self._call is None and _aio.running_loop() is None:
            _aio.check_host()
        call = self._sit_down()
        try:
            self._take(call, await self._more(call))
        finally:
            self._reader = 0

    def __aiter__(self) -> Self:
        return self

    async def __anext__(self) -> Piece:
        while not self._pending:
            if self._over:
                raise StopAsyncIteration
            await self._fill()
        return self._pending.pop()

    async def __aenter__(self) -> Self:
        self._check_alone()
        try:
            while not self._begun and not self._over:
                await self._fill()
        except BaseException as error:
            self._left_by(error)  # __aexit__ is not called then
            raise
        return self

    async def aclose(self) -> None:
        """Leaves the stream: cancels the call, unless it has ended, and waits for its end, which is
        soon. What has come and was not read is dropped, and iterating goes no further. As often as
        one likes; for `contextlib.aclosing`."""
        call = self._leave()
        if call is not None:
            await call

    async def __aexit__(self, *exc: object) -> None:
        await self.aclose()

    async def _read_to_the_end(self) -> Result:
        try:
            async for _ in self:
                pass
            if self._call is not None and not self._call.done:
                await self._call  # one that was left ends soon; a fork's child is told whose it is
        except BaseException as error:
            self._left_by(error)
            raise
        return self._finished()
