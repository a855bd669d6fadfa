"""Traces: what is read, and what is refused with its line and column."""

from __future__ import annotations

import csv
import os
from pathlib import Path

import pytest

from sluiceway.demo.trace import TraceError, parse_trace, read_trace
from sluiceway.errors import InvalidRequest

HEADER = "TIMESTAMP,ContextTokens,GeneratedTokens"


def write(path: Path, data: bytes) -> Path:
    """A file with these bytes."""
    path.write_bytes(data)
    return path


def test_a_file_as_azure_writes_it(tmp_path: Path) -> None:
    data = (
        f"{HEADER}\r\n2023-11-16 18:17:03.9799600,4808,10\r\n2023-11-16 18:17:04.0319601,3180,8\r\n"
    )
    trace = read_trace(write(tmp_path / "t.csv", data.encode()))
    # 04.0319601 - 03.9799600 = 0.0520001 s
    assert list(trace.arrivals_ns) == [0, 52_000_100]
    assert list(trace.context_tokens) == [4808, 3180]
    assert list(trace.generated_tokens) == [10, 8]
    assert trace.name == "t.csv"


@pytest.mark.parametrize(
    "text",
    [
        f"\ufeff{HEADER}\n2023-11-16 00:00:00,1,2\n2023-11-16 00:00:01.5,3,4\n",
        f"{HEADER}\n2023-11-16T00:00:00Z,1,2\n2023-11-16T00:00:01.5Z,3,4",
        "extra,generatedtokens,TIMESTAMP,ContextTokens\n"
        "x,2,2023-11-16 00:00:00,1\nx,4,2023-11-16 00:00:01.500000000,3\n",
        f'{HEADER}\n"2023-11-16 00:00:00","1","2"\n\n"2023-11-16 00:00:01.5", 3 , 4 \n\n',
        f"{HEADER}\n2023-11-16T01:00:00+01:00,1,2\n2023-11-15T23:30:01.5-00:30,3,4\n",
        f"\n{HEADER}\n2023-11-16 00:00:01.5,3,4\n2023-11-16 00:00:00,1,2\n",  # out of order
    ],
    ids=["bom", "iso", "columns", "quotes", "zones", "order"],
)
def test_the_same_two_rows_in_many_hands(tmp_path: Path, text: str) -> None:
    trace = read_trace(write(tmp_path / "t.csv", text.encode()))
    assert list(trace.arrivals_ns) == [0, 1_500_000_000]
    assert list(trace.context_tokens) == [1, 3]
    assert list(trace.generated_tokens) == [2, 4]


@pytest.mark.parametrize(
    ("text", "line", "column"),
    [
        ("", 0, ""),
        (HEADER, 0, ""),
        ("a,b,c\n1,2,3\n", 1, "TIMESTAMP"),
        ("TIMESTAMP,ContextTokens\n", 1, "GeneratedTokens"),
        (f"{HEADER},ContextTokens\n", 1, "ContextTokens"),
        (f"{HEADER}\n2023-11-16 00:00:00,1,2\nyesterday,1,2\n", 3, "TIMESTAMP"),
        (f"{HEADER}\n2023-13-16 00:00:00,1,2\n", 2, "TIMESTAMP"),
        (f"{HEADER}\n2023-11-16 25:00:00,1,2\n", 2, "TIMESTAMP"),
        (f"{HEADER}\n2023-11-16 00:00:00,-1,2\n", 2, "ContextTokens"),
        (f"{HEADER}\n2023-11-16 00:00:00,1.5,2\n", 2, "ContextTokens"),
        (f"{HEADER}\n2023-11-16 00:00:00,1,\n", 2, "GeneratedTokens"),
        (f"{HEADER}\n2023-11-16 00:00:00,1\n", 2, "GeneratedTokens"),
        (f"{HEADER}\n2023-11-16 00:00:00,1,9999999999999\n", 2, "GeneratedTokens"),
        (
            f"{HEADER}\n2023-11-16 00:00:00,1,2\n2023-11-16 00:00:00,1,\u0663\n",
            3,
            "GeneratedTokens",
        ),
        (f'{HEADER}\n"2023-11-16 00:00:00,1,2\n', 2, ""),
    ],
)
def test_a_malformed_file_is_named_by_line_and_column(
    tmp_path: Path, text: str, line: int, column: str
) -> None:
    path = write(tmp_path / "bad.csv", text.encode())
    with pytest.raises(TraceError) as found:
        read_trace(path)
    assert (found.value.line, found.value.column) == (line, column)
    assert str(path) in str(found.value)
    assert isinstance(found.value, InvalidRequest)


def test_bytes_that_are_no_text(tmp_path: Path) -> None:
    for data in (b"\xff\xfe", b"\0", b"2023-11-16 00:00:00,1,\xe9"):
        path = write(tmp_path / "bad.csv", HEADER.encode() + b"\n" + data + b"\n")
        with pytest.raises(TraceError) as found:
            read_trace(path)
        assert found.value.line == 2


def test_a_file_that_is_not_there(tmp_path: Path) -> None:
    with pytest.raises(TraceError, match=r"nothing\.csv: cannot be read"):
        read_trace(tmp_path / "nothing.csv")


def test_the_real_trace() -> None:
    shared = Path(os.environ.get("SLUICEWAY_SHARED", Path(__file__).parents[3] / ".." / "shared"))
    path = shared / "data" / "traces" / "azure2023_code.csv"
    if not path.is_file():
        pytest.skip(f"{path} is not there (set SLUICEWAY_SHARED)")
    trace = read_trace(path)
    with open(path, newline="", encoding="ascii") as file:
        rows = list(csv.DictReader(file))
    assert len(trace) == len(rows)
    assert list(trace.context_tokens) == [int(row["ContextTokens"]) for row in rows]
    # 18:17:03.97996 to 19:14:19.928016, read off the first and the last row
    assert trace.arrivals_ns[-1] == 3_435_948_056_000


def test_lines_of_text_are_enough() -> None:
    assert len(parse_trace([HEADER, "2023-11-16 00:00:00,1,2"])) == 1
