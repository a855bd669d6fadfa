"""What a budget and its components have spent: typed, and printable.

Model: components are the scopes whose names go on after "#". They are read from the file, so those
that other processes made are there too; of a scope with a calendar window only those of the running
window. A share is what of the budget's spent money a component spent. Time: linear in the scopes of
the file; for reports, not for inner loops.

    print(b.report())
    b.report().components["voice"].share       # Decimal("0.25")
"""

from __future__ import annotations

import time
from collections.abc import Mapping
from decimal import Decimal
from typing import TYPE_CHECKING, Any

from sluiceway import _core
from sluiceway._frames import COMPONENT
from sluiceway._terms import Terms, balance_of
from sluiceway.errors import Balance
from sluiceway.types import Frozen

if TYPE_CHECKING:
    from sluiceway._budget import Budget

_set = object.__setattr__
_SHARE_DIGITS = Decimal("0.000001")


class ComponentReport(Frozen):
    """A part of a budget. `share` of what the budget spent is 0 to 1, in millionths."""

    __slots__ = ("balance", "name", "share", "status")
    name: str
    balance: Balance
    share: Decimal
    status: str

    def __init__(self, name: str, balance: Balance, share: Decimal, status: str) -> None:
        _set(self, "name", name)
        _set(self, "balance", balance)
        _set(self, "share", share)
        _set(self, "status", status)

    @property
    def spent(self) -> Decimal:
        """What it spent."""
        return self.balance.spent

    @property
    def held(self) -> Decimal:
        """What its running calls hold."""
        return self.balance.held

    @property
    def limit(self) -> Decimal | None:
        """Its limit, or None."""
        return self.balance.limit

    @property
    def left(self) -> Decimal | None:
        """What of its own limit is left; its parent may have less."""
        return self.balance.left

    def __reduce__(self) -> tuple[type[ComponentReport], tuple[object, ...]]:
        return ComponentReport, (self.name, self.balance, self.share, self.status)

    def __repr__(self) -> str:
        limit = "" if self.limit is None else f" of ${self.limit:f}"
        return f"ComponentReport({self.name}: ${self.spent:f}{limit}, {self.share:.1%})"


class BudgetReport(Frozen):
    """A budget at one moment; `str()` is a small table. `rest` was spent in no component."""

    __slots__ = ("balance", "components", "name", "rest", "status")
    name: str
    balance: Balance
    status: str
    components: Mapping[str, ComponentReport]
    rest: Decimal

    def __init__(
        self,
        name: str,
        balance: Balance,
        status: str,
        components: Mapping[str, ComponentReport],
        rest: Decimal,
    ) -> None:
        _set(self, "name", name)
        _set(self, "balance", balance)
        _set(self, "status", status)
        _set(self, "components", components)
        _set(self, "rest", rest)

    def __reduce__(self) -> tuple[type[BudgetReport], tuple[object, ...]]:
        return BudgetReport, (self.name, self.balance, self.status, self.components, self.rest)

    def __str__(self) -> str:
        lines = [_row(self.name, self.balance, "", self.status)]
        lines.extend(
            _row("  " + part.name, part.balance, f"{part.share:.1%}", part.status)
            for part in self.components.values()
        )
        if self.components and self.rest:
            lines.append(f"  {'(rest)':<22}{_dollars(self.rest):>12}")
        return "\n".join(lines)

    def __repr__(self) -> str:
        return f"BudgetReport({self.name}: ${self.balance.spent:f}, {self.status})"


def _dollars(amount: Decimal | None) -> str:
    return "-" if amount is None else f"${amount:,.4f}"


def _row(name: str, balance: Balance, share: str, status: str) -> str:
    return (
        f"{name:<24}{_dollars(balance.spent):>12} spent {_dollars(balance.held):>12} held"
        f" {_dollars(balance.limit):>12} limit {share:>7} {status}"
    )


def report_of(budget: Budget) -> BudgetReport:
    """Reads the file once for the budget and its components."""
    raw = budget._raw()
    balance = balance_of(raw, budget.terms.decimals)
    spent, inside = raw["settled"], 0
    parts = {}
    for name, part, terms in _parts(budget):
        share = Decimal(part["settled"]) / Decimal(spent) if spent else Decimal(0)
        inside += part["settled"]
        parts[name] = ComponentReport(
            name,
            balance_of(part, terms.decimals),
            share.quantize(_SHARE_DIGITS),
            terms.status_of(part),
        )
    rest = balance_of({**raw, "settled": spent - inside}, budget.terms.decimals).spent
    ordered = dict(sorted(parts.items()))
    return BudgetReport(budget.name, balance, budget.terms.status_of(raw), ordered, rest)


def _parts(budget: Budget) -> list[tuple[str, dict[str, Any], Terms]]:
    """Name, balance and terms of each direct component."""
    hub, terms = budget._hub, budget.terms
    found: dict[str, tuple[dict[str, Any], Terms]] = {}
    suffix = ""
    if terms.period != "none":
        window = _core.window_key(terms.period, time.time(), terms.time_zone)
        suffix = ("@" if ":" in budget.name else ":") + window
    for scope in hub.engine.ledger_scopes():
        if not scope["name"].endswith(suffix):
            continue
        start, _, part = scope["name"].removesuffix(suffix).rpartition(COMPONENT)
        if start == budget.name:
            found[part] = (scope, terms.of_component(None, scope["limit"]))
    for name, known in list(hub.scopes.items()):  # rolling windows, and parts not yet used
        start, _, part = name.rpartition(COMPONENT)
        if start == budget.name:
            found[part] = (known.scope.balance(), known.terms)
    return [(part, raw, own) for part, (raw, own) in found.items()]
