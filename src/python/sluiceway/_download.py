"""`gw.raw.download`: who runs the steps of _download_steps.py, a thread or a task.

    done = RawDownload(hub, plan, url, path, ...).run()
    done = await RawDownload(hub, plan, url, path, ...).run_async()

What the steps ask for is done on the caller's thread, or awaited in its task of asyncio or trio:
there files are written in a thread, and `on_progress` runs on the loop.
"""

from __future__ import annotations

import contextlib
import time
from typing import Any

from sluiceway._download_steps import DownloadSteps
from sluiceway._partial_file import PartialFile
from sluiceway._threads import in_thread, trio_of_task
from sluiceway.types import DownloadResult


class RawDownload(DownloadSteps):
    """One download, to be run once."""

    def run(self) -> DownloadResult:
        """Blocks; Ctrl-C cancels the transfer and keeps the .part."""
        steps = self.steps()
        try:
            item = next(steps)
            while True:
                try:
                    got = _do(item)
                except BaseException as error:  # noqa: BLE001 (the steps raise it again)
                    item = steps.throw(error)
                else:
                    item = steps.send(got)
        except StopIteration as stop:
            return stop.value  # type: ignore[no-any-return]

    async def run_async(self) -> DownloadResult:
        """The same on the running loop; cancelling the task cancels the transfer."""
        steps = self.steps()
        try:
            item = next(steps)
            while True:
                try:
                    got = await _do_async(item)
                except BaseException as error:  # noqa: BLE001 (the steps raise it again)
                    item = steps.throw(error)
                else:
                    item = steps.send(got)
        except StopIteration as stop:
            return stop.value  # type: ignore[no-any-return]


def _do(item: Any) -> Any:
    """What a step asks for, blocking."""
    if isinstance(item, float):
        time.sleep(item)
        return None
    return item() if callable(item) else item.next_bytes_wait()


async def _do_async(item: Any) -> Any:
    if isinstance(item, float):
        await _sleep(item)
        return None
    if not callable(item):
        return await item.next_bytes()
    if trio_of_task() is not None:
        return await in_thread(item)
    import asyncio

    work = asyncio.ensure_future(in_thread(item))
    try:
        return await asyncio.shield(work)
    except asyncio.CancelledError:
        # Not before the thread has let go of the file: who is told of the end may ask anew.
        with contextlib.suppress(Exception):
            left = await work
            if isinstance(left, PartialFile):
                left.close()
        raise


async def _sleep(seconds: float) -> None:
    if (trio := trio_of_task()) is not None:
        await trio.sleep(seconds)
        return
    import asyncio

    await asyncio.sleep(seconds)
