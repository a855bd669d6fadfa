"""fork at the awkward moments: from a thread, 200 times, with waits inherited; what a child owns.

What a child must not do: hang, crash, end its parent's reservations, keep the parent's sockets open
or answer for the parent's calls. The costs are those of test_fork.py.
"""

from __future__ import annotations

from collections import Counter

import pytest

from sluiceway.simulator import Simulator
from tests.python.crash.conftest import Scripts
from tests.python.crash.test_fork import COST_NANOUSD

_HEAD = """
import asyncio, json, os, sys, threading, time, urllib.request
import sluiceway as sw

MODEL = "openai/gpt-4o-mini"
PROMPT = "abcdefgh"
SLOW = PROMPT + " [[simulator: latency_ms=60000]]"
SLOW_STREAM = PROMPT + " [[simulator: output_tokens=400 token_ms=50]]"
CLOSES = True
gw = sw.Gateway.from_env()

def call(text=PROMPT):
    return gw.chat(MODEL, text)

def wait_executed(count):
    url = os.environ["SLUICEWAY_SIMULATOR_URL"] + "/_simulator/executions"
    while json.load(urllib.request.urlopen(url))["total"] < count:
        time.sleep(0.005)

def in_child(function):
    '''Runs it in a child; the child's status must be 0, within a minute.'''
    child = os.fork()
    if child == 0:
        status = 1
        try:
            function()
            if CLOSES:
                gw.close()  # os._exit runs no hook: what is not written yet would stay in doubt
            status = 0
        except BaseException:
            import traceback
            traceback.print_exc()
        finally:
            os._exit(status)
    until = time.monotonic() + 60
    while True:
        found, status = os.waitpid(child, os.WNOHANG)
        if found:
            break
        if time.monotonic() > until:
            os.kill(child, 9)
            os.waitpid(child, 0)
            raise SystemExit("a child hung")
        time.sleep(0.002)
    assert status == 0, status
"""

_MOMENTS = {
    "before use": ("in_child(call)\ncall()", 2),
    "after use": ("call()\nin_child(call)\ncall()", 3),
    "after close": ("call()\ngw.close()\ngw = sw.Gateway.from_env()\nin_child(call)\ncall()", 3),
    "from a thread": (
        """
call()
failed = []
def fork():
    try:
        in_child(call)
    except BaseException as error:
        failed.append(error)
threads = [threading.Thread(target=fork) for _ in range(4)]
for thread in threads:
    thread.start()
for thread in threads:
    thread.join()
assert not failed, failed
call()
""",
        6,
    ),
    "child of a child": ("call()\nin_child(lambda: (call(), in_child(call), call()))\ncall()", 5),
    "a task of a loop": (
        """
async def main():
    calls = [asyncio.create_task(gw.aio.chat(MODEL, PROMPT)) for _ in range(5)]
    await asyncio.sleep(0)
    def child():
        loop = asyncio.new_event_loop()
        one = gw.aio.chat(MODEL, PROMPT)
        thread = threading.Thread(target=loop.run_until_complete, args=(one,))
        thread.start()
        thread.join()
    await asyncio.to_thread(in_child, child)
    await asyncio.gather(*calls)
asyncio.run(main())
""",
        6,
    ),
}


@pytest.mark.parametrize("moment", _MOMENTS)
def test_a_fork(scripts: Scripts, sim: Simulator, moment: str) -> None:
    script, calls = _MOMENTS[moment]
    scripts.run(_HEAD + script)
    assert sim.executions()["total"] == calls
    ends, holds = scripts.books()
    assert [end["amount_nanousd"] for end in ends] == [COST_NANOUSD] * calls
    assert holds == []


def test_two_hundred_forks_in_the_middle_of_calls(scripts: Scripts, sim: Simulator) -> None:
    """Threads, a loop and streams are busy; every fourth child makes a call, the others leave."""
    script = """
CLOSES = False
call()  # CPython's import locks do not survive a fork: import what a call needs
done = threading.Event()
def blocking():
    while not done.is_set():
        call()
def streaming():
    while not done.is_set():
        for _ in gw.stream(MODEL, PROMPT):
            pass
async def awaiting():
    while not done.is_set():
        await asyncio.gather(*(gw.aio.chat(MODEL, PROMPT) for _ in range(8)))
works = [blocking, blocking, streaming, lambda: asyncio.run(awaiting())]
failed = []
def safely(work):
    try:
        work()
    except BaseException as error:
        failed.append(error)
        raise
threads = [threading.Thread(target=safely, args=(work,)) for work in works]
for thread in threads:
    thread.start()
for number in range(200):
    in_child(call if number % 4 == 0 else lambda: None)
done.set()
for thread in threads:
    thread.join(30)
    assert not thread.is_alive()
assert not failed
assert gw.stats()["failed"] == 0
gw.close()
"""
    scripts.run(_HEAD + script, timeout_s=240)
    assert max(sim.executions()["by_attempt"].values()) == 1
    ends, holds = scripts.books()
    # The 50 children that called left by os._exit: what they had not written yet is in doubt.
    settled = sum(end["amount_nanousd"] for end in ends if end["kind"] == "settle")
    bill = sim.bill()["total_nanousd"]
    assert settled <= bill <= settled + sum(hold["amount_nanousd"] for hold in holds)
    assert len(holds) <= 50
    assert len(ends) == sim.executions()["total"]


_INHERITED = {
    "a blocking wait": "call_one.wait()",
    "an await": "asyncio.run(wait_for(call_one))",
    "deltas": "stream_one.next_events_wait()",
    "awaited deltas": "asyncio.run(next_of(stream_one))",
    "trio": "import trio; trio.run(wait_for, call_one)",
}


@pytest.mark.parametrize("how", _INHERITED)
def test_inherited_waits_raise_forked_error(scripts: Scripts, how: str) -> None:
    """At once, however the child waits; and the parent's call and its hold are as they were."""
    if how == "trio":
        pytest.importorskip("trio")
    script = f"""
hub = gw._hub
target = hub.target(MODEL, hub.plan)
from sluiceway._steps import start
call_one = start(hub, hub.plan, target, SLOW, False)
stream_one = start(hub, hub.plan, target, SLOW_STREAM, True)
wait_executed(2)
async def wait_for(one):
    await one
async def next_of(one):
    await one.next_events()
def child():
    begun = time.monotonic()
    try:
        {_INHERITED[how]}
    except sw.ForkedError as error:
        assert not error.retryable
    else:
        raise SystemExit("no ForkedError")
    assert time.monotonic() - begun < 5
    for one in (call_one, stream_one):
        assert not one.done
        one.cancel()     # does nothing here
    call()
in_child(child)
assert not call_one.done and not stream_one.done
assert len(gw.ledger.holds()) == 2
assert [hold["in_doubt"] for hold in gw.ledger.holds()] == [False, False]
assert stream_one.next_events_wait()
"""
    scripts.run(_HEAD + script)
    ends, _ = scripts.books()
    assert sorted(end["kind"] for end in ends) == ["in_doubt", "in_doubt", "settle"]


def test_a_child_holds_none_of_its_parents_descriptors(scripts: Scripts) -> None:
    """Sockets, epoll, eventfds, the ledger's files: closed in the child, not in the parent."""
    script = """
def descriptors():
    found = {}
    for name in os.listdir("/proc/self/fd"):
        try:
            found[int(name)] = os.readlink(f"/proc/self/fd/{name}")
        except OSError:
            pass
    return found

before = set(descriptors())
call()
loop = asyncio.new_event_loop()
loop.run_until_complete(gw.aio.chat(MODEL, PROMPT))
opened = {fd: what for fd, what in descriptors().items() if fd not in before}
def what_is_left():
    left = descriptors()
    kept = {fd: left[fd] for fd in opened if fd in left}
    asyncio_fds = {one.fileno() for one in (loop._selector, loop._csock, loop._ssock)}
    kept = {fd: what for fd, what in kept.items() if fd not in asyncio_fds}
    # libcurl has an eventfd of its own, which it names nobody, and which nobody listens to.
    assert list(kept.values()) in ([], ["anon_inode:[eventfd]"]), kept
kinds = " ".join(opened.values())
for kind in ("socket:", "[eventpoll]", "[eventfd]", "books.db", "books.db-wal", "books.db-lock"):
    assert kind in kinds, (kind, kinds)
in_child(what_is_left)
assert {fd: what for fd, what in descriptors().items() if fd in opened} == opened
call()
loop.run_until_complete(gw.aio.chat(MODEL, PROMPT))
"""
    scripts.run(_HEAD + script)
    ends, holds = scripts.books()
    assert Counter(end["kind"] for end in ends) == {"settle": 4}
    assert holds == []


def test_a_child_does_not_disturb_the_parents_connections(scripts: Scripts, sim: Simulator) -> None:
    """Idle connections of the parent are used again after children came and went."""
    script = """
call()
opened = gw.stats()["connections_opened"]
for _ in range(5):
    in_child(call)
    call()
assert gw.stats()["connections_opened"] == opened, gw.stats()
"""
    scripts.run(_HEAD + script)
    assert sim.executions()["total"] == 11


def test_a_subinterpreter_is_refused(scripts: Scripts) -> None:
    """With an ImportError that says so; the main interpreter is not disturbed."""
    script = """
try:
    import _xxsubinterpreters as interpreters
except ImportError:
    import _interpreters as interpreters
call()
one = interpreters.create()
try:
    outcome = interpreters.run_string(one, '''
try:
    import sluiceway
    sluiceway.Gateway.from_env().stats()
except ImportError as error:
    assert "interpreter" in str(error), error
else:
    raise SystemExit("it was imported")
''')
except interpreters.RunFailedError as error:
    raise SystemExit(str(error))
assert outcome is None, outcome
interpreters.destroy(one)
call()
"""
    scripts.run(_HEAD + script)
