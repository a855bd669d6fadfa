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

from sluiceway.prices.candidates import compare
from sluiceway.prices.community import read_table
from sluiceway.prices.load import load_prices
from tests.python.prices.pricing import rows_at

SHARED = Path(os.environ.get("SLUICEWAY_SHARED") or Path(__file__).parents[4] / "shared")
GENAI = SHARED / "data/prices/genai-prices_v2_data.json"
LITELLM = SHARED / "data/prices/litellm_2026-07-24.json"
PROMPTS = {"short": 1, "long": 300_000}
Found = dict[tuple[str, str, str], tuple[Fraction, Fraction | None]]

# Model, the buckets that differ, and why.
_CACHED = tuple(
    (model, "cache_read", "cached text has one price, cached images or audio another: no rate")
    for model in ("gpt-image-1", "gpt-image-1-mini", "gpt-image-1.5", "gpt-image-2")
)
_REALTIME = tuple(
    (model, "cache_read", "cached text has one price, cached images or audio another: no rate")
    for model in ("gpt-realtime", "gpt-realtime-1.5", "gpt-realtime-2.1", "gpt-realtime-2.1-mini")
)
_MINI = ("gpt-realtime-mini", "cache_read", "as gpt-realtime-2.1-mini")
_ALL = "input cache_read cache_write_5m cache_write_1h output"
_NEWER = "newer than the table, whose rule takes it for {}"
_GENAI_KNOWN = (
    *_CACHED,
    *_REALTIME,
    _MINI,
    ("claude-fable-5-1", "cache_read searches", _NEWER.format("fable-5")),
    ("claude-fable-5-2", f"{_ALL} searches", _NEWER.format("fable-5")),
    ("claude-opus-5-5", f"{_ALL} searches", _NEWER.format("opus-5")),
    ("claude-sonnet-5-5", "searches", _NEWER.format("sonnet-5")),
    ("claude-sonnet-4-0", _ALL, "genai lacks the 1M beta's tariff above 200K; litellm has it"),
    ("deepseek-chat", "input cache_read output", "the table has V3 and R1, by hours of 2025"),
    ("gpt-4o-2024-05-13", "input cache_read output", "lumped in; litellm has its own 5 / 15"),
    ("gpt-4o-mini-tts", "output", "the answer's tokens are audio: ours is audio_output, 12"),
    ("gpt-5.5", "input cache_read output", "genai lacks the tariff above 272K; litellm has it"),
    ("gpt-5.5-pro", "input output", "genai lacks the tariff above 272K; litellm has it"),
)
_LITELLM_KNOWN = (
    *_CACHED,
    *_REALTIME,
    _MINI,
    ("chatgpt-image-latest", "cache_read", "as the other image models"),
    ("claude-3-haiku-20240307", "cache_write_1h", "2x input is 0.50; litellm repeats Sonnet's 6"),
    ("claude-3-opus-20240229", "cache_write_1h", "2x input is 30; litellm repeats Sonnet's 6"),
    ("claude-sonnet-4-0", "cache_write_1h", "above 200K litellm doubles all but the 1 h write"),
    ("gpt-4o-mini-transcribe", "audio_input", "litellm repeats the price of text; genai has 3"),
    ("gpt-4o-mini-tts", "input output", "text in is 0.60 (two other sources); litellm has 2.50"),
    ("gpt-4o-transcribe", "audio_input", "litellm repeats the price of text; genai has 6"),
    ("gpt-5.4-pro", "cache_read", "litellm alone has a cached price for the pro models"),
    ("gpt-5.5-pro", "cache_read", "litellm alone has a cached price for the pro models"),
    ("gpt-image-2", "output", "providers.md and genai have 30; litellm repeats 1.5's text out"),
    ("gpt-realtime-2.1", "output", "OpenAI's page of gpt-realtime-2 has 24; litellm 16 for 2"),
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
            rows = rows_at(sheet, when, prompt)
            if not rows:  # sold by size, or not yet sold
                continue
            (row,) = (row for row in rows if not row["windows"] or row["windows_inverted"])
            yield sheet["model"], [sheet["model"], *sheet["aliases"]], length, row["rates"]


def _compare(theirs: dict[str, Fraction], ours: dict[str, int], key: tuple[str, str]) -> Found:
    found: Found = {}
    for bucket, price in theirs.items():
        per = 10**12 if bucket == "searches" else 10**9  # dollars a thousand, a million
        own = Fraction(ours[bucket], per) if bucket in ours else None
        if own != price:
            found[(*key, bucket)] = (price, own)
    return found


def _check(found: Found, known: tuple[tuple[str, str, str], ...], seen: int) -> None:
    assert seen >= 90, "the comparison found too few models to mean anything"
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
        "output_image_mtok": "image_output",
        "input_audio_mtok": "audio_input",
        "output_audio_mtok": "audio_output",
        "web_searches_kcount": "searches",
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
        "input_cost_per_audio_token": "audio_input",
        "output_cost_per_audio_token": "audio_output",
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


@pytest.mark.parametrize(
    ("path", "layout", "day", "agree", "lacking"),
    [(GENAI, "genai", "2026-08-02", 640, 30), (LITELLM, "litellm", "2026-07-24", 780, 30)],
)
def test_the_tool_finds_what_is_found_here(
    path: Path, layout: str, day: str, agree: int, lacking: int
) -> None:
    """`sluiceway prices candidates` reads the tables with code of its own. Where the two look at
    the same thing (our text models, standard tier, today's hours), they find the same."""
    _needed(path)
    known = _GENAI_KNOWN if layout == "genai" else _LITELLM_KNOWN
    found = compare(read_table(path, "", day), load_prices(), day)
    assert found.equal >= agree
    names = {(one.provider, one.model) for one in found.lacking}
    assert len(names) >= lacking
    assert not {name for name in names if name[1] in {"gpt-4o", "claude-opus-5"}}
    by_tool = {(one.model, one.bucket) for one in found.disagreements if one.where == "standard"}
    listed = {(model, bucket) for model, buckets, _ in known for bucket in buckets.split()}
    # Only above a table's long-prompt edge, where that table has no figure for the tool to see.
    unseen = {"claude-sonnet-4-0", "gpt-5.5", "gpt-5.5-pro", "gpt-5.4-pro"}
    assert {key for key in listed - by_tool if key[0] not in unseen} == set()
    # What the tool sees and the test above does not: prices by image, second and plain look.
    extra = {bucket for model, bucket in by_tool - listed if model not in unseen}
    assert extra <= {"images", "seconds"}


def test_the_tool_sees_every_size_and_tier() -> None:
    """Two disagreements that only it looks for, by hand: LiteLLM rounds a flex price to 0.13 (half
    of 0.25 is 0.125), and has per-image prices for models that bill tokens."""
    _needed(LITELLM)
    found = compare(read_table(LITELLM, "litellm", "2026-07-24"), load_prices(), "2026-07-24")
    flex = [one for one in found.disagreements if one.where == "flex"]
    assert {(one.model, one.bucket, one.theirs, one.ours) for one in flex} == {
        ("gpt-5.4", "cache_read", Decimal("0.13"), Fraction("0.125"))
    }
    square = [
        one for one in found.disagreements if one.where == "1024x1024 high" and one.ours is None
    ]
    assert {(one.model, one.theirs) for one in square} == {
        ("gpt-image-1", Decimal("0.167")),
        ("gpt-image-1.5", Decimal("0.133")),
    }
