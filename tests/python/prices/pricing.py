"""A second, slow way to choose and apply a price row, for the tests of this room.

Written apart from the C++ core, with fractions: it says what the loaded rows mean, so that amounts
worked out by hand can be compared with them. No rounding: amounts are exact dollars.
"""

from __future__ import annotations

import datetime
import functools
from fractions import Fraction
from typing import Any

from sluiceway.prices.load import load_prices

Row = dict[str, Any]
PROMPT = ("input", "cache_read", "cache_write_5m", "cache_write_1h", "audio_input", "image_input")


@functools.cache
def _by_name() -> dict[tuple[str, str], dict[str, Any]]:
    return {
        (sheet["provider"], name): sheet
        for sheet in load_prices()
        for name in (sheet["model"], *sheet["aliases"])
    }


def sheet_of(provider: str, name: str) -> dict[str, Any] | None:
    """The shipped sheet of a model or alias; do not change it."""
    return _by_name().get((provider, name))


def unix_ns(when: str) -> int:
    """Nanoseconds of "2026-11-16T01:00:00" in UTC."""
    moment = datetime.datetime.fromisoformat(when).replace(tzinfo=datetime.UTC)
    epoch = datetime.datetime(1970, 1, 1, tzinfo=datetime.UTC)
    return (moment - epoch) // datetime.timedelta(microseconds=1) * 1000


def holds(row: Row, when: str) -> bool:
    """Whether the row's dates and hours hold at an instant."""
    now = unix_ns(when)
    if not row["effective_from_ns"] <= now < row["effective_to_ns"]:
        return False
    if not row["windows"]:
        return True
    moment = datetime.datetime.fromisoformat(when)
    day = (moment.date() - datetime.date(1970, 1, 1)).days
    second = moment.hour * 3600 + moment.minute * 60 + moment.second
    inside = day not in row["excluded_days"] and any(
        mask >> moment.weekday() & 1 and start <= second < end
        for mask, start, end in row["windows"]
    )
    return bool(inside != row["windows_inverted"])


def rows_at(
    sheet: dict[str, Any],
    when: str,
    prompt: int = 1,
    tier: str = "",
    plan: str = "",
    size: str = "",
    quality: str = "",
) -> list[Row]:
    """Every row that prices such a request: a sound sheet has exactly one."""
    return [
        row
        for row in sheet["rows"]
        if (row["service_tier"], row["plan"]) == (tier, plan)
        and row["size"] in ("", size)
        and row["quality"] in ("", quality)
        and row["prompt_from"] <= prompt < row["prompt_to"]
        and holds(row, when)
    ]


def cost_by(row: Row, units: dict[str, int]) -> Fraction:
    """The exact dollars of so many units of each bucket by one row."""
    total = Fraction(0)
    for bucket, count in units.items():
        if count == 0 and bucket not in row["rates"]:
            continue
        line = Fraction(row["rates"][bucket], row["rate_dens"].get(bucket, 1)) * count
        # Searches and requests are billed beside the model: no tier's factor changes them.
        total += line if bucket in ("searches", "requests") else line * Fraction(*row["factor"])
    return total / 10**15


def usd(
    provider: str,
    model: str,
    when: str,
    tier: str = "",
    *,
    size: str = "",
    quality: str = "",
    **units: int,
) -> Fraction:
    """The exact cost in dollars of so many units of each bucket, pay as you go."""
    sheet = sheet_of(provider, model)
    assert sheet is not None, model
    prompt = sum(units.get(bucket, 0) for bucket in PROMPT)
    (row,) = rows_at(sheet, when, prompt, tier, "", size, quality)
    return cost_by(row, units)
