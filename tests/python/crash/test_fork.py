"""fork and spawn: a gateway works in the child with an engine of its own, and in the parent after.

Every script runs in a process of its own, so that the test's own threads are not forked. Costs are
the simulator's: 8 bytes of prompt are 5 LLM tokens with its envelope, 16 come out, $0.15 and $0.60
a million of them on gpt-4o-mini, which makes 10,350 nano-dollars.
"""

from __future__ import annotations

from collections import Counter

import pytest

from sluiceway.simulator import Simulator
from tests.python.crash.conftest import Scripts

COST_NANOUSD = 10_350
_HEAD = """
import asyncio, json, multiprocessing, os, sys, threading, urllib.request
import sluiceway as sw

MODEL = "openai/gpt-4o-mini"
gw = sw.Gateway.from_env()

def call(text="abcdefgh"):
    return gw.chat(MODEL, text)

def wait_for_simulator(count):
    url = os.environ["SLUICEWAY_SIMULATOR_URL"] + "/_simulator/executions"
    while json.load(urllib.request.urlopen(url))["total"] < count:
        pass

def work(count):
    with gw.budget("job:1", usd="1.00"):
        for _ in range(count):
            call()
        async def several():
            await asyncio.gather(*(gw.aio.chat(MODEL, "abcdefgh") for _ in range(count)))
        asyncio.run(several())
    gw.close()
"""

_POOL = """
if __name__ == "__main__":
    if BEFORE:
        call()
    context = multiprocessing.get_context(METHOD)
    children = [context.Process(target=work, args=(3,)) for _ in range(3)]
    for child in children:
        child.start()
    if BEFORE:
        call()
    for child in children:
        child.join()
    assert [child.exitcode for child in children] == [0, 0, 0]
    call()
"""


@pytest.mark.parametrize("before", [True, False])
@pytest.mark.parametrize("method", ["fork", "spawn", "forkserver"])
def test_multiprocessing(scripts: Scripts, sim: Simulator, method: str, before: bool) -> None:
    scripts.run(_HEAD + f"METHOD, BEFORE = {method!r}, {before}\n" + _POOL)
    calls = 3 * 6 + (3 if before else 1)
    assert sim.executions()["total"] == calls
    ends, holds = scripts.books()
    assert Counter(end["kind"] for end in ends) == {"settle": calls}
    assert {end["amount_nanousd"] for end in ends} == {COST_NANOUSD}
    assert sum(end["scopes"] == ["job:1"] for end in ends) == 18
    assert holds == []


_IN_FLIGHT = """
SLOW = "abcdefgh [[simulator: latency_ms=1500]]"
results = []
thread = threading.Thread(target=lambda: results.append(call(SLOW)))
thread.start()
wait_for_simulator(1)
children = []
for _ in range(4):
    child = os.fork()
    if child == 0:
        call()
        gw.close()
        os._exit(0)
    children.append(child)
for child in children:
    assert os.waitpid(child, 0)[1] == 0
thread.join()
assert results[0].cost.nanousd > 0
call()
"""


def test_a_fork_leaves_the_parents_calls_alone(scripts: Scripts, sim: Simulator) -> None:
    """Children come and go while a call of the parent is under way; it is executed once."""
    scripts.run(_HEAD + _IN_FLIGHT)
    assert sim.executions()["total"] == 6
    assert max(sim.executions()["by_attempt"].values()) == 1
    ends, holds = scripts.books()
    assert Counter(end["kind"] for end in ends) == {"settle": 6}
    assert sum(end["amount_nanousd"] for end in ends) == sim.bill()["total_nanousd"]
    assert holds == []


_INHERITED = """
SLOW = "abcdefgh [[simulator: output_tokens=400 token_ms=20]]"
stream = gw.stream(MODEL, SLOW)
next(stream)
child = os.fork()
if child == 0:
    try:
        for _ in stream:
            pass
    except sw.ForkedError as error:
        assert not error.retryable
        os._exit(0)
    os._exit(3)
status = os.waitpid(child, 0)[1]
assert status == 0, status
stream.cancel()
try:
    stream.result()
except sw.SluicewayError as error:
    assert error.outcome == "in_doubt", error
gw.close()
"""


def test_an_inherited_call_is_the_parents(scripts: Scripts) -> None:
    """The child gets ForkedError and ends nothing of the parent's."""
    scripts.run(_HEAD + _INHERITED)
    ends, holds = scripts.books()
    assert [end["kind"] for end in ends] == ["in_doubt"]
    assert len(holds) == 1


_LOOP = """
async def main():
    await gw.aio.chat(MODEL, "abcdefgh")
    child = os.fork()
    if child == 0:
        # The loop of the parent is no loop of the child's: it gets a thread and a loop of its own.
        def run():
            asyncio.run(several())
        async def several():
            await asyncio.gather(*(gw.aio.chat(MODEL, "abcdefgh") for _ in range(3)))
        thread = threading.Thread(target=run)
        thread.start()
        thread.join()
        gw.close()
        os._exit(0)
    assert os.waitpid(child, 0)[1] == 0
    await asyncio.gather(*(gw.aio.chat(MODEL, "abcdefgh") for _ in range(3)))

asyncio.run(main())
"""


def test_a_fork_inside_of_a_loop(scripts: Scripts, sim: Simulator) -> None:
    scripts.run(_HEAD + _LOOP)
    assert sim.executions()["total"] == 7
    ends, holds = scripts.books()
    assert Counter(end["kind"] for end in ends) == {"settle": 7}
    assert holds == []


_STORM = """
call()  # what the first call imports is there: CPython's import locks do not survive a fork
done = threading.Event()
def hammer():
    while not done.is_set():
        call()
threads = [threading.Thread(target=hammer) for _ in range(4)]
for thread in threads:
    thread.start()
failed = 0
for _ in range(25):
    child = os.fork()
    if child == 0:
        call()
        os._exit(0)
    failed += os.waitpid(child, 0)[1] != 0
done.set()
for thread in threads:
    thread.join()
assert failed == 0, failed
gw.close()
"""


def test_forks_at_any_moment(scripts: Scripts, sim: Simulator) -> None:
    """Children of a busy parent that die without a goodbye: no deadlock, no money lost."""
    scripts.run(_HEAD + _STORM)
    assert max(sim.executions()["by_attempt"].values()) == 1
    ends, holds = scripts.books()
    settled = sum(end["amount_nanousd"] for end in ends if end["kind"] == "settle")
    bill = sim.bill()["total_nanousd"]
    assert settled <= bill <= settled + sum(hold["amount_nanousd"] for hold in holds)
    assert len(holds) <= 25
    assert len(ends) == sim.executions()["total"]
