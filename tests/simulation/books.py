"""The proof of the books in the simulations: the ledger against the provider's own log.

Model: two witnesses that share no code. The simulator's log says what was executed and charged, and
for which call, by the header `sluiceway-attempt: <call id>/<number>`. The ledger's entries say what
was reserved, in which scopes, and how it ended. `prove` compares them to the nano-dollar and
returns one sentence for every broken promise:

    reserved    no request reached the provider without an entry `reserve` in the ledger
    once        executed at most once an attempt and once a call, ended exactly once
    settled     charged exactly what the ledger says
    void        charged nothing
    in doubt    charged between nothing and what is held
    limits      the provider's bill of a scope never passes its limit, nor do our own balances, and
                these cover the bill

Which scopes a call belongs to is told by the test (`scopes_of`, from a line of the simulator's
log), not by the ledger. Amounts are ints, nano-dollars. Linear; pure functions.

    problems = prove(read_books(gateway), simulator.log(), limits, scopes_of)       # [] is good
"""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any

from sluiceway import Gateway

Line = Mapping[str, Any]
SHOWN_MAX = 12


@dataclass
class Reserved:
    """One call of the ledger: its hold, its scopes, and the entries that ended it."""

    tenant: str = ""
    scopes: tuple[str, ...] = ()
    hold_nanousd: int = -1  # -1: there is no entry `reserve`
    reserved_times: int = 0
    ends: list[tuple[str, int]] = field(default_factory=list)  # kind, amount

    @property
    def state(self) -> str:
        """ "settle", "void", "in_doubt", "open", or "mixed" where there is more than one end."""
        if not self.ends:
            return "open"
        return self.ends[0][0] if len(self.ends) == 1 else "mixed"


@dataclass
class Books:
    """What a ledger file says."""

    calls: dict[str, Reserved]
    holds: list[dict[str, Any]]
    scopes: dict[str, dict[str, Any]]
    verify: dict[str, Any]


def read_books(gateway: Gateway) -> Books:
    """Everything that the ledger of a gateway says now."""
    calls: dict[str, Reserved] = defaultdict(Reserved)
    for entry in gateway.ledger.entries():
        if entry["kind"] in ("grant", "replace"):
            continue  # a scope's limit, and no call's
        call, kind, amount = calls[entry["call_id"]], entry["kind"], entry["amount_nanousd"]
        if kind == "reserve":
            call.reserved_times += 1
            call.hold_nanousd = amount
            call.tenant, call.scopes = entry["tenant"], tuple(entry["scopes"])
        elif kind != "shrink":
            call.ends.append((kind, amount))
    view = gateway.ledger
    scopes = {scope["name"]: scope for scope in view.scopes()}
    return Books(dict(calls), view.holds(), scopes, view.verify())


@dataclass
class Charged:
    """The provider's log, added up by call."""

    bill: Counter[str] = field(default_factory=Counter)
    by_scope: Counter[str] = field(default_factory=Counter)
    executed_attempts: Counter[str] = field(default_factory=Counter)
    executed_calls: Counter[str] = field(default_factory=Counter)
    scopes: dict[str, tuple[str, ...]] = field(default_factory=dict)
    total_nanousd: int = 0
    nameless: int = 0  # requests without the header


def read_log(lines: Iterable[Line], scopes_of: Callable[[Line], tuple[str, ...]]) -> Charged:
    """Adds up the simulator's log."""
    charged = Charged()
    for line in lines:
        attempt, billed = line["attempt"], line["billed_nanousd"]
        charged.total_nanousd += billed
        if attempt is None:
            charged.nameless += 1
            continue
        call_id = attempt.rpartition("/")[0]
        charged.bill[call_id] += billed
        charged.scopes[call_id] = scopes = scopes_of(line)
        for scope in scopes:
            charged.by_scope[scope] += billed
        if line["executed"] and not line.get("correction"):
            charged.executed_attempts[attempt] += 1
            charged.executed_calls[call_id] += 1
    return charged


def prove(
    books: Books,
    lines: Iterable[Line],
    limits_nanousd: Mapping[str, int],
    scopes_of: Callable[[Line], tuple[str, ...]],
) -> list[str]:
    """Every broken promise as a sentence. The gateways of all workers have ended."""
    charged = read_log(lines, scopes_of)
    problems = [f"verify: {what}" for what in books.verify["problems"]]
    if not books.verify["ok"]:
        problems.append(f"verify is not ok: {books.verify}")
    if charged.nameless:
        problems.append(f"{charged.nameless} requests had no header sluiceway-attempt")
    for call_id, scopes in charged.scopes.items():
        call = books.calls.get(call_id)
        if call is None or not call.reserved_times:
            problems.append(f"call {call_id} reached the provider without a reservation")
        elif sorted(call.scopes) != sorted(scopes):
            problems.append(f"call {call_id} was made in {scopes}, the ledger says {call.scopes}")
    for attempt, times in charged.executed_attempts.items():
        if times > 1:
            problems.append(f"attempt {attempt} was executed {times} times")
    for call_id, times in charged.executed_calls.items():
        if times > 1:
            problems.append(f"call {call_id} was executed {times} times")
    for call_id, call in books.calls.items():
        problems += _of_call(call_id, call, charged.bill[call_id])
    problems += _of_holds(books)
    for scope, limit in limits_nanousd.items():
        problems += _of_scope(scope, limit, charged.by_scope[scope], books)
    return problems


def _of_call(call_id: str, call: Reserved, billed: int) -> list[str]:
    name = f"call {call_id} ({call.tenant})"
    if call.reserved_times != 1:
        return [f"{name} was reserved {call.reserved_times} times"]
    if call.state == "open":
        return [f"{name} was reserved and never ended"]
    if call.state == "mixed":
        return [f"{name} ended more than once: {call.ends}"]
    amount = call.ends[0][1]
    if call.state == "settle" and amount != billed:
        return [f"{name} was settled at {amount}, charged {billed}"]
    if call.state == "void" and billed:
        return [f"{name} is void, charged {billed}"]
    if call.state == "in_doubt" and not 0 <= billed <= call.hold_nanousd:
        return [f"{name} is in doubt at {call.hold_nanousd}, charged {billed}"]
    if call.state not in ("settle", "void", "in_doubt"):
        return [f"{name} ended as {call.state}"]
    return []


def _of_holds(books: Books) -> list[str]:
    """Holds are exactly the calls in doubt, at what they reserved."""
    problems = []
    held = {hold["call_id"]: hold for hold in books.holds}
    for call_id, hold in held.items():
        call = books.calls.get(call_id)
        if call is None or call.hold_nanousd != hold["amount_nanousd"]:
            problems.append(f"hold {call_id} is of {hold['amount_nanousd']}, the entry: {call}")
        if not hold["in_doubt"]:
            problems.append(f"hold {call_id} is not in doubt although no process is left")
    in_doubt = {key for key, call in books.calls.items() if call.state == "in_doubt"}
    return problems + [
        f"call {call_id} is in doubt in the holds or in the entries, not in both"
        for call_id in sorted(in_doubt ^ held.keys())
    ]


def _of_scope(scope: str, limit: int, billed: int, books: Books) -> list[str]:
    problems = []
    row = books.scopes.get(scope)
    if billed > limit:
        problems.append(f"the bill of {scope} is {billed}, {billed - limit} above its limit")
    if row is None:
        return [*problems, f"the ledger has no scope {scope}"] if billed else problems
    counted = row["settled"] + row["held"] + row["in_doubt"]
    if row["limit"] != limit:
        problems.append(f"{scope} has the limit {row['limit']}, it was given {limit}")
    if counted > limit:
        problems.append(f"{scope} counts {counted}, above its limit {limit}")
    if counted < billed:
        problems.append(f"{scope} counts {counted}, the provider charged {billed}")
    if row["held"]:
        problems.append(f"{scope} still holds {row['held']} although no process is left")
    if row["blocked"]:
        problems.append(f"{scope} is blocked")
    return problems


def shown(problems: list[str]) -> str:
    """The first problems, one a line, for an assertion's message."""
    more = len(problems) - SHOWN_MAX
    return "\n".join([*problems[:SHOWN_MAX], *([f"... and {more} more"] if more > 0 else [])])
