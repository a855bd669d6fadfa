"""Budgets: nothing passes a limit, scopes nest and persist, and contexts carry them."""

from __future__ import annotations

import asyncio
import contextvars
import threading
from concurrent.futures import ThreadPoolExecutor
from decimal import Decimal
from pathlib import Path

import pytest

from sluiceway import (
    Budget,
    BudgetConflict,
    BudgetExceeded,
    Gateway,
    InDoubt,
    InvalidRequest,
    InvalidType,
    _frames,
)
from sluiceway.simulator import Simulator

MODEL = "openai/gpt-4o-mini"
COST = Decimal("0.000010350")  # 5 tokens in at $0.15, 16 out at $0.60 a million
PROMPT = "abcdefgh"


def test_a_budget_counts_and_refuses(gw: Gateway, sim: Simulator) -> None:
    ceiling = gw.estimate.chat(MODEL, PROMPT, max_output_tokens=16).ceiling
    limit = COST * 2 + ceiling  # room for three calls: two settled, then one ceiling
    with gw.budget("video:42", usd=limit) as b:
        assert b.spent == b.held == b.in_doubt == 0
        assert b.left == b.limit == limit
        for _ in range(3):
            gw.chat(MODEL, PROMPT, max_output_tokens=16)
        assert b.spent == 3 * COST
        with pytest.raises(BudgetExceeded) as caught:
            gw.chat(MODEL, PROMPT, max_output_tokens=16)
    error = caught.value
    assert error.scope == "video:42"
    assert error.limit == limit
    assert error.spent == 3 * COST
    assert error.would_cost == ceiling
    assert error.balance.held == 0
    assert error.in_doubt == 0
    assert error.outcome == "never_sent"
    assert error.held == 0
    for word in ("spent", "held", "in doubt", "max_output_tokens", "replace=True"):
        assert word in str(error)
    assert sim.executions()["total"] == 3
    gw.chat(MODEL, PROMPT)  # outside of the budget


def test_a_burst_never_passes_the_limit(gw: Gateway, sim: Simulator) -> None:
    ceiling = gw.estimate.chat(MODEL, PROMPT, max_output_tokens=16).ceiling
    limit = 5 * ceiling
    sim.script([{"action": {"latency_ms": 30}}])

    def call(_: int) -> bool:
        try:
            with gw.budget("burst:1", usd=limit):
                gw.chat(MODEL, PROMPT, max_output_tokens=16)
        except BudgetExceeded:
            return False
        return True

    with ThreadPoolExecutor(24) as pool:
        passed = sum(pool.map(call, range(24)))
    assert 5 <= passed < 24
    assert Decimal(sim.bill()["total_nanousd"]) / 10**9 <= limit
    assert sim.executions()["total"] == passed


def test_scopes_nest_and_count_once(gw: Gateway) -> None:
    with gw.budget("account:7", usd="1.00") as outer:
        with gw.budget("video:1", usd="0.50") as inner, gw.budget("video:1"):
            frame = gw._hub.frame.get()
            assert frame is not None
            assert [scope.name for scope in frame.scopes] == ["account:7", "video:1"]
            gw.chat(MODEL, PROMPT)
        gw.chat(MODEL, PROMPT)
    assert inner.spent == COST
    assert outer.spent == 2 * COST
    assert inner.status == outer.status == "excellent"


def test_a_refusal_leaves_no_trace_in_the_other_scope(gw: Gateway) -> None:
    with (
        gw.budget("account:7", usd="1.00") as outer,
        gw.budget("video:1", usd="0.000000001") as inner,
        pytest.raises(BudgetExceeded) as caught,
    ):
        gw.chat(MODEL, PROMPT)
    assert caught.value.scope == "video:1"
    assert outer.balance.left == Decimal("1.00")
    assert inner.spent == 0


def test_scopes_persist_and_conflict(
    make_gateway: object, sim: Simulator, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("SLUICEWAY_LEDGER", str(tmp_path / "books.db"))
    monkeypatch.setenv("SLUICEWAY_SIMULATOR_URL", sim.http_url)
    with Gateway.from_env() as first:
        with first.budget("video:42", usd="3.00"):
            first.chat(MODEL, PROMPT)
        with pytest.raises(BudgetConflict, match=r"limit \$3\.00, not \$4\.00; .* replace=True"):
            first.budget("video:42", usd="4.00")
        first.budget("video:42", usd="3")  # the same amount
    with Gateway.from_env() as second:
        b = second.budget("video:42", usd="3.00")
        assert b.spent == COST
        assert second.budget("video:42", usd="5.00", replace=True).limit == 5
        assert second.budget("video:42", usd="5.00").spent == COST


def test_templates_and_periods(make_gateway: object) -> None:
    gw: Gateway = make_gateway(  # type: ignore[operator]
        budgets={
            "video": {"limit": "3.00", "warn": ["2.00", "2.50"]},
            "day": {"limit": "150.00", "period": "day"},
            "burst": {"limit": "9.00", "rolling_s": 60},
        }
    )
    with gw.budget("video:1") as b:
        assert b.limit == 3
        gw.chat(MODEL, PROMPT)
    gw.chat(MODEL, PROMPT)
    assert b.spent == COST
    assert gw.budget("day").spent == 2 * COST  # every call is in it
    assert gw.budget("burst").spent == 2 * COST


def test_a_period_refuses_calls_outside_of_every_budget(make_gateway: object) -> None:
    gw: Gateway = make_gateway(  # type: ignore[operator]
        budgets={"day": {"limit": "0.000001", "period": "day"}}
    )
    with pytest.raises(BudgetExceeded, match="day"):
        gw.chat(MODEL, PROMPT)


def test_a_fallback_for_the_poor(make_gateway: object, sim: Simulator) -> None:
    gw: Gateway = make_gateway(  # type: ignore[operator]
        budgets={"video": {"limit": "0.01", "on_exceed": "fallback"}}
    )
    with gw.budget("video:1"):
        r = gw.chat("anthropic/claude-fable-5-2", PROMPT, fallbacks=[MODEL])
    assert r.model == MODEL
    assert r.hops[0].error_kind == "budget_exceeded"
    assert sim.executions()["total"] == 1


def test_a_cut_for_the_poor(make_gateway: object, sim: Simulator) -> None:
    gw: Gateway = make_gateway(  # type: ignore[operator]
        budgets={"video": {"limit": "0.001", "on_exceed": "cut"}}
    )
    sim.script([{"action": {"output_tokens": 4000}}])
    with gw.budget("video:1") as b:
        r = gw.chat(MODEL, PROMPT)  # 4,096 tokens out would be $0.0025
        left = b.left
    assert r.cut_by_max_output
    assert r.usage.output_tokens is not None
    assert 1500 < r.usage.output_tokens < 1667  # $0.001 buys 1,666 tokens at $0.60 a million
    assert r.cost.ceiling <= Decimal("0.001")
    assert left is not None
    assert left >= 0
    with gw.budget("video:2", usd="0.000000001"), pytest.raises(BudgetExceeded):
        gw.chat(MODEL, PROMPT)  # not even one token


def test_what_is_in_doubt_stays_counted(gw: Gateway, sim: Simulator) -> None:
    sim.script([{"match": {"nth": 1}, "action": {"fault": "drop_after"}}])
    with gw.budget("video:9", usd="1.00") as b:
        with pytest.raises(InDoubt) as caught:
            gw.chat(MODEL, PROMPT)
        assert b.in_doubt == caught.value.held > 0
        gw.ledger.resolve(caught.value.call_id, usd=COST, evidence="the simulator's bill")
        assert b.spent == COST
        assert b.in_doubt == 0
    assert gw.ledger.verify()["ok"]


def test_tasks_inherit_threads_are_bound(gw: Gateway) -> None:
    spent: dict[str, Decimal] = {}

    async def child() -> None:
        await gw.aio.chat(MODEL, PROMPT)

    async def parent() -> None:
        async with gw.aio.budget("task:1", usd="1.00") as b:
            await asyncio.gather(child(), asyncio.create_task(child()))
            spent["tasks"] = b.spent

    asyncio.run(parent())
    assert spent["tasks"] == 2 * COST

    def in_thread(target: object, *arguments: object) -> None:
        thread = threading.Thread(target=target, args=arguments)  # type: ignore[arg-type]
        thread.start()
        thread.join()

    with gw.budget("thread:1", usd="1.00") as b:
        in_thread(gw.chat, MODEL, PROMPT)  # a new thread has an empty context
        assert b.spent == 0
        in_thread(b.bind(gw.chat), MODEL, PROMPT)
        in_thread(contextvars.copy_context().run, gw.chat, MODEL, PROMPT)
        assert b.spent == 2 * COST

    bound = b.bind(child)
    asyncio.run(bound())
    assert b.spent == 3 * COST


def test_one_budget_in_many_tasks_at_once(gw: Gateway) -> None:
    b = gw.budget("shared:1", usd="1.00")

    async def task(number: int) -> None:
        async with b:
            await asyncio.sleep(0)
            await gw.aio.chat(MODEL, PROMPT)

    async def main() -> None:
        await asyncio.gather(*(task(number) for number in range(10)))

    asyncio.run(main())
    assert b.spent == 10 * COST


def test_leaving_in_another_order_is_an_error(gw: Gateway) -> None:
    outer, inner = gw.budget("a:1", usd="1"), gw.budget("b:1", usd="1")
    outer.__enter__()
    inner.__enter__()
    with pytest.raises(RuntimeError, match="another order"):
        outer.__exit__()
    inner.__exit__()
    outer.__exit__()


@pytest.mark.parametrize("usd", ["-1", "nan", "inf", "a lot", Decimal("-0.01")])
def test_amounts_that_are_none(gw: Gateway, usd: str | Decimal) -> None:
    with pytest.raises(InvalidRequest):
        gw.budget("video:1", usd=usd)


def test_names_that_are_none(gw: Gateway) -> None:
    for name in ("", ":1", "a@b:1"):
        with pytest.raises(InvalidRequest):
            gw.budget(name, usd="1")
    with pytest.raises(InvalidType):
        gw.budget(42, usd="1")  # type: ignore[arg-type]
    with pytest.raises(InvalidType, match=r'usd="3\.5"'):
        gw.budget("video:1", usd=3.5)  # type: ignore[arg-type]


def test_gateways_do_not_share_budgets(make_gateway: object) -> None:
    first: Gateway = make_gateway()  # type: ignore[operator]
    second: Gateway = make_gateway()  # type: ignore[operator]
    with first.budget("video:1", usd="1.00") as b:
        second.chat(MODEL, PROMPT)
        first.with_options(timeout_s=5).chat(MODEL, PROMPT)  # a view of the first
    assert isinstance(b, Budget)
    assert b.spent == COST


def test_entering_again_is_a_look_up(gw: Gateway) -> None:
    first = gw.budget("video:1", usd="1.00")
    for _ in range(50):
        with gw.budget("video:1", usd="1.00"):
            pass
    # One commit entered the engine as an owner, one made the scope; the writer counts a commit a
    # moment after it has answered.
    assert gw.stats()["ledger_commits"] <= 2
    assert gw.budget("video:1", usd="1.00").scope is first.scope
    with pytest.raises(BudgetConflict):
        gw.budget("video:1", usd="2.00")
    assert gw.budget("video:1", usd="2.00", replace=True).limit == 2
    with pytest.raises(BudgetConflict):
        gw.budget("video:1", usd="1.00")
    assert gw.budget("video:1").limit == 2  # named without an amount: as it is


def test_another_process_limit_is_noticed(
    sim: Simulator, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("SLUICEWAY_LEDGER", str(tmp_path / "books.db"))
    monkeypatch.setattr(_frames, "SCOPE_KNOWN_S", 0.0)
    with Gateway.from_env() as one, Gateway.from_env() as other:
        one.budget("video:1", usd="1.00")
        other.budget("video:1", usd="2.00", replace=True)
        with pytest.raises(BudgetConflict):
            one.budget("video:1", usd="1.00")
