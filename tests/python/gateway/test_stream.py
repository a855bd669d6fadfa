"""Streams: both twins, results, partial text, and what leaving early does upstream."""

from __future__ import annotations

import asyncio
import gc

import pytest

from sluiceway import Gateway, ProviderFailure, StreamBroken, UnknownModel
from sluiceway.errors import Cancelled, SluicewayError
from sluiceway.money import nanousd_of
from sluiceway.simulator import Simulator

MODELS = ["openai/gpt-4o-mini", "deepseek/deepseek-flash", "anthropic/claude-haiku-4-5"]
SLOW = [{"action": {"output_tokens": 2000, "token_ms": 20}}]


@pytest.mark.parametrize("model", MODELS)
def test_deltas_and_result(gw: Gateway, sim: Simulator, model: str) -> None:
    with gw.stream(model, "abcdefgh") as s:
        text = "".join(delta.text for delta in s)
        r = s.result()
    assert len(text.split()) == 16
    assert r.text == text == s.text
    assert (r.usage.input_tokens, r.usage.output_tokens) == (5, 16)
    assert r.cost.nanousd == sim.bill()["total_nanousd"]
    assert r.raw == b""
    assert s.result().call_id == r.call_id  # as often as one likes
    assert gw.ledger.holds() == []


@pytest.mark.parametrize("model", MODELS)
def test_the_twin(gw: Gateway, sim: Simulator, model: str) -> None:
    async def read() -> tuple[str, str]:
        async with gw.aio.stream(model, "abcdefgh") as s:
            text = "".join([delta.text async for delta in s])
            return text, (await s.result()).text

    text, whole = asyncio.run(read())
    assert text == whole
    assert len(text.split()) == 16


def test_reasoning_is_told_apart(gw: Gateway, sim: Simulator) -> None:
    sim.script([{"action": {"output_tokens": 9, "reasoning_tokens": 4}}])
    with gw.stream("deepseek/deepseek-flash", "abcdefgh") as s:
        kinds = [delta.kind for delta in s]
    assert set(kinds) == {"reasoning", "text"}
    assert len(s.text.split()) == 5
    assert s.result().reasoning_text
    assert s.result().text == s.text


def test_without_with_and_without_iterating(gw: Gateway) -> None:
    assert len(gw.stream("openai/gpt-4o-mini", "hi").result().text.split()) == 16
    assert "".join(d.text for d in gw.stream("openai/gpt-4o-mini", "hi"))


def test_nothing_is_sent_before_it_starts(gw: Gateway, sim: Simulator) -> None:
    s = gw.stream("openai/gpt-4o-mini", "hi")
    assert s.text == ""
    assert sim.executions()["total"] == 0
    s.cancel()
    with pytest.raises(Cancelled):
        s.result()
    with pytest.raises(UnknownModel):
        gw.stream("opanai/x", "hi").result()


def test_leaving_early_stops_the_call(gw: Gateway, sim: Simulator) -> None:
    sim.script(SLOW)
    with gw.stream("openai/gpt-4o-mini", "hi", timeout_s=60) as s:
        for _ in s:
            break
    assert s.text
    holds = gw.ledger.holds()
    assert [hold["in_doubt"] for hold in holds] == [True]  # it may be billed
    with pytest.raises(SluicewayError) as caught:
        s.result()
    assert caught.value.outcome == "in_doubt"
    assert caught.value.text == s.text
    assert list(s) == []


def test_leaving_early_in_the_twin(gw: Gateway, sim: Simulator) -> None:
    sim.script(SLOW)

    async def read() -> None:
        async with gw.aio.stream("openai/gpt-4o-mini", "hi", timeout_s=60) as s:
            async for _ in s:
                break

    asyncio.run(read())
    assert len(gw.ledger.holds()) == 1


def test_a_dropped_stream_is_cancelled(gw: Gateway, sim: Simulator) -> None:
    sim.script(SLOW)
    s = gw.stream("openai/gpt-4o-mini", "hi", timeout_s=60)
    next(iter(s))
    call = s._call
    assert call is not None
    del s
    gc.collect()
    call.wait()
    assert call.error_kind == "cancelled"


@pytest.mark.parametrize("model", MODELS)
def test_a_broken_stream_has_its_text(gw: Gateway, sim: Simulator, model: str) -> None:
    sim.script([{"action": {"fault": "cut_stream", "after_events": 8}}])
    received: list[str] = []

    def read() -> None:
        with gw.stream(model, "hi") as s:
            received.extend(delta.text for delta in s)

    with pytest.raises(StreamBroken) as caught:
        read()
    assert received
    assert caught.value.text == "".join(received)
    assert caught.value.outcome == "in_doubt"
    assert caught.value.held > 0
    assert sim.executions()["total"] == 1  # never sent again


@pytest.mark.parametrize(("model", "events"), [(MODELS[0], 4), (MODELS[1], 3), (MODELS[2], 6)])
def test_a_stream_that_broke_after_its_usage_says_what_was_charged(
    gw: Gateway, sim: Simulator, model: str, events: int
) -> None:
    """All events but the last came, so what is billed is known, though the stream is broken."""
    cut = {"fault": "cut_stream", "after_events": events, "output_tokens": 1}
    sim.script([{"action": cut}])
    with pytest.raises(StreamBroken) as caught:
        gw.stream(model, "hi").result()
    error = caught.value
    assert error.outcome == "done"
    assert error.attempts[0].outcome == "done"
    assert error.held == 0
    assert nanousd_of(error.charged) == sim.bill()["total_nanousd"] > 0
    assert gw.flush()
    (entry,) = [e for e in gw.ledger.entries() if e["kind"] == "settle"]
    assert entry["amount_nanousd"] == nanousd_of(error.charged)
    assert not error.retryable


def test_an_error_before_the_first_delta(gw: Gateway, sim: Simulator) -> None:
    sim.script([{"action": {"fault": "error_in_stream", "after_deltas": 0}}])
    with pytest.raises(ProviderFailure) as caught:
        gw.stream("anthropic/claude-haiku-4-5", "hi").result()
    assert caught.value.outcome == "done"
    assert caught.value.error_type == "overloaded_error"
    assert caught.value.text == ""


def test_cancelling_from_another_thread(gw: Gateway, sim: Simulator) -> None:
    import threading

    sim.script(SLOW)
    s = gw.stream("openai/gpt-4o-mini", "hi", timeout_s=60)
    next(s)
    stopper = threading.Thread(target=s.cancel)
    stopper.start()
    with pytest.raises(SluicewayError) as caught:
        list(s)
    stopper.join()
    assert isinstance(caught.value, Cancelled | StreamBroken)
    assert caught.value.text == s.text
