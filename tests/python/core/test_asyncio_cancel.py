"""Tasks that are cancelled while they wait for a call, and what waits for several of them.

What a task may expect of a future: before its first step, while it waits, after the end, under
time-outs, shields and groups. Whose last waiting task was cancelled, that call is cancelled too.
"""

from __future__ import annotations

import asyncio
from typing import Any

import pytest

from tests.python.core.kit import WAIT_S, Bench
from tests.python.core.loops import Run

SLOW = "latency_ms=60000"


def test_cancel_before_the_first_step(run: Run, bench: Bench) -> None:
    route = bench.route()

    async def wait_for(call: Any) -> Any:
        return await call

    async def main() -> None:
        call = bench.submit(route)
        task = asyncio.create_task(wait_for(call))
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task
        await call  # no task waited for it: it goes on

    run(main())


def test_cancel_while_waiting(run: Run, bench: Bench) -> None:
    route = bench.route()

    async def main() -> None:
        call = bench.submit(route, SLOW)

        async def wait() -> None:
            await call

        task = asyncio.create_task(wait())
        await asyncio.sleep(0.02)
        assert task.cancel("enough")
        with pytest.raises(asyncio.CancelledError) as caught:
            await task
        assert task.cancelled()
        assert caught.value.args in ((), ("enough",))
        await call
        assert call.error_kind == "cancelled"
        assert call.outcome == "in_doubt"  # it had been sent
        assert call.held_nanousd == call.ceiling_nanousd > 0

    run(main())
    bench.check_money()


def test_one_of_several_waiting_tasks_is_cancelled(run: Run, bench: Bench) -> None:
    route = bench.route()

    async def wait_for(call: Any) -> str:
        await call
        return str(call.error_kind)

    async def main() -> None:
        call = bench.submit(route, SLOW)
        tasks = [asyncio.create_task(wait_for(call)) for _ in range(3)]
        await asyncio.sleep(0.01)
        tasks[1].cancel()
        ends = await asyncio.wait_for(asyncio.gather(*tasks, return_exceptions=True), 5)
        # A task's cancellation cancels the call; the other tasks learn it as the call's end.
        assert ends[0] == ends[2] == "cancelled"
        assert isinstance(ends[1], asyncio.CancelledError)

    run(main())


def test_cancel_after_the_end(run: Run, bench: Bench) -> None:
    route = bench.route()

    async def main() -> None:
        call = bench.submit(route)

        async def wait() -> bool:
            await call
            return True

        task = asyncio.create_task(wait())
        assert await task
        assert not task.cancel()
        assert not call.cancel()
        assert call.ok

    run(main())


def test_a_task_may_refuse_its_cancellation(run: Run, bench: Bench) -> None:
    route = bench.route()

    async def stubborn() -> bool:
        try:
            await bench.submit(route, SLOW)
        except asyncio.CancelledError:
            task = asyncio.current_task()
            assert task is not None
            task.uncancel()
        return bool((await bench.submit(route)).ok)

    async def main() -> None:
        task = asyncio.create_task(stubborn())
        await asyncio.sleep(0.02)
        task.cancel()
        assert await task

    run(main())


def test_timeout_and_wait_for(run: Run, bench: Bench) -> None:
    route = bench.route()

    async def main() -> None:
        late = bench.submit(route, SLOW)
        with pytest.raises(TimeoutError):
            async with asyncio.timeout(0.02):
                await late
        await late
        assert late.error_kind == "cancelled"
        later = bench.submit(route, SLOW)
        with pytest.raises(asyncio.TimeoutError):
            await asyncio.wait_for(later, 0.02)
        await later
        assert later.error_kind == "cancelled"
        async with asyncio.timeout(WAIT_S):
            assert (await bench.submit(route)).ok
        assert (await asyncio.wait_for(bench.submit(route), WAIT_S)).ok

    run(main())


def test_shield(run: Run, bench: Bench) -> None:
    route = bench.route()

    async def main() -> None:
        call = bench.submit(route, "latency_ms=100")
        with pytest.raises(asyncio.TimeoutError):
            await asyncio.wait_for(asyncio.shield(call), 0.01)
        await call
        assert call.ok

    run(main())


def test_wait_and_as_completed(run: Run, bench: Bench) -> None:
    route = bench.route()

    async def main() -> None:
        calls = [bench.submit(route, f"latency_ms={ms}") for ms in (60, 0, 30)]
        tasks = [asyncio.ensure_future(call) for call in calls]
        done, pending = await asyncio.wait(tasks, return_when=asyncio.FIRST_COMPLETED)
        assert calls[0] not in {task.result() for task in done}
        order = [await one for one in asyncio.as_completed(tasks)]
        assert sorted(map(id, order)) == sorted(map(id, calls))
        assert order[-1] is calls[0]
        assert len(done) + len(pending) == 3

    run(main())


def test_task_group_cancels_its_siblings(run: Run, bench: Bench) -> None:
    route = bench.route()
    calls: list[Any] = []

    async def wait() -> None:
        calls.append(bench.submit(route, SLOW))
        await calls[-1]

    async def fail() -> None:
        await bench.submit(route)
        raise ValueError("the group's error")

    async def main() -> None:
        async def group_of_four() -> None:
            async with asyncio.TaskGroup() as group:
                for _ in range(3):
                    group.create_task(wait())
                group.create_task(fail())

        with pytest.raises(ExceptionGroup) as caught:
            await group_of_four()
        assert caught.group_contains(ValueError)
        for call in calls:
            await call
            assert call.error_kind == "cancelled"

    run(main())
