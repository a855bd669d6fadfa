"""The kinds of event loops and tasks that the crossing to asyncio is tested on.

`run` is a fixture: a test that takes it runs once for each kind that is there.

    def test_it(run: Run, bench: Bench) -> None:
        run(main())
"""

from __future__ import annotations

import asyncio
import importlib
from collections.abc import Callable, Coroutine
from typing import Any

import pytest

from tests.python.core.kit import WAIT_S

Run = Callable[[Coroutine[Any, Any, Any]], Any]


def run_with_asyncio(main: Coroutine[Any, Any, Any]) -> Any:
    return asyncio.run(asyncio.wait_for(main, WAIT_S))


def run_in_debug_mode(main: Coroutine[Any, Any, Any]) -> Any:
    return asyncio.run(asyncio.wait_for(main, WAIT_S), debug=True)


def run_with_python_tasks(main: Coroutine[Any, Any, Any]) -> Any:
    """Tasks written in Python: another reader of the future protocol."""

    def factory(loop: asyncio.AbstractEventLoop, coroutine: Any, **words: Any) -> Any:
        # asyncio.tasks._PyTask is CPython's own fallback.
        return asyncio.tasks._PyTask(coroutine, loop=loop, **words)  # type: ignore[attr-defined]

    async def outer() -> Any:
        asyncio.get_running_loop().set_task_factory(factory)
        return await asyncio.wait_for(main, WAIT_S)

    return asyncio.run(outer())


def run_with_uvloop(main: Coroutine[Any, Any, Any]) -> Any:
    try:
        uvloop = importlib.import_module("uvloop")
    except ImportError:
        main.close()
        pytest.skip("uvloop is not installed (the dev group has it)")
    with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
        return runner.run(asyncio.wait_for(main, WAIT_S))


def run_with_eager_tasks(main: Coroutine[Any, Any, Any]) -> Any:
    factory = getattr(asyncio, "eager_task_factory", None)
    if factory is None:
        main.close()
        pytest.skip("needs Python 3.12, which brought eager tasks")

    async def outer() -> Any:
        asyncio.get_running_loop().set_task_factory(factory)
        return await asyncio.wait_for(main, WAIT_S)

    return asyncio.run(outer())


RUNNERS = [
    run_with_asyncio,
    run_in_debug_mode,
    run_with_python_tasks,
    run_with_uvloop,
    run_with_eager_tasks,
]


@pytest.fixture(params=RUNNERS, ids=lambda runner: runner.__name__.removeprefix("run_"))
def run(request: pytest.FixtureRequest) -> Run:
    """asyncio.run over every kind of loop and task; nothing here may take WAIT_S."""
    runner: Run = request.param
    return runner
