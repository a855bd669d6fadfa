"""A chat call end to end: what comes back, what it cost, and what the provider saw."""

from __future__ import annotations

import asyncio
import pickle
from decimal import Decimal

import pytest

from sluiceway import ChatResult, Gateway, RateLimited, Retry
from sluiceway.simulator import Simulator

# "abcdefgh" is 8 bytes: the simulator counts ceil(8 / 4) + 3 = 5 tokens in, 16 out by default.
PROMPT = "abcdefgh"
# gpt-4o-mini: $0.15 and $0.60 a million: 5 * 150 + 16 * 600 nano-dollars.
COST_NANOUSD = 750 + 9_600


@pytest.mark.parametrize(
    "model",
    ["openai/gpt-4o-mini", "deepseek/deepseek-flash", "anthropic/claude-haiku-4-5"],
)
def test_every_provider_answers(gw: Gateway, sim: Simulator, model: str) -> None:
    r = gw.chat(model, PROMPT)
    assert r.text.split()[:3] == ["the", "river", "runs"]
    assert r.finish_reason in ("stop", "end_turn")
    assert not r.cut_by_max_output
    assert (r.usage.input_tokens, r.usage.output_tokens) == (5, 16)
    assert r.cost.source == "table"
    assert r.cost.nanousd == sim.bill()["total_nanousd"]
    assert r.cost.usd == Decimal(sim.bill()["total_nanousd"]) / 10**9
    assert r.cost.ceiling >= r.cost.usd
    assert r.cost.held == 0
    assert r.model == model
    assert r.served_by.startswith(model.split("/")[0] + "/")
    assert r.status_code == 200
    assert r.cache == "off"
    assert r.latency_ms > 0
    assert len(r.attempts) == 1
    assert r.attempts[0].status_code == 200
    assert r.provider_request_id
    assert len(r.intent_id) >= 32
    assert r.json()["usage"]


def test_the_cost_by_hand(gw: Gateway) -> None:
    r = gw.chat("openai/gpt-4o-mini", PROMPT)
    assert r.cost.nanousd == COST_NANOUSD
    assert r.cost.usd == Decimal("0.000010350")
    assert r.cost.price_version.startswith("openai/gpt-4o-mini@")


def test_reasoning_and_caches_are_told_apart(gw: Gateway, sim: Simulator) -> None:
    sim.script([{"action": {"output_tokens": 20, "reasoning_tokens": 12, "cached_tokens": 3}}])
    r = gw.chat("openai/gpt-4o-mini", PROMPT)
    assert r.usage.reasoning_tokens == 12
    assert r.usage.output_tokens == 20
    assert r.usage.cached_tokens == 3
    assert r.usage.input_tokens == 5
    assert r.usage.buckets["input"] == 2
    assert r.cost.nanousd == sim.bill()["total_nanousd"]


def test_cut_by_the_maximum(gw: Gateway) -> None:
    r = gw.chat("anthropic/claude-haiku-4-5", PROMPT, max_output_tokens=4)
    assert r.cut_by_max_output
    assert r.usage.output_tokens == 4


def test_the_twin_does_the_same(gw: Gateway, sim: Simulator) -> None:
    async def both() -> tuple[ChatResult, ChatResult]:
        return await asyncio.gather(
            gw.aio.chat("openai/gpt-4o-mini", PROMPT),
            gw.aio.chat("anthropic/claude-haiku-4-5", PROMPT),
        )

    first, second = asyncio.run(both())
    assert first.cost.nanousd == COST_NANOUSD
    assert second.text
    assert sim.executions()["total"] == 2
    # ... and again on another loop, and blocking beside a running loop, as in a notebook.
    assert asyncio.run(both())[0].text

    async def blocking() -> ChatResult:
        return gw.chat("openai/gpt-4o-mini", PROMPT)

    assert asyncio.run(blocking()).text


def test_results_are_frozen_slotted_and_short(gw: Gateway) -> None:
    r = gw.chat("openai/gpt-4o-mini", "a prompt that nobody shall see")
    with pytest.raises(AttributeError):
        r.model = "x"
    with pytest.raises(AttributeError):
        r.extra = 1
    with pytest.raises(AttributeError):
        r.cost.nanousd = 0
    assert "\n" not in repr(r)
    assert r.text not in repr(r)
    assert "nobody" not in repr(r)
    assert "$0.00001" in repr(r)


def test_results_are_picklable(gw: Gateway) -> None:
    r = gw.chat("openai/gpt-4o-mini", PROMPT)
    copy = pickle.loads(pickle.dumps(r))
    assert isinstance(copy, ChatResult)
    for name in ("text", "served_by", "latency_ms", "intent_id", "call_id", "raw", "finish_reason"):
        assert getattr(copy, name) == getattr(r, name), name
    assert copy.usage == r.usage
    assert copy.cost.usd == r.cost.usd
    assert repr(copy) == repr(r)


def test_a_refusal_is_tried_again(gw: Gateway, sim: Simulator) -> None:
    sim.script([{"match": {"nth": [1, 2]}, "action": {"fault": "status", "status": 429}}])
    r = gw.chat("openai/gpt-4o-mini", PROMPT)
    assert [attempt.status_code for attempt in r.attempts] == [429, 429, 200]
    assert r.attempts[0].error_kind == "rate_limited"
    assert sim.executions()["total"] == 1


def test_with_options_shares_the_engine(gw: Gateway, sim: Simulator) -> None:
    quick = gw.with_options(max_output_tokens=3, retry=Retry(attempts=1), timeout_s=5)
    assert quick.chat("openai/gpt-4o-mini", PROMPT).usage.output_tokens == 3
    assert gw.chat("openai/gpt-4o-mini", PROMPT).usage.output_tokens == 16
    assert quick.chat("openai/gpt-4o-mini", PROMPT, max_output_tokens=2).usage.output_tokens == 2
    assert gw.stats()["submitted"] == 3
    sim.script([{"action": {"fault": "status", "status": 429}}])
    with pytest.raises(RateLimited) as caught:
        quick.chat("openai/gpt-4o-mini", PROMPT)
    assert len(caught.value.attempts) == 1


def test_none_is_not_given(gw: Gateway) -> None:
    few = gw.with_options(max_output_tokens=3)
    r = few.chat(
        "openai/gpt-4o-mini",
        PROMPT,
        max_output_tokens=None,
        timeout_s=None,
        temperature=None,
        fallbacks=None,
        cache=None,
        max_cost_usd=None,
        retry=None,
    )
    assert r.usage.output_tokens == 3  # the gateway's own default stays


def test_the_cache(gw: Gateway, sim: Simulator) -> None:
    cached = gw.with_options(cache=60)
    first = cached.chat("openai/gpt-4o-mini", PROMPT)
    second = cached.chat("openai/gpt-4o-mini", PROMPT)
    assert (first.cache, second.cache) == ("miss", "hit")
    assert second.text == first.text
    assert second.cost.nanousd == 0
    assert cached.chat("openai/gpt-4o-mini", PROMPT, cache=False).cache == "off"
    assert cached.chat("openai/gpt-4o-mini", PROMPT, tenant="other").cache == "miss"
    assert cached.chat("openai/gpt-4o-mini", PROMPT, temperature=0.5).cache == "miss"
    assert sim.executions()["total"] == 4


def test_max_cost_is_a_promise(gw: Gateway, sim: Simulator) -> None:
    with pytest.raises(ValueError, match="may cost up to"):
        gw.chat("openai/gpt-4o-mini", PROMPT, max_cost_usd="0.0001")
    r = gw.chat("openai/gpt-4o-mini", PROMPT, max_cost_usd="0.0001", max_output_tokens=50)
    assert r.cost.ceiling <= Decimal("0.0001")
    assert sim.executions()["total"] == 1


def test_threads_share_a_gateway(gw: Gateway, sim: Simulator) -> None:
    from concurrent.futures import ThreadPoolExecutor

    with ThreadPoolExecutor(8) as pool:
        results = list(pool.map(lambda _: gw.chat("openai/gpt-4o-mini", PROMPT), range(40)))
    assert {r.cost.nanousd for r in results} == {COST_NANOUSD}
    assert sim.bill()["total_nanousd"] == 40 * COST_NANOUSD
    assert len({r.call_id for r in results}) == 40
