"""Worker processes that leave without atexit's hooks: their gateways are closed all the same.

Nothing to call: the core calls `close_at_exit` once a process, when an engine starts in one that
has multiprocessing, billiard or Celery in it.

Model: a child of `multiprocessing` ends by os._exit, after the finalizers of its `util` module; so
does a child of billiard. A worker of Celery's prefork pool runs not even those, and has a signal
instead. What closing does is in docs/internals/core.md, "The end": what was settled is written,
so that no call of a worker that ended well stays in doubt. The books are right without it.

A worker that is killed runs nothing, and neither does one of a bare `billiard.Pool`. Source:
CPython 3.11 to 3.14 multiprocessing/process.py, billiard 4.3 pool.py, celery 5.7 signals.
"""

from __future__ import annotations

import sys

from sluiceway import _core

_LAST = -100  # of all finalizers: what others do may still make calls


def close_at_exit() -> None:
    """Registers the end of this process with whatever it is a child of."""
    for name in ("multiprocessing", "billiard"):
        util, process = sys.modules.get(f"{name}.util"), sys.modules.get(f"{name}.process")
        if util is None or process is None:
            continue
        if getattr(process.current_process(), "_parent_pid", None) is not None:
            util.Finalize(None, _core._close_all, exitpriority=_LAST)
    signals = sys.modules.get("celery.signals")
    if signals is not None:
        signals.worker_process_shutdown.connect(_close, weak=False, dispatch_uid="sluiceway")


def _close(**_: object) -> None:
    _core._close_all()
