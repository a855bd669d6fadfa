"""Times functions of this process against each other: CPU nanoseconds a call, rounds interleaved.

Model: each subject is a function of a count that does its work that many times; a round runs every
subject once, in turn; a subject's figure is the CPU time of its best round, since whatever else
runs on the machine only adds. The first subject is ours and is also handed to pytest-benchmark, so
that its own table and its JSON carry it.

    got = compare(benchmark, {"ours": repeat(ours), "json": repeat(theirs)}, calls=2_000)
"""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping
from typing import Any

ROUNDS = 7
Work = Callable[[int], Any]


def repeat(fn: Callable[[], object]) -> Work:
    """`fn` as work: called in a plain loop, whose 15 ns a turn all subjects carry."""

    def work(count: int) -> None:
        for _ in range(count):
            fn()

    return work


def compare(benchmark: Any, subjects: Mapping[str, Work], calls: int) -> dict[str, float]:
    """Nanoseconds a call of each subject. `benchmark` is pytest-benchmark's fixture."""
    best_ns = dict.fromkeys(subjects, float("inf"))
    for _ in range(ROUNDS):
        for name, work in subjects.items():
            began = time.thread_time_ns()
            work(calls)
            best_ns[name] = min(best_ns[name], (time.thread_time_ns() - began) / calls)
    ours = next(iter(subjects.values()))
    benchmark.pedantic(ours, args=(calls,), rounds=ROUNDS, iterations=1)
    return best_ns
