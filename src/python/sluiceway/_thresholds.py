"""Levels that fire: a callback and a log record when a scope is at "warn", "critical", "exceeded".

Model: a `Watcher` a gateway, made by the first callback or by the first scope whose template names
marks. A call that ends in a watched scope rings it; its thread (one, started by the first ring,
gone after some idle seconds) waits until the end of the call is in the books, reads the balance
from the file and compares. A level fires once in a window of a scope; it is armed again when the
next window begins, or when what is gone falls below it (a higher limit, a refund, a doubt that was
resolved).

Where callbacks run: on a user's thread, in the next drain (the step of the task whose call ended)
or in the blocked waiter (`chat`, `book`, reading a balance, `flush`, `close`), whichever is first;
when none comes within DRAIN_GRACE_S, on the watcher's thread. Never on the engine's. An exception
in one is logged and breaks nothing. Every level is also a record of the logger "sluiceway".

Each process fires for what it sees: money of other processes counts, at the moment when a call of
this one ends in the same scope. Several processes may each fire the same level.

Bounds: WATCHED_MAX scopes; the oldest is forgotten. A round reads each rung scope once (a
millisecond on a disk). Locks are made anew in a forked child. Any thread.
"""

from __future__ import annotations

import os
import threading
import time
import weakref
from collections import deque
from collections.abc import Callable, Iterable
from decimal import Decimal
from typing import TYPE_CHECKING, Any

from sluiceway import _core
from sluiceway._log import log_callback_error, log_threshold
from sluiceway._terms import DOLLAR, Level, Terms, balance_of, gone_of, limit_of
from sluiceway.errors import Balance, InvalidType, SluicewayError
from sluiceway.money import units_of
from sluiceway.types import Frozen

if TYPE_CHECKING:
    from sluiceway._frames import Frame
    from sluiceway._hub import Hub

WATCHED_MAX = 65_536
DRAIN_GRACE_S = 0.02
IDLE_S = 5.0
_CO_COROUTINE = 0x80  # inspect.CO_COROUTINE
_set = object.__setattr__


class BudgetEvent(Frozen):
    """A scope reached a level. Amounts are in `unit`, dollars unless it is a wallet of credits.

    `level` is "warn", "critical" or "exceeded"; `threshold` the amount at which it lies; `window`
    the calendar window, such as "2026-11-22", or "".
    """

    __slots__ = ("balance", "level", "scope", "status", "threshold", "unit", "window")
    scope: str
    level: str
    status: str
    window: str
    threshold: Decimal | None
    balance: Balance
    unit: str

    def __init__(self, **fields: object) -> None:
        for name in BudgetEvent.__slots__:
            _set(self, name, fields[name])

    @property
    def spent(self) -> Decimal:
        """What ended calls cost."""
        return self.balance.spent

    @property
    def held(self) -> Decimal:
        """The ceilings of running calls."""
        return self.balance.held

    @property
    def in_doubt(self) -> Decimal:
        """The ceilings of calls that may have been billed."""
        return self.balance.in_doubt

    @property
    def limit(self) -> Decimal | None:
        """The limit."""
        return self.balance.limit

    @property
    def left(self) -> Decimal | None:
        """What may still be reserved."""
        return self.balance.left

    def __reduce__(self) -> tuple[Callable[..., BudgetEvent], tuple[object, ...]]:
        return _event, tuple(getattr(self, name) for name in BudgetEvent.__slots__)

    def __repr__(self) -> str:
        return (
            f"BudgetEvent({self.scope} {self.level}: spent {self.spent:f} of"
            f" {'no limit' if self.limit is None else format(self.limit, 'f')}, {self.status})"
        )


def _event(*values: object) -> BudgetEvent:
    return BudgetEvent(**dict(zip(BudgetEvent.__slots__, values, strict=True)))


Callback = Callable[[BudgetEvent], object]


class _Watched:
    """One scope: its handle and terms, its callbacks, and which levels have fired."""

    __slots__ = ("callbacks", "fired", "scope", "terms")

    def __init__(self, scope: _core.Scope, terms: Terms) -> None:
        self.scope = scope
        self.terms = terms
        self.callbacks: tuple[Callback, ...] = ()
        self.fired: dict[tuple[str, object, int], str] = {}  # a level to its window


class Watcher:
    """See the top of the file."""

    __slots__ = ("__weakref__", "_bell", "_dirty", "_everywhere", "_hub", "_lock", "_pending",
                 "_thread", "_watched")  # fmt: skip

    def __init__(self, hub: Hub) -> None:
        self._hub = hub
        self._everywhere: tuple[Callback, ...] = ()
        self._watched: dict[str, _Watched] = {}
        self._dirty: dict[str, None] = {}  # scopes in which something ended
        self._pending: deque[tuple[BudgetEvent, tuple[Callback, ...]]] = deque()
        self.renew()
        _watchers.add(self)

    def renew(self) -> None:
        """Fresh locks and no thread: at the start, and in a forked child."""
        self._lock = threading.Lock()
        self._bell = threading.Event()
        self._thread: threading.Thread | None = None

    def watch(self, name: str, scope: _core.Scope, terms: Terms) -> None:
        """Takes a scope in, or its new terms, if anybody would hear of it."""
        known = self._watched.get(name)
        if known is not None:
            known.scope = scope
            if terms.watched or not known.terms.watched:  # stated marks stay until others are
                known.terms = terms
        elif self._everywhere or terms.watched:
            self._take(name, scope, terms)

    def add(self, fn: Callback, name: str, scope: _core.Scope, terms: Terms) -> None:
        """A callback for one scope."""
        _check(fn)
        watched = self._watched.get(name) or self._take(name, scope, terms)
        watched.callbacks = (*watched.callbacks, fn)

    def add_everywhere(self, fn: Callback) -> None:
        """A callback for every scope, those that are open included."""
        _check(fn)
        self._everywhere = (*self._everywhere, fn)
        for name, known in list(self._hub.scopes.items()):
            self.watch(name, known.scope, known.terms)

    def _take(self, name: str, scope: _core.Scope, terms: Terms) -> _Watched:
        while len(self._watched) >= WATCHED_MAX:
            self._watched.pop(next(iter(self._watched)), None)
        return self._watched.setdefault(name, _Watched(scope, terms))

    def ended(self, frame: Frame | None) -> None:
        """A call ended in a frame: hands over what waits, and rings. Not blocking."""
        self.deliver()
        if frame is None:
            return
        found = False
        for name in frame.names:
            if name in self._watched:
                self._dirty[name] = None
                found = True
        if found:
            if not self._bell.is_set():
                self._bell.set()
            if self._thread is None:
                self._start()

    def look(self, name: str) -> dict[str, Any] | None:
        """The balance of a watched scope, read now, after which its levels have fired."""
        watched = self._watched.get(name)
        if watched is None:
            return None
        with self._lock:
            raw = self._read(name, watched)
        self.deliver()
        return raw

    def look_at(self, names: Iterable[str]) -> None:
        """Looks at those of the scopes that are watched; the same blocking read."""
        for name in names:
            self.look(name)

    def look_at_all(self) -> None:
        """What rang and was not looked at yet, as far as the engine still answers."""
        self._round()
        with self._lock:  # the thread may be reading the last of them
            pass
        self.deliver()

    def deliver(self) -> None:
        """Tells what waits, each once, here."""
        while self._pending:
            try:
                event, callbacks = self._pending.popleft()
            except IndexError:
                return  # another thread was faster
            log_threshold(event)
            for fn in callbacks:
                try:
                    fn(event)
                except Exception as error:  # noqa: BLE001 - it is the user's code
                    log_callback_error(event.scope, error)

    def _read(self, name: str, watched: _Watched) -> dict[str, Any]:
        """Under the lock, so that an older balance is never compared after a newer one."""
        self._hub.settled()
        raw = watched.scope.balance()
        for event in self._compare(name, watched, raw):
            self._pending.append((event, (*watched.callbacks, *self._everywhere)))
        return raw

    def _compare(self, name: str, watched: _Watched, raw: dict[str, Any]) -> list[BudgetEvent]:
        terms, gone, limit = watched.terms, gone_of(raw), limit_of(raw)
        window = ""
        if terms.period != "none":
            window = _core.window_key(terms.period, time.time(), terms.time_zone)
        events = []
        for level in terms.levels:
            key = (level.name, level.share, level.amount)
            reached = level.reached(gone, limit) or (raw["blocked"] and level.name == "exceeded")
            if not reached:
                watched.fired.pop(key, None)
            elif watched.fired.get(key) != window:
                watched.fired[key] = window
                events.append(_event_of(name, level, terms, raw, window))
        return events

    def _start(self) -> None:
        with self._lock:
            if self._thread is None:
                self._thread = threading.Thread(
                    target=_serve,
                    args=(weakref.ref(self), self._bell),
                    name="sluiceway-thresholds",
                    daemon=True,
                )
                self._thread.start()

    def _round(self) -> None:
        while self._dirty:
            with self._lock:
                try:
                    name, _ = self._dirty.popitem()
                    watched = self._watched.get(name)
                    if watched is not None:
                        self._read(name, watched)
                except KeyError:
                    return
                except SluicewayError:
                    continue  # closed, or a disk that refuses: whoever calls is told

    def _serve_once(self, rang: bool) -> bool:
        """A turn of the thread; False: it has retired."""
        if not rang:
            me, self._thread = self._thread, None
            if not self._dirty:
                return False
            self._thread = me
        self._bell.clear()
        self._round()
        if self._pending:
            time.sleep(DRAIN_GRACE_S)  # for a drain or a waiter of the user's to take them
            self.deliver()
        return True


def _event_of(
    name: str, level: Level, terms: Terms, raw: dict[str, Any], window: str
) -> BudgetEvent:
    mark = level.mark(limit_of(raw))
    return BudgetEvent(
        scope=name,
        level=level.name,
        status=terms.status_of(raw),
        window=window,
        threshold=None if mark is None else units_of(mark, terms.decimals),
        balance=balance_of(raw, terms.decimals),
        unit=terms.unit or DOLLAR,
    )


def _serve(watcher: weakref.ref[Watcher], bell: threading.Event) -> None:
    """The thread; it keeps no gateway alive."""
    while True:
        rang = bell.wait(IDLE_S)
        alive = watcher()
        if alive is None or alive._bell is not bell or not alive._serve_once(rang):
            return
        del alive


def _check(fn: object) -> None:
    code = getattr(fn, "__code__", None)
    if not callable(fn) or (code is not None and code.co_flags & _CO_COROUTINE):
        raise InvalidType("a callback is a plain function of one BudgetEvent, not a coroutine's")


_watchers: weakref.WeakSet[Watcher] = weakref.WeakSet()


def _renew_all() -> None:
    for watcher in list(_watchers):
        watcher.renew()


os.register_at_fork(after_in_child=_renew_all)
