"""One row of a price file into the rows of the core: windows, long prompts, service tiers.

Model: a file's row has its own dates, hours and prompt range. A long-prompt tariff splits it into
"up to n" and "above n" with multiplied rates; each named service tier then repeats those with a
factor. A factor stays a factor of the row, since that is how providers state it (batch at half
price); a tariff's multiples are written out as rates. A row that lists sizes or qualities of an
image is a row for each. Versions are
`provider/model@date[/plan][/size][/quality][/label][/over-n][/tier]`, where the date is the row's
`from`, else `checked`.

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
_SPANS = {"usd_per_minute": 60, "usd_per_hour": 3600}  # seconds in what the list calls a unit
_PROMPTS = ("prompt_above", "prompt_from", "prompt_up_to", "prompt_below")
_ROW_KEYS = (
    *("from", "to", "during", "outside", *_PROMPTS, "long_prompt", "tiers"),
    *("plan", "size", "quality", "label", "source", "checked", "note", *_UNITS, *_SPANS),
)


@dataclass(frozen=True, slots=True)
class Windows:
    """Hours of the UTC week and the days on which they do not hold."""

    hours: list[tuple[int, int, int]]
    excluded_days: list[int]


@dataclass(frozen=True, slots=True)
class LongPrompt:
    """From `edge` prompt tokens on the whole request costs these multiples."""

    edge: int
    label: str
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
    known = ("above", "from", "input_factor", "output_factor", "source", "checked", "note")
    schema.check_keys(table, known, place)
    _read_source(table, place)
    if ("above" in table) is ("from" in table):
        schema.fail(place, "a tariff begins `above` n tokens or `from` n tokens on: state one")
    key = "above" if "above" in table else "from"
    count = schema.count(table, key, place, 0)
    if count == 0:
        schema.fail(place, f"'{key}' must be a number of tokens of at least 1")
    return LongPrompt(
        count + 1 if key == "above" else count,
        f"over-{count}" if key == "above" else f"from-{count}",
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
    made = []
    for size in schema.text_or_texts(table, "size", place):
        for quality in schema.text_or_texts(table, "quality", place):
            base = _base_row(table, name, (size, quality), tables, place)
            rows = _split_long(base, table, tables, place)
            made += rows + _tier_rows(rows, table, tables, place)
    return made


def _base_row(
    table: dict[str, Any], name: str, look: tuple[str, str], tables: Tables, place: str
) -> Row:
    source, checked = _read_source(table, place)
    from_ns = schema.instant_ns(table, "from", place, schema.INT64_MIN)
    to_ns = schema.instant_ns(table, "to", place, schema.INT64_MAX)
    if from_ns >= to_ns:
        schema.fail(place, "'to' must be later than 'from'")
    prompt_from, prompt_to, prompt_label = _prompt_range(table, place)
    if "during" in table and "outside" in table:
        schema.fail(place, "a row holds `during` a window or `outside` it, not both")
    inverted = "outside" in table
    key = "outside" if inverted else "during"
    windows = Windows([], [])
    plan = schema.text(table, "plan", place, "")
    labels = [part for part in (plan, *look) if part]
    if "label" in table:
        labels.append(schema.text(table, "label", place))
    if key in table:
        wanted = schema.text(table, key, place)
        windows = _named(tables.windows, wanted, "windows", place)
        labels.append(f"off-{wanted}" if inverted else wanted)
    if prompt_label:
        labels.append(prompt_label)
    began = table.get("from")
    date = began.isoformat()[:10] if isinstance(began, datetime.date) else checked
    rates, dens = _rates(table, place)
    return {
        "version": "/".join([f"{name}@{date}", *labels]),
        "effective_from_ns": from_ns,
        "effective_to_ns": to_ns,
        "windows": windows.hours,
        "excluded_days": windows.excluded_days,
        "windows_inverted": inverted,
        "prompt_from": prompt_from,
        "prompt_to": prompt_to,
        "rates": rates,
        "rate_dens": dens,
        "factor": (1, 1),
        "service_tier": "",
        "plan": plan,
        "size": look[0],
        "quality": look[1],
        "source": source,
        "checked": checked,
        "note": schema.text(table, "note", place, ""),
    }


def _prompt_range(table: dict[str, Any], place: str) -> tuple[int, int, str]:
    """Half-open, with the label for the version. `above` and `up_to`, `from` and `below`: the
    first pair ends after its number, the second before it."""
    for pair in (("prompt_above", "prompt_from"), ("prompt_up_to", "prompt_below")):
        if all(key in table for key in pair):
            schema.fail(place, f"a row has `{pair[0]}` or `{pair[1]}`, not both")
    low, high, label = 0, schema.INT64_MAX, ""
    if "prompt_above" in table:
        count = schema.count(table, "prompt_above", place, 0)
        low, label = count + 1, f"over-{count}"
    if "prompt_from" in table:
        low = schema.count(table, "prompt_from", place, 0)
        label = f"from-{low}" if low else ""
    if "prompt_up_to" in table:
        high = schema.count(table, "prompt_up_to", place, 0) + 1
    if "prompt_below" in table:
        high = schema.count(table, "prompt_below", place, 0)
    if low >= high:
        schema.fail(place, "the range of prompt tokens is empty")
    return low, high, label


def _rates(table: dict[str, Any], place: str) -> tuple[dict[str, int], dict[str, int]]:
    """Rates by bucket, and what to divide them by where that is not 1: a price for a minute of
    what is counted in seconds is a rate over 60, and stays exact."""
    rates: dict[str, int] = {}
    dens: dict[str, int] = {}
    for key, per in (_UNITS | dict.fromkeys(_SPANS, 1)).items():
        prices = schema.subtable(table, key, place)
        known = ("seconds",) if key in _SPANS else schema.BUCKETS
        schema.check_keys(prices, known, f"{place}, {key}")
        for bucket, price in prices.items():
            if bucket in rates:
                schema.fail(place, f"{bucket} has two prices")
            rate = schema.nano_rate(price, per, bucket, place)
            exact = Fraction(rate, _SPANS.get(key, 1))
            rates[bucket] = exact.numerator
            if exact.denominator != 1:
                dens[bucket] = exact.denominator
    if not rates:
        schema.fail(place, f"a row needs prices: one of {', '.join((*_UNITS, *_SPANS))}")
    return {bucket: rates[bucket] for bucket in schema.BUCKETS if bucket in rates}, dens


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
    version = f"{base['version']}/{tariff.label}"
    return [
        {**base, "prompt_to": tariff.edge},
        {**base, "version": version, "prompt_from": tariff.edge, "rates": rates},
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
