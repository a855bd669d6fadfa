"""Community price tables read into candidate prices: pydantic/genai-prices v2 and LiteLLM's JSON.

Model: both are made by volunteers, useful for finding what we lack and wrong in places; nothing
here becomes a price by itself. A `Candidate` is one price list of one model: the names that it
answers to, from which prompt length it holds, its tier, and dollars for each bucket in the unit in
which we publish (per million, per thousand searches, per image or second). What a table says and we
have no bucket for (cached audio, pixels) is kept as words in `left_out`: nothing is dropped unseen.

Sources: prices/new_data/v2/data.json of pydantic/genai-prices (MIT), with a schema of its own;
model_prices_and_context_window.json of BerriAI/litellm (MIT), whose keys its README describes.
Numbers are read as decimals, never as floats.

Bounds: linear in the file. Threads: pure. Errors: ConfigError.
Example: `read_table(Path("data.json"), "genai", day="2026-08-02")`.
"""

from __future__ import annotations

import datetime
import functools
import json
import re
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from decimal import Decimal
from pathlib import Path
from typing import Any

from sluiceway.prices import schema

Table = dict[str, Any]
PROVIDERS = ("openai", "anthropic", "deepseek")
UNIT_OF = {"searches": "usd_per_thousand", "requests": "usd_per_unit", "images": "usd_per_unit"}
UNIT_OF |= {"megapixels": "usd_per_unit", "seconds": "usd_per_unit"}


def unit_of(bucket: str) -> str:
    """The unit in which a bucket's price is stated here and in candidates."""
    return UNIT_OF.get(bucket, "usd_per_million")


@dataclass
class Candidate:
    """One price list of one model."""

    provider: str
    model: str
    matches: Callable[[str], bool]  # whether a model name of ours means this one
    tier: str = ""
    size: str = ""
    quality: str = ""
    prompt_above: int = 0  # holds for more prompt tokens than this
    usd: dict[str, Decimal] = field(default_factory=dict)
    left_out: list[str] = field(default_factory=list)


def read_table(path: Path, layout: str, day: str) -> list[Candidate]:
    """The candidates of a table that hold on `day` ("2026-08-02"), for our providers. `layout` is
    "genai", "litellm" or "" to tell by the file; LiteLLM's has no dates and means its own day."""
    try:
        table = json.loads(path.read_text(encoding="utf-8"), parse_float=Decimal, parse_int=Decimal)
    except OSError as error:
        schema.fail(str(path), f"the table cannot be read: {error.strerror or error}")
    except ValueError as error:
        schema.fail(path.name, f"not a JSON file: {error}")
    datetime.date.fromisoformat(day)
    if layout == "":
        layout = "genai" if isinstance(table, list) else "litellm"
    if not isinstance(table, list if layout == "genai" else dict):
        schema.fail(path.name, f"not a table of the format {layout}")
    try:
        return list(_genai(table, day) if isinstance(table, list) else _litellm(table))
    except (KeyError, TypeError, ValueError, AttributeError) as error:
        schema.fail(path.name, f"not a table of the format {layout}: {error!r}")


# --- pydantic/genai-prices

_GENAI = {
    "input_mtok": "input",
    "cache_read_mtok": "cache_read",
    "cache_write_mtok": "cache_write_5m",
    "cache_write_1h_mtok": "cache_write_1h",
    "output_mtok": "output",
    "input_audio_mtok": "audio_input",
    "output_audio_mtok": "audio_output",
    "input_image_mtok": "image_input",
    "output_image_mtok": "image_output",
    "web_searches_kcount": "searches",
    "requests_kcount": "requests",
}


def _genai(table: list[Any], day: str) -> Iterator[Candidate]:
    for provider in table:
        if provider["id"] not in PROVIDERS:
            continue
        for model in provider["models"]:
            yield from _genai_model(provider["id"], model, day)


def _genai_model(provider: str, model: Table, day: str) -> Iterator[Candidate]:
    prices, left_out = _genai_on(model["prices"], day)
    edges = {0}
    for price in prices.values():
        if isinstance(price, dict):
            edges.update(int(tier["start"]) for tier in price["tiers"])
    rule = model["match"]
    for edge in sorted(edges):
        made = Candidate(provider, model["id"], functools.partial(_means, rule))
        made.prompt_above = edge
        made.left_out = list(left_out)
        for key, price in prices.items():
            at = price
            if isinstance(price, dict):
                reached = [tier["price"] for tier in price["tiers"] if tier["start"] <= edge]
                at = reached[-1] if reached and edge else price["base"]
            if key in _GENAI:
                per = 1000 if _GENAI[key] == "requests" else 1
                made.usd[_GENAI[key]] = Decimal(at) / per
            else:
                made.left_out.append(f"{key} {at}")
        if made.usd:
            yield made


def _genai_on(prices: Any, day: str) -> tuple[Table, list[str]]:
    """The prices that hold on a day; hours of the day are told as words."""
    if isinstance(prices, dict):
        return prices, []
    hours = [entry for entry in prices if "start_time" in entry.get("constraint", {})]
    dated = [
        entry
        for entry in prices
        if entry not in hours and entry.get("constraint", {}).get("start_date", "") <= day
    ]
    words = [
        f"{entry['constraint']['start_time']} to {entry['constraint']['end_time']}: "
        + ", ".join(f"{key} {value}" for key, value in entry["prices"].items())
        for entry in hours
    ]
    return (dated[-1]["prices"] if dated else {}), words


def _means(rule: Table, name: str) -> bool:
    ((kind, value),) = rule.items()
    if kind in ("or", "and"):
        parts = (_means(part, name) for part in value)
        return any(parts) if kind == "or" else all(parts)
    if kind == "regex":
        return re.search(value, name) is not None
    tests: dict[str, bool] = {
        "equals": name == value,
        "starts_with": name.startswith(value),
        "ends_with": name.endswith(value),
        "contains": value in name,
    }
    return tests[kind]


# --- LiteLLM

_LITELLM = {
    "input_cost_per_token": "input",
    "output_cost_per_token": "output",
    "cache_read_input_token_cost": "cache_read",
    "cache_creation_input_token_cost": "cache_write_5m",
    "cache_creation_input_token_cost_above_1hr": "cache_write_1h",
    "input_cost_per_audio_token": "audio_input",
    "output_cost_per_audio_token": "audio_output",
    "input_cost_per_image_token": "image_input",
    "output_cost_per_image_token": "image_output",
    "input_cost_per_character": "characters",
    "input_cost_per_second": "seconds",
    "output_cost_per_video_per_second": "seconds",
    "input_cost_per_image": "images",
}
_TIERS = {"_batches": "batch", "_flex": "flex", "_priority": "priority"}
_ABOVE = re.compile(r"_above_(\d+)k_tokens")
_LOOK = re.compile(r"(?:(low|medium|high|standard|hd)/)?(?:(\d+)-x-(\d+)/)?(.*)", re.DOTALL)


def _litellm(table: Table) -> Iterator[Candidate]:
    for name, entry in table.items():
        if not isinstance(entry, dict) or entry.get("litellm_provider") not in PROVIDERS:
            continue
        provider = entry["litellm_provider"]
        found = _LOOK.fullmatch(name.removeprefix(f"{provider}/"))
        assert found is not None  # the pattern matches every text that is not empty
        quality, width, height, model = found.groups()
        lists: dict[tuple[str, int], Candidate] = {}
        for key, price in entry.items():
            _litellm_price(lists, (provider, model), key, price, entry)
        for made in lists.values():
            made.quality = quality or ""
            made.size = f"{width}x{height}" if width else ""
            if made.usd or made.left_out:
                yield made


def _litellm_price(
    lists: dict[tuple[str, int], Candidate],
    name: tuple[str, str],
    key: str,
    price: Any,
    entry: Table,
) -> None:
    base, tier, above = key, "", 0
    for suffix, its_tier in _TIERS.items():
        if base.endswith(suffix):
            base, tier = base.removesuffix(suffix), its_tier
    edge = _ABOVE.search(base)
    if edge:
        base, above = base.replace(edge.group(0), ""), int(edge.group(1)) * 1000
    if "cost" not in base:
        return
    provider, model = name
    made = lists.get((tier, above))
    if made is None:
        made = Candidate(provider, model, lambda other: other == model, tier=tier)
        made.prompt_above = above
        lists[(tier, above)] = made
    if base == "search_context_cost_per_query":
        kinds = set(price.values())
        if len(kinds) == 1:
            made.usd["searches"] = Decimal(kinds.pop()) * 1000
        else:
            made.left_out.append(f"{key} by size of context {sorted(map(str, price.values()))}")
        return
    bucket = _LITELLM.get(base)
    if bucket == "images" and entry.get("mode") != "image_generation":
        bucket = None  # of an image in the prompt
    if bucket is None or not isinstance(price, Decimal):
        made.left_out.append(f"{key} {price}")
    elif price != 0:  # zero means "not sold" there
        made.usd[bucket] = price * (1_000_000 if unit_of(bucket) == "usd_per_million" else 1)
