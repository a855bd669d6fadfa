"""Plans: how rows become calls."""

from __future__ import annotations

from array import array

import pytest

from sluiceway.demo.limits import Rate, size_budgets
from sluiceway.demo.trace import Trace
from sluiceway.demo.workload import (
    ARRIVALS_PER_S_MAX,
    CONTEXT_TOKENS_MAX,
    DURATION_MIN_S,
    MODELS,
    OUTPUT_TOKENS_MAX,
    plan_calls,
)
from sluiceway.simulator.settings import read_directives
from sluiceway.simulator.tokens import count_input_tokens


def trace_of(rows: list[tuple[int, int, int]]) -> Trace:
    """A trace of (seconds, context, generated)."""
    return Trace(
        "t",
        array("q", (at * 10**9 for at, _, _ in rows)),
        array("q", (context for _, context, _ in rows)),
        array("q", (generated for _, _, generated in rows)),
    )


THOUSAND = trace_of([(number, 500 + number, 10 + number % 50) for number in range(1000)])


def test_a_plan_is_the_same_for_the_same_seed() -> None:
    first, again = plan_calls(THOUSAND, 400, 5), plan_calls(THOUSAND, 400, 5)
    assert first == again
    assert [first.prompt(call) for call in first.calls] == [again.prompt(c) for c in again.calls]
    assert plan_calls(THOUSAND, 400, 6).calls != first.calls


def test_fewer_calls_are_a_sample_in_the_order_of_time() -> None:
    plan = plan_calls(THOUSAND, 400, 1)
    times = [call.at_s for call in plan.calls]
    assert len(times) == 400
    assert times == sorted(times)
    assert times[-1] <= plan.duration_s
    own = [call for call in plan.calls if call.cache_group is None]
    contexts = [call.context_tokens for call in own]
    assert contexts == sorted(contexts)  # the trace's lengths rise with time
    assert len(set(contexts)) == len(contexts)


def test_more_calls_repeat_the_trace_in_shifted_time() -> None:
    trace = trace_of([(0, 100, 5), (10, 200, 6), (30, 300, 7)])
    plan = plan_calls(trace, 9, 1)
    # Rows at 0, 10 and 30 s; a round takes 30 s and a mean gap of 15 s; the last call is at 120 s.
    expected = [0, 10, 30, 45, 55, 75, 90, 100, 120]
    assert plan.span_s == 120
    for call, at_s in zip(plan.calls, expected, strict=True):
        assert call.at_s == pytest.approx(at_s / 120 * DURATION_MIN_S, abs=2 / ARRIVALS_PER_S_MAX)


def test_a_trace_without_span_is_spread() -> None:
    plan = plan_calls(trace_of([(0, 10, 1)] * 5), 100, 1)
    times = [call.at_s for call in plan.calls]
    assert times[0] < 0.1
    assert times[-1] == pytest.approx(0.99 * DURATION_MIN_S, abs=0.05)
    assert len(plan_calls(trace_of([(0, 10, 1)]), 1, 1).calls) == 1


def test_a_burst_is_drawn_out() -> None:
    rows = [(0, 10, 1)] * 2000 + [(1000, 10, 1)]
    plan = plan_calls(trace_of(rows), 2001, 1)
    gaps = [b.at_s - a.at_s for a, b in zip(plan.calls, plan.calls[1:], strict=False)]
    assert min(gaps) >= 0.999 / ARRIVALS_PER_S_MAX


def test_a_prompt_gives_the_trace_s_counts_at_the_simulator() -> None:
    plan = plan_calls(THOUSAND, 300, 2)
    for call in plan.calls:
        prompt = plan.prompt(call)
        assert prompt.isascii()
        assert count_input_tokens([{"role": "user", "content": prompt}]) == call.context_tokens
        assert read_directives(prompt)["output_tokens"] == call.output_tokens
        assert call.max_output_tokens > call.output_tokens
    own = {plan.prompt(call) for call in plan.calls if call.cache_group is None}
    assert len(own) == sum(call.cache_group is None for call in plan.calls)


def test_calls_of_a_cache_group_ask_the_same() -> None:
    plan = plan_calls(THOUSAND, 1000, 2)
    groups: dict[int, set[tuple[str, str]]] = {}
    for call in plan.calls:
        if call.cache_group is not None:
            groups.setdefault(call.cache_group, set()).add((call.model, plan.prompt(call)))
            assert not call.stream
    assert len(groups) > 5
    assert all(len(asked) == 1 for asked in groups.values())


def test_the_shares_are_kept() -> None:
    plan = plan_calls(THOUSAND, 6000, 1)
    models = {model: sum(call.model == model for call in plan.calls) for model in MODELS}
    for model, share in MODELS.items():
        assert models[model] == pytest.approx(60 * share, rel=0.25)
    assert sum(call.stream for call in plan.calls) == pytest.approx(0.25 * 6000, rel=0.2)
    assert {call.job for call in plan.calls} == set(range(plan.jobs))
    assert plan.jobs == 60


def test_rows_beyond_the_bounds_are_shortened_and_counted() -> None:
    plan = plan_calls(trace_of([(0, 10**6, 1), (1, 5, 10**5), (2, 0, 0)]), 3, 1)
    assert plan.clamped == 2
    assert max(call.context_tokens for call in plan.calls) == CONTEXT_TOKENS_MAX
    assert max(call.output_tokens for call in plan.calls) == OUTPUT_TOKENS_MAX
    assert min(call.output_tokens for call in plan.calls) == 1


def test_one_job_in_four_gets_less_than_it_needs() -> None:
    plan = plan_calls(THOUSAND, 2000, 1)
    rates = dict.fromkeys(MODELS, Rate(input=100_000_000, output=500_000_000))
    budgets = size_budgets(plan, rates)
    need = [0] * plan.jobs
    for call in plan.calls:
        # $0.10 and $0.50 a million are 100 and 500 nano-dollars a token.
        need[call.job] += 100 * call.context_tokens + 500 * call.output_tokens
    short = [job for job in range(plan.jobs) if budgets.jobs[f"job:{job + 1}"] < need[job]]
    assert short == list(range(3, plan.jobs, 4))
    assert budgets.hour >= 2 * sum(need)
