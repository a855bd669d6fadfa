"""Real usage bodies priced by a community table on 2025-11-06, against our rows on that day.

The file is read where it lies (SLUICEWAY_SHARED, or ../shared beside the checkout). Each record
carries the normalised usage and, for our providers, the dollars that pydantic/genai-prices makes of
it. Ours must be equal, or the model is listed below with the reason.
"""

from __future__ import annotations

import json
import os
from collections import Counter
from fractions import Fraction
from pathlib import Path
from typing import Any

import pytest

from sluiceway.prices.load import load_prices
from tests.python.prices.pricing import rows_at, sheet_of

SHARED = Path(os.environ.get("SLUICEWAY_SHARED") or Path(__file__).parents[4] / "shared")
ORACLE = SHARED / "data/prices/usage_oracle.json"
WHEN = "2025-11-06T12:00:00"

KNOWN = {
    "deepseek-flash": "old names: the table has prices of 2025 and 2026-05, ours are of 2026-11-15",
}


def _parts(usage: dict[str, int]) -> tuple[dict[str, int], dict[str, int]] | None:
    """Our disjoint input and output buckets; nothing where the usage holds other kinds."""
    other = set(usage) - {
        "input_tokens",
        "cache_read_tokens",
        "cache_write_tokens",
        "cache_write_5m_tokens",
        "cache_write_1h_tokens",
        "output_tokens",
        "output_reasoning_tokens",
    }
    if any(usage[key] for key in other):
        return None
    read = usage.get("cache_read_tokens", 0)
    one_hour = usage.get("cache_write_1h_tokens", 0)
    write = usage.get("cache_write_tokens", usage.get("cache_write_5m_tokens", 0) + one_hour)
    fresh = usage.get("input_tokens", 0) - read - write
    if fresh < 0:
        return None  # "cached larger than input": a dialect's trap, not a price
    inputs = {
        "input": fresh,
        "cache_read": read,
        "cache_write_5m": write - one_hour,
        "cache_write_1h": one_hour,
    }
    return inputs, {"output": usage.get("output_tokens", 0)}


def _usd(row: dict[str, Any], units: dict[str, int]) -> Fraction | None:
    total = Fraction(0)
    for bucket, count in units.items():
        if count and bucket not in row["rates"]:
            return None
        total += Fraction(row["rates"].get(bucket, 0)) * count
    return total * Fraction(*row["factor"]) / 10**15


def test_against_the_usage_oracle() -> None:
    """Input and output price of every record of a model that we have."""
    if not ORACLE.is_file():
        pytest.skip("usage_oracle.json is not here: set SLUICEWAY_SHARED to the shared folder")
    providers = {sheet["provider"] for sheet in load_prices()}
    same: Counter[str] = Counter()
    differing: dict[str, tuple[Any, ...]] = {}
    for record in json.loads(ORACLE.read_text(encoding="utf-8")):
        for extracted in record["extracted"]:
            parts = _parts(extracted["usage"])
            for extractor in extracted["extractors"]:
                sheet = sheet_of(extractor["provider_id"], record.get("model") or "")
                if sheet is None or parts is None or "input_price" not in extractor:
                    continue
                assert extractor["provider_id"] in providers
                (row,) = rows_at(sheet, WHEN, sum(parts[0].values()))
                ours = (_usd(row, parts[0]), _usd(row, parts[1]))
                theirs = (Fraction(extractor["input_price"]), Fraction(extractor["output_price"]))
                if ours == theirs:
                    same[sheet["model"]] += 1
                else:
                    differing[sheet["model"]] = (extracted["usage"], ours, theirs)
    assert same.total() >= 100
    assert {model: pair for model, pair in differing.items() if model not in KNOWN} == {}
    assert set(differing) == set(KNOWN), "a listed disagreement is gone"
