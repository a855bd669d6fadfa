"""How late deadlines are, at 1,000 in flight. That none is early is held here too."""

from __future__ import annotations

import json
import os
import statistics
import subprocess
import sys
from typing import Any

import pytest

from benchmarks.python.harness import ROOT, RUN_TIMEOUT_S, Bench
from benchmarks.python.rows import Rows

pytestmark = pytest.mark.informational

IN_FLIGHT = 1_000
CALLS = 5_000
NEVER_MS = str(10 * 60 * 1000)


def test_deadlines(bench: Bench, rows: Rows) -> None:
    """The p99 of what a coroutine sees, with the client on one core and the server on the other."""
    command = [sys.executable, "-m", "benchmarks.python.clients.deadlines_client"]
    calls = max(bench.calls(CALLS), 2 * IN_FLIGHT)  # the first call of each place does not count
    command += ["--calls", str(calls), "--in-flight", str(IN_FLIGHT)]
    got: list[dict[str, Any]] = []
    before = os.sched_getaffinity(0)
    with bench.server("--events", "1000000", "--interval-ms", NEVER_MS) as origin:
        for _ in range(bench.round_count):
            os.sched_setaffinity(0, {bench.cores[0]})
            try:
                done = subprocess.run(
                    [*command, "--url", f"{origin}/stream/v1"],
                    capture_output=True,
                    text=True,
                    cwd=ROOT,
                    timeout=RUN_TIMEOUT_S,
                    check=False,
                )
            finally:
                os.sched_setaffinity(0, before)
            assert done.returncode == 0, done.stderr[-2000:]
            got.append(json.loads(done.stdout))
    assert sum(one["early"] for one in got) == 0, got
    for name in ("p50", "p99"):
        value = statistics.median(one[name] for one in got)
        rows.add(f"engine.deadline_late_{name}_ms", value, "ms")
