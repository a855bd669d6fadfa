"""The job end to end, small: a process of a simulator, real files, a seed."""

from __future__ import annotations

import json
import re
import sqlite3
import sys
from pathlib import Path
from typing import Any

import pytest

from sluiceway import simulator
from sluiceway.demo.run import Options, run_demo
from sluiceway.demo.trace import TraceError
from sluiceway.errors import InvalidRequest

SEED = 11


@pytest.fixture(scope="module")
def finished(tmp_path_factory: pytest.TempPathFactory) -> tuple[int, Path]:
    """One run of 300 calls: its exit status and its folder."""
    out = tmp_path_factory.mktemp("demo")
    (out / "kept.txt").write_text("not ours")
    (out / "ledger.db").write_text("of an earlier run")
    print(f"seed {SEED}")
    return run_demo(Options(seed=SEED, calls=300, out=out)), out


def result_of(out: Path) -> dict[str, Any]:
    """result.json."""
    found: dict[str, Any] = json.loads((out / "result.json").read_text())
    return found


def test_the_books_agree(finished: tuple[int, Path]) -> None:
    status, out = finished
    result = result_of(out)
    assert status == 0, result["problems"]
    assert result["calls"] == 300
    assert result["seed"] == SEED
    assert result["overshoot_nanousd"] == 0
    assert result["executions_per_attempt_max"] == 1
    assert result["ledger_nanousd"] > 0
    assert sum(result["outcomes"].values()) == 300
    low, high = result["ledger_nanousd"], result["ledger_nanousd"] + result["in_doubt_nanousd"]
    assert low <= result["provider_nanousd"] <= high
    assert result["completed"] > 150
    assert result["streamed"] > 0


def test_the_files_say_the_same_by_other_means(finished: tuple[int, Path]) -> None:
    _, out = finished
    result = result_of(out)
    lines = [json.loads(line) for line in (out / "provider.jsonl").read_text().splitlines()]
    assert sum(line["billed_nanousd"] for line in lines) == result["provider_nanousd"]
    # The gateway has closed the ledger; now another SQLite may look at it.
    connection = sqlite3.connect(f"file:{out / 'ledger.db'}?mode=ro", uri=True)
    assert connection.execute("PRAGMA integrity_check").fetchone() == ("ok",)
    connection.close()
    assert (out / "kept.txt").read_text() == "not ours"


def test_the_page_stands_alone(finished: tuple[int, Path]) -> None:
    _, out = finished
    html = (out / "report.html").read_text(encoding="utf-8")
    assert "The books agree and nothing overshot." in html
    assert "<script" not in html
    loaded = re.findall(r'(?:src|srcset|href)="([^"]{0,40})', html)
    assert all(address.startswith("data:") for address in loaded)
    assert "prefers-color-scheme: dark" in html
    assert "ISCA" in html  # the figures' attribution


def test_the_picture_can_be_drawn_without_matplotlib(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(sys.modules, "matplotlib", None)
    status = run_demo(Options(seed=SEED, calls=20, out=tmp_path))
    assert status == 0
    assert (tmp_path / "report.svg").read_text().startswith("<svg")
    assert not (tmp_path / "report.png").exists()
    assert "<svg" in (tmp_path / "report.html").read_text()


@pytest.mark.parametrize("calls", [0, -5, 10_000_000])
def test_nothing_starts_on_a_bad_number(calls: int, tmp_path: Path) -> None:
    with pytest.raises(InvalidRequest, match="--calls"):
        run_demo(Options(calls=calls, out=tmp_path / "out"))
    assert not (tmp_path / "out").exists()


def test_nothing_starts_on_a_malformed_trace(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail(*_: object, **__: object) -> None:
        raise AssertionError("the simulator was started")

    monkeypatch.setattr(simulator, "spawn", fail)
    trace = tmp_path / "bad.csv"
    trace.write_text("TIMESTAMP,ContextTokens,GeneratedTokens\n2023-11-16 00:00:00,many,2\n")
    with pytest.raises(TraceError, match="line 2, column ContextTokens"):
        run_demo(Options(trace=trace, out=tmp_path / "out"))
    with pytest.raises(TraceError, match="is a folder"):
        run_demo(Options(trace=tmp_path, out=tmp_path / "out"))
    assert not (tmp_path / "out").exists()


def test_the_user_s_environment_stays_outside(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("SLUICEWAY_OPENAI_BASE_URL", "http://127.0.0.1:9")
    monkeypatch.setenv("SLUICEWAY_LEDGER", str(tmp_path / "mine.db"))
    monkeypatch.setenv("OPENAI_API_KEY", "fake-key-of-a-test")
    assert run_demo(Options(seed=2, calls=20, out=tmp_path / "out")) == 0
    assert not (tmp_path / "mine.db").exists()
    assert result_of(tmp_path / "out")["completed"] > 0
