"""`sluiceway prices show`: what the shipped price files say, with the source of each row.

A row is one price of one model: its tier, when it holds, dollars per million of each bucket, the
day on which the source was seen to say so. `show gpt` shows the models with "gpt" in their name.
"""

from __future__ import annotations

import argparse
import datetime
import json
from collections.abc import Iterable, Sequence
from decimal import Decimal
from typing import Any

from sluiceway.errors import UnknownModel

_ORDER = ("input", "cache_read", "cache_write_5m", "cache_write_1h", "output", "reasoning")
_NS = 1_000_000_000


def add(subparsers: Any) -> None:
    """Adds the command."""
    prices = subparsers.add_parser("prices", help="what calls cost, and where that is from")
    actions = prices.add_subparsers(required=True, metavar="ACTION")
    show = actions.add_parser("show", help="a table of models, rates and source dates")
    show.add_argument("names", nargs="*", metavar="NAME", help="parts of provider/model names")
    show.add_argument("--sources", action="store_true", help="also the source of each row")
    show.add_argument("--json", action="store_true", help="everything, as JSON")
    show.set_defaults(run=_show)


def _show(options: argparse.Namespace) -> int:
    from sluiceway.prices.load import load_prices, price_table_version

    sheets = load_prices()
    if options.names:
        sheets = [sheet for sheet in sheets if _wanted(sheet, options.names)]
        if not sheets:
            raise UnknownModel(f"no model in the price files has {' or '.join(options.names)}")
    if options.json:
        print(json.dumps(sheets, indent=2, ensure_ascii=False))
        return 0
    header = ("model", "tier", "prompt", "window", "USD per million", "checked")
    rows = [row for sheet in sheets for row in _rows(sheet, options.sources)]
    for line in columns([header, *rows]):
        print(line)
    print(f"\nprice table {price_table_version()}")
    return 0


def _wanted(sheet: dict[str, Any], names: Iterable[str]) -> bool:
    known = [f"{sheet['provider']}/{one}" for one in (sheet["model"], *sheet["aliases"])]
    return any(part.lower() in name for part in names for name in known)


def _rows(sheet: dict[str, Any], sources: bool) -> Iterable[tuple[str, ...]]:
    now_ns = int(datetime.datetime.now(datetime.UTC).timestamp()) * _NS
    for row in sheet["rows"]:
        if row["effective_to_ns"] and row["effective_to_ns"] <= now_ns:
            continue
        yield (
            f"{sheet['provider']}/{sheet['model']}",
            row["service_tier"] or "default",
            _prompt(row["prompt_from"], row["prompt_to"]),
            _window(row, now_ns),
            _rates(row),
            str(row["checked"]),
        )
        if sources:
            yield ("", "", "", "", row["source"], "")


def _prompt(low: int, high: int) -> str:
    if low > 0:
        return f"from {low:,}"
    return f"below {high:,}" if 0 < high < 2**53 else "any"


def _window(row: dict[str, Any], now_ns: int) -> str:
    begins = row["effective_from_ns"]
    if begins and begins > now_ns:
        return f"from {datetime.datetime.fromtimestamp(begins // _NS, datetime.UTC):%Y-%m-%d}"
    if not row["windows"]:
        return "always"
    return "off-peak" if row["windows_inverted"] else "peak"


def _rates(row: dict[str, Any]) -> str:
    numerator, denominator = row["factor"]
    rates = row["rates"]
    names = sorted(rates, key=lambda name: (_ORDER.index(name) if name in _ORDER else 9, name))
    return "  ".join(f"{name} {_usd(rates[name] * numerator, denominator)}" for name in names)


def _usd(nanousd: int, denominator: int) -> str:
    amount = Decimal(nanousd) / (Decimal(denominator) * _NS)
    return f"{amount.normalize():f}"


def columns(rows: Sequence[tuple[str, ...]]) -> list[str]:
    """Rows of text in columns, two blanks apart; the first row gets a line under it."""
    widths = [max(len(row[place]) for row in rows) for place in range(len(rows[0]))]
    lines = [
        "  ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)).rstrip()
        for row in rows
    ]
    return [lines[0], "  ".join("-" * width for width in widths).rstrip(), *lines[1:]]
