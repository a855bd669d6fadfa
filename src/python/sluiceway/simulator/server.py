"""The server: two listeners on loopback, one simulation, one loop.

`Server` is the asynchronous core that both faces use: `InProcess` runs it in a thread of its own,
`__main__` in a process. Threads: everything here runs in the loop's thread, except `admin` and the
books, which may be used from any (installing a script is one assignment, the books have a lock).

Bounds: one small task for an answer that waits; connections are limited by the process's file
descriptors only.
"""

from __future__ import annotations

import asyncio
import tempfile
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from sluiceway.simulator import admin as admin_endpoints
from sluiceway.simulator.app import Simulation
from sluiceway.simulator.books import Books
from sluiceway.simulator.errors import StartError
from sluiceway.simulator.extras import require_extra
from sluiceway.simulator.listener import Listener
from sluiceway.simulator.message import Reply, Request
from sluiceway.simulator.script import parse_script
from sluiceway.simulator.server_h1 import Connection

HOST = "127.0.0.1"
_BACKLOG = 1024


@dataclass(frozen=True, slots=True)
class Options:
    """How to start a simulator. A port of 0 asks the system for a free one."""

    script: object = ()
    seed: int = 0
    port: int = 0
    tls_port: int = 0
    tls: bool = True
    log_path: str | Path | None = None
    wall_clock: Callable[[], float] = time.time


class Server:
    """A simulator that listens. Construction checks the script and opens the log file."""

    def __init__(self, options: Options) -> None:
        """Raises ScriptError, MissingExtraError (with `tls`) or OSError (the log file)."""
        if options.tls:
            require_extra()
        self._options = options
        script = parse_script(options.script, options.seed, time.monotonic())
        self.books = Books(options.log_path, time.monotonic, options.wall_clock)
        self._simulation = Simulation(self.books, script, options.seed, options.wall_clock)
        self.admin = admin_endpoints.Admin(self._simulation, options.seed, time.monotonic)
        self._connections: set[Connection] = set()
        self._listeners: list[asyncio.Server] = []
        self._folder: tempfile.TemporaryDirectory[str] | None = None
        self.http_url = ""
        self.https_url = ""
        self.ca_file = ""

    def handle(self, request: Request) -> Reply:
        """One request of any kind."""
        if request.path.startswith(admin_endpoints.PREFIX):
            return self.admin.handle(request)
        return self._simulation.handle(request, time.monotonic())

    def _protocol(self) -> Listener:
        return Listener(self.handle, self._connections)

    async def start(self) -> None:
        """Opens the listeners and fills in the addresses. Raises StartError."""
        loop = asyncio.get_running_loop()
        options = self._options
        try:
            plain = await loop.create_server(self._protocol, HOST, options.port, backlog=_BACKLOG)
            self._listeners.append(plain)
            self.http_url = f"http://{HOST}:{plain.sockets[0].getsockname()[1]}"
            if options.tls:
                from sluiceway.simulator.tls import server_context

                self._folder = tempfile.TemporaryDirectory(prefix="sluiceway-simulator-")
                context, ca_file = server_context(Path(self._folder.name))
                secure = await loop.create_server(
                    self._protocol, HOST, options.tls_port, ssl=context, backlog=_BACKLOG
                )
                self._listeners.append(secure)
                self.https_url = f"https://{HOST}:{secure.sockets[0].getsockname()[1]}"
                self.ca_file = str(ca_file)
        except OSError as error:
            await self.stop()
            raise StartError(f"the simulator cannot listen: {error}") from error

    async def stop(self) -> None:
        """Closes the listeners, every connection, the log and the certificate's folder."""
        for listener in self._listeners:
            # A connection that is accepted while the listener closes would be lost unclosed.
            for sock in listener.sockets:
                asyncio.get_running_loop().remove_reader(sock.fileno())
        await asyncio.sleep(0)
        await asyncio.sleep(0)
        for listener in self._listeners:
            listener.close()
        for connection in list(self._connections):
            connection.abort()
        # Two turns: closing transports call connection_lost, which cancels what is played.
        await asyncio.sleep(0)
        await asyncio.sleep(0)
        self._listeners.clear()
        self.books.close()
        if self._folder is not None:
            self._folder.cleanup()
            self._folder = None
