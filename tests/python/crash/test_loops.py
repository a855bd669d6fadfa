"""Event loops come and go, in any number of threads, and a cancelled task stops its call upstream.

A gateway outlives the loops that used it. That the upstream call really stops is seen at the other
end: a socket of the test's own, whose read returns nothing once the client has gone, and the
simulator, which under `bill=partial` charges a client that leaves for what it was sent.
"""

from __future__ import annotations

import asyncio
import socket
import threading
from collections import Counter
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from sluiceway import Gateway
from sluiceway.simulator import Simulator
from tests.python.crash.conftest import TIMEOUT_S

MODEL = "openai/gpt-4o-mini"
PROMPT = "abcdefgh"
MakeGateway = Callable[[], Gateway]


async def several(gateway: Gateway, count: int) -> None:
    """Some calls at once, one of them streamed."""
    chats = [gateway.aio.chat(MODEL, PROMPT) for _ in range(count - 1)]
    async with gateway.aio.stream(MODEL, PROMPT) as stream:
        await asyncio.gather(*chats)
        result = await stream.result()
    assert result.cost.nanousd == 10_350


def test_asyncio_run_twice(make_gateway: MakeGateway, sim: Simulator) -> None:
    gateway = make_gateway()
    for _ in range(3):
        asyncio.run(several(gateway, 5))
        gateway.chat(MODEL, PROMPT)
    assert sim.executions()["total"] == 18
    assert gateway.flush()
    assert gateway.ledger.holds() == []


def test_threads_with_loops_of_their_own(make_gateway: MakeGateway, sim: Simulator) -> None:
    gateway = make_gateway()
    with ThreadPoolExecutor(6) as pool:
        runs = [pool.submit(asyncio.run, several(gateway, 10)) for _ in range(12)]
        calls = [pool.submit(gateway.chat, MODEL, PROMPT) for _ in range(24)]
        assert all(run.exception(TIMEOUT_S) is None for run in runs)
        assert all(call.exception(TIMEOUT_S) is None for call in calls)
    assert sim.executions()["total"] == 12 * 10 + 24
    assert gateway.flush()
    ends = Counter(entry["kind"] for entry in gateway.ledger.entries())
    assert ends == {"reserve": 144, "settle": 144}


def test_a_loop_that_ends_with_a_call_under_way(make_gateway: MakeGateway, sim: Simulator) -> None:
    """asyncio.run cancels what is left; the gateway serves the next loop as if nothing was."""
    gateway = make_gateway()

    async def leave() -> None:
        slow = gateway.aio.chat(MODEL, f"{PROMPT} [[simulator: latency_ms=60000]]")
        task = asyncio.create_task(slow)
        while not sim.executions()["total"]:  # noqa: ASYNC110
            await asyncio.sleep(0.01)
        assert not task.done()

    asyncio.run(leave())
    asyncio.run(several(gateway, 5))
    assert gateway.flush()
    ends = Counter(entry["kind"] for entry in gateway.ledger.entries())
    assert ends == {"reserve": 6, "settle": 5, "in_doubt": 1}


class Silent:
    """A server that reads one request and never answers; `gone` is set when the client left."""

    def __init__(self) -> None:
        self.listener = socket.create_server(("127.0.0.1", 0))
        self.url = f"http://127.0.0.1:{self.listener.getsockname()[1]}/v1"
        self.asked = threading.Event()
        self.gone = threading.Event()
        self.thread = threading.Thread(target=self._serve)
        self.thread.start()

    def _serve(self) -> None:
        connection, _ = self.listener.accept()
        with connection:
            connection.settimeout(TIMEOUT_S)
            try:
                while data := connection.recv(65536):
                    if b"messages" in data:
                        self.asked.set()
            except ConnectionResetError:
                pass
            self.gone.set()

    def close(self) -> None:
        """Ends the server; the client has left."""
        self.thread.join(TIMEOUT_S)
        self.listener.close()


@pytest.mark.parametrize("streamed", [False, True])
def test_cancelling_a_task_stops_the_call_upstream(
    streamed: bool, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    server = Silent()
    monkeypatch.setenv("SLUICEWAY_OPENAI_BASE_URL", server.url)
    monkeypatch.setenv("OPENAI_API_KEY", "fake-key-for-a-test")
    with Gateway({"ledger": {"path": str(tmp_path / "books.db")}}) as gateway:

        async def read() -> None:
            async with gateway.aio.stream(MODEL, PROMPT, timeout_s=300) as stream:
                await stream.result()

        async def main() -> None:
            call = read() if streamed else gateway.aio.chat(MODEL, PROMPT, timeout_s=300)
            task = asyncio.ensure_future(call)
            assert await asyncio.to_thread(server.asked.wait, TIMEOUT_S)
            assert not server.gone.is_set()
            task.cancel()
            with pytest.raises(asyncio.CancelledError):
                await task
            # While the loop still runs: not the end of the process stops it, but the cancel.
            assert await asyncio.to_thread(server.gone.wait, 10)

        asyncio.run(main())
        assert gateway.flush()
        assert [entry["kind"] for entry in gateway.ledger.entries()] == ["reserve", "in_doubt"]
        (hold,) = gateway.ledger.holds()
        assert hold["in_doubt"]
    server.close()


@pytest.mark.parametrize("how", ["cancel", "leave", "timeout"])
def test_the_simulator_sees_that_a_stream_was_left(
    how: str, make_gateway: MakeGateway, sim: Simulator
) -> None:
    """A correction in its log: the client paid for what it was sent, and the ledger holds more."""
    gateway = make_gateway()
    prompt = f"{PROMPT} [[simulator: output_tokens=1000 token_ms=20 bill=partial]]"
    began = asyncio.Event()

    async def read() -> None:
        async with gateway.aio.stream(MODEL, prompt) as stream:
            async for _ in stream:
                began.set()
                if how == "leave":
                    break

    async def main() -> None:
        if how == "timeout":
            with pytest.raises(TimeoutError):
                await asyncio.wait_for(read(), 0.5)
        elif how == "leave":
            await read()
        else:
            task = asyncio.create_task(read())
            await began.wait()
            task.cancel()
            with pytest.raises(asyncio.CancelledError):
                await task
        async with asyncio.timeout(TIMEOUT_S):
            while len(await asyncio.to_thread(sim.log)) < 2:  # noqa: ASYNC110
                await asyncio.sleep(0.01)

    asyncio.run(main())
    first, correction = sim.log()
    assert first["usage"]["output"] == 1000
    assert correction["correction"] is True
    assert correction["usage"]["output"] < -500
    assert gateway.flush()
    (hold,) = gateway.ledger.holds()
    assert hold["in_doubt"]
    assert sim.bill()["total_nanousd"] < hold["amount_nanousd"]
