"""Statuses at their borders: worked out by hand, at $3.00 and at limits that 6 does not divide."""

from __future__ import annotations

from decimal import Decimal

import pytest

from sluiceway import Gateway, InvalidRequest, InvalidType
from sluiceway._terms import Terms
from tests.python.gateway.conftest import MakeGateway

USD = 10**9


@pytest.mark.parametrize(
    ("gone", "status"),
    [
        (0, "excellent"),
        (1_000_000_000, "excellent"),  # up to 1.00 is excellent, 1.00 included
        (1_000_000_001, "good"),
        (2_000_000_000, "good"),
        (2_000_000_001, "warning"),
        (2_500_000_000, "warning"),
        (2_500_000_001, "critical"),
        (3_000_000_000, "critical"),
        (3_000_000_001, "exceeded"),
    ],
)
def test_the_borders_at_three_dollars(gone: int, status: str) -> None:
    assert Terms({}, 3 * USD).status(gone, 3 * USD, False) == status


@pytest.mark.parametrize(
    ("limit", "gone", "status"),
    [
        # A third of 10 nano-dollars lies between 3 and 4, two thirds between 6 and 7, 5/6 over 8.
        (10, 3, "excellent"),
        (10, 4, "good"),
        (10, 6, "good"),
        (10, 7, "warning"),
        (10, 8, "warning"),
        (10, 9, "critical"),
        (10, 10, "critical"),
        (10, 11, "exceeded"),
        (60 * USD, 20 * USD, "excellent"),
        (60 * USD, 40 * USD, "good"),
        (60 * USD, 50 * USD, "warning"),
        (60 * USD, 50 * USD + 1, "critical"),
        (0, 0, "critical"),  # nothing is gone, and nothing is there
        (0, 1, "exceeded"),
    ],
)
def test_the_same_shares_of_other_limits(limit: int, gone: int, status: str) -> None:
    assert Terms({}, limit).status(gone, limit, False) == status


def test_blocked_is_exceeded_and_no_limit_is_excellent() -> None:
    assert Terms({}, 3 * USD).status(0, 3 * USD, True) == "exceeded"
    assert Terms({}).status(10**15, None, False) == "excellent"


def test_what_is_booked_is_what_counts(gw: Gateway) -> None:
    b = gw.budget("video:1", usd="3.00")
    seen = []
    for usd in ("1.00", "0.000000001", "0.999999999", "0.01", "0.49", "0.01", "0.49"):
        b.book("render", usd=usd)
        seen.append((b.spent, b.status))
    assert seen == [
        (Decimal("1.00"), "excellent"),
        (Decimal("1.000000001"), "good"),
        (Decimal("2.00"), "good"),
        (Decimal("2.01"), "warning"),
        (Decimal("2.50"), "warning"),
        (Decimal("2.51"), "critical"),
        (Decimal("3.00"), "critical"),
    ]


def test_they_are_settable_in_a_template_and_go_along_with_the_limit(
    make_gateway: MakeGateway,
) -> None:
    gw = make_gateway(
        budgets={"video": {"limit": "4.00", "statuses": ["1.00", "50%", "3.50"]}},
    )
    b = gw.budget("video:1")
    b.book("render", usd="1.01")
    assert b.status == "good"
    double = gw.budget("video:2", usd="8.00")  # the same shares: 2.00, 4.00, 7.00
    double.book("render", usd="2.00")
    assert double.status == "excellent"
    double.book("render", usd="5.00")
    assert double.status == "warning"
    own = gw.budget("other:1", usd="2.00", statuses=["0.10", "0.20", "1.90"])
    own.book("render", usd="0.11")
    assert own.status == "good"


def test_what_running_calls_hold_is_no_status(gw: Gateway) -> None:
    b = gw.budget("video:1", usd="3.00")
    assert (
        b.terms.status_of(
            {"limit": 3 * USD, "settled": 0, "held": 3 * USD, "in_doubt": 0, "blocked": False}
        )
        == "excellent"
    )
    assert (
        b.terms.status_of(
            {"limit": 3 * USD, "settled": 0, "held": 0, "in_doubt": 3 * USD, "blocked": False}
        )
        == "critical"
    )


@pytest.mark.parametrize(
    "marks",
    [
        ["1.00"],
        ["1", "2", "3", "4"],
        ["1", "2", "a lot"],
        ["1", "2", "110%"],
        ["2", "1", "2.5"],
        ["1", "2", "3.01"],
    ],
)
def test_statuses_that_are_none(gw: Gateway, marks: list[str]) -> None:
    with pytest.raises(InvalidRequest):
        gw.budget("video:1", usd="3.00", statuses=marks)


def test_floats_are_no_marks(gw: Gateway) -> None:
    with pytest.raises(InvalidType):
        gw.budget("video:1", usd="3.00", warn=[2.5])  # type: ignore[list-item]
    with pytest.raises(InvalidType):
        gw.budget("video:1", usd="3.00", warn="2.50")
