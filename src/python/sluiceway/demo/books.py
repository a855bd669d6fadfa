"""The proof of the books: our ledger against the bill of the provider, call by call.

Model: three witnesses. The provider's log (the simulator's, by the header `sluiceway-attempt`:
"call id/number") says what was executed and charged. The ledger's entries say how each reservation
ended. The demo's own notes say which calls it made, in which scopes, and what it was told. The
audit compares them to the nano-dollar:

    settled     charged exactly what the ledger says, and what the caller was told
    void        charged nothing
    in doubt    charged between nothing and what is held, and the caller was told of the hold
    any         reserved once, ended once, known to the demo; executed at most once

Overshoot is reckoned without our ledger: the provider's charges of a scope's calls, by the demo's
notes, above the scope's limit. A call whose hour cannot be told from its times (it was under way
while the hour changed) counts in the hour that the ledger names, if that is one of the two, else in
both.

All amounts are ints, nano-dollars. Time and memory: linear. Pure functions, any thread.

    audit(ledger_calls(entries), provider_books(lines), notes, limits).problems      # [] is good
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any

SETTLED, VOID, IN_DOUBT, OPEN = "settled", "void", "in_doubt", "open"
_STATE_OF = {
    "settle": SETTLED,
    "void": VOID,
    "in_doubt": IN_DOUBT,
    "post_full": SETTLED,
    "correct": SETTLED,
}
# Which kinds may follow which state.
_FOLLOWS = {
    OPEN: {"settle", "void", "in_doubt"},
    IN_DOUBT: {"settle", "post_full"},
    SETTLED: {"correct"},
}
PROBLEMS_SHOWN_MAX = 20


@dataclass(slots=True)
class LedgerCall:
    """How one reservation ended."""

    hold_nanousd: int
    scopes: tuple[str, ...]
    model: str = ""
    state: str = OPEN
    amount_nanousd: int = 0  # settled; 0 in the other states
    problems: list[str] = field(default_factory=list)


@dataclass(frozen=True, slots=True)
class Note:
    """What the demo knows of a call: its job, the hours it may lie in, what it was told.

    `told` is "settled", "in_doubt", "no_charge" (an error that holds nothing) or "cached".
    """

    job: str
    hours: tuple[str, ...]
    told: str
    amount_nanousd: int  # the cost, or what is held


@dataclass(slots=True)
class ProviderBooks:
    """The provider's log, added up."""

    bill: Counter[str] = field(default_factory=Counter)  # by call id
    executions_by_attempt: Counter[str] = field(default_factory=Counter)
    executions_by_call: Counter[str] = field(default_factory=Counter)
    total_nanousd: int = 0
    requests: int = 0
    without_attempt_nanousd: int = 0


@dataclass(slots=True)
class Audit:
    """What the comparison found."""

    problems: list[str]
    settled_calls: int = 0
    void_calls: int = 0
    in_doubt_calls: int = 0
    ledger_nanousd: int = 0  # settled
    provider_nanousd: int = 0  # all that was charged
    provider_settled_nanousd: int = 0  # ... for settled calls
    provider_in_doubt_nanousd: int = 0  # ... for calls in doubt
    in_doubt_nanousd: int = 0  # held
    executions_per_attempt_max: int = 0
    executions_per_call_max: int = 0
    charged_by_scope: dict[str, int] = field(default_factory=dict)
    overshoot_by_scope: dict[str, int] = field(default_factory=dict)  # only what is above 0

    @property
    def overshoot_nanousd(self) -> int:
        """All scopes' overshoot together."""
        return sum(self.overshoot_by_scope.values())

    @property
    def ok(self) -> bool:
        """Whether the books agree and nothing overshot."""
        return not self.problems and not self.overshoot_by_scope


def provider_books(lines: Iterable[Mapping[str, Any]]) -> ProviderBooks:
    """Adds up the lines of the simulator's log; see simulator/books.py for a line."""
    books = ProviderBooks()
    for line in lines:
        billed = line["billed_nanousd"]
        books.total_nanousd += billed
        correction = line.get("correction", False)
        books.requests += not correction
        attempt = line["attempt"]
        if attempt is None:
            books.without_attempt_nanousd += billed
            continue
        call_id = attempt.rpartition("/")[0]
        books.bill[call_id] += billed
        if line["executed"] and not correction:
            books.executions_by_attempt[attempt] += 1
            books.executions_by_call[call_id] += 1
    return books


def ledger_calls(entries: Iterable[Mapping[str, Any]]) -> dict[str, LedgerCall]:
    """The ledger's entries, by call. What does not fit together becomes a call's `problems`."""
    calls: dict[str, LedgerCall] = {}
    ends = []
    for entry in entries:
        if entry["kind"] != "reserve":
            ends.append(entry)
            continue
        call_id, amount = entry["call_id"], entry["amount_nanousd"]
        model = f"{entry['provider']}/{entry['model']}"
        if call_id in calls:
            calls[call_id].problems.append("was reserved twice")
        else:
            calls[call_id] = LedgerCall(amount, tuple(entry["scopes"]), model)
    # A call is in doubt before that ends, whatever the order in which entries were read.
    ends.sort(key=lambda entry: entry["kind"] != "in_doubt")
    for entry in ends:
        kind = entry["kind"]
        call = calls.setdefault(entry["call_id"], LedgerCall(0, ()))
        if kind == "shrink" and call.state in (OPEN, IN_DOUBT):
            call.hold_nanousd = entry["amount_nanousd"]
            continue
        if kind not in _FOLLOWS.get(call.state, ()):
            call.problems.append(f"is {call.state} and then has the entry {kind}")
            continue
        call.state = _STATE_OF[kind]
        if call.state == SETTLED:
            call.amount_nanousd = entry["amount_nanousd"]
    return calls


def audit(
    ledger: Mapping[str, LedgerCall],
    provider: ProviderBooks,
    notes: Mapping[str, Note],
    limits_nanousd: Mapping[str, int],
) -> Audit:
    """Compares the three. `limits_nanousd` is by scope; hours share the limit of "hour"."""
    found = Audit([], provider_nanousd=provider.total_nanousd)
    for call_id, call in ledger.items():
        _check_call(call_id, call, provider.bill.get(call_id, 0), notes.get(call_id), found)
    for call_id, note in notes.items():
        if call_id not in ledger and note.told in (SETTLED, IN_DOUBT):
            found.problems.append(
                f"call {call_id}: its caller was told {note.told}, the ledger has no such call"
            )
    for call_id, billed in provider.bill.items():
        if call_id not in ledger and (billed or provider.executions_by_call[call_id]):
            found.problems.append(
                f"call {call_id}: the provider charged {billed} nano-dollars, the ledger has no"
                " such call"
            )
    if provider.without_attempt_nanousd:
        found.problems.append(
            f"{provider.without_attempt_nanousd} nano-dollars were charged for requests without the"
            " header sluiceway-attempt"
        )
    _check_executions(provider, found)
    _check_scopes(ledger, provider, notes, limits_nanousd, found)
    return found


def _check_call(call_id: str, call: LedgerCall, billed: int, note: Note | None, out: Audit) -> None:
    def problem(what: str) -> None:
        out.problems.append(f"call {call_id} ({call.model}): {what}")

    for what in call.problems:
        problem(what)
    if note is None:
        problem("is in the ledger, and the demo never heard of it")
    elif note.job not in call.scopes:
        problem(f"was made in {note.job}, the ledger counts it in {', '.join(call.scopes)}")
    if call.state == SETTLED:
        out.settled_calls += 1
        out.ledger_nanousd += call.amount_nanousd
        out.provider_settled_nanousd += billed
        if billed != call.amount_nanousd:
            problem(f"settled at {call.amount_nanousd} nano-dollars, charged {billed}")
        if note is not None and note.told == SETTLED and note.amount_nanousd != call.amount_nanousd:
            problem(
                f"settled at {call.amount_nanousd} nano-dollars, its caller was told"
                f" {note.amount_nanousd}"
            )
        if note is not None and note.told == IN_DOUBT:
            problem("is settled, its caller was told that it is in doubt")
    elif call.state == VOID:
        out.void_calls += 1
        if billed:
            problem(f"is void, charged {billed} nano-dollars")
        if note is not None and note.told in (SETTLED, IN_DOUBT):
            problem(f"is void, its caller was told {note.told}")
    elif call.state == IN_DOUBT:
        out.in_doubt_calls += 1
        out.in_doubt_nanousd += call.hold_nanousd
        out.provider_in_doubt_nanousd += billed
        if not 0 <= billed <= call.hold_nanousd:
            problem(f"in doubt at {call.hold_nanousd} nano-dollars, charged {billed}")
        if note is not None and (note.told, note.amount_nanousd) != (IN_DOUBT, call.hold_nanousd):
            problem(
                f"in doubt at {call.hold_nanousd} nano-dollars, its caller was told {note.told}"
                f" {note.amount_nanousd}"
            )
    else:
        problem("was reserved and never ended")


def _check_executions(provider: ProviderBooks, out: Audit) -> None:
    by_attempt, by_call = provider.executions_by_attempt, provider.executions_by_call
    out.executions_per_attempt_max = max(by_attempt.values(), default=0)
    out.executions_per_call_max = max(by_call.values(), default=0)
    for attempt, count in by_attempt.items():
        if count > 1:
            out.problems.append(f"attempt {attempt} was executed {count} times")
    attempts = Counter(attempt.rpartition("/")[0] for attempt in by_attempt)
    for call_id, count in attempts.items():
        if count > 1:
            out.problems.append(f"call {call_id} was executed in {count} of its attempts")


def _check_scopes(
    ledger: Mapping[str, LedgerCall],
    provider: ProviderBooks,
    notes: Mapping[str, Note],
    limits_nanousd: Mapping[str, int],
    out: Audit,
) -> None:
    charged: Counter[str] = Counter()
    for call_id, billed in provider.bill.items():
        note = notes.get(call_id)
        if note is None:
            if billed:
                out.problems.append(
                    f"call {call_id}: charged {billed} nano-dollars, and in no scope that the demo"
                    " knows of"
                )
            continue
        hours = note.hours
        if len(hours) > 1 and call_id in ledger:
            hours = tuple(hour for hour in hours if hour in ledger[call_id].scopes) or hours
        for scope in (note.job, *hours):
            charged[scope] += billed
    out.charged_by_scope = dict(charged)
    for scope, amount in charged.items():
        limit = limits_nanousd.get(scope)
        if limit is None:
            limit = limits_nanousd.get(scope.partition(":")[0])
        if limit is not None and amount > limit:
            out.overshoot_by_scope[scope] = amount - limit
