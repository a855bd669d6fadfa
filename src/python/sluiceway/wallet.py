"""Wallets: money or credits that were topped up, and allowances that come back every month.

Model: a wallet is one or two scopes of the ledger. What was topped up is a scope whose limit is the
sum of its top-ups (entries of kind "grant"), so that it cannot be overspent by anybody who shares
the file. A monthly allowance is a second scope with a calendar month for its window; what is not
used of it is gone with the month. A deduction takes from the month first, then from what was topped
up, and is made whole or not at all.

A wallet of dollars has no allowance (that would be a budget with period="month") and is also a
budget: calls run under it. Other units are counted in thousandths and are for deductions only.

    wallet = gw.wallet("account:7")
    wallet.top_up("20.00", evidence="invoice 2026-118", idempotency_key="invoice-2026-118")
    with wallet:
        result = gw.chat("openai/gpt-6-luna", "Name three rivers")
    wallet.refund(result, "0.01", reason="the voice was wrong")

    credits = gw.credits("account:7", monthly="100")
    if credits.can_afford(3):
        credits.deduct(3, reason="a short video")

Amounts are `Decimal` out, and str, int or Decimal in; a float is an InvalidType. A key makes a
top-up, a deduction or a refund happen once, whoever repeats it, whatever was refunded since; the
same key with another amount is an InvalidRequest. Each write is one commit.

Time: reading and writing, about a millisecond on a good disk. Any thread, any process.
"""

from __future__ import annotations

from collections.abc import Sequence
from decimal import Decimal
from typing import TYPE_CHECKING, Any

from sluiceway._booking import Booking, book_parts, refund, stated
from sluiceway._budget import Budget
from sluiceway._failures import budget_exceeded
from sluiceway._frames import COMPONENT, Frame
from sluiceway._terms import DOLLAR, Terms, unit_name
from sluiceway._values import flag, instant_s, text
from sluiceway._wallet_history import (
    Movement,
    UsageRow,
    WalletEntry,
    WalletUsage,
    entry_of,
    movements,
    rows_of,
)
from sluiceway.errors import BudgetExceeded, InvalidRequest, InvalidType
from sluiceway.money import amount_of, units_of
from sluiceway.options import Money
from sluiceway.types import CallResult, Estimate, Frozen

if TYPE_CHECKING:
    from sluiceway._hub import Hub

_set = object.__setattr__


class Deduction(Frozen):
    """What was deducted: `amount` in `unit`, in one or two bookings, the month's first."""

    __slots__ = ("amount", "bookings", "unit")
    amount: Decimal
    unit: str
    bookings: tuple[Booking, ...]

    def __init__(self, amount: Decimal, unit: str, bookings: tuple[Booking, ...]) -> None:
        _set(self, "amount", amount)
        _set(self, "unit", unit)
        _set(self, "bookings", bookings)

    @property
    def duplicate(self) -> bool:
        """Whether the idempotency key had been used before, so that nothing was deducted now."""
        return all(booking.duplicate for booking in self.bookings)

    @property
    def call_id(self) -> str:
        """The id of the first booking."""
        return self.bookings[0].call_id

    def __reduce__(self) -> tuple[type[Deduction], tuple[object, ...]]:
        return Deduction, (self.amount, self.unit, self.bookings)

    def __repr__(self) -> str:
        return f"Deduction({self.amount:f} {self.unit}{', duplicate' * self.duplicate})"


class Wallet:
    """See the top of the file."""

    __slots__ = ("_decimals", "_hub", "_month", "_purse", "name", "unit")

    def __init__(
        self,
        hub: Hub,
        name: object,
        *,
        unit: str | None = None,
        monthly: Money | None = None,
        time_zone: str | None = None,
        replace: bool = False,
    ) -> None:
        if not isinstance(name, str):
            raise InvalidType(f'the wallet is a {type(name).__name__}, not a "kind:key" str')
        kind, _, key = name.partition(":")
        if not kind or not key or set(name) & set("@#"):
            raise InvalidRequest(f'the wallet {name!r} is not of the form "kind:key"')
        template = hub.config.wallets.get(kind, {})
        self._hub = hub
        self.name = name
        self.unit = unit_name(unit or template.get("unit", DOLLAR))
        if self.unit != template.get("unit", DOLLAR):
            template = {}  # meant for another wallet of the same account
        stated = monthly is not None
        if monthly is None:
            monthly = template.get("monthly")
        if monthly is not None and self.unit == DOLLAR:
            raise InvalidRequest(
                "a wallet of dollars has no monthly allowance; use"
                f' gw.budget("{name}", usd=..., period="month"), or credits'
            )
        marks = {word: value for word, value in template.items() if word in _MARKS}
        part = "" if self.unit == DOLLAR else f".{self.unit}"
        terms = Terms(marks, unit=self.unit).with_limit(0)
        self._decimals = terms.decimals
        self._purse = Budget._of(hub, f"wallet{part}:{name}", terms)
        self._month: Budget | None = None
        zone = time_zone or template.get("time_zone", "UTC")
        month = Terms({**marks, "period": "month", "time_zone": zone}, unit=self.unit)
        if monthly is not None:
            month = month.with_limit(amount_of(monthly, self._decimals, "monthly"))
            month.stated_limit = stated or replace
        allowance = f"allowance{part}:{name}"
        if monthly is not None:
            replace = replace or bool(template.get("replace") and not stated)
            self._month = Budget._of(hub, allowance, month, replace=replace)
        elif allowance in hub.scopes:
            known = hub.scopes[allowance].terms.with_limit(None)
            self._month = Budget._of(hub, allowance, known)

    # --- as a budget

    def __enter__(self) -> Wallet:
        if self.unit != DOLLAR:
            raise InvalidRequest(
                f"the wallet {self.name} counts {self.unit}, and calls cost dollars; use deduct()"
            )
        self._purse.__enter__()
        return self

    def __exit__(self, *exc: object) -> None:
        self._purse.__exit__(*exc)

    async def __aenter__(self) -> Wallet:
        return self.__enter__()

    async def __aexit__(self, *exc: object) -> None:
        self.__exit__()

    @property
    def budget(self) -> Budget:
        """What was topped up, as a budget: components, thresholds, status, bind."""
        return self._purse

    # --- reading

    @property
    def balance(self) -> Decimal:
        """What can be spent now: what was topped up and this month's allowance, less what is spent,
        held by running calls and in doubt."""
        return units_of(sum(self._left()), self._decimals)

    @property
    def spent(self) -> Decimal:
        """What ended calls and deductions cost: of what was topped up, and of this month."""
        return units_of(sum(raw["settled"] for raw in self._raws()), self._decimals)

    @property
    def held(self) -> Decimal:
        """What running calls hold."""
        return units_of(sum(raw["held"] for raw in self._raws()), self._decimals)

    @property
    def in_doubt(self) -> Decimal:
        """The ceilings of calls that may have been billed."""
        return units_of(sum(raw["in_doubt"] for raw in self._raws()), self._decimals)

    @property
    def monthly(self) -> Decimal | None:
        """The monthly allowance, or None."""
        return None if self._month is None else self._month.limit

    @property
    def status(self) -> str:
        """The status of what was topped up and of this month's allowance together."""
        raws = self._raws()
        whole = {word: sum(raw[word] for raw in raws) for word in ("limit", "settled", "in_doubt")}
        return self._purse.terms.status_of({**whole, "blocked": any(r["blocked"] for r in raws)})

    def can_afford(self, amount: Money | Estimate) -> bool:
        """Whether that much is there now: an amount, or the ceiling of an estimate in dollars.

        Somebody else may be faster; only a deduction or a call itself is sure.
        """
        if isinstance(amount, Estimate):
            if self.unit != DOLLAR:
                raise InvalidType(f"an estimate is in dollars, and this wallet counts {self.unit}")
            amount = amount.ceiling
        needed = amount_of(amount, self._decimals, "amount")
        return sum(self._left()) >= needed

    def history(self, since_s: float = 0.0, until_s: float = float("inf")) -> list[WalletEntry]:
        """Every movement of a span of ledger time (Unix seconds), oldest first."""
        since_s, until_s = instant_s(since_s, "since_s"), instant_s(until_s, "until_s")
        return [
            entry_of(move, self._decimals)
            for move in self._movements()
            if since_s <= move.at_s < until_s
        ]

    def usage(self, by: str = "day", since_s: float = 0.0) -> WalletUsage:
        """What was used by "hour", "day", "week" or "month", with limit and remainder."""
        zone = self._zone
        monthly = None if self._month is None else self._month._raw()["limit"]
        since_s = instant_s(since_s, "since_s")
        moves = [move for move in self._movements() if move.reserved_s >= since_s]
        rows: tuple[UsageRow, ...] = rows_of(moves, by, zone, self._decimals, monthly)
        raws = self._raws()
        limit = sum(raw["limit"] for raw in raws)
        used = sum(raw["settled"] for raw in raws)
        left = sum(_left_of(raw) for raw in raws)
        amounts = (units_of(one, self._decimals) for one in (limit, used, left))
        return WalletUsage(by, rows, *amounts)

    # --- writing

    def top_up(
        self, amount: Money, evidence: str, *, idempotency_key: str | None = None
    ) -> Decimal:
        """Adds money that came in, for good; returns the balance. `evidence` says from where."""
        added = self._positive(amount)
        stated(evidence, "evidence", "say where the money comes from")
        key = {} if idempotency_key is None else {"idempotency_key": self._key(idempotency_key)}
        self._hub.engine.ledger_grant(self._purse.scope, added, evidence, **key)
        return self.balance

    def withdraw(
        self, amount: Money, evidence: str, *, idempotency_key: str | None = None
    ) -> Decimal:
        """Takes topped-up money out again, at most what is left of it; returns the balance."""
        taken = self._positive(amount)
        stated(evidence, "evidence", "say where the money goes")
        key = {} if idempotency_key is None else {"idempotency_key": self._key(idempotency_key)}
        self._hub.engine.ledger_grant(self._purse.scope, -taken, evidence, **key)
        return self.balance

    def deduct(
        self,
        amount: Money,
        reason: str,
        *,
        operation: str = "deduct",
        idempotency_key: str | None = None,
        force: bool = False,
    ) -> Deduction:
        """Takes an amount, whole or not at all. BudgetExceeded where it is not there.

        `force=True` is for what was used already: it is taken anyway, and the wallet blocks until
        a top-up covers it.
        """
        stated(reason, "reason", "say what the deduction is for")
        flag(force, "force")
        asked = self._positive(amount)
        key = "" if idempotency_key is None else self._key(idempotency_key)
        # In the wallet alone: what a customer pays is no cost of the day's.
        frame = Frame((), (), {}, None, None).enter(self._purse, (self._purse,))
        try:
            bookings = book_parts(
                self._hub,
                frame,
                operation,
                asked,
                evidence=reason,
                idempotency_key=key,
                force=force,
                counted_in=self.unit,
                allowance=None if self._month is None else self._month.scope,
                any_scopes=True,  # the key is the wallet's, whichever part pays
            )
        except BudgetExceeded:
            if self._month is None:
                raise
            raise self._too_little(asked) from None  # tells of both parts
        return Deduction(units_of(asked, self._decimals), self.unit, bookings)

    def refund(
        self,
        call: CallResult | Deduction | Booking | str,
        amount: Money,
        reason: str,
        *,
        idempotency_key: str | None = None,
    ) -> Decimal:
        """Gives back part of what a call or a deduction cost, to this wallet; the new balance.

        Only the wallet gets it back. In the budgets around it a call stays spent, because the
        provider has charged it all the same. Of a deduction in two parts, what was topped up comes
        back first.

        A refund happens once per key; without one the key is made of the call, the amount and the
        reason, so that a repetition gives nothing back. InvalidRequest if it is more than it cost
        and was not refunded before, if it is not of this wallet, or if the key was used for
        something else.
        """
        stated(reason, "reason", "say why the money comes back")
        if isinstance(call, Deduction):
            ids = [booking.call_id for booking in reversed(call.bookings)]
        else:
            ids = [_call_id(call)]
        back = self._positive(amount)
        key = f"{'+'.join(ids)}/{back}/{reason}" if idempotency_key is None else idempotency_key
        refund(
            self._hub,
            ids,
            back,
            reason,
            counted_in=self.unit,
            within=self._within(ids),
            idempotency_key=self._key(key, "refund"),
        )
        return self.balance

    # --- inside

    @property
    def _zone(self) -> str:
        return "UTC" if self._month is None else self._month.terms.time_zone

    def _parts(self) -> Sequence[Budget]:
        return (self._purse,) if self._month is None else (self._month, self._purse)

    def _within(self, call_ids: Sequence[str]) -> list[str]:
        """The scopes in which such calls count here: the parts, and components of what was topped
        up."""
        names = [part.name for part in self._parts()]
        start = self._purse.name + COMPONENT
        for call_id in call_ids:
            for entry in self._hub.engine.ledger_history(call_id):
                plain = (scope.partition("@")[0] for scope in entry["scopes"])
                names += (name for name in plain if name.startswith(start) and name not in names)
        return names

    def _raws(self) -> list[dict[str, Any]]:
        return [part._raw() for part in self._parts()]

    def _left(self) -> list[int]:
        return [_left_of(raw) for raw in self._raws()]

    def _positive(self, amount: Money) -> int:
        parts = amount_of(amount, self._decimals, "amount")
        if parts == 0:
            raise InvalidRequest("the amount is 0")
        return parts

    def _key(self, key: str, kind: str = "") -> str:
        stated(key, "idempotency_key", "leave it out, or give a name of this one event")
        return f"{self._purse.name}/{kind}{'/' if kind else ''}{key}"  # a key belongs to one wallet

    def _movements(self) -> list[Movement]:
        self._hub.settled()
        sources = {self._purse.name: "topped_up"}
        if self._month is not None:
            sources[self._month.name] = "monthly"
        entries = self._hub.engine.ledger_movements(list(sources))
        return sorted(movements(entries, sources), key=lambda move: move.at_s)

    def _too_little(self, asked: int) -> BudgetExceeded:
        raws = self._raws()
        words = ("limit", "settled", "held", "in_doubt")
        whole: dict[str, Any] = {word: sum(raw[word] for raw in raws) for word in words}
        whole["blocked"] = any(raw["blocked"] for raw in raws)
        scope = self._purse.name
        return budget_exceeded({**whole, "scope": scope, "amount": asked}, {}, self.unit)

    def __repr__(self) -> str:
        return f"Wallet({self.name}, {self.unit})"


def _call_id(call: object) -> str:
    call_id = call if isinstance(call, str) else getattr(call, "call_id", None)
    if not isinstance(call_id, str):
        raise InvalidType(f"a refund is of a result, a deduction or a call id, not of {call!r}")
    return text(call_id, "the call's id")


def _left_of(raw: dict[str, Any]) -> int:
    return int(raw["limit"]) - int(raw["settled"]) - int(raw["held"]) - int(raw["in_doubt"])


_MARKS = frozenset(("warn", "critical", "statuses", "on_exceed", "fallbacks"))
