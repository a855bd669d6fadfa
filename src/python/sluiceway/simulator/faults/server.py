"""The fault server's inside: a simulator whose connections and answers go wrong in turn.

Faults wait in a line: the first is used by the next connection or request that it fits and leaves,
the last one stays. A request to a simulated provider's path is answered by the simulation, every
other one by a small JSON body, so that any client can be tested. Threads: all in the loop's thread,
but the counters (one lock) and `set`.
"""

from __future__ import annotations

import asyncio
import json
import socket
import ssl
import tempfile
import threading
import weakref
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path

from sluiceway.simulator.app import BASE_PATHS
from sluiceway.simulator.errors import StartError
from sluiceway.simulator.extras import require_extra
from sluiceway.simulator.faults.connection import Front
from sluiceway.simulator.faults.exchange import spoil
from sluiceway.simulator.faults.plan import FaultLike, check_options, checked, misfit
from sluiceway.simulator.faults.table import FAULTS, STANDING
from sluiceway.simulator.listener import Listener
from sluiceway.simulator.message import Reply, Request
from sluiceway.simulator.server import HOST, Options, Server
from sluiceway.simulator.server_h1 import Connection
from sluiceway.simulator.settings import combine, error_status, executes_by_default, read_settings

_BODY = b'{"ok": true, "choices": [], "note": "an answer of the fault server"}'
_BACKLOG = 4096
_FILLERS = 8


@dataclass(frozen=True, slots=True)
class Seen:
    """One request that was read whole."""

    method: str
    path: str
    protocol: str  # "h1" | "h2"
    attempt: str  # the header sluiceway-attempt, or ""
    fault: str
    executed: bool
    body: bytes


def _of_provider(request: Request) -> bool:
    """Whether a simulated provider answers it."""
    return request.path.startswith(tuple(path + "/" for path in BASE_PATHS.values()))


async def _turns() -> None:
    """Some turns of the loop."""
    for _ in range(3):
        await asyncio.sleep(0)


class FaultCore:
    """See the module."""

    def __init__(
        self,
        faults: Sequence[FaultLike],
        *,
        tls: bool,
        http_version: str,
        port: int,
        unix_socket: str,
        streams_max: int,
        asks_client: bool,
        delay_s: float,
        seed: int,
    ) -> None:
        """Raises ScriptError, and MissingExtraError with `tls`."""
        check_options(tls, asks_client, delay_s, streams_max)
        self._http_version = http_version
        self._faults = checked(faults, tls, http_version, at_start=True, has_port=not unix_socket)
        if tls:
            require_extra()
        self._tls = tls
        self._port = port
        self._unix_socket = unix_socket
        self._streams_max = streams_max
        self._asks_client = asks_client
        self._delay_s = delay_s
        self._simulator = Server(Options(seed=seed, tls=False))
        self._lock = threading.Lock()
        self._contexts: dict[str, ssl.SSLContext] = {}
        self._connections: set[Connection] = set()
        self._transports: weakref.WeakSet[asyncio.Transport] = weakref.WeakSet()
        self._listener: asyncio.Server | None = None
        self._sockets: list[socket.socket] = []
        self._folder: tempfile.TemporaryDirectory[str] | None = None
        self.seen: list[Seen] = []
        self.connections = 0
        self.url = ""
        self.ca_file = ""
        self.client_file = ""

    # -- the line of faults

    def set(self, faults: Sequence[FaultLike]) -> None:
        """Replaces the line."""
        line = checked(faults, self._tls, self._http_version, at_start=False, has_port=False)
        with self._lock:
            self._faults = line

    def _take(self, *layers: str) -> FaultLike:
        with self._lock:
            first = self._faults[0]
            if isinstance(first, Mapping):
                fits = "exchange" in layers
            else:
                fits = FAULTS[first].layer in layers
            if not fits:
                return "none"
            if len(self._faults) > 1:
                self._faults.pop(0)
            return first

    def _for_connection(self) -> str:
        with self._lock:
            self.connections += 1
        fault = self._take("connect", "tls")
        return fault if isinstance(fault, str) else "none"

    # -- requests

    def handle(self, request: Request) -> Reply:
        """One request: decided, counted, answered."""
        fault = self._take("exchange")
        executed = True
        why = misfit(fault, request.protocol, self._tls, _of_provider(request))
        if why:
            body = json.dumps({"error": why}).encode()
            reply, executed = Reply(400, [("content-type", "application/json")], body), False
            name = fault if isinstance(fault, str) else str(fault.get("fault", "none"))
        elif isinstance(fault, Mapping):
            reply, executed = self._told(request, fault)
            name = str(fault.get("fault", "none"))
        else:
            name = fault
            executed = FAULTS[name].executed
            reply, executed = self._answer(request) if executed else (Reply(200, []), False)
            if name != "none":
                reply = spoil(reply, name, request.protocol == "h2", self._delay_s)
        attempt = request.headers.get("sluiceway-attempt", "")
        seen = Seen(
            request.method, request.path, request.protocol, attempt, name, executed, request.body
        )
        with self._lock:
            self.seen.append(seen)
        return reply

    def _answer(self, request: Request) -> tuple[Reply, bool]:
        if not _of_provider(request):
            return Reply(200, [("content-type", "application/json")], _BODY), True
        before = self._simulator.books.executed
        reply = self._simulator.handle(request)
        return reply, self._simulator.books.executed != before

    def _told(self, request: Request, settings: Mapping[str, object]) -> tuple[Reply, bool]:
        """A fault of the simulator's own, by its settings."""
        if _of_provider(request):
            words = " ".join(f"{key}={value}" for key, value in settings.items())
            request.headers["sluiceway-simulator"] = words
            return self._answer(request)
        typed = combine(read_settings(settings))
        status = error_status(typed) if typed.fault in ("status", "html_error") else 200
        executed = executes_by_default(typed) if typed.executed is None else typed.executed
        return Reply(status, [("content-type", "application/json")], _BODY), executed

    @property
    def billed_nanousd(self) -> int:
        """The simulation's bill."""
        return self._simulator.books.total_nanousd

    # -- listening

    async def start(self) -> None:
        """Opens the listener and fills in the addresses. Raises StartError."""
        scheme = "https" if self._tls else "http"
        try:
            if self._tls:
                self._make_contexts()
            if self._unix_socket:
                self._listener = await asyncio.get_running_loop().create_unix_server(
                    self._front, self._unix_socket, backlog=_BACKLOG
                )
                self.url = f"{scheme}://localhost"
                return
            if self._faults[0] in STANDING:
                port = self._stand(str(self._faults[0]))
            else:
                self._listener = await asyncio.get_running_loop().create_server(
                    self._front, HOST, self._port, backlog=_BACKLOG
                )
                port = self._listener.sockets[0].getsockname()[1]
        except OSError as error:
            await self.stop()
            raise StartError(f"the fault server cannot listen: {error}") from error
        self.url = f"{scheme}://{HOST}:{port}"

    def _front(self) -> Front:
        listener = partial(Listener, self.handle, self._connections, self._streams_max)
        context = self._context if self._tls else None
        return Front(
            self._for_connection,
            context,
            listener,
            self._connections,
            self._transports,
            self._delay_s,
        )

    def _make_contexts(self) -> None:
        from sluiceway.simulator.tls import Authority

        self._folder = tempfile.TemporaryDirectory(prefix="sluiceway-faults-")
        folder = Path(self._folder.name)
        authority = Authority(folder)
        (folder / "other").mkdir()
        self._contexts = {
            "none": authority.server(asks_client=self._asks_client),
            "tls_expired": authority.server(expired=True),
            "tls_wrong_host": authority.server(host="elsewhere.example"),
            "tls_untrusted": Authority(folder / "other").server(),
        }
        offered = {"1.1": ["http/1.1"], "2": ["h2"], "auto": ["h2", "http/1.1"]}
        for context in self._contexts.values():
            context.set_alpn_protocols(offered[self._http_version])
        self.ca_file = str(authority.ca_file)
        if self._asks_client:
            self.client_file = str(authority.client())

    def _context(self, fault: str) -> ssl.SSLContext:
        return self._contexts.get(fault, self._contexts["none"])

    def _stand(self, fault: str) -> int:
        """A port where nobody listens, or one whose queue of connections is full."""
        listener = socket.socket()
        self._sockets.append(listener)
        listener.bind((HOST, self._port))
        port = int(listener.getsockname()[1])
        if fault == "connect_hang":
            listener.listen(0)
            for _ in range(_FILLERS):
                filler = socket.socket()
                filler.setblocking(False)
                filler.connect_ex((HOST, port))
                self._sockets.append(filler)
        return port

    async def stop(self) -> None:
        """Closes the listener, every connection and the certificates' folder."""
        if self._listener is not None:
            # A connection that is accepted while the listener closes would be lost unclosed.
            for sock in self._listener.sockets:
                asyncio.get_running_loop().remove_reader(sock.fileno())
            await _turns()  # what was just accepted becomes a connection
            self._listener.close()
        for connection in list(self._connections):
            connection.abort()
        for transport in list(self._transports):  # those in a handshake, or closing politely
            transport.abort()
        await _turns()  # closing transports call connection_lost, which cancels what is played
        for sock in self._sockets:
            sock.close()
        await self._simulator.stop()
        if self._folder is not None:
            self._folder.cleanup()
            self._folder = None
