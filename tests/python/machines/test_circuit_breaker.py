"""The circuit breaker against a naive one, through the Python binding.

Model: the naive breaker is the picture at the top of limits/circuit_breaker.h in plain Python, with
a generation that grows with every move. Time is taken out: an open period is either over at once (a
nanosecond) or never (a day), and so is a probe's lease. Permits are kept and reported late, twice
or never, so that results of older generations are common.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, field

import pytest
from hypothesis import strategies as st
from hypothesis.stateful import (
    Bundle,
    RuleBasedStateMachine,
    initialize,
    invariant,
    multiple,
    rule,
    run_state_machine_as_test,
)

from sluiceway import _core
from tests.python.machines.profile import sized

AT_ONCE_S, NEVER_S = 1e-9, 86_400.0
Permit = tuple[bool, int]  # probe, generation


@dataclass
class Naive:
    """The breaker as anybody would write it who need not care for threads or speed."""

    threshold: int
    percent: int
    calls_min: int
    state: str = "closed"
    generation: int = 0
    in_a_row: int = 0
    calls: int = 0
    failures: int = 0
    probe_out: bool = False
    lease_over: bool = False
    moves: list[str] = field(default_factory=list)

    def move(self, state: str) -> None:
        """Every move is a new generation and counts from nothing."""
        self.state = state
        self.generation += 1
        self.probe_out = False
        self.moves.append(state)

    def clear(self) -> None:
        """Forgets what it has counted."""
        self.in_a_row = self.calls = self.failures = 0

    def acquire(self, opens_at_once: bool, lease_over: bool) -> tuple[bool, bool]:
        """(granted, probe)"""
        if self.state in ("closed", "disabled"):
            return True, False
        if self.state == "forced_open":
            return False, False
        may_probe = opens_at_once if self.state == "open" else not self.probe_out or self.lease_over
        if not may_probe:
            return False, False
        self.move("half_open")
        self.probe_out, self.lease_over = True, lease_over
        return True, True

    def report(self, permit: Permit, result: str) -> bool:
        """Whether the state moved."""
        probe, generation = permit
        if generation != self.generation:
            return False
        if self.state == "closed" and result != "ignored":
            return self.count(result == "failure")
        if self.state == "half_open" and probe:
            if result == "ignored":
                self.probe_out = False
                return False
            self.clear()
            self.move("closed" if result == "success" else "open")
            return True
        return False

    def count(self, failed: bool) -> bool:
        """Opens by failures in a row, or by their share."""
        self.calls += 1
        self.failures += failed
        self.in_a_row = self.in_a_row + 1 if failed else 0
        in_a_row = self.threshold > 0 and self.in_a_row >= self.threshold
        share = (
            self.percent > 0
            and self.failures > 0
            and self.calls >= self.calls_min
            and self.failures * 100 >= self.calls * self.percent
        )
        if not in_a_row and not share:
            return False
        self.clear()
        self.move("open")
        return True


class BreakerMachine(RuleBasedStateMachine):
    """One breaker and its naive twin."""

    permits = Bundle("permits")

    @initialize(
        threshold=st.integers(0, 4),
        percent=st.sampled_from([0, 25, 50, 100]),
        calls_min=st.integers(1, 6),
        opens_at_once=st.booleans(),
    )
    def make(self, threshold: int, percent: int, calls_min: int, opens_at_once: bool) -> None:
        """Any configuration, its open time at once over or never."""
        self.opens_at_once = opens_at_once
        self.naive = Naive(threshold, percent, calls_min)
        self.breaker = _core.CircuitBreaker(
            failure_threshold=threshold,
            recovery_timeout_s=AT_ONCE_S if opens_at_once else NEVER_S,
            failure_percent=percent,
            window_calls_min=calls_min,
            window_s=NEVER_S,
        )

    @rule(target=permits, lease_over=st.booleans())
    def acquire(self, lease_over: bool) -> object:
        """Asks for a permit; kept to be reported some time."""
        before = self.naive.state
        want = self.naive.acquire(self.opens_at_once, lease_over)
        granted, probe, generation, retry_in_s = self.breaker.acquire(
            AT_ONCE_S if lease_over else NEVER_S
        )
        assert (granted, probe) == want
        assert generation == self.naive.generation
        if granted:
            assert retry_in_s == 0.0
        elif before == "forced_open":
            assert retry_in_s == math.inf
        return (probe, generation) if granted else multiple()

    @rule(permit=permits, result=st.sampled_from(["success", "failure", "failure", "ignored"]))
    def report(self, permit: Permit, result: str) -> None:
        """Reports a permit, perhaps an old one, perhaps once more."""
        want = self.naive.report(permit, result)
        assert self.breaker.report(permit[0], permit[1], result) == want

    @rule(times=st.integers(1, 8), result=st.sampled_from(["success", "failure"]))
    def calls(self, times: int, result: str) -> None:
        """Calls that end at once."""
        for _ in range(times):
            want = self.naive.acquire(self.opens_at_once, False)
            granted, probe, generation, _ = self.breaker.acquire(NEVER_S)
            assert (granted, probe) == want
            if granted:
                moved = self.naive.report((probe, generation), result)
                assert self.breaker.report(probe, generation, result) == moved

    @rule(word=st.sampled_from(["force_open", "disable", "reset"]))
    def by_hand(self, word: str) -> None:
        """What an operator may do."""
        getattr(self.breaker, word)()
        if word == "reset":
            self.naive.clear()
        self.naive.move({"force_open": "forced_open", "disable": "disabled"}.get(word, "closed"))

    @invariant()
    def same_state(self) -> None:
        """The two never part."""
        if hasattr(self, "naive"):
            assert self.breaker.state == self.naive.state

    def teardown(self) -> None:
        """Invariant 7: never stuck. With the open time and the lease over, a success closes it."""
        if not hasattr(self, "naive") or not self.opens_at_once:
            return
        if self.naive.state in ("forced_open", "disabled"):
            return
        if self.naive.state == "half_open" and self.naive.probe_out and not self.naive.lease_over:
            return  # its probe may still come back
        granted, probe, generation, _ = self.breaker.acquire(NEVER_S)
        assert granted
        self.breaker.report(probe, generation, "success")
        assert self.breaker.state == "closed" or self.naive.state == "closed"


def test_the_breaker_is_the_naive_one() -> None:
    run_state_machine_as_test(BreakerMachine, settings=sized(80, 50))


@pytest.mark.parametrize("result", ["success", "failure"])
def test_the_machine_can_fail(result: str) -> None:
    """A breaker that listens to an older generation is caught."""
    machine = BreakerMachine()
    machine.make(threshold=1, percent=0, calls_min=1, opens_at_once=True)
    machine.calls(1, "failure")
    assert machine.acquire(False) == (True, 2)  # the probe
    machine.breaker.report(True, 2, result)  # unknown to the naive one: as if it had been obeyed
    with pytest.raises(AssertionError):
        machine.same_state()
