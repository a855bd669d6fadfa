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

import functools
import time
from collections.abc import Callable, Mapping
from decimal import Decimal, InvalidOperation
from typing import TYPE_CHECKING, Any, TypeVar

from sluiceway._failures import budget_exceeded
from sluiceway._terms import DOLLAR
from sluiceway.errors import InvalidRequest, InvalidType
from sluiceway.money import CREDIT_DECIMALS, USD_DECIMALS, nanousd_of, units_of
from sluiceway.options import Money
from sluiceway.types import Frozen

if TYPE_CHECKING:
    from sluiceway._frames import Frame
    from sluiceway._hub import Hub

Quantity = int | float | str | Decimal  # of work, told in its unit; never money
F = TypeVar("F", bound=Callable[..., Any])
_set = object.__setattr__
_CO_COROUTINE = 0x80  # inspect.CO_COROUTINE
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
    if not isinstance(value, str):
        raise InvalidType(f"{name} is a {type(value).__name__}, not a str")
    if not value:
        raise InvalidRequest(f"{name} is empty; {advice}")
    return value


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

    def with_amount(self, amount: Decimal) -> Booking:
        """The same with the amount that was booked under its key before."""
        return Booking(self.call_id, self.operation, amount, self.unit, self.duplicate)

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
    counted_in: str = DOLLAR,
) -> Booking:
    """Books `amount` (in the smallest parts of `counted_in`) in the scopes of the frame."""
    stated(operation, "operation", "name what was done, such as 'render'")
    evidence, usage = _described(quantity, unit, note)
    booked = hub.engine.ledger_book(
        list(frame.scopes),
        amount,
        provider=provider,
        model=model,
        operation=operation,
        tenant=hub.plan.submit["tenant"],
        usage=usage,
        evidence=evidence,
        idempotency_key=idempotency_key or "",
        force=force,
    )
    if hub.watch is not None:
        hub.watch.look_at(frame.names)
    if not booked["admitted"]:
        raise budget_exceeded(
            {**booked["balance"], "scope": booked["scope"], "amount": amount}, {}, counted_in
        )
    decimals = USD_DECIMALS if counted_in == DOLLAR else CREDIT_DECIMALS
    return Booking(
        booked["call_id"], operation, units_of(amount, decimals), counted_in, booked["duplicate"]
    )


def _described(quantity: Quantity | None, unit: str, note: str) -> tuple[str, dict[str, int]]:
    """The entry's words, and its usage where the unit is one that is counted."""
    if quantity is None:
        return note, {}
    if isinstance(quantity, bool) or not isinstance(quantity, Quantity):
        raise InvalidType(f"quantity is a {type(quantity).__name__}, not a number")
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
    """Times work and books it: a context manager and a decorator, for plain and async functions."""

    __slots__ = ("_hub", "_nanousd_per_s", "_operation", "_options", "_started_ns", "booking")

    def __init__(
        self, hub: Hub, operation: str, usd_per_s: Money, options: Mapping[str, Any]
    ) -> None:
        self._hub = hub
        self._operation = operation
        self._nanousd_per_s = nanousd_of(usd_per_s, "usd_per_s")
        self._options = dict(options)
        self._started_ns = 0
        self.booking: Booking | None = None  # of the piece of work that ended last

    def __enter__(self) -> LocalCost:
        self._started_ns = time.monotonic_ns()
        return self

    def __exit__(self, *exc: object) -> None:
        self.add(time.monotonic_ns() - self._started_ns)

    async def __aenter__(self) -> LocalCost:
        return self.__enter__()

    async def __aexit__(self, *exc: object) -> None:
        self.__exit__()

    def add(self, duration_ns: int) -> Booking:
        """Books that much time; for work that was timed elsewhere."""
        from sluiceway._frames import current_frame

        options = {"unit": "s", **self._options}
        amount = _half_even(duration_ns * self._nanousd_per_s, _NS_PER_S)
        seconds = units_of(duration_ns, 9)
        frame = current_frame(self._hub)
        self.booking = book(
            self._hub, frame, self._operation, amount, quantity=seconds, force=True, **options
        )
        return self.booking

    def __call__(self, fn: F) -> F:
        code = getattr(fn, "__code__", None)
        if code is not None and code.co_flags & _CO_COROUTINE:

            @functools.wraps(fn)
            async def run_async(*args: Any, **kwargs: Any) -> Any:
                started_ns = time.monotonic_ns()
                try:
                    return await fn(*args, **kwargs)
                finally:
                    self.add(time.monotonic_ns() - started_ns)

            return run_async  # type: ignore[return-value]

        @functools.wraps(fn)
        def run(*args: Any, **kwargs: Any) -> Any:
            started_ns = time.monotonic_ns()
            try:
                return fn(*args, **kwargs)
            finally:
                self.add(time.monotonic_ns() - started_ns)

        return run  # type: ignore[return-value]

    def __repr__(self) -> str:
        return f"LocalCost({self._operation}, ${units_of(self._nanousd_per_s, 9):f} a second)"


def _half_even(dividend: int, divisor: int) -> int:
    whole, rest = divmod(dividend, divisor)
    return whole + (2 * rest > divisor or (2 * rest == divisor and whole % 2 == 1))
