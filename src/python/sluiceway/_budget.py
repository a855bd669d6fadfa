"""Budgets: named scopes of money that calls are held against, carried by a context variable.

Model: a `Budget` is a handle on one scope in the ledger ("video:42"). While it is entered, every
call of the same gateway made in this context (and in tasks started in it) reserves its ceiling
there as well as in the scopes around it and in the periodic ones ("day") of the configuration. A
scope is counted once however often it is entered. What is current is an immutable chain of
`Frame`s in the gateway's context variable, so one Budget may be entered by many tasks at once.
Threads do not inherit a context: use `b.bind(fn)` or `contextvars.copy_context()`.

    with gw.budget("video:42", usd="3.00") as b:
        gw.chat("openai/gpt-6-luna", "Name three rivers")
        b.spent, b.held, b.in_doubt, b.left, b.status

Reading a balance waits for the next commit and asks the file (about a millisecond on a good
disk); keep it out of inner loops. Any thread.
Source: docs/internals/call.md, "Money".
"""

from __future__ import annotations

import functools
import time
from collections.abc import Callable, Mapping
from decimal import Decimal
from typing import TYPE_CHECKING, Any, TypeVar

from sluiceway.errors import Balance, BudgetConflict, InvalidRequest, InvalidType
from sluiceway.money import NANOUSD_MAX, nanousd_of, usd_of
from sluiceway.options import Money

if TYPE_CHECKING:
    from sluiceway import _core
    from sluiceway._hub import Hub


def balance_of(raw: Mapping[str, Any]) -> Balance:
    """A `Balance` from the words of the core; no limit there is the largest amount."""
    limit = raw["limit"]
    return Balance(
        None if limit is None or limit >= NANOUSD_MAX else usd_of(limit),
        usd_of(raw["settled"]),
        usd_of(raw["held"]),
        usd_of(raw["in_doubt"]),
        bool(raw["blocked"]),
    )


F = TypeVar("F", bound=Callable[..., Any])

_STATUSES = ("excellent", "good", "warning", "critical", "exceeded")
# The shares of a limit at which the next status begins, where the template names no warnings.
_SHARES = (Decimal("0.50"), Decimal("0.75"), Decimal("0.90"))
_CO_COROUTINE = 0x80  # inspect.CO_COROUTINE
# Opening a scope is a commit. Entering it again within this time is a look-up; that another process
# gave it another limit meanwhile is noticed afterwards (calls ask the file in any case).
SCOPE_KNOWN_S = 1.0
SCOPES_KNOWN_MAX = 4096


class Frame:
    """The scopes that hold right now, and how they were entered."""

    __slots__ = ("budget", "on_exceed", "outer", "scopes")

    def __init__(
        self,
        scopes: tuple[_core.Scope, ...],
        on_exceed: dict[str, str],
        outer: Frame | None,
        budget: Budget | None,
    ) -> None:
        self.scopes = scopes
        self.on_exceed = on_exceed  # by scope name; absent: refuse
        self.outer = outer
        self.budget = budget

    def enter(self, budget: Budget) -> Frame:
        """This frame and one scope more."""
        scope = budget.scope
        on_exceed = self.on_exceed
        if budget.on_exceed != "refuse":
            on_exceed = {**on_exceed, scope.name: budget.on_exceed}
        known = any(one.name == scope.name for one in self.scopes)
        scopes = self.scopes if known else (*self.scopes, scope)
        return Frame(scopes, on_exceed, self, budget)


def current_frame(hub: Hub) -> Frame:
    """The running context's frame; outside of every budget, the periodic scopes."""
    return hub.frame.get() or hub.root or root_frame(hub)


def root_frame(hub: Hub) -> Frame:
    """Opens the scopes that every call is in: templates with a period or a rolling window."""
    scopes = []
    on_exceed = {}
    for kind, template in hub.config.budgets.items():
        if template.get("period", "none") == "none" and not template.get("rolling_s"):
            continue
        scope = _open(hub, kind, "", template["limit"], template, replace=False)
        scopes.append(scope)
        if template.get("on_exceed", "refuse") != "refuse":
            on_exceed[scope.name] = template["on_exceed"]
    hub.root = Frame(tuple(scopes), on_exceed, None, None)
    return hub.root


def _open(
    hub: Hub, kind: str, key: str, limit: int | None, template: dict[str, Any], *, replace: bool
) -> _core.Scope:
    now_s = time.monotonic()
    known = hub.scopes.get((kind, key))
    if known is not None and known[0] == limit and not replace and now_s < known[1]:
        return known[2]
    scope = hub.engine.open_scope(
        kind,
        key,
        limit,
        template.get("period", "none"),
        template.get("time_zone", "UTC"),
        template.get("rolling_s", 0),
        replace,
    )
    if len(hub.scopes) >= SCOPES_KNOWN_MAX:
        hub.scopes.clear()
    hub.scopes[(kind, key)] = (limit, now_s + SCOPE_KNOWN_S, scope)
    return scope


class Budget:
    """A scope with a limit: a context manager, sync and async, and a balance to read."""

    __slots__ = ("_hub", "_warn", "name", "on_exceed", "scope")

    def __init__(self, hub: Hub, name: object, usd: Money | None, replace: bool) -> None:
        if not isinstance(name, str):
            raise InvalidType(f'the budget is a {type(name).__name__}, not a "kind:key" str')
        kind, _, key = name.partition(":")
        if not kind or "@" in name:
            raise InvalidRequest(f'the budget {name!r} is not of the form "kind:key" (without "@")')
        template = hub.config.budgets.get(kind, {})
        limit = template.get("limit") if usd is None else nanousd_of(usd)
        self._hub = hub
        self._warn: tuple[int, ...] = template.get("warn", ())
        self.on_exceed: str = template.get("on_exceed", "refuse")
        try:
            self.scope = _open(hub, kind, key, limit, template, replace=replace)
        except BudgetConflict:
            if limit is not None:
                raise
            # Named without an amount: the scope goes on with the limit that it has.
            stored = (one["limit"] for one in hub.engine.ledger_scopes() if one["name"] == name)
            self.scope = _open(hub, kind, key, next(stored, None), template, replace=replace)
        self.name = name

    def __enter__(self) -> Budget:
        self._hub.frame.set(current_frame(self._hub).enter(self))
        return self

    def __exit__(self, *exc: object) -> None:
        frame = self._hub.frame.get()
        if frame is None or frame.budget is not self:
            raise RuntimeError(
                f"the budget {self.name} was left in another context, or in another order, than it"
                " was entered"
            )
        self._hub.frame.set(frame.outer)

    async def __aenter__(self) -> Budget:
        return self.__enter__()

    async def __aexit__(self, *exc: object) -> None:
        self.__exit__()

    def bind(self, fn: F) -> F:
        """`fn`, made to run under this budget: for threads, which inherit no context."""
        code = getattr(fn, "__code__", None)
        if code is not None and code.co_flags & _CO_COROUTINE:

            @functools.wraps(fn)
            async def run_async(*args: Any, **kwargs: Any) -> Any:
                with self:
                    return await fn(*args, **kwargs)

            return run_async  # type: ignore[return-value]

        @functools.wraps(fn)
        def run(*args: Any, **kwargs: Any) -> Any:
            with self:
                return fn(*args, **kwargs)

        return run  # type: ignore[return-value]

    @property
    def balance(self) -> Balance:
        """Everything at one moment, ended calls of this gateway included."""
        self._hub.settled()
        return balance_of(self.scope.balance())

    @property
    def limit(self) -> Decimal | None:
        """The limit, or None for a scope that only counts."""
        return self.balance.limit

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
    def left(self) -> Decimal | None:
        """What may still be reserved; None without a limit. Below zero only after an overrun."""
        return self.balance.left

    @property
    def status(self) -> str:
        """ "excellent", "good", "warning", "critical" or "exceeded"; what is held counts as used.

        Of a template with warnings: good from half of the first, warning from the first, critical
        from the last. Else at 50, 75 and 90 percent. Exceeded: nothing left, or blocked.
        """
        balance = self.balance
        if balance.limit is None or balance.left is None:
            return "exceeded" if balance.blocked else _STATUSES[0]
        if balance.blocked or balance.left <= 0:
            return _STATUSES[4]
        steps = [balance.limit * share for share in _SHARES]
        if self._warn:
            first, last = usd_of(self._warn[0]), usd_of(self._warn[-1])
            steps = [first / 2, first, last if last > first else (first + balance.limit) / 2]
        used = balance.limit - balance.left
        return _STATUSES[sum(used >= step for step in steps)]

    def __repr__(self) -> str:
        return f"Budget({self.name})"
