"""Where a connection begins: faults of connecting and of the TLS handshake, then the simulator.

The listener is a plain one; TLS begins by hand, because each connection may meet another fate. One
thread: the loop's.
"""

from __future__ import annotations

import asyncio
import fcntl
import socket
import ssl
import struct
import termios
from array import array
from collections.abc import Callable, MutableSet
from typing import cast

from sluiceway.simulator.listener import Listener
from sluiceway.simulator.server_h1 import Connection

_NOT_TLS = b"HTTP/1.1 400 Bad Request\r\ncontent-length: 0\r\nconnection: close\r\n\r\n"
_ARRIVAL_POLL_S, _ARRIVAL_POLLS = 0.001, 5_000


def reset(transport: asyncio.BaseTransport) -> None:
    """Closes with RST."""
    sock = transport.get_extra_info("socket")
    sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
    cast(asyncio.Transport, transport).abort()


async def _arrival(transport: asyncio.Transport) -> None:
    """Waits until the client has sent something, and reads nothing of it."""
    sock = transport.get_extra_info("socket")
    waiting = array("i", [0])
    for _ in range(_ARRIVAL_POLLS):
        fcntl.ioctl(sock.fileno(), termios.FIONREAD, waiting)
        if waiting[0] > 0 or transport.is_closing():
            return
        await asyncio.sleep(_ARRIVAL_POLL_S)


class _Early(asyncio.Protocol):
    """Keeps what comes in the same read as the end of the handshake."""

    def __init__(self) -> None:
        self.data = bytearray()
        self.lost = False

    def data_received(self, data: bytes) -> None:
        self.data += data

    def connection_lost(self, exc: Exception | None) -> None:
        self.lost = True


class Front(Connection):
    """The first protocol of every connection of the fault server."""

    def __init__(
        self,
        fault: Callable[[], str],
        context: Callable[[str], ssl.SSLContext] | None,
        listener: Callable[[], Listener],
        connections: set[Connection],
        transports: MutableSet[asyncio.Transport],
        delay_s: float,
    ) -> None:
        """`fault` names this connection's fault ("none"), `context` is its TLS; None: no TLS."""
        self._fault = fault
        self._context = context
        self._listener = listener
        self._connections = connections
        self._transports = transports
        self._delay_s = delay_s
        self._name = ""
        self._transport: asyncio.Transport | None = None
        self._task: asyncio.Task[None] | None = None

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Decides what becomes of the connection."""
        self._transport = cast(asyncio.Transport, transport)
        self._connections.add(self)
        self._transports.add(self._transport)
        self._name = self._fault()
        if self._name not in ("tls_stall", "tls_cut", "tls_reset", "tls_not_tls"):
            self._transport.pause_reading()
            self._task = asyncio.get_running_loop().create_task(self._go_on(self._transport))

    def connection_lost(self, exc: Exception | None) -> None:
        """The client left, or we closed."""
        self._connections.discard(self)
        self._transport = None

    def data_received(self, data: bytes) -> None:
        """The client's half of a handshake that will not be completed."""
        if self._transport is None or self._name == "tls_stall":
            return
        if self._name == "tls_reset":
            reset(self._transport)
            return
        if self._name == "tls_not_tls":
            self._transport.write(_NOT_TLS)
        self._transport.close()

    async def _go_on(self, transport: asyncio.Transport) -> None:
        # Older asyncio (CPython 3.11.2 does it) starts to read after connection_made, paused or
        # not, and believes itself paused: only this pauses it. Nothing has been read until here.
        transport.resume_reading()
        transport.pause_reading()
        if self._name == "slow_accept":
            await asyncio.sleep(self._delay_s)
        if self._name in ("close_at_accept", "reset_at_accept"):
            await _arrival(transport)
            if self._name == "reset_at_accept":
                reset(transport)
            else:
                transport.close()
            return
        listener = self._listener()
        if self._context is None:
            self._connections.discard(self)
            transport.set_protocol(listener)
            listener.connection_made(transport)
            transport.resume_reading()
            return
        early = _Early()
        try:
            secure = await asyncio.get_running_loop().start_tls(
                transport, early, self._context(self._name), server_side=True
            )
        except (OSError, asyncio.CancelledError):  # SSLError is an OSError
            secure = None
        self._connections.discard(self)
        if secure is None or secure.is_closing() or early.lost:
            transport.abort()
            return
        secure.set_protocol(listener)
        listener.connection_made(secure)  # which hands the connection over, see listener.py
        if early.data:
            cast(asyncio.Protocol, secure.get_protocol()).data_received(bytes(early.data))

    def abort(self) -> None:
        """Closes at once."""
        if self._transport is not None:
            self._transport.abort()
