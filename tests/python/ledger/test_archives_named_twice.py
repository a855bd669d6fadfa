"""An archive that is named twice would count twice: refused by file, not by name, and before
anything is read or written."""

from __future__ import annotations

import asyncio
import os
import sqlite3
from collections.abc import Iterator
from decimal import Decimal
from pathlib import Path

import pytest

from sluiceway import Gateway, InvalidRequest, InvalidType
from sluiceway.cli import main


@pytest.fixture
def older(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Gateway]:
    """A gateway in tmp_path whose one booking, of $0.25, is in older.db; one of $0.50 is not."""
    monkeypatch.chdir(tmp_path)
    config = {"ledger": {"path": str(tmp_path / "books.db"), "durability": "process"}}
    with Gateway(config) as gateway:
        gateway.book("render", usd="0.25")
    with sqlite3.connect("books.db") as db:  # tests do not wait for a month to end
        (month,) = db.execute("SELECT segment FROM segments").fetchone()
        db.execute(f"ALTER TABLE entries_{month} RENAME TO entries_202601")
        db.execute("UPDATE segments SET segment = 202601")
    db.close()
    with Gateway(config) as gateway:
        gateway.ledger.archive("older.db", before="2026-02")
        gateway.book("render", usd="0.50")
        yield gateway


def _other_names(folder: Path) -> list[str]:
    """The same file by other paths."""
    os.symlink("older.db", folder / "symbolic.db")
    os.link(folder / "older.db", folder / "hard.db")
    return ["older.db", "./older.db", str(folder / "older.db"), "symbolic.db", "hard.db"]


def test_an_archive_counts_once(older: Gateway, tmp_path: Path) -> None:
    ledger = older.ledger
    (row,) = ledger.report([], archives=["older.db"])
    assert (row.calls, row.usd) == (2, Decimal("0.75"))
    for again in _other_names(tmp_path):
        with pytest.raises(InvalidRequest, match="same file") as caught:
            ledger.report([], archives=["older.db", again])
        assert "'older.db'" in str(caught.value)
        assert repr(again) in str(caught.value)
        with pytest.raises(InvalidRequest, match="same file"):
            asyncio.run(older.aio.ledger.report([], archives=[Path("older.db"), again]))
        with pytest.raises(InvalidRequest, match="same file"):
            ledger.export("out.jsonl", archives=["older.db", again])
    assert not [name for name in os.listdir() if name.startswith("out.jsonl")]
    with pytest.raises(InvalidType, match="list of files"):
        ledger.export("out.jsonl", archives="older.db")
    assert (
        ledger.export("out.jsonl", archives=[Path("older.db")]) == 4
    )  # two bookings, two rows each


def test_the_commands_count_it_once(
    older: Gateway, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    older.close()
    twice = ["--archive", "older.db", "--archive", str(tmp_path / "older.db")]
    for command in (["report"], ["export", "out.jsonl"], ["audit"]):
        assert main(["ledger", *command, "--ledger", "books.db", *twice]) != 0
        assert "same file" in capsys.readouterr().err


def test_what_is_archived_is_in_arrow_and_parquet_too(
    older: Gateway, capsys: pytest.CaptureFixture[str]
) -> None:
    """One booking a half, of two entries each: those of the archive first."""
    pa = pytest.importorskip("pyarrow")
    pq = pytest.importorskip("pyarrow.parquet")
    quarter, half = 250_000_000, 500_000_000
    assert pa.table(older.ledger.arrow()).column("amount").to_pylist() == [half, half]
    both = pa.table(older.ledger.arrow(archives=["older.db"]))
    assert both.column("amount").to_pylist() == [quarter, quarter, half, half]
    same = asyncio.run(older.aio.ledger.arrow(archives=[Path("older.db")]))
    assert pa.table(same).equals(both)
    with pytest.raises(InvalidRequest, match="same file"):
        older.ledger.arrow(archives=["older.db", "./older.db"])
    with pytest.raises(InvalidType, match="list of files"):
        older.ledger.arrow(archives="older.db")
    older.close()
    export = ["ledger", "export", "--ledger", "books.db", "--archive", "older.db"]
    assert main([*export, "x.arrow"]) == 0
    with pa.ipc.open_file("x.arrow") as file:
        assert file.read_all().equals(both)
    assert main([*export, "x.parquet"]) == 0
    assert (
        pq.read_table("x.parquet").column("amount").to_pylist() == both.column("amount").to_pylist()
    )
    capsys.readouterr()
    assert main([*export, "-", "--format", "arrow"]) == 2
    assert "name a file in place of -" in capsys.readouterr().err
    assert not os.path.exists("-")
