"""The simulator's own prices and arithmetic, against sums worked out by hand."""

from __future__ import annotations

import datetime

import pytest

from sluiceway.simulator.tariff import TARIFFS, Usage, bill_nanousd, is_deepseek_peak, line_nanousd

WEDNESDAY_NOON = datetime.datetime(2026, 11, 18, 12, 0, tzinfo=datetime.UTC).timestamp()
WEDNESDAY_PEAK = datetime.datetime(2026, 11, 18, 2, 30, tzinfo=datetime.UTC).timestamp()


def unix(text: str) -> float:
    return datetime.datetime.fromisoformat(text).replace(tzinfo=datetime.UTC).timestamp()


@pytest.mark.parametrize(
    ("units", "rate", "expected"),
    [
        (1_000_000, 2_500_000_000, 2_500_000_000),  # a million tokens at $2.50
        (1, 1, 0),  # 0.000001
        (1, 500_000, 0),  # exactly 0.5: to the even 0
        (1, 500_001, 1),
        (3, 500_000, 2),  # 1.5: to the even 2
        (5, 500_000, 2),  # 2.5: to the even 2
        (7, 500_000, 4),  # 3.5: to the even 4
        (0, 10**12, 0),
    ],
)
def test_a_line_rounds_half_to_even(units: int, rate: int, expected: int) -> None:
    assert line_nanousd(units, rate) == expected


@pytest.mark.parametrize(
    ("model", "usage", "expected"),
    [
        # 100 * 2500 + 10 * 10000
        ("gpt-4o", Usage(input=100, output=10), 350_000),
        # 50 * 2500 + 50 * 1250 + 10 * 10000
        ("gpt-4o", Usage(input=50, cache_read=50, output=10), 287_500),
        ("gpt-4o-mini", Usage(input=1000), 150_000),
        # 10 * 2000 + 20 * 100 + 30 * 2500 + 5 * 10000
        ("gpt-6.2-sol", Usage(input=10, cache_read=20, cache_write_5m=30, output=5), 147_000),
        # 272,000 is not above: 272000 * 100
        ("gpt-6-luna", Usage(input=272_000), 27_200_000),
        # above: 272001 * 200 + 10 * 750
        ("gpt-6-luna", Usage(input=272_001, output=10), 54_407_700),
        # the whole prompt counts for the tier: 200000 * 200 + 100000 * 20
        ("gpt-6-luna", Usage(input=200_000, cache_read=100_000), 42_000_000),
        ("gpt-5.6-terra", Usage(input=10, output=10), 140_000),
        ("gpt-5.6-luna", Usage(input=10, cache_read=10, output=10), 14_200),
        # 10 * 4000 + 100 * 200 + 10 * 5000 + 10 * 8000 + 7 * 20000
        ("claude-opus-5-5", Usage(10, 100, 10, 10, 7), 330_000),
        ("claude-fable-5-2", Usage(1, 1, 1, 1, 1), 8_000 + 200 + 10_000 + 16_000 + 40_000),
        ("claude-sonnet-5-5", Usage(1, 1, 1, 1, 1), 2_000 + 100 + 2_500 + 4_000 + 10_000),
        ("claude-opus-5", Usage(1, 1, 1, 1, 1), 5_000 + 500 + 6_250 + 10_000 + 25_000),
        ("claude-haiku-4-5", Usage(1, 1, 1, 1, 1), 1_000 + 100 + 1_250 + 2_000 + 5_000),
        ("claude-haiku-5-5", Usage(input=100_000, output=2), 10_001_000),
        ("claude-haiku-5-5", Usage(input=100_001, output=2), 50_000_500 + 5_000),
        ("claude-haiku-5-5", Usage(input=1, cache_read=100_000), 500 + 5_000_000),
    ],
)
def test_bills_worked_out_by_hand(model: str, usage: Usage, expected: int) -> None:
    assert bill_nanousd(model, usage, WEDNESDAY_NOON) == expected


def test_deepseek_has_two_tariffs() -> None:
    usage = Usage(input=1000, cache_read=1000, output=1000)
    # off-peak 0.15 + 0.003 + 0.60, peak twice that
    assert bill_nanousd("deepseek-flash", usage, WEDNESDAY_NOON) == 753_000
    assert bill_nanousd("deepseek-flash", usage, WEDNESDAY_PEAK) == 1_506_000
    # off-peak 0.66 + 0.022 + 1.98
    assert bill_nanousd("deepseek-v4-pro", usage, WEDNESDAY_NOON) == 2_662_000
    assert bill_nanousd("deepseek-v4-pro", usage, WEDNESDAY_PEAK) == 5_324_000


@pytest.mark.parametrize(
    ("moment", "peak"),
    [
        ("2026-11-18T00:59:59", False),
        ("2026-11-18T01:00:00", True),
        ("2026-11-18T03:59:59", True),
        ("2026-11-18T04:00:00", False),
        ("2026-11-18T05:59:59", False),
        ("2026-11-18T06:00:00", True),
        ("2026-11-18T09:59:59", True),
        ("2026-11-18T10:00:00", False),
        ("2026-11-21T02:00:00", False),  # Saturday
        ("2026-11-22T02:00:00", False),  # Sunday
        ("2026-10-01T02:00:00", False),  # National Day, a Thursday
        ("2026-10-07T02:00:00", False),  # its last day, a Wednesday
        ("2026-10-08T02:00:00", True),
        ("2026-09-25T07:00:00", False),  # Mid-Autumn, a Friday
        ("2026-10-10T02:00:00", False),  # a make-up workday on a Saturday
    ],
)
def test_deepseek_peak_hours(moment: str, peak: bool) -> None:
    assert is_deepseek_peak(unix(moment)) is peak


def test_every_model_has_a_tariff_and_every_tariff_a_model() -> None:
    from sluiceway.simulator.providers.models import MODELS

    assert {name for _, name in MODELS} == set(TARIFFS)


def test_a_model_without_a_price_is_an_error() -> None:
    with pytest.raises(KeyError):
        bill_nanousd("nonexistent", Usage(input=1), 0.0)
