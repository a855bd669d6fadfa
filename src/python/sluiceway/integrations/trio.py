"""trio: what awaits a call of `gw.aio` in a task of trio, also under anyio.

Nothing to install or to call: the core imports this when a task of trio awaits one of its calls.

    async def main():
        async with sw.Gateway.from_env().aio as gw:
            with trio.move_on_after(5):                    # cancels the call upstream
                print((await gw.chat("openai/gpt-6-luna", "Name three rivers")).text)

Model: one bell (an eventfd) a run of trio, read by a system task; it reschedules the tasks whose
calls have something to take. A wait is a checkpoint, also when the answer is there at once. A
cancelled scope cancels the call upstream, as a cancelled task of asyncio does; its money is then
treated as `docs/internals/call.md` says.

Bounds: one descriptor and one system task a run. Threads: each run has its own bell. Source: trio
0.35, "trio.lowlevel", read 2026-11-22.
"""

from __future__ import annotations

from typing import Any

import trio

from sluiceway import _core

in_task = trio.lowlevel.in_trio_task


class _Bell:
    """The port of one run, and who waits for which call."""

    def __init__(self) -> None:
        self.port = _core._ForeignPort()
        self.waiting: dict[int, list[trio.lowlevel.Task]] = {}

    async def serve(self) -> None:
        """Reschedules who can go on, until the run ends."""
        try:
            while True:
                await trio.lowlevel.wait_readable(self.port.fd)
                for number in self.port.take():
                    for task in self.waiting.pop(number, ()):
                        trio.lowlevel.reschedule(task)
        finally:
            _bell.set(None)
            self.port.close()

    async def sleep(self, number: int) -> None:
        """Until the bell was rung for `number`."""
        task = trio.lowlevel.current_task()
        self.waiting.setdefault(number, []).append(task)

        def leave(_: object) -> trio.lowlevel.Abort:
            tasks = self.waiting[number]
            tasks.remove(task)
            if not tasks:
                del self.waiting[number]
            return trio.lowlevel.Abort.SUCCEEDED

        await trio.lowlevel.wait_task_rescheduled(leave)


_bell: trio.lowlevel.RunVar[_Bell | None] = trio.lowlevel.RunVar("sluiceway bell", None)


def _bell_of_this_run() -> _Bell:
    bell = _bell.get()
    if bell is None:
        bell = _Bell()
        trio.lowlevel.spawn_system_task(bell.serve, name="sluiceway bell")
        _bell.set(bell)
    return bell


async def wait(what: _core._ForeignWait) -> Any:
    """The call once it is done, or its next deltas."""
    try:
        await trio.lowlevel.checkpoint_if_cancelled()
        bell = _bell_of_this_run()
        slept = False
        while number := what.attach(bell.port):
            await bell.sleep(number)
            slept = True
        if not slept:
            await trio.lowlevel.cancel_shielded_checkpoint()
    except BaseException:
        if not what.for_deltas:  # a stream is cancelled by whoever leaves it
            what.cancel()
        raise
    return what.result()
