"""What went into and out of a wallet: its entries in order, and sums by day, week or month.

Model: the ledger's entries of the wallet's scopes, read through the engine and told as objects
`WalletEntry` with signed amounts: what came in is above zero. The money of a call or a deduction
counts on the day on which it was reserved. Time zones are those of the wallet.

Time and memory: linear in the ledger's entries of the span that is asked for.

    for entry in wallet.history(): print(entry.at, entry.kind, entry.amount, entry.reason)
    wallet.usage(by="day").rows[-1].used
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from datetime import UTC, datetime
from decimal import Decimal
from typing import Any

from sluiceway import _core
from sluiceway.errors import InvalidRequest
from sluiceway.money import units_of
from sluiceway.types import Frozen

_set = object.__setattr__
BY = ("hour", "day", "week", "month")
_KIND_OF = {
    "grant": "top_up",
    "reserve": "hold",
    "settle": "spend",
    "post_full": "spend",
    "correct": "correction",
    "refund": "refund",
    "void": "release",
    "in_doubt": "in_doubt",
    "shrink": "hold",
}
_MOVES = frozenset(("settle", "post_full", "correct", "refund", "grant"))


class WalletEntry(Frozen):
    """One movement. `kind`: "top_up", "spend", "correction" or "refund"; `at` is UTC.

    `amount` is what it changed the balance by. `source`: "topped_up" or "monthly", which part of
    the wallet it moved.
    """

    __slots__ = ("amount", "at", "call_id", "kind", "model", "operation", "reason", "source")
    at: datetime
    kind: str
    amount: Decimal
    call_id: str
    operation: str
    model: str
    reason: str
    source: str

    def __init__(self, **fields: object) -> None:
        for name in WalletEntry.__slots__:
            _set(self, name, fields[name])

    def __reduce__(self) -> tuple[Any, tuple[object, ...]]:
        return _entry, tuple(getattr(self, name) for name in WalletEntry.__slots__)

    def __repr__(self) -> str:
        return f"WalletEntry({self.at:%Y-%m-%d %H:%M} {self.kind} {self.amount:+f} {self.reason})"


def _entry(*values: object) -> WalletEntry:
    return WalletEntry(**dict(zip(WalletEntry.__slots__, values, strict=True)))


class UsageRow(Frozen):
    """One window: what was used (refunds taken off), topped up, and how many movements.

    `limit` and `left` are the monthly allowance's, in rows of months of a wallet that has one.
    """

    __slots__ = ("count", "left", "limit", "topped_up", "used", "window")
    window: str
    used: Decimal
    topped_up: Decimal
    count: int
    limit: Decimal | None
    left: Decimal | None

    def __init__(
        self,
        window: str,
        used: Decimal,
        topped_up: Decimal,
        count: int,
        limit: Decimal | None,
        left: Decimal | None,
    ) -> None:
        for name, value in zip(
            ("window", "used", "topped_up", "count", "limit", "left"),
            (window, used, topped_up, count, limit, left),
            strict=True,
        ):
            _set(self, name, value)

    def __reduce__(self) -> tuple[type[UsageRow], tuple[object, ...]]:
        return UsageRow, (
            self.window,
            self.used,
            self.topped_up,
            self.count,
            self.limit,
            self.left,
        )

    def __repr__(self) -> str:
        return f"UsageRow({self.window}: {self.used:f} used, {self.count} times)"


class WalletUsage(Frozen):
    """Rows by window, oldest first, and where the wallet stands now. Iterates over its rows.

    `limit` is the most that could be used in the running month (the allowance and what was topped
    up), `used` what was, `left` what may still be.
    """

    __slots__ = ("by", "left", "limit", "rows", "used")
    by: str
    rows: tuple[UsageRow, ...]
    limit: Decimal
    used: Decimal
    left: Decimal

    def __init__(
        self, by: str, rows: tuple[UsageRow, ...], limit: Decimal, used: Decimal, left: Decimal
    ) -> None:
        for name, value in zip(
            ("by", "rows", "limit", "used", "left"), (by, rows, limit, used, left), strict=True
        ):
            _set(self, name, value)

    def __iter__(self) -> Iterator[UsageRow]:
        return iter(self.rows)

    def __len__(self) -> int:
        return len(self.rows)

    def __reduce__(self) -> tuple[type[WalletUsage], tuple[object, ...]]:
        return WalletUsage, (self.by, self.rows, self.limit, self.used, self.left)

    def __repr__(self) -> str:
        return f"WalletUsage({self.used:f} used, {self.left:f} left of {self.limit:f})"


class Movement:
    """An entry that moved a wallet's money, and when its call was reserved (Unix seconds)."""

    __slots__ = ("amount", "at_s", "entry", "reserved_s", "source")

    def __init__(
        self, entry: Mapping[str, Any], amount: int, reserved_s: float, source: str
    ) -> None:
        self.entry = entry
        self.amount = amount
        self.at_s: float = entry["at_s"]
        self.reserved_s = reserved_s
        self.source = source


def movements(
    entries: Iterable[Mapping[str, Any]], sources: Mapping[str, str]
) -> Iterator[Movement]:
    """Those of the entries that moved money of the scopes in `sources` (name to "monthly" ...)."""
    calls: dict[str, tuple[float, str]] = {}
    for entry in entries:
        kind = entry["kind"]
        if kind in ("reserve", "grant"):
            found = [sources[n] for n in map(_plain, entry["scopes"]) if n in sources]
            if not found:
                continue
            if kind == "grant":
                yield Movement(entry, entry["amount_nanousd"], entry["at_s"], found[0])
            else:
                calls[entry["call_id"]] = (entry["at_s"], found[0])
        elif kind in _MOVES and entry["call_id"] in calls:
            only = [*map(_plain, entry["scopes"])]  # of a refund: where it was given back
            if only and sources.keys().isdisjoint(only):
                continue
            reserved_s, source = calls[entry["call_id"]]
            sign = 1 if kind == "refund" else -1
            yield Movement(entry, sign * entry["amount_nanousd"], reserved_s, source)


def _plain(name: str) -> str:
    """A scope's name without its window."""
    return name.partition("@")[0]


def entry_of(movement: Movement, decimals: int) -> WalletEntry:
    """What a person reads."""
    entry = movement.entry
    return WalletEntry(
        amount=units_of(movement.amount, decimals),
        at=datetime.fromtimestamp(movement.at_s, UTC),
        call_id=entry["call_id"],
        kind=_KIND_OF[entry["kind"]],
        model=f"{entry['provider']}/{entry['model']}" if entry["model"] else "",
        operation=entry["operation"],
        reason=entry["evidence"],
        source=movement.source,
    )


def rows_of(
    moves: Iterable[Movement], by: str, time_zone: str, decimals: int, monthly: int | None
) -> tuple[UsageRow, ...]:
    """Sums by window. InvalidRequest for a `by` that is none of BY."""
    if by not in BY:
        raise InvalidRequest(f"by={by!r} is not one of {', '.join(BY)}")
    windows: dict[str, list[int]] = {}
    for move in moves:
        window = _core.window_key(by, move.reserved_s, time_zone)
        sums = windows.setdefault(window, [0, 0, 0, 0])
        if move.entry["kind"] == "grant":
            sums[1] += move.amount
        else:
            sums[0] -= move.amount
            sums[2] += move.entry["kind"] in ("settle", "post_full")
            sums[3] -= move.amount if move.source == "monthly" else 0
    rows = []
    for window, (used, topped_up, count, of_month) in sorted(windows.items()):
        limit = left = None
        if by == "month" and monthly is not None:
            limit, left = units_of(monthly, decimals), units_of(monthly - of_month, decimals)
        rows.append(
            UsageRow(
                window,
                units_of(used, decimals),
                units_of(topped_up, decimals),
                count,
                limit,
                left,
            )
        )
    return tuple(rows)
