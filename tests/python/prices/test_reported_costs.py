"""Costs that providers themselves reported, against our rows for the same model and usage.

The file is read where it lies (SLUICEWAY_SHARED, or ../shared beside the checkout): 102 answers of
OpenRouter, xAI and Perplexity with their usage and their own figure. We sell no calls of those, but
OpenRouter passes models of our providers on at their makers' list price. Where we have a row, the
table's figure is equal to what was reported, or the line is listed below with the reason, worked
out. Lines are counted from 1.
"""

from __future__ import annotations

import email.utils
import json
import os
from decimal import Decimal
from fractions import Fraction
from pathlib import Path
from typing import Any

import pytest

from tests.python.prices.pricing import cost_by, rows_at, sheet_of

SHARED = Path(os.environ.get("SLUICEWAY_SHARED") or Path(__file__).parents[4] / "shared")
COSTS = SHARED / "data/prices/provider_reported_costs.jsonl"
UNDATED = "2026-07-01T12:00:00"  # 25 lines carry no date; gpt-5.6-sol then cost its list price

# OpenRouter's spelling of a model to ours.
NAMES = {
    "anthropic/claude-haiku-4.5": ("anthropic", "claude-haiku-4-5"),
    "anthropic/claude-sonnet-4.5": ("anthropic", "claude-sonnet-4-5"),
    "anthropic/claude-sonnet-4.6": ("anthropic", "claude-sonnet-4-6"),
}
# A line that names no model; the recording's own name does.
UNNAMED = {78: ("openai", "gpt-4o-mini-transcribe")}

_OTHER_HOST = (
    "another host: OpenRouter bills 0.2574 / 1.0287 a million, which is nobody's list price here,"
    " and $0.007 for a web search of its own"
)
EXPLAINED = {
    3: _OTHER_HOST,
    7: "$0.002 above its own two parts, 0.00000775 + 0.00016: a plugin's fee; those parts are ours",
    13: _OTHER_HOST,
}


def lines() -> list[dict[str, Any]]:
    if not COSTS.is_file():
        pytest.skip(f"{COSTS.name} is not here: set SLUICEWAY_SHARED to the shared folder")
    text = COSTS.read_text(encoding="utf-8")
    return [json.loads(line, parse_float=Decimal) for line in text.splitlines()]


def sheet_for(number: int, record: dict[str, Any]) -> dict[str, Any] | None:
    """Our sheet of the model that answered, if we have one."""
    asked = record["request_model"] or ""
    provider, slash, model = asked.partition("/")
    name = UNNAMED.get(number) or NAMES.get(asked, (provider, model) if slash else ("", ""))
    return sheet_of(*name)


def units(usage: dict[str, Any]) -> dict[str, int]:
    """Our disjoint buckets of OpenRouter's counts (the chat's or the responses' words)."""
    details = usage.get("prompt_tokens_details") or usage.get("input_tokens_details") or {}
    read, write = details.get("cached_tokens", 0), details.get("cache_write_tokens", 0)
    prompt = usage.get("prompt_tokens", usage.get("input_tokens", 0))
    output = usage.get("completion_tokens", usage.get("output_tokens", 0))
    counts = {"input": prompt - read - write, "cache_read": read, "cache_write_5m": write}
    return {**counts, "output": output}


def when(record: dict[str, Any]) -> str:
    if record["date"] is None:
        return UNDATED
    return email.utils.parsedate_to_datetime(record["date"]).strftime("%Y-%m-%dT%H:%M:%S")


def table_cost(sheet: dict[str, Any], record: dict[str, Any]) -> Fraction:
    counts = units(record["usage"])
    prompt = counts["input"] + counts["cache_read"] + counts["cache_write_5m"]
    (row,) = rows_at(sheet, when(record), prompt)
    return cost_by(row, counts)


def test_every_line_is_equal_or_explained() -> None:
    equal: list[int] = []
    different: list[int] = []
    no_row: list[int] = []
    for number, record in enumerate(lines(), start=1):
        sheet = sheet_for(number, record)
        if sheet is None:
            no_row.append(number)
        elif table_cost(sheet, record) == Fraction(record["usage"]["cost"]):
            equal.append(number)
        else:
            different.append(number)
    print(f"equal {len(equal)}, explained {different}, no row {len(no_row)}")
    assert different == list(EXPLAINED)
    assert len(equal) == 48
    assert len(no_row) == 51  # models of xAI, Google, Z.ai and Perplexity


def test_no_row_means_a_provider_that_is_not_ours() -> None:
    for number, record in enumerate(lines(), start=1):
        if sheet_for(number, record) is None:
            asked = record["request_model"] or ""
            assert not asked.startswith(("openai/", "anthropic/", "deepseek/")), number


def test_the_explained_lines_by_hand() -> None:
    """Millionths of a dollar."""
    by_number = dict(enumerate(lines(), start=1))
    # 31 x 0.25 + 80 x 2 = 167.75, and 2,000 more.
    sheet = sheet_for(7, by_number[7])
    assert sheet is not None
    assert table_cost(sheet, by_number[7]) == Fraction("0.00016775")
    assert Fraction(by_number[7]["usage"]["cost"]) == Fraction("0.00216775")
    # 2,317 x 0.2574 = 596.3958 and 53 x 1.0287 = 54.5211; 7,000 for the search.
    three = by_number[3]["usage"]
    assert 2317 * Fraction("0.2574") + 53 * Fraction("1.0287") == Fraction("650.9169")
    assert Fraction(three["cost_details"]["upstream_inference_cost"]) * 10**6 == Fraction(
        "650.9169"
    )
    assert abs(Fraction(three["cost"]) * 10**6 - Fraction("7650.9169")) < Fraction(1, 10**6)
    # 8 x 5 + 4,012 x 6.25 + 5 x 30 = 40 + 25,075 + 150: cache writes as our row has them.
    sheet = sheet_for(1, by_number[1])
    assert sheet is not None
    assert table_cost(sheet, by_number[1]) == Fraction("0.025265")
    # 37 x 1.25 + 12 x 5 = 46.25 + 60: OpenRouter counts the audio as text; ours would be 3.
    sheet = sheet_for(78, by_number[78])
    assert sheet is not None
    assert table_cost(sheet, by_number[78]) == Fraction("0.00010625")
