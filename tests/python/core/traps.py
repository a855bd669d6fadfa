"""Servers that do not do what a server should: for deadlines and for cancels at every stage.

Each is a socket on loopback with a thread at most, and closes with its `with` block.

    with Deaf() as server:
        route = bench.route(url=server.url)
"""

from __future__ import annotations

import contextlib
import socket
import threading
from collections.abc import Iterator
from types import TracebackType
from typing import Self

from tests.python.core.kit import WAIT_S


class Trap:
    """A listening socket. `url` is where a chat goes."""

    scheme = "http"

    def __init__(self, backlog: int = 128) -> None:
        self.listener = socket.socket()
        self.listener.bind(("127.0.0.1", 0))
        self.listener.listen(backlog)
        self.address = self.listener.getsockname()
        self.url = f"{self.scheme}://127.0.0.1:{self.address[1]}/v1/chat/completions"
        self.taken: list[socket.socket] = []

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.listener.close()
        for connection in self.taken:
            connection.close()


class Full(Trap):
    """Its queue of connections is full: what connects hangs, since the kernel drops the SYN."""

    def __init__(self) -> None:
        super().__init__(backlog=0)
        for _ in range(4):
            one = socket.socket()
            one.setblocking(False)
            with contextlib.suppress(BlockingIOError):
                one.connect(self.address)
            self.taken.append(one)


class Deaf(Trap):
    """Accepts (the kernel does) and reads nothing: a large request cannot be sent whole."""

    def __init__(self) -> None:
        super().__init__()
        self.listener.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)

    @contextlib.contextmanager
    def accepted(self) -> Iterator[socket.socket]:
        """The client's connection, once its first byte is there; nothing of it is read."""
        self.listener.settimeout(WAIT_S)
        connection, _ = self.listener.accept()
        with connection:
            connection.settimeout(WAIT_S)
            assert connection.recv(1, socket.MSG_PEEK)
            yield connection


class DeafTls(Deaf):
    """The same where a TLS handshake is awaited."""

    scheme = "https"


class Silent(Trap):
    """Reads whole requests and answers with `head`, after which nothing more comes.

    `asked` is set when a request is there.
    """

    def __init__(self, head: bytes = b"") -> None:
        super().__init__()
        self.head = head
        self.asked = threading.Event()
        self.listener.settimeout(WAIT_S)
        self.thread = threading.Thread(target=self._accept, daemon=True)
        self.thread.start()

    def _accept(self) -> None:
        while True:
            try:
                connection, _ = self.listener.accept()
            except OSError:
                return
            self.taken.append(connection)
            threading.Thread(target=self._read, args=(connection,), daemon=True).start()

    def _read(self, connection: socket.socket) -> None:
        with contextlib.suppress(OSError):
            while data := connection.recv(65_536):
                if b"messages" in data:
                    if self.head:
                        connection.sendall(self.head)
                    self.asked.set()
