"""Drawing a trace from percentiles and counts."""

from __future__ import annotations

import os
from collections import Counter
from pathlib import Path

import pytest

from sluiceway.demo.synthetic import Facts, draw_trace, load_facts, quantile
from sluiceway.demo.trace import read_trace

MINUTE_NS = 60_000_000_000


def test_a_quantile_lies_on_the_line_between_two_percentiles() -> None:
    percentiles = [0, 10, 20, 40, 100]
    assert quantile(percentiles, 0.0) == 0
    assert quantile(percentiles, 0.25) == 10
    assert quantile(percentiles, 0.625) == 30  # half way from 20 to 40
    assert quantile(percentiles, 1.0) == 100
    assert quantile(percentiles, 7.0) == 100
    assert quantile(percentiles, -1.0) == 0


def test_arrivals_keep_the_counts_of_minutes() -> None:
    facts = Facts("x", "", "", (30, 0, 70), (5, 5), (1, 3))
    trace = draw_trace(10_000, 7, facts)
    assert list(trace.arrivals_ns) == sorted(trace.arrivals_ns)
    assert trace.arrivals_ns[0] == 0
    minutes = Counter(at // MINUTE_NS for at in trace.arrivals_ns)
    assert abs(minutes[0] - 3000) < 200  # 4.4 standard deviations of a binomial
    assert minutes[1] <= 1  # the first call, at 0, moved all of them by less than a second or so
    assert set(trace.context_tokens) == {5}
    assert set(trace.generated_tokens) == {1, 2, 3}


def test_the_same_seed_draws_the_same() -> None:
    first, again, other = draw_trace(200, 3), draw_trace(200, 3), draw_trace(200, 4)
    assert first == again
    assert first.arrivals_ns != other.arrivals_ns


def test_the_facts_are_whole() -> None:
    facts = load_facts()
    assert len(facts.context_tokens) == len(facts.generated_tokens) == 101
    assert list(facts.context_tokens) == sorted(facts.context_tokens)
    assert list(facts.generated_tokens) == sorted(facts.generated_tokens)
    assert sum(facts.calls_per_minute) == 8819
    assert "CC-BY" in facts.licence


def test_the_facts_are_those_of_the_trace() -> None:
    shared = Path(os.environ.get("SLUICEWAY_SHARED", Path(__file__).parents[3] / ".." / "shared"))
    path = shared / "data" / "traces" / "azure2023_code.csv"
    if not path.is_file():
        pytest.skip(f"{path} is not there (set SLUICEWAY_SHARED)")
    trace, facts = read_trace(path), load_facts()
    minutes = Counter(at // MINUTE_NS for at in trace.arrivals_ns)
    assert tuple(minutes[number] for number in range(58)) == facts.calls_per_minute
    for values, carried in (
        (trace.context_tokens, facts.context_tokens),
        (trace.generated_tokens, facts.generated_tokens),
    ):
        ordered = sorted(values)
        # The median of 8,819 values by nearest rank is the 4,410th.
        assert (ordered[0], ordered[4409], ordered[-1]) == (carried[0], carried[50], carried[100])
