"""Percentiles, amounts, hours and tables: the small arithmetic of what is shown."""

from __future__ import annotations

import datetime

from sluiceway.demo.replay import hours_between
from sluiceway.demo.summary import dollars, percentile
from sluiceway.demo.tables import Table, plain


def unix(text: str) -> float:
    """Seconds of a UTC time."""
    return datetime.datetime.fromisoformat(text + "+00:00").timestamp()


def test_percentiles_are_by_nearest_rank() -> None:
    values = [15.0, 20.0, 35.0, 40.0, 50.0]
    assert percentile(values, 0.05) == 15.0
    assert percentile(values, 0.30) == 20.0
    assert percentile(values, 0.40) == 20.0
    assert percentile(values, 0.50) == 35.0
    assert percentile(values, 1.00) == 50.0
    assert percentile([], 0.5) == 0.0


def test_dollars_are_rounded_half_up_and_exact() -> None:
    assert dollars(0) == "$0.000000"
    assert dollars(1_500) == "$0.000002"
    assert dollars(1_499) == "$0.000001"
    assert dollars(12_345_678_901_234, 9) == "$12,345.678901234"
    assert dollars(-2_000_000_000, 4) == "-$2.0000"


def test_a_call_lies_in_one_hour_or_in_two() -> None:
    assert hours_between(unix("2026-11-22T07:10:00"), unix("2026-11-22T07:10:09")) == (
        "hour:2026-11-22T07",
    )
    assert hours_between(unix("2026-11-22T23:59:50"), unix("2026-11-23T00:00:01")) == (
        "hour:2026-11-22T23",
        "hour:2026-11-23T00",
    )
    # Two seconds from the border the clocks may disagree.
    assert len(hours_between(unix("2026-11-22T07:00:01"), unix("2026-11-22T07:00:01.5"))) == 2


def test_a_plain_table_is_aligned() -> None:
    table = Table("T", ("name", "n"), (("a", "1"), ("bcdef", "1,000")), "note")
    assert plain(table).splitlines() == [
        "",
        "T",
        "  name       n",
        "  -----  -----",
        "  a          1",
        "  bcdef  1,000",
        "  (note)",
    ]
