"""Our rows against two community tables, on the day of each table.

The tables are read where they lie (SLUICEWAY_SHARED, or ../shared beside the checkout), never
copied. Both are made by volunteers and wrong in places: every disagreement stands below with the
reason why our figure is kept, and a disagreement that is not listed, or a listed one that is gone,
fails. Rates are dollars per million tokens; "short" and "long" are prompts of 1 and 300,000 tokens.
"""

from __future__ import annotations

import json
import os
import re
from collections.abc import Iterator
from decimal import Decimal
from fractions import Fraction
from pathlib import Path
from typing import Any

import pytest

from sluiceway.prices.load import load_prices
from tests.python.prices.pricing import rows_at

SHARED = Path(os.environ.get("SLUICEWAY_SHARED") or Path(__file__).parents[4] / "shared")
GENAI = SHARED / "data/prices/genai-prices_v2_data.json"
LITELLM = SHARED / "data/prices/litellm_2026-07-24.json"
PROMPTS = {"short": 1, "long": 300_000}
Found = dict[tuple[str, str, str], tuple[Fraction, Fraction | None]]

# Model, the buckets that differ, and why.
_DEEPSEEK = (
    ("deepseek-flash", "input cache_read output", "the table has the flat price of before 08-16"),
    ("deepseek-v4-pro", "input cache_read output", "the table has the flat price of before 08-16"),
)
_IMAGES = tuple(
    (model, "cache_read", "two prices, text and image, that the answer does not tell apart")
    for model in ("gpt-image-1", "gpt-image-1-mini", "gpt-image-1.5", "gpt-image-2")
)
_ALL = "input cache_read cache_write_5m cache_write_1h output"
_GENAI_KNOWN = (
    *_DEEPSEEK,
    *_IMAGES,
    ("claude-fable-5-1", "cache_read", "newer than the table, whose rule takes it for fable-5"),
    ("claude-fable-5-2", _ALL, "newer than the table, whose rule takes it for fable-5"),
    ("claude-opus-5-5", _ALL, "newer than the table, whose rule takes it for opus-5"),
    ("claude-sonnet-4-0", _ALL, "genai lacks the 1M beta's tariff above 200K; litellm has it"),
    ("gpt-4o-2024-05-13", "input cache_read output", "lumped in; litellm has its own 5 / 15"),
    ("gpt-4o-mini-tts", "output", "the answer's tokens are audio: ours is audio_output, 12"),
    ("gpt-5.5", "input cache_read output", "genai lacks the tariff above 272K; litellm has it"),
)
_LITELLM_KNOWN = (
    *_DEEPSEEK,
    *_IMAGES,
    ("claude-3-haiku-20240307", "cache_write_1h", "2x input is 0.50; litellm repeats Sonnet's 6"),
    ("claude-3-opus-20240229", "cache_write_1h", "2x input is 30; litellm repeats Sonnet's 6"),
    ("claude-sonnet-4-0", "cache_write_1h", "above 200K litellm doubles all but the 1 h write"),
    ("gpt-4o-mini-tts", "input output", "text in is 0.60 (two other sources); litellm has 2.50"),
    ("gpt-image-2", "output", "providers.md and genai have 30; litellm repeats 1.5's text out"),
)


def _needed(path: Path) -> Any:
    if not path.is_file():
        pytest.skip(f"{path.name} is not here: set SLUICEWAY_SHARED to the shared folder")
    return json.loads(path.read_text(encoding="utf-8"), parse_float=Decimal)


def _ours(provider: str, when: str) -> Iterator[tuple[str, list[str], str, dict[str, int]]]:
    for sheet in load_prices():
        if sheet["provider"] != provider:
            continue
        for length, prompt in PROMPTS.items():
            (row,) = rows_at(sheet, when, prompt)
            yield sheet["model"], [sheet["model"], *sheet["aliases"]], length, row["rates"]


def _compare(theirs: dict[str, Fraction], ours: dict[str, int], key: tuple[str, str]) -> Found:
    found: Found = {}
    for bucket, price in theirs.items():
        own = Fraction(ours[bucket], 10**9) if bucket in ours else None
        if own != price:
            found[(*key, bucket)] = (price, own)
    return found


def _check(found: Found, known: tuple[tuple[str, str, str], ...], seen: int) -> None:
    assert seen >= 40, "the comparison found too few models to mean anything"
    listed = {(model, bucket) for model, buckets, _ in known for bucket in buckets.split()}
    unlisted = {key: pair for key, pair in found.items() if (key[0], key[2]) not in listed}
    assert not unlisted, "disagreements without a reason (theirs, ours)"
    assert {(model, bucket) for model, _, bucket in found} == listed, "a listed one is gone"


def _matches(rule: dict[str, Any], name: str) -> bool:
    ((kind, value),) = rule.items()
    if kind == "or":
        return any(_matches(part, name) for part in value)
    if kind == "and":
        return all(_matches(part, name) for part in value)
    if kind == "regex":
        return re.search(value, name) is not None
    holds = {
        "equals": name == value,
        "starts_with": name.startswith(value),
        "ends_with": name.endswith(value),
        "contains": value in name,
    }
    return bool(holds[kind])


def _genai_prices(model: dict[str, Any], day: str, prompt: int) -> dict[str, Fraction]:
    prices = model["prices"]
    if isinstance(prices, list):
        (prices,) = [
            entry["prices"]
            for entry in prices
            if entry.get("constraint", {}).get("start_date", "") <= day
            and "start_time" not in entry.get("constraint", {})
        ][-1:]
    names = {
        "input_mtok": "input",
        "cache_read_mtok": "cache_read",
        "cache_write_mtok": "cache_write_5m",
        "cache_write_1h_mtok": "cache_write_1h",
        "output_mtok": "output",
        "input_image_mtok": "image_input",
    }
    rates = {}
    for key, bucket in names.items():
        if key not in prices:
            continue
        price = prices[key]
        if isinstance(price, dict):
            tiers = [tier["price"] for tier in price["tiers"] if prompt > tier["start"]]
            price = tiers[-1] if tiers else price["base"]
        rates[bucket] = Fraction(price)
    return rates


def test_against_genai_prices() -> None:
    """pydantic/genai-prices, as of 2026-08-02."""
    table = {provider["id"]: provider["models"] for provider in _needed(GENAI)}
    found: Found = {}
    seen = set()
    for provider in ("openai", "anthropic", "deepseek"):
        for model, names_of, length, rates in _ours(provider, "2026-08-02T12:00:00"):
            for candidate in names_of:
                entry = next((m for m in table[provider] if _matches(m["match"], candidate)), None)
                if entry is None:
                    continue
                seen.add(candidate)
                theirs = _genai_prices(entry, "2026-08-02", PROMPTS[length])
                found |= _compare(theirs, rates, (model, f"{candidate} {length}"))
    _check(found, _GENAI_KNOWN, len(seen))


def test_against_litellm() -> None:
    """BerriAI/litellm, as of 2026-07-24."""
    table = _needed(LITELLM)
    names = {
        "input_cost_per_token": "input",
        "cache_read_input_token_cost": "cache_read",
        "cache_creation_input_token_cost": "cache_write_5m",
        "cache_creation_input_token_cost_above_1hr": "cache_write_1h",
        "output_cost_per_token": "output",
        "input_cost_per_image_token": "image_input",
        "output_cost_per_image_token": "image_output",
        "input_cost_per_character": "characters",
    }
    found: Found = {}
    seen = set()
    for provider in ("openai", "anthropic", "deepseek"):
        for model, names_of, length, rates in _ours(provider, "2026-07-24T12:00:00"):
            for candidate in names_of:
                entry = table.get(candidate)
                if entry is None or entry.get("litellm_provider") != provider:
                    continue
                seen.add(candidate)
                theirs = {}
                for key, bucket in names.items():
                    for suffix in ("", "_above_200k_tokens", "_above_272k_tokens"):
                        if key + suffix in entry and (length == "long" or not suffix):
                            theirs[bucket] = Fraction(entry[key + suffix]) * 1_000_000
                found |= _compare(
                    {b: p for b, p in theirs.items() if p != 0},  # zero: "not sold" in litellm
                    rates,
                    (model, f"{candidate} {length}"),
                )
    _check(found, _LITELLM_KNOWN, len(seen))
