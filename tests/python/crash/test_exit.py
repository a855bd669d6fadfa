"""How a process ends with calls under way: by itself, by Ctrl-C, by a signal. Prompt, and booked.

The simulator holds its answers back for a minute. Whoever waits that long has hung; each ending
here is to take a few seconds. What was sent stays counted: in doubt at its hold.
"""

from __future__ import annotations

import signal
import time

import pytest

from sluiceway.simulator import Simulator
from tests.python.crash.conftest import Scripts

PROMPT_S = 8.0  # an ending on a busy machine, the drain of 2 s included
_HEAD = """
import asyncio, os, signal, sys, threading
import sluiceway as sw

MODEL = "openai/gpt-4o-mini"
SLOW = "abcdefgh [[simulator: latency_ms=60000]]"
SLOW_STREAM = "abcdefgh [[simulator: output_tokens=100 token_ms=60000]]"
gw = sw.Gateway.from_env()
"""

_ENDINGS = {
    "daemon threads": """
def wait():
    gw.chat(MODEL, SLOW)
for _ in range(3):
    threading.Thread(target=wait, daemon=True).start()
wait_for_simulator(3)
""",
    "tasks of a loop": """
async def main():
    tasks = [asyncio.create_task(gw.aio.chat(MODEL, SLOW)) for _ in range(3)]
    await asyncio.sleep(0)
    await asyncio.to_thread(wait_for_simulator, 3)
asyncio.run(main())
""",
    "a loop that was never closed": """
loop = asyncio.new_event_loop()
async def start():
    return [asyncio.ensure_future(gw.aio.chat(MODEL, SLOW)) for _ in range(3)]
tasks = loop.run_until_complete(start())
loop.run_until_complete(asyncio.sleep(0))
wait_for_simulator(3)
import logging
logging.disable()  # asyncio says that tasks were pending, which is true
""",
    "streams that were dropped": """
streams = [gw.stream(MODEL, SLOW_STREAM) for _ in range(3)]
def read(stream):
    for _ in stream:
        pass
for stream in streams:
    threading.Thread(target=read, args=(stream,), daemon=True).start()
wait_for_simulator(3)
""",
    "sys.exit in a with block": """
threading.Thread(target=lambda: gw.chat(MODEL, SLOW), daemon=True).start()
threading.Thread(target=lambda: gw.chat(MODEL, SLOW), daemon=True).start()
threading.Thread(target=lambda: gw.chat(MODEL, SLOW), daemon=True).start()
wait_for_simulator(3)
with gw:
    sys.exit(0)
""",
}
_WAIT = """
import json, time, urllib.request
def wait_for_simulator(count):
    url = os.environ["SLUICEWAY_SIMULATOR_URL"] + "/_simulator/executions"
    while json.load(urllib.request.urlopen(url))["total"] < count:
        time.sleep(0.01)
    print("waiting", flush=True)
threading.excepthook = lambda args: None  # a thread that hears GatewayClosed at the end may say so
"""


@pytest.mark.parametrize("how", _ENDINGS)
def test_the_interpreter_ends_with_calls_under_way(
    scripts: Scripts, sim: Simulator, how: str
) -> None:
    process = scripts.start(_HEAD + _WAIT + _ENDINGS[how])
    assert process.stdout is not None
    assert process.stdout.readline() == "waiting\n"
    begun_s = time.monotonic()
    scripts.finish(process)
    took_s = time.monotonic() - begun_s
    assert took_s < PROMPT_S, f"it took {took_s:.1f} s"
    ends, holds = scripts.books()
    assert [end["kind"] for end in ends] == ["in_doubt"] * 3
    bill = sim.bill()["total_nanousd"]
    assert 0 < bill <= sum(hold["amount_nanousd"] for hold in holds)
    assert sim.executions()["total"] == 3


_INTERRUPTED = {
    "chat": "gw.chat(MODEL, SLOW)",
    "stream": "list(gw.stream(MODEL, SLOW_STREAM))",
    "asyncio": "asyncio.run(gw.aio.chat(MODEL, SLOW))",
    "in a budget": """
    with gw.budget("job:1", usd="1.00"):
        gw.chat(MODEL, SLOW)""",
}


@pytest.mark.parametrize("what", _INTERRUPTED)
def test_control_c(scripts: Scripts, sim: Simulator, what: str) -> None:
    """KeyboardInterrupt at once; the gateway still works; the money is in doubt."""
    script = f"""
try:
    {_INTERRUPTED[what]}
except KeyboardInterrupt:
    print("interrupted", flush=True)
else:
    print("not interrupted", flush=True)
gw.chat(MODEL, "abcdefgh")
"""
    process = scripts.start(_HEAD + script)
    scripts.wait_executed(1)
    begun_s = time.monotonic()
    process.send_signal(signal.SIGINT)
    assert process.stdout is not None
    assert process.stdout.readline() == "interrupted\n"
    assert time.monotonic() - begun_s < 2.0
    scripts.finish(process, PROMPT_S)
    assert sim.executions()["total"] == 2
    ends, holds = scripts.books()
    assert sorted(end["kind"] for end in ends) == ["in_doubt", "settle"]
    assert len(holds) == 1
    assert holds[0]["in_doubt"]


def test_control_c_in_the_queue_of_a_limit(scripts: Scripts, sim: Simulator) -> None:
    """A call that waits in the limiter's queue was never sent: nothing is held for it."""
    script = """
gw = sw.Gateway({"limits": {"openai/gpt-4o-mini": {"requests_per_minute": 1, "burst_requests": 1}}})
gw.chat(MODEL, "abcdefgh")
try:
    print("queued", flush=True)
    gw.chat(MODEL, "abcdefgh", timeout_s=300)
except KeyboardInterrupt:
    print("interrupted", flush=True)
"""
    process = scripts.start(_HEAD + script)
    assert process.stdout is not None
    assert process.stdout.readline() == "queued\n"
    process.send_signal(signal.SIGINT)
    begun_s = time.monotonic()
    assert process.stdout.readline() == "interrupted\n"
    assert time.monotonic() - begun_s < 2.0
    scripts.finish(process, PROMPT_S)
    assert sim.executions()["total"] == 1
    ends, holds = scripts.books()
    assert {end["kind"] for end in ends} <= {"settle", "void"}
    assert holds == []


def test_a_signal_that_kills(scripts: Scripts, sim: Simulator) -> None:
    """SIGTERM without a handler: nothing is said or lost; the next start finds the hold."""
    process = scripts.start(_HEAD + "gw.chat(MODEL, SLOW)")
    scripts.wait_executed(1)
    process.send_signal(signal.SIGTERM)
    _, errors = process.communicate(timeout=PROMPT_S)
    assert process.returncode == -signal.SIGTERM
    assert errors == ""
    ends, holds = scripts.books()
    assert [end["kind"] for end in ends] == ["in_doubt"]
    assert holds[0]["amount_nanousd"] >= sim.bill()["total_nanousd"] > 0
