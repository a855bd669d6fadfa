"""Exports: JSON Lines, CSV, and Arrow as pyarrow, polars and duckdb read it."""

from __future__ import annotations

import csv
import datetime
import gc
import json
from decimal import Decimal
from pathlib import Path
from typing import Any

import pytest

from sluiceway import InvalidRequest
from sluiceway.ledger.export import iso_ns
from tests.python.ledger.conftest import COST, Books


def test_json_lines(books: Books, tmp_path: Path) -> None:
    settle = books.settled()
    path = tmp_path / "out.jsonl"
    assert books.gateway.ledger.export(path) == 2
    head, reserve, end, last = (json.loads(line) for line in path.read_text().splitlines())
    assert head["record"] == "export"
    assert reserve["scopes"] == ["job:1"]
    assert end["amount"] == COST
    assert end["usd"] == "0.000008400"
    assert end["at"] == iso_ns(settle["at_ns"])
    assert end["usage"]["output"] == 16
    assert end["provider_request_id"] == settle["provider_request_id"]
    assert last["entries"] == 2
    assert last["still"] is True
    (scope,) = last["scopes"]
    assert (scope["name"], scope["limit"], scope["settled"]) == ("job:1", 10**9, COST)
    assert list(tmp_path.glob("*.part")) == []


def test_csv(books: Books, tmp_path: Path) -> None:
    books.settled()
    path = tmp_path / "out.csv"
    assert books.gateway.ledger.export(path) == 2
    with open(path, newline="") as file:
        reserve, settle = csv.DictReader(file)
    assert (reserve["kind"], reserve["scopes"], reserve["usage_output"]) == ("reserve", "job:1", "")
    assert (settle["amount"], settle["usd"]) == (str(COST), "0.000008400")
    assert (settle["usage_input"], settle["usage_output"]) == ("4", "16")
    assert (settle["estimated"], settle["reported_cost_nanousd"]) == ("false", "")


def test_a_span_of_time(books: Books, tmp_path: Path) -> None:
    at_ns = books.settled()["at_ns"]
    path = tmp_path / "out.jsonl"
    assert books.gateway.ledger.export(path, to=at_ns // 10**9 - 60) == 0
    assert books.gateway.ledger.export(path, from_=at_ns // 10**9 - 60) == 2
    assert json.loads(path.read_text().splitlines()[0])["from_ns"] == (at_ns // 10**9 - 60) * 10**9


def test_names_that_say_no_format(books: Books, tmp_path: Path) -> None:
    with pytest.raises(InvalidRequest, match="does not name a format"):
        books.gateway.ledger.export(tmp_path / "out")
    with pytest.raises(InvalidRequest, match="no format 'xml'"):
        books.gateway.ledger.export(tmp_path / "out", "xml")
    assert list(tmp_path.glob("out*")) == []


def test_instants_are_exact() -> None:
    assert iso_ns(1_795_305_600_000_000_001) == "2026-11-22T00:00:00.000000001Z"


@pytest.fixture
def table(books: Books) -> Any:
    """Two settled calls and one in doubt, as an Arrow stream."""
    books.settled()
    books.settled()
    books.in_doubt()
    return books.gateway.ledger.arrow()


def test_pyarrow(books: Books, table: Any) -> None:
    pa = pytest.importorskip("pyarrow")
    read = pa.table(table)
    read.validate(full=True)
    assert read.schema.field("at").type == pa.timestamp("ns", "UTC")
    assert read.schema.field("usd").type == pa.decimal128(19, 9)
    assert read.schema.field("amount").type == pa.int64()
    entries = books.gateway.ledger.entries()
    rows = read.drop_columns(["at"]).to_pylist()
    assert len(rows) == len(entries) == 6
    for row, entry in zip(rows, entries, strict=True):
        for name in ("call_id", "kind", "attempts", "model", "scopes", "latency_ns", "overrun"):
            assert row[name] == entry[name]
        assert row["amount"] == entry["amount_nanousd"]
        assert row["usd"] == Decimal(entry["amount_nanousd"]).scaleb(-9)
        used = {k.removeprefix("usage_"): v for k, v in row.items() if k.startswith("usage_")}
        assert {k: v for k, v in used.items() if v is not None} == entry["usage"]
    times = read.column("at").cast(pa.int64()).to_pylist()
    assert times == [entry["at_ns"] for entry in entries]
    assert pa.table(table).num_rows == 6  # a table can be read again


def test_polars(table: Any) -> None:
    pl = pytest.importorskip("polars")
    frame = pl.DataFrame(table)
    settled = frame.filter(pl.col("kind") == "settle")
    assert settled["usd"].sum() == Decimal("0.0000168")
    assert settled["at"].dtype == pl.Datetime("ns", "UTC")
    assert frame["scopes"].to_list()[0] == ["job:1"]


def test_duckdb(table: Any) -> None:
    duckdb = pytest.importorskip("duckdb")
    entries = table
    found = duckdb.sql("SELECT kind, count(*), sum(amount) FROM entries GROUP BY ALL")
    assert entries is table  # found by its name
    kinds = {kind: (count, int(total)) for kind, count, total in found.fetchall()}
    assert kinds["settle"] == (2, 2 * COST)
    assert kinds["reserve"][0] == 3


def test_an_empty_ledger_and_a_capsule_that_nobody_takes(books: Books) -> None:
    pa = pytest.importorskip("pyarrow")
    empty = pa.table(books.gateway.ledger.arrow())
    assert empty.num_rows == 0
    assert "usage_output" in empty.column_names
    capsule = books.gateway.ledger.arrow().__arrow_c_stream__()
    assert type(capsule).__name__ == "PyCapsule"
    del capsule
    gc.collect()


def test_a_stream_after_the_end_of_its_engine_is_an_error(books: Books) -> None:
    pa = pytest.importorskip("pyarrow")
    books.settled()
    reader = pa.RecordBatchReader.from_stream(books.gateway.ledger.arrow())
    books.gateway.close()
    for _ in range(2):
        with pytest.raises(OSError, match="ledger"):
            reader.read_next_batch()


def test_more_than_one_batch(tmp_path: Path) -> None:
    pa = pytest.importorskip("pyarrow")
    from sluiceway import Gateway

    config = {"ledger": {"path": ":memory:", "durability": "memory"}}
    with Gateway(config) as gateway:
        engine = gateway._hub.engine
        scope = engine.open_scope("job", "1", None)
        for _ in range(40_000):
            engine.ledger_book([scope], 5, tags="a=1")
        read = pa.table(gateway.ledger.arrow())
        read.validate(full=True)
        assert read.num_rows == 80_000
        assert [len(chunk) for chunk in read.column("amount").chunks] == [65_536, 14_464]
        assert sum(read.column("amount").to_pylist()) == 400_000
        (row,) = gateway.ledger.report(["tag:a"], tags={"a": "1"})
        assert (row["tag:a"], row.calls, row.cost) == ("1", 40_000, 200_000)


def test_datetime_bounds(books: Books) -> None:
    pa = pytest.importorskip("pyarrow")
    books.settled()
    tomorrow = datetime.datetime.now(datetime.UTC) + datetime.timedelta(days=1)
    assert pa.table(books.gateway.ledger.arrow(from_=tomorrow)).num_rows == 0
