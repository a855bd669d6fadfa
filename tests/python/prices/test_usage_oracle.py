"""Real usage bodies priced by a community table on 2025-11-06, against our rows on that day.

The file is read where it lies (SLUICEWAY_SHARED, or ../shared beside the checkout). Each record
carries the normalised usage and, for our providers, the dollars that pydantic/genai-prices makes of
it. Ours must be equal, or the record's model is listed below with the reason, worked out; a listed
one that is equal after all fails too.
"""

from __future__ import annotations

import json
import os
from collections import Counter
from collections.abc import Iterator
from fractions import Fraction
from pathlib import Path
from typing import Any, NamedTuple

import pytest

from tests.python.prices.pricing import cost_by, rows_at, sheet_of

SHARED = Path(os.environ.get("SLUICEWAY_SHARED") or Path(__file__).parents[4] / "shared")
ORACLE = SHARED / "data/prices/usage_oracle.json"
WHEN = "2025-11-06T12:00:00"
OURS = ("openai", "anthropic", "deepseek")

# Models that the table prices and we have no row for.
NO_ROW = {
    "gpt-oss-120b": "open weights, served by others: OpenAI does not sell it (OpenRouter's price)",
    "gpt-4o-search-preview-2025-03-11": "bills a search with each call, by the size of its context",
    "deepseek-r1-distill-llama-70b": "served by others; the table's rule takes it for deepseek-r1",
}
# Models whose figures differ, and why ours are kept.
DIFFERENT = {
    # 44 audio and 20 text tokens: the table counts all 64 as text, 64 x 2.50 = 160; ours are
    # 20 x 2.50 + 44 x 40 = 1,810 millionths (litellm has the audio price, genai-prices lacks it).
    "gpt-4o-audio-preview": "audio tokens cost 40, not 2.50",
    # The table has R1's 0.55 / 2.19 of spring 2025; since V3.2 it was 0.28 / 0.42 for both names.
    "deepseek-chat": "the dated row deepseek-chat@2026-07-24/v3.2",
}


class Priced(NamedTuple):
    """One price of the table with ours beside it; `ours` is None without a row."""

    model: str
    theirs: tuple[Fraction, Fraction]
    ours: tuple[Fraction, Fraction] | None


def buckets(usage: dict[str, int]) -> dict[str, int]:
    """Our disjoint input buckets of the table's overlapping counts."""
    read = usage.get("cache_read_tokens", 0)
    one_hour = usage.get("cache_write_1h_tokens", 0)
    write = usage.get("cache_write_tokens", usage.get("cache_write_5m_tokens", 0) + one_hour)
    audio = usage.get("input_audio_tokens", 0)
    return {
        "input": usage.get("input_tokens", 0) - read - write - audio,
        "cache_read": read,
        "cache_write_5m": write - one_hour,
        "cache_write_1h": one_hour,
        "audio_input": audio,
    }


def priced_records() -> Iterator[Priced]:
    """Every price of the table for one of our providers."""
    if not ORACLE.is_file():
        pytest.skip("usage_oracle.json is not here: set SLUICEWAY_SHARED to the shared folder")
    for record in json.loads(ORACLE.read_text(encoding="utf-8")):
        for extracted in record["extracted"]:
            for extractor in extracted["extractors"]:
                if extractor["provider_id"] in OURS and "input_price" in extractor:
                    yield _priced(record["model"], extractor, extracted["usage"])


def _priced(name: str, extractor: dict[str, Any], usage: dict[str, int]) -> Priced:
    theirs = (Fraction(extractor["input_price"]), Fraction(extractor["output_price"]))
    sheet = sheet_of(extractor["provider_id"], name)
    if sheet is None:
        return Priced(name, theirs, None)
    inputs = buckets(usage)
    assert min(inputs.values()) >= 0, "cached larger than input: none of ours does that"
    (row,) = rows_at(sheet, WHEN, sum(inputs.values()))
    output = cost_by(row, {"output": usage.get("output_tokens", 0)})
    return Priced(sheet["model"], theirs, (cost_by(row, inputs), output))


def test_every_price_is_equal_or_explained() -> None:
    """Input and output price of each record; nothing is left out."""
    found: dict[str, Counter[str]] = {"equal": Counter(), "different": Counter()}
    found["no row"] = Counter()
    for priced in priced_records():
        kind = "different"
        if priced.ours is None:
            kind = "no row"
        elif priced.ours == priced.theirs:
            kind = "equal"
        found[kind][priced.model] += 1
    print({kind: dict(models) for kind, models in found.items()})
    assert set(found["no row"]) == set(NO_ROW)
    assert found["different"] == dict.fromkeys(DIFFERENT, 1)
    assert found["equal"].total() == 405
    assert sum(models.total() for models in found.values()) == 416


def test_the_explained_differences_by_hand() -> None:
    """What the two listed models cost by our rows, in millionths of a dollar."""
    differing = {p.model: p for p in priced_records() if p.ours and p.ours != p.theirs}
    audio = differing["gpt-4o-audio-preview"]
    assert audio.theirs == (Fraction(160, 10**6), Fraction(90, 10**6))
    assert audio.ours == (Fraction(20 * 25 + 44 * 400, 10**7), Fraction(90, 10**6))
    deepseek = differing["deepseek-chat"]
    # 12 in, 789 out: 12 x 0.55 = 6.6 and 789 x 2.19 = 1727.91; ours 12 x 0.28 and 789 x 0.42.
    assert deepseek.theirs == (Fraction("0.0000066"), Fraction("0.00172791"))
    assert deepseek.ours == (Fraction("0.00000336"), Fraction("0.00033138"))
