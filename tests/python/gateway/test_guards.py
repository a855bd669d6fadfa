"""The parts that stand alone: TokenBucket, CircuitBreaker, Retry and guarded, sync and async."""

from __future__ import annotations

import asyncio
import functools
from collections.abc import Callable
from typing import Any

import pytest

from sluiceway import CircuitBreaker, Retry, TokenBucket, guarded
from sluiceway.errors import (
    BreakerOpen,
    InDoubt,
    InvalidRequest,
    InvalidType,
    LimitExceeded,
    RateLimited,
)

SLOW = 0.001  # permits a second: the next one is minutes away


class Flaky:
    """Fails a number of times, then answers; counts its calls."""

    def __init__(self, failures: int, error: type[Exception] = RuntimeError) -> None:
        self.left = failures
        self.error = error
        self.calls = 0

    def __call__(self, value: str = "ok") -> str:
        self.calls += 1
        if self.left:
            self.left -= 1
            raise self.error("not yet")
        return value


def call(
    fn: Callable[..., Any], twin: str, pauses: list[float], **options: Any
) -> Callable[..., Any]:
    """`fn` guarded and called in one twin; pauses are recorded instead of slept."""
    parts = options.pop("parts", ())
    if twin == "sync":
        return guarded(*parts, sleep=pauses.append, random=lambda: 0.5, **options)(fn)

    async def target(*args: Any) -> Any:
        return fn(*args)

    async def pause(seconds: float) -> None:
        pauses.append(seconds)

    wrapped = guarded(*parts, async_sleep=pause, random=lambda: 0.5, **options)(target)
    return lambda *args: asyncio.run(wrapped(*args))


@pytest.mark.parametrize("twin", ["sync", "async"])
def test_retry_backs_off_with_jitter(twin: str) -> None:
    pauses: list[float] = []
    flaky = Flaky(3)
    run = call(flaky, twin, pauses, retry=Retry(attempts=4, base_s=1, cap_s=3))
    assert run("fine") == "fine"
    assert flaky.calls == 4
    assert pauses == [0.5, 1.0, 1.5]  # half of 1, 2 and min(4, 3)


@pytest.mark.parametrize("twin", ["sync", "async"])
def test_retry_gives_up_and_chooses(twin: str) -> None:
    pauses: list[float] = []
    flaky = Flaky(9)
    with pytest.raises(RuntimeError, match="not yet"):
        call(flaky, twin, pauses, retry=Retry(attempts=3))()
    assert flaky.calls == 3
    flaky = Flaky(9)
    with pytest.raises(RuntimeError):
        call(flaky, twin, pauses, retry=Retry(attempts=3, on=ValueError))()
    assert flaky.calls == 1
    flaky = Flaky(9)
    with pytest.raises(RuntimeError):
        call(flaky, twin, pauses)()
    assert flaky.calls == 1


@pytest.mark.parametrize("twin", ["sync", "async"])
def test_what_is_in_doubt_is_never_tried_again(twin: str) -> None:
    def fails(error: Exception) -> Callable[[], None]:
        def run() -> None:
            calls.append(error)
            raise error

        return run

    for error, expected in (
        (InDoubt("x", outcome="in_doubt"), 1),
        (RateLimited("x", outcome="refused"), 3),
    ):
        calls: list[Exception] = []
        with pytest.raises(type(error)):
            call(fails(error), twin, [], retry=Retry(attempts=3))()
        assert len(calls) == expected


@pytest.mark.parametrize("twin", ["sync", "async"])
def test_a_bucket_waits_and_refuses(twin: str) -> None:
    bucket = TokenBucket(capacity=2, rate_per_s=SLOW, max_wait_s=5)
    run = call(Flaky(0), twin, [], parts=[bucket])
    assert [run(), run()] == ["ok", "ok"]
    with pytest.raises(LimitExceeded) as caught:
        run()
    assert caught.value.retry_after_s is not None
    assert 900 < caught.value.retry_after_s <= 1000  # one permit at a thousandth a second
    assert caught.value.retryable


def test_a_bucket_sleeps_until_there_is_a_permit() -> None:
    bucket = TokenBucket(capacity=1, rate_per_s=SLOW)
    assert bucket.try_acquire() == 0.0

    class Slept(Exception):
        pass

    def sleep(seconds: float) -> None:
        raise Slept(seconds)

    with pytest.raises(Slept) as caught:
        bucket.acquire(sleep=sleep)
    assert 900 < caught.value.args[0] <= 1000
    fast = TokenBucket(capacity=1, rate_per_s=1e6)
    for _ in range(5):
        fast.acquire()  # a microsecond each


@pytest.mark.parametrize("twin", ["sync", "async"])
def test_a_breaker_opens_and_probes(twin: str) -> None:
    breaker = CircuitBreaker(failure_threshold=2, recovery_timeout_s=3600, name="legacy")
    flaky = Flaky(2)
    run = call(flaky, twin, [], parts=[breaker])
    for _ in range(2):
        with pytest.raises(RuntimeError):
            run()
    assert breaker.state == "open"
    with pytest.raises(BreakerOpen, match="legacy") as caught:
        run()
    assert flaky.calls == 2
    assert caught.value.retry_after_s is not None
    assert 3500 < caught.value.retry_after_s <= 3600
    breaker.reset()
    assert run() == "ok"
    assert breaker.state == "closed"


def _after_a_microsecond(run: Callable[[], object]) -> None:
    """Runs until the breaker's timeout of a microsecond is over."""
    for _ in range(1000):
        try:
            run()
        except BreakerOpen:
            continue
        return
    raise AssertionError("the breaker did not let a probe through")


def test_one_probe_after_the_timeout() -> None:
    breaker = CircuitBreaker(failure_threshold=1, recovery_timeout_s=1e-6)
    flaky = Flaky(1)
    run = guarded(breaker)(flaky)
    with pytest.raises(RuntimeError):
        run()
    inside = []

    @guarded(breaker)
    def probe() -> None:
        inside.append(breaker.state)
        with pytest.raises(BreakerOpen):
            run()  # only one at a time

    _after_a_microsecond(probe)
    assert inside == ["half_open"]
    assert breaker.state == "closed"


def test_what_is_not_the_functions_fault() -> None:
    breaker = CircuitBreaker(failure_threshold=1, ignore=ValueError)
    with pytest.raises(ValueError, match="not yet"):
        guarded(breaker)(Flaky(1, ValueError))()
    assert breaker.state == "closed"

    @guarded(breaker)
    def interrupted() -> None:
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        interrupted()
    assert breaker.state == "closed"
    full = TokenBucket(1, SLOW, max_wait_s=0)
    full.acquire()
    with pytest.raises(LimitExceeded):
        guarded(full, breaker)(Flaky(0))()
    assert breaker.state == "closed"


def test_a_cancelled_task_is_not_a_failure() -> None:
    breaker = CircuitBreaker(failure_threshold=1)

    @guarded(breaker)
    async def forever() -> None:
        await asyncio.Event().wait()

    async def main() -> None:
        task = asyncio.create_task(forever())
        await asyncio.sleep(0)
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task

    asyncio.run(main())
    assert breaker.state == "closed"


def test_an_open_breaker_gives_back_what_others_granted() -> None:
    open_one = CircuitBreaker(failure_threshold=1, recovery_timeout_s=3600)
    half = CircuitBreaker(failure_threshold=1, recovery_timeout_s=1e-6)
    for breaker in (open_one, half):
        with pytest.raises(RuntimeError):
            guarded(breaker)(Flaky(1))()
    _after_a_microsecond(lambda: None)
    with pytest.raises(BreakerOpen, match="next try in 3"):  # the probe, then the open one
        guarded(half, open_one)(Flaky(0))()
    assert guarded(half)(Flaky(0))() == "ok"  # the probe was given back


def test_decorated_functions_keep_their_names_and_kinds() -> None:
    @guarded(retry=Retry(attempts=2))
    def plain() -> int:
        """Says one."""
        return 1

    @guarded(TokenBucket(5, 5))
    async def coroutine() -> int:
        return 2

    assert plain.__name__ == "plain"
    assert plain.__doc__ == "Says one."
    assert plain() == 1
    assert asyncio.iscoroutinefunction(coroutine)
    assert asyncio.run(coroutine()) == 2

    class Asked:
        async def __call__(self) -> int:
            return 3

    assert asyncio.run(guarded()(Asked())()) == 3

    async def add(a: int, b: int) -> int:
        return a + b

    assert asyncio.run(guarded()(functools.partial(add, 1))(2)) == 3


@pytest.mark.parametrize(
    "make",
    [
        lambda: TokenBucket(0, 1),
        lambda: TokenBucket(1, 0),
        lambda: TokenBucket(1, float("nan")),
        lambda: TokenBucket(1.5, 1),  # type: ignore[arg-type]
        lambda: TokenBucket(1, 1).try_acquire(2),
        lambda: TokenBucket(1, 1).try_acquire(0),
        lambda: CircuitBreaker(0),
        lambda: CircuitBreaker(1, -1),
        lambda: Retry(0),
        lambda: Retry(attempts=True),
        lambda: Retry(base_s=-1),
        lambda: guarded("limiter"),  # type: ignore[arg-type]
    ],
)
def test_mistakes(make: Callable[[], object]) -> None:
    with pytest.raises((InvalidRequest, InvalidType)):
        make()
