"""Costs of our own in the books: rendering, storage, people's work, so that a total is whole.

Model: a booking is a reservation and a settlement in one commit, with the provider "local" unless
another is named. It counts in every scope that a call would count in here, and is refused where it
does not fit; `force=True` books what has been spent already, and a scope that it overruns blocks
until its limit is set anew. A booking with an idempotency key is made once, whoever repeats it.

A `LocalCost` times a piece of work and books the time by the second. The work is done by then, so
it is booked by force unless it fits; what it cost is rounded half to even to a nano-dollar.

    gw.book("storage", usd="0.0004", quantity=17, unit="gb_day")
    @gw.local_cost("render", usd_per_s="0.00021", unit="gpu_s")
    def render(scene): ...

Time: one commit each (milliseconds on a disk that syncs). Any thread.
"""

from __future__ import annotations

import contextvars
import itertools
import time
from collections.abc import Callable, Mapping, Sequence
from decimal import Decimal, InvalidOperation
from typing import TYPE_CHECKING, Any, TypeVar

from sluiceway._callables import wrap
from sluiceway._failures import budget_exceeded
from sluiceway._terms import DOLLAR
from sluiceway._values import flag, text
from sluiceway.errors import InvalidRequest, InvalidType, kind_of
from sluiceway.money import (
    CREDIT_DECIMALS,
    NANOUSD_MAX,
    USD_DECIMALS,
    nanousd_of,
    units_of,
    usd_of,
)
from sluiceway.options import Money, whole
from sluiceway.types import Frozen

if TYPE_CHECKING:
    from sluiceway._frames import Frame
    from sluiceway._hub import Hub

Quantity = int | float | str | Decimal  # of work, told in its unit; never money
F = TypeVar("F", bound=Callable[..., Any])
_set = object.__setattr__
_NS_PER_S = 1_000_000_000
# Units that are also a bucket of usage, and in how many parts the ledger counts one.
_BUCKET_OF = {
    "s": ("seconds", 1000),
    "seconds": ("seconds", 1000),
    "gpu_s": ("seconds", 1000),
    "cpu_s": ("seconds", 1000),
    "characters": ("characters", 1),
    "images": ("images", 1),
    "requests": ("requests", 1),
}


def stated(value: object, name: str, advice: str) -> str:
    """A text that must be given. InvalidType, InvalidRequest."""
    return text(value, name, advice)


class Booking(Frozen):
    """What was booked. `duplicate`: the idempotency key was used before, and nothing was added."""

    __slots__ = ("amount", "call_id", "duplicate", "operation", "unit")
    call_id: str
    operation: str
    amount: Decimal
    unit: str
    duplicate: bool

    def __init__(
        self, call_id: str, operation: str, amount: Decimal, unit: str, duplicate: bool
    ) -> None:
        _set(self, "call_id", call_id)
        _set(self, "operation", operation)
        _set(self, "amount", amount)
        _set(self, "unit", unit)
        _set(self, "duplicate", duplicate)

    def __reduce__(self) -> tuple[type[Booking], tuple[object, ...]]:
        return Booking, (self.call_id, self.operation, self.amount, self.unit, self.duplicate)

    def __repr__(self) -> str:
        amount = f"${self.amount:f}" if self.unit == DOLLAR else f"{self.amount:f} {self.unit}"
        return f"Booking({self.operation} {amount}{', duplicate' if self.duplicate else ''})"


def book(
    hub: Hub,
    frame: Frame,
    operation: str,
    amount: int,
    *,
    quantity: Quantity | None = None,
    unit: str = "",
    note: str = "",
    provider: str = "local",
    model: str = "",
    idempotency_key: str | None = None,
    force: bool = False,
) -> Booking:
    """Books `amount` nano-dollars in the scopes of the frame."""
    evidence, usage = _described(quantity, unit, note)
    if idempotency_key is not None:
        stated(idempotency_key, "idempotency_key", "leave it out, or give a name of this one event")
    for name, words in (("note", note), ("provider", provider), ("model", model)):
        text(words, name)
    flag(force, "force")
    if amount > NANOUSD_MAX:
        raise InvalidRequest(f"{operation} costs more than ${usd_of(NANOUSD_MAX):f}: not counted")
    (booking,) = book_parts(
        hub,
        frame,
        operation,
        amount,
        evidence=evidence,
        usage=usage,
        provider=provider,
        model=model,
        idempotency_key=idempotency_key or "",
        force=force,
    )
    return booking


def book_parts(
    hub: Hub,
    frame: Frame,
    operation: str,
    amount: int,
    *,
    counted_in: str = DOLLAR,
    idempotency_key: str = "",
    **terms: Any,
) -> tuple[Booking, ...]:
    """Books `amount` (in the smallest parts of `counted_in`) in the scopes of the frame: one
    booking, or the allowance's and the rest. Of a duplicate: what was booked then."""
    stated(operation, "operation", "name what was done, such as 'render'")
    booked = hub.engine.ledger_book(
        list(frame.scopes),
        amount,
        operation=operation,
        tenant=hub.plan.submit["tenant"],
        idempotency_key=idempotency_key,
        **terms,
    )
    if hub.watch is not None:
        hub.watch.look_at(frame.names)
    if not booked["admitted"]:
        raise budget_exceeded(
            {**booked["balance"], "scope": booked["scope"], "amount": amount}, {}, counted_in
        )
    decimals = USD_DECIMALS if counted_in == DOLLAR else CREDIT_DECIMALS
    bookings = tuple(
        Booking(call_id, operation, units_of(part, decimals), counted_in, booked["duplicate"])
        for call_id, part in booked["parts"]
    )
    if not booked["same"]:
        before = " and ".join(f"{one.amount:f} {one.unit} as {one.call_id}" for one in bookings)
        raise InvalidRequest(
            f"the idempotency key {idempotency_key!r} was used for something else ({before});"
            " nothing was booked: give each event a key of its own"
        )
    return bookings


def refund(
    hub: Hub,
    call_ids: Sequence[str],
    amount: int,
    reason: str,
    *,
    counted_in: str = DOLLAR,
    within: Sequence[str] = (),
    idempotency_key: str = "",
) -> None:
    """Gives back part of what calls or bookings cost, in the scopes `within` alone where some are
    named. InvalidRequest where they cost less."""
    hub.settled()  # a call that has just ended is settled a moment later
    done, left = hub.engine.ledger_refund(
        list(call_ids), amount, reason, list(within), idempotency_key
    )
    if not done:
        decimals = USD_DECIMALS if counted_in == DOLLAR else CREDIT_DECIMALS
        asked, cost = (f"{units_of(one, decimals):f} {counted_in}" for one in (amount, left))
        raise InvalidRequest(
            f"{asked} cannot be refunded: of {' and '.join(call_ids)} no more than {cost} is left"
        )


def _described(quantity: Quantity | None, unit: str, note: str) -> tuple[str, dict[str, int]]:
    """The entry's words, and its usage where the unit is one that is counted."""
    if quantity is None:
        return note, {}
    if isinstance(quantity, bool) or not isinstance(quantity, Quantity):
        raise InvalidType(f"quantity is {kind_of(quantity)}, not a number")
    try:
        exact = Decimal(str(quantity))
    except InvalidOperation:
        raise InvalidRequest(f"quantity={quantity!r} is not a number") from None
    if not exact.is_finite() or not 0 <= exact < 10**15:
        raise InvalidRequest(f"quantity={quantity!r} is not a number from 0 to 10**15")
    words = f"{exact.normalize():f} {unit}".strip()
    bucket, parts = _BUCKET_OF.get(unit, ("", 1))
    usage = {bucket: int((exact * parts).to_integral_value())} if bucket else {}
    return (f"{words}; {note}" if note else words), usage


class LocalCost:
    """Times work and books it: a context manager and a decorator, sync and async.

    Decorated, a coroutine is timed from its start to its end, pauses included; a generator while it
    runs from one `yield` to the next, all steps as one booking at its end, in the budgets that held
    at its beginning; what a plain function returns to be awaited or iterated is part of the work.
    As a context manager it may be entered by many tasks and threads at once, and again inside of
    itself. InvalidType, InvalidRequest for what cannot be booked: when it is made, not after.
    """

    __slots__ = ("_hub", "_nanousd_per_s", "_numbers", "_open", "_operation", "_options", "booking")

    def __init__(
        self, hub: Hub, operation: str, usd_per_s: Money, options: Mapping[str, Any]
    ) -> None:
        self._hub = hub
        self._operation = stated(operation, "operation", "name what is done, such as 'render'")
        self._nanousd_per_s = nanousd_of(usd_per_s, "usd_per_s")
        self._options = {"unit": "s", **options}
        for name, value in self._options.items():
            text(value, name)
        stated(self._options.get("provider", "local"), "provider", "leave it out for 'local'")
        # By a number of each entry, when it began; the entries of a context are in `_entered`.
        self._open: dict[int, int] = {}
        self._numbers = itertools.count()
        self.booking: Booking | None = None  # of the piece of work that ended last

    def __enter__(self) -> LocalCost:
        number = next(self._numbers)
        kept = tuple(entry for entry in _entered.get() if entry[1] in entry[0]._open)
        self._open[number] = time.monotonic_ns()
        _entered.set((*kept, (self, number)))
        return self

    def __exit__(self, *exc: object) -> None:
        self.add(time.monotonic_ns() - self._open.pop(self._entry()))

    def _entry(self) -> int:
        """The number of the entry that is left now. RuntimeError if nobody can know which."""
        entries = _entered.get()
        for place in reversed(range(len(entries))):
            cost, number = entries[place]
            if cost is self and number in self._open:
                _entered.set(entries[:place] + entries[place + 1 :])
                return number
        if len(self._open) != 1:  # a single one may be left in another context
            raise RuntimeError(
                f"{self!r} was left in another context than it was entered in, while it was entered"
                f" {len(self._open)} times"
            )
        return next(iter(self._open))

    async def __aenter__(self) -> LocalCost:
        return self.__enter__()

    async def __aexit__(self, *exc: object) -> None:
        self.__exit__()

    def add(self, duration_ns: int) -> Booking:
        """Books that much time (nanoseconds); for work that was timed elsewhere."""
        from sluiceway._frames import current_frame

        whole(duration_ns, "duration_ns", 0, 2**63 - 1)
        return self._book(duration_ns, current_frame(self._hub))

    def _book(self, duration_ns: int, frame: Frame) -> Booking:
        amount = _half_even(duration_ns * self._nanousd_per_s, _NS_PER_S)
        seconds = units_of(duration_ns, 9)
        self.booking = book(
            self._hub, frame, self._operation, amount, quantity=seconds, force=True, **self._options
        )
        return self.booking

    def __call__(self, fn: F) -> F:
        return wrap(fn, lambda: _Timed(self))

    def __repr__(self) -> str:
        return f"LocalCost({self._operation}, ${units_of(self._nanousd_per_s, 9):f} a second)"


# What is entered in the running context, outermost first. One variable for all: contexts keep
# every variable that was ever set in them.
_entered: contextvars.ContextVar[tuple[tuple[LocalCost, int], ...]] = contextvars.ContextVar(
    "sluiceway_local_costs", default=()
)


class _Timed:
    """One call's work under a LocalCost: its time is added up, and booked at its end."""

    __slots__ = ("_cost", "_frame", "_ns", "_started_ns")

    def __init__(self, cost: LocalCost) -> None:
        from sluiceway._frames import current_frame

        self._cost = cost
        # A generator may end anywhere, or be collected; its work belongs where it began.
        self._frame = current_frame(cost._hub)
        self._ns = 0
        self._started_ns = 0

    def resume(self) -> None:
        self._started_ns = time.monotonic_ns()

    def pause(self) -> None:
        self._ns += time.monotonic_ns() - self._started_ns

    def end(self) -> None:
        self._cost._book(self._ns, self._frame)

    def follow(self, future: Any) -> None:
        self.resume()
        future.add_done_callback(self._done)

    def _done(self, future: object) -> None:
        self.pause()
        self.end()


def _half_even(dividend: int, divisor: int) -> int:
    whole, rest = divmod(dividend, divisor)
    return whole + (2 * rest > divisor or (2 * rest == divisor and whole % 2 == 1))
