"""Reading one price file strictly: known keys, right types, exact decimals.

Model: every reader takes a table, the key and a place ("openai.toml: gpt-6-luna, row 1") that the
error names. A price is a decimal string in dollars, never a TOML float; a factor is "1/2", "2" or
"1.75". An unknown key is an error that names the nearest known one, so that a misspelt `to` cannot
make a row hold for ever. Bounds: one file in memory. Threads: pure functions.

Example: `nano_rate("0.0375", per=1_000_000, bucket="input", place="...")` is 37,500,000: nano-
dollars per million units, 37.5 a token.
"""

from __future__ import annotations

import calendar
import datetime
import difflib
import re
import tomllib
from collections.abc import Collection, Mapping
from decimal import Context, Decimal, Inexact
from fractions import Fraction
from pathlib import Path
from typing import Any, NoReturn

from sluiceway.errors import ConfigError

INT64_MIN = -(2**63)
INT64_MAX = 2**63 - 1
NANO_PER_USD = 1_000_000_000
UNITS_PER_RATE = 1_000_000

# The core's buckets (src/cpp/base/usage.h), in its order; a test compares the two lists.
BUCKETS = (
    "input",
    "cache_read",
    "cache_write_5m",
    "cache_write_1h",
    "output",
    "reasoning",
    "audio_input",
    "audio_output",
    "image_input",
    "image_output",
    "characters",
    "images",
    "megapixels",
    "seconds",
    "searches",
    "requests",
    "credits",
    "quota_units",
)
INPUT_BUCKETS = frozenset(
    {"input", "cache_read", "cache_write_5m", "cache_write_1h", "audio_input", "image_input"}
)
OUTPUT_BUCKETS = frozenset({"output", "reasoning", "audio_output", "image_output"})
# Counted in thousandths of what the price list calls a unit.
THOUSANDTHS = frozenset({"megapixels", "seconds", "credits"})
TOKEN_BUCKETS = INPUT_BUCKETS | OUTPUT_BUCKETS
# What a tier's factor leaves alone, as the core does (takes_factor in cost/price_book.h).
FACTORLESS = frozenset({"searches", "requests"})

_DECIMAL = re.compile(r"\d{1,12}(\.\d{1,18})?")
_FACTOR = re.compile(r"\d{1,6}(/[1-9]\d{0,5}|\.\d{1,6})?")
_EXACT = Context(prec=60, traps=[Inexact])


def fail(place: str, problem: str) -> NoReturn:
    """Raise the error that every reader here raises."""
    raise ConfigError(f"{place}: {problem}")


def read_file(path: Path) -> dict[str, Any]:
    """One file as plain tables. ConfigError: missing, not UTF-8, not TOML, or with a float."""

    def no_float(text: str) -> NoReturn:
        fail(path.name, f'{text} is a float; write it as a string, "{text}", so that it is exact')

    try:
        return tomllib.loads(path.read_text(encoding="utf-8"), parse_float=no_float)
    except OSError as error:
        fail(str(path), f"the price file cannot be read: {error.strerror or error}")
    except (UnicodeDecodeError, tomllib.TOMLDecodeError) as error:
        fail(path.name, f"not a valid TOML file: {error}")
    except ValueError as error:  # a NUL or a lone surrogate in the path
        fail(ascii(str(path)), f"the price file cannot be read: {error}")


def check_keys(table: Mapping[str, Any], known: Collection[str], place: str) -> None:
    """ConfigError for a key that is not known, naming the nearest that is."""
    for key in table:
        if key not in known:
            near = difflib.get_close_matches(key, list(known), n=1, cutoff=0.0)
            fail(place, f"unknown key '{key}'; the nearest known one is '{near[0]}'")


def text(table: Mapping[str, Any], key: str, place: str, default: str | None = None) -> str:
    """A string that is not empty; `default` where the key is absent and a default is given."""
    value = table.get(key, default)
    if value is None:
        fail(place, f"'{key}' is missing")
    if not isinstance(value, str) or (not value and key in table):
        fail(place, f"'{key}' must be a string that is not empty, not {value!r}")
    return value


def texts(table: Mapping[str, Any], key: str, place: str) -> list[str]:
    """A list of different, non-empty strings; empty where the key is absent."""
    value = table.get(key, [])
    if not isinstance(value, list) or not all(isinstance(item, str) and item for item in value):
        fail(place, f"'{key}' must be a list of strings")
    if len(set(value)) != len(value):
        fail(place, f"'{key}' names something twice")
    return value


def tables(table: Mapping[str, Any], key: str, place: str) -> list[dict[str, Any]]:
    """A list of tables that is not empty."""
    value = table.get(key)
    if not isinstance(value, list) or not value or not all(isinstance(i, dict) for i in value):
        fail(place, f"'{key}' must be a list of tables with at least one")
    return value


def subtable(table: Mapping[str, Any], key: str, place: str) -> dict[str, Any]:
    """A table; empty where the key is absent."""
    value = table.get(key, {})
    if not isinstance(value, dict):
        fail(place, f"'{key}' must be a table")
    return value


def count(table: Mapping[str, Any], key: str, place: str, default: int) -> int:
    """A whole number from 0 to 2**62."""
    value = table.get(key, default)
    if not isinstance(value, int) or isinstance(value, bool) or not 0 <= value <= 2**62:
        fail(place, f"'{key}' must be a whole number of at least 0, not {value!r}")
    return value


def day(table: Mapping[str, Any], key: str, place: str) -> str:
    """A date, as "2026-11-22"; "" where the key is absent."""
    value = table.get(key)
    if value is None:
        return ""
    if not isinstance(value, datetime.date) or isinstance(value, datetime.datetime):
        fail(place, f"'{key}' must be a date such as 2026-11-22 (without quotes), not {value!r}")
    return value.isoformat()


def instant_ns(table: Mapping[str, Any], key: str, place: str, default: int) -> int:
    """Unix nanoseconds of a date (its first instant in UTC) or of a time with an offset."""
    value = table.get(key)
    if value is None:
        return default
    if isinstance(value, datetime.datetime):
        if value.tzinfo is None or value.microsecond:
            fail(place, f"'{key}' must carry an offset and whole seconds: 2026-08-16T16:00:00Z")
        return calendar.timegm(value.utctimetuple()) * NANO_PER_USD
    if isinstance(value, datetime.date):
        return calendar.timegm(value.timetuple()) * NANO_PER_USD
    fail(place, f"'{key}' must be a date or a time with an offset (without quotes), not {value!r}")


def second_of_day(value: Any, place: str) -> int:
    """Seconds since midnight of "HH:MM" or "HH:MM:SS"; "24:00" is the day's end."""
    match = re.fullmatch(r"(\d\d):(\d\d)(?::(\d\d))?", value) if isinstance(value, str) else None
    if match is None:
        fail(place, f'a time of day is written "01:00", not {value!r}')
    hours, minutes, seconds = (int(part or 0) for part in match.groups())
    total = hours * 3600 + minutes * 60 + seconds
    if minutes > 59 or seconds > 59 or total > 86_400:
        fail(place, f"{value!r} is no time of day")
    return total


def factor(table: Mapping[str, Any], key: str, place: str) -> Fraction:
    """A factor of at least 0: "1/2", "2" or "1.75"."""
    value = text(table, key, place)
    if not _FACTOR.fullmatch(value):
        fail(place, f'\'{key}\' must be a string such as "1/2", "2" or "1.75", not {value!r}')
    return Fraction(value)


def text_or_texts(table: Mapping[str, Any], key: str, place: str) -> list[str]:
    """One string or a list of different ones, as a list; [""] where the key is absent."""
    if key not in table:
        return [""]
    if isinstance(table[key], str):
        return [text(table, key, place)]
    return texts(table, key, place) or fail(place, f"'{key}' must not be empty")


def nano_rate(value: Any, per: int, bucket: str, place: str) -> int:
    """Nano-dollars per 1,000,000 counted units, from dollars per `per` units of the price list."""
    if not isinstance(value, str) or not _DECIMAL.fullmatch(value):
        fail(place, f'the price of {bucket} must be a decimal string such as "0.15", not {value!r}')
    scaled = _EXACT.multiply(Decimal(value), Decimal(NANO_PER_USD * UNITS_PER_RATE))
    divisor = per * (1000 if bucket in THOUSANDTHS else 1)
    rate, rest = _EXACT.divmod(scaled, Decimal(divisor))
    if rest != 0 or rate > INT64_MAX:
        fail(place, f"the price of {bucket}, {value}, is no whole number of nano-dollars a million")
    return int(rate)
