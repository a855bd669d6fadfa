"""Windows: rolling and calendar ones, in code and in TOML; which template every call is in."""

from __future__ import annotations

from decimal import Decimal
from pathlib import Path

import pytest

from sluiceway import BudgetConflict, BudgetExceeded, Gateway, InvalidRequest, _core
from sluiceway.simulator import Simulator
from tests.python.gateway.conftest import MakeGateway

MODEL = "openai/gpt-4o-mini"
COST = Decimal("0.000010350")  # 5 tokens in at $0.15, 16 out at $0.60 a million
PROMPT = "abcdefgh"


@pytest.mark.parametrize("period", ["hour", "day", "week", "month"])
def test_a_calendar_window_in_code(gw: Gateway, period: str) -> None:
    b = gw.budget("user:7", usd="1.00", period=period, time_zone="Europe/Berlin")
    with b:
        gw.chat(MODEL, PROMPT)
    assert b.spent == COST
    names = [scope["name"] for scope in gw.ledger.scopes()]
    now_s = gw.ledger.entries()[0]["at_s"]
    assert names == ["user:7@" + _core.window_key(period, now_s, "Europe/Berlin")]


def test_windows_by_hand() -> None:
    # 2026-11-22T23:30:00Z, a Sunday: in Berlin (UTC+1) it is Monday the 23rd, 00:30, ISO week 48.
    at_s = 1_795_390_200.0
    assert _core.window_key("day", at_s, "UTC") == "2026-11-22"
    assert _core.window_key("day", at_s, "Europe/Berlin") == "2026-11-23"
    assert _core.window_key("hour", at_s, "Europe/Berlin") == "2026-11-23T00"
    assert _core.window_key("week", at_s, "UTC") == "2026-W47"
    assert _core.window_key("week", at_s, "Europe/Berlin") == "2026-W48"
    assert _core.window_key("month", at_s, "Europe/Berlin") == "2026-11"


def test_a_rolling_window_in_code(gw: Gateway) -> None:
    b = gw.budget("user:7", usd="0.10", rolling_s=3600)
    b.book("render", usd="0.10")
    with b, pytest.raises(BudgetExceeded, match="user:7"):
        gw.chat(MODEL, PROMPT)
    assert b.left == 0


def test_named_again_without_its_window_it_goes_on(gw: Gateway) -> None:
    b = gw.budget("user:7", usd="1.00", period="day", time_zone="Europe/Berlin")
    b.book("render", usd="0.25")
    assert gw.budget("user:7").spent == Decimal("0.25")
    assert gw.budget("user:7", usd="1.00").spent == Decimal("0.25")
    assert gw.budget("user:7", usd="2.00", replace=True).limit == 2


def test_another_window_is_a_conflict(gw: Gateway) -> None:
    gw.budget("user:7", usd="1.00", period="day")
    with pytest.raises(BudgetConflict):
        gw.budget("user:7", usd="1.00", period="month")
    with pytest.raises(BudgetConflict):
        gw.budget("user:7", usd="1.00", period="day", time_zone="Asia/Tokyo")


def test_each_user_has_a_day_of_its_own(make_gateway: MakeGateway) -> None:
    gw = make_gateway(budgets={"user": {"limit": "1.00", "period": "day"}})
    gw.budget("user:7").book("render", usd="1.00")
    gw.budget("user:8").book("render", usd="1.00")
    gw.chat(MODEL, PROMPT)  # in nobody's budget
    with pytest.raises(BudgetExceeded, match="user:7"):
        gw.budget("user:7").book("render", usd="0.01")


def test_a_kind_of_ones_own_says_which_it_is(make_gateway: MakeGateway) -> None:
    daily = {"limit": "1.00", "period": "day"}
    gw = make_gateway(budgets={"department": daily})
    gw.chat(MODEL, PROMPT)
    assert gw.budget("department").spent == COST  # one scope for all calls
    with pytest.raises(InvalidRequest, match="every_call = false"):
        gw.budget("department:7")
    gw = make_gateway(budgets={"department": {**daily, "every_call": False}})
    gw.budget("department:7").book("render", usd="1.00")
    gw.budget("department:8").book("render", usd="1.00")
    gw = make_gateway(budgets={"all": {"limit": "0.000001", "every_call": True}})
    with pytest.raises(BudgetExceeded, match="all"):
        gw.chat(MODEL, PROMPT)


def test_windows_in_toml(sim: Simulator, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SLUICEWAY_SIMULATOR_URL", sim.http_url)
    path = tmp_path / "sluiceway.toml"
    path.write_text(
        '[ledger]\npath = ":memory:"\n'
        '[budgets.day]\nlimit = "1.00"\nperiod = "day"\ntime_zone = "Europe/Berlin"\n'
        '[budgets.user]\nlimit = "0.50"\nrolling_s = 3600\n'
        '[budgets.video]\nlimit = "3.00"\nstatuses = ["20%", "40%", "60%"]\n'
        'warn = ["50%"]\ncritical = "2.00"\n'
        '[budgets.video.components]\nvoice = "0.50"\n'
    )
    with Gateway.from_file(path) as gw:
        with gw.budget("user:7"), gw.budget("video:1").component("voice"):
            gw.chat(MODEL, PROMPT)
            for name in ("day", "user:7", "video:1", "video:1#voice"):
                assert gw.budget(name).spent == COST
        assert gw.budget("video:1#voice").limit == Decimal("0.50")


@pytest.mark.parametrize(
    ("words", "match"),
    [
        ({"period": "fortnight"}, "period"),
        ({"rolling_s": 5}, "rolling_s"),
        ({"rolling_s": 3600, "period": "day"}, "not both"),
    ],
)
def test_windows_that_are_none(gw: Gateway, words: dict[str, object], match: str) -> None:
    with pytest.raises(InvalidRequest, match=match):
        gw.budget("user:7", usd="1.00", **words)  # type: ignore[arg-type]


# --- changing limits while running


def test_a_limit_lowered_below_what_is_used_is_exceeded_and_loses_nothing(gw: Gateway) -> None:
    b = gw.budget("video:1", usd="3.00")
    b.book("render", usd="2.00")
    lower = gw.budget("video:1", usd="1.00", replace=True)
    assert (lower.spent, lower.left, lower.status) == (Decimal(2), Decimal(-1), "exceeded")
    with b, pytest.raises(BudgetExceeded):
        gw.chat(MODEL, PROMPT)
    assert gw.budget("video:1", usd="3.00", replace=True).status == "good"
    with b:
        gw.chat(MODEL, PROMPT)
    assert gw.ledger.verify()["ok"]


def test_another_process_may_change_it_and_a_template_does_not_change_it_back(
    sim: Simulator, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("SLUICEWAY_LEDGER", str(tmp_path / "books.db"))
    monkeypatch.setenv("SLUICEWAY_SIMULATOR_URL", sim.http_url)
    tables = {"budgets": {"video": {"limit": "0.000001"}}}
    with Gateway(tables) as worker, Gateway.from_env() as operator:
        with worker.budget("video:1") as b, pytest.raises(BudgetExceeded):
            worker.chat(MODEL, PROMPT)
        operator.budget("video:1", usd="1.00", replace=True)
        with b:
            worker.chat(MODEL, PROMPT)
        assert worker.budget("video:1").limit == 1
        worker._hub.scopes.clear()  # as after a second, or in a new process
        assert worker.budget("video:1").limit == 1
        assert worker.budget("video:2").limit == Decimal("0.000001")


def test_reloading_the_budgets(
    sim: Simulator, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("SLUICEWAY_SIMULATOR_URL", sim.http_url)
    path = tmp_path / "sluiceway.toml"
    text = '[ledger]\npath = ":memory:"\n[budgets.day]\nlimit = "{}"\nperiod = "day"\n'
    path.write_text(text.format("0.000001"))
    with Gateway.from_file(path) as gw:
        with pytest.raises(BudgetExceeded, match="day"):
            gw.chat(MODEL, PROMPT)
        path.write_text(text.format("1.00") + '[budgets.video]\nlimit = "2.00"\n')
        assert gw.reload_budgets() == ["day"]
        gw.chat(MODEL, PROMPT)
        assert gw.budget("day").limit == 1
        assert gw.budget("video:1").limit == 2
        assert gw.reload_budgets({"budgets": {"day": {"limit": "1", "period": "day"}}}) == []
        path.write_text("[budgets.day]\n")
        with pytest.raises(Exception, match="limit"):
            gw.reload_budgets(path)
        assert gw.budget("day").limit == 1


def test_a_file_with_another_limit_for_every_call_keeps_the_stored_one(
    sim: Simulator, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("SLUICEWAY_LEDGER", str(tmp_path / "books.db"))
    monkeypatch.setenv("SLUICEWAY_SIMULATOR_URL", sim.http_url)
    day = {"limit": "1.00", "period": "day"}
    with Gateway({"budgets": {"day": day}}) as gw:
        gw.chat(MODEL, PROMPT)
    with Gateway({"budgets": {"day": {**day, "limit": "2.00"}}}) as gw:
        gw.chat(MODEL, PROMPT)
        assert gw.budget("day").limit == 1
    with Gateway({"budgets": {"day": {**day, "limit": "2.00", "replace": True}}}) as gw:
        gw.chat(MODEL, PROMPT)
        assert gw.budget("day").limit == 2


def test_replace_needs_an_amount(gw: Gateway) -> None:
    with pytest.raises(InvalidRequest, match="usd="):
        gw.budget("video:1", replace=True)
