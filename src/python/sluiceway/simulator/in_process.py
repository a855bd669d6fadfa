"""A simulator in this process: its own thread with its own event loop.

Reads of the books and changes of the script go straight to the objects (they are safe from any
thread); only start and stop cross into the loop.
"""

from __future__ import annotations

import os
from typing import Any

from sluiceway.simulator.face import Simulator
from sluiceway.simulator.loop_thread import LoopThread
from sluiceway.simulator.server import Options, Server


class InProcess(Simulator):
    """See `sluiceway.simulator.start`."""

    def __init__(self, options: Options) -> None:
        """Starts and returns when it listens. Raises ScriptError, StartError, MissingExtraError."""
        self._server = Server(options)
        self._thread = LoopThread(
            "sluiceway-simulator", "simulator", self._server.start, self._server.stop
        )
        self.http_url = self._server.http_url
        self.https_url = self._server.https_url
        self.ca_file = self._server.ca_file
        self.pid = os.getpid()

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
        self._thread.close()
