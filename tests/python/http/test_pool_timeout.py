"""`pool_timeout_s`: the longest wait for a connection that is free."""

from __future__ import annotations

import threading
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import pytest

from sluiceway import DeadlineExceeded, Gateway
from tests.python.http.file_server import FileServer

SHORT_S = 0.1


@pytest.fixture
def server() -> Iterator[FileServer]:
    with FileServer() as running:
        yield running


def one_connection(server: FileServer, **defaults: Any) -> Gateway:
    return Gateway(
        {
            "ledger": {"path": ":memory:", "durability": "memory"},
            "accounts": {"openai": {"default": {"base_url": server.url}}},
            "engine": {"connections_max": 1},
            "defaults": defaults,
        }
    )


@pytest.mark.parametrize("said", ["by the call", "by the configuration"])
def test_no_connection_is_free(server: FileServer, said: str) -> None:
    """Never sent, never early, and whoever has the connection is not disturbed."""
    waits = {"pool_timeout_s": SHORT_S}
    server.read_gate = threading.Event()
    defaults, options = (waits, {}) if said == "by the configuration" else ({}, waits)
    with one_connection(server, **defaults) as gw, ThreadPoolExecutor(1) as pool:
        first = pool.submit(gw.raw.post, "openai", "/x", content=b"1", max_cost_usd="0.10")
        deadline_s = time.monotonic() + 20
        while not gw.stats().get("transfers_in_flight"):
            assert time.monotonic() < deadline_s
            time.sleep(0.002)
        begun_s = time.monotonic()
        with pytest.raises(DeadlineExceeded, match="no place") as failed:
            gw.raw.post("openai", "/x", content=b"2", max_cost_usd="0.10", **options)
        assert SHORT_S <= time.monotonic() - begun_s < 5
        assert failed.value.outcome == "never_sent"
        assert failed.value.held == 0
        server.read_gate.set()
        assert first.result(20).status_code == 200
        again = gw.raw.post("openai", "/x", content=b"3", max_cost_usd="0.10", **options)
        assert again.status_code == 200
    assert [asked.body for asked in server.seen] == [b"1", b"3"]
