"""Proxies for tests: HTTP (CONNECT and absolute-form), the same inside TLS, SOCKS5.

One thread a connection on a free loopback port. A proxy writes down whom it was asked to reach and
with which words, and can refuse. Not fast, not complete: what a client needs to be seen through.
"""

from __future__ import annotations

import socket
import ssl
import struct
import threading
from types import TracebackType
from typing import Self
from urllib.parse import urlsplit


class Proxy:
    """A running proxy; `kind` is "http", "https" or "socks5"."""

    def __init__(
        self, kind: str = "http", *, context: ssl.SSLContext | None = None, refuse: int = 0
    ) -> None:
        self._kind = kind
        self._context = context
        self._refuse = refuse
        self._open: set[socket.socket] = set()
        self.heads: list[str] = []  # what the proxy itself was told
        self.targets: list[str] = []  # "host:port", a name as it was given
        self._listener = socket.create_server(("127.0.0.1", 0))
        self.port = int(self._listener.getsockname()[1])
        self._thread = threading.Thread(target=self._accept, daemon=True)
        self._thread.start()

    @property
    def url(self) -> str:
        scheme = {"socks5": "socks5h"}.get(self._kind, self._kind)
        return f"{scheme}://127.0.0.1:{self.port}"

    def _accept(self) -> None:
        while True:
            try:
                client, _ = self._listener.accept()
            except OSError:
                return
            self._open.add(client)
            threading.Thread(target=self._serve, args=(client,), daemon=True).start()

    def _serve(self, client: socket.socket) -> None:
        raw = client
        try:
            if self._context is not None:
                client = self._context.wrap_socket(client, server_side=True)
                self._open.add(client)
            if self._kind == "socks5":
                self._socks(client)
            else:
                self._http(client)
        except OSError:
            pass
        finally:
            client.close()
            raw.close()

    def _http(self, client: socket.socket) -> None:
        head = b""
        while b"\r\n\r\n" not in head:
            data = client.recv(65536)
            if not data:
                return
            head += data
        head, _, rest = head.partition(b"\r\n\r\n")
        self.heads.append(head.decode())
        line, _, fields = head.partition(b"\r\n")
        method, target, _ = line.decode().split()
        if self._refuse:
            client.sendall(f"HTTP/1.1 {self._refuse} No\r\nContent-Length: 0\r\n\r\n".encode())
            return
        if method == "CONNECT":
            self.targets.append(target)
            host, _, port = target.rpartition(":")
            with socket.create_connection((host.strip("[]"), int(port))) as server:
                client.sendall(b"HTTP/1.1 200 Connection established\r\n\r\n")
                self._relay(client, server, rest)
            return
        url = urlsplit(target)
        self.targets.append(url.netloc)
        words = f"{method} {url.path} HTTP/1.1\r\nConnection: close\r\n".encode()
        with socket.create_connection((str(url.hostname), url.port or 80)) as server:
            self._relay(client, server, words + fields + b"\r\n\r\n" + rest)

    def _socks(self, client: socket.socket) -> None:
        def take(count: int) -> bytes:
            data = b""
            while len(data) < count:
                piece = client.recv(count - len(data))
                if not piece:
                    raise ConnectionError
                data += piece
            return data

        take(take(2)[1])
        client.sendall(b"\x05\x00")
        kind = take(4)[3]
        if kind == 3:
            host = take(take(1)[0]).decode()
        else:
            host = socket.inet_ntop(
                socket.AF_INET if kind == 1 else socket.AF_INET6, take(4 if kind == 1 else 16)
            )
        (port,) = struct.unpack(">H", take(2))
        self.targets.append(f"{host}:{port}")
        if self._refuse:
            client.sendall(b"\x05" + bytes([self._refuse]) + b"\x00\x01" + bytes(6))
            return
        with socket.create_connection((host, port)) as server:
            client.sendall(b"\x05\x00\x00\x01" + bytes(6))
            self._relay(client, server, b"")

    def _relay(self, client: socket.socket, server: socket.socket, first: bytes) -> None:
        self._open.add(server)
        server.sendall(first)
        back = threading.Thread(target=self._pump, args=(server, client), daemon=True)
        back.start()
        self._pump(client, server)
        back.join()

    @staticmethod
    def _pump(source: socket.socket, sink: socket.socket) -> None:
        try:
            while data := source.recv(65536):
                sink.sendall(data)
        except OSError:
            pass
        for sock in (source, sink):  # either end gone: both go
            try:
                sock.shutdown(socket.SHUT_RDWR)
            except OSError:
                pass

    def close(self) -> None:
        self._listener.shutdown(socket.SHUT_RDWR)
        self._listener.close()
        self._thread.join()
        for sock in list(self._open):
            try:
                sock.shutdown(socket.SHUT_RDWR)
            except OSError:
                pass
            sock.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.close()
