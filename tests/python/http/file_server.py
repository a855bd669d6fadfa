"""A small HTTP/1.1 server of files that takes uploads, breaks downloads off, and counts.

Model: a thread a connection, on a free loopback port. Below "/files/" it serves `Resource`s, with
validators, ranges and If-Range as RFC 9110 asks for, unless a resource is told to do otherwise.
Everything else takes a body without keeping it and answers with its length and SHA-256. What was
asked is in `seen`. Nothing here comes from the code under test.

    with FileServer() as server:
        server.files["/files/v.mp4"] = Resource(b"...", cuts=[1000])
        ... server.url + "/files/v.mp4"
"""

from __future__ import annotations

import hashlib
import re
import threading
from dataclasses import dataclass, field
from email.utils import formatdate
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any, Self

_PIECE = 65_536
OLD_S = 1_000_000_000  # 2001: a Last-Modified that is a strong validator


@dataclass
class Resource:
    """What is served, and how badly."""

    body: bytes
    etag: str = '"v1"'
    modified_s: int | None = None
    ranges: bool = True
    length: bool = True  # else chunked
    cuts: list[int] = field(default_factory=list)  # break off after so many bytes, one an answer
    next_body: bytes | None = None  # what it is from the second answer on
    next_etag: str = '"v2"'
    statuses: list[int] = field(default_factory=list)  # answered instead, one a request
    location: str = ""
    ignore_if_range: bool = False
    headers: dict[str, str] = field(default_factory=dict)
    gate: threading.Event | None = None  # waited for after the first 64 kB
    sent: int = 0  # bytes of bodies that the sockets took


@dataclass(frozen=True)
class Asked:
    """One request."""

    method: str
    path: str
    headers: dict[str, str]  # by lower-case name
    body: bytes  # its first 64 kB


class FileServer:
    """A running server; a context manager."""

    def __init__(self) -> None:
        self.files: dict[str, Resource] = {}
        self.seen: list[Asked] = []
        self.lock = threading.Lock()
        self.statuses: list[int] = []  # answered to uploads instead, one each
        self.early = 0  # a status answered to uploads before their body is read
        self.read_gate: threading.Event | None = None  # waited for before a body is read
        self.done = threading.Event()
        outer = self

        class Handler(_Handler):
            server_of = outer

        self._server = _Server(("127.0.0.1", 0), Handler)
        self._thread = threading.Thread(target=self._server.serve_forever, args=(0.05,))
        self._thread.start()
        self.url = f"http://127.0.0.1:{self._server.server_address[1]}"

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *exc: object) -> None:
        self.done.set()
        for gate in (self.read_gate, *(one.gate for one in self.files.values())):
            if gate is not None:
                gate.set()
        self._server.shutdown()
        self._server.server_close()
        self._thread.join()


class _Server(ThreadingHTTPServer):
    daemon_threads = True
    request_queue_size = 256

    def handle_error(self, request: Any, client_address: Any) -> None:
        """A client that goes away is no news."""


class _Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    server_of: FileServer

    def log_message(self, format: str, *args: object) -> None:
        """Silent."""

    def do_GET(self) -> None:
        self._note(b"")
        resource = self.server_of.files.get(self.path)
        if resource is None:
            self._answer(404, b"{}")
        else:
            self._serve(resource)

    def do_POST(self) -> None:
        gate = self.server_of.read_gate
        if gate is not None:
            gate.wait()
        if self.server_of.early:
            self._note(b"")
            self.close_connection = True
            self._answer(self.server_of.early, b"{}", {"connection": "close"})
            while self.rfile.read1(_PIECE):  # closing at once would reset what was answered
                pass
            return
        left, first, digest = int(self.headers["content-length"]), b"", hashlib.sha256()
        size = left
        while left > 0:
            piece = self.rfile.read(min(left, _PIECE))
            if not piece:
                return
            first, left = first or piece, left - len(piece)
            digest.update(piece)
        self._note(first)
        with self.server_of.lock:
            status = self.server_of.statuses.pop(0) if self.server_of.statuses else 0
        if status:
            self._answer(status, b"{}")
            return
        self._answer(200, f'{{"size": {size}, "sha256": "{digest.hexdigest()}"}}'.encode())

    def do_PUT(self) -> None:
        self.do_POST()

    def _note(self, body: bytes) -> None:
        headers = {name.lower(): value for name, value in self.headers.items()}
        with self.server_of.lock:
            self.server_of.seen.append(Asked(self.command, self.path, headers, body))

    def _answer(self, status: int, body: bytes, headers: dict[str, str] | None = None) -> None:
        self.send_response(status)
        self.send_header("content-length", str(len(body)))
        for name, value in (headers or {}).items():
            self.send_header(name, value)
        self.end_headers()
        self.wfile.write(body)

    def _serve(self, resource: Resource) -> None:
        with self.server_of.lock:
            status = resource.statuses.pop(0) if resource.statuses else 0
            body, etag = resource.body, resource.etag
            cut = resource.cuts.pop(0) if resource.cuts and not status else None
            if resource.next_body is not None and not status:
                resource.body, resource.etag = resource.next_body, resource.next_etag
                resource.next_body = None
        if status:
            self._answer(
                status, b"{}", {"location": resource.location} if resource.location else {}
            )
            return
        headers = dict(resource.headers)
        if etag:
            headers["etag"] = etag
        modified = (
            "" if resource.modified_s is None else formatdate(resource.modified_s, usegmt=True)
        )
        if modified:
            headers["last-modified"] = modified
        wanted = self.headers.get("range", "")
        match = re.fullmatch(r"bytes=(\d+)-", wanted)
        condition = self.headers.get("if-range")
        same = condition is None or condition in (etag, modified) or resource.ignore_if_range
        start = 0
        if match and resource.ranges and same:
            start = int(match[1])
            if start >= len(body):
                self._answer(416, b"", {"content-range": f"bytes */{len(body)}"})
                return
            headers["content-range"] = f"bytes {start}-{len(body) - 1}/{len(body)}"
        self._send_body(
            206 if "content-range" in headers else 200, body[start:], headers, resource, cut
        )

    def _send_body(
        self, status: int, body: bytes, headers: dict[str, str], resource: Resource, cut: int | None
    ) -> None:
        self.send_response(status)
        for name, value in headers.items():
            self.send_header(name, value)
        if resource.length:
            self.send_header("content-length", str(len(body)))
        else:
            self.send_header("transfer-encoding", "chunked")
        self.end_headers()
        end = len(body) if cut is None else cut
        for at in range(0, end, _PIECE):
            piece = body[at : min(at + _PIECE, end)]
            framed = piece if resource.length else b"%x\r\n%s\r\n" % (len(piece), piece)
            self.wfile.write(framed)
            resource.sent += len(piece)
            if resource.gate is not None:
                self.wfile.flush()
                resource.gate.wait()
        if cut is not None:
            self.close_connection = True
        elif not resource.length:
            self.wfile.write(b"0\r\n\r\n")
