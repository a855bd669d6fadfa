"""A thread with an event loop of its own, for a server that starts, serves and stops in it.

    thread = LoopThread("sluiceway-simulator", "simulator", server.start, server.stop)
    ...                                                  # it listens
    thread.close()

The constructor returns when `start` has: a SimulatorError or OSError of it is raised there, in the
caller's thread. The thread is a daemon, so a forgotten `close` does not keep the interpreter alive;
`stop` is awaited in the loop, by `close` alone. Bounds: one thread, 30 s to start.
"""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Awaitable, Callable

from sluiceway.simulator.errors import SimulatorError, StartError

_START_TIMEOUT_S = 30.0


class LoopThread:
    """See the module."""

    def __init__(
        self,
        name: str,
        what: str,
        start: Callable[[], Awaitable[None]],
        stop: Callable[[], Awaitable[None]],
    ) -> None:
        """Starts the thread `name`; messages speak of "the `what`".

        Raises what `start` raised, and StartError where it takes too long or the thread ends.
        """
        self._start, self._stop = start, stop
        self._loop: asyncio.AbstractEventLoop | None = None
        self._stopping: asyncio.Event | None = None
        self._started = threading.Event()  # or failed to
        self._listens = False
        self._failure: list[Exception] = []
        self._thread = threading.Thread(target=self._run, name=name, daemon=True)
        self._thread.start()
        if not self._started.wait(_START_TIMEOUT_S):
            raise StartError(f"the {what} did not start within {_START_TIMEOUT_S:.0f} s")
        if not self._listens:
            self._thread.join()
            if self._failure:
                raise self._failure[0]
            raise StartError(f"the {what}'s thread ended before it listened")

    def _run(self) -> None:
        try:
            asyncio.run(self._serve())
        finally:
            self._started.set()

    async def _serve(self) -> None:
        self._loop, self._stopping = asyncio.get_running_loop(), asyncio.Event()
        try:
            await self._start()
        except (SimulatorError, OSError) as error:
            self._failure.append(error)
            return
        self._listens = True
        self._started.set()
        await self._stopping.wait()
        await self._stop()

    def close(self) -> None:
        """Stops, and returns when the thread has ended. Safe to call twice."""
        if self._thread.is_alive() and self._loop is not None and self._stopping is not None:
            self._loop.call_soon_threadsafe(self._stopping.set)
            self._thread.join()
