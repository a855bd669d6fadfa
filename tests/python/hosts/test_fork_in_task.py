"""Forks inside of a task that has just got its answer: process pools of asyncio programs."""

from __future__ import annotations

import pytest

from sluiceway.simulator import Simulator
from tests.python.hosts.conftest import COST_NANOUSD, HEAD, Scripts

_WORK = """
import multiprocessing

async def chat():
    return (await gw.aio.chat(MODEL, PROMPT, timeout_s=20)).cost.nanousd

async def stream():
    async with gw.aio.stream(MODEL, PROMPT, timeout_s=20) as stream:
        async for _ in stream:
            pass
        return (await stream.result()).cost.nanousd

async def several():
    return sum(await asyncio.gather(*(chat() for _ in range(5)))) // 5

def loop_in_a_thread(main):
    costs = []
    thread = threading.Thread(target=lambda: costs.append(asyncio.run(main)))
    thread.start()
    thread.join()
    return costs[0]

def work():
    assert WORK == 10_350
    gw.close()

def fork():
    child = multiprocessing.get_context("fork").Process(target=work)
    child.start()
    child.join()
    assert child.exitcode == 0, child.exitcode
"""
_WORKS = {
    "a chat": ("asyncio.run(chat())", 1),
    "a stream": ("asyncio.run(stream())", 1),
    "several": ("asyncio.run(several())", 5),
    "a blocking call": ("gw.chat(MODEL, PROMPT, timeout_s=20).cost.nanousd", 1),
    "in a thread": ("loop_in_a_thread(chat())", 1),
}
_MAIN = """
async def main():
    await chat()
    fork()
    await chat()
asyncio.run(main())
"""


@pytest.mark.parametrize("work", list(_WORKS))
def test_a_child_of_a_resumed_task(scripts: Scripts, sim: Simulator, work: str) -> None:
    """The child has loops of its own and pays for what it gets; the parent goes on."""
    text, calls = _WORKS[work]
    scripts.run(HEAD + _WORK.replace("WORK", text) + _MAIN)
    assert sim.executions()["total"] == 2 + calls
    ends, holds = scripts.books()
    assert [end["kind"] for end in ends] == ["settle"] * (2 + calls)
    assert holds == []


_SIBLINGS = """
async def ask_twice(forks):
    await chat()
    if forks:
        fork()
    return await chat()
async def main():
    costs = await asyncio.gather(*(ask_twice(number % 4 == 3) for number in range(8)))
    assert costs == [10_350] * 8
asyncio.run(main())
"""


def test_what_siblings_submitted_is_the_parents(scripts: Scripts, sim: Simulator) -> None:
    """A child sends nothing of what other tasks had just asked for when it was forked."""
    scripts.run(HEAD + _WORK.replace("WORK", "asyncio.run(chat())") + _SIBLINGS)
    assert sim.executions()["total"] == 8 * 2 + 2
    ends, holds = scripts.books()
    assert [end["amount_nanousd"] for end in ends] == [COST_NANOUSD] * 18
    assert holds == []
