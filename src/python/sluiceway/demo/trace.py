"""Traces of a production service: when calls came, how long prompts and answers were.

Model: a CSV with the columns TIMESTAMP, ContextTokens, GeneratedTokens, as the public Azure traces
have them. A timestamp has a date and a time with any number of fractional digits, with a blank or a
T between, with or without a zone (without one: UTC). Line ends, a byte order mark, quotes, the case
and the order of columns and further columns do not matter. Rows may be in any order; they are
sorted by time. The first row that cannot be read ends it with a `TraceError` that names the file,
the line and the column, before anything is started.

Bounds: at most ROWS_MAX rows, 24 bytes a row; linear in the file but for the sort. Pure functions,
any thread; only `read_trace` opens a file.

    trace = read_trace("azure2023_code.csv")
    trace.arrivals_ns[0], trace.context_tokens[0]      # 0 and the first row's count

Source of the format: Azure/AzurePublicDataset, AzureLLMInferenceDataset2023.md, read 2026-11-22.
"""

from __future__ import annotations

import csv
import datetime
import os
import re
from array import array
from collections.abc import Iterable, Iterator
from dataclasses import dataclass

from sluiceway.errors import InvalidRequest

COLUMNS = ("TIMESTAMP", "ContextTokens", "GeneratedTokens")
ROWS_MAX = 2_000_000
TOKENS_MAX = 10**9
_NS = 1_000_000_000
_TIME = re.compile(
    r"(\d{4})-(\d{2})-(\d{2})[T ](\d{2}):(\d{2}):(\d{2})(?:[.,](\d{1,18}))?"
    r"\s*(?:(Z)|([+-])(\d{2}):?(\d{2}))?",
    re.ASCII,
)


class TraceError(InvalidRequest):
    """A trace that cannot be read: `path`, `line` (from 1; 0: the whole file) and `column`."""

    def __init__(self, path: str, line: int, column: str, what: str) -> None:
        where = path + (f", line {line}" if line else "") + (f", column {column}" if column else "")
        super().__init__(f"{where}: {what}")
        self.path = path
        self.line = line
        self.column = column


@dataclass(frozen=True, slots=True)
class Trace:
    """Rows in the order of time. Arrivals are nanoseconds after the first row."""

    name: str
    arrivals_ns: array[int]
    context_tokens: array[int]
    generated_tokens: array[int]

    def __len__(self) -> int:
        return len(self.arrivals_ns)


def read_trace(path: str | os.PathLike[str]) -> Trace:
    """Reads a file. TraceError for one that is missing, empty or malformed."""
    name = os.fspath(path)
    try:
        # Decoded here, so that a byte that is not UTF-8 has a line.
        with open(name, "rb") as file:
            return parse_trace(_decoded(file, name), name)
    except OSError as error:
        reason = error.strerror or str(error)
        raise TraceError(name, 0, "", f"cannot be read: {reason}") from error


def parse_trace(lines: Iterable[str], path: str = "trace") -> Trace:
    """A trace from lines of text; `path` is what messages call it."""
    rows = csv.reader(lines, strict=True, skipinitialspace=True)
    times: list[int] = []
    context = array("q")
    generated = array("q")
    try:
        header = next((row for row in rows if any(cell.strip() for cell in row)), None)
        if header is None:
            raise TraceError(path, 0, "", f"is empty; the first line must be {','.join(COLUMNS)}")
        places = _places(header, path, rows.line_num)
        for row in rows:
            if not row or (len(row) == 1 and not row[0].strip()):
                continue
            if len(times) >= ROWS_MAX:
                what = f"has more than {ROWS_MAX:,} rows; cut it, for instance with head"
                raise TraceError(path, rows.line_num, "", what)
            cells = [_cell(row, places, index, path, rows.line_num) for index in range(3)]
            times.append(_time_ns(cells[0], path, rows.line_num))
            context.append(_count(cells[1], path, rows.line_num, COLUMNS[1]))
            generated.append(_count(cells[2], path, rows.line_num, COLUMNS[2]))
    except csv.Error as error:
        raise TraceError(path, rows.line_num, "", f"is not CSV: {error}") from None
    if not times:
        raise TraceError(path, 0, "", "has a header and no rows")
    return _sorted(os.path.basename(path), times, context, generated)


def _decoded(lines: Iterable[bytes], path: str) -> Iterator[str]:
    for number, line in enumerate(lines, 1):
        try:
            text = line.decode("utf-8-sig" if number == 1 else "utf-8")
        except UnicodeDecodeError:
            raise TraceError(path, number, "", "is not UTF-8 text") from None
        if "\0" in text:
            raise TraceError(path, number, "", "holds a NUL byte; this is not a CSV file")
        yield text


def _places(header: list[str], path: str, line: int) -> tuple[int, int, int]:
    """Where the three columns stand."""
    names = [cell.strip().lstrip("\ufeff").lower() for cell in header]
    for column in COLUMNS:
        found = names.count(column.lower())
        if found != 1:
            what = "is missing" if found == 0 else "stands there twice"
            seen = ", ".join(cell.strip() or "(blank)" for cell in header)[:120]
            raise TraceError(
                path,
                line,
                column,
                f"{what} in the header; needed: {','.join(COLUMNS)}; found: {seen}",
            )
    first, second, third = (names.index(column.lower()) for column in COLUMNS)
    return first, second, third


def _cell(row: list[str], places: tuple[int, int, int], index: int, path: str, line: int) -> str:
    place = places[index]
    if place >= len(row) or not row[place].strip():
        raise TraceError(path, line, COLUMNS[index], "is missing")
    return row[place].strip()


def _count(text: str, path: str, line: int, column: str) -> int:
    if not (text.isascii() and text.isdigit()) or len(text) > 12 or int(text) > TOKENS_MAX:
        what = f"{text[:40]!r} is not a whole number of tokens from 0 to {TOKENS_MAX:,}"
        raise TraceError(path, line, column, what)
    return int(text)


def _time_ns(text: str, path: str, line: int) -> int:
    """Nanoseconds since 1970, exact; digits below a nanosecond are dropped."""
    match = _TIME.fullmatch(text)
    try:
        if match is None:
            raise ValueError
        year, month, day, hour, minute, second = (int(part) for part in match.groups()[:6])
        at = datetime.datetime(year, month, day, hour, minute, min(second, 59), tzinfo=datetime.UTC)
        if second > 60:
            raise ValueError
    except ValueError:
        what = f"{text[:40]!r} is not a time such as 2023-11-16 18:17:03.9799600"
        raise TraceError(path, line, COLUMNS[0], what) from None
    seconds = (at - datetime.datetime(1970, 1, 1, tzinfo=datetime.UTC)) // datetime.timedelta(
        seconds=1
    )
    fraction, sign, hours, minutes = match[7], match[9], match[10], match[11]
    if sign:
        offset_s = int(hours) * 3600 + int(minutes) * 60
        seconds -= offset_s if sign == "+" else -offset_s
    return (seconds + second - min(second, 59)) * _NS + int((fraction or "0")[:9].ljust(9, "0"))


def _sorted(name: str, times: list[int], context: array[int], generated: array[int]) -> Trace:
    order = sorted(range(len(times)), key=times.__getitem__)
    start = times[order[0]]
    return Trace(
        name,
        array("q", (times[index] - start for index in order)),
        array("q", (context[index] for index in order)),
        array("q", (generated[index] for index in order)),
    )
