"""HTTP/2 streams that are left: the server is told at once, not when something else is sent."""

from __future__ import annotations

import socket
import ssl
import threading
from pathlib import Path
from typing import Any

import h2.config
import h2.connection
import h2.events
import pytest

from sluiceway import Gateway, ProviderFailure, TimedOutInDoubt
from sluiceway.simulator.tls import Authority
from tests.python.http.conftest import MODEL, MakeGateway

WAIT_S = 2.0  # an idle connection is closed after some 4 s, and that would tell it, too
EVENT = b'data: {"choices":[{"delta":{"content":"x"}}]}\n\n'


class OneEvent:
    """Answers each stream with one event and nothing more; notes what ends them."""

    def __init__(self, folder: Path, event: bytes) -> None:
        authority = Authority(folder)
        self.ca_file = str(authority.ca_file)
        self.left = threading.Semaphore(0)  # released for each stream that the client has left
        self._event = event
        self._context = authority.server()
        self._listener = socket.create_server(("127.0.0.1", 0))
        self.url = f"https://127.0.0.1:{self._listener.getsockname()[1]}"
        self._thread = threading.Thread(target=self._accept)

    def __enter__(self) -> OneEvent:
        self._thread.start()
        return self

    def __exit__(self, *exc: object) -> None:
        self._listener.shutdown(socket.SHUT_RDWR)
        self._listener.close()
        self._thread.join(20)

    def _accept(self) -> None:
        serving = []
        while True:
            try:
                accepted, _ = self._listener.accept()
            except OSError:
                break
            serving.append(threading.Thread(target=self._serve, args=(accepted,)))
            serving[-1].start()
        for one in serving:
            one.join(20)

    def _serve(self, accepted: socket.socket) -> None:
        speaks = h2.connection.H2Connection(h2.config.H2Configuration(client_side=False))
        open_streams: set[int] = set()
        try:
            with self._context.wrap_socket(accepted, server_side=True) as client:
                speaks.initiate_connection()
                client.sendall(speaks.data_to_send())
                while got := client.recv(65_536):
                    for event in speaks.receive_data(got):
                        self._on(event, speaks, open_streams)
                    client.sendall(speaks.data_to_send())
        except (ssl.SSLError, OSError):
            pass  # the client has left
        for _ in open_streams:
            self.left.release()

    def _on(self, event: Any, speaks: h2.connection.H2Connection, open_streams: set[int]) -> None:
        if isinstance(event, h2.events.StreamEnded):
            open_streams.add(event.stream_id)
            headers = [(":status", "200"), ("content-type", "text/event-stream")]
            speaks.send_headers(event.stream_id, headers)
            speaks.send_data(event.stream_id, self._event)
        elif isinstance(event, h2.events.StreamReset):
            open_streams.discard(event.stream_id)
            self.left.release()


def gateway(reach_url: MakeGateway, server: OneEvent) -> Gateway:
    return reach_url(server.url, ca_file=server.ca_file, http_version="2")


@pytest.mark.parametrize("beside", [0, 1])
def test_a_stream_that_is_left(reach_url: MakeGateway, tmp_path: Path, beside: int) -> None:
    """Alone on its connection, and beside another that is silent."""
    with OneEvent(tmp_path, EVENT) as server:
        gw = gateway(reach_url, server)
        others = [gw.stream(MODEL, "hi") for _ in range(beside)]
        for other in others:
            next(other)
        with gw.stream(MODEL, "hi") as left:
            next(left)
        assert server.left.acquire(timeout=WAIT_S)
        assert not server.left.acquire(blocking=False)
        with gw.stream(MODEL, "hi") as again:  # the connection, or another one, serves on
            assert next(again).text == "x"
        for other in others:
            other.close()
        gw.close()


def test_a_deadline(reach_url: MakeGateway, tmp_path: Path) -> None:
    with OneEvent(tmp_path, EVENT) as server:
        gw = gateway(reach_url, server)
        with pytest.raises(TimedOutInDoubt, match="read_timeout_s"):
            gw.stream(MODEL, "hi", read_timeout_s=0.2).result()
        assert server.left.acquire(timeout=WAIT_S)
        gw.close()


def test_an_error_inside_the_stream(reach_url: MakeGateway, tmp_path: Path) -> None:
    """What we end ourselves, since nothing that follows counts."""
    with OneEvent(tmp_path, b'data: {"error": {"message": "no more"}}\n\n') as server:
        gw = gateway(reach_url, server)
        with pytest.raises(ProviderFailure, match="no more"):
            gw.stream(MODEL, "hi").result()
        assert server.left.acquire(timeout=WAIT_S)
        gw.close()
