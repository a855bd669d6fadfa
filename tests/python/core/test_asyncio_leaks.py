"""What the crossing to asyncio leaves behind: nothing. Objects, descriptors, closed loops.

Also what needs a process of its own: PYTHONASYNCIODEBUG, warnings at the interpreter's end, and
that importing the core does not import asyncio.
"""

from __future__ import annotations

import asyncio
import gc
import json
import os
import subprocess
import sys
import threading
import weakref
from typing import Any

import pytest

import sluiceway
from tests.python.core.kit import WAIT_S, Bench, chat, spec, wait_until

AWAITS = 10_000
SLOW = "latency_ms=60000"


def descriptors() -> int:
    return len(os.listdir("/proc/self/fd"))


def finish(main: Any) -> Any:
    return asyncio.run(asyncio.wait_for(main, 4 * WAIT_S))


def test_ten_thousand_awaits_leave_no_objects(bench: Bench) -> None:
    # A cached answer never touches the wire, so that only the crossing is measured; every tenth
    # call is a real one that waits.
    route = bench.route()
    assert bench.run(route, cache_ttl_s=3600.0).ok
    counts: list[tuple[int, int]] = []

    async def main() -> None:
        for number in range(AWAITS + 1):
            if number % (AWAITS // 4) == 0:
                gc.collect()
                counts.append((len(gc.get_objects()), descriptors()))
            if number % 10:
                await bench.submit(route, cache_ttl_s=3600.0)
            else:
                await bench.submit(route)

    finish(main())
    (warm_objects, warm_fds), (last_objects, last_fds) = counts[1], counts[-1]
    # The simulator lives in this process and keeps a few objects a request (bytes, str: not
    # tracked); a leak of one tracked object an await would be 7,500.
    assert last_objects - warm_objects < 500, counts
    assert last_fds - warm_fds <= 2, counts  # the engine may open a connection


def test_awaitables_calls_and_their_arguments_are_freed(bench: Bench) -> None:
    route = bench.route()

    class Message(dict[str, Any]):
        pass

    async def main() -> list[weakref.ref[Any]]:
        freed: list[weakref.ref[Any]] = []
        for settings in ("", "latency_ms=5", SLOW):
            body = Message(chat())
            call = bench.submit(route, settings, body=body)
            task = asyncio.ensure_future(call)
            freed += [weakref.ref(body), weakref.ref(task)]
            if settings == SLOW:
                await asyncio.sleep(0.01)
                task.cancel()
            await asyncio.wait([task])
            del task, call, body
        return freed

    freed = finish(main())
    gc.collect()
    assert [ref() for ref in freed] == [None] * 6


def test_loops_give_their_descriptors_back(bench: Bench) -> None:
    route = bench.route()

    async def main() -> None:
        await asyncio.gather(*(bench.submit(route) for _ in range(3)))

    asyncio.run(main())
    gc.collect()
    before = descriptors()
    for _ in range(20):
        asyncio.run(main())
    gc.collect()
    assert descriptors() <= before + 2


def close_with_a_call_pending(bench: Bench, settings: str) -> weakref.ref[Any]:
    """A loop that is closed while a task of it waits for a call; returns a reference to it."""
    loop = asyncio.new_event_loop()
    call = bench.submit(bench.route(), settings)

    async def wait() -> None:
        await call

    task = loop.create_task(wait())
    loop.call_later(0.02, loop.stop)
    loop.run_forever()
    assert not task.done()
    # Otherwise asyncio logs "Task was destroyed but it is pending", as it does for any future.
    task._log_destroy_pending = False  # type: ignore[attr-defined]
    loop.close()
    return weakref.ref(loop)


def test_a_loop_closed_with_a_call_pending(bench: Bench) -> None:
    close_with_a_call_pending(bench, "latency_ms=60")
    wait_until(lambda: bench.engine.stats()["completed"] == 1)
    assert bench.run(bench.route()).ok
    bench.check_money()


def test_a_loop_closed_with_a_call_pending_is_freed(bench: Bench) -> None:
    gc.collect()
    before = descriptors()
    loops = [close_with_a_call_pending(bench, SLOW) for _ in range(5)]
    gc.collect()
    assert [loop() for loop in loops] == [None] * 5
    # The calls were cancelled with their loops, so their connections close too, on both sides: five
    # loops would hold fifteen descriptors for ever.
    wait_until(lambda: descriptors() < before + 12)


def test_a_dropped_call_is_cancelled(bench: Bench) -> None:
    bench.submit(bench.route(), SLOW)
    gc.collect()
    wait_until(lambda: bench.engine.stats()["completed"] == 1)


def test_event_callbacks_run_in_the_loop_and_may_fail(
    bench: Bench, monkeypatch: pytest.MonkeyPatch
) -> None:
    seen: list[tuple[str, int]] = []
    unraisable: list[BaseException | None] = []
    monkeypatch.setattr(sys, "unraisablehook", lambda hook: unraisable.append(hook.exc_value))

    def callback(events: list[dict[str, Any]]) -> None:
        seen.extend((event["kind"], threading.get_ident()) for event in events)
        raise ValueError("the callback's own error")

    bench.engine.set_event_callback(callback)
    route = bench.route()

    async def main() -> None:
        call = await bench.submit(route, "fault=drop_after")
        assert call.error_kind == "in_doubt"
        assert (await bench.submit(route)).ok

    finish(main())
    assert ("in_doubt", threading.get_ident()) in seen
    assert isinstance(unraisable[0], ValueError)
    bench.engine.set_event_callback(None)


SCRIPT = """
import json, sys
from sluiceway import _core
assert "asyncio" not in sys.modules, "importing the core imported asyncio"
import asyncio
spec, body = json.loads(sys.stdin.read())
spec["sheet"]["rows"][0]["factor"] = tuple(spec["sheet"]["rows"][0]["factor"])
engine = _core.Engine({"durability": "memory"})
route = engine.add_route(spec)

async def main():
    assert asyncio.get_running_loop().get_debug()
    calls = await asyncio.gather(*(engine.submit(route, body) for _ in range(50)))
    assert all(call.ok for call in calls), calls[0].message
    left = engine.submit(route, body, extra_headers=[("sluiceway-simulator", "latency_ms=60000")])
    task = asyncio.ensure_future(left)
    await asyncio.sleep(0.01)
    return left  # asyncio.run cancels the task

left = asyncio.run(main())
left.wait()
assert left.error_kind == "cancelled"
if "close" in sys.argv:
    engine.close()
print("fine")
"""


@pytest.mark.parametrize("ending", ["close", "leave"])
def test_debug_mode_in_a_process_of_its_own(ending: str, bench: Bench) -> None:
    given = json.dumps([spec(bench.simulator), chat()])
    environment = os.environ | {
        "PYTHONASYNCIODEBUG": "1",
        "PYTHONDEVMODE": "1",
        "PYTHONPATH": os.path.dirname(os.path.dirname(sluiceway.__file__)),
    }
    done = subprocess.run(
        [sys.executable, "-W", "error", "-c", SCRIPT, ending],
        input=given,
        capture_output=True,
        text=True,
        env=environment,
        timeout=4 * WAIT_S,
        check=False,
    )
    assert (done.returncode, done.stdout, done.stderr) == (0, "fine\n", "")
