"""Budgets: named scopes of money that calls are held against, carried by a context variable.

Model: a `Budget` is a handle on one scope in the ledger ("video:42"). While it is entered, every
call of the same gateway made in this context (and in tasks started in it) reserves its ceiling
there as well as in the scopes around it and in those that every call is in ("day"). A component
("video:42#voice") is a scope of its own inside its parent: entering it counts in both.
Threads do not inherit a context: use `b.bind(fn)` or `contextvars.copy_context()`.

    with gw.budget("video:42", usd="3.00") as b:
        with b.component("voice", usd="0.50"):
            gw.chat("openai/gpt-6-luna", "Name three rivers")
        b.book("render", usd="0.12", quantity=40, unit="gpu_s")
        b.spent, b.held, b.in_doubt, b.left, b.status, b.report()

Reading a balance waits for the next commit and asks the file (about a millisecond on a good
disk); keep it out of inner loops. Any thread.
Source: docs/internals/call.md, "Money".
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from decimal import Decimal
from typing import TYPE_CHECKING, Any, TypeVar

from sluiceway._booking import Booking, Quantity, book
from sluiceway._callables import wrap
from sluiceway._frames import COMPONENT, Frame, current_frame, known_scope, open_scope
from sluiceway._terms import KEYED_KINDS, Terms, balance_of
from sluiceway.errors import Balance, InvalidRequest, InvalidType, kind_of
from sluiceway.money import nanousd_of
from sluiceway.options import Money

if TYPE_CHECKING:
    from sluiceway._budget_report import BudgetReport
    from sluiceway._hub import Hub
    from sluiceway._thresholds import BudgetEvent


F = TypeVar("F", bound=Callable[..., Any])
SLIP_LETTERS_MIN = 4
TWO_SLIPS_LETTERS_MIN = 8
Threshold = TypeVar("Threshold", bound="Callable[[BudgetEvent], object]")


class Budget:
    """A scope with a limit: a context manager, sync and async, and a balance to read."""

    __slots__ = ("_hub", "chain", "name", "scope", "terms")

    def __init__(
        self, hub: Hub, name: object, usd: Money | None, replace: bool, **terms: Any
    ) -> None:
        kind = _kind_of(name)
        assert isinstance(name, str)
        self._hub = hub
        self.name = name
        outer, inside, part = name.rpartition(COMPONENT)
        if inside:
            parent = Budget(hub, outer, None, False)
            self._open_component(parent, part, usd, replace, terms)
            return
        asked = (usd, tuple(terms.items())) if terms else usd
        self.chain: tuple[Budget, ...] = (self,)
        known = None if replace else known_scope(hub, name, asked)
        if known is not None:
            self.terms, self.scope = known.terms, known.scope
            return
        template = hub.config.budgets.get(kind, {})
        if usd is None and not template and not terms and not replace:
            self._check_kind(kind)
        limit = None if usd is None else nanousd_of(usd)
        if not template and not terms and name in hub.scopes:
            self.terms = hub.scopes[name].terms.with_limit(limit)  # its window goes on
        else:
            self.terms = Terms(template, limit, **terms)
        self._check(kind, template, replace)
        replace = replace or bool(template.get("replace"))
        self.scope = open_scope(hub, name, self.terms, asked, replace=replace)

    def _check(self, kind: str, template: Mapping[str, Any], replace: bool) -> None:
        if replace and self.terms.limit is None:
            raise InvalidRequest(f"replace=True needs the new limit of {self.name}: usd=...")
        every_call = bool(template) and self.terms.is_every_calls(kind, template)
        if every_call and self.name != kind and not self.terms.stated_limit:
            raise InvalidRequest(
                f"[budgets.{kind}] is one scope for all calls; to give {self.name} one of its own,"
                f" say every_call = false in [budgets.{kind}], or state usd="
            )

    def _check_kind(self, kind: str) -> None:
        """InvalidRequest for what looks like a slip of the pen: it would be a budget without a
        limit. A scope that is there, however it was named, and a word of its own pass."""
        hub = self._hub
        if kind in KEYED_KINDS or kind in hub.config.wallets or self.name in hub.scopes:
            return
        for known in hub.config.budgets:
            if not is_slip_of(kind, known):
                continue
            if any(scope["name"] == self.name for scope in hub.engine.ledger_scopes()):
                return
            meant = known + self.name[len(kind) :]
            raise InvalidRequest(
                f"the budget {self.name!r} would have no limit: there is no [budgets.{kind}]; did"
                f" you mean {meant!r}? If not, state usd=, or add [budgets.{kind}]"
            )

    @classmethod
    def _of(cls, hub: Hub, name: str, terms: Terms, *, replace: bool = False) -> Budget:
        """The scope `name` under terms that are known already."""
        budget = cls.__new__(cls)
        budget._hub, budget.name, budget.terms = hub, name, terms
        budget.chain = (budget,)
        known = None if replace else known_scope(hub, name, terms)
        budget.scope = (
            known.scope if known else open_scope(hub, name, terms, terms, replace=replace)
        )
        return budget

    def component(
        self, name: str, usd: Money | None = None, *, replace: bool = False, **terms: Any
    ) -> Budget:
        """A part of this budget with a limit of its own, such as "voice"; both are counted.

        Without `usd` the template's [budgets.<kind>.components] gives the limit; a name that is not
        there is only counted. `terms` are those of `Gateway.budget`, but for the window, which is
        the parent's.
        """
        if not isinstance(name, str):
            raise InvalidType(f"the component is {kind_of(name)}, not a str")
        if not name or set(name) & set(":@" + COMPONENT):
            raise InvalidRequest(f"the component {name!r} is empty or has ':', '@' or '#'")
        budget = Budget.__new__(Budget)
        budget._hub, budget.name = self._hub, f"{self.name}{COMPONENT}{name}"
        budget._open_component(self, name, usd, replace, terms)
        return budget

    def _open_component(
        self, parent: Budget, part: str, usd: Money | None, replace: bool, terms: dict[str, Any]
    ) -> None:
        self.chain = (*parent.chain, self)
        asked = (usd, tuple(terms.items()), parent.terms)
        known = None if replace else known_scope(self._hub, self.name, asked)
        if known is not None:
            self.terms, self.scope = known.terms, known.scope
            return
        limit = parent.terms.components.get(part)
        self.terms = parent.terms.of_component(
            limit, None if usd is None else nanousd_of(usd), **terms
        )
        self._check("", {}, replace)
        self.scope = open_scope(self._hub, self.name, self.terms, asked, replace=replace)

    def __enter__(self) -> Budget:
        self._hub.frame.set(current_frame(self._hub).enter(self, self.chain))
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
        """`fn`, made to run under this budget: for threads, which inherit no context.

        It stays what it is: a function, a coroutine function, a generator function or an async
        generator function, also as a partial, a method or an object that is called. A generator is
        inside while it runs from one `yield` to the next, and whoever takes its items is not. A
        coroutine, another awaitable or a generator that a plain function returns runs inside too;
        an asyncio.Future runs where it was made. InvalidType for what cannot be called, and, when
        it is called, for an awaitable that is also entered or iterated (`async with`, `async for`).
        """
        return wrap(fn, lambda: _Inside(self))

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
        """Books a cost of your own here, in the scopes around it and in those of every call.

        BudgetExceeded where it does not fit, and nothing is booked. `force=True` is for what has
        been spent already: it is booked anyway, and a scope that it overruns blocks.
        """
        frame = current_frame(self._hub).enter(self, self.chain)
        return book(
            self._hub,
            frame,
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

    def on_threshold(self, fn: Threshold) -> Threshold:
        """Calls `fn(event)` once for each level of this scope that is reached, in each window.

        Where it runs, and what an event holds: `sluiceway.BudgetEvent`. Usable as a decorator.
        """
        self._hub.watcher().add(fn, self.name, self.scope, self.terms)
        return fn

    @property
    def balance(self) -> Balance:
        """Everything at one moment, ended calls of this gateway included."""
        return balance_of(self._raw(), self.terms.decimals)

    def _raw(self) -> dict[str, Any]:
        watch = self._hub.watch
        if watch is not None:
            raw = watch.look(self.name)
            if raw is not None:
                return raw
        self._hub.settled()
        return self.scope.balance()

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
        """What may still be reserved; None without a limit. Below zero after an overrun, or after
        the limit was lowered below what is used."""
        return self.balance.left

    @property
    def status(self) -> str:
        """ "excellent", "good", "warning", "critical" or "exceeded", by what is spent or in doubt.

        At a $3.00 limit: up to 1.00, 2.00, 2.50, 3.00, above; in the same shares (1/3, 2/3, 5/6) at
        other limits, unless the template or `statuses=` says otherwise. Blocked is exceeded. What
        running calls hold may come back and is not counted here; it is in `held` and `left`.
        """
        return self.terms.status_of(self._raw())

    @property
    def components(self) -> Sequence[str]:
        """The names of its parts, in the alphabet's order. Reads every scope of the file."""
        return tuple(self.report().components)

    def report(self) -> BudgetReport:
        """The balance, and that of every component with its share. Reads every scope."""
        from sluiceway._budget_report import report_of

        return report_of(self)

    def __repr__(self) -> str:
        return f"Budget({self.name})"


class _Inside:
    """One call's work under a budget. A generator may hold a budget of its own over a `yield`, so
    what is entered inside is kept from step to step, and what is entered outside is put back."""

    __slots__ = ("_budget", "_inside", "_outside")

    def __init__(self, budget: Budget) -> None:
        self._budget = budget
        self._inside: Frame | None = None
        self._outside: Frame | None = None

    def resume(self) -> None:
        budget, frame = self._budget, self._budget._hub.frame
        self._outside = frame.get()
        frame.set(self._inside or current_frame(budget._hub).enter(budget, budget.chain))

    def pause(self) -> None:
        frame = self._budget._hub.frame
        self._inside = frame.get()
        frame.set(self._outside)

    def end(self) -> None:
        """Nothing is left to do."""

    def follow(self, future: object) -> None:
        """A task took the frame along when it was made."""


def is_slip_of(word: str, known: str) -> bool:
    """Whether `word` is `known` with a letter too many, missing, wrong, or two of them swapped; of
    words of 8 letters and more, with two such slips. Short words are too near to each other."""
    shorter = min(len(word), len(known))
    if word == known or shorter < SLIP_LETTERS_MIN:
        return False
    before: list[int] = []
    row = list(range(len(known) + 1))
    for i, letter in enumerate(word, start=1):
        last, row_before = row, before
        row = [i]
        for j, other in enumerate(known, start=1):
            least = min(last[j] + 1, row[j - 1] + 1, last[j - 1] + (letter != other))
            if i > 1 and j > 1 and letter == known[j - 2] and word[i - 2] == other:
                least = min(least, row_before[j - 2] + 1)
            row.append(least)
        before = last
    return row[-1] <= 1 + (shorter >= TWO_SLIPS_LETTERS_MIN)


def _kind_of(name: object) -> str:
    """The kind in "kind:key". InvalidType, InvalidRequest for what is none."""
    if not isinstance(name, str):
        raise InvalidType(f'the budget is {kind_of(name)}, not a "kind:key" str')
    kind = name.partition(":")[0]
    if not kind or "@" in name or name.endswith(COMPONENT) or name.startswith(COMPONENT):
        raise InvalidRequest(f'the budget {name!r} is not of the form "kind:key" (without "@")')
    if name.endswith(":"):
        raise InvalidRequest(f"the budget {name!r} has no key behind its kind; was it empty?")
    if any(char < " " or char == "\x7f" for char in name):
        raise InvalidRequest(f"the budget {name!r} has a line end or another control character")
    return kind
