"""What a report returns, and instants and archives as people name them.

Model: a `ReportRow` is one group of calls. Amounts are whole numbers in the row's unit (nano-
dollars, or thousandths of a credit) with a `Decimal` beside them where the unit is money; latencies
are milliseconds, within 1 %. Frozen: any thread.

    row["model"], row.usd, row.calls, row.usage.output_tokens, row.latency.p95_ms
    pl.DataFrame([row.as_dict() for row in rows])
"""

from __future__ import annotations

import contextlib
import datetime
import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from decimal import Decimal
from typing import Any
from zoneinfo import ZoneInfo, ZoneInfoNotFoundError

from sluiceway._values import path as path_of
from sluiceway._values import text
from sluiceway.errors import InvalidRequest, InvalidType, kind_of
from sluiceway.money import usd_of
from sluiceway.types import Usage

NANOUSD = "nanousd"
Instant = str | int | float | datetime.date | datetime.datetime
_EPOCH = datetime.datetime(1970, 1, 1, tzinfo=datetime.UTC)


@dataclass(frozen=True, slots=True)
class Latency:
    """Latencies of the settled calls of a group; None where none is known.

    `sketch` is a mergeable DDSketch in bytes, as src/cpp/stats/latency_sketch.h writes it.
    """

    count: int
    mean_ms: float | None
    min_ms: float | None
    p50_ms: float | None
    p95_ms: float | None
    p99_ms: float | None
    max_ms: float | None
    sketch: bytes = field(repr=False)

    @classmethod
    def _of(cls, found: Mapping[str, Any]) -> Latency:
        def ms(name: str) -> float | None:
            return None if found[name] is None else found[name] / 1e6

        count = found["count"]
        mean = found["sum_ns"] / count / 1e6 if count else None
        return cls(
            count,
            mean,
            ms("min_ns"),
            ms("p50_ns"),
            ms("p95_ns"),
            ms("p99_ns"),
            ms("max_ns"),
            found["sketch"],
        )


@dataclass(frozen=True, slots=True)
class ReportRow:
    """One group of calls. `key` has one text for each name in `by`.

    `calls` is `open` + `in_doubt` + `settled` + `voided`; `posted`, `estimated`, `overruns` and
    `refunded` count some of them again. `cost` is what the settled ones cost, with corrections and
    less `refunds`; `held` and `held_in_doubt` are still reserved.
    """

    by: tuple[str, ...]
    key: tuple[str, ...]
    unit: str
    calls: int
    open: int
    in_doubt: int
    settled: int
    voided: int
    estimated: int
    posted: int
    overruns: int
    refunded: int
    cost: int
    cost_estimated: int
    refunds: int
    held: int
    held_in_doubt: int
    usage: Usage
    usage_saturated: bool
    latency: Latency

    @classmethod
    def _of(cls, by: tuple[str, ...], found: Mapping[str, Any]) -> ReportRow:
        counts = ("calls", "open", "in_doubt", "settled", "voided", "estimated", "posted")
        amounts = ("cost", "cost_estimated", "refunds", "held_in_doubt", "usage_saturated")
        return cls(
            by,
            tuple(found["key"]),
            held=found["held_open"],
            usage=Usage(found["usage"]),
            latency=Latency._of(found["latency"]),
            **{name: found[name] for name in ("unit", *counts, "overruns", "refunded", *amounts)},
        )

    def __getitem__(self, name: str) -> str:
        try:
            return self.key[self.by.index(name)]
        except ValueError:
            raise KeyError(name) from None

    @property
    def usd(self) -> Decimal | None:
        """What the calls cost, in dollars; None where the unit is a credit."""
        return usd_of(self.cost) if self.unit == NANOUSD else None

    @property
    def estimated_share(self) -> float:
        """The part of the cost that was estimated, 0 to 1: for people, not for sums."""
        return self.cost_estimated / self.cost if self.cost else 0.0

    def as_dict(self) -> dict[str, Any]:
        """Flat, for tables and JSON: the key by its names, usage as usage_<bucket>."""
        names = [name for name in self.__slots__ if name not in ("by", "key", "usage", "latency")]
        latency = ("count", "mean_ms", "min_ms", "p50_ms", "p95_ms", "p99_ms", "max_ms")
        return {
            **dict(zip(self.by, self.key, strict=True)),
            "usd": self.usd,
            **{name: getattr(self, name) for name in names},
            **{f"usage_{name}": count for name, count in self.usage.buckets.items()},
            **{f"latency_{name}": getattr(self.latency, name) for name in latency},
        }


def zone_of(name: str) -> datetime.tzinfo:
    """The time zone of that name; InvalidRequest where there is none."""
    if text(name, "time_zone") == "UTC":
        return datetime.UTC
    try:
        return ZoneInfo(name)
    except (ZoneInfoNotFoundError, ValueError, OSError):
        raise InvalidRequest(f'there is no time zone {name!r}; try "Europe/Berlin"') from None


def instant_ns(value: Instant | None, name: str, zone: datetime.tzinfo) -> int | None:
    """Unix nanoseconds of "2026-11-22", "2026-11-22T05:00", a date, a datetime, or Unix seconds.

    What carries no offset is meant in `zone`. None stays None. InvalidType, InvalidRequest.
    """
    if value is None:
        return None
    if isinstance(value, str):
        try:
            value = datetime.datetime.fromisoformat(value)
        except ValueError:
            raise InvalidRequest(
                f'{name}={value!r} is no time; write "2026-11-22" or "2026-11-22T05:00:00Z"'
            ) from None
    if isinstance(value, bool) or not isinstance(value, int | float | datetime.date):
        raise InvalidType(f"{name} is {kind_of(value)}, not a time")
    if isinstance(value, int | float):
        if not abs(value) < 9e9:
            raise InvalidRequest(f"{name}={value} is no time in Unix seconds")
        return value * 1_000_000_000 if isinstance(value, int) else round(value * 1e9)
    if not isinstance(value, datetime.datetime):
        value = datetime.datetime.combine(value, datetime.time())
    if value.tzinfo is None:
        value = value.replace(tzinfo=zone)
    since = value - _EPOCH
    return (since.days * 86_400 + since.seconds) * 1_000_000_000 + since.microseconds * 1_000


def archive_paths(archives: Sequence[str | os.PathLike[str]]) -> list[str]:
    """The paths of a list of archives. A file that is named twice, also by another path or a link,
    would count twice: InvalidRequest with both names. InvalidType for one path in place of a list.
    A file that is not there is the core's to tell."""
    if isinstance(archives, str | os.PathLike):
        raise InvalidType(f'archives is a list of files: archives=["{os.fspath(archives)}"]')
    files: object = archives
    if isinstance(files, bytes) or not isinstance(files, Sequence):
        raise InvalidType(f"archives is {kind_of(archives)}, not a list of files")
    paths = [text(path_of(path, "one of archives"), "one of archives") for path in archives]
    seen: dict[object, str] = {}
    for path in paths:
        keys: list[object] = [os.path.realpath(path)]
        with contextlib.suppress(OSError, ValueError):
            found = os.stat(path)
            keys.append((found.st_dev, found.st_ino))
        for key in keys:
            if key in seen:
                raise InvalidRequest(
                    f"the archives {seen[key]!r} and {path!r} are the same file, which would count"
                    " twice; name it once"
                )
        seen.update(dict.fromkeys(keys, path))
    return paths
