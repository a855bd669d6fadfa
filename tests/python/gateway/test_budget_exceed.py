"""What a full scope does: refuse, wait, fall back to something cheaper, or cut the request."""

from __future__ import annotations

import threading
import time
from concurrent.futures import ThreadPoolExecutor
from decimal import Decimal
from pathlib import Path
from typing import Any

import pytest

from sluiceway import BudgetExceeded, ChatResult, Gateway, InvalidRequest, _hops
from sluiceway.simulator import Simulator
from tests.python.gateway.conftest import MakeGateway

MODEL = "openai/gpt-4o-mini"
DEAR = "anthropic/claude-fable-5-2"
MIDDLE = "openai/gpt-4o"
COST = Decimal("0.000010350")  # 5 tokens in at $0.15, 16 out at $0.60 a million
PROMPT = "abcdefgh"


def ceiling(gw: Gateway, model: str = MODEL, **options: Any) -> Decimal:
    """What one call reserves."""
    return gw.estimate.chat(model, PROMPT, **options).ceiling


# --- wait


def test_waiting_ends_when_a_running_call_leaves_room(gw: Gateway, sim: Simulator) -> None:
    sim.script([{"action": {"latency_ms": 100}}])
    b = gw.budget("video:1", usd=ceiling(gw, max_output_tokens=16) + COST, on_exceed="wait")

    def call(_: int) -> ChatResult:
        with b:
            return gw.chat(MODEL, PROMPT, max_output_tokens=16)

    with ThreadPoolExecutor(2) as pool:
        first, second = pool.map(call, range(2))
    assert max(first.queue_ms, second.queue_ms) > 50  # one held the only place
    assert b.spent == 2 * COST
    assert sim.executions()["total"] == 2


def test_waiting_ends_with_the_deadline(gw: Gateway, sim: Simulator) -> None:
    limit = ceiling(gw, max_output_tokens=16)
    sim.script([{"action": {"latency_ms": 2000}}])
    b = gw.budget("video:1", usd=limit, on_exceed="wait")
    with b, ThreadPoolExecutor(1) as pool:
        running = pool.submit(b.bind(gw.chat), MODEL, PROMPT, max_output_tokens=16)
        while b.held == 0:
            time.sleep(0.001)
        with pytest.raises(BudgetExceeded):
            gw.chat(MODEL, PROMPT, max_output_tokens=16, timeout_s=0.15)
        running.result()
    assert sim.executions()["total"] == 1


def test_nothing_is_waited_for_where_only_spent_money_is_in_the_way(gw: Gateway) -> None:
    b = gw.budget("video:1", usd="1.00", on_exceed="wait")
    b.book("render", usd="1.00")
    started_s = time.monotonic()
    with b, pytest.raises(BudgetExceeded):
        gw.chat(MODEL, PROMPT, timeout_s=30)
    assert time.monotonic() - started_s < 5


def test_a_scope_that_refuses_is_not_waited_for(gw: Gateway, sim: Simulator) -> None:
    limit = ceiling(gw, max_output_tokens=16)
    sim.script([{"action": {"latency_ms": 1000}}])
    day = gw.budget("day:x", usd="9.00", on_exceed="wait")
    b = gw.budget("video:1", usd=limit)  # refuses
    with day, b, ThreadPoolExecutor(1) as pool:
        running = pool.submit(day.bind(b.bind(gw.chat)), MODEL, PROMPT, max_output_tokens=16)
        while b.held == 0:
            time.sleep(0.001)
        started_s = time.monotonic()
        with pytest.raises(BudgetExceeded, match="video:1"):
            gw.chat(MODEL, PROMPT, max_output_tokens=16)
        assert time.monotonic() - started_s < 0.5
        running.result()


def test_waiting_is_for_the_next_window_if_that_is_in_time(gw: Gateway) -> None:
    # The running hour never ends within a second of here, so nothing is waited for.
    b = gw.budget("user:7", usd="1.00", period="month", on_exceed="wait")
    b.book("render", usd="1.00")
    with b, pytest.raises(BudgetExceeded):
        gw.chat(MODEL, PROMPT, timeout_s=1)


# --- fallback


def test_the_chains_cheaper_models_follow(gw: Gateway, sim: Simulator) -> None:
    limit = ceiling(gw, MIDDLE) - Decimal("0.000001")
    assert ceiling(gw) < limit < ceiling(gw, MIDDLE) < ceiling(gw, DEAR)
    with gw.budget("video:1", usd=limit, on_exceed="fallback"):
        r = gw.chat(MIDDLE, PROMPT, fallbacks=[DEAR, MODEL])  # the dearer one is passed over
    assert r.model == MODEL
    assert [hop.model for hop in r.hops] == [MIDDLE, MODEL]
    assert sim.executions()["total"] == 1


def test_a_configured_list_follows_where_the_call_has_no_chain(
    make_gateway: MakeGateway, sim: Simulator
) -> None:
    gw = make_gateway(
        budgets={
            "video": {"limit": "0.01", "on_exceed": "fallback", "fallbacks": [MIDDLE, MODEL]},
        }
    )
    b = gw.budget("video:1", usd=ceiling(gw) + Decimal("0.0001"))
    assert b.terms.fallbacks == (MIDDLE, MODEL)
    with b:
        r = gw.chat(DEAR, PROMPT)
        assert r.model == MODEL
        with gw.stream(DEAR, PROMPT, max_output_tokens=100) as s:
            assert s.result().model == MIDDLE  # a hundred tokens of it fit
    assert [hop.error_kind for hop in r.hops[:2]] == ["budget_exceeded"] * 2
    assert sim.executions()["total"] == 2


def test_what_cannot_be_called_is_passed_over(gw: Gateway) -> None:
    terms: dict[str, Any] = {"on_exceed": "fallback", "fallbacks": ["openai/no-such-model", MODEL]}
    with gw.budget("video:1", usd=ceiling(gw), **terms):
        assert gw.chat(DEAR, PROMPT).model == MODEL


def test_when_nothing_cheaper_fits_the_last_refusal_stands(gw: Gateway, sim: Simulator) -> None:
    with (
        gw.budget("video:1", usd="0.000000001", on_exceed="fallback", fallbacks=[MIDDLE, MODEL]),
        pytest.raises(BudgetExceeded) as caught,
    ):
        gw.chat(DEAR, PROMPT)
    assert [hop.model for hop in caught.value.hops] == [DEAR, MIDDLE, MODEL]
    assert caught.value.would_cost == ceiling(gw)
    assert sim.executions()["total"] == 0


def test_a_refusal_of_another_scope_ends_the_chain(gw: Gateway) -> None:
    with (
        gw.budget("account:7", usd=ceiling(gw)),  # refuses
        gw.budget("video:1", usd="9.00", on_exceed="fallback"),
        pytest.raises(BudgetExceeded, match="account:7"),
    ):
        gw.chat(DEAR, PROMPT, fallbacks=[MODEL])


# --- cut


def test_a_cut_says_so(gw: Gateway, sim: Simulator) -> None:
    sim.script([{"action": {"output_tokens": 4000}}])
    with gw.budget("video:1", usd="0.001", on_exceed="cut") as b:
        r = gw.chat(MODEL, PROMPT)
        assert b.left is not None
        assert b.left >= 0
    assert [hop.error_kind for hop in r.hops] == ["budget_exceeded", "none"]
    assert r.cut_by_budget
    assert r.cut_by_max_output
    assert not gw.chat(MODEL, PROMPT, max_output_tokens=16).cut_by_budget


def test_a_cut_that_loses_a_race_is_cut_again(
    gw: Gateway, sim: Simulator, monkeypatch: pytest.MonkeyPatch
) -> None:
    sim.script([{"action": {"output_tokens": 4000}}])
    b = gw.budget("video:1", usd="0.002", on_exceed="cut")
    cuts: list[int] = []
    real = _hops._cut

    def raced(*arguments: Any) -> Any:
        shorter = real(*arguments)
        assert shorter is not None
        cuts.append(shorter.max_output_tokens)
        if len(cuts) <= 2:  # between the quote and the admission somebody takes half a cent's tenth
            b.book("render", usd="0.0005")
        return shorter

    monkeypatch.setattr(_hops, "_cut", raced)
    with b:
        r = gw.chat(MODEL, PROMPT)
    # $0.0020, $0.0015 and $0.0010 buy some 3,333, 2,500 and 1,667 tokens at $0.60 a million.
    assert len(cuts) == 3
    for tokens, most in zip(cuts, (3334, 2500, 1667), strict=True):
        assert most - 120 < tokens < most
    assert r.cut_by_budget
    assert b.spent <= Decimal("0.002")
    assert sim.executions()["total"] == 1


def test_a_burst_of_cuts_never_passes_the_limit(gw: Gateway, sim: Simulator) -> None:
    sim.script([{"action": {"output_tokens": 4000, "latency_ms": 20}}])
    limit = Decimal("0.01")  # four full ceilings of some $0.0025, and a remainder

    def call(_: int) -> bool:
        with gw.budget("video:1", usd=limit, on_exceed="cut"):
            try:
                return gw.chat(MODEL, PROMPT).cut_by_budget
            except BudgetExceeded:
                return False

    with ThreadPoolExecutor(16) as pool:
        assert any(pool.map(call, range(16)))
    assert Decimal(sim.bill()["total_nanousd"]).scaleb(-9) <= limit


def test_a_stated_cap_is_not_cut(gw: Gateway) -> None:
    with (
        gw.budget("video:1", usd="0.001", on_exceed="cut"),
        pytest.raises(BudgetExceeded),
    ):
        gw.chat(MODEL, PROMPT, max_cost_usd="0.005")


def test_a_cut_inside_a_chain(gw: Gateway, sim: Simulator) -> None:
    down = {"fault": "status", "status": 503}
    sim.script(
        [
            {"match": {"provider": "anthropic"}, "action": down},
            {"match": {"provider": "openai"}, "action": {"output_tokens": 4000}},
        ]
    )
    limit = ceiling(gw, "anthropic/claude-haiku-4-5", max_output_tokens=100)
    with gw.budget("video:1", usd=limit, on_exceed="cut"):
        r = gw.chat("anthropic/claude-haiku-4-5", PROMPT, fallbacks=[MODEL])
    assert r.model == MODEL
    kinds = [hop.error_kind for hop in r.hops]
    assert kinds == ["budget_exceeded", "overloaded", "budget_exceeded", "none"]


# --- the words themselves


def test_words_that_are_none(gw: Gateway) -> None:
    with pytest.raises(InvalidRequest, match="on_exceed"):
        gw.budget("video:1", usd="1", on_exceed="explode")


# --- the bursts that let others overspend (LiteLLM issues 40002 and 34732)


def _burst(gw: Gateway, key: str, usd: str, calls: int, prompt: str, **options: Any) -> int:
    """How many of so many calls at the same moment were admitted."""
    barrier = threading.Barrier(calls)

    def one(_: int) -> bool:
        with gw.budget(key, usd=usd):
            barrier.wait()
            try:
                gw.chat(options["model"], prompt, max_output_tokens=options["max_output_tokens"])
            except BudgetExceeded:
                return False
            return True

    with ThreadPoolExecutor(calls) as pool:
        return sum(pool.map(one, range(calls)))


def test_five_long_prompts_at_once_on_45_cents(gw: Gateway, sim: Simulator) -> None:
    sim.script([{"action": {"latency_ms": 50, "output_tokens": 8000}}])
    prompt = "river " * 8000  # 48,000 bytes
    one = gw.estimate.chat(MIDDLE, prompt, max_output_tokens=8000).ceiling
    fit = int(Decimal("0.45") / one)
    assert 1 <= fit < 5
    assert _burst(gw, "key:1", "0.45", 5, prompt, model=MIDDLE, max_output_tokens=8000) == fit
    billed = Decimal(sim.bill()["total_nanousd"]).scaleb(-9)
    assert sim.executions()["total"] == fit
    assert 0 < billed <= Decimal("0.45")


@pytest.mark.parametrize("on_disk", [False, True])
def test_twenty_calls_at_once_on_five_cents(
    make_gateway: MakeGateway, sim: Simulator, tmp_path: Path, on_disk: bool
) -> None:
    ledger = {"path": str(tmp_path / "books.db")} if on_disk else {"path": ":memory:"}
    gw = make_gateway(ledger=ledger)
    sim.script([{"action": {"latency_ms": 50, "output_tokens": 800}}])
    one = gw.estimate.chat(MIDDLE, PROMPT, max_output_tokens=800).ceiling
    fit = int(Decimal("0.05") / one)
    assert 1 <= fit < 20
    assert _burst(gw, "key:2", "0.05", 20, PROMPT, model=MIDDLE, max_output_tokens=800) == fit
    billed = Decimal(sim.bill()["total_nanousd"]).scaleb(-9)
    assert sim.executions()["total"] == fit
    assert 0 < billed <= Decimal("0.05")
    assert gw.ledger.verify()["ok"]
