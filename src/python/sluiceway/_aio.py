"""Whether something runs here that could wait for a call: looked at before the call is sent.

Model: a call of `gw.aio` is submitted by its coroutine and awaited after. Without a loop the await
fails, and what was paid for by then would have nobody to take it, so the question comes first:

    if _aio.running_loop() is None:
        _aio.check_host()

`running_loop` is asyncio's own function, which the first look puts here where asyncio has been
imported: importing sluiceway, or running it under trio, must not import it. A task of trio has no
such loop and is found by `check_host`.

Time: up to Python 3.13 that function makes a system call (getpid), 0.1 to 0.2 us. What every call
pays looks at `tasks` first, in 20 ns: asyncio's table of the tasks that are being stepped, of all
threads. It is empty where no loop runs, unless another thread has just been interrupted inside of a
task; so who trusts it cancels the call when its await fails. It is always empty from 3.14 on, where
`running_loop` is as quick.
"""

from __future__ import annotations

import sys
from collections.abc import Callable, Mapping

from sluiceway._threads import trio_of_task


def _first_look() -> object | None:
    global running_loop, tasks
    events = sys.modules.get("asyncio.events")
    found = getattr(events, "_get_running_loop", None)
    loop: object | None = found() if found is not None else None
    # Without a loop, asyncio may just be imported by another thread, and this not be its last word.
    if found is not None and loop is not None:
        running_loop = found
        tasks = getattr(sys.modules.get("asyncio.tasks"), "_current_tasks", tasks)
    return loop


tasks: Mapping[object, object] = {}
# The loop of asyncio, or of uvloop, that runs in this thread.
running_loop: Callable[[], object | None] = _first_look


def check_host() -> None:
    """For where no loop of asyncio runs: RuntimeError unless this is a task of trio."""
    if trio_of_task() is None:
        raise RuntimeError(
            "no running event loop: await this in asyncio or trio, or use the blocking twin"
        )
