"""A simulator in this process: its own thread with its own event loop.

The thread is a daemon, so a forgotten `close` does not keep the interpreter alive. Reads of the
books and changes of the script go straight to the objects (they are safe from any thread); only
start and stop cross into the loop.
"""

from __future__ import annotations

import asyncio
import os
import threading
from typing import Any

from sluiceway.simulator.errors import SimulatorError, StartError
from sluiceway.simulator.face import Simulator
from sluiceway.simulator.server import Options, Server

_START_TIMEOUT_S = 30.0


class InProcess(Simulator):
    """See `sluiceway.simulator.start`."""

    def __init__(self, options: Options) -> None:
        """Starts and returns when it listens. Raises ScriptError, StartError, MissingExtraError."""
        self._server = Server(options)
        self._loop: asyncio.AbstractEventLoop | None = None
        self._stopping: asyncio.Event | None = None
        self._started = threading.Event()
        self._failure: list[Exception] = []
        self._thread = threading.Thread(target=self._run, name="sluiceway-simulator", daemon=True)
        self._thread.start()
        if not self._started.wait(_START_TIMEOUT_S):
            raise StartError(f"the simulator did not start within {_START_TIMEOUT_S:.0f} s")
        if self._failure:
            self._thread.join()
            raise self._failure[0]
        if not self._server.http_url:
            raise StartError("the simulator's thread ended before it listened")
        self.http_url = self._server.http_url
        self.https_url = self._server.https_url
        self.ca_file = self._server.ca_file
        self.pid = os.getpid()

    def _run(self) -> None:
        try:
            asyncio.run(self._serve())
        finally:
            self._started.set()

    async def _serve(self) -> None:
        self._loop, self._stopping = asyncio.get_running_loop(), asyncio.Event()
        try:
            await self._server.start()
        except (SimulatorError, OSError) as error:
            self._failure.append(error)
            return
        self._started.set()
        await self._stopping.wait()
        await self._server.stop()

    def script(self, rules: object) -> int:
        """See `Simulator.script`."""
        return self._server.admin.install(rules)

    def executions(self) -> dict[str, Any]:
        """See `Simulator.executions`."""
        return self._server.books.executions()

    def bill(self) -> dict[str, Any]:
        """See `Simulator.bill`."""
        return self._server.books.bill()

    def reset(self) -> None:
        """See `Simulator.reset`."""
        self._server.admin.reset()

    def _log_lines(self, since: int) -> bytes:
        return self._server.books.lines(since)

    def close(self) -> None:
        """See `Simulator.close`."""
        if self._thread.is_alive() and self._loop is not None and self._stopping is not None:
            self._loop.call_soon_threadsafe(self._stopping.set)
            self._thread.join()
