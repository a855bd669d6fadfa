"""A loop that is run inside of a task: one that nest_asyncio patched (notebooks), or another."""

from __future__ import annotations

import pytest

from sluiceway.simulator import Simulator
from tests.python.hosts.conftest import HEAD, Scripts, need

# What nest_asyncio does to the loop's class, in short.
_BY_HAND = """
class Nesting(asyncio.SelectorEventLoop):
    def run_until_complete(self, future):
        if not self.is_running():
            return super().run_until_complete(future)
        future = asyncio.ensure_future(future, loop=self)
        task = asyncio.current_task(self)
        asyncio.tasks._leave_task(self, task)
        try:
            while not future.done():
                self._run_once()
        finally:
            asyncio.tasks._enter_task(self, task)
        return future.result()

def apply():
    loop = asyncio.get_running_loop()
    if not isinstance(loop, Nesting):
        loop.__class__ = Nesting

def nest(awaitable):
    return asyncio.get_running_loop().run_until_complete(awaitable)

def run(main):
    loop = Nesting()
    try:
        loop.run_until_complete(main)
    finally:
        loop.close()
"""
_PATCHED = """
import nest_asyncio2
def apply():
    nest_asyncio2.apply()

def nest(awaitable):
    return asyncio.get_running_loop().run_until_complete(awaitable)

def run(main):
    apply()
    asyncio.run(main)
"""
_ANOTHER = """
def apply():
    pass

def nest(awaitable):
    outer, task = asyncio.get_running_loop(), asyncio.current_task()
    async def inner():
        return await awaitable
    asyncio._set_running_loop(None)
    loop = asyncio.new_event_loop()
    try:
        return loop.run_until_complete(inner())
    finally:
        loop.close()
        asyncio._set_running_loop(outer)

def run(main):
    asyncio.run(main)
"""
_LOOPS = {"by hand": _BY_HAND, "nest_asyncio2": _PATCHED, "another loop": _ANOTHER}


def _head(loops: str) -> str:
    if loops == "nest_asyncio2":
        need("nest_asyncio2")
    return HEAD + _LOOPS[loops]


_ASK = """
async def ask():
    return (await gw.aio.chat(MODEL, PROMPT, timeout_s=20)).cost.nanousd
"""
_AFTER_AN_AWAIT = """
async def outer():
    await ask()
    return nest(INNER)

async def with_a_pause():
    cost = await ask()
    await asyncio.sleep(0.001)
    assert await ask() == cost
    await asyncio.gather(ask(), ask())
    return await ask()

async def with_a_stream():
    async with gw.aio.stream(MODEL, PROMPT, timeout_s=20) as stream:
        async for _ in stream:
            pass
    return await ask()

async def main():
    for count in (1, 2, 5):
        assert await asyncio.gather(*(outer() for _ in range(count))) == [10_350] * count
run(main())
"""
_INNER = {"ask()": 2, "with_a_pause()": 6, "with_a_stream()": 3}


@pytest.mark.parametrize("inner", list(_INNER))
@pytest.mark.parametrize("loops", list(_LOOPS))
def test_a_loop_inside_of_a_resumed_task(
    scripts: Scripts, sim: Simulator, loops: str, inner: str
) -> None:
    """Calls of the inner loop are sent and answered, though its task was resumed with others."""
    scripts.run(_head(loops) + _ASK + _AFTER_AN_AWAIT.replace("INNER", inner))
    assert sim.executions()["total"] == (1 + 2 + 5) * _INNER[inner]
    _, holds = scripts.books()
    assert holds == []


# Ten tasks get their first answers at about the same time, most of them in one batch.
_SIBLINGS = """
async def leader():
    await ask()
    return nest(asyncio.gather(*siblings))

async def main():
    global siblings
    first = asyncio.ensure_future(leader())
    siblings = [asyncio.ensure_future(ask()) for _ in range(10)]
    costs = await first
    assert len(costs) == 10 and len(set(costs)) == 1, costs
run(main())
"""


@pytest.mark.parametrize("loops", ["by hand", "nest_asyncio2"])
def test_the_inner_loop_waits_for_siblings(scripts: Scripts, sim: Simulator, loops: str) -> None:
    """Tasks whose answers came in the same batch are resumed in the inner loop."""
    text = _ASK.replace("PROMPT", 'PROMPT + " [[simulator: latency_ms=50]]"')
    scripts.run(_head(loops) + text + _SIBLINGS)
    assert sim.executions()["total"] == 11


_PATCHED_LATE = """
async def main():
    await ask()
    apply()
    assert nest(ask()) == 10_350
    assert await ask() == 10_350
asyncio.run(main())
"""


@pytest.mark.parametrize("loops", ["by hand", "nest_asyncio2"])
def test_a_loop_that_is_patched_while_it_runs(scripts: Scripts, sim: Simulator, loops: str) -> None:
    """nest_asyncio is often applied just before it is needed, in the same step of the same task."""
    scripts.run(_head(loops) + _ASK + _PATCHED_LATE)
    assert sim.executions()["total"] == 3
