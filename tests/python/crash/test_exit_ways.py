"""More ways out of a process with calls under way: exits in tasks, errors nobody catches, atexit.

As in test_exit.py the simulator answers after a minute, so that whoever waits for it is seen. The
exit status and what is said on stderr are the user's own; the books hold what was sent.
"""

from __future__ import annotations

import time

import pytest

from sluiceway.simulator import Simulator
from tests.python.crash.conftest import Scripts
from tests.python.crash.test_exit import _HEAD, _WAIT, PROMPT_S

_WAYS = {
    "sys.exit in a task": (
        """
async def leave():
    await asyncio.to_thread(wait_for_simulator, 2)
    sys.exit(3)
async def main():
    async with asyncio.TaskGroup() as group:
        for _ in range(2):
            group.create_task(gw.aio.chat(MODEL, SLOW))
        group.create_task(leave())
asyncio.run(main())
""",
        3,
        "SystemExit: 3",  # asyncio's own: "Task exception was never retrieved"
    ),
    "sys.exit in a callback of the loop": (
        """
async def main():
    calls = [asyncio.ensure_future(gw.aio.chat(MODEL, SLOW)) for _ in range(2)]
    await asyncio.sleep(0)
    await asyncio.to_thread(wait_for_simulator, 2)
    asyncio.get_running_loop().call_soon(sys.exit, 3)
    await asyncio.gather(*calls)
asyncio.run(main())
""",
        3,
        "",
    ),
    "an error that nobody catches": (
        """
for _ in range(2):
    threading.Thread(target=gw.chat, args=(MODEL, SLOW), daemon=True).start()
wait_for_simulator(2)
raise ValueError("the user's own")
""",
        1,
        "ValueError: the user's own",
    ),
    "an error in a task that nobody awaits": (
        """
async def fail():
    await asyncio.to_thread(wait_for_simulator, 2)
    raise ValueError("the user's own")
async def main():
    async with asyncio.TaskGroup() as group:
        for _ in range(2):
            group.create_task(gw.aio.chat(MODEL, SLOW))
        group.create_task(fail())
asyncio.run(main())
""",
        1,
        "ValueError: the user's own",
    ),
    "an error inside of a stream": (
        """
threading.Thread(target=gw.chat, args=(MODEL, SLOW), daemon=True).start()
with gw.stream(MODEL, "abcdefgh [[simulator: output_tokens=100 token_ms=500]]") as stream:
    for delta in stream:
        wait_for_simulator(2)
        raise ValueError("the user's own")
""",
        1,
        "ValueError: the user's own",
    ),
}


@pytest.mark.parametrize("way", _WAYS)
def test_the_status_and_the_words_are_the_users(scripts: Scripts, sim: Simulator, way: str) -> None:
    script, status, said = _WAYS[way]
    process = scripts.start(_HEAD + _WAIT + script)
    assert process.stdout is not None
    assert process.stdout.readline() == "waiting\n"
    begun_s = time.monotonic()
    _, errors = process.communicate(timeout=60)
    assert time.monotonic() - begun_s < PROMPT_S
    assert process.returncode == status, errors
    assert said in errors
    assert "Fatal" not in errors
    assert bool(errors) == bool(said)
    ends, holds = scripts.books()
    assert [end["kind"] for end in ends] == ["in_doubt"] * 2
    assert len(holds) == sim.executions()["total"] == 2


def test_what_atexit_may_still_do(scripts: Scripts, sim: Simulator) -> None:
    """Hooks run in reverse: one that was registered after the import still has its gateway."""
    script = """
import atexit
def early():  # registered before sluiceway's own: it runs after it
    try:
        gw.chat(MODEL, "abcdefgh")
    except sw.GatewayClosed:
        print("closed", flush=True)
atexit.register(early)
from sluiceway import _core
import sluiceway as sw
MODEL = "openai/gpt-4o-mini"
gw = sw.Gateway.from_env()
def late():
    print(gw.chat(MODEL, "abcdefgh").cost.nanousd, flush=True)
atexit.register(late)
"""
    assert scripts.run(script) == "10350\nclosed\n"
    ends, holds = scripts.books()
    assert [end["kind"] for end in ends] == ["settle"]
    assert holds == []
    assert sim.executions()["total"] == 1


def test_a_loop_of_a_daemon_thread(scripts: Scripts) -> None:
    """It is left behind in the middle of its waits; nothing is resumed in it any more."""
    script = """
async def forever():
    while True:
        await asyncio.gather(*(gw.aio.chat(MODEL, "abcdefgh") for _ in range(20)))
threading.Thread(target=asyncio.run, args=(forever(),), daemon=True).start()
wait_for_simulator(100)
"""
    for _ in range(5):
        process = scripts.start(
            _HEAD + _WAIT + "threading.excepthook = lambda args: None\n" + script
        )
        _, errors = process.communicate(timeout=60)
        assert process.returncode == 0, errors
        assert "Fatal" not in errors
    _, holds = scripts.books()
    assert all(hold["in_doubt"] for hold in holds)
