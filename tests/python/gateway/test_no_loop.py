"""`gw.aio` where nothing runs that could wait: an error, and nothing is sent."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable, Coroutine
from typing import Any

import pytest

from sluiceway import Gateway, _aio
from sluiceway.simulator import Simulator

MODEL = "openai/gpt-4o-mini"
SECOND = "anthropic/claude-haiku-4-5"
PATH = "/v1/chat/completions"

ASKED: dict[str, Callable[[Gateway], Coroutine[Any, Any, Any]]] = {
    "chat": lambda gw: gw.aio.chat(MODEL, "hi"),
    "chain": lambda gw: gw.aio.chat(MODEL, "hi", fallbacks=[SECOND]),
    "many": lambda gw: gw.aio.chat_many(MODEL, ["hi"] * 3),
    "many chains": lambda gw: gw.aio.chat_many(MODEL, ["hi"] * 3, fallbacks=[SECOND]),
    "next": lambda gw: gw.aio.stream(MODEL, "hi").__anext__(),
    "enter": lambda gw: gw.aio.stream(MODEL, "hi").__aenter__(),
    "result": lambda gw: gw.aio.stream(MODEL, "hi").result(),
    "raw": lambda gw: gw.aio.raw.post("openai", PATH, json={}, max_cost_usd="0.01"),
    "raw stream": lambda gw: gw.aio.raw.stream(
        "POST", "openai", PATH, json={}, max_cost_usd="0.01"
    ).__anext__(),
}


@pytest.mark.parametrize("what", ASKED)
def test_nothing_is_sent(gw: Gateway, sim: Simulator, what: str) -> None:
    coroutine = ASKED[what](gw)
    with pytest.raises(RuntimeError, match="no running event loop: await this in asyncio or trio"):
        coroutine.send(None)
    assert gw.stats().get("submitted", 0) == 0  # the engine itself may not have started
    assert gw.flush()
    assert gw.ledger.holds() == []
    assert sim.log() == []


@pytest.mark.parametrize("how", ["__anext__", "__aenter__", "result"])
def test_the_stream_can_still_be_read(gw: Gateway, how: str) -> None:
    stream = gw.aio.stream(MODEL, "hi")
    with pytest.raises(RuntimeError, match="no running event loop"):
        getattr(stream, how)().send(None)
    assert asyncio.run(stream.result()).text


def test_where_a_task_of_another_thread_hides_it(
    gw: Gateway, sim: Simulator, monkeypatch: pytest.MonkeyPatch
) -> None:
    """What a quick look cannot tell: the call is stopped at once, though the error is kept."""
    sim.script([{"action": {"latency_ms": 60_000}}])
    monkeypatch.setattr(_aio, "tasks", {"a loop": "its task"})
    with pytest.raises(RuntimeError, match="no running event loop") as caught:
        gw.aio.chat(MODEL, "hi", timeout_s=60).send(None)
    deadline_s = time.monotonic() + 20
    while gw.stats()["completed"] < 1:
        assert time.monotonic() < deadline_s, "it runs on"
        time.sleep(0.002)
    assert caught.value.__traceback__ is not None
