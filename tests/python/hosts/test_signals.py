"""Signals whose handlers do more than set a flag: they wait, call, fork, or end the program."""

from __future__ import annotations

import pytest

from sluiceway.simulator import Simulator
from tests.python.hosts.conftest import HEAD, Scripts

# The handler begins while the main thread waits for its call, and that call ends before the handler
# does anything: from then on it is the main thread's turn to be woken.
_HANDLER = """
started = threading.Event()

def handler(*_):
    started.set()
    while gw.stats()["completed"] < 1:
        time.sleep(0.005)
    HANDLE()

def in_a_thread():
    thread = threading.Thread(target=gw.chat, args=(MODEL, PROMPT))
    thread.start()
    thread.join()

def in_a_stream():
    with gw.stream(MODEL, STREAM) as stream:
        assert sum(1 for _ in stream) > 1

def send_signal():
    wait_executed(1)
    os.kill(os.getpid(), signal.SIGUSR1)

signal.signal(signal.SIGUSR1, handler)
threading.Thread(target=send_signal).start()
"""
_HANDLES = {
    "a call": "HANDLE = lambda: gw.chat(MODEL, PROMPT, timeout_s=20)",
    "a stream": "HANDLE = in_a_stream",
    "another thread's call": "HANDLE = in_a_thread",
}
_WAITS = {
    "a chat": "result = gw.chat(MODEL, SHORT)",
    "a stream": """
with gw.stream(MODEL, PROMPT + " [[simulator: latency_ms=300 output_tokens=40]]") as stream:
    assert sum(1 for _ in stream) >= 1
    result = stream.result()
""",
}


@pytest.mark.parametrize("waits_for", list(_WAITS))
@pytest.mark.parametrize("handles", list(_HANDLES))
def test_a_handler_waits_for_calls(
    scripts: Scripts, sim: Simulator, handles: str, waits_for: str
) -> None:
    """While a handler runs in a thread that waits for a call, every other wait goes on."""
    check = "assert started.is_set() and result.cost.nanousd > 0"
    scripts.run("\n".join([HEAD, _HANDLER, _HANDLES[handles], _WAITS[waits_for], check]))
    assert sim.executions()["total"] == 2
    _, holds = scripts.books()
    assert holds == []


_FORK = """
def handler(*_):
    global child
    child = os.fork()

def send_signal():
    wait_executed(1)
    os.kill(os.getpid(), signal.SIGUSR1)

child = None
signal.signal(signal.SIGUSR1, handler)
threading.Thread(target=send_signal).start()
try:
    result = gw.chat(MODEL, SHORT)
except sw.ForkedError:
    if child != 0:
        raise
    gw.chat(MODEL, PROMPT)
    gw.close()
    os._exit(3)
assert child, child
assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 3
"""


def test_a_handler_forks(scripts: Scripts, sim: Simulator) -> None:
    """The child's wait for the parent's call ends with ForkedError; the parent's goes on."""
    scripts.run(HEAD + _FORK)
    assert sim.executions()["total"] == 2
    ends, holds = scripts.books()
    assert [end["kind"] for end in ends] == ["settle", "settle"]
    assert holds == []


_CLOSE = """
def background():
    try:
        gw.chat(MODEL, SLOW)
    except sw.SluicewayError:
        pass

def send_signal():
    while not gw._hub.closed:
        time.sleep(0.001)
    os.kill(os.getpid(), NUMBER)

signal.signal(signal.SIGTERM, lambda *_: sys.exit(7))
thread = threading.Thread(target=background)
thread.start()
wait_executed(1)
threading.Thread(target=send_signal).start()
left_by = None
try:
    CLOSE
except BaseException as error:
    left_by = type(error).__name__
assert left_by == EXPECTED, left_by
thread.join()
"""


@pytest.mark.parametrize("close", ["gw.close(0.5)", "with gw: pass"])
@pytest.mark.parametrize("number", ["SIGTERM", "SIGINT"])
def test_a_signal_while_closing(scripts: Scripts, close: str, number: str) -> None:
    """What the handler raises leaves close(), and the books are written all the same."""
    expected = {"SIGTERM": "SystemExit", "SIGINT": "KeyboardInterrupt"}[number]
    head = f"{HEAD}\nNUMBER, EXPECTED = signal.{number}, {expected!r}"
    scripts.run(head + _CLOSE.replace("    CLOSE\n", f"    {close}\n"))
    ends, holds = scripts.books()
    assert [end["kind"] for end in ends] == ["in_doubt"]
    assert [hold["in_doubt"] for hold in holds] == [True]


_CALLBACK = """
def callback(events):
    raise KeyboardInterrupt

gw._hub.engine.set_event_callback(callback)
async def main():
    await gw.aio.chat(MODEL, FAILS)
FAILS = PROMPT + " [[simulator: fault=drop_after]]"
try:
    CALL
except KeyboardInterrupt:
    print("left")
gw._hub.engine.set_event_callback(None)
"""


@pytest.mark.parametrize("call", ["gw.chat(MODEL, FAILS)", "asyncio.run(main())"])
def test_an_interrupted_event_callback(scripts: Scripts, call: str) -> None:
    """Ctrl-C in an event callback ends the program's call, not only the callback."""
    assert scripts.run(HEAD + _CALLBACK.replace("    CALL\n", f"    {call}\n")) == "left\n"
