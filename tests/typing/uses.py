"""How users' code looks to a type checker: never run, checked by test_typing.py under --strict."""

from __future__ import annotations

from decimal import Decimal
from typing import Any, assert_type

import sluiceway as sw
from sluiceway.errors import Balance


def calls(gw: sw.Gateway) -> None:
    """Blocking calls."""
    r = gw.chat("openai/gpt-x", "hi", temperature=0.1, fallbacks=["anthropic/claude-x"])
    assert_type(r, sw.ChatResult)
    assert_type(r.text, str)
    assert_type(r.usage.output_tokens, int | None)
    assert_type(r.cost.usd, Decimal | None)
    assert_type(r.attempts, tuple[sw.Attempt, ...])
    assert_type(r.hops[0].held, Decimal)
    assert_type(r.raw, bytes)
    assert_type(r.json(), Any)
    assert_type(gw.with_options(timeout_s=5, cache=sw.Cache(60), retry=sw.Retry(2)), sw.Gateway)
    assert_type(gw.estimate.chat("openai/gpt-x", "hi").ceiling, Decimal)
    assert_type(gw.raw.get("openai", "/v1/models", free=True), sw.RawResult)
    gw.chat("openai/gpt-x", [{"role": "user", "content": "hi"}], max_cost_usd=Decimal("0.5"))


def streams(gw: sw.Gateway) -> str:
    """Blocking streams."""
    with gw.stream("openai/gpt-x", "hi") as s:
        assert_type(s, sw.ChatStream)
        for delta in s:
            assert_type(delta, sw.Delta)
            assert_type(delta.text, str)
        assert_type(s.result(), sw.ChatResult)
    return s.text


async def twin(gw: sw.Gateway) -> None:
    """The asyncio twin."""
    assert_type(gw.aio, sw.AsyncGateway)
    assert_type(await gw.aio.chat("openai/gpt-x", "hi", timeout_s=3), sw.ChatResult)
    async with gw.aio.stream("openai/gpt-x", "hi") as s:
        async for delta in s:
            assert_type(delta.kind, str)
        assert_type(await s.result(), sw.ChatResult)
    async with gw.aio.budget("video:1", usd="3.00") as b:
        assert_type(b, sw.Budget)


def budgets(gw: sw.Gateway) -> None:
    """Budgets and their errors."""
    with gw.budget("video:1", usd=3) as b:
        b.book("render", usd="0.12", quantity=40.5, unit="gpu_s")
        assert_type(b.spent, Decimal)
        assert_type(b.left, Decimal | None)
        assert_type(b.status, str)
    try:
        gw.chat("openai/gpt-x", "hi")
    except sw.BudgetExceeded as error:
        assert_type(error.balance, Balance)
        assert_type(error.limit, Decimal | None)
    except sw.SluicewayError as error:
        assert_type(error.retryable, bool)
        assert_type(error.held, Decimal)


@sw.guarded(sw.TokenBucket(100, 10), sw.CircuitBreaker(5, 60), retry=sw.Retry(attempts=3))
def legacy(name: str, times: int = 1) -> list[str]:
    """A guarded function keeps its signature."""
    return [name] * times


@sw.guarded(sw.TokenBucket(100, 10))
async def legacy_async(name: str) -> int:
    """A guarded coroutine function keeps its own."""
    return len(name)


async def guarded_calls() -> None:
    """What the decorated ones return."""
    assert_type(legacy("a", times=2), list[str])
    assert_type(await legacy_async("a"), int)
