"""Work in a thread, from a coroutine of whichever library runs it.

    rows = await in_thread(read, path)

Asyncio's own pool, or trio's where a task of trio awaits; both carry the context over. Cancelling
the await abandons the thread's result under asyncio, and waits for it under trio, as both do.
"""

from __future__ import annotations

import sys
from collections.abc import Callable
from functools import partial
from typing import Any, ParamSpec, TypeVar, cast

P = ParamSpec("P")
R = TypeVar("R")


def trio_of_task() -> Any | None:
    """The module trio where one of its tasks runs now; it is never imported for the question."""
    trio = sys.modules.get("trio")
    return trio if trio is not None and trio.lowlevel.in_trio_task() else None


async def in_thread(work: Callable[P, R], *args: P.args, **kwargs: P.kwargs) -> R:
    """What `work` returns or raises."""
    if (trio := trio_of_task()) is not None:
        return cast(R, await trio.to_thread.run_sync(partial(work, *args, **kwargs)))
    import asyncio

    return await asyncio.to_thread(work, *args, **kwargs)
