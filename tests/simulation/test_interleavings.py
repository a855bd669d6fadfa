"""The exhaustive check of the small budget: our rules hold, the planted mistakes do not."""

from __future__ import annotations

import pytest

from tests.simulation.interleavings import (
    CALLERS,
    CHECK_THEN_RECORD,
    CHECK_THEN_RECORD_UNHURT,
    LIMIT,
    OURS,
    REFUND_ON_EXPIRY,
    Found,
    Rules,
    explore,
)


def told(rules: Rules, found: Found) -> None:
    """What `pytest -s` and a failure show."""
    print(f"{rules.name}: {found.states} states, the bill reaches {found.most_spent}")
    print("\n".join(f"  {line}" for line in found.counterexample))


@pytest.mark.parametrize("without_symmetry", [False, True])
def test_money_in_doubt_never_passes_the_limit(without_symmetry: bool) -> None:
    found = explore(OURS, without_symmetry=without_symmetry)
    told(OURS, found)
    assert found.counterexample == []
    # Exactly the limit: not passed, and not left unused either.
    assert found.most_spent == found.most_counted == LIMIT
    assert found.states > (30_000 if without_symmetry else 1_000)


@pytest.mark.parametrize("rules", [REFUND_ON_EXPIRY, CHECK_THEN_RECORD, CHECK_THEN_RECORD_UNHURT])
def test_the_usual_rules_let_every_caller_spend(rules: Rules) -> None:
    found = explore(rules)
    told(rules, found)
    assert found.most_spent == CALLERS
    assert found.counterexample[-1].endswith(f"billed {LIMIT + 1}")


def test_the_shortest_counterexamples() -> None:
    # By hand, with a limit of one and two callers. Refund on expiry: reserve, send, expire;
    # reserve, send; both are executed: 7 steps. Check then record: each checks, records and sends,
    # and is executed: 8 steps.
    assert len(explore(REFUND_ON_EXPIRY, callers=2, limit=1).counterexample) == 7
    assert len(explore(CHECK_THEN_RECORD_UNHURT, callers=2, limit=1).counterexample) == 8
    assert explore(OURS, callers=2, limit=1).counterexample == []


@pytest.mark.parametrize("limit", [0, 1, 2, 4, 5])
def test_other_limits(limit: int) -> None:
    found = explore(OURS, limit=limit)
    assert found.counterexample == []
    assert found.most_spent == limit
