"""The verbs of both gateways that are about money: budgets, wallets, bookings, callbacks.

Model: a mixin of `Gateway` and `AsyncGateway`. None of these waits for a provider. Those that write
into the ledger block for one commit (milliseconds on a disk that syncs), in the async twin too; in
a busy loop hand them to a thread: `await asyncio.to_thread(gw.book, ...)` keeps the context.

    with gw.budget("video:42", usd="3.00") as b: ...
    gw.wallet("account:7").top_up("20.00", evidence="invoice 2026-118")
    gw.on_budget(lambda event: print(event))
"""

from __future__ import annotations

import copy
import os
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any, TypeVar

from sluiceway._booking import Booking, LocalCost, Quantity, book
from sluiceway._budget import Budget, Threshold
from sluiceway._frames import current_frame
from sluiceway._terms import Terms
from sluiceway._values import path, text
from sluiceway.config import Config, config_of, load_config
from sluiceway.errors import InvalidType, kind_of
from sluiceway.money import nanousd_of
from sluiceway.options import Money, Plan
from sluiceway.wallet import Wallet

if TYPE_CHECKING:
    from sluiceway._hub import Hub

T = TypeVar("T")


class MoneyVerbs:
    """See the top of the file."""

    __slots__ = ("_hub", "_plan")

    def __init__(self, hub: Hub, plan: Plan) -> None:
        self._hub = hub
        self._plan = plan

    def budget(
        self,
        name: str,
        usd: Money | None = None,
        *,
        replace: bool = False,
        period: str | None = None,
        time_zone: str | None = None,
        rolling_s: float | None = None,
        on_exceed: str | None = None,
        fallbacks: Sequence[str] | None = None,
        warn: Sequence[Money] | None = None,
        critical: Money | None = None,
        statuses: Sequence[Money] | None = None,
    ) -> Budget:
        """The scope `name` ("kind:key"), to be entered with `with` or `async with`.

        Without `usd` it has the limit that is stored, or if it is new the one of the kind's
        template in the configuration. A scope persists: a stated limit that is not the stored one
        raises BudgetConflict unless `replace=True`, which is safe at any time and from any process.
        A limit below what is used makes the scope exceeded; nothing is lost, nothing more fits.

        The rest is laid over the template. `period` ("hour", "day", "week", "month") in a
        `time_zone`, or `rolling_s`: the limit holds in each such window. `on_exceed`: "refuse",
        "wait", "fallback" (to cheaper models: of the chain, else `fallbacks`) or "cut". `warn`,
        `critical`: marks such as "2.00" or "80%" at which callbacks fire. `statuses`: the upper
        ends of excellent, good and warning.
        """
        given = {
            "period": period,
            "time_zone": time_zone,
            "rolling_s": rolling_s,
            "on_exceed": on_exceed,
            "fallbacks": _tuple(fallbacks, "fallbacks"),
            "warn": _tuple(warn, "warn"),
            "critical": critical,
            "statuses": _tuple(statuses, "statuses"),
        }
        terms = {word: value for word, value in given.items() if value is not None}
        return Budget(self._hub, name, usd, replace, **terms)

    def wallet(self, name: str, *, unit: str | None = None) -> Wallet:
        """The wallet of "kind:key": what was topped up is what can be spent.

        A wallet of dollars (the default) is also a budget: `with gw.wallet("account:7"):` runs
        calls under it. A wallet of any other unit is for deductions.
        """
        return Wallet(self._hub, name, unit=unit)

    def credits(
        self,
        name: str,
        *,
        unit: str | None = None,
        monthly: Money | None = None,
        time_zone: str | None = None,
        replace: bool = False,
    ) -> Wallet:
        """A wallet of credits, of which `monthly` are there anew each month, and do not add up.

        Without `monthly` and `unit` the template [wallets.<kind>] says them; another allowance than
        the stored one needs `replace=True`.
        """
        kind = text(name, "the wallet").partition(":")[0]
        if unit is None and "unit" not in self._hub.config.wallets.get(kind, {}):
            unit = "credit"
        return Wallet(
            self._hub, name, unit=unit, monthly=monthly, time_zone=time_zone, replace=replace
        )

    def book(
        self,
        operation: str,
        usd: Money,
        *,
        quantity: Quantity | None = None,
        unit: str = "",
        note: str = "",
        provider: str = "local",
        model: str = "",
        idempotency_key: str | None = None,
        force: bool = False,
    ) -> Booking:
        """Books a cost of your own (rendering, storage) where a call would count here.

        BudgetExceeded where it does not fit, and nothing is booked. `force=True` is for what has
        been spent already: it is booked anyway, and a scope that it overruns blocks.
        """
        return book(
            self._hub,
            current_frame(self._hub),
            operation,
            nanousd_of(usd),
            quantity=quantity,
            unit=unit,
            note=note,
            provider=provider,
            model=model,
            idempotency_key=idempotency_key,
            force=force,
        )

    def local_cost(
        self,
        operation: str,
        *,
        usd_per_s: Money,
        unit: str = "s",
        note: str = "",
        provider: str = "local",
        model: str = "",
    ) -> LocalCost:
        """Times what it wraps and books it by the second.

        A decorator for functions, coroutine functions and generators, which books in the budgets
        that hold where a call begins, and a context manager, sync and async, which books in those
        that hold where it is left. The work is done by then, so it is booked even where it does not
        fit; a scope that it overruns blocks. Failed work counts as any other. `usd_per_s` is a
        price of one second, to a nano-dollar; `unit` names what the time is counted in ("s",
        "gpu_s"). InvalidType, InvalidRequest.
        """
        options = {"unit": unit, "note": note, "provider": provider, "model": model}
        return LocalCost(self._hub, operation, usd_per_s, options)

    def on_budget(self, fn: Threshold) -> Threshold:
        """Calls `fn(event)` once for each level that any budget reaches, in each of its windows.

        See `Budget.on_threshold`; the event is a `sluiceway.BudgetEvent`. Usable as a decorator.
        """
        self._hub.watcher().add_everywhere(fn)
        return fn

    def reload_budgets(
        self, config: str | os.PathLike[str] | Mapping[str, Any] | Config | None = None
    ) -> list[str]:
        """Takes [budgets] and [wallets] anew: from a file, from tables, or from the file that this
        gateway was made from. Everything else of the configuration stays.

        Scopes that every call is in get the file's limit at once; the names of those whose limit
        changed are returned. Scopes with keys that exist keep their limits; new ones get the new
        template. ConfigError leaves everything as it was. Calls under way keep their reservations.
        """
        hub = self._hub
        if config is None:
            config = hub.config.source
        if isinstance(config, str | os.PathLike):
            config = load_config(path(config, "config"))
        elif isinstance(config, Mapping):
            config = config_of(config)
        elif not isinstance(config, Config):
            raise InvalidType(f"config is {kind_of(config)}, not a Config or a dict")
        return reload(hub, config)


def reload(hub: Hub, config: Config) -> list[str]:
    """See `MoneyVerbs.reload_budgets`."""
    changed = []
    for kind, template in config.budgets.items():
        terms = Terms(template)
        if not terms.is_every_calls(kind, template):
            continue
        budget = Budget._of(hub, kind, terms)
        if budget.scope.balance()["limit"] != terms.limit:
            Budget._of(hub, kind, terms, replace=True)
            changed.append(kind)
    hub.config = copy.copy(hub.config)  # it may be another gateway's too
    hub.config.budgets, hub.config.wallets = config.budgets, config.wallets
    hub.scopes.clear()
    hub.root = None
    return changed


def _tuple(values: Sequence[T] | None, name: str) -> tuple[T, ...] | None:
    if values is None:
        return None
    if isinstance(values, str) or not isinstance(values, Sequence):
        raise InvalidType(f"{name} is a list")
    return tuple(values)
