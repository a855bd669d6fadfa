"""TokenBucket and CircuitBreaker: the engine's own parts, for any function of the user's.

Both read the monotonic clock in the binding, so these tests use rates so slow that a test's own
duration cannot matter, and poll where time has to pass. Their arithmetic is tested in C++.
"""

from __future__ import annotations

import math
import threading
from typing import Any

import pytest

from sluiceway import _core
from sluiceway.errors import InvalidRequest, RequestTooLarge
from tests.python.core.kit import wait_until

NEVER_PER_S = 1e-6  # one permit in 11 days


class TestTokenBucket:
    def test_the_capacity_goes_at_once(self) -> None:
        bucket = _core.TokenBucket(5, NEVER_PER_S)
        assert bucket.available == 5
        assert [bucket.try_acquire() for _ in range(5)] == [0.0] * 5
        assert bucket.available == 0
        wait_s = bucket.try_acquire()
        assert 0.99e6 < wait_s <= 1e6
        assert bucket.available == 0  # a refusal takes nothing

    def test_several_permits_or_none(self) -> None:
        bucket = _core.TokenBucket(capacity=10, rate_per_s=NEVER_PER_S)
        assert bucket.try_acquire(permits=7) == 0.0
        assert 0.99e6 < bucket.try_acquire(4) <= 1e6  # one is missing
        assert bucket.try_acquire(3) == 0.0

    def test_it_refills(self) -> None:
        bucket = _core.TokenBucket(1, 200.0)
        assert bucket.try_acquire() == 0.0
        assert 0.0 < bucket.try_acquire() <= 0.005
        wait_until(lambda: bucket.try_acquire() == 0.0)

    @pytest.mark.parametrize("rate", [0.1, 1 / 3, 2.5, 1e-6, 1e9, math.pi])
    def test_rates_that_are_no_whole_numbers(self, rate: float) -> None:
        bucket = _core.TokenBucket(1, rate)
        assert bucket.try_acquire() == 0.0
        if rate < 1000:
            assert bucket.try_acquire() == pytest.approx(1 / rate, rel=0.01, abs=0.2)

    @pytest.mark.parametrize("permits", [11, 2**40, 2**63 - 1])
    def test_more_than_the_capacity(self, permits: int) -> None:
        with pytest.raises(RequestTooLarge):
            _core.TokenBucket(10, 1.0).try_acquire(permits)

    @pytest.mark.parametrize(
        ("capacity", "rate"),
        [
            (0, 1.0),
            (-1, 1.0),
            (1, 0.0),
            (1, -1.0),
            (1, math.nan),
            (1, math.inf),
            (1, 1e10),
            (1, 1e-9),
        ],
    )
    def test_what_is_no_bucket(self, capacity: int, rate: float) -> None:
        with pytest.raises(InvalidRequest):
            _core.TokenBucket(capacity, rate)

    @pytest.mark.parametrize("arguments", [(), ("1", 1.0), (1.5, 1.0), (1, "1"), (2**70, 1.0)])
    def test_wrong_types(self, arguments: tuple[Any, ...]) -> None:
        with pytest.raises(TypeError):
            _core.TokenBucket(*arguments)

    @pytest.mark.parametrize("permits", [0, -1, -(2**63)])
    def test_permits_are_positive(self, permits: int) -> None:
        with pytest.raises(InvalidRequest):
            _core.TokenBucket(1, 1.0).try_acquire(permits)

    def test_a_huge_bucket(self) -> None:
        bucket = _core.TokenBucket(2**40, 1e9)
        assert bucket.try_acquire(2**39) == 0.0
        assert bucket.available >= 2**39
        with pytest.raises(InvalidRequest):
            _core.TokenBucket(2**62, 1e9)  # beyond what it counts; not a smaller one instead

    def test_threads_get_no_more_than_there_is(self) -> None:
        bucket = _core.TokenBucket(1000, NEVER_PER_S)
        got: list[int] = []

        def work() -> None:
            got.append(sum(bucket.try_acquire() == 0.0 for _ in range(500)))

        threads = [threading.Thread(target=work) for _ in range(8)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        assert sum(got) == 1000


def fail(breaker: Any, times: int) -> bool:
    moved = False
    for _ in range(times):
        granted, probe, generation, _ = breaker.acquire()
        assert granted
        moved = breaker.report(probe, generation, "failure")
    return moved


class TestCircuitBreaker:
    def test_opens_on_consecutive_failures(self) -> None:
        breaker = _core.CircuitBreaker(failure_threshold=3, recovery_timeout_s=1000.0)
        assert breaker.state == "closed"
        assert not fail(breaker, 2)
        granted, probe, generation, wait_s = breaker.acquire()
        assert (granted, probe, wait_s) == (True, False, 0.0)
        breaker.report(probe, generation, "success")  # the row is broken
        assert not fail(breaker, 2)
        assert fail(breaker, 1)
        assert breaker.state == "open"
        granted, probe, _, wait_s = breaker.acquire()
        assert (granted, probe) == (False, False)
        assert 990 < wait_s <= 1000

    def test_one_probe_at_a_time(self) -> None:
        breaker = _core.CircuitBreaker(1, 0.01)
        fail(breaker, 1)
        tickets: list[Any] = []

        def probes() -> bool:
            ticket = breaker.acquire()
            if ticket[0]:
                tickets.append(ticket)
            return bool(ticket[0])

        wait_until(probes)
        assert tickets[0][1] is True
        assert breaker.state == "half_open"
        assert not breaker.acquire()[0]
        assert breaker.report(True, tickets[0][2], "success")
        assert breaker.state == "closed"
        assert breaker.acquire()[0]

    def test_an_older_generation_moves_nothing(self) -> None:
        breaker = _core.CircuitBreaker(1, 1000.0)
        _, probe, generation, _ = breaker.acquire()
        breaker.reset()
        assert not breaker.report(probe, generation, "failure")
        assert breaker.state == "closed"

    def test_ignored_is_neither(self) -> None:
        breaker = _core.CircuitBreaker(2, 1000.0)
        for _ in range(10):
            _, probe, generation, _ = breaker.acquire()
            assert not breaker.report(probe, generation, "ignored")
        assert breaker.state == "closed"

    def test_by_command(self) -> None:
        breaker = _core.CircuitBreaker()
        breaker.force_open()
        assert breaker.state == "forced_open"
        assert breaker.acquire()[0] is False
        assert breaker.acquire()[3] == math.inf
        breaker.disable()
        assert breaker.state == "disabled"
        fail(breaker, 50)
        assert breaker.acquire()[0]
        breaker.reset()
        assert breaker.state == "closed"

    def test_failure_rate(self) -> None:
        breaker = _core.CircuitBreaker(
            failure_threshold=0, recovery_timeout_s=1000.0, failure_percent=50, window_calls_min=4
        )
        for result in ("success", "failure", "success"):
            _, probe, generation, _ = breaker.acquire()
            assert not breaker.report(probe, generation, result)
        _, probe, generation, _ = breaker.acquire()
        assert breaker.report(probe, generation, "failure")  # two of four
        assert breaker.state == "open"

    @pytest.mark.parametrize(
        "arguments",
        [
            {"failure_threshold": -1},
            {"recovery_timeout_s": -1.0},
            {"recovery_timeout_s": math.nan},
            {"recovery_timeout_s": math.inf},
            {"window_s": -0.1},
            {"failure_percent": -1},
            {"failure_percent": 101},
            {"window_calls_min": -1},
        ],
    )
    def test_what_is_no_breaker(self, arguments: dict[str, Any]) -> None:
        with pytest.raises(InvalidRequest):
            _core.CircuitBreaker(**arguments)

    def test_bad_reports(self) -> None:
        breaker = _core.CircuitBreaker()
        with pytest.raises(InvalidRequest):
            breaker.report(False, 0, "fine")
        with pytest.raises(InvalidRequest):
            breaker.report(False, 0, "success", -1.0)
        with pytest.raises(InvalidRequest):
            breaker.acquire(math.inf)
        for arguments in ((), (False,), (False, -1, "success"), (False, "0", "success")):
            with pytest.raises(TypeError):
                breaker.report(*arguments)
        assert breaker.state == "closed"


class TestEnterAndLeave:
    """The short ways of acquire() and report()."""

    def test_they_keep_the_same_breaker(self) -> None:
        breaker = _core.CircuitBreaker(failure_threshold=2, recovery_timeout_s=1e6)
        moved = False
        for result in ("success", "failure", "failure"):
            permit = breaker.enter()
            assert permit is not None
            moved = breaker.leave(permit, result, 0.01)
        assert moved
        assert breaker.state == "open"
        assert breaker.enter() is None
        assert breaker.acquire()[0] is False
        breaker.reset()
        assert breaker.enter() is not None

    def test_one_probe_at_a_time(self) -> None:
        breaker = _core.CircuitBreaker(failure_threshold=1, recovery_timeout_s=0.001)
        permit = breaker.enter()
        assert permit is not None
        assert permit[0] is False
        breaker.leave(permit, "failure", 0.0)
        probes: list[tuple[bool, int]] = []

        def let_in() -> bool:
            permit = breaker.enter()
            probes.extend([] if permit is None else [permit])
            return permit is not None

        wait_until(let_in)
        assert probes[0][0] is True
        assert breaker.enter() is None  # the probe is under way
        breaker.leave(probes[0], "success", 0.0)
        assert breaker.state == "closed"

    @pytest.mark.parametrize(
        "arguments",
        [
            (),
            ((False, 0), "success"),
            ((False,), "success", 0.0),
            ([False, 0], "success", 0.0),
            ((False, 0), b"success", 0.0),
            ((False, "0"), "success", 0.0),
            ((False, -1), "success", 0.0),
            ((False, 2**64), "success", 0.0),
            ((False, 0), "success", "0"),
            ((False, 0), "\ud800", 0.0),
        ],
    )
    def test_wrong_arguments(self, arguments: tuple[Any, ...]) -> None:
        with pytest.raises((TypeError, OverflowError, UnicodeEncodeError)):
            _core.CircuitBreaker().leave(*arguments)

    @pytest.mark.parametrize(("result", "seconds"), [("won", 0.0), ("success", math.nan)])
    def test_wrong_values(self, result: str, seconds: float) -> None:
        breaker = _core.CircuitBreaker()
        permit = breaker.enter()
        assert permit is not None
        with pytest.raises(InvalidRequest):
            breaker.leave(permit, result, seconds)
