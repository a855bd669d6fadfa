"""What differs between two price tables, or between two days of one table.

Model: two tables are compared model by model and row by row; rows are paired by their name without
the marks that a layer adds (see book.py), so that a snapshot of the shipped files differs in
nothing. Two days of one table are compared by what holds: a key of model, tier, plan, size,
quality, prompt and hours, with its dollars. The result is a list of changes, in the table's order.

Bounds: linear in the rows. Threads: pure.
Example: `between_tables(load_prices(), read_snapshot(path))`.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from fractions import Fraction
from typing import Any

from sluiceway.prices import schema
from sluiceway.prices.book import plain_version
from sluiceway.prices.candidates import day_ns, dollars
from sluiceway.prices.community import unit_of

Sheet = dict[str, Any]
Row = dict[str, Any]


@dataclass(frozen=True, slots=True)
class Change:
    """`kind` is "added", "removed" or "changed"; `what` names the model, row or field."""

    kind: str
    model: str
    what: str
    before: str
    after: str


def between_tables(before: Sequence[Sheet], after: Sequence[Sheet]) -> list[Change]:
    """Every model, row and field that is not the same in both."""
    old = {(s["provider"], s["model"]): s for s in before}
    new = {(s["provider"], s["model"]): s for s in after}
    changes = [Change("removed", f"{p}/{m}", "", "", "") for p, m in old if (p, m) not in new]
    for key, sheet in new.items():
        name = "/".join(key)
        if key not in old:
            changes.append(Change("added", name, "", "", f"{len(sheet['rows'])} rows"))
        else:
            changes += _sheet_changes(name, old[key], sheet)
    return changes


def _sheet_changes(name: str, old: Sheet, new: Sheet) -> Iterator[Change]:
    for key in ("kind", "aliases", "context_tokens", "max_output_tokens", "retires", "note"):
        if old[key] != new[key]:
            yield Change("changed", name, key, str(old[key]), str(new[key]))
    rows = {plain_version(row["version"]): row for row in old["rows"]}
    for row in new["rows"]:
        version = plain_version(row["version"])
        was = rows.pop(version, None)
        if was is None:
            yield Change("added", name, version, "", rates_text(row))
        else:
            yield from _row_changes(name, version, was, row)
    for version, row in rows.items():
        yield Change("removed", name, version, rates_text(row), "")


def _row_changes(name: str, version: str, old: Row, new: Row) -> Iterator[Change]:
    if rates_text(old) != rates_text(new):
        yield Change("changed", name, version, rates_text(old), rates_text(new))
    for key in new:
        if key in ("version", "rates", "rate_dens", "factor"):
            continue
        if _plain(old[key]) != _plain(new[key]):
            yield Change("changed", name, f"{version}: {key}", str(old[key]), str(new[key]))


def _plain(value: Any) -> Any:
    return [_plain(one) for one in value] if isinstance(value, list | tuple) else value


def between_days(sheets: Sequence[Sheet], before: str, after: str) -> list[Change]:
    """What holds on one day and not, or at another price, on the other."""
    old, new = _holding(sheets, before), _holding(sheets, after)
    changes = []
    for key in dict.fromkeys((*old, *new)):
        was, now = old.get(key, ""), new.get(key, "")
        if was != now:
            kind = "changed" if was and now else "added" if now else "removed"
            changes.append(Change(kind, key[0], key[1], was, now))
    return changes


def _holding(sheets: Sequence[Sheet], day: str) -> dict[tuple[str, str], str]:
    now = day_ns(day)
    return {
        (f"{sheet['provider']}/{sheet['model']}", selector_text(row)): rates_text(row)
        for sheet in sheets
        for row in sheet["rows"]
        if row["effective_from_ns"] <= now < row["effective_to_ns"]
    }


def selector_text(row: Row) -> str:
    """Tier, plan, size, quality, prompt and hours of a row, as one text; "standard" for none."""
    parts = [row["service_tier"], row["plan"], row["size"], row["quality"], prompt_text(row)]
    if row["windows"]:
        parts.append("off-peak" if row["windows_inverted"] else "peak")
    return ", ".join(part for part in parts if part) or "standard"


def prompt_text(row: Row) -> str:
    """ "above 272,000", "up to 272,000" or ""."""
    low, high = row["prompt_from"], row["prompt_to"]
    above = f"above {low - 1:,}" if low else ""
    below = f"up to {high - 1:,}" if high != schema.INT64_MAX else ""
    return " ".join(part for part in (above, below) if part)


def rates_text(row: Row) -> str:
    """A row's dollars, its factor included: "input 0.10, output 0.50"; "1/3" where not decimal."""
    sold = [bucket for bucket in schema.BUCKETS if bucket in row["rates"]]
    return ", ".join(f"{bucket} {usd_text(row, bucket)}" for bucket in sold)


def usd_text(row: Row, bucket: str) -> str:
    """Dollars of one bucket in the unit that its price is published in; a price a minute is told
    as such where a second's is no decimal."""
    usd = dollars(row, bucket)
    assert usd is not None
    suffix = {"usd_per_million": "", "usd_per_thousand": " a thousand"}.get(unit_of(bucket))
    if suffix is None:
        suffix = f" each {bucket.removesuffix('s')}"
        if bucket == "seconds" and not _is_decimal(usd):
            return f"{decimal_text(usd * 60)} each minute"
    return decimal_text(usd) + suffix


def _is_decimal(value: Fraction) -> bool:
    rest = value.denominator
    for prime in (2, 5):
        while rest % prime == 0:
            rest //= prime
    return rest == 1


def decimal_text(value: Fraction) -> str:
    """Exact decimal digits, at least two after a point; a fraction where there are no such."""
    if not _is_decimal(value):
        return str(value)
    digits = 0
    while (value * 10**digits).denominator != 1:
        digits += 1
    if digits == 0:
        return str(value.numerator)
    digits = max(digits, 2)
    text = str(int(value * 10**digits)).rjust(digits + 1, "0")
    return f"{text[:-digits]}.{text[-digits:]}"
