"""One row of a price file into the rows of the core: windows, long prompts, service tiers.

Model: a file's row has its own dates, hours and prompt range. A long-prompt tariff splits it into
"up to n" and "above n" with multiplied rates; each named service tier then repeats those with a
factor. A factor stays a factor of the row, since that is how providers state it (batch at half
price); a tariff's multiples are written out as rates. Versions are
`provider/model@date[/label][/over-n][/tier]`, where the date is the row's `from`, else `checked`.

Bounds: rows x (1 + tiers) x 2. Threads: pure functions. Errors: ConfigError.
Example: see load.py, whose format this reads.
"""

from __future__ import annotations

import datetime
from dataclasses import dataclass
from fractions import Fraction
from typing import Any, TypeVar

from sluiceway.prices import schema

Row = dict[str, Any]
_T = TypeVar("_T")
_WEEKDAYS = ("Mon", "Tue", "Wed", "Thu", "Fri", "Sat", "Sun")
_UNITS = {"usd_per_million": 1_000_000, "usd_per_thousand": 1_000, "usd_per_unit": 1}
_ROW_KEYS = (
    *("from", "to", "during", "outside", "prompt_above", "prompt_up_to", "long_prompt", "tiers"),
    *("label", "source", "checked", "note", *_UNITS),
)


@dataclass(frozen=True, slots=True)
class Windows:
    """Hours of the UTC week and the days on which they do not hold."""

    hours: list[tuple[int, int, int]]
    excluded_days: list[int]


@dataclass(frozen=True, slots=True)
class LongPrompt:
    """Above `above` prompt tokens the whole request costs these multiples."""

    above: int
    input_factor: Fraction
    output_factor: Fraction


@dataclass(frozen=True, slots=True)
class Tier:
    """A service tier's factor, and when it applies."""

    service_tier: str
    factor: Fraction
    from_ns: int
    to_ns: int


@dataclass(frozen=True, slots=True)
class Tables:
    """What the rows of one file refer to by name."""

    windows: dict[str, Windows]
    long_prompts: dict[str, LongPrompt]
    tiers: dict[str, Tier]


def read_tables(file: dict[str, Any], file_name: str) -> Tables:
    """The named windows, tariffs and tiers of a file. Raises ConfigError."""

    def each(key: str) -> list[tuple[str, dict[str, Any], str]]:
        group = schema.subtable(file, key, file_name)
        return [
            (name, schema.subtable(group, name, file_name), f"{file_name}: {key}.{name}")
            for name in group
        ]

    return Tables(
        {name: _read_windows(table, place) for name, table, place in each("windows")},
        {name: _read_long_prompt(table, place) for name, table, place in each("long_prompts")},
        {name: _read_tier(table, place) for name, table, place in each("tiers")},
    )


def _read_source(table: dict[str, Any], place: str) -> tuple[str, str]:
    checked = schema.day(table, "checked", place)
    if not checked:
        schema.fail(place, "'checked' is missing: the day on which the source was seen to say so")
    return schema.text(table, "source", place), checked


def _read_windows(table: dict[str, Any], place: str) -> Windows:
    schema.check_keys(table, ("hours", "except_days", "source", "checked", "note"), place)
    _read_source(table, place)
    hours = []
    for entry in schema.tables(table, "hours", place):
        schema.check_keys(entry, ("days", "from", "to"), place)
        from_s = schema.second_of_day(entry.get("from"), place)
        to_s = schema.second_of_day(entry.get("to"), place)
        if from_s >= to_s:
            schema.fail(place, "a window ends after it begins; write one across midnight as two")
        hours.append((_weekday_mask(schema.text(entry, "days", place), place), from_s, to_s))
    days: set[int] = set()
    for span in schema.texts(table, "except_days", place):
        days.update(_day_numbers(span, place))
    return Windows(hours, sorted(days))


def _weekday_mask(days: str, place: str) -> int:
    first, _, last = days.partition("-")
    if first not in _WEEKDAYS or (last or first) not in _WEEKDAYS:
        schema.fail(place, f"'{days}' is no weekday or span of them such as Mon-Fri")
    low, high = _WEEKDAYS.index(first), _WEEKDAYS.index(last or first)
    if low > high:
        schema.fail(place, f"'{days}' runs backwards; the week begins on Monday")
    return sum(1 << weekday for weekday in range(low, high + 1))


def _day_numbers(span: str, place: str) -> range:
    first, _, last = span.partition("..")
    try:
        low = datetime.date.fromisoformat(first)
        high = datetime.date.fromisoformat(last or first)
    except ValueError:
        schema.fail(place, f"'{span}' is no date or span of dates such as 2026-10-01..2026-10-07")
    if low > high:
        schema.fail(place, f"'{span}' runs backwards")
    epoch = datetime.date(1970, 1, 1)
    return range((low - epoch).days, (high - epoch).days + 1)


def _read_long_prompt(table: dict[str, Any], place: str) -> LongPrompt:
    known = ("above", "input_factor", "output_factor", "source", "checked", "note")
    schema.check_keys(table, known, place)
    _read_source(table, place)
    above = schema.count(table, "above", place, 0)
    if above == 0:
        schema.fail(place, "'above' must be a number of tokens of at least 1")
    return LongPrompt(
        above,
        schema.factor(table, "input_factor", place),
        schema.factor(table, "output_factor", place),
    )


def _read_tier(table: dict[str, Any], place: str) -> Tier:
    known = ("service_tier", "factor", "from", "to", "source", "checked", "note")
    schema.check_keys(table, known, place)
    _read_source(table, place)
    return Tier(
        schema.text(table, "service_tier", place),
        schema.factor(table, "factor", place),
        schema.instant_ns(table, "from", place, schema.INT64_MIN),
        schema.instant_ns(table, "to", place, schema.INT64_MAX),
    )


def expand_row(table: dict[str, Any], name: str, tables: Tables, place: str) -> list[Row]:
    """The rows that one row of a file stands for. Raises ConfigError."""
    schema.check_keys(table, _ROW_KEYS, place)
    base = _base_row(table, name, tables, place)
    rows = _split_long(base, table, tables, place)
    return rows + _tier_rows(rows, table, tables, place)


def _base_row(table: dict[str, Any], name: str, tables: Tables, place: str) -> Row:
    source, checked = _read_source(table, place)
    from_ns = schema.instant_ns(table, "from", place, schema.INT64_MIN)
    to_ns = schema.instant_ns(table, "to", place, schema.INT64_MAX)
    if from_ns >= to_ns:
        schema.fail(place, "'to' must be later than 'from'")
    prompt_from = (
        schema.count(table, "prompt_above", place, -1) + 1 if "prompt_above" in table else 0
    )
    prompt_to = schema.INT64_MAX
    if "prompt_up_to" in table:
        prompt_to = schema.count(table, "prompt_up_to", place, 0) + 1
    if prompt_from >= prompt_to:
        schema.fail(place, "'prompt_up_to' must be above 'prompt_above'")
    if "during" in table and "outside" in table:
        schema.fail(place, "a row holds `during` a window or `outside` it, not both")
    inverted = "outside" in table
    key = "outside" if inverted else "during"
    windows = Windows([], [])
    labels = [schema.text(table, "label", place)] if "label" in table else []
    if key in table:
        wanted = schema.text(table, key, place)
        windows = _named(tables.windows, wanted, "windows", place)
        labels.append(f"off-{wanted}" if inverted else wanted)
    if prompt_from:
        labels.append(f"over-{prompt_from - 1}")
    began = table.get("from")
    date = began.isoformat()[:10] if isinstance(began, datetime.date) else checked
    return {
        "version": "/".join([f"{name}@{date}", *labels]),
        "effective_from_ns": from_ns,
        "effective_to_ns": to_ns,
        "windows": windows.hours,
        "excluded_days": windows.excluded_days,
        "windows_inverted": inverted,
        "prompt_from": prompt_from,
        "prompt_to": prompt_to,
        "rates": _rates(table, place),
        "factor": (1, 1),
        "service_tier": "",
        "source": source,
        "checked": checked,
        "note": schema.text(table, "note", place, ""),
    }


def _rates(table: dict[str, Any], place: str) -> dict[str, int]:
    rates: dict[str, int] = {}
    for key, per in _UNITS.items():
        prices = schema.subtable(table, key, place)
        schema.check_keys(prices, schema.BUCKETS, f"{place}, {key}")
        for bucket, price in prices.items():
            if bucket in rates:
                schema.fail(place, f"{bucket} has two prices")
            rates[bucket] = schema.nano_rate(price, per, bucket, place)
    if not rates:
        schema.fail(place, f"a row needs prices: one of {', '.join(_UNITS)}")
    return {bucket: rates[bucket] for bucket in schema.BUCKETS if bucket in rates}


def _split_long(base: Row, table: dict[str, Any], tables: Tables, place: str) -> list[Row]:
    if "long_prompt" not in table:
        return [base]
    tariff = _named(
        tables.long_prompts, schema.text(table, "long_prompt", place), "long_prompts", place
    )
    if base["prompt_from"] or base["prompt_to"] != schema.INT64_MAX:
        schema.fail(
            place, "a row has a `long_prompt` tariff or a prompt range of its own, not both"
        )
    rates = {}
    for bucket, rate in base["rates"].items():
        times = Fraction(1)
        if bucket in schema.INPUT_BUCKETS:
            times = tariff.input_factor
        elif bucket in schema.OUTPUT_BUCKETS:
            times = tariff.output_factor
        scaled = rate * times
        if scaled.denominator != 1 or scaled > schema.INT64_MAX:
            schema.fail(place, f"{bucket} of long prompts is no whole number of nano-dollars")
        rates[bucket] = int(scaled)
    edge = tariff.above + 1
    version = f"{base['version']}/over-{tariff.above}"
    return [
        {**base, "prompt_to": edge},
        {**base, "version": version, "prompt_from": edge, "rates": rates},
    ]


def _tier_rows(rows: list[Row], table: dict[str, Any], tables: Tables, place: str) -> list[Row]:
    made: list[Row] = []
    for wanted in schema.texts(table, "tiers", place):
        tier = _named(tables.tiers, wanted, "tiers", place)
        for row in rows:
            from_ns = max(row["effective_from_ns"], tier.from_ns)
            to_ns = min(row["effective_to_ns"], tier.to_ns)
            if from_ns >= to_ns:
                continue
            made.append(
                {
                    **row,
                    "version": f"{row['version']}/{wanted.replace('_', '-')}",
                    "effective_from_ns": from_ns,
                    "effective_to_ns": to_ns,
                    "factor": (tier.factor.numerator, tier.factor.denominator),
                    "service_tier": tier.service_tier,
                }
            )
    return made


def _named(known: dict[str, _T], name: str, group: str, place: str) -> _T:
    if name not in known:
        schema.check_keys({name: None}, known or ("(none)",), f"{place}, {group}")
    return known[name]
