"""Blocking calls in greenlets: one thread, and a wait lets the others run."""

from __future__ import annotations

import signal
from collections import Counter

import pytest

from sluiceway.simulator import Simulator
from tests.python.hosts.conftest import COST_NANOUSD, HEAD, Scripts, need

# gevent warns when it patches ssl after it was imported; here nothing was.
_PATCHED = "from gevent import monkey; monkey.patch_all()\nimport gevent\n" + HEAD


def test_greenlets_wait_at_the_same_time(scripts: Scripts, sim: Simulator) -> None:
    """A call in flight for as long as the others need: with a blocked hub it would never end."""
    need("gevent")
    script = """
ticks = 0
def tick():
    global ticks
    while True:
        ticks += 1
        gevent.sleep(0.01)
ticker = gevent.spawn(tick)
jobs = [gevent.spawn(gw.chat, MODEL, SHORT) for _ in range(100)]
begun = time.monotonic()
gevent.joinall(jobs, raise_error=True)
took = time.monotonic() - begun
assert took < 100 * 0.3 / 2, took  # one after the other they would take 30 s
assert ticks > 5, ticks
assert all(job.value.cost.nanousd > 0 for job in jobs)
ticker.kill()
"""
    scripts.run(_PATCHED + script)
    ends, holds = scripts.books()
    assert Counter(end["kind"] for end in ends) == {"settle": 100}
    assert holds == []
    assert sim.executions()["total"] == 100


def test_streams_raw_calls_and_budgets(scripts: Scripts) -> None:
    need("gevent")
    script = """
def read():
    with gw.stream(MODEL, STREAM) as stream:
        pieces = [delta.text for delta in stream]
        assert "".join(pieces) == stream.result().text and len(pieces) > 1
def ask():
    gw.raw.get("openai", "/v1/models", free=True)
    with gw.budget("job:1", usd="1.00"):
        return gw.chat(MODEL, PROMPT)
jobs = [gevent.spawn(function) for function in (read, ask) for _ in range(10)]
gevent.joinall(jobs, raise_error=True)
gw.close()
"""
    scripts.run(_PATCHED + script)
    ends, holds = scripts.books()
    assert Counter(end["amount_nanousd"] for end in ends)[COST_NANOUSD] == 10
    assert sum(end["scopes"] == ["job:1"] for end in ends) == 10
    assert holds == []


_ENDS = {
    "kill": "job.kill()",
    "timeout": """
with gevent.Timeout(3, False):
    gw.chat(MODEL, SLOW)
    raise SystemExit("no timeout")
job.kill()
""",
    "a stream": """
stream = gevent.spawn(lambda: list(gw.stream(MODEL, SLOW_STREAM)))
while executed() < 2:
    gevent.sleep(0.01)
stream.kill()
job.kill()
""",
}


@pytest.mark.parametrize("how", _ENDS)
def test_what_ends_a_greenlet_cancels_its_call(scripts: Scripts, how: str) -> None:
    need("gevent")
    script = f"""
job = gevent.spawn(gw.chat, MODEL, SLOW)
while executed() < 1:
    gevent.sleep(0.01)
{_ENDS[how]}
assert job.dead
with gevent.Timeout(20):
    while gw.stats()["completed"] < gw.stats()["submitted"] or gw.stats()["connections_open"]:
        gevent.sleep(0.01)
gw.chat(MODEL, PROMPT)
"""
    scripts.run(_PATCHED + script)
    ends, holds = scripts.books()
    doubts = 1 if how == "kill" else 2
    assert Counter(end["kind"] for end in ends) == {"settle": 1, "in_doubt": doubts}
    assert len(holds) == doubts


def test_control_c_in_the_main_greenlet(scripts: Scripts) -> None:
    need("gevent")
    script = """
try:
    gw.chat(MODEL, SLOW)
except KeyboardInterrupt:
    gw.chat(MODEL, PROMPT)
else:
    raise SystemExit("it was not interrupted")
"""
    # With other greenlets about, so that the hub is what waits.
    process = scripts.start(_PATCHED + "gevent.spawn(gevent.sleep, 3600)\n" + script)
    scripts.wait_executed(1)
    process.send_signal(signal.SIGINT)
    _, errors = process.communicate(timeout=30)
    assert process.returncode == 0, errors  # gevent's hub notes a KeyboardInterrupt there itself
    ends, _ = scripts.books()
    assert sorted(end["kind"] for end in ends) == ["in_doubt", "settle"]


def test_threads_of_the_pool_and_threads_that_are_real(scripts: Scripts) -> None:
    """No hub there: a wait blocks its own thread and nobody else."""
    need("gevent")
    script = """
pool = gevent.get_hub().threadpool
jobs = [pool.spawn(gw.chat, MODEL, SHORT) for _ in range(5)]
jobs += [gevent.spawn(gw.chat, MODEL, SHORT) for _ in range(5)]
assert len([job.get() for job in jobs]) == 10
done = []
start = monkey.get_original("_thread", "start_new_thread")
start(lambda: done.append(gw.chat(MODEL, SHORT)), ())
while not done:
    gevent.sleep(0.01)
"""
    scripts.run(_PATCHED + script)
    ends, holds = scripts.books()
    assert Counter(end["kind"] for end in ends) == {"settle": 11}
    assert holds == []


def test_no_call_imports_anything(scripts: Scripts) -> None:
    """gevent patches the locks of imports, and they can hang where several threads import."""
    need("gevent")
    script = """
known = set(sys.modules)
gw.chat(MODEL, PROMPT)
with gw.budget("job:one", usd="1.00"), gw.stream(MODEL, PROMPT) as stream:
    stream.result()
assert set(sys.modules) == known, sorted(set(sys.modules) - known)
"""
    scripts.run(_PATCHED + script)


def test_a_gevent_that_is_imported_and_not_used(scripts: Scripts) -> None:
    need("gevent")
    script = """
import gevent, gevent.monkey
gw.chat(MODEL, PROMPT)
asyncio.run(gw.aio.chat(MODEL, PROMPT))
threads = [threading.Thread(target=gw.chat, args=(MODEL, SHORT)) for _ in range(3)]
for thread in threads:
    thread.start()
for thread in threads:
    thread.join()
"""
    scripts.run(HEAD + script)
    ends, _ = scripts.books()
    assert Counter(end["kind"] for end in ends) == {"settle": 5}


def test_a_fork_of_a_patched_process(scripts: Scripts, sim: Simulator) -> None:
    """A greenlet that waited at the fork hears ForkedError in the child; the parent's goes on."""
    need("gevent")
    script = """
outcome = []
def ask():
    try:
        outcome.append(gw.chat(MODEL, PROMPT + " [[simulator: latency_ms=2000]]").text)
    except sw.ForkedError:
        outcome.append("forked")
job = gevent.spawn(ask)
while executed() < 1:
    gevent.sleep(0.01)
child = os.fork()
if child == 0:
    job.join()
    with gevent.Timeout(20):
        gevent.joinall([gevent.spawn(gw.chat, MODEL, PROMPT) for _ in range(3)], raise_error=True)
    gw.close()
    os._exit(0 if outcome == ["forked"] else 3)
assert os.waitpid(child, 0)[1] == 0
job.join()
assert outcome != ["forked"] and len(outcome) == 1
"""
    scripts.run(_PATCHED + script)
    assert sim.executions()["total"] == 4
    ends, holds = scripts.books()
    assert Counter(end["kind"] for end in ends) == {"settle": 4}
    assert holds == []
