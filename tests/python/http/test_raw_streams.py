"""Byte streams: pieces as they come, a slow reader, early ends, and what they cost."""

from __future__ import annotations

import asyncio
import threading
import time
from collections.abc import Iterator
from decimal import Decimal
from typing import Any

import pytest

from sluiceway import BadRequest, Cancelled, Gateway, InDoubt, InvalidRequest, StreamBroken
from sluiceway.simulator.faults import FaultServer
from tests.python.http.conftest import MakeGateway
from tests.python.http.file_server import FileServer, Resource
from tests.python.http.test_uploads import peak_memory

NAME = "/files/a.mp3"
BODY = bytes(range(256)) * 1_000


@pytest.fixture
def server() -> Iterator[FileServer]:
    with FileServer() as running:
        yield running


@pytest.fixture
def gw(server: FileServer, reach_url: MakeGateway) -> Gateway:
    return reach_url(server.url)


def _wait(condition: Any) -> None:
    deadline_s = time.monotonic() + 20
    while not condition():
        assert time.monotonic() < deadline_s, "waited in vain"
        time.sleep(0.002)


def test_bytes_come_while_the_server_is_still_sending(gw: Gateway, server: FileServer) -> None:
    gate = threading.Event()
    server.files[NAME] = Resource(BODY, gate=gate, headers={"content-type": "audio/mpeg"})
    with gw.raw.stream("GET", "openai", NAME, free=True) as stream:
        assert (stream.status_code, stream.headers["content-type"]) == (200, "audio/mpeg")
        first = next(stream)
        assert not gate.is_set()
        gate.set()
        rest = b"".join(stream)
    assert first + rest == BODY
    result = stream.result()
    assert (result.status_code, result.raw, result.cost.nanousd) == (200, b"", 0)
    assert list(stream) == []


def test_the_async_twin(gw: Gateway, server: FileServer) -> None:
    server.files[NAME] = Resource(BODY, length=False)

    async def run() -> bytes:
        async with gw.aio.raw.stream("GET", "openai", NAME, free=True) as stream:
            pieces = [piece async for piece in stream]
            assert (await stream.result()).status_code == 200
        assert max(map(len, pieces)) <= 65_536
        return b"".join(pieces)

    assert asyncio.run(run()) == BODY


def test_a_slow_reader_holds_the_transfer_back_and_no_other(
    gw: Gateway, server: FileServer
) -> None:
    size = 60_000_000
    slow_resource = server.files[NAME] = Resource(bytes(size))
    server.files["/quick"] = Resource(BODY)
    with peak_memory() as rise, gw.raw.stream("GET", "openai", NAME, free=True) as slow:
        count = len(next(slow))
        sent = -1
        while sent != (sent := slow_resource.sent):  # until the server can send no more
            time.sleep(0.2)
        assert sent < size // 2  # what lies in the sockets' buffers
        assert b"".join(gw.raw.stream("GET", "openai", "/quick", free=True)) == BODY
        assert slow_resource.sent == sent
        for piece in slow:
            count += len(piece)
    assert count == size
    assert rise[0] < 16_000_000, rise


def test_more_than_an_answer_may_hold(gw: Gateway, server: FileServer) -> None:
    size = 70_000_000  # the plain verbs take 64 MiB
    server.files[NAME] = Resource(bytes(size))
    assert sum(map(len, gw.raw.stream("GET", "openai", NAME, free=True))) == size
    with pytest.raises(InDoubt):
        gw.raw.get("openai", NAME, free=True)


@pytest.mark.parametrize("how", ["left", "dropped", "cancelled"])
def test_who_stops_reading_stops_the_transfer(how: str, gw: Gateway, server: FileServer) -> None:
    server.files[NAME] = Resource(BODY, gate=threading.Event())
    with gw.budget("video:1", usd="1.00") as budget:
        stream = gw.raw.stream("GET", "openai", NAME, max_cost_usd="0.10")
        next(stream)
        assert gw.stats()["transfers_in_flight"] == 1
        if how == "left":
            with stream:
                pass
        elif how == "cancelled":
            assert stream.cancel()
            with pytest.raises(Cancelled) as failed:
                list(stream)
            assert failed.value.outcome == "in_doubt"
        else:
            del stream
        _wait(lambda: gw.stats()["transfers_in_flight"] == 0)
        gw.flush()
        # Paid, begun and not ended: it stays in doubt at what was reserved.
        _wait(lambda: str(budget.in_doubt) == "0.100000000")


def test_a_cancelled_task(gw: Gateway, server: FileServer) -> None:
    server.files[NAME] = Resource(BODY, gate=threading.Event())

    async def run() -> None:
        async def read() -> None:
            async for _ in gw.aio.raw.stream("GET", "openai", NAME, free=True):
                pass

        with pytest.raises(TimeoutError):
            await asyncio.wait_for(read(), 0.2)

    asyncio.run(run())
    _wait(lambda: gw.stats()["transfers_in_flight"] == 0)


def test_a_body_that_breaks_off(gw: Gateway, server: FileServer) -> None:
    server.files[NAME] = Resource(BODY, cuts=[100_000])
    got: list[bytes] = []
    stream = gw.raw.stream("GET", "openai", NAME, max_cost_usd="0.10")
    with pytest.raises(StreamBroken) as failed:
        got.extend(stream)
    assert b"".join(got) == BODY[:100_000]
    assert failed.value.outcome == "in_doubt"
    assert len(server.seen) == 1


def test_an_error_instead(gw: Gateway, server: FileServer) -> None:
    stream = gw.raw.stream("GET", "openai", "/nowhere", free=True)
    with pytest.raises(BadRequest) as failed:
        stream.__enter__()
    assert failed.value.status_code == 404
    assert list(stream) == []
    with pytest.raises(BadRequest):
        stream.result()


def test_before_it_starts(gw: Gateway, server: FileServer) -> None:
    stream = gw.raw.stream("GET", "openai", NAME, free=True)
    assert (stream.status_code, stream.headers) == (0, {})
    assert "not started" in repr(stream)
    assert stream.cancel()
    with pytest.raises(Cancelled):
        stream.result()
    assert server.seen == []


def test_an_upload_whose_answer_streams(gw: Gateway, server: FileServer, tmp_path: Any) -> None:
    path = tmp_path / "a.wav"
    path.write_bytes(BODY)
    stream = gw.raw.stream("POST", "openai", "/v1/x", files={"file": path}, free=True)
    assert b'"sha256"' in b"".join(stream)


@pytest.mark.parametrize("fault", ["cut_body", "cut_chunked", "reset_body", "cut_no_length"])
def test_faults_of_a_server(fault: str, reach_url: MakeGateway) -> None:
    with FaultServer(fault) as faulty:
        gw = reach_url(faulty.url)
        with pytest.raises((StreamBroken, InDoubt)) as failed:
            list(gw.raw.stream("GET", "openai", "/v", max_cost_usd="0.01"))
        assert failed.value.outcome == "in_doubt"
        assert faulty.requests == 1


def test_a_speech_costs_its_characters(reach_url: MakeGateway) -> None:
    """tts-1 is $15 a million characters: five are 75,000 nano-dollars."""
    with FaultServer("none") as faulty:
        gw = reach_url(faulty.url + "/v1")
        body = {"model": "tts-1", "voice": "alloy", "input": "Hello"}
        stream = gw.raw.stream("POST", "openai", "/v1/audio/speech", json=body, max_cost_usd="0.01")
        assert b"".join(stream)
        cost = stream.result().cost
        assert cost.nanousd == 75_000
        assert cost.held == Decimal(0)


def test_a_second_reader_is_refused_and_the_first_reads_on(gw: Gateway, server: FileServer) -> None:
    gate = threading.Event()
    server.files[NAME] = Resource(BODY, gate=gate)
    stream = gw.raw.stream("GET", "openai", NAME, free=True)
    pieces: list[bytes] = []
    reader = threading.Thread(target=lambda: pieces.extend(stream))
    reader.start()
    _wait(lambda: pieces and stream._reader)  # it has what came, and waits for the rest
    with pytest.raises(InvalidRequest, match="one reader"):
        next(stream)
    with pytest.raises(InvalidRequest, match="one reader"):
        stream.result()
    with pytest.raises(InvalidRequest, match="one reader"), stream:
        pytest.fail("another reads it")
    gate.set()
    reader.join()
    assert b"".join(pieces) == BODY
    assert stream.result().status_code == 200
