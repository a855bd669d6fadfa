"""A busy event loop takes the engine's turns (decision 0012); one that is blocked stops nobody.

How calls end is the same on every road, so these count who took the turns.
"""

from __future__ import annotations

import asyncio
import threading
import time

from tests.python.core.kit import WAIT_S, Bench
from tests.python.core.loops import Run, run_with_asyncio

BATCH = 16


async def _until_it_takes_turns(bench: Bench, route: object) -> int:
    """Calls in batches until this loop took a turn; how many calls that were."""
    calls, ends_s = 0, time.monotonic() + WAIT_S
    while bench.engine.stats().get("turns_by_loops", 0) == 0:
        assert time.monotonic() < ends_s, "a busy loop took no turn"
        done = await asyncio.gather(*(bench.submit(route) for _ in range(BATCH)))
        assert all(call.ok for call in done)
        calls += BATCH
    return calls


def test_a_busy_loop_takes_turns(run: Run, bench: Bench) -> None:
    route = bench.route()
    calls = run(_until_it_takes_turns(bench, route))
    assert bench.executed() == calls


def test_a_loop_with_one_slow_call_takes_none(run: Run, bench: Bench) -> None:
    route = bench.route()

    async def main() -> None:
        for _ in range(3):
            assert (await bench.submit(route, "latency_ms=20")).ok

    run(main())
    assert bench.engine.stats().get("turns_by_loops", 0) == 0


def test_a_blocked_loop_stops_nobody(bench: Bench) -> None:
    route = bench.route()
    blocked, free = threading.Event(), threading.Event()

    async def main() -> None:
        await _until_it_takes_turns(bench, route)
        mine = [bench.submit(route, "latency_ms=1") for _ in range(BATCH)]
        blocked.set()
        assert free.wait(WAIT_S), "the other thread's calls did not end"
        for call in mine:
            assert (await call).ok

    thread = threading.Thread(target=run_with_asyncio, args=(main(),))
    thread.start()
    assert blocked.wait(WAIT_S)
    for _ in range(20):
        assert bench.run(route).ok
    free.set()
    thread.join(WAIT_S)
    assert not thread.is_alive()


def test_loops_side_by_side(bench: Bench) -> None:
    route = bench.route()
    ends: list[int] = []

    async def main() -> None:
        for _ in range(20):
            done = await asyncio.gather(*(bench.submit(route) for _ in range(BATCH)))
            ends.append(sum(call.ok for call in done))

    threads = [threading.Thread(target=run_with_asyncio, args=(main(),)) for _ in range(2)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(WAIT_S)
        assert not thread.is_alive()
    assert ends == [BATCH] * 40
