"""What a community table says otherwise than our rows, and what it has that we lack.

Model: each candidate (community.py) is laid beside the row of ours that holds on the given day for
the same tier, size and quality, at a prompt one token above the candidate's edge. Every bucket that
differs is one disagreement, for a person to decide; a model that we do not have becomes a block of
TOML in the format of load.py, with the table as its source and the day as its date, to be read,
corrected and moved by hand. Nothing is taken over silently; a figure that agrees is only counted.

Bounds: candidates x rows of one sheet. Threads: pure. Errors: ConfigError.
Example: `compare(candidates, load_prices(), "2026-08-02").disagreements`.
"""

from __future__ import annotations

import datetime
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from decimal import Decimal
from fractions import Fraction
from typing import Any

from sluiceway.prices import schema
from sluiceway.prices.community import Candidate, unit_of

Sheet = dict[str, Any]
Row = dict[str, Any]
_PER = {"usd_per_million": 1_000_000, "usd_per_thousand": 1_000, "usd_per_unit": 1}


@dataclass(frozen=True, slots=True)
class Disagreement:
    """One figure of theirs that is not ours; `ours` is None where we have no rate."""

    provider: str
    model: str
    name: str  # the name of ours that their rule took for this model
    where: str  # tier, prompt, size
    bucket: str
    theirs: Decimal
    ours: Fraction | None


@dataclass
class Comparison:
    """The result, and how much of it was compared at all."""

    equal: int = 0
    models: set[tuple[str, str]] = field(default_factory=set)
    disagreements: list[Disagreement] = field(default_factory=list)
    lacking: list[Candidate] = field(default_factory=list)
    left_out: list[str] = field(default_factory=list)


def dollars(row: Row, bucket: str) -> Fraction | None:
    """What a row asks for a bucket, its tier's factor included, in the unit of `unit_of`."""
    rate = row["rates"].get(bucket)
    if rate is None:
        return None
    factor = Fraction(1) if bucket in schema.FACTORLESS else Fraction(*row["factor"])
    counted = 1000 if bucket in schema.THOUSANDTHS else 1
    per = _PER[unit_of(bucket)] * counted
    return Fraction(rate, row["rate_dens"].get(bucket, 1)) * factor * per / 10**15


def day_ns(day: str) -> int:
    """Noon UTC of a day, in Unix nanoseconds."""
    noon = datetime.datetime.fromisoformat(day).replace(hour=12, tzinfo=datetime.UTC)
    return int(noon.timestamp()) * schema.NANO_PER_USD


def row_on(sheet: Sheet, day: str, candidate: Candidate) -> Row | None:
    """Our row for what the candidate prices. Hours: the row outside of the windows stands for
    both, since a table without hours can only mean one of them."""
    now = day_ns(day)
    prompt = candidate.prompt_above + 1
    for row in sheet["rows"]:
        fits = (
            row["effective_from_ns"] <= now < row["effective_to_ns"]
            and row["prompt_from"] <= prompt < row["prompt_to"]
            and (row["service_tier"], row["plan"]) == (candidate.tier, "")
            and row["size"] in ("", candidate.size)
            and row["quality"] in ("", candidate.quality)
            and (not row["windows"] or row["windows_inverted"])
        )
        if fits:
            return dict(row)
    return None


def compare(candidates: Iterable[Candidate], sheets: Sequence[Sheet], day: str) -> Comparison:
    """Everything in the candidates against our rows on a day."""
    result = Comparison()
    by_name: dict[str, list[tuple[str, Sheet]]] = {}
    for sheet in sheets:
        names = by_name.setdefault(sheet["provider"], [])
        names += [(name, sheet) for name in (sheet["model"], *sheet["aliases"])]
    claimed: set[tuple[str, str, int]] = set()  # their first rule that fits is the one that counts
    for candidate in candidates:
        fitting = [
            (name, sheet)
            for name, sheet in by_name.get(candidate.provider, [])
            if candidate.matches(name)
        ]
        place = f"{candidate.provider}/{candidate.model}"
        result.left_out += [f"{place}: {words}" for words in candidate.left_out]
        if not fitting:
            result.lacking.append(candidate)
        for name, sheet in fitting:
            look = f"{candidate.tier} {candidate.size} {candidate.quality}"
            key = (name, look, candidate.prompt_above)
            if key not in claimed:
                claimed.add(key)
                _compare_one(result, candidate, name, sheet, day)
    return result


def _compare_one(
    result: Comparison, candidate: Candidate, name: str, sheet: Sheet, day: str
) -> None:
    result.models.add((candidate.provider, sheet["model"]))
    row = row_on(sheet, day, candidate)
    where = [candidate.tier, candidate.size, candidate.quality]
    if candidate.prompt_above:
        where.append(f"above {candidate.prompt_above:,}")
    for bucket, theirs in candidate.usd.items():
        ours = None if row is None else dollars(row, bucket)
        if ours == Fraction(theirs):
            result.equal += 1
            continue
        result.disagreements.append(
            Disagreement(
                candidate.provider,
                sheet["model"],
                name,
                " ".join(part for part in where if part) or "standard",
                bucket,
                theirs,
                ours,
            )
        )


def as_toml(candidates: Sequence[Candidate], source: str, day: str) -> str:
    """Candidate models as a price file to be read by a person: a provider each, standard tier.

    Long prompts become rows of their own. What cannot be written (other tiers, a price finer than
    we count) stands in a comment.
    """
    lines = ["# Candidates from a community table: to be checked against the provider's own page."]
    for provider in dict.fromkeys(one.provider for one in candidates):
        lines += ["", f'provider = "{provider}"']
        own = [one for one in candidates if one.provider == provider]
        for model in dict.fromkeys(one.model for one in own):
            lines += ["", "[[models]]", f'model = "{model}"']
            lists = [one for one in own if one.model == model and one.usd]
            standard = sorted(
                (one for one in lists if not one.tier), key=lambda one: one.prompt_above
            )
            for one in lists:
                if one.tier:
                    lines.append(f"# {one.tier}: {_figures(one)}")
            lines += [f"# {words}" for one in own if one.model == model for words in one.left_out]
            for one in standard:
                lines += ["", *_row_lines(one, standard, source, day)]
    return "\n".join(lines) + "\n"


def _row_lines(one: Candidate, lists: Sequence[Candidate], source: str, day: str) -> list[str]:
    lines = ["[[models.rows]]"]
    same_look = [o.prompt_above for o in lists if (o.size, o.quality) == (one.size, one.quality)]
    above = [edge for edge in same_look if edge > one.prompt_above]
    if one.prompt_above:
        lines.append(f"prompt_above = {one.prompt_above}")
    if above:
        lines.append(f"prompt_up_to = {min(above)}")
    lines += [f'{key} = "{value}"' for key, value in _look(one) if value]
    units: dict[str, list[str]] = {}
    for bucket, usd in one.usd.items():
        units.setdefault(unit_of(bucket), []).append(f'{bucket} = "{_plain(usd)}"')
    lines += [f"{unit} = {{ {', '.join(prices)} }}" for unit, prices in units.items()]
    return [*lines, f'source = "{source}"', f"checked = {day}"]


def _look(one: Candidate) -> tuple[tuple[str, str], ...]:
    return (("size", one.size), ("quality", one.quality))


def _figures(one: Candidate) -> str:
    return ", ".join(f"{bucket} {_plain(usd)}" for bucket, usd in one.usd.items())


def _plain(usd: Decimal) -> str:
    return f"{usd.normalize():f}"
