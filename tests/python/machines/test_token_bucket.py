"""The token bucket against a naive one, through the Python binding and on the real clock.

Model: the binding reads the monotonic clock itself, somewhere between our reading before the call
and our reading after it. So the naive bucket keeps an interval of what it may hold: the least, had
as little time passed as can be, and the most. A grant must be possible at the most, a refusal at
the least, and a wait must lie between the two. Amounts are billionths of a permit, so that a rate
in permits a second times nanoseconds is exact. Time passes by itself and by spinning for some
microseconds; nothing sleeps.
"""

from __future__ import annotations

import time

import pytest
from hypothesis import strategies as st
from hypothesis.stateful import (
    RuleBasedStateMachine,
    initialize,
    invariant,
    rule,
    run_state_machine_as_test,
)

from sluiceway import _core
from tests.python.machines.profile import sized

ONE = 10**9  # a permit
RATES_PER_S = (1, 50, 1_000, 20_000, 1_000_000)


class BucketMachine(RuleBasedStateMachine):
    """One bucket, and what a naive one would hold."""

    @initialize(capacity=st.integers(1, 40), rate_per_s=st.sampled_from(RATES_PER_S))
    def make(self, capacity: int, rate_per_s: int) -> None:
        """A bucket starts full."""
        self.capacity, self.rate_per_s = capacity, rate_per_s
        self.bucket = _core.TokenBucket(capacity, float(rate_per_s))
        self.least = self.most = capacity * ONE
        self.from_ns = self.to_ns = time.monotonic_ns()  # when it was last looked at
        self.grants: list[tuple[int, int, int]] = []  # not before, not after, permits

    def refill(self, from_ns: int, to_ns: int) -> None:
        """What the bucket may hold at a moment that lies between the two."""
        shortest, longest = max(0, from_ns - self.to_ns), to_ns - self.from_ns
        self.least = min(self.capacity * ONE, self.least + shortest * self.rate_per_s)
        self.most = min(self.capacity * ONE, self.most + longest * self.rate_per_s)
        self.from_ns, self.to_ns = from_ns, to_ns

    @rule(permits=st.integers(1, 40))
    def acquire(self, permits: int) -> None:
        """Takes all or none."""
        permits = min(permits, self.capacity)
        from_ns = time.monotonic_ns()
        wait_s = self.bucket.try_acquire(permits)
        to_ns = time.monotonic_ns()
        self.refill(from_ns, to_ns)
        wanted = permits * ONE
        if wait_s == 0.0:
            assert self.most >= wanted, "granted more than it can hold"
            self.least = max(self.least, wanted) - wanted
            self.most -= wanted
            self.grants.append((from_ns, to_ns, permits))
            return
        assert self.least < wanted, "refused although it was there"
        self.most = min(self.most, wanted - 1)
        wait_ns = wait_s * 1e9
        assert (wanted - self.most) / self.rate_per_s - 2 <= wait_ns * (1 + 1e-9)
        assert wait_ns <= (wanted - self.least) / self.rate_per_s + 2

    @rule(times=st.integers(2, 60))
    def burst(self, times: int) -> None:
        """Many at once."""
        for _ in range(times):
            self.acquire(1)

    @rule(microseconds=st.integers(1, 300))
    def let_time_pass(self, microseconds: int) -> None:
        """A few microseconds, by spinning."""
        until_ns = time.monotonic_ns() + 1_000 * microseconds
        while time.monotonic_ns() < until_ns:
            pass

    @invariant()
    def available_is_possible(self) -> None:
        """What it shows lies between the least and the most."""
        if not hasattr(self, "bucket"):
            return
        from_ns = time.monotonic_ns()
        available = self.bucket.available
        self.refill(from_ns, time.monotonic_ns())
        assert self.least // ONE <= available <= self.most // ONE

    def teardown(self) -> None:
        """Invariant 6: in every window at most capacity + rate * T."""
        if not hasattr(self, "bucket"):
            return
        for first, (from_ns, _, _) in enumerate(self.grants):
            granted = 0
            for _, to_ns, permits in self.grants[first:]:
                granted += permits
                bound = self.capacity * ONE + self.rate_per_s * (to_ns - from_ns)
                assert granted * ONE <= bound, f"{granted} permits in {to_ns - from_ns} ns"


def test_the_bucket_is_the_naive_one() -> None:
    run_state_machine_as_test(BucketMachine, settings=sized(60, 40))


def test_the_machine_can_fail() -> None:
    """A bucket that gives one permit too many is caught."""

    class Generous:
        def __init__(self) -> None:
            self.inner, self.given = _core.TokenBucket(3, 1.0), False

        def try_acquire(self, permits: int) -> float:
            wait_s = self.inner.try_acquire(permits)
            if wait_s and not self.given:
                self.given = True
                return 0.0
            return wait_s

        @property
        def available(self) -> int:
            return self.inner.available

    machine = BucketMachine()
    machine.make(3, 1)
    machine.bucket = Generous()  # type: ignore[assignment]
    with pytest.raises(AssertionError, match="more than it can hold"):
        machine.burst(5)
