"""Collects the rows of `make bench`; writes build/bench/summary.json, table.md, benchmarks.png.

    make bench                                  all rows, 5 rounds
    pytest benchmarks --quick                   all rows, 1 round, a tenth of the calls: a smoke run
    pytest benchmarks -k engine                 the summary then holds these rows alone

The summary is a run's: rows of earlier runs are not kept, because ratios compare only within one
run. It is replaced in one step when the run has ended, also when a benchmark has failed.
"""

from __future__ import annotations

import os
import platform
from collections.abc import Iterator

import pytest

from benchmarks.python import picture
from benchmarks.python.harness import OUT, Bench
from benchmarks.python.rows import Rows, replace

_ROWS = pytest.StashKey[Rows]()
_BENCH = pytest.StashKey[Bench]()
QUICK_FACTOR = 0.1


def pytest_addoption(parser: pytest.Parser) -> None:
    """--quick."""
    parser.addoption("--quick", action="store_true", help="one round, a tenth of the calls")


def pytest_configure(config: pytest.Config) -> None:
    """Makes the table that the tests fill."""
    config.stash[_ROWS] = Rows()


@pytest.fixture(scope="session")
def rows(pytestconfig: pytest.Config) -> Rows:
    """Where a benchmark puts its rows."""
    return pytestconfig.stash[_ROWS]


@pytest.fixture(scope="session")
def bench(pytestconfig: pytest.Config) -> Iterator[Bench]:
    """The machine and the compiled programs."""
    quick = bool(pytestconfig.getoption("quick"))
    rounds = int(os.environ.get("SLUICEWAY_BENCH_ROUNDS", "1" if quick else "5"))
    factor = float(os.environ.get("SLUICEWAY_BENCH_CALLS", QUICK_FACTOR if quick else 1.0))
    made = pytestconfig.stash[_BENCH] = Bench(rounds, factor)
    yield made
    made.close()


def pytest_sessionfinish(session: pytest.Session) -> None:
    """Writes the files."""
    rows = session.config.stash[_ROWS]
    if rows.by_metric:
        rows.write(OUT / "summary.json")
        replace(OUT / "table.md", _machine(session.config) + "\n" + rows.table())
        picture.paint(picture.bars(rows.by_metric), OUT / "benchmarks.png")


def pytest_terminal_summary(
    terminalreporter: pytest.TerminalReporter, config: pytest.Config
) -> None:
    """Prints the table."""
    rows = config.stash[_ROWS]
    if rows.by_metric:
        terminalreporter.section("benchmark rows")
        terminalreporter.write_line(_machine(config))
        terminalreporter.write_line(rows.table())


def _machine(config: pytest.Config) -> str:
    """What the figures were taken on; a warning when they mean little."""
    from sluiceway import _core

    made = config.stash.get(_BENCH, None)
    cores = len(os.sched_getaffinity(0))
    core = _core.core_versions()
    text = (
        f"{cores} cores, {platform.system()} {platform.release()}, CPython"
        f" {platform.python_version()}, {core['libcurl'].split()[0]}, compiler {core['compiler']};"
        f" load {os.getloadavg()[0]:.1f}"
    )
    if made is not None:
        others = ", ".join(f"{name} {version}" for name, version in sorted(made.versions.items()))
        text += f"; {made.round_count} rounds" + (f"; {others}" if others else "")
    for name, why in sorted(made.absent.items()) if made is not None else ():
        text += f"\nNo row against {name}: {why}"
    if cores == 1:
        text += "\nONE CORE: client and server shared it; the engine's rows compare with nothing."
    return text + "\n"
