"""`gw.raw` and `gw.estimate`: the pipeline without a model of the call, and without sending."""

from __future__ import annotations

import asyncio
from decimal import Decimal

import pytest

from sluiceway import (
    BadRequest,
    Gateway,
    InvalidRequest,
    InvalidType,
    UnboundedOperation,
    UnknownModel,
)
from sluiceway._urls import join_url
from sluiceway.simulator import Simulator

BODY = {"model": "gpt-4o-mini", "messages": [{"role": "user", "content": "abcdefgh"}]}


@pytest.mark.parametrize(
    ("base", "path", "url"),
    [
        ("https://api.openai.com/v1", "/v1/embeddings", "https://api.openai.com/v1/embeddings"),
        ("https://api.openai.com/v1", "/embeddings", "https://api.openai.com/v1/embeddings"),
        ("https://api.anthropic.com", "/v1/models", "https://api.anthropic.com/v1/models"),
        ("http://h:1/openai/v1/", "/v1/models?a=/v1", "http://h:1/openai/v1/models?a=/v1"),
        ("http://h:1/openai/v1", "/openai/v1/models", "http://h:1/openai/v1/models"),
        ("http://h/v1", "/v10/x", "http://h/v1/v10/x"),
    ],
)
def test_paths_are_joined(base: str, path: str, url: str) -> None:
    assert join_url(base, path) == url


def test_post_and_get(gw: Gateway, sim: Simulator) -> None:
    r = gw.raw.post("openai", "/v1/chat/completions", json=BODY, max_cost_usd="0.02")
    assert r.status_code == 200
    assert r.json()["choices"][0]["message"]["content"]
    assert r.headers["x-request-id"] == r.provider_request_id
    # The body names a model with a price: what it truly cost is settled, not the stated cap.
    assert r.cost.ceiling == Decimal("0.02")
    assert r.cost.nanousd == sim.bill()["total_nanousd"] == 10_350
    models = gw.raw.get("openai", "/v1/models", free=True)
    assert "gpt-4o-mini" in {model["id"] for model in models.json()["data"]}
    assert gw.ledger.holds() == []

    async def twin() -> int:
        return (await gw.aio.raw.get("deepseek", "/models", free=True)).status_code

    assert asyncio.run(twin()) == 200


def test_raw_calls_are_in_the_budget(gw: Gateway, sim: Simulator) -> None:
    with gw.budget("raw:1", usd="0.05") as b:
        gw.raw.post("openai", "/chat/completions", json=BODY, max_cost_usd="0.04")
        gw.flush()
        assert b.spent == Decimal("0.000010350")
        with pytest.raises(Exception, match="raw:1"):
            gw.raw.post("openai", "/chat/completions", json=BODY, max_cost_usd="0.06")


def test_raw_mistakes(gw: Gateway, sim: Simulator) -> None:
    with pytest.raises(UnboundedOperation, match="max_cost_usd"):
        gw.raw.post("openai", "/v1/chat/completions", json=BODY)
    with pytest.raises(UnknownModel, match="'openai'"):
        gw.raw.get("opanai", "/v1/models", free=True)
    for path in ("v1/models", "//evil.example/x", "/a b", "/a\r\nx: y"):
        with pytest.raises(InvalidRequest):
            gw.raw.get("openai", path, free=True)
    with pytest.raises(InvalidType, match="timeout_s"):
        gw.raw.get("openai", "/v1/models", free=True, timeout=3)
    with pytest.raises(InvalidType):
        gw.raw.post("openai", "/v1/x", json="text", max_cost_usd="1")
    with pytest.raises(InvalidRequest):
        gw.raw.get("openai", "/v1/models", free=True, headers={"x": "a\r\nb: c"})
    assert sim.executions()["total"] == 0
    with pytest.raises(BadRequest) as caught:
        gw.raw.get("openai", "/v1/nowhere", free=True)
    assert caught.value.status_code == 404


def test_an_estimate_by_hand(gw: Gateway, sim: Simulator) -> None:
    e = gw.estimate.chat("openai/gpt-4o-mini", "abcdefgh", max_output_tokens=16)
    # {"model":"gpt-4o-mini","messages":[{"role":"user","content":"abcdefgh"}],
    #  "service_tier":"default","max_completion_tokens":16} without spaces:
    body = (
        '{"model":"gpt-4o-mini","messages":[{"role":"user","content":"abcdefgh"}],'
        '"max_completion_tokens":16,"service_tier":"default"}'
    )
    allowance = 16 + 16  # once, and for the message: registry.toml
    assert e.prompt_tokens_max == len(body) + allowance
    # $0.15 a million in (cached input is cheaper), $0.60 out.
    exact = (len(body) + allowance) * 150 + 16 * 600
    assert exact <= e.ceiling * 10**9 <= exact + 4
    assert e.low <= e.expected <= e.ceiling
    assert sim.executions()["total"] == 0
    assert gw.stats() == {}  # nothing was started for it


@pytest.mark.parametrize(
    "model", ["openai/gpt-4o-mini", "deepseek/deepseek-flash", "anthropic/claude-haiku-4-5"]
)
@pytest.mark.parametrize("prompt", ["hi", "ünïcödé " * 200, "a" * 5000])
def test_a_call_never_passes_its_estimate(
    gw: Gateway, sim: Simulator, model: str, prompt: str
) -> None:
    sim.script([{"action": {"output_tokens": 5000}}])
    e = gw.estimate.chat(model, prompt, max_output_tokens=300)
    r = gw.chat(model, prompt, max_output_tokens=300)
    assert r.cost.usd is not None
    assert r.cost.usd <= e.ceiling
    assert r.cost.nanousd == sim.bill()["total_nanousd"]
    assert (r.usage.input_tokens or 0) <= e.prompt_tokens_max
    assert r.usage.output_tokens == 300


def test_expected_output_can_be_stated(gw: Gateway) -> None:
    few = gw.estimate.chat("openai/gpt-4o-mini", "hi", expected_output_tokens=1)
    many = gw.estimate.chat("openai/gpt-4o-mini", "hi", expected_output_tokens=4000)
    assert few.expected < many.expected <= few.ceiling == many.ceiling
    with pytest.raises(InvalidRequest):
        gw.estimate.chat("openai/gpt-4o-mini", "hi", expected_output_tokens=-1)
