"""Costs of our own: booked where a call would count, refused or forced, once a key."""

from __future__ import annotations

import asyncio
import pickle
import threading
from concurrent.futures import ThreadPoolExecutor
from decimal import Decimal

import pytest

from sluiceway import Booking, BudgetExceeded, Gateway, InvalidRequest, InvalidType, _booking
from sluiceway._booking import Quantity
from sluiceway.simulator import Simulator
from tests.python.gateway.conftest import MakeGateway

MODEL = "openai/gpt-4o-mini"
COST = Decimal("0.000010350")  # 5 tokens in at $0.15, 16 out at $0.60 a million
PROMPT = "abcdefgh"


def test_a_videos_total_is_whole(make_gateway: MakeGateway, sim: Simulator) -> None:
    gw = make_gateway(budgets={"day": {"limit": "150.00", "period": "day"}})
    with gw.budget("account:7", usd="20.00") as account, gw.budget("video:42", usd="3.00") as b:
        gw.chat(MODEL, PROMPT)
        done = b.book("render", usd="0.12", quantity=40, unit="gpu_s", note="scene 3")
        gw.book("storage", usd="0.0004", quantity="17.5", unit="gb_day")
    whole = COST + Decimal("0.1204")
    assert [one.spent for one in (b, account, gw.budget("day"))] == [whole] * 3
    assert (done.operation, done.amount, done.duplicate) == ("render", Decimal("0.12"), False)
    settled = {e["operation"]: e for e in gw.ledger.entries() if e["kind"] == "settle"}
    assert settled["render"]["provider"] == "local"
    assert settled["render"]["evidence"] == "40 gpu_s; scene 3"
    assert settled["render"]["usage"] == {"seconds": 40_000}  # in thousandths
    assert settled["storage"]["evidence"] == "17.5 gb_day"
    assert gw.ledger.verify()["ok"]


@pytest.mark.parametrize("quantity", [2, 2.5, "2.5", Decimal("2.5")])
def test_a_quantity_is_any_number(gw: Gateway, quantity: Quantity) -> None:
    gw.budget("video:1", usd="1.00").book("render", usd="0.01", quantity=quantity, unit="gpu_s")
    gw.book("render", usd="0.01", quantity=quantity, unit="gpu_s")
    settled = [e["evidence"] for e in gw.ledger.entries() if e["kind"] == "settle"]
    assert settled == [f"{quantity} gpu_s"] * 2


def test_what_does_not_fit_is_refused_whole(gw: Gateway) -> None:
    account = gw.budget("account:7", usd="20.00")
    with account, gw.budget("video:1", usd="1.00") as b:
        with pytest.raises(BudgetExceeded) as caught:
            b.book("render", usd="1.01")
        error = caught.value
        assert (error.scope, error.would_cost) == ("video:1", Decimal("1.01"))
        assert error.limit == 1
        assert "max_output_tokens" not in str(error)
        b.book("render", usd="1.00")
    assert account.spent == 1
    assert gw.ledger.verify()["ok"]


def test_forced_is_booked_and_blocks_until_the_limit_is_set_anew(gw: Gateway) -> None:
    b = gw.budget("video:1", usd="1.00")
    b.book("render", usd="1.50", force=True)
    assert (b.spent, b.left, b.status) == (Decimal("1.50"), Decimal("-0.50"), "exceeded")
    with b, pytest.raises(BudgetExceeded, match="blocked"):
        gw.chat(MODEL, PROMPT)
    gw.budget("video:1", usd="2.00", replace=True)
    with b:
        gw.chat(MODEL, PROMPT)
    assert gw.ledger.verify()["ok"]


def test_a_key_books_once_however_many_try(gw: Gateway) -> None:
    b = gw.budget("video:1", usd="3.00")
    barrier = threading.Barrier(8)

    def one(_: int) -> Booking:
        barrier.wait()
        return b.book("render", usd="0.50", idempotency_key="scene-3")

    with ThreadPoolExecutor(8) as pool:
        done = list(pool.map(one, range(8)))
    assert sum(not booking.duplicate for booking in done) == 1
    assert len({booking.call_id for booking in done}) == 1
    assert b.spent == Decimal("0.50")
    assert pickle.loads(pickle.dumps(done[0])).call_id == done[0].call_id


def test_a_key_that_meant_something_else_is_a_mistake(gw: Gateway) -> None:
    """A booking swallowed for the sake of its key would be a cost that is nowhere."""
    b = gw.budget("video:1", usd="1.00")
    with b:
        gw.chat(MODEL, PROMPT, idempotency_key="video-42")
    gw.ledger.verify()
    with pytest.raises(InvalidRequest, match=r"'video-42' was used for something else"):
        b.book("render", "0.12", idempotency_key="video-42")
    b.book("render", "0.12", idempotency_key="scene-1")
    for operation, usd, where in (
        ("render", "0.40", b),
        ("upload", "0.12", b),
        ("render", "0.12", gw.budget("video:2", usd="1.00")),
    ):
        with pytest.raises(InvalidRequest, match=r"0\.12\d* usd .*nothing was booked"):
            where.book(operation, usd, idempotency_key="scene-1")
    again = b.book("render", "0.12", idempotency_key="scene-1")
    assert again.duplicate
    assert (again.amount, b.spent) == (Decimal("0.12"), COST + Decimal("0.12"))


def test_a_burst_of_bookings_books_what_fits(gw: Gateway) -> None:
    b = gw.budget("video:1", usd="1.00")

    def one(_: int) -> bool:
        try:
            b.book("render", usd="0.07")
        except BudgetExceeded:
            return False
        return True

    with ThreadPoolExecutor(16) as pool:
        assert sum(pool.map(one, range(40))) == 14  # 14 * 0.07 is 0.98
    assert b.spent == Decimal("0.98")


def test_a_timer_books_its_seconds(gw: Gateway, monkeypatch: pytest.MonkeyPatch) -> None:
    ticks = iter([0, 2_500_000_000, 0, 1, 0, 3])

    class Clock:
        @staticmethod
        def monotonic_ns() -> int:
            return next(ticks)

    monkeypatch.setattr(_booking, "time", Clock)
    b = gw.budget("video:1", usd="3.00")
    with b, gw.local_cost("render", usd_per_s="0.0002", unit="gpu_s") as timer:
        pass
    assert b.spent == Decimal("0.0005")  # 2.5 s
    assert timer.booking is not None
    assert timer.booking.amount == Decimal("0.0005")
    half = gw.local_cost("render", usd_per_s="0.5")  # half a nano-dollar a nanosecond

    @half
    def once() -> str:
        return "rendered"

    with b:
        assert once() == "rendered"
    assert b.spent == Decimal("0.0005")  # 0.5 is rounded to the even 0

    @half
    async def again() -> str:
        return "again"

    with b:
        assert asyncio.run(again()) == "again"
    assert b.spent == Decimal("0.000500002")  # 1.5 to the even 2


def test_work_that_failed_was_paid_all_the_same(gw: Gateway) -> None:
    b = gw.budget("video:1", usd="3.00")
    with b, pytest.raises(ZeroDivisionError), gw.local_cost("render", usd_per_s="1000"):
        _ = 1 / 0
    assert b.spent > 0


def test_arguments_that_are_none(gw: Gateway) -> None:
    b = gw.budget("video:1", usd="3.00")
    with pytest.raises(InvalidType):
        b.book("render", usd=0.12)  # type: ignore[arg-type]
    with pytest.raises(InvalidRequest):
        b.book("", usd="0.12")
    with pytest.raises(InvalidRequest):
        b.book("render", usd="-1")
    with pytest.raises(InvalidRequest):
        b.book("render", usd="1", quantity="many")
    assert b.spent == 0
