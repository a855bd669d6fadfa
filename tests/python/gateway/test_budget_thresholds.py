"""Levels: each fires once a window and scope, where the user's threads are, and breaks nothing."""

from __future__ import annotations

import asyncio
import logging
import os
import threading
from decimal import Decimal
from pathlib import Path

import pytest

from sluiceway import BudgetEvent, Gateway, InDoubt, InvalidType, _thresholds
from sluiceway.simulator import Simulator
from tests.python.gateway.conftest import MakeGateway

MODEL = "openai/gpt-4o-mini"
COST = Decimal("0.000010350")  # 5 tokens in at $0.15, 16 out at $0.60 a million
PROMPT = "abcdefgh"
VIDEO = {"limit": "3.00", "warn": ["2.00", "2.50"], "critical": "2.75"}


def test_each_level_fires_once_and_in_order(make_gateway: MakeGateway) -> None:
    gw = make_gateway(budgets={"video": VIDEO})
    events: list[BudgetEvent] = []
    b = gw.budget("video:1")
    b.on_threshold(events.append)
    b.book("render", usd="1.999999999")
    assert events == []
    b.book("render", usd="0.000000001")  # at the mark, not only above it
    assert [(e.level, e.threshold, e.status) for e in events] == [("warn", Decimal(2), "good")]
    b.book("render", usd="0.40")
    b.book("render", usd="0.60")  # over two marks at once
    assert [(e.level, e.threshold) for e in events[1:]] == [
        ("warn", Decimal("2.5")),
        ("critical", Decimal("2.75")),
    ]
    last = events[-1]
    assert [last.spent, last.held, last.limit] == [Decimal(3), Decimal(0), Decimal(3)]
    assert last.scope == "video:1"
    assert [last.left, last.in_doubt] == [Decimal(0)] * 2
    assert (last.window, last.unit) == ("", "usd")
    assert b.spent == 3
    assert len(events) == 3


def test_without_marks_the_statuses_fire(gw: Gateway) -> None:
    events: list[BudgetEvent] = []
    gw.on_budget(events.append)
    b = gw.budget("video:1", usd="3.00")
    b.book("render", usd="2.00")
    assert events == []  # up to 2.00 is good
    b.book("render", usd="0.01")
    b.book("render", usd="0.50")
    b.book("render", usd="1.00", force=True)  # spent already: above the limit
    assert [(e.level, e.status) for e in events] == [
        ("warn", "warning"),
        ("critical", "critical"),
        ("exceeded", "exceeded"),
    ]


def test_a_scope_fires_for_itself_and_every_callback_is_called(make_gateway: MakeGateway) -> None:
    gw = make_gateway(budgets={"video": VIDEO})
    every, one = [], []
    gw.on_budget(lambda event: every.append(event.scope))

    @gw.budget("video:1").on_threshold
    def _(event: BudgetEvent) -> None:
        one.append(event.scope)

    for key in ("1", "2"):
        gw.budget(f"video:{key}").book("render", usd="2.10")
    assert one == ["video:1"]
    assert every == ["video:1", "video:2"]


def test_a_higher_limit_arms_a_level_again(gw: Gateway) -> None:
    events: list[BudgetEvent] = []
    b = gw.budget("video:1", usd="3.00", warn=["50%"])
    b.on_threshold(events.append)
    b.book("render", usd="1.60")
    more = gw.budget("video:1", usd="4.00", replace=True, warn=["50%"])
    assert more.status == "good"
    more.book("render", usd="0.30")
    assert [e.threshold for e in events] == [Decimal("1.5")]
    more.book("render", usd="0.10")
    assert [e.threshold for e in events] == [Decimal("1.5"), 2]


def test_a_call_fires_in_the_next_waiter_or_on_the_threads(
    gw: Gateway, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(_thresholds, "DRAIN_GRACE_S", 0.0)
    fired = threading.Event()
    where: list[str] = []
    b = gw.budget("video:1", usd="1.00", warn=[COST])

    @b.on_threshold
    def _(event: BudgetEvent) -> None:
        where.append(threading.current_thread().name)
        fired.set()

    with b:
        gw.chat(MODEL, PROMPT, max_output_tokens=16)
    assert fired.wait(10)
    assert where == ["sluiceway-thresholds"]


def test_a_drain_takes_what_waits(gw: Gateway, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(_thresholds, "DRAIN_GRACE_S", 3600.0)  # the thread never delivers
    threads: list[int] = []
    b = gw.budget("video:1", usd="1.00", warn=["0.000000001"])
    b.on_threshold(lambda _: threads.append(threading.get_ident()))

    async def main() -> None:
        async with b:
            for _ in range(1000):
                await gw.aio.chat(MODEL, PROMPT, max_output_tokens=16)
                if threads:
                    return

    asyncio.run(main())
    assert threads == [threading.get_ident()]


def test_close_and_flush_fire_what_has_been_crossed(
    make_gateway: MakeGateway, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(_thresholds, "DRAIN_GRACE_S", 3600.0)  # the thread never delivers
    for end in ("close", "flush"):
        gw = make_gateway(budgets={"video": {"limit": "1.00", "warn": ["0.000000001"]}})
        events: list[BudgetEvent] = []
        gw.on_budget(events.append)
        with gw.budget("video:1"):
            gw.chat(MODEL, PROMPT)
        getattr(gw, end)()
        assert [e.level for e in events] == ["warn"]


def test_streams_and_raw_calls_fire_too(gw: Gateway) -> None:
    events: list[str] = []
    gw.on_budget(lambda event: events.append(event.scope))
    with gw.budget("a:1", usd="1.00", warn=["0.000000001"]):
        with gw.stream(MODEL, PROMPT) as s:
            s.result()
        gw.flush()
    assert events == ["a:1"]
    body = {"model": "gpt-4o-mini", "messages": [{"role": "user", "content": PROMPT}]}
    with gw.budget("b:1", usd="1.00", warn=["0.000000001"]):
        gw.raw.post("openai", "/v1/chat/completions", json=body, max_cost_usd="0.10")
        gw.flush()
    assert events == ["a:1", "b:1"]


def test_an_exception_in_a_callback_is_logged_and_breaks_nothing(
    gw: Gateway, caplog: pytest.LogCaptureFixture
) -> None:
    heard: list[str] = []

    def broken(event: BudgetEvent) -> None:
        raise RuntimeError("the pager is down")

    b = gw.budget("video:1", usd="3.00")
    b.on_threshold(broken)
    b.on_threshold(lambda event: heard.append(event.level))
    with caplog.at_level(logging.WARNING, "sluiceway"):
        b.book("render", usd="2.90")
        assert b.spent == Decimal("2.90")
    assert heard == ["warn", "critical"]
    failures = [record for record in caplog.records if record.exc_info]
    assert len(failures) == 2
    assert "the pager is down" in str(failures[0].exc_info)


def test_levels_are_logged_without_any_callback(
    make_gateway: MakeGateway, caplog: pytest.LogCaptureFixture
) -> None:
    gw = make_gateway(budgets={"video": VIDEO})
    with caplog.at_level(logging.WARNING, "sluiceway"):
        gw.budget("video:1").book("render", usd="2.60")
    levels = [record.budget_level for record in caplog.records]  # type: ignore[attr-defined]
    assert levels == ["warn", "warn"]
    assert "video:1 is at warn" in caplog.records[0].getMessage()


def test_money_in_doubt_counts_and_comes_back(gw: Gateway, sim: Simulator) -> None:
    sim.script([{"match": {"nth": 1}, "action": {"fault": "drop_after"}}])
    ceiling = gw.estimate.chat(MODEL, PROMPT).ceiling
    events: list[tuple[str, Decimal]] = []
    b = gw.budget("video:1", usd=ceiling, warn=["50%"])
    b.on_threshold(lambda event: events.append((event.level, event.in_doubt)))
    with b, pytest.raises(InDoubt) as caught:
        gw.chat(MODEL, PROMPT)
    gw.flush()
    assert ("warn", ceiling) in events
    count = len(events)
    gw.ledger.resolve(caught.value.call_id, usd="0", evidence="not on the bill")
    assert b.in_doubt == 0
    b.book("render", usd=ceiling)
    assert len(events) == 2 * count  # armed again, and reached again


def test_a_day_fires_anew(make_gateway: MakeGateway, monkeypatch: pytest.MonkeyPatch) -> None:
    gw = make_gateway()
    windows = iter(["2026-11-22", "2026-11-22", "2026-11-23", "2026-11-23"])
    current = ["2026-11-22"]
    events: list[str] = []
    b = gw.budget("user:7", usd="1.00", period="day", warn=["0.10"])
    b.on_threshold(lambda event: events.append(event.window))

    class Core:
        @staticmethod
        def window_key(period: str, unix_s: float, time_zone: str) -> str:
            return current[0]

    monkeypatch.setattr(_thresholds, "_core", Core)
    for window in windows:  # the scope stays above its mark; only the name of the day moves on
        current[0] = window
        b.book("render", usd="0.10")
    assert events == ["2026-11-22", "2026-11-23"]


def test_each_process_fires_for_what_it_sees(
    sim: Simulator, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("SLUICEWAY_LEDGER", str(tmp_path / "books.db"))
    monkeypatch.setenv("SLUICEWAY_SIMULATOR_URL", sim.http_url)
    with Gateway.from_env() as one, Gateway.from_env() as other:
        heard: list[Decimal] = []
        b = one.budget("video:1", usd="3.00")
        b.on_threshold(lambda event: heard.append(event.spent))
        other.budget("video:1").book("render", usd="2.10")
        assert heard == []  # nothing of its own has ended there yet
        b.book("render", usd="0.01")
        assert heard == [Decimal("2.11")]


def test_a_forked_child_fires_with_locks_of_its_own(gw: Gateway) -> None:
    b = gw.budget("video:1", usd="3.00")
    b.on_threshold(lambda _: None)
    watcher = gw._hub.watcher()
    watcher._lock.acquire()  # as another thread might, at the moment of the fork
    pid = os.fork()
    if pid == 0:
        ok = not watcher._lock.locked() and watcher._thread is None
        os._exit(0 if ok else 1)
    watcher._lock.release()
    assert os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]) == 0


def test_coroutines_are_no_callbacks(gw: Gateway) -> None:
    async def hear(event: BudgetEvent) -> None: ...

    with pytest.raises(InvalidType, match="plain function"):
        gw.on_budget(hear)
    with pytest.raises(InvalidType):
        gw.on_budget(7)  # type: ignore[type-var]


def test_nothing_watches_where_nobody_listens(gw: Gateway) -> None:
    with gw.budget("video:1", usd="3.00"):
        gw.chat(MODEL, PROMPT)
    assert gw._hub.watch is None
