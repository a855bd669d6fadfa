"""A provider that stops taking our request, on real sockets; to the nanosecond it is tested in
tests/cpp/engine/silence_test.cc."""

from __future__ import annotations

import os
import socket
import ssl
import threading
import time
from collections.abc import Iterator
from pathlib import Path

import h2.config
import h2.connection
import h2.events
import pytest

from sluiceway import Gateway, TimedOutInDoubt
from sluiceway.simulator.tls import Authority
from tests.python.http.conftest import MakeGateway
from tests.python.http.file_server import FileServer, Resource


@pytest.fixture
def server() -> Iterator[FileServer]:
    with FileServer() as running:
        yield running


class NarrowWindow:
    """One HTTP/2 connection that reads all that comes, and grants no more than the first window."""

    FIRST_WINDOW_BYTES = 65_535  # RFC 9113, 6.9.2

    def __init__(self, folder: Path) -> None:
        authority = Authority(folder)
        self.ca_file = str(authority.ca_file)
        self.taken_bytes = 0
        self._context = authority.server()
        self._listener = socket.create_server(("127.0.0.1", 0))
        self.url = f"https://127.0.0.1:{self._listener.getsockname()[1]}"
        self._thread = threading.Thread(target=self._serve)

    def __enter__(self) -> NarrowWindow:
        self._thread.start()
        return self

    def __exit__(self, *exc: object) -> None:
        self._listener.close()
        self._thread.join(20)

    def _serve(self) -> None:
        accepted, _ = self._listener.accept()
        with self._context.wrap_socket(accepted, server_side=True) as client:
            speaks = h2.connection.H2Connection(h2.config.H2Configuration(client_side=False))
            speaks.initiate_connection()
            client.sendall(speaks.data_to_send())
            try:
                while got := client.recv(65_536):
                    for event in speaks.receive_data(got):
                        if isinstance(event, h2.events.DataReceived):
                            self.taken_bytes += len(event.data or b"")
                    client.sendall(speaks.data_to_send())
            except (ssl.SSLError, OSError):
                pass  # the client has left


@pytest.fixture
def big(tmp_path: Path) -> Path:
    """More than sockets hold."""
    path = tmp_path / "big"
    path.touch()
    os.truncate(path, 50_000_000)
    return path


def test_nothing_taken(reach_url: MakeGateway, server: FileServer, big: Path) -> None:
    server.read_gate = threading.Event()
    gw = reach_url(server.url)
    begun_s = time.monotonic()
    with pytest.raises(TimedOutInDoubt, match="write_timeout_s") as failed:
        gw.raw.post("openai", "/x", content=big, max_cost_usd="0.10", write_timeout_s=0.3)
    assert 0.3 <= time.monotonic() - begun_s < 5
    assert failed.value.attempts[0].outcome == "in_doubt"
    assert str(failed.value.held) == "0.100000000"
    deadline_s = time.monotonic() + 20
    while gw.stats()["transfers_in_flight"]:
        assert time.monotonic() < deadline_s
        time.sleep(0.002)


def test_no_window_over_http_2(reach_url: MakeGateway, tmp_path: Path, big: Path) -> None:
    """The socket takes all, and the stream nothing more."""
    with NarrowWindow(tmp_path) as server:
        gw = reach_url(server.url, ca_file=server.ca_file, http_version="2")
        begun_s = time.monotonic()
        with pytest.raises(TimedOutInDoubt, match="write_timeout_s") as failed:
            gw.raw.post("openai", "/x", content=big, max_cost_usd="0.10", write_timeout_s=0.3)
        assert 0.3 <= time.monotonic() - begun_s < 5
        gw.close()
    assert server.taken_bytes == NarrowWindow.FIRST_WINDOW_BYTES
    assert str(failed.value.held) == "0.100000000"


def test_an_answer_that_is_late_is_not_its_business(
    reach_url: MakeGateway, server: FileServer
) -> None:
    gate = threading.Event()
    server.read_gate = gate
    gw = reach_url(server.url)
    threading.Timer(0.5, gate.set).start()
    assert gw.raw.post("openai", "/x", content=b"small", free=True, write_timeout_s=0.1).json()


def test_the_gateways_default(server: FileServer, big: Path) -> None:
    server.read_gate = threading.Event()
    tables = {
        "ledger": {"path": ":memory:", "durability": "memory"},
        "accounts": {"openai": {"default": {"base_url": server.url}}},
        "defaults": {"write_timeout_s": 0.2},
    }
    with Gateway(tables) as gw, pytest.raises(TimedOutInDoubt, match="write_timeout_s"):
        gw.raw.post("openai", "/x", content=big, max_cost_usd="0.10")


def test_an_upload_that_goes_on_is_not_silent(
    reach_url: MakeGateway, server: FileServer, big: Path
) -> None:
    """read_timeout_s alone guards both directions, and a server that reads is not silent."""
    gw = reach_url(server.url)
    answer = gw.raw.post("openai", "/x", content=big, free=True, read_timeout_s=0.5, timeout_s=60)
    assert answer.json()["size"] == 50_000_000
    server.read_gate = threading.Event()
    with pytest.raises(TimedOutInDoubt, match="read_timeout_s"):
        gw.raw.post("openai", "/x", content=big, free=True, read_timeout_s=0.2)


def test_stats_of_transfers(reach_url: MakeGateway, server: FileServer) -> None:
    gate = threading.Event()
    server.files["/f"] = Resource(bytes(200_000), gate=gate)
    gw = reach_url(server.url)
    with gw.raw.stream("GET", "openai", "/f", free=True):
        stats = gw.stats()
        seen = [stats[name] for name in ("transfers_in_flight", "transfers_queued")]
        assert seen == [1, 0]
        assert stats["connections_open"] == 1
        deadline_s = time.monotonic() + 20
        while gw.stats()["watchdog_runs"] == 0:  # once a second, while something is in flight
            assert time.monotonic() < deadline_s
            time.sleep(0.02)
    assert gw.stats()["watchdog_progress"] == 0
