"""Looks at a price table as a careful reader would: what is old, gone, or rests on others' word.

Model: a table that loads has already been proved free of overlaps and gaps, and every row has a
source and a date (coverage.py, schema.py). What is left are notes for a person: rows of models that
are still sold and were not checked for so many days, models that have ended or end soon, rows whose
source is a third party or a community table alone. `arithmetic` shows each rate the way a bill
does: the published price, down to nano-dollars a unit, with the tier's factor.

Bounds: linear. Threads: pure; the day is a parameter.
Example: `audit(load_prices(), "2026-11-22", older_than_days=120)`.
"""

from __future__ import annotations

import datetime
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from fractions import Fraction
from typing import Any

from sluiceway.prices import schema
from sluiceway.prices.candidates import day_ns
from sluiceway.prices.changes import decimal_text, selector_text, usd_text

Sheet = dict[str, Any]
ENDS_SOON_DAYS = 60
_OWN = ("openai.com", "claude.com", "anthropic.com", "deepseek.com")


@dataclass(frozen=True, slots=True)
class Note:
    """`kind`: "old" (not checked lately), "ended", "ends", "second-hand"."""

    kind: str
    model: str
    text: str


def audit(sheets: Sequence[Sheet], day: str, older_than_days: int) -> list[Note]:
    """The notes, in the table's order. Rows that have ended are not looked at."""
    today = datetime.date.fromisoformat(day)
    notes: list[Note] = []
    for sheet in sheets:
        notes += _sheet_notes(sheet, today, older_than_days)
    return notes


def _sheet_notes(sheet: Sheet, today: datetime.date, older_than_days: int) -> Iterator[Note]:
    name = f"{sheet['provider']}/{sheet['model']}"
    if sheet["retires"]:
        last = datetime.date.fromisoformat(sheet["retires"])
        if last <= today:
            yield Note("ended", name, f"ended on {sheet['retires']}")
            return
        if (last - today).days <= ENDS_SOON_DAYS:
            yield Note("ends", name, f"ends on {sheet['retires']}, in {(last - today).days} days")
    now = day_ns(today.isoformat())
    alive = [row for row in sheet["rows"] if row["effective_from_ns"] <= now]
    alive = [row for row in alive if now < row["effective_to_ns"] and not row["service_tier"]]
    for row in alive:
        age = (today - datetime.date.fromisoformat(row["checked"])).days
        if age > older_than_days:
            yield Note("old", name, f"{row['version']} was checked {age} days ago")
        if not any(host in row["source"] for host in _OWN):
            yield Note("second-hand", name, f"{row['version']}: {row['source']}")


def arithmetic(sheet: Sheet, day: str) -> Iterator[str]:
    """Every rate of the rows that hold on a day, as units, price and nano-dollars a unit."""
    now = day_ns(day)
    for row in sheet["rows"]:
        if not row["effective_from_ns"] <= now < row["effective_to_ns"]:
            continue
        yield f"{row['version']} ({selector_text(row)}), checked {row['checked']}"
        for bucket, rate in row["rates"].items():
            each = Fraction(rate, row["rate_dens"].get(bucket, 1) * 1_000_000)
            unit = f"a thousandth of {bucket}" if bucket in schema.THOUSANDTHS else f"1 {bucket}"
            factor = Fraction(1) if bucket in schema.FACTORLESS else Fraction(*row["factor"])
            times = f" x {factor} = {decimal_text(each * factor)}" if factor != 1 else ""
            million = decimal_text(each * factor / 1000)
            yield (
                f"  {unit}: {decimal_text(each)}{times} nano-dollars;"
                f" x 1,000,000 = ${million} (published: {usd_text(row, bucket)})"
            )
