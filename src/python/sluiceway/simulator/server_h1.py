"""One HTTP/1.1 connection of the simulator, over TCP or TLS.

Answers that need no waiting are written at once from `data_received`, in a single write; all
others are played by a task, and requests that are pipelined behind one wait in the buffer. The
client's end of file cancels what is being played. One thread: the loop's.
"""

from __future__ import annotations

import asyncio
import socket
import struct
from collections.abc import Callable
from http import HTTPStatus
from typing import cast

from sluiceway.simulator.h1_reader import BadRequest, H1Reader
from sluiceway.simulator.message import Headers, Reply, Request
from sluiceway.simulator.player import play
from sluiceway.simulator.settings import Settings

Handler = Callable[[Request], Reply]
_PIPELINED_BYTES_MAX = 1024 * 1024
_REASONS = {status.value: status.phrase for status in HTTPStatus} | {529: "Overloaded"}


def head_bytes(status: int, headers: Headers, length: int | None, keep_alive: bool) -> bytes:
    """The head of an answer; without a length the body is chunked."""
    lines = [f"HTTP/1.1 {status} {_REASONS.get(status, 'Unknown')}"]
    lines += [f"{name}: {value}" for name, value in headers]
    lines.append("transfer-encoding: chunked" if length is None else f"content-length: {length}")
    lines.append("connection: keep-alive" if keep_alive else "connection: close")
    return ("\r\n".join(lines) + "\r\n\r\n").encode("latin-1")


class Connection(asyncio.Protocol):
    """What the server keeps of every connection, to close it in the end."""

    def abort(self) -> None:
        """Closes at once."""
        raise NotImplementedError


class H1Connection(Connection):
    """Serves one connection; it is its own `Wire`, since it answers one request at a time."""

    def __init__(self, handler: Handler, connections: set[Connection]) -> None:
        self._handler = handler
        self._connections = connections
        self._reader = H1Reader()
        self._transport: asyncio.Transport | None = None
        self._task: asyncio.Task[None] | None = None
        self._chunked = False
        self._left = 0  # bytes of the declared length that are not sent yet
        self._bodiless = False  # the answer is one to HEAD (RFC 9110, 9.3.2)
        self._writable = asyncio.Event()
        self._writable.set()

    # -- asyncio.Protocol

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Remembers the transport."""
        self._transport = cast(asyncio.Transport, transport)
        self._connections.add(self)

    def connection_lost(self, exc: Exception | None) -> None:
        """The client has left: what is being played ends."""
        self._connections.discard(self)
        self._transport = None
        self._writable.set()
        if self._task is not None:
            self._task.cancel()

    def data_received(self, data: bytes) -> None:
        """Takes bytes and serves what is complete."""
        self._reader.feed(data)
        if self._task is None:
            self._serve()
        elif self._reader.buffered > _PIPELINED_BYTES_MAX and self._transport is not None:
            self._transport.pause_reading()

    def pause_writing(self) -> None:
        """The client reads too slowly."""
        self._writable.clear()

    def resume_writing(self) -> None:
        """The client has caught up."""
        self._writable.set()

    # -- serving

    def _serve(self) -> None:
        while self._transport is not None and not self._transport.is_closing():
            try:
                request = self._reader.next_request()
            except BadRequest as error:
                self._refuse(error)
                return
            if request is None:
                if self._reader.wants_continue:
                    self._reader.wants_continue = False
                    self._transport.write(b"HTTP/1.1 100 Continue\r\n\r\n")
                return
            self._bodiless = request.method == "HEAD"
            reply = self._handler(request)
            if not reply.is_immediate:
                self._task = asyncio.get_running_loop().create_task(play(reply, self))
                self._task.add_done_callback(self._played)
                return
            self._write_whole(reply)

    def _write_whole(self, reply: Reply) -> None:
        assert self._transport is not None
        body, keep_alive = reply.body, self._reader.keep_alive
        if reply.chunked:
            head = head_bytes(reply.status, reply.headers, None, keep_alive)
            body = b"%x\r\n%s\r\n0\r\n\r\n" % (len(body), body)
        else:
            head = head_bytes(reply.status, reply.headers, len(body), keep_alive)
        self._transport.write(head if self._bodiless else head + body)
        if not keep_alive or reply.settings.close_after:
            self._transport.close()

    def _refuse(self, error: BadRequest) -> None:
        assert self._transport is not None
        body = f"{error}\n".encode()
        headers = [("content-type", "text/plain")]
        self._transport.write(head_bytes(error.status, headers, len(body), False) + body)
        self._transport.close()

    def _played(self, task: asyncio.Task[None]) -> None:
        self._task = None
        if not task.cancelled() and task.exception() is not None and self._transport is not None:
            self._transport.abort()
            task.result()  # a fault of the simulator itself: let the loop report it
        if self._transport is not None and not self._transport.is_closing():
            self._transport.resume_reading()
            self._serve()

    # -- Wire

    def head(self, status: int, headers: Headers, length: int | None) -> None:
        """Writes the head; the body is chunked if there is no length."""
        if self._transport is not None:
            self._chunked, self._left = length is None, length or 0
            if self._bodiless:
                self._chunked, self._left = False, 0
            self._transport.write(head_bytes(status, headers, length, self._reader.keep_alive))

    def data(self, chunk: bytes) -> None:
        """Writes a piece of the body, as one chunk if the body is chunked."""
        if self._transport is not None and chunk and not self._bodiless:
            if self._chunked:
                chunk = b"%x\r\n%s\r\n" % (len(chunk), chunk)
            else:
                self._left -= len(chunk)
            self._transport.write(chunk)

    async def drain(self) -> None:
        """Waits until the client reads again."""
        if not self._writable.is_set():
            await self._writable.wait()

    def end(self, settings: Settings) -> None:
        """Ends the body; closes where the request, the settings or a short body say so."""
        if self._transport is None:
            return
        if self._chunked:
            self._transport.write(b"0\r\n\r\n")
        if self._left or settings.close_after or not self._reader.keep_alive:
            self._transport.close()

    async def cut(self, settings: Settings) -> None:
        """Closes the connection in the middle: FIN, or RST with `reset=true`."""
        if self._transport is None:
            return
        if settings.reset:
            sock = self._transport.get_extra_info("socket")
            linger = struct.pack("ii", 1, 0)  # closing discards and sends RST
            sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, linger)
            self._transport.abort()
        else:
            self._transport.close()

    def refuse(self, fault: str) -> None:
        """HTTP/2 only; here it closes the connection."""
        if self._transport is not None:
            self._transport.close()

    def goaway(self) -> None:
        """HTTP/2 only; nothing to say here."""

    def raw(self, data: bytes) -> None:
        """Writes bytes as they are."""
        if self._transport is not None:
            self._transport.write(data)

    def interim(self, status: int, headers: Headers) -> None:
        """HTTP/2 only; here it is written by hand."""

    def reset(self, error_code: int) -> None:
        """HTTP/2 only; nothing to reset here."""

    def abort(self) -> None:
        """Closes at once, when the simulator stops."""
        if self._transport is not None:
            self._transport.abort()
