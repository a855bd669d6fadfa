"""The parts that also stand alone: a token bucket and a breaker around any function of yours.

    limiter = TokenBucket(capacity=100, rate_per_s=10)
    breaker = CircuitBreaker(failure_threshold=5, recovery_timeout_s=60)

    @guarded(limiter, breaker, retry=Retry(attempts=3, on=ConnectionRefusedError))
    def legacy_call(): ...

Model: `guarded` wraps a function or a coroutine function. Each attempt takes a permit from every
breaker, then waits for every bucket, then runs; its end is reported to the breakers. After a
failure that `retry.on` names it backs off with full jitter (AWS architecture blog, "Exponential
backoff and jitter", 2015) and tries again. An open breaker raises `BreakerOpen` at once, a bucket
whose wait passes `max_wait_s` raises `LimitExceeded`; neither is retried. Waiting is time.sleep or
asyncio.sleep, or what was passed.

What is run again. `Retry()` alone runs the function again after every `Exception`, a TimeoutError
included: of a function of yours nobody here can know whether it was executed before it failed, and
what is paid may then be paid twice. Name in `Retry(on=...)` only what proves that nothing happened.
An exception of Sluiceway's own knows: it is tried again only if it says `retryable`, and one that
tells nothing of the service (a bad argument, a budget that is used up) is no failure to a breaker.

The state lives in the compiled core and is shared by all threads and loops; nothing here locks.
Bounds: a bucket and a breaker are a few hundred bytes; a permit costs about a microsecond.
"""

from __future__ import annotations

import functools
import time
from collections.abc import Awaitable, Callable
from typing import Any, TypeVar

from sluiceway import _core
from sluiceway._callables import COROUTINE, kind_of
from sluiceway.errors import (
    BadRequest,
    BreakerOpen,
    DeadlineExceeded,
    InvalidRequest,
    InvalidType,
    LimitExceeded,
    ProviderError,
    SluicewayError,
)
from sluiceway.options import Retry, whole

F = TypeVar("F", bound=Callable[..., Any])
Permit = tuple[bool, int]  # whether it is the probe, and the breaker's generation
Permits = list[Permit]
Sleep = Callable[[float], object]
AsyncSleep = Callable[[float], Awaitable[object]]

_FACTOR_MAX = 2**30


class TokenBucket:
    """`capacity` permits at once, `rate_per_s` more each second: at most capacity + rate * T in T.

    With `max_wait_s` a longer wait raises LimitExceeded instead of sleeping.
    """

    __slots__ = ("_take", "capacity", "max_wait_s", "rate_per_s")

    def __init__(
        self, capacity: int, rate_per_s: float, *, max_wait_s: float | None = None
    ) -> None:
        self.rate_per_s = _positive(rate_per_s, "rate_per_s")
        self.capacity = whole(capacity, "capacity", 1, 2**53)
        self.max_wait_s = max_wait_s
        self._take = _core.TokenBucket(capacity, self.rate_per_s).try_acquire

    def try_acquire(self, n: int = 1) -> float:
        """0.0 when `n` permits were taken; else the seconds until they could be; none is taken."""
        if n.__class__ is int and 0 < n <= self.capacity:
            return self._take(n)
        return self._take(whole(n, "n", 1, self.capacity))

    def acquire(self, n: int = 1, *, sleep: Sleep = time.sleep) -> None:
        """Takes `n` permits, sleeping until they are there. LimitExceeded past `max_wait_s`."""
        waited_s = 0.0
        while (wait_s := self.try_acquire(n)) > 0:
            waited_s = self._waiting(waited_s, wait_s)
            sleep(wait_s)

    async def acquire_async(self, n: int = 1, *, sleep: AsyncSleep | None = None) -> None:
        """`acquire` for asyncio."""
        sleep = sleep or _async_sleep()
        waited_s = 0.0
        while (wait_s := self.try_acquire(n)) > 0:
            waited_s = self._waiting(waited_s, wait_s)
            await sleep(wait_s)

    def _waiting(self, waited_s: float, wait_s: float) -> float:
        if self.max_wait_s is not None and waited_s + wait_s > self.max_wait_s:
            raise LimitExceeded(
                f"the token bucket would need {wait_s:.3g} s, and max_wait_s={self.max_wait_s}",
                retry_after_s=wait_s,
            )
        return waited_s + wait_s

    def __repr__(self) -> str:
        return f"TokenBucket(capacity={self.capacity}, rate_per_s={self.rate_per_s:g})"


class CircuitBreaker:
    """Opens after `failure_threshold` failures in a row; one probe decides after the timeout.

    `ignore` names exceptions that are no failures of the guarded function, such as a bad argument;
    Sluiceway's own for what was wrong with the call (InvalidRequest, BudgetExceeded) never are.
    """

    __slots__ = ("_breaker", "_core_enter", "_core_leave", "ignore", "name")

    def __init__(
        self,
        failure_threshold: int = 5,
        recovery_timeout_s: float = 30.0,
        *,
        ignore: type[BaseException] | tuple[type[BaseException], ...] = (),
        name: str = "",
    ) -> None:
        threshold = whole(failure_threshold, "failure_threshold", 1, 2**31)
        seconds = _positive(recovery_timeout_s, "recovery_timeout_s")
        self._breaker = _core.CircuitBreaker(threshold, seconds)
        self._core_enter = self._breaker.enter
        self._core_leave = self._breaker.leave
        self.ignore = ignore
        self.name = name

    @property
    def state(self) -> str:
        """ "closed", "open", "half_open", "forced_open" or "disabled"."""
        return self._breaker.state

    def reset(self) -> None:
        """Closes the breaker and forgets its failures."""
        self._breaker.reset()

    def _enter(self) -> Permit:
        permit = self._core_enter()
        if permit is None:
            granted, probe, generation, retry_in_s = self._breaker.acquire()
            if not granted:
                label = f"the breaker {self.name!r}" if self.name else "the breaker"
                raise BreakerOpen(
                    f"{label} is open; next try in {retry_in_s:.3g} s", retry_after_s=retry_in_s
                )
            permit = probe, generation  # its time came between the two questions
        return permit

    def _leave(self, permit: Permit, error: BaseException | None, duration_s: float) -> None:
        if error is None:
            result = "success"
        elif isinstance(error, self.ignore) or not isinstance(error, Exception):
            result = "ignored"  # not its fault; a cancel or a Ctrl-C is the caller's
        elif isinstance(error, SluicewayError) and not _of_the_service(error):
            result = "ignored"
        else:
            result = "failure"
        self._core_leave(permit, result, duration_s)

    def __repr__(self) -> str:
        return f"CircuitBreaker({self.name or 'unnamed'}, {self.state})"


def guarded(
    *parts: TokenBucket | CircuitBreaker,
    retry: Retry | None = None,
    sleep: Sleep = time.sleep,
    async_sleep: AsyncSleep | None = None,
    random: Callable[[], float] | None = None,
) -> Callable[[F], F]:
    """A decorator for functions and coroutine functions; see the top of the file.

    `random` gives floats in [0, 1) for the jitter. InvalidType for a part that is neither.
    """
    buckets = [part for part in parts if isinstance(part, TokenBucket)]
    breakers = [part for part in parts if isinstance(part, CircuitBreaker)]
    if len(buckets) + len(breakers) != len(parts):
        raise InvalidType("guarded takes TokenBuckets and CircuitBreakers, and retry=Retry(...)")
    policy = _Policy(buckets, breakers, retry, random)

    def decorate(fn: F) -> F:
        if kind_of(fn) == COROUTINE:
            return _wrap_async(fn, policy, async_sleep)  # type: ignore[return-value]
        return _wrap(fn, policy, sleep)  # type: ignore[return-value]

    return decorate


class _Policy:
    """What one `guarded` was given."""

    __slots__ = ("breakers", "buckets", "random", "retry")

    def __init__(
        self,
        buckets: list[TokenBucket],
        breakers: list[CircuitBreaker],
        retry: Retry | None,
        random: Callable[[], float] | None,
    ) -> None:
        self.buckets = buckets
        self.breakers = breakers
        self.retry = retry
        self.random = random

    def backoff_s(self, attempt: int, error: BaseException) -> float | None:
        """The pause after a failed attempt (counted from 0); None: let the error go."""
        retry = self.retry
        if retry is None or attempt + 1 >= retry.attempts or not isinstance(error, retry.on):
            return None
        if isinstance(error, SluicewayError) and not error.retryable:
            return None
        if not isinstance(error, Exception):
            return None  # Ctrl-C and a cancelled task always go
        top_s: float = min(retry.cap_s, retry.base_s * min(2**attempt, _FACTOR_MAX))
        jitter: float = (self.random or _random())()
        return top_s * jitter


def _wrap(fn: Callable[..., Any], policy: _Policy, sleep: Sleep) -> Callable[..., Any]:
    breakers = policy.breakers

    @functools.wraps(fn)
    def run(*args: Any, **kwargs: Any) -> Any:
        attempt = 0
        while True:
            permits = _enter_all(breakers)
            try:
                for bucket in policy.buckets:
                    bucket.acquire(sleep=sleep)
            except BaseException as error:
                _leave_all(breakers, permits, _NotRun(error), 0.0)
                raise
            started_s = time.monotonic()
            try:
                value = fn(*args, **kwargs)
            except BaseException as error:
                _leave_all(breakers, permits, error, time.monotonic() - started_s)
                wait_s = policy.backoff_s(attempt, error)
                if wait_s is None:
                    raise
            else:
                _leave_all(breakers, permits, None, time.monotonic() - started_s)
                return value
            attempt += 1
            sleep(wait_s)

    return run


def _wrap_async(
    fn: Callable[..., Any], policy: _Policy, async_sleep: AsyncSleep | None
) -> Callable[..., Any]:
    breakers = policy.breakers

    @functools.wraps(fn)
    async def run(*args: Any, **kwargs: Any) -> Any:
        pause = async_sleep or _async_sleep()
        attempt = 0
        while True:
            permits = _enter_all(breakers)
            try:
                for bucket in policy.buckets:
                    await bucket.acquire_async(sleep=pause)
            except BaseException as error:
                _leave_all(breakers, permits, _NotRun(error), 0.0)
                raise
            started_s = time.monotonic()
            try:
                value = await fn(*args, **kwargs)
            except BaseException as error:
                _leave_all(breakers, permits, error, time.monotonic() - started_s)
                wait_s = policy.backoff_s(attempt, error)
                if wait_s is None:
                    raise
            else:
                _leave_all(breakers, permits, None, time.monotonic() - started_s)
                return value
            attempt += 1
            await pause(wait_s)

    return run


class _NotRun(BaseException):
    """The function never ran: no breaker learns anything from that."""


def _enter_all(breakers: list[CircuitBreaker]) -> Permits:
    if len(breakers) == 1:
        return [breakers[0]._enter()]
    permits: Permits = []
    for breaker in breakers:
        try:
            permits.append(breaker._enter())
        except BreakerOpen as error:
            _leave_all(breakers, permits, _NotRun(error), 0.0)
            raise
    return permits


def _leave_all(
    breakers: list[CircuitBreaker], permits: Permits, error: BaseException | None, duration_s: float
) -> None:
    for breaker, permit in zip(breakers, permits, strict=False):
        breaker._leave(permit, error, duration_s)


def _of_the_service(error: SluicewayError) -> bool:
    """Whether an error of Sluiceway's own tells of the service's health, as its breakers see it
    (docs/reference/outcomes.md): not one of the caller's, of a budget, or a request refused."""
    if isinstance(error, BadRequest):
        return False
    return isinstance(error, ProviderError | DeadlineExceeded)


def _async_sleep() -> AsyncSleep:
    import asyncio

    return asyncio.sleep


@functools.cache
def _random() -> Callable[[], float]:
    import random

    return random.random


def _positive(value: object, name: str) -> float:
    if isinstance(value, bool) or not isinstance(value, int | float):
        raise InvalidType(f"{name} is {kind_of(value)}, not a number")
    if not 0 < value <= 1e9:
        raise InvalidRequest(f"{name}={value} is not a number above 0 and up to 1e9")
    return float(value)
