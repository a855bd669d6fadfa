"""Money at the border: exact, and strict about what is an amount."""

from __future__ import annotations

import decimal
from decimal import Decimal

import pytest
from hypothesis import given
from hypothesis import strategies as st

from sluiceway.errors import InvalidRequest, InvalidType
from sluiceway.money import NANOUSD_MAX, nanousd_of, usd_of


@pytest.mark.parametrize(
    ("usd", "nanousd"),
    [
        ("3.00", 3_000_000_000),
        (3, 3_000_000_000),
        (Decimal("0.000000001"), 1),
        (" 0.10 ", 100_000_000),
        ("1e-3", 1_000_000),
        ("0", 0),
        ("9223372036.854775807", NANOUSD_MAX),
    ],
)
def test_amounts(usd: str | int | Decimal, nanousd: int) -> None:
    assert nanousd_of(usd) == nanousd


@pytest.mark.parametrize(
    "usd", ["", "three", "nan", "NaN", "inf", "-inf", "-0.01", -1, "0.0000000001", "9223372036.9"]
)
def test_not_amounts(usd: str | int) -> None:
    with pytest.raises(InvalidRequest):
        nanousd_of(usd)


@pytest.mark.parametrize("usd", [0.1, True, None, b"3", float("nan")])
def test_not_money(usd: object) -> None:
    with pytest.raises(InvalidType) as caught:
        nanousd_of(usd)  # type: ignore[arg-type]
    assert isinstance(caught.value, TypeError)


def test_a_float_is_told_how_to_write_it() -> None:
    with pytest.raises(InvalidType, match=r'max_cost_usd="0\.1"'):
        nanousd_of(0.1, "max_cost_usd")  # type: ignore[arg-type]


@given(st.integers(0, NANOUSD_MAX))
def test_there_and_back(nanousd: int) -> None:
    with decimal.localcontext(decimal.Context(prec=3)):  # a narrow context must not round money
        assert nanousd_of(usd_of(nanousd)) == nanousd
    assert usd_of(nanousd) * 10**9 == nanousd
