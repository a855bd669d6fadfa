"""gevent: blocking calls in greenlets let the others run.

Nothing to call: where gevent has patched the process, the core hands its blocking waits to `wait`.

    from gevent import monkey; monkey.patch_all()
    import gevent, sluiceway as sw
    gw = sw.Gateway.from_env()
    jobs = [gevent.spawn(gw.chat, "openai/gpt-6-luna", f"Name river {n}") for n in range(100)]
    gevent.joinall(jobs)                                   # 100 calls at once, one thread

Model: one bell (an eventfd) a hub, watched by its loop only while somebody waits. `kill`,
`gevent.Timeout` and Ctrl-C end the wait and cancel the call upstream. Where there is no hub (a
thread of the pool, a process that imported gevent and uses it nowhere), a wait blocks its thread
as it does everywhere else.

What writes the ledger and is not a call (`gw.budget`, reports, `close`) blocks the hub for as long
as it takes. Bounds: one descriptor a hub. Threads: each hub has its own bell; gevent's own objects
are touched on the hub's thread only. Source: gevent 26.9, "gevent.hub", read 2026-11-22.
"""

from __future__ import annotations

import os
from typing import Any
from weakref import WeakKeyDictionary

from gevent import monkey
from gevent._hub_local import get_hub_if_exists
from gevent.hub import Waiter
from greenlet import getcurrent

from sluiceway import _core


class _Bell:
    """The port of one hub, and who waits for which call."""

    def __init__(self, hub: Any) -> None:
        self.port = _core._ForeignPort()
        self.waiting: dict[int, list[Any]] = {}
        self.watcher = hub.loop.io(self.port.fd, 1)  # 1: readable

    def rung(self) -> None:
        """In the hub: resumes who can go on."""
        for number in self.port.take():
            for waiter in self.waiting.get(number, ()):
                waiter.switch(None)

    def sleep(self, hub: Any, number: int) -> None:
        """Until the bell was rung for `number`."""
        waiter = Waiter(hub)
        if not self.waiting:
            self.watcher.start(self.rung)
        self.waiting.setdefault(number, []).append(waiter)
        try:
            waiter.get()
        finally:
            waiters = self.waiting[number]
            waiters.remove(waiter)
            if not waiters:
                del self.waiting[number]
            if not self.waiting:
                self.watcher.stop()

    def forget(self, hub: Any) -> None:
        """In a fork's child: the bell is closed; who waited looks again and hears ForkedError."""
        self.watcher.stop()
        for waiters in self.waiting.values():
            for waiter in waiters:
                hub.loop.run_callback(waiter.switch, None)


_bells: WeakKeyDictionary[Any, _Bell] = WeakKeyDictionary()


def _forget_bells() -> None:
    for hub, bell in list(_bells.items()):
        bell.forget(hub)
    _bells.clear()


os.register_at_fork(after_in_child=_forget_bells)


def wait(what: _core._ForeignWait) -> bool:
    """True once there is something to take; False where a wait may block the thread."""
    hub = get_hub_if_exists() if monkey.is_anything_patched() else None
    if hub is None or getcurrent() is hub:
        return False
    try:
        bell = _bells.get(hub)
        if bell is None:
            bell = _bells[hub] = _Bell(hub)
        while number := what.attach(bell.port):
            bell.sleep(hub, number)
    except BaseException:
        what.cancel()
        raise
    return True
