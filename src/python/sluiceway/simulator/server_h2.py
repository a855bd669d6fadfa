"""One HTTP/2 connection of the simulator, over TLS (ALPN) or in the clear (prior knowledge).

The sans-IO library `h2` keeps the protocol's state; this file moves bytes, keeps a queue for each
stream under flow control, and plays replies as tasks. GOAWAY frames are written past the library,
which would refuse to finish the streams that stay valid.

GOAWAY is honest: its last stream id covers every stream that has been executed, so a client that
re-sends what lies above it re-sends nothing that was charged. Bounds: 64 MiB a request body; what
is queued for a stream is bounded by `drain`. One thread: the loop's.
"""

from __future__ import annotations

import asyncio
from dataclasses import dataclass, field
from typing import cast

import h2.config
import h2.connection
import h2.errors
import h2.events
import h2.exceptions
import h2.settings
import hyperframe.frame

from sluiceway.simulator.h1_reader import BODY_BYTES_MAX
from sluiceway.simulator.message import Headers, Reply, Request
from sluiceway.simulator.player import play
from sluiceway.simulator.server_h1 import Connection, Handler
from sluiceway.simulator.settings import H2_ERRORS, Settings

_WINDOW_BYTES = 16 * 1024 * 1024
_QUEUED_BYTES_MAX = 256 * 1024
_STREAMS_MAX = 1000


@dataclass(slots=True)
class _Stream:
    """One exchange: what has come in, what waits to go out."""

    headers: dict[str, str]
    body: bytearray = field(default_factory=bytearray)
    queue: bytearray = field(default_factory=bytearray)
    ending: bool = False
    task: asyncio.Task[None] | None = None
    room: asyncio.Event = field(default_factory=asyncio.Event)


class H2Connection(Connection):
    """Serves one HTTP/2 connection."""

    def __init__(
        self,
        handler: Handler,
        connections: set[Connection],
        streams_max: int = _STREAMS_MAX,
    ) -> None:
        """`streams_max` is announced; a stream beyond it is refused, and nothing else suffers."""
        self._handler = handler
        self._connections = connections
        self._streams_max = streams_max
        config = h2.config.H2Configuration(client_side=False, header_encoding="utf-8")
        self._h2 = h2.connection.H2Connection(config)
        self._transport: asyncio.Transport | None = None
        self._streams: dict[int, _Stream] = {}
        self.refused = 0  # streams beyond the announced limit
        self._executed_last = 0  # the highest stream that was handed to the simulation
        self._goaway_last: int | None = None
        self._close_when_quiet = False
        self._corked = False  # while bytes are being read: one write for all that they cause

    # -- asyncio.Protocol

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Sends the settings and opens the windows."""
        self._transport = cast(asyncio.Transport, transport)
        self._connections.add(self)
        codes = h2.settings.SettingCodes
        self._h2.local_settings = h2.settings.Settings(
            client=False,
            initial_values={
                codes.INITIAL_WINDOW_SIZE: _WINDOW_BYTES,
                codes.MAX_CONCURRENT_STREAMS: self._streams_max,
                codes.MAX_HEADER_LIST_SIZE: 64 * 1024,
                codes.ENABLE_PUSH: 0,
            },
        )
        self._h2.initiate_connection()
        if self._streams_max < _STREAMS_MAX:
            # The library would end the connection over one stream too many; real servers refuse
            # that stream (RFC 9113, 5.1.2), so it is told of a limit that is never reached.
            self._h2.local_settings = h2.settings.Settings(
                client=False,
                initial_values={
                    codes.INITIAL_WINDOW_SIZE: _WINDOW_BYTES,
                    codes.MAX_CONCURRENT_STREAMS: 1_000_000,
                    codes.MAX_HEADER_LIST_SIZE: 64 * 1024,
                    codes.ENABLE_PUSH: 0,
                },
            )
        self._h2.increment_flow_control_window(_WINDOW_BYTES)
        self._flush()

    def connection_lost(self, exc: Exception | None) -> None:
        """The client has left: everything that is being played ends."""
        self._connections.discard(self)
        self._transport = None
        for stream in list(self._streams.values()):
            if stream.task is not None:
                stream.task.cancel()
        self._streams.clear()

    def data_received(self, data: bytes) -> None:
        """Lets the library read, and acts on what it saw."""
        try:
            events = self._h2.receive_data(data)
        except h2.exceptions.ProtocolError:
            self._flush()
            self._close()
            return
        self._corked = True
        for event in events:
            self._on_event(event)
        self._corked = False
        self._flush()
        self._close_if_quiet()

    def _on_event(self, event: h2.events.Event) -> None:
        if isinstance(event, h2.events.RequestReceived):
            self._open(event.stream_id, event.headers)
        elif isinstance(event, h2.events.DataReceived):
            self._take(event)
        elif isinstance(event, h2.events.StreamEnded):
            self._execute(event.stream_id)
        elif isinstance(event, h2.events.WindowUpdated):
            for stream_id in [event.stream_id] if event.stream_id else list(self._streams):
                self._pump(stream_id)
        elif isinstance(event, h2.events.RemoteSettingsChanged):
            for stream_id in list(self._streams):
                self._pump(stream_id)
        elif isinstance(event, h2.events.StreamReset):
            self._forget(event.stream_id, cancel=True)
        elif isinstance(event, h2.events.ConnectionTerminated):
            self._close_when_quiet = True

    # -- requests

    def _open(self, stream_id: int, raw: object) -> None:
        if self._goaway_last is not None and stream_id > self._goaway_last:
            return  # announced as not processed: the client knows
        if len(self._streams) >= self._streams_max:
            self._h2.reset_stream(stream_id, H2_ERRORS["refused_stream"])
            self.refused += 1
            return
        headers: dict[str, str] = {}
        for name, value in cast(list[tuple[str, str]], raw):
            headers[name] = f"{headers[name]}, {value}" if name in headers else value
        self._streams[stream_id] = _Stream(headers)

    def _take(self, event: h2.events.DataReceived) -> None:
        stream = self._streams.get(event.stream_id)
        if event.flow_controlled_length:
            self._h2.acknowledge_received_data(event.flow_controlled_length, event.stream_id)
        if stream is None:
            return
        stream.body += event.data or b""
        if len(stream.body) > BODY_BYTES_MAX:
            self._reset(event.stream_id, H2_ERRORS["cancel"])

    def _execute(self, stream_id: int) -> None:
        stream = self._streams.get(stream_id)
        if stream is None:
            return
        headers = stream.headers
        path, _, query = headers.get(":path", "/").partition("?")
        body = bytes(stream.body)
        stream.body = bytearray()
        request = Request(headers.get(":method", ""), path, query, headers, body, "h2")
        reply = self._handler(request)
        if reply.wire_fault not in ("goaway", "refused"):
            self._executed_last = max(self._executed_last, stream_id)
        if reply.wire_fault == "goaway" and reply.latency_s == 0.0:
            self.goaway(stream_id, answered=False)  # at once: nothing behind it is executed
            return
        wire = _StreamWire(self, stream_id, request.method == "HEAD")
        if reply.is_immediate:
            wire.head(reply.status, reply.headers, len(reply.body))
            wire.data(reply.body)
            wire.end(reply.settings)
            return
        self._play(stream, reply, wire)

    def _play(self, stream: _Stream, reply: Reply, wire: _StreamWire) -> None:
        stream.task = asyncio.get_running_loop().create_task(play(reply, wire))
        stream.task.add_done_callback(self._played)

    def _played(self, task: asyncio.Task[None]) -> None:
        if not task.cancelled() and task.exception() is not None:
            self.abort()
            task.result()  # a fault of the simulator itself: let the loop report it
        self._close_if_quiet()

    # -- streams, used by _StreamWire

    def send_head(self, stream_id: int, headers: list[tuple[str, str]]) -> None:
        """Sends the response's headers, unless the stream is gone."""
        if stream_id not in self._streams:
            return
        try:
            self._h2.send_headers(stream_id, headers)
        except h2.exceptions.ProtocolError:  # the client's reset came with its request, in one read
            self._forget(stream_id, cancel=False)
        self._flush()

    def queue(self, stream_id: int, chunk: bytes, ending: bool) -> None:
        """Queues bytes, or the end, and sends what flow control lets through."""
        stream = self._streams.get(stream_id)
        if stream is not None:
            stream.queue += chunk
            stream.ending = stream.ending or ending
            self._pump(stream_id)
            self._flush()

    async def drained(self, stream_id: int, bytes_max: int) -> None:
        """Waits until at most `bytes_max` are queued for the stream."""
        stream = self._streams.get(stream_id)
        while stream is not None and len(stream.queue) > bytes_max:
            stream.room.clear()
            await stream.room.wait()
            stream = self._streams.get(stream_id)

    def _pump(self, stream_id: int) -> None:
        stream = self._streams.get(stream_id)
        if stream is None:
            return
        while stream.queue:
            room = self._h2.local_flow_control_window(stream_id)
            size = min(room, self._h2.max_outbound_frame_size, len(stream.queue))
            if size <= 0:
                return
            last = stream.ending and size == len(stream.queue)
            self._h2.send_data(stream_id, bytes(stream.queue[:size]), end_stream=last)
            del stream.queue[:size]
            if last:
                self._forget(stream_id)
                return
        stream.room.set()
        if stream.ending:
            self._h2.end_stream(stream_id)
            self._forget(stream_id)

    def _forget(self, stream_id: int, cancel: bool = False) -> None:
        stream = self._streams.pop(stream_id, None)
        if stream is not None:
            stream.room.set()
            if cancel and stream.task is not None:
                stream.task.cancel()

    def _reset(self, stream_id: int, error_code: int) -> None:
        if stream_id in self._streams:
            self._h2.reset_stream(stream_id, error_code)
            self._forget(stream_id)
            self._flush()

    def reset_with(self, stream_id: int, error_code: int) -> None:
        """Sends RST_STREAM with this code."""
        self._reset(stream_id, error_code)

    def reset(self, stream_id: int, settings: Settings) -> None:
        """Sends RST_STREAM with the settings' code; `reset=true` drops the whole connection."""
        if settings.reset:
            self.abort()
        else:
            self._reset(stream_id, H2_ERRORS[settings.h2_error])

    def refuse(self, stream_id: int) -> None:
        """Sends RST_STREAM(REFUSED_STREAM): certainly not executed."""
        self._reset(stream_id, H2_ERRORS["refused_stream"])

    def goaway(self, stream_id: int, answered: bool) -> None:
        """Sends GOAWAY; what was executed stays valid, what lies above is refused by it."""
        last = max(self._executed_last, stream_id) if answered else self._executed_last
        if self._goaway_last is None or last < self._goaway_last:
            self._goaway_last = last
        frame = hyperframe.frame.GoAwayFrame(0, last_stream_id=last, error_code=0)
        if self._transport is not None:
            self._transport.write(self._h2.data_to_send() + frame.serialize())
        if not answered and stream_id < last:
            self.refuse(stream_id)
        for other in [other for other in self._streams if other > last]:
            self._forget(other)
        self._close_when_quiet = True

    def write(self, data: bytes) -> None:
        """Writes bytes past the library, after what it has to say."""
        self._flush()
        if self._transport is not None:
            self._transport.write(data)

    def close_when_quiet(self) -> None:
        """Closes the connection once every stream is done."""
        self._close_when_quiet = True
        self._close_if_quiet()

    # -- the connection

    def _flush(self) -> None:
        if self._corked:
            return
        data = self._h2.data_to_send()
        if data and self._transport is not None:
            self._transport.write(data)

    def _close_if_quiet(self) -> None:
        if self._close_when_quiet and not self._streams and not self._corked:
            self._close()

    def _close(self) -> None:
        if self._transport is not None:
            self._transport.close()

    def abort(self) -> None:
        """Closes at once."""
        if self._transport is not None:
            self._transport.abort()


class _StreamWire:
    """One stream as the player's wire."""

    __slots__ = ("_bodiless", "_connection", "_stream_id")

    def __init__(self, connection: H2Connection, stream_id: int, bodiless: bool) -> None:
        """`bodiless`: the answer is one to HEAD (RFC 9110, 9.3.2)."""
        self._connection = connection
        self._stream_id = stream_id
        self._bodiless = bodiless

    def head(self, status: int, headers: Headers, length: int | None) -> None:
        """Sends `:status` and the headers."""
        fields = [(":status", str(status)), *headers]
        if length is not None:
            fields.append(("content-length", str(length)))
        self._connection.send_head(self._stream_id, fields)

    def data(self, chunk: bytes) -> None:
        """Queues a piece of the body."""
        if chunk and not self._bodiless:
            self._connection.queue(self._stream_id, chunk, ending=False)

    async def drain(self) -> None:
        """Waits while more than 256 KiB are queued."""
        await self._connection.drained(self._stream_id, _QUEUED_BYTES_MAX)

    def end(self, settings: Settings) -> None:
        """Ends the stream after what is queued."""
        self._connection.queue(self._stream_id, b"", ending=True)
        if settings.close_after:
            self._connection.close_when_quiet()

    async def cut(self, settings: Settings) -> None:
        """Resets the stream once everything queued has left."""
        await self._connection.drained(self._stream_id, 0)
        self._connection.reset(self._stream_id, settings)

    def refuse(self, fault: str) -> None:
        """Refuses the stream, by GOAWAY or by RST_STREAM."""
        if fault == "goaway":
            self._connection.goaway(self._stream_id, answered=False)
        else:
            self._connection.refuse(self._stream_id)

    def goaway(self) -> None:
        """Announces that this answer is the connection's last."""
        self._connection.goaway(self._stream_id, answered=True)

    def raw(self, data: bytes) -> None:
        """Writes frames, or what are none."""
        self._connection.write(data)

    def interim(self, status: int, headers: Headers) -> None:
        """Sends an informational block of headers."""
        self._connection.send_head(self._stream_id, [(":status", str(status)), *headers])

    def reset(self, error_code: int) -> None:
        """Sends RST_STREAM."""
        self._connection.reset_with(self._stream_id, error_code)
