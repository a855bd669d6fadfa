"""The core against the slow second way (pricing.py), for every shipped row and a few odd ones.

Each row is reached by an instant inside its dates and hours, a prompt inside its range, its tier,
plan, size and quality; the usage is drawn, the seed printed. The core prices an answer's body
through a dialect made here whose fields are the buckets themselves, so that only row choice and
arithmetic are looked at. Lines are rounded half to even.
"""

from __future__ import annotations

import datetime
import json
import os
import random
from collections.abc import Iterator
from fractions import Fraction
from typing import Any

import pytest

from sluiceway import _core
from sluiceway.prices.load import load_prices
from sluiceway.prices.schema import BUCKETS, INT64_MAX, INT64_MIN, THOUSANDTHS
from tests.python.prices.pricing import PROMPT, Row, holds, rows_at

NS = 10**9
DIALECT = {
    "name": "buckets",
    "text": "/text",
    "finish_reason": "/finish",
    "usage": {bucket: f"/usage/{bucket}" for bucket in BUCKETS},
}


@pytest.fixture(scope="module")
def engine() -> Iterator[_core.Engine]:
    """Nothing is sent: routes are only made."""
    made = _core.Engine({"ledger_path": ":memory:", "durability": "memory"})
    yield made
    made.close(1.0)


def route_of(engine: _core.Engine, sheet: dict[str, Any], row: Row) -> _core.Route:
    """A route that is priced by this row's selector."""
    spec = {"provider": sheet["provider"], "model": sheet["model"], "sheet": sheet}
    selector = {key: row[key] for key in ("service_tier", "plan", "size", "quality")}
    return engine.add_route(
        {**spec, **selector, "url": "http://127.0.0.1:1/", "dialect": DIALECT, "lenient": True}
    )


def instants(row: Row) -> Iterator[str]:
    """Some whole seconds at which the row holds: near its edges, and at peak and off-peak hours."""
    epoch = datetime.datetime(1970, 1, 1, tzinfo=datetime.UTC)
    week = [datetime.datetime(2026, 11, 16, 2, tzinfo=datetime.UTC)]
    week += [week[0] + datetime.timedelta(hours=hours) for hours in (3, 26, 122, 137)]
    for edge, step in ((row["effective_from_ns"], 0), (row["effective_to_ns"], -1)):
        if edge not in (INT64_MIN, INT64_MAX):
            around = epoch + datetime.timedelta(seconds=edge // NS + step)
            week += [
                around + datetime.timedelta(hours=h) * (1 if step == 0 else -1)
                for h in range(0, 26, 2)
            ]
    for moment in week:
        when = moment.strftime("%Y-%m-%dT%H:%M:%S")
        if holds(row, when):
            yield when


def usage_for(row: Row, draw: random.Random) -> dict[str, int]:
    """Counts of what the row sells, with the prompt inside its range."""
    usage = {bucket: draw.choice([0, 1, 3, draw.randrange(10**6)]) for bucket in row["rates"]}
    prompt = [bucket for bucket in PROMPT if bucket in usage]
    high = min(row["prompt_to"] - 1, row["prompt_from"] + 10**6)
    left = draw.randint(row["prompt_from"], high) if prompt else 0
    for bucket in prompt[1:]:
        usage[bucket] = draw.randint(0, left)
        left -= usage[bucket]
    if prompt:
        usage[prompt[0]] = left
    return usage


def half_even(line: Fraction) -> int:
    return round(line)  # of a Fraction: to the nearest, halves to even


def expected_nanousd(row: Row, usage: dict[str, int]) -> int:
    """Line by line: units x rate / den / 10**6, and the factor where it applies."""
    total = 0
    for bucket, count in usage.items():
        line = Fraction(row["rates"][bucket] * count, row["rate_dens"].get(bucket, 1) * 10**6)
        total += half_even(
            line if bucket in ("searches", "requests") else line * Fraction(*row["factor"])
        )
    return total


def price(route: _core.Route, usage: dict[str, int], when: str) -> dict[str, Any]:
    sent = datetime.datetime.fromisoformat(when).replace(tzinfo=datetime.UTC)
    # A dialect's answer without its input or output count has no known price.
    counts: dict[str, float] = {"input": 0, "output": 0, **usage}
    for bucket in THOUSANDTHS & counts.keys():
        counts[bucket] /= 1000  # answers count seconds, the core thousandths of them
    body = json.dumps({"text": "", "finish": "stop", "usage": counts})
    found: dict[str, Any] = _core.price_body(route, body, sent.timestamp())
    return found


def test_every_shipped_row_in_the_core(engine: _core.Engine) -> None:
    seed = int(os.environ.get("SLUICEWAY_SEED", "20261122"))
    print("seed", seed)
    draw = random.Random(seed)
    priced = 0
    for sheet in load_prices():
        for row in sheet["rows"]:
            route = route_of(engine, sheet, row)
            whens = list(instants(row))
            assert whens, row["version"]
            for when in whens[:4]:
                usage = usage_for(row, draw)
                found = price(route, usage, when)
                assert found["price_version"] == row["version"], (when, usage)
                assert found["nanousd"] == expected_nanousd(row, usage), (row["version"], usage)
                priced += 1
    assert priced >= 1_000


def test_before_the_first_row_nothing_is_known(engine: _core.Engine) -> None:
    """DeepSeek's search is sold since 2026-10-17."""
    (sheet,) = (sheet for sheet in load_prices() if sheet["model"] == "search")
    route = route_of(engine, sheet, sheet["rows"][0])
    assert price(route, {"searches": 4}, "2026-10-16T23:59:59")["nanousd"] is None
    assert price(route, {"searches": 4}, "2026-10-17T00:00:00")["nanousd"] == 3_000_000


def test_a_size_that_is_not_sold(engine: _core.Engine) -> None:
    (sheet,) = (sheet for sheet in load_prices() if sheet["model"] == "sora-2")
    row = {**sheet["rows"][0], "size": "1920x1080"}
    assert rows_at(sheet, "2026-01-01T00:00:00", size="1920x1080") == []
    found = price(route_of(engine, sheet, row), {"seconds": 4_000}, "2026-01-01T00:00:00")
    assert found["nanousd"] is None
