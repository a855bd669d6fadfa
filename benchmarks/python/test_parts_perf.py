"""The parts that Python calls directly: cache keys, the token bucket, the breaker, a cache hit.

Each answer is checked before it is timed; peers that are not installed are left out.
"""

from __future__ import annotations

import asyncio
import hashlib
import importlib
import json
import statistics
import subprocess
import sys
import time
import warnings
from collections.abc import Callable
from typing import Any

import pytest

import sluiceway as sw
from benchmarks.python import bodies
from benchmarks.python.clients import common
from benchmarks.python.clients.sluiceway_client import MODEL, gateway
from benchmarks.python.harness import Bench
from benchmarks.python.rows import Rows
from benchmarks.python.timing import Work, compare, repeat
from sluiceway import _core

pytestmark = pytest.mark.informational


@pytest.mark.parametrize(("size", "calls"), [(2_000, 2_000), (100_000, 150)])
def test_cache_key(rows: Rows, benchmark: Any, size: int, calls: int) -> None:
    """Canonical JSON and SHA-256 straight from Python objects."""
    orjson = pytest.importorskip("orjson")
    request = bodies.request(size)
    canonical = _core.canonical_json(request)
    # Without floats in exponent form and with ASCII names the forms agree, so that they compare.
    assert canonical == orjson.dumps(request, option=orjson.OPT_SORT_KEYS)
    assert 0.9 * size < len(canonical) <= size

    def stdlib() -> bytes:
        text = json.dumps(request, sort_keys=True, separators=(",", ":"))
        return hashlib.sha256(text.encode()).digest()

    def with_orjson() -> bytes:
        return hashlib.sha256(orjson.dumps(request, option=orjson.OPT_SORT_KEYS)).digest()

    assert with_orjson() == hashlib.sha256(canonical).digest()
    assert json.loads(canonical) == request  # the standard form escapes, so its digest is another
    assert len(stdlib()) == 32
    key, schema = _core.cache_key, 1
    got = compare(
        benchmark,
        {
            "ours": repeat(lambda: key("default", schema, "openai", "gpt-4.1", "chat", request)),
            "stdlib": repeat(stdlib),
            "orjson": repeat(with_orjson),
            "sha256": repeat(lambda: hashlib.sha256(canonical).digest()),
        },
        calls,
    )
    words = {
        "stdlib": "json.dumps(sort_keys) and hashlib",
        "orjson": "orjson, sorted (not canonical), and hashlib",
        "sha256": "hashlib.sha256 of the ready text",
    }
    middle = "" if size == 2_000 else f"_{size // 1000}kb"
    for name, text in words.items():
        versus = f"{text}, {got[name] / 1e3:.2f} us"
        rows.add(
            f"cache.key{middle}_vs_{name}",
            got["ours"] / 1e3,
            "us",
            versus=versus,
            ratio=got[name] / got["ours"],
        )


def _limits() -> Work:
    limits = importlib.import_module("limits")
    strategy = limits.strategies.MovingWindowRateLimiter(limits.storage.MemoryStorage())
    item = limits.RateLimitItemPerMinute(10**9)
    assert strategy.hit(item, "a")
    return repeat(lambda: strategy.hit(item, "a"))


def _pyrate_limiter() -> Work:
    module = importlib.import_module("pyrate_limiter")
    limiter = module.Limiter(module.InMemoryBucket([module.Rate(10**9, module.Duration.MINUTE)]))
    assert limiter.try_acquire("a")
    return repeat(lambda: limiter.try_acquire("a"))


def _aiolimiter() -> Work:
    module = importlib.import_module("aiolimiter")

    def work(count: int) -> None:
        async def main() -> None:
            limiter = module.AsyncLimiter(10**9, 60)
            for _ in range(count):
                await limiter.acquire()

        asyncio.run(main())

    return work


def _throttled() -> Work:
    module = importlib.import_module("throttled")
    throttle = module.Throttled(
        key="a",
        using="token_bucket",
        quota=module.rate_limiter.per_min(10**9, burst=10**9),
        store=module.store.MemoryStore(),
    )
    assert not throttle.limit().limited
    return repeat(throttle.limit)


def test_token_bucket(rows: Rows, benchmark: Any) -> None:
    """One permit through Python: ours and the limiters of PyPI."""
    bucket = sw.TokenBucket(capacity=10**9, rate_per_s=1e9)
    assert bucket.try_acquire() == 0.0
    core = _core.TokenBucket(10**9, 1e9)
    assert core.try_acquire(1) == 0.0
    take = core.try_acquire
    subjects: dict[str, Work] = {
        "ours": repeat(bucket.try_acquire),
        "core": repeat(lambda: take(1)),
    }
    makers: dict[str, Callable[[], Work]] = {
        "limits": _limits,
        "pyrate_limiter": _pyrate_limiter,
        "aiolimiter": _aiolimiter,
        "throttled": _throttled,
    }
    for name, make in makers.items():
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            try:
                subjects[name] = make()
            except ImportError:
                continue
    got = compare(benchmark, subjects, calls=2_000)
    rows.add("limits.acquire_python_ns", got["ours"], "ns")
    rows.add("limits.acquire_core_python_ns", got["core"], "ns")
    for name in makers.keys() & got.keys():
        versus = f"{name}, {got[name]:.0f} ns"
        ratio = got[name] / got["ours"]
        rows.add(f"limits.acquire_vs_{name}", got["ours"], "ns", versus=versus, ratio=ratio)


def test_guarded_call(rows: Rows, benchmark: Any) -> None:
    """A function behind a breaker; the bare function's call is part of both."""
    breaker = sw.CircuitBreaker(failure_threshold=5)

    def work() -> int:
        return 1

    ours = sw.guarded(breaker)(work)
    assert ours() == 1
    subjects: dict[str, Work] = {"ours": repeat(ours)}
    try:
        pybreaker = importlib.import_module("pybreaker")
        peer = pybreaker.CircuitBreaker(fail_max=5)
        assert peer.call(work) == 1
        subjects["pybreaker"] = repeat(lambda: peer.call(work))
    except ImportError:
        pass
    got = compare(benchmark, subjects, calls=2_000)
    if "pybreaker" not in got:
        rows.add("limits.guarded_call_ns", got["ours"], "ns")
        return
    versus = f"pybreaker, {got['pybreaker']:.0f} ns"
    ratio = got["pybreaker"] / got["ours"]
    rows.add("limits.guarded_call_ns", got["ours"], "ns", versus=versus, ratio=ratio)


def test_cache_hit(bench: Bench, rows: Rows, benchmark: Any) -> None:
    """An answer from the cache through the public API: no engine, no ledger, no socket."""
    with bench.server() as origin:
        gw = gateway(f"{origin}/v1", ":memory:", everything=False).with_options(cache=3600)
        first = gw.chat(MODEL, common.PROMPT)
        second = gw.chat(MODEL, common.PROMPT)
        assert (first.cache, second.cache) == ("miss", "hit")
        assert second.text == common.TEXT
        got = compare(benchmark, {"ours": repeat(lambda: gw.chat(MODEL, common.PROMPT))}, 2_000)
        gw.close()
    rows.add("cache.hit_us", got["ours"] / 1e3, "us")


@pytest.mark.gate
def test_import(rows: Rows) -> None:
    """`import sluiceway` in a fresh interpreter, less an interpreter that imports nothing."""

    def start_ms(code: str) -> float:
        began = time.perf_counter()
        subprocess.run([sys.executable, "-c", code], check=True)
        return (time.perf_counter() - began) * 1e3

    spans_ms = [start_ms("import sluiceway") - start_ms("pass") for _ in range(11)]
    import_ms = statistics.median(spans_ms)
    rows.add("import.ms", import_ms, "ms")
    assert min(spans_ms) < 50
