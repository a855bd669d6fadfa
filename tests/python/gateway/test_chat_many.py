"""Many calls at once: in their order, each for itself, and nothing sent when one is a mistake."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import Any

import pytest

from sluiceway import (
    AlreadySubmitted,
    BudgetExceeded,
    ChatResult,
    Gateway,
    InvalidRequest,
    InvalidType,
    Retry,
    SluicewayError,
    UnknownModel,
)
from sluiceway.simulator import Simulator

MODEL = "openai/gpt-4o-mini"
SECOND = "anthropic/claude-haiku-4-5"
Many = Callable[..., list[ChatResult | SluicewayError]]


@pytest.fixture(params=["blocking", "asyncio"])
def many(request: pytest.FixtureRequest, gw: Gateway) -> Many:
    if request.param == "blocking":
        return gw.chat_many
    return lambda *args, **options: asyncio.run(gw.aio.chat_many(*args, **options))


def test_all_are_answered_in_their_order(many: Many, sim: Simulator) -> None:
    # n letters are n bytes: ceil(n / 4) + 3 tokens in.
    results = many(MODEL, ["a" * 4 * n for n in range(1, 41)])
    assert [r.usage.input_tokens for r in results if isinstance(r, ChatResult)] == [
        n + 3 for n in range(1, 41)
    ]
    assert sim.executions()["total"] == 40
    costs = sum(r.cost.nanousd or 0 for r in results if isinstance(r, ChatResult))
    assert costs == sim.bill()["total_nanousd"]


def test_one_error_hides_no_result(many: Many, sim: Simulator) -> None:
    sim.script([{"match": {"nth": 3}, "action": {"fault": "status", "status": 400}}])
    results = many(MODEL, ["hi"] * 5)
    failed = [r for r in results if isinstance(r, SluicewayError)]
    assert [type(error).__name__ for error in failed] == ["BadRequest"]
    assert sum(isinstance(r, ChatResult) for r in results) == 4


@pytest.mark.parametrize(
    ("prompts", "error"),
    [
        (["hi", "ho", 3], InvalidType),
        (["hi", "a lone surrogate \ud800"], InvalidRequest),
        (["hi", [{"role": "user", "content": object()}]], SluicewayError),
        ("hi", InvalidType),
        ({"hi"}, InvalidType),
    ],
)
def test_a_mistake_in_one_sends_none(
    many: Many, sim: Simulator, prompts: Any, error: type[Exception]
) -> None:
    with pytest.raises(error):
        many(MODEL, prompts)
    assert sim.executions()["total"] == 0
    assert sim.log() == []


def test_a_mistake_in_the_options_sends_none(many: Many, sim: Simulator) -> None:
    with pytest.raises(UnknownModel):
        many(MODEL, ["hi"], fallbacks=["openai/no-such-model"])
    assert sim.log() == []


def test_nothing_asked(many: Many) -> None:
    assert many(MODEL, []) == []


def test_each_goes_its_own_chain(many: Many, sim: Simulator) -> None:
    action = {"fault": "status", "status": 429}
    sim.script([{"match": {"provider": "openai", "nth": 2}, "action": action}])
    results = many(MODEL, ["hi"] * 3, fallbacks=[SECOND], retry=Retry(attempts=1))
    models = sorted(r.model for r in results if isinstance(r, ChatResult))
    assert models == [SECOND, MODEL, MODEL]


def test_a_budget_admits_what_fits(gw: Gateway, sim: Simulator) -> None:
    one = gw.estimate.chat(MODEL, "abcdefgh", max_output_tokens=16)
    limit = one.ceiling * 3
    with gw.budget("job:many", usd=str(limit)):
        results = gw.chat_many(MODEL, ["abcdefgh"] * 10, max_output_tokens=16)
    refused = [r for r in results if isinstance(r, BudgetExceeded)]
    assert len(refused) == 10 - sim.executions()["total"] >= 5
    assert sim.bill()["total_nanousd"] <= limit * 10**9


def test_the_cache_knows_them_as_chat_does(make_gateway: Any, sim: Simulator) -> None:
    gw = make_gateway()
    first = gw.chat(MODEL, "hi", cache=60.0)
    second = gw.chat_many(MODEL, ["hi", "hi"], cache=60.0)
    assert [r.cache for r in second] == ["hit", "hit"]
    assert first.cache == "miss"
    assert sim.executions()["total"] == 1


@pytest.mark.parametrize("prompt", ["hi", [{"role": "user", "content": "hi"}]])
def test_a_cap_of_cost_holds_for_each(many: Many, sim: Simulator, prompt: Any) -> None:
    results = many(MODEL, [prompt] * 3, max_cost_usd="0.01")
    assert all(isinstance(r, ChatResult) for r in results)
    with pytest.raises(InvalidRequest, match="more than max_cost_usd"):
        many(MODEL, [prompt] * 3, max_cost_usd="0.000001")
    assert sim.executions()["total"] == 3


def test_each_prompt_has_its_part_of_a_key(many: Many, gw: Gateway, sim: Simulator) -> None:
    """All are sent, and by nobody again; one more prompt at the end is new."""
    prompts = ["hi", "ho", [{"role": "user", "content": "ha"}]]
    assert all(isinstance(one, ChatResult) for one in many(MODEL, prompts, idempotency_key="k"))
    results = many(MODEL, prompts, idempotency_key="k")
    assert sim.executions()["total"] == 3
    assert [type(one) for one in results] == [AlreadySubmitted] * 3
    results = many(MODEL, ["hi", "ho", "ha", "he"], idempotency_key="k")
    assert [isinstance(one, ChatResult) for one in results] == [False] * 3 + [True]
    with pytest.raises(AlreadySubmitted):
        gw.chat(MODEL, "hi", idempotency_key="k/0")
    results = many(MODEL, ["x", "y"], idempotency_key="j", fallbacks=[SECOND])
    assert [isinstance(one, ChatResult) for one in results] == [True, True]
    assert sim.executions()["total"] == 6
