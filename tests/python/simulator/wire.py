"""Raw clients for the simulator's tests: bytes on a socket, and HTTP/2 by the library `h2`.

They show what is really on the wire, which a comfortable client hides: an empty close, a reset, a
missing last chunk, a Content-Length that lies, RST_STREAM and GOAWAY frames. Every wait has a
timeout, so a server that stalls makes a `TimeoutError`, not a hanging test.
"""

from __future__ import annotations

import json
import socket
import ssl
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from types import TracebackType
from typing import Any, Self
from urllib.parse import urlsplit

import h2.config
import h2.connection
import h2.events
import hpack
import hyperframe.frame

from sluiceway.simulator import Simulator

TIMEOUT_S = 10.0
STALL_S = 0.3

PATHS = {
    "openai": "/openai/v1/chat/completions",
    "deepseek": "/deepseek/chat/completions",
    "anthropic": "/anthropic/v1/messages",
}
MODELS = {"openai": "gpt-4o-mini", "deepseek": "deepseek-flash", "anthropic": "claude-opus-5-5"}


def key_headers(provider: str, key: str = "fake-key") -> dict[str, str]:
    """The headers that authenticate with a provider."""
    if provider == "anthropic":
        return {"x-api-key": key, "anthropic-version": "2023-06-01"}
    return {"authorization": f"Bearer {key}"}


def chat_body(provider: str, prompt: str = "hi", **more: object) -> dict[str, Any]:
    """A minimal valid request."""
    body: dict[str, Any] = {
        "model": MODELS[provider],
        "messages": [{"role": "user", "content": prompt}],
    }
    if provider == "anthropic":
        body["max_tokens"] = 100
    return body | more


@dataclass
class Answer:
    """One parsed HTTP/1.1 answer and whether the connection was closed after it."""

    status: int
    headers: dict[str, str]
    body: bytes
    whole: bool  # the framing was complete

    @property
    def json(self) -> Any:
        """The body as JSON."""
        return json.loads(self.body)

    @property
    def events(self) -> list[str]:
        """The server-sent events, without the blank lines between them."""
        return [event for event in self.body.decode().split("\n\n") if event]

    @property
    def data(self) -> list[Any]:
        """The JSON of every event that has some, in order."""
        lines = [line for event in self.events for line in event.split("\n")]
        found = [line.removeprefix("data: ") for line in lines if line.startswith("data: ")]
        return [json.loads(text) for text in found if text != "[DONE]"]


def _origin(url: str) -> tuple[str, int]:
    parts = urlsplit(url)
    assert parts.hostname is not None
    assert parts.port is not None
    return parts.hostname, parts.port


def connect(simulator: Simulator, tls: bool = False, alpn: str = "http/1.1") -> socket.socket:
    """A connected socket, with TLS and ALPN if asked."""
    sock = socket.create_connection(
        _origin(simulator.https_url if tls else simulator.http_url), timeout=TIMEOUT_S
    )
    if not tls:
        return sock
    context = ssl.create_default_context(cafile=simulator.ca_file)
    context.set_alpn_protocols([alpn])
    secure = context.wrap_socket(sock, server_hostname="127.0.0.1")
    assert secure.selected_alpn_protocol() == alpn
    return secure


class H1:
    """One HTTP/1.1 connection."""

    def __init__(self, simulator: Simulator, tls: bool = False) -> None:
        self.sock = connect(simulator, tls)
        self._buffer = bytearray()
        self.chunks_seen = 0  # of the last chunked answer, without its last chunk

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.sock.close()

    def send(
        self, path: str, body: object = None, headers: Mapping[str, str] = {}, method: str = ""
    ) -> None:
        """Sends one request; a body makes it a POST."""
        payload = b"" if body is None else json.dumps(body).encode()
        method = method or ("POST" if payload else "GET")
        lines = [f"{method} {path} HTTP/1.1", "host: 127.0.0.1", f"content-length: {len(payload)}"]
        lines += [f"{name}: {value}" for name, value in headers.items()]
        self.sock.sendall("\r\n".join(lines).encode("latin-1") + b"\r\n\r\n" + payload)

    def chat(
        self,
        provider: str,
        prompt: str = "hi",
        headers: Mapping[str, str] = {},
        **more: object,
    ) -> Answer:
        """Sends a chat request and reads the answer."""
        self.send_chat(provider, prompt, headers, **more)
        return self.read()

    def send_chat(
        self,
        provider: str,
        prompt: str = "hi",
        headers: Mapping[str, str] = {},
        **more: object,
    ) -> None:
        """Sends a chat request and does not read."""
        body = chat_body(provider, prompt, **more)
        self.send(PATHS[provider], body, {**key_headers(provider), **headers})

    def _more(self) -> bool:
        data = self.sock.recv(65536)
        self._buffer += data
        return bool(data)

    def _until(self, mark: bytes) -> bytes | None:
        while mark not in self._buffer:
            if not self._more():
                return None
        end = self._buffer.find(mark)
        found = bytes(self._buffer[:end])
        del self._buffer[: end + len(mark)]
        return found

    def _exactly(self, size: int) -> bytes | None:
        while len(self._buffer) < size:
            if not self._more():
                return None
        found = bytes(self._buffer[:size])
        del self._buffer[:size]
        return found

    def closed(self, timeout_s: float = TIMEOUT_S) -> bool:
        """Whether the server has closed (True) or stays silent (False)."""
        self.sock.settimeout(timeout_s)
        try:
            return self.sock.recv(1) == b""
        except TimeoutError:
            return False

    def read_interim(self) -> bytes:
        """Reads a head without a body, such as 100 Continue."""
        head = self._until(b"\r\n\r\n")
        assert head is not None
        return head

    def read(self) -> Answer:
        """Reads one answer. Raises ConnectionError if the server closes before the head."""
        head = self._until(b"\r\n\r\n")
        if head is None:
            raise ConnectionError("closed without an answer")
        lines = head.decode("latin-1").split("\r\n")
        headers = dict(line.split(": ", 1) for line in lines[1:])
        status = int(lines[0].split(" ")[1])
        if "content-length" in headers:
            size = int(headers["content-length"])
            body = self._exactly(size)
            if body is None:
                return Answer(status, headers, bytes(self._buffer), whole=False)
            return Answer(status, headers, body, whole=True)
        body, whole = self._read_chunks()
        return Answer(status, headers, body, whole)

    def _read_chunks(self) -> tuple[bytes, bool]:
        body = bytearray()
        self.chunks_seen = 0
        while True:
            line = self._until(b"\r\n")
            if line is None:
                return bytes(body), False
            chunk = self._exactly(int(line, 16) + 2)
            if chunk is None:
                return bytes(body + self._buffer), False
            if line == b"0":
                return bytes(body), True
            body += chunk[:-2]
            self.chunks_seen += 1


@dataclass
class Stream:
    """What came back on one HTTP/2 stream."""

    status: int = 0
    headers: dict[str, str] = field(default_factory=dict)
    body: bytes = b""
    ended: bool = False
    reset: int | None = None

    @property
    def json(self) -> Any:
        """The body as JSON."""
        return json.loads(self.body)


@dataclass
class CutBody:
    """What Content-Length said and what came."""

    declared: int = 0
    received: int = 0
    end_stream: bool = False


class H2:
    """One HTTP/2 connection."""

    def __init__(self, simulator: Simulator, tls: bool = True) -> None:
        self.sock = connect(simulator, tls, "h2")
        config = h2.config.H2Configuration(
            client_side=True, header_encoding="utf-8", validate_inbound_headers=False
        )
        self.h2 = h2.connection.H2Connection(config)
        self.h2.initiate_connection()
        self.sock.sendall(self.h2.data_to_send())
        self.streams: dict[int, Stream] = {}
        self.goaway_last: int | None = None
        self._frames = b""
        self.closed = False

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.sock.close()

    def send_chat(
        self, provider: str, prompt: str = "hi", headers: Mapping[str, str] = {}, **more: object
    ) -> int:
        """Sends a chat request and returns its stream id."""
        payload = json.dumps(chat_body(provider, prompt, **more)).encode()
        stream_id = self.h2.get_next_available_stream_id()
        fields = [
            (":method", "POST"),
            (":scheme", "https"),
            (":authority", "127.0.0.1"),
            (":path", PATHS[provider]),
            *key_headers(provider).items(),
            *headers.items(),
        ]
        self.h2.send_headers(stream_id, fields)
        while payload:
            size = min(len(payload), self.h2.max_outbound_frame_size)
            self.h2.send_data(stream_id, payload[:size])
            payload = payload[size:]
        self.h2.end_stream(stream_id)
        self.streams[stream_id] = Stream()
        self.sock.sendall(self.h2.data_to_send())
        return stream_id

    def chat(
        self, provider: str, prompt: str = "hi", headers: Mapping[str, str] = {}, **more: object
    ) -> Stream:
        """Sends a chat request and reads until its stream ends or the connection closes."""
        stream = self.streams[self.send_chat(provider, prompt, headers, **more)]
        self.run(lambda: stream.ended or stream.reset is not None)
        return stream

    def send_cut_body(self, headers: Mapping[str, str]) -> CutBody:
        """Sends a chat request and reads its frames without h2's check of Content-Length, which
        would stop at the very thing that is to be seen."""
        stream_id = self.send_chat("openai", "hi", headers)
        decoder, cut, buffer = hpack.Decoder(), CutBody(), b""
        while not cut.end_stream:
            data = self.sock.recv(65536)
            assert data, "closed before END_STREAM"
            buffer += data
            while len(buffer) >= 9:
                frame, length = hyperframe.frame.Frame.parse_frame_header(memoryview(buffer[:9]))
                if len(buffer) < 9 + length:
                    break
                frame.parse_body(memoryview(buffer[9 : 9 + length]))
                buffer = buffer[9 + length :]
                if frame.stream_id != stream_id:
                    continue
                if isinstance(frame, hyperframe.frame.HeadersFrame):
                    fields = {str(key): value for key, value in decoder.decode(frame.data)}
                    cut.declared = int(fields["content-length"])
                elif isinstance(frame, hyperframe.frame.DataFrame):
                    cut.received += len(frame.data)
                cut.end_stream = "END_STREAM" in frame.flags
        return cut

    def run(self, done: Callable[[], bool], timeout_s: float = TIMEOUT_S) -> None:
        """Reads until `done()` or the end of the connection. Raises TimeoutError."""
        self.sock.settimeout(timeout_s)
        while not done() and not self.closed:
            data = self.sock.recv(65536)
            if not data:
                self.closed = True
                return
            for event in self.h2.receive_data(self._without_goaway(data)):
                self._on_event(event)
            self.sock.sendall(self.h2.data_to_send())

    def _without_goaway(self, data: bytes) -> bytes:
        """Whole frames for the library, which would read nothing more after a GOAWAY."""
        self._frames += data
        passed = b""
        while len(self._frames) >= 9:
            frame, length = hyperframe.frame.Frame.parse_frame_header(memoryview(self._frames[:9]))
            if len(self._frames) < 9 + length:
                break
            raw, self._frames = self._frames[: 9 + length], self._frames[9 + length :]
            if isinstance(frame, hyperframe.frame.GoAwayFrame):
                frame.parse_body(memoryview(raw[9:]))
                self.goaway_last = frame.last_stream_id
            else:
                passed += raw
        return passed

    def _on_event(self, event: h2.events.Event) -> None:
        if isinstance(event, h2.events.ResponseReceived):
            headers = {str(name): str(value) for name, value in event.headers}
            stream = self.streams[event.stream_id]
            stream.status, stream.headers = int(headers[":status"]), headers
        elif isinstance(event, h2.events.DataReceived):
            self.streams[event.stream_id].body += event.data or b""
            if event.flow_controlled_length:
                self.h2.acknowledge_received_data(event.flow_controlled_length, event.stream_id)
        elif isinstance(event, h2.events.StreamEnded):
            self.streams[event.stream_id].ended = True
        elif isinstance(event, h2.events.StreamReset):
            self.streams[event.stream_id].reset = int(event.error_code)
