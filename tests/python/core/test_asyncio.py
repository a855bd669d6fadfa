"""The crossing to asyncio: awaiting calls from tasks of asyncio's and uvloop's loops.

An awaitable of the core is resumed by a reader callback of the loop, not by a Future. These tests
hold it to what a task may expect of a future: results, contexts, errors of others, and the loop's
end; test_asyncio_cancel.py has its cancellation.
"""

from __future__ import annotations

import asyncio
import contextvars
import threading
import time
from typing import Any

import pytest

from sluiceway import _core
from tests.python.core.kit import WAIT_S, Bench
from tests.python.core.loops import Run, run_with_asyncio


def test_await_gives_the_call(run: Run, bench: Bench) -> None:
    route = bench.route()

    async def main() -> None:
        call = bench.submit(route, "latency_ms=5")
        assert not call.done
        assert await call is call
        assert call.done
        assert call.ok
        assert await call is call  # done already: no waiting
        assert (await bench.submit(route)).ok

    run(main())


def test_a_blocking_wait_inside_a_task(run: Run, bench: Bench) -> None:
    # What a resumed task submits rings the engine at the end of the drain; a task that blocks
    # instead must not wait for its own end.
    route = bench.route()

    async def main() -> float:
        await bench.submit(route, "latency_ms=5")
        started_s = time.monotonic()
        for _ in range(10):
            assert bench.run(route).ok
            await bench.submit(route, "latency_ms=1")
        return time.monotonic() - started_s

    assert run(main()) < 4  # milliseconds, or 10 seconds where the bell is not rung


def test_gather(run: Run, bench: Bench) -> None:
    route = bench.route()

    async def main() -> list[Any]:
        return await asyncio.gather(*(bench.submit(route) for _ in range(600)))

    calls = run(main())
    assert len({call.call_id for call in calls}) == 600
    assert all(call.ok for call in calls)
    assert bench.executed() == 600


def test_many_tasks_with_several_awaits_each(run: Run, bench: Bench) -> None:
    route = bench.route()

    async def worker() -> int:
        done = 0
        for _ in range(5):
            done += (await bench.submit(route)).ok
        return done

    async def main() -> int:
        return sum(await asyncio.gather(*(worker() for _ in range(60))))

    assert run(main()) == 300


def test_several_tasks_await_one_call(run: Run, bench: Bench) -> None:
    route = bench.route()

    async def wait_for(call: Any) -> Any:
        return await call

    async def main() -> None:
        call = bench.submit(route, "latency_ms=20")
        assert await asyncio.gather(*(wait_for(call) for _ in range(5))) == [call] * 5
        assert bench.executions(call) == 1

    run(main())


def test_two_kinds_of_waiters_on_one_stream(run: Run, bench: Bench) -> None:
    route = bench.route()

    async def whole(call: Any) -> bool:
        await call
        return bool(call.done)

    async def main() -> None:
        call = bench.submit(route, "output_tokens=20 token_ms=2", stream=True)
        task = asyncio.create_task(whole(call))
        await asyncio.sleep(0)
        text = ""
        while deltas := await call.next_events():
            text += "".join(delta.text for delta in deltas)
        assert await asyncio.wait_for(task, 5) is True
        assert text == call.text

    run(main())


def test_stream(run: Run, bench: Bench) -> None:
    route = bench.route()

    async def main() -> None:
        call = bench.submit(route, "output_tokens=40 token_ms=1", stream=True)
        texts: list[str] = []
        while deltas := await call.next_events():
            texts += [delta.text for delta in deltas]
        assert await call.next_events() == []
        assert call.ok
        assert "".join(texts) == call.text
        assert call.usage["output"] == 40

    run(main())


def test_each_task_resumes_in_its_own_context(run: Run, bench: Bench) -> None:
    route = bench.route()
    name: contextvars.ContextVar[int] = contextvars.ContextVar("name", default=-1)

    async def worker(number: int) -> None:
        name.set(number)
        for _ in range(3):
            await bench.submit(route)
            assert name.get() == number
            name.set(number)

    async def main() -> None:
        name.set(1000)
        await asyncio.gather(*(worker(number) for number in range(50)))
        assert name.get() == 1000

    run(main())
    assert name.get() == -1


def test_an_error_in_one_task_leaves_the_others_of_its_drain(run: Run, bench: Bench) -> None:
    route = bench.route()

    async def worker(number: int) -> int:
        await bench.submit(route)
        if number % 3 == 0:
            raise ValueError(str(number))
        return number

    async def main() -> None:
        ends = await asyncio.gather(*map(worker, range(90)), return_exceptions=True)
        for number, end in enumerate(ends):
            if number % 3:
                assert end == number
            else:
                assert isinstance(end, ValueError)

    run(main())


@pytest.mark.parametrize("error", [KeyboardInterrupt, SystemExit])
def test_keyboard_interrupt_and_exit_leave_the_loop(
    error: type[BaseException], bench: Bench
) -> None:
    route = bench.route()
    others: list[Any] = []

    async def other() -> None:
        others.append(await bench.submit(route))

    async def stop() -> None:
        await bench.submit(route)
        raise error("stop")

    async def main() -> None:
        tasks = [asyncio.create_task(other()) for _ in range(20)]
        await asyncio.gather(stop(), *tasks)

    with pytest.raises(error):
        run_with_asyncio(main())
    assert bench.run(route).ok
    assert run_with_asyncio(awaited(bench, route)).ok


async def awaited(bench: Bench, route: Any) -> Any:
    return await bench.submit(route)


def test_one_loop_after_another(run: Run, bench: Bench) -> None:
    route = bench.route()
    for _ in range(5):
        assert run(awaited(bench, route)).ok


def test_two_loops_in_two_threads(run: Run, bench: Bench) -> None:
    route = bench.route()
    ends: list[list[Any]] = []
    errors: list[BaseException] = []

    async def main() -> list[Any]:
        calls: list[Any] = []
        for _ in range(10):
            calls += await asyncio.gather(*(bench.submit(route) for _ in range(20)))
        return calls

    def work() -> None:
        try:
            ends.append(run(main()))
        except BaseException as error:  # noqa: BLE001 - handed to the test's own thread
            errors.append(error)

    threads = [threading.Thread(target=work) for _ in range(2)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(WAIT_S)
    if errors:
        raise errors[0]
    assert [len(calls) for calls in ends] == [200, 200]
    assert all(call.ok for calls in ends for call in calls)


def test_two_loops_await_one_call(bench: Bench) -> None:
    route = bench.route()
    call = bench.submit(route, "latency_ms=100")
    seen: list[bool] = []

    async def main() -> None:
        await asyncio.wait_for(call, 5)
        seen.append(call.ok)

    def work() -> None:
        try:
            asyncio.run(main())
        except TimeoutError:
            seen.append(False)

    threads = [threading.Thread(target=work) for _ in range(2)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(WAIT_S)
    assert seen == [True, True]


def test_a_thread_and_a_task_wait_for_one_call(run: Run, bench: Bench) -> None:
    route = bench.route()

    async def main() -> None:
        call = bench.submit(route, "latency_ms=30")
        thread = threading.Thread(target=call.wait)
        thread.start()
        await call
        await asyncio.to_thread(thread.join, WAIT_S)
        assert not thread.is_alive()
        assert call.ok

    run(main())


def test_outside_a_loop_the_error_says_what_to_do(bench: Bench) -> None:
    call = bench.submit(bench.route(), "latency_ms=20")
    waiting = call.__await__()
    with pytest.raises(RuntimeError, match="no running event loop"):
        next(waiting)
    call.wait()
    with pytest.raises(StopIteration) as end:
        next(call.__await__())  # what is done needs no loop
    assert end.value.value is call


def test_awaitables_cannot_be_made_by_hand(bench: Bench) -> None:
    call = bench.run(bench.route())
    kind = type(call.__await__())
    with pytest.raises(TypeError):
        kind()
    with pytest.raises(TypeError):
        _core.Call()
    with pytest.raises(TypeError):
        _core.Delta()
