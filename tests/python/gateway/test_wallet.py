"""Wallets of dollars and of credits: nothing below zero, whole or not at all, once a key."""

from __future__ import annotations

import pickle
import threading
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC
from decimal import Decimal
from pathlib import Path

import pytest

from sluiceway import (
    BudgetConflict,
    BudgetExceeded,
    ConfigError,
    Deduction,
    Gateway,
    InvalidRequest,
    InvalidType,
    Wallet,
)
from sluiceway.ledger import audit
from sluiceway.simulator import Simulator
from tests.python.gateway.conftest import MakeGateway

MODEL = "openai/gpt-4o-mini"
COST = Decimal("0.000010350")  # 5 tokens in at $0.15, 16 out at $0.60 a million
ZERO = Decimal(0)
PROMPT = "abcdefgh"


# --- dollars


def test_what_was_topped_up_can_be_spent(gw: Gateway, sim: Simulator) -> None:
    wallet = gw.wallet("account:7")
    assert wallet.balance == 0
    with wallet, pytest.raises(BudgetExceeded, match="wallet:account:7"):
        gw.chat(MODEL, PROMPT)
    assert wallet.top_up("1.00", evidence="invoice 1") == 1
    assert wallet.top_up("0.50", "invoice 2") == Decimal("1.50")
    with wallet:
        gw.chat(MODEL, PROMPT)
    assert wallet.balance == Decimal("1.50") - COST
    assert (wallet.spent, wallet.held, wallet.in_doubt) == (COST, ZERO, ZERO)
    assert sim.executions()["total"] == 1
    assert gw.ledger.verify()["ok"]


def test_a_wallet_nests_with_budgets_and_is_none_itself(gw: Gateway) -> None:
    gw.wallet("account:7").top_up("1.00", "cash")
    with gw.wallet("account:7") as wallet, gw.budget("account:7", usd="0.50") as b:
        gw.chat(MODEL, PROMPT)
    assert b.spent == wallet.spent == COST
    assert wallet.budget.status == "excellent"
    assert wallet.status == "excellent"


def test_can_afford_to_the_last_nano_dollar(gw: Gateway) -> None:
    wallet = gw.wallet("account:7")
    estimate = gw.estimate.chat(MODEL, PROMPT)
    assert not wallet.can_afford(estimate)
    wallet.top_up(estimate.ceiling, "cash")
    assert wallet.can_afford(estimate)
    assert wallet.can_afford(estimate.ceiling)
    assert not wallet.can_afford(estimate.ceiling + Decimal("0.000000001"))
    wallet.deduct("0.000000001", "a stamp")
    assert not wallet.can_afford(estimate)


def test_deductions_and_refunds(gw: Gateway) -> None:
    wallet = gw.wallet("account:7")
    wallet.top_up("10", "cash")
    done = wallet.deduct("4.00", "a video", operation="video")
    assert (done.amount, done.unit, done.duplicate) == (Decimal(4), "usd", False)
    with pytest.raises(BudgetExceeded) as caught:
        wallet.deduct("6.01", "another")
    assert caught.value.would_cost == Decimal("6.01")
    assert wallet.balance == 6
    assert wallet.refund(done, "1.50", "the voice was wrong") == Decimal("7.50")
    assert wallet.refund(done.call_id, "2.50", "all of it") == 10
    for too_much in ("0.01", "4.01"):
        with pytest.raises(InvalidRequest, match=rf"^{too_much}0+ usd cannot .* no more than 0"):
            wallet.refund(done, too_much, "more than it was")
    assert wallet.spent == 0
    assert pickle.loads(pickle.dumps(done)).bookings[0].amount == 4
    assert gw.ledger.verify()["ok"]


def test_a_calls_cost_can_be_given_back(make_gateway: MakeGateway, tmp_path: Path) -> None:
    """To the customer: the provider was paid, so it stays spent in every budget around."""
    day = {"limit": "1.00", "period": "day"}
    ledger = {"path": str(tmp_path / "books.db"), "durability": "process"}
    gw = make_gateway(budgets={"day": day}, ledger=ledger)
    wallet, other = gw.wallet("account:7"), gw.wallet("team:1")
    for one in (wallet, other):
        one.top_up("1", "cash")
    voice = wallet.budget.component("voice")
    with other, voice, gw.budget("video:1", usd="1.00") as b:
        result = gw.chat(MODEL, PROMPT)
    half = COST / 2
    assert wallet.refund(result, half, "half empty") == 1 - half
    assert wallet.refund(result, half, "and the rest") == 1
    assert (b.spent, gw.budget("day").spent, other.spent) == (COST, COST, COST)
    assert (wallet.spent, voice.spent) == (ZERO, ZERO)  # a component is a part of the wallet
    assert [row.kind for row in wallet.history()] == ["top_up", "spend", "refund", "refund"]
    assert [row.kind for row in other.history()] == ["top_up", "spend"]
    # No part of it is paid out twice, whoever does it.
    with pytest.raises(InvalidRequest, match="no more than 0"):
        other.refund(result, "0.000000001", "me too")
    assert gw.ledger.verify()["ok"]
    gw.ledger.export(tmp_path / "books.jsonl")
    with open(tmp_path / "books.jsonl", encoding="utf-8") as lines:
        assert audit.audit(lines, audit.price_rows([]))[0] == []


def test_a_refund_is_made_once(gw: Gateway) -> None:
    wallet = gw.wallet("account:7")
    wallet.top_up("10", "cash")
    done = wallet.deduct("4", "a video")
    for _ in range(2):  # who does not know whether the first one came through
        assert wallet.refund(done, 1, "too short") == 7
        assert wallet.refund(done.call_id, 1, "too short") == 7
    assert wallet.refund(done, 1, "and too loud") == 8
    for _ in range(2):
        assert wallet.refund(done, 1, "too short", idempotency_key="ticket-9") == 9
    with pytest.raises(InvalidRequest, match="ticket-9 was used for something else"):
        wallet.refund(done, "0.5", "too short", idempotency_key="ticket-9")
    with pytest.raises(InvalidType, match="idempotency_key is an int"):
        wallet.refund(done, 1, "too short", idempotency_key=9)  # type: ignore[arg-type]
    # A key of one wallet, and of a refund, is nobody else's.
    wallet.top_up(1, "cash", idempotency_key="ticket-9")
    assert wallet.balance == 10
    assert gw.ledger.verify()["ok"]


def test_a_deduction_is_no_cost_of_the_day(make_gateway: MakeGateway) -> None:
    gw = make_gateway(budgets={"day": {"limit": "1.00", "period": "day"}})
    wallet = gw.wallet("account:7")
    wallet.top_up("100", "cash")
    with gw.budget("video:1", usd="1.00") as b:
        wallet.deduct("50", "a year")
    assert gw.budget("day").spent == b.spent == 0


def test_withdrawing_is_at_most_what_is_left(gw: Gateway) -> None:
    wallet = gw.wallet("account:7")
    wallet.top_up("10", "cash")
    wallet.deduct("4", "a video")
    with pytest.raises(BudgetConflict, match=r"cannot be lowered to \$3\.99: \$4\.00 is used"):
        wallet.withdraw("6.01", "closing the account")
    assert wallet.withdraw("6", "closing the account") == 0


def test_the_history_and_the_usage(gw: Gateway) -> None:
    wallet = gw.wallet("account:7")
    wallet.top_up("10", "invoice 1")
    with wallet:
        call = gw.chat(MODEL, PROMPT)
    done = wallet.deduct("4.00", "a video")
    wallet.refund(done, "1.00", "too short")
    gw.wallet("account:8").top_up("99", "somebody else's")
    rows = wallet.history()
    assert [(row.kind, row.amount, row.reason) for row in rows] == [
        ("top_up", 10, "invoice 1"),
        ("spend", -COST, ""),
        ("spend", -4, "a video"),
        ("refund", 1, "too short"),
    ]
    assert rows[1].call_id == call.call_id
    assert rows[1].model == MODEL
    assert rows[0].at.tzinfo is UTC
    assert sum(row.amount for row in rows) == wallet.balance
    assert wallet.history(until_s=0.0) == []
    for by, pattern in (("day", "2"), ("week", "W"), ("month", "-")):
        usage = wallet.usage(by=by)
        (row,) = usage.rows
        assert pattern in row.window
        assert (row.used, row.topped_up, row.count) == (3 + COST, Decimal(10), 2)
        assert (usage.limit, usage.used, usage.left) == (Decimal(10), 3 + COST, 7 - COST)
    assert [row.used for row in wallet.usage()] == [3 + COST]
    with pytest.raises(InvalidRequest, match="day"):
        wallet.usage(by="fortnight")
    assert pickle.loads(pickle.dumps(rows[0])).amount == 10
    assert pickle.loads(pickle.dumps(wallet.usage())).rows[0].used == 3 + COST


def test_a_burst_of_deductions_never_goes_below_zero(gw: Gateway) -> None:
    wallet = gw.wallet("account:7")
    wallet.top_up("1.00", "cash")

    def one(_: int) -> bool:
        try:
            gw.wallet("account:7").deduct("0.30", "a video")
        except BudgetExceeded:
            return False
        return True

    with ThreadPoolExecutor(16) as pool:
        assert sum(pool.map(one, range(20))) == 3
    assert wallet.balance == Decimal("0.10")


def test_keys_happen_once(gw: Gateway) -> None:
    wallet = gw.wallet("account:7")
    barrier = threading.Barrier(8)

    def top_up(_: int) -> Decimal:
        barrier.wait()
        return wallet.top_up("10", "invoice 1", idempotency_key="invoice-1")

    with ThreadPoolExecutor(8) as pool:
        assert list(pool.map(top_up, range(8))) == [10] * 8
    first = wallet.deduct("3", "a video", idempotency_key="video-1")
    again = wallet.deduct("3", "a video", idempotency_key="video-1")
    assert (first.duplicate, again.duplicate) == (False, True)
    assert first.call_id == again.call_id
    assert wallet.balance == 7
    other = gw.wallet("account:8")  # the same key in another wallet is another event
    assert other.top_up("5", "invoice 1", idempotency_key="invoice-1") == 5


def test_wallets_persist_and_are_shared(
    sim: Simulator, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("SLUICEWAY_LEDGER", str(tmp_path / "books.db"))
    monkeypatch.setenv("SLUICEWAY_SIMULATOR_URL", sim.http_url)
    with Gateway.from_env() as one, Gateway.from_env() as other:
        one.wallet("account:7").top_up("2", "cash", idempotency_key="a")
        other.wallet("account:7").top_up("2", "cash", idempotency_key="a")
        assert other.wallet("account:7").balance == 2
        other.wallet("account:7").deduct("1.50", "a video")
        with pytest.raises(BudgetExceeded):
            one.wallet("account:7").deduct("0.51", "a video")
    with Gateway.from_env() as later:
        assert later.wallet("account:7").balance == Decimal("0.50")
        assert len(later.wallet("account:7").history()) == 2
        assert later.ledger.verify()["ok"]


# --- credits


def test_the_months_credits_go_first(gw: Gateway) -> None:
    credits = gw.credits("account:7", monthly="100")
    assert (credits.balance, credits.monthly) == (Decimal(100), Decimal(100))
    assert credits.unit == "credit"
    credits.top_up(20, "bonus")
    credits.deduct(90, "long video")
    split = credits.deduct(15, "short video")
    assert [booking.amount for booking in split.bookings] == [10, 5]
    assert credits.balance == 15
    with pytest.raises(BudgetExceeded) as caught:
        credits.deduct("15.001", "too much")
    assert "credit" in str(caught.value)
    assert "$" not in str(caught.value)
    usage = credits.usage(by="month")
    assert [usage.limit, usage.used, usage.left] == [Decimal(120), Decimal(105), Decimal(15)]
    assert [usage.rows[0].used, usage.rows[0].limit, usage.rows[0].left] == [
        Decimal(105),
        Decimal(100),
        ZERO,
    ]
    assert [row.source for row in credits.history()] == [
        "topped_up",
        "monthly",
        "monthly",
        "topped_up",
    ]
    assert credits.refund(split, 6, "too short") == 21  # 5 topped up, then 1 of the month
    assert credits.usage(by="month").rows[0].left == 1
    assert gw.ledger.verify()["ok"]


def test_credits_are_no_dollars(gw: Gateway) -> None:
    credits = gw.credits("account:7", monthly=10)
    dollars = gw.wallet("account:7")
    dollars.top_up("5", "cash")
    credits.deduct("0.125", "an eighth")
    assert (credits.balance, dollars.balance) == (Decimal("9.875"), Decimal(5))
    with pytest.raises(InvalidRequest, match="deduct"), credits:
        pass
    with pytest.raises(InvalidType):
        credits.can_afford(gw.estimate.chat(MODEL, PROMPT))
    minutes = gw.credits("account:7", unit="gpu_minute", monthly="3")
    assert minutes.balance == 3
    assert credits.can_afford("9.875")
    assert not credits.can_afford("9.876")
    with pytest.raises(InvalidRequest, match="decimals"):
        credits.deduct("0.0001", "too fine")


def test_named_again_without_the_allowance_it_goes_on(gw: Gateway) -> None:
    gw.credits("account:7", monthly="100", time_zone="Europe/Berlin").deduct(1, "a")
    assert gw.credits("account:7").balance == 99
    with pytest.raises(BudgetConflict):
        gw.credits("account:7", monthly="200", time_zone="Europe/Berlin")
    more = gw.credits("account:7", monthly="200", time_zone="Europe/Berlin", replace=True)
    assert more.balance == 199


def test_wallets_in_the_configuration(make_gateway: MakeGateway) -> None:
    tables = {"account": {"unit": "credit", "monthly": "50", "time_zone": "Asia/Tokyo"}}
    gw = make_gateway(wallets=tables)
    assert gw.credits("account:1").balance == 50
    assert gw.wallet("account:1").balance == 50  # the template says which unit
    assert gw.wallet("account:1", unit="usd").balance == 0
    with pytest.raises(ConfigError, match="dollars"):
        make_gateway(wallets={"account": {"monthly": "50"}})
    with pytest.raises(ConfigError, match="monthly"):
        make_gateway(wallets={"account": {"unit": "credit", "montly": "50"}})
    with pytest.raises(ConfigError, match="unit"):
        make_gateway(wallets={"account": {"unit": "Credits!"}})


def test_a_split_deduction_with_a_key_happens_once(gw: Gateway) -> None:
    credits = gw.credits("account:7", monthly="10")
    credits.top_up(10, "bonus")
    first = credits.deduct(15, "a", idempotency_key="a")
    again = credits.deduct(15, "a", idempotency_key="a")
    assert [b.amount for b in first.bookings] == [b.amount for b in again.bookings] == [10, 5]
    assert again.duplicate
    assert credits.balance == 5
    small = credits.deduct(5, "b", idempotency_key="b")
    assert credits.deduct(5, "b", idempotency_key="b").duplicate
    assert small.amount == 5
    assert credits.balance == 0


def test_a_key_stays_used_whatever_was_refunded(gw: Gateway) -> None:
    """100 and 50: 60 are taken, 20 come back, the message comes again: 110, not 90."""
    credits = gw.credits("account:7", monthly="100")
    credits.top_up(50, "bonus")
    done = credits.deduct(60, "a video", idempotency_key="job1")
    credits.refund(done, 20, "too short")
    again = credits.deduct(60, "a video", idempotency_key="job1")
    assert again.duplicate
    assert (again.amount, credits.balance) == (Decimal(60), Decimal(110))


def test_a_key_is_the_wallets_with_and_without_the_allowance(gw: Gateway) -> None:
    plain = gw.credits("account:7")
    plain.top_up(50, "bonus")
    plain.deduct(10, "a", idempotency_key="o7")
    credits = gw.credits("account:7", monthly="100")
    assert credits.deduct(10, "a", idempotency_key="o7").duplicate
    assert credits.balance == 140
    credits.deduct(120, "b", idempotency_key="o8")
    assert [one.amount for one in plain.deduct(120, "b", idempotency_key="o8").bookings] == [
        100,
        20,
    ]
    assert credits.balance == 20


def test_a_key_with_another_amount_is_a_mistake(gw: Gateway) -> None:
    credits = gw.credits("account:7", monthly="10")
    credits.top_up(10, "bonus", idempotency_key="in")
    credits.deduct(15, "a", idempotency_key="a")
    with pytest.raises(InvalidRequest, match=r"10\.000 credit as .* and 5\.000 credit .* nothing"):
        credits.deduct(16, "a", idempotency_key="a")
    with pytest.raises(InvalidRequest, match="used for something else"):
        credits.deduct(15, "a", operation="voice", idempotency_key="a")
    with pytest.raises(InvalidRequest, match="another amount"):
        credits.top_up(11, "bonus", idempotency_key="in")
    with pytest.raises(InvalidRequest, match="another amount"):
        credits.withdraw(10, "bonus", idempotency_key="in")
    assert credits.balance == 5


def test_a_deduction_in_two_parts_is_refunded_in_steps(gw: Gateway) -> None:
    """100 of the month and 5 that were topped up: 3 come back, then 10, then no more than 92."""
    credits = gw.credits("account:7", monthly="100")
    credits.top_up(20, "bonus")
    done = credits.deduct(105, "a")
    assert credits.refund(done, 3, "r") == 18
    assert credits.refund(done, 10, "r") == 28
    with pytest.raises(InvalidRequest, match=r"92\.001 credit .* no more than 92\.000 credit"):
        credits.refund(done, "92.001", "r")
    assert credits.refund(done, 92, "r") == 120
    assert [raw["settled"] for raw in credits._raws()] == [0, 0]
    assert gw.ledger.verify()["ok"]


def test_a_refund_is_for_what_this_wallet_paid(gw: Gateway) -> None:
    mine, theirs = gw.credits("account:7"), gw.credits("account:8")
    for wallet in (mine, theirs):
        wallet.top_up(10, "bonus")
    done = theirs.deduct(4, "a")
    with pytest.raises(InvalidRequest, match=r"is not in wallet\.credit:account:7"):
        mine.refund(done, 4, "r")
    with pytest.raises(InvalidType, match="not of None"):
        mine.refund(None, 4, "r")  # type: ignore[arg-type]
    assert (mine.balance, theirs.balance) == (Decimal(10), Decimal(6))


def test_a_deduction_that_did_not_fit_may_be_repeated_with_its_key(gw: Gateway) -> None:
    credits = gw.credits("account:7", monthly="10")
    for _ in range(2):
        with pytest.raises(BudgetExceeded):
            credits.deduct(15, "a", idempotency_key="a")
    assert credits.balance == 10
    assert len(credits.history()) == 0
    credits.top_up(20, "bonus")
    assert [one.amount for one in credits.deduct(15, "a", idempotency_key="a").bookings] == [10, 5]
    assert credits.deduct(15, "a", idempotency_key="a").duplicate
    assert credits.balance == 15


def test_a_burst_over_both_parts_never_goes_below_zero(gw: Gateway) -> None:
    gw.credits("account:7", monthly="10").top_up(5, "bonus")

    def one(_: int) -> Deduction | None:
        try:
            return gw.credits("account:7").deduct(4, "a video")
        except BudgetExceeded:
            return None

    with ThreadPoolExecutor(8) as pool:
        done = [found for found in pool.map(one, range(12)) if found]
    assert len(done) == 3  # 12 of 15
    assert gw.credits("account:7").balance == 3


# --- arguments


def test_names_and_amounts_that_are_none(gw: Gateway) -> None:
    for name in ("account", "", ":7", "a:1#b", "a:1@b"):
        with pytest.raises(InvalidRequest):
            gw.wallet(name)
    with pytest.raises(InvalidType):
        gw.wallet(7)  # type: ignore[arg-type]
    wallet = gw.wallet("account:7")
    for amount in ("0", "-1", "nan"):
        with pytest.raises(InvalidRequest):
            wallet.top_up(amount, "cash")
    with pytest.raises(InvalidType):
        wallet.top_up(1.5, "cash")  # type: ignore[arg-type]
    for write in (wallet.top_up, wallet.deduct, wallet.withdraw):
        with pytest.raises(InvalidRequest):
            write("1", "")
    with pytest.raises(InvalidRequest, match="monthly"):
        Wallet(gw._hub, "account:7", monthly="5")
    with pytest.raises(InvalidRequest):
        gw.credits("account:7", unit="no unit")
