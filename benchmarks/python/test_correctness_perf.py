"""Correctness beside speed: what the limiters and breakers of test_parts_perf.py let through.

Counts, no times; they do not depend on the machine. A peer is set up as its own page says it for "R
calls a window" and for "open after one failure". What is not installed is left out.

    limits.window_most         the most calls in any window of that length, in parts of R, under a
                               caller that calls once, rests, and takes whatever it gets from the
                               last quarter of its window on: a fixed window then begins anew
    limits.half_open_admitted  how many of 50 callers reach a provider that still fails, at the
                               moment when the open period has ended
    limits.closed_overlap      how many of 8 calls run at once through a closed breaker
"""

from __future__ import annotations

import asyncio
import datetime
import importlib
import threading
import time
from collections.abc import Awaitable, Callable, Coroutine
from typing import Any

import pytest

import sluiceway as sw
from benchmarks.python.rows import Rows

pytestmark = pytest.mark.informational

LIMIT, WINDOW_S, LASTS_S = 100, 1.0, 1.6
CALLERS, OPEN_S, PROBE_S = 50, 0.2, 0.1
Hit = Callable[[], Awaitable[bool]]
Span = tuple[float, float]


def _ours() -> Hit:
    # As `requests_per_minute` is kept: a tenth as the burst, nine tenths as the rate.
    bucket = sw.TokenBucket(capacity=LIMIT // 10, rate_per_s=0.9 * LIMIT / WINDOW_S)

    async def hit() -> bool:
        return bucket.try_acquire() == 0.0

    return hit


def _limits(strategy: str) -> Hit:
    limits = importlib.import_module("limits")
    made = getattr(limits.strategies, strategy)(limits.storage.MemoryStorage())
    item = limits.RateLimitItemPerSecond(LIMIT)

    async def hit() -> bool:
        return bool(made.hit(item, "a"))

    return hit


def _pyrate_limiter() -> Hit:
    module = importlib.import_module("pyrate_limiter")
    rate = module.Rate(LIMIT, module.Duration.SECOND)
    limiter = module.Limiter(module.InMemoryBucket([rate]))

    async def hit() -> bool:
        return bool(limiter.try_acquire("a", blocking=False))

    return hit


def _aiolimiter() -> Hit:
    limiter = importlib.import_module("aiolimiter").AsyncLimiter(LIMIT, WINDOW_S)

    async def hit() -> bool:
        if not limiter.has_capacity():
            return False
        await limiter.acquire()
        return True

    return hit


def _throttled() -> Hit:
    module = importlib.import_module("throttled")
    throttle = module.Throttled(
        key="a",
        using="token_bucket",
        quota=module.rate_limiter.per_sec(LIMIT, burst=LIMIT),
        store=module.store.MemoryStore(),
    )

    async def hit() -> bool:
        return not throttle.limit().limited

    return hit


async def taken(make: Callable[[], Hit]) -> list[Span]:
    """When calls were admitted: just before and just after each."""
    hit = make()
    spans: list[Span] = []
    await asyncio.sleep(-time.time() % WINDOW_S)  # windows of the clock begin here too
    assert await hit()
    await asyncio.sleep(0.75 * WINDOW_S)
    end_s = time.monotonic() + LASTS_S
    before_s = time.monotonic()
    while before_s < end_s:
        if await hit():
            spans.append((before_s, time.monotonic()))
        else:
            await asyncio.sleep(0.001)
        before_s = time.monotonic()
    return spans


def most_in_a_window(spans: list[Span]) -> int:
    """The most calls of which the last ended less than a window after the first began."""
    first = most = 0
    for last, (_, after_s) in enumerate(spans):
        while after_s - spans[first][0] >= WINDOW_S:
            first += 1
        most = max(most, last - first + 1)
    return most


def test_windows(rows: Rows) -> None:
    """ "100 a second", taken by a caller that takes everything."""
    makers: dict[str, Callable[[], Hit]] = {
        "": _ours,
        "_limits_moving": lambda: _limits("MovingWindowRateLimiter"),
        "_limits_fixed": lambda: _limits("FixedWindowRateLimiter"),
        "_pyrate_limiter": _pyrate_limiter,
        "_aiolimiter": _aiolimiter,
        "_throttled": _throttled,
    }
    for name, make in makers.items():
        try:
            spans = asyncio.run(taken(make))
        except ImportError:
            continue
        assert len(spans) >= LIMIT, name  # it does admit
        most = most_in_a_window(spans) / LIMIT
        rows.add(f"limits.window_most{name}", most, "of the limit, in any window")


class Provider:
    """What the breakers stand before: counts who arrives, and how many at once."""

    def __init__(self, ok: bool) -> None:
        self.ok = ok
        self.came = self.inside = self.most = 0
        self.lock = threading.Lock()

    def enter(self) -> None:
        """A call arrives."""
        with self.lock:
            self.came += 1
            self.inside += 1
            self.most = max(self.most, self.inside)

    def leave(self) -> None:
        """It ends; ValueError from a provider that fails."""
        with self.lock:
            self.inside -= 1
        if not self.ok:
            raise ValueError("the provider fails")

    def call(self) -> None:
        """A blocking call."""
        self.enter()
        time.sleep(PROBE_S)
        self.leave()

    async def call_async(self) -> None:
        """The same for asyncio."""
        self.enter()
        await asyncio.sleep(PROBE_S)
        self.leave()


Guard = Callable[[Callable[[], None]], Any]
AsyncGuard = Callable[[Callable[[], Coroutine[Any, Any, None]]], Awaitable[Any]]


def _our_breaker() -> Guard:
    breaker = sw.CircuitBreaker(failure_threshold=1, recovery_timeout_s=OPEN_S)
    return lambda fn: sw.guarded(breaker)(fn)()


def _pybreaker() -> Guard:
    module = importlib.import_module("pybreaker")
    call: Guard = module.CircuitBreaker(fail_max=1, reset_timeout=OPEN_S).call
    return call


def _aiobreaker() -> AsyncGuard:
    module = importlib.import_module("aiobreaker")
    pause = datetime.timedelta(seconds=OPEN_S)
    call: AsyncGuard = module.CircuitBreaker(fail_max=1, timeout_duration=pause).call_async
    return call


def _purgatory() -> AsyncGuard:
    module = importlib.import_module("purgatory")
    factory = module.AsyncCircuitBreakerFactory(default_threshold=1, default_ttl=OPEN_S)

    async def guard(fn: Callable[[], Coroutine[Any, Any, None]]) -> None:
        async with await factory.get_breaker("a"):
            await fn()

    return guard


def in_threads(guard: Guard, provider: Provider, callers: int) -> None:
    """All callers at the same moment; what they are told is not looked at."""
    barrier = threading.Barrier(callers)

    def one() -> None:
        barrier.wait()
        try:
            guard(provider.call)
        except Exception:  # noqa: BLE001 - each library has its own
            return

    threads = [threading.Thread(target=one) for _ in range(callers)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()


async def in_tasks(make: Callable[[], AsyncGuard]) -> int:
    """How many of the callers come through when the open period has ended."""
    guard, provider = make(), Provider(ok=False)
    await asyncio.gather(guard(provider.call_async), return_exceptions=True)
    assert provider.came == 1
    await asyncio.sleep(1.5 * OPEN_S)
    callers = (guard(provider.call_async) for _ in range(CALLERS))
    await asyncio.gather(*callers, return_exceptions=True)
    return provider.came - 1


def test_half_open(rows: Rows) -> None:
    """50 callers at the end of the open period, and 8 through a closed breaker."""
    blocking: dict[str, Callable[[], Guard]] = {"": _our_breaker, "_pybreaker": _pybreaker}
    for name, make in blocking.items():
        try:
            guard = make()
        except ImportError:
            continue
        well, ill = Provider(ok=True), Provider(ok=False)
        in_threads(guard, well, 8)
        rows.add(f"limits.closed_overlap{name}", well.most, "of 8 calls at once")
        in_threads(guard, ill, 1)
        time.sleep(1.5 * OPEN_S)
        in_threads(guard, ill, CALLERS)
        admitted = ill.came - 1
        rows.add(f"limits.half_open_admitted{name}", admitted, f"of {CALLERS} callers")
    awaiting = {"_aiobreaker": _aiobreaker, "_purgatory": _purgatory}
    for name, make_async in awaiting.items():
        try:
            came = asyncio.run(in_tasks(make_async))
        except ImportError:
            continue
        rows.add(f"limits.half_open_admitted{name}", came, f"of {CALLERS} callers")
