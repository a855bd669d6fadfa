"""Proof that a model's price rows neither overlap nor leave a gap.

Model: within one selector (service tier, plan, size, quality), a request is a point (instant,
prompt length), and exactly one row must hold for it, from the first row's beginning to the last
row's end. What holds changes only at the rows' own edges, so it is enough to look at one point of
every piece between two neighbouring edges: of dates, of prompt lengths, of the seconds of a
weekday, and of each excluded day. A row without a size prices every size, so it may not stand
beside rows with one; the same for quality.

Bounds: pieces x rows, some thousands of looks for a model; run once a load. Threads: pure.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from itertools import pairwise
from typing import Any

from sluiceway.prices.schema import INT64_MAX, fail

Row = dict[str, Any]
_SELECTOR = ("service tier", "plan", "size", "quality")
_DAY_S = 86_400
_DAY_NS = _DAY_S * 1_000_000_000


def check_coverage(rows: Sequence[Row], place: str) -> None:
    """ConfigError that names the two rows that overlap, or says where no row holds."""
    _check_looks(rows, place)
    for chosen in sorted({_selector(row) for row in rows}):
        own = [row for row in rows if _selector(row) == chosen]
        parts = [f"{name} '{one}'" for name, one in zip(_SELECTOR, chosen, strict=True) if one]
        where = ", ".join([place, *parts])
        for start, end in _pieces(own, "effective_from_ns", "effective_to_ns"):
            alive = [r for r in own if r["effective_from_ns"] <= start < r["effective_to_ns"]]
            if not alive:
                fail(where, f"no row holds between two dates (from {_when(start)})")
            _check_prompts(alive, start, end, where)


def _selector(row: Row) -> tuple[str, str, str, str]:
    return row["service_tier"], row["plan"], row["size"], row["quality"]


def _check_looks(rows: Sequence[Row], place: str) -> None:
    for key in ("size", "quality"):
        kinds: dict[tuple[str, str], set[bool]] = {}
        for row in rows:
            kinds.setdefault((row["service_tier"], row["plan"]), set()).add(bool(row[key]))
        if any(len(kind) > 1 for kind in kinds.values()):
            fail(place, f"some rows have a {key} and some price every {key}: they overlap")


def _pieces(rows: Iterable[Row], start: str, end: str) -> list[tuple[int, int]]:
    edges = sorted({row[key] for row in rows for key in (start, end)})
    return list(pairwise(edges))


def _check_prompts(rows: Sequence[Row], start_ns: int, end_ns: int, where: str) -> None:
    pieces = _pieces(rows, "prompt_from", "prompt_to")
    if pieces[0][0] != 0 or pieces[-1][1] != INT64_MAX:
        fail(where, f"from {_when(start_ns)} some prompt lengths have no row")
    for low, _ in pieces:
        fitting = [row for row in rows if row["prompt_from"] <= low < row["prompt_to"]]
        if not fitting:
            fail(where, f"prompts of {low} tokens have no row (from {_when(start_ns)})")
        _check_hours(fitting, start_ns, end_ns, where)


def _check_hours(rows: Sequence[Row], start_ns: int, end_ns: int, where: str) -> None:
    edges = {0}
    excluded: set[int] = set()
    for row in rows:
        excluded.update(d for d in row["excluded_days"] if _touches(d, start_ns, end_ns))
        for _, from_s, to_s in row["windows"]:
            edges.update((from_s, to_s))
    # An ordinary day is told apart from every excluded one by the number None.
    days: list[tuple[int | None, int]] = [(None, weekday) for weekday in range(7)]
    days += [(number, (number + 3) % 7) for number in sorted(excluded)]
    for number, weekday in days:
        for second in sorted(edges - {_DAY_S}):
            holding = [row for row in rows if _holds(row, number, weekday, second)]
            if len(holding) == 1:
                continue
            names = " and ".join(f"'{row['version']}'" for row in holding) or "no row"
            what = "overlap" if holding else "holds"
            fail(where, f"{names} {what} on weekday {weekday} at second {second} of the UTC day")


def _touches(number: int, start_ns: int, end_ns: int) -> bool:
    return number * _DAY_NS < end_ns and (number + 1) * _DAY_NS > start_ns


def _holds(row: Row, number: int | None, weekday: int, second: int) -> bool:
    if not row["windows"]:
        return True
    inside = number not in row["excluded_days"] and any(
        (mask >> weekday) & 1 and from_s <= second < to_s for mask, from_s, to_s in row["windows"]
    )
    return inside is not row["windows_inverted"]


def _when(instant_ns: int) -> str:
    return f"Unix second {instant_ns // 1_000_000_000}"
