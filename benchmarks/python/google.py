"""Runs the Google Benchmark programs of benchmarks/cpp and reads their JSON.

Each program runs once a session, pinned to the first core, with repetitions, and its raw JSON stays
in build/bench/<program>.json. A figure is the median of the repetitions.

    rows_of(bench, "limits_bench")["acquire_four"]["cpu_time"]       # nanoseconds
"""

from __future__ import annotations

import json
import statistics
import subprocess
from collections import defaultdict
from collections.abc import Mapping
from typing import Any

import pytest

from benchmarks.python.harness import OUT, RUN_TIMEOUT_S, Bench

Figures = Mapping[str, Mapping[str, float]]
_NS = {"ns": 1.0, "us": 1e3, "ms": 1e6, "s": 1e9}


def rows_of(bench: Bench, program: str, only: str = ".", repetitions: int = 0) -> Figures:
    """Benchmark name -> times in nanoseconds and counters. Skips where it is not built."""
    path = bench.program(program)
    if path is None:
        pytest.skip(f"{program} is not in {bench.cpp}; build it with `make bench`")
    out = OUT / f"{program}.json"
    # The ledger's files belong on the disk of the checkout.
    command = [
        str(path),
        f"--benchmark_filter={only}",
        f"--benchmark_repetitions={repetitions or bench.round_count}",
        f"--benchmark_out={out}",
        "--benchmark_out_format=json",
    ]
    done = subprocess.run(
        command,
        capture_output=True,
        text=True,
        timeout=RUN_TIMEOUT_S,
        check=False,
        cwd=bench.scratch,
        env={"TMPDIR": str(bench.scratch), "PATH": "/usr/bin:/bin"},
    )
    assert done.returncode == 0, f"{program}: {done.stderr[-2000:]}"
    return _medians(json.loads(out.read_text())["benchmarks"])


def _medians(entries: list[dict[str, Any]]) -> Figures:
    values: dict[str, dict[str, list[float]]] = defaultdict(lambda: defaultdict(list))
    for entry in entries:
        if entry.get("run_type") == "aggregate":
            continue
        assert not entry.get("error_occurred"), f"{entry['name']}: {entry.get('error_message')}"
        for key, value in entry.items():
            if isinstance(value, int | float) and not isinstance(value, bool):
                scale = _NS[entry["time_unit"]] if key in ("real_time", "cpu_time") else 1.0
                values[entry["run_name"]][key].append(value * scale)
    return {
        name: {key: statistics.median(found) for key, found in figures.items()}
        for name, figures in values.items()
    }
