"""The rows of build/bench/summary.json, where they should be in the end, and the table of them.

Model: a metric is "<room>.<what>"; a row is `{value, unit, versus, ratio}`. `value` is our figure
in `unit`. `versus` names what the ratio is taken against, measured in the same run; both are null
for an absolute metric. Whether more or less is better is `GOALS`' to say. A goal that is missed is
printed and fails nothing. Bounds: some hundred rows.

    rows.add("engine.cpu_vs_floor", 41.2, "us/call", versus="curl_floor, 64 in flight", ratio=1.31)

The goals and what they mean: benchmarks/README.md.
"""

from __future__ import annotations

import json
import os
from collections.abc import Mapping
from pathlib import Path
from typing import NamedTuple


class Row(NamedTuple):
    """One metric. `ratio` is None where nothing is compared."""

    value: float
    unit: str
    versus: str | None
    ratio: float | None


class Goal(NamedTuple):
    """Where a metric should be: its ratio (or its value where it has none) at most or at least."""

    at_most: float | None = None
    at_least: float | None = None
    of_value: bool = False

    def holds(self, row: Row) -> bool:
        """Whether the row is there."""
        figure = row.value if self.of_value or row.ratio is None else row.ratio
        above = self.at_most is None or figure <= self.at_most
        return above and (self.at_least is None or figure >= self.at_least)

    def __str__(self) -> str:
        if self.at_most is not None:
            return f"<= {self.at_most:,.12g}"
        return f">= {self.at_least:,.12g}"


GOALS: Mapping[str, Goal] = {
    "engine.cpu_vs_floor": Goal(at_most=1.5),
    "engine.cpu_off_vs_floor": Goal(at_most=1.15),
    "engine.cpu_sync_vs_floor": Goal(at_most=1.8),
    "engine.throughput_vs_aiohttp": Goal(at_least=3.5),
    "engine.throughput_vs_httpx2": Goal(at_least=22),
    "engine.throughput_vs_openai_sdk": Goal(at_least=60),
    "engine.throughput_vs_litellm": Goal(at_least=130),
    "engine.throughput_vs_pyreqwest": Goal(at_least=2),
    "engine.throughput_off_vs_aiohttp": Goal(at_least=4.5),
    "engine.throughput_off_vs_pyreqwest": Goal(at_least=2.7),
    "engine.submit_many_vs_pycurl": Goal(at_least=1),
    "engine.submit_many_off_vs_pycurl": Goal(at_least=1),
    "engine.latency_added_p50_us": Goal(at_most=40, of_value=True),
    "engine.latency_durable_vs_allowed": Goal(at_most=1),
    "engine.cpu_10000_in_flight_vs_16": Goal(at_most=1.3),
    "engine.cpu_million_rows_vs_empty": Goal(at_most=1.3),
    "engine.deadline_late_p99_ms": Goal(at_most=20, of_value=True),
    "stream.cpu_1000": Goal(at_most=25, of_value=True),
    "stream.decode_vs_orjson": Goal(at_least=1.5),
    "stream.decode_vs_openai_sdk": Goal(at_least=60),
    "limits.acquire_ns": Goal(at_most=50, of_value=True),
    "limits.acquire_python_ns": Goal(at_most=250, of_value=True),
    "limits.window_most": Goal(at_most=1, of_value=True),
    "limits.half_open_admitted": Goal(at_most=1, of_value=True),
    "cache.key_vs_stdlib": Goal(at_least=6),
    "cache.key_vs_orjson": Goal(at_least=0.8),
    "cache.key_100kb_vs_orjson": Goal(at_least=0.8),
    "cache.key_100kb_vs_sha256": Goal(at_least=0.9),
    "parse.usage_vs_json": Goal(at_least=8),
    "parse.usage_vs_msgspec": Goal(at_least=1.2),
    "ledger.lone_wait_vs_fsync": Goal(at_most=1.5),
    "ledger.flat_1m_rows": Goal(at_most=1.3),
    "ledger.rows_vs_sqlite": Goal(at_least=0.5),
    "ledger.rows_vs_sqlite_3_processes": Goal(at_least=0.5),
    "ledger.three_processes_spread": Goal(at_most=2, of_value=True),
    "ledger.durable_calls_per_s": Goal(at_least=60_000, of_value=True),
    "money.overshoot_nanousd": Goal(at_most=0, of_value=True),
    "money.usable_share": Goal(at_least=0.95, of_value=True),
    "ledger.report_1m_s": Goal(at_most=1, of_value=True),
    "cost.rollup_per_s": Goal(at_least=10_000_000, of_value=True),
    "import.ms": Goal(at_most=50, of_value=True),
}


class Rows:
    """Collects the rows of one run of pytest."""

    def __init__(self) -> None:
        self.by_metric: dict[str, Row] = {}

    def add(
        self,
        metric: str,
        value: float,
        unit: str,
        *,
        versus: str | None = None,
        ratio: float | None = None,
    ) -> None:
        """Adds a row; a metric stands once in a run."""
        assert metric not in self.by_metric, f"{metric} was measured twice"
        assert (versus is None) == (ratio is None), f"{metric}: a ratio names what it is against"
        self.by_metric[metric] = Row(
            _short(value), unit, versus, None if ratio is None else _short(ratio)
        )

    def write(self, path: Path) -> None:
        """Writes the summary so that a reader sees the old file or the whole new one."""
        text = json.dumps({name: row._asdict() for name, row in self._sorted()}, indent=1)
        replace(path, text + "\n")

    def table(self) -> str:
        """A table in Markdown, with the goals."""
        lines = ["| metric | value | against | ratio | goal | |", "|---|---|---|---|---|---|"]
        for name, row in self._sorted():
            goal = GOALS.get(name)
            word = "" if goal is None else "yes" if goal.holds(row) else "**no**"
            share = "" if row.ratio is None else f"{row.ratio:g}"
            lines.append(
                f"| `{name}` | {row.value:g} {row.unit} | {row.versus or ''} | {share} |"
                f" {goal or ''} | {word} |"
            )
        return "\n".join(lines) + "\n"

    def _sorted(self) -> list[tuple[str, Row]]:
        return sorted(self.by_metric.items())


def _short(figure: float) -> float:
    """Four significant digits: the next ones are noise."""
    return float(f"{figure:.4g}")


def replace(path: Path, text: str) -> None:
    """Writes a file in one step."""
    path.parent.mkdir(parents=True, exist_ok=True)
    beside = path.with_suffix(path.suffix + f".{os.getpid()}")
    beside.write_text(text)
    os.replace(beside, path)
