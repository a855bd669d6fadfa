"""kill -9 of one of three worker processes in the middle of 1,000 calls, the siblings working on.

Each round is the real thing: the simulator is a process, three workers are processes, one ledger
file carries all rounds. The victim, its moment (a count of its own events), the calls, their faults
and the limits are drawn from a seed. All calls count in `job:1`, which lives on over all rounds,
and in a scope of the round and provider; some of these limits run out during the round. When the
siblings have ended, a fresh gateway opens the file, which recovers what the victim left, and the
books of all rounds so far are proved against the simulator's log (books.py) and against what every
caller was told.

Six rounds in `make test`; twenty for each durability and more seeds with SLUICEWAY_PROOF=1.
"""

from __future__ import annotations

import random
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest

from sluiceway import Gateway, simulator
from sluiceway.simulator import Simulator
from tests.simulation import plans
from tests.simulation.books import Books, Line, prove, read_books, shown
from tests.simulation.crew import Crew, Kill, environment
from tests.simulation.worker import gateway_config

SHARED = "job:1"
WORKERS = 3
CALLS = 1000
CONCURRENCY = 16
Event = dict[str, Any]


@dataclass
class Seen:
    """How often what happened, over all rounds: a proof that met nothing proves nothing."""

    left_in_doubt: int = 0  # calls that the victims had under way
    settled: int = 0
    refused_by: set[str] = field(default_factory=set)


class Run:
    """One ledger file and one simulator, over several rounds."""

    def __init__(self, seed: int, durability: str, sim: Simulator, folder: Path) -> None:
        self.rng = random.Random(f"kill -9 {seed} {durability}")
        self.durability = durability
        self.sim = sim
        self.folder = folder
        self.ledger = str(folder / "books.db")
        self.limits: dict[str, int] = {}
        self.lines: list[dict[str, Any]] = []
        self.events: dict[str, list[Event]] = {}  # by worker, of all rounds
        self.victims: set[str] = set()
        self.seen = Seen()

    def round(self, number: int, calls: int = CALLS, at_event: str = "") -> None:
        """One round; raises AssertionError with every broken promise."""
        victim = f"r{number}w{self.rng.randrange(WORKERS)}"
        workers = self._plan(number, calls, tight=number % 3 == 2)
        crew = Crew(workers, environment(self.sim.http_url), self.folder)
        own = len(next(plan["calls"] for plan in workers if plan["worker"] == victim))
        moment = self.rng.randrange(own // 10, own * 9 // 5)
        kill = Kill(victim, 0 if at_event else moment, at_event)
        print(f"round {number}: {kill}, {self.durability}")
        crew.run(kill)
        assert crew.killed(victim), f"{victim} ended by itself: {crew.exit_status}"
        for plan in workers:
            name = plan["worker"]
            assert crew.stderr(name) == ""
            self.events[name] = crew.events[name]
            if name != victim:
                assert crew.exit_status[name] == 0
                ends = [event for event in crew.events[name] if event["event"] == "end"]
                assert len(ends) == len(plan["calls"]), f"{name} did not make all its calls"
        self.victims.add(victim)
        for line in self.sim.log(len(self.lines)):
            line["round"] = number
            self.lines.append(line)
        with Gateway(gateway_config(self.ledger, self.durability)) as fresh:
            books = read_books(fresh)
        problems = prove(books, self.lines, self.limits, scopes_of)
        problems += self._told(books)
        assert not problems, shown(problems)

    def _plan(self, number: int, count: int, tight: bool) -> list[dict[str, Any]]:
        calls = plans.draw_calls(self.rng, count)
        shares = dict(zip(plans.MODELS, self.rng.sample((0.5, 0.8, 2.0), 3), strict=True))
        needs = {provider: plans.need_nanousd(calls, provider) for provider in plans.MODELS}
        budgets = {}
        for provider, share in shares.items():
            scope = f"video:{number}-{provider}"
            self.limits[scope] = int(needs[provider] * share)
            budgets[provider] = [scope, plans.usd(self.limits[scope])]
        with Gateway(gateway_config(self.ledger, self.durability)) as before:
            scopes = {scope["name"]: scope for scope in before.ledger.scopes()}
            row = scopes.get(SHARED, {"settled": 0, "held": 0, "in_doubt": 0})
            counted = row["settled"] + row["held"] + row["in_doubt"]
            limit = counted + int(sum(needs.values()) * (0.3 if tight else 2.0))
            self.limits[SHARED] = limit
            before.budget(SHARED, plans.usd(limit), replace=True)
        common = {
            "ledger": self.ledger,
            "durability": self.durability,
            "concurrency": CONCURRENCY,
            "shared": SHARED,
            "budgets": budgets,
        }
        return [
            {"worker": f"r{number}w{index}", "calls": calls[index::WORKERS], **common}
            for index in range(WORKERS)
        ]

    def _told(self, books: Books) -> list[str]:
        """What callers were told against the books, for all rounds so far."""
        problems = []
        ends = {
            event["call"]: (worker, event)
            for worker, events in self.events.items()
            for event in events
            if event["event"] == "end"
        }
        for call_id, (worker, event) in ends.items():
            problems += _told_of(call_id, worker in self.victims, event, books)
        self.seen.refused_by |= {event["scope"] for _, event in ends.values() if "scope" in event}
        unheard = [call_id for call_id in books.calls if call_id not in ends]
        for call_id in unheard:
            call = books.calls[call_id]
            if call.tenant not in self.victims:
                problems.append(f"call {call_id} of {call.tenant} is known to the ledger alone")
        self.seen.left_in_doubt = sum(books.calls[key].state == "in_doubt" for key in unheard)
        self.seen.settled = sum(call.state == "settle" for call in books.calls.values())
        if len(unheard) > len(self.victims) * CONCURRENCY:
            problems.append(f"{len(unheard)} calls were unheard of, more than can be under way")
        return problems


def scopes_of(line: Line) -> tuple[str, ...]:
    """The scopes of a call by the test's own plan."""
    return SHARED, f"video:{line['round']}-{line['provider']}"


def _told_of(call_id: str, victim: bool, event: Event, books: Books) -> list[str]:
    """A victim's last entries may be unwritten: then the call is in doubt at its hold."""
    call = books.calls.get(call_id)
    told, amount = event["told"], event["amount"]
    state = call.state if call is not None else "absent"
    allowed = {
        "settled": {"settle"},
        "in_doubt": {"in_doubt"},
        "refused": {"absent"},
        "no_charge": {"void", "absent"},
    }[told]
    if victim and call is not None:
        allowed = allowed | {"in_doubt"}
    if state not in allowed:
        return [f"call {call_id}: its caller was told {event}, the ledger says {state}"]
    if call is None:
        return []
    if told == "settled" and state == "settle" and call.ends[0][1] != amount:
        return [f"call {call_id}: its caller was told {amount}, settled at {call.ends[0][1]}"]
    if told == "in_doubt" and call.hold_nanousd != amount:
        return [f"call {call_id}: its caller was told {amount}, held are {call.hold_nanousd}"]
    return []


def rounds_of(durability: str) -> int:
    """How many rounds a run has."""
    if plans.PROOF:
        return 20
    return 4 if durability == "process" else 2


@pytest.mark.parametrize("seed", plans.seeds(4))
@pytest.mark.parametrize("durability", ["process", "power"])
def test_one_of_three_is_killed_and_the_siblings_work_on(
    durability: str, seed: int, tmp_path: Path
) -> None:
    print(f"seed {seed}")
    rounds = rounds_of(durability)
    with simulator.spawn(seed=seed, tls=False) as sim:
        run = Run(seed, durability, sim, tmp_path)
        for number in range(rounds):
            run.round(number)
    seen = run.seen
    print(seen)
    assert seen.settled > rounds * CALLS // 4
    assert seen.left_in_doubt > 0, "no victim had a call under way"
    assert any(scope.startswith("video:") for scope in seen.refused_by)
    if rounds > 2:
        assert SHARED in seen.refused_by


@pytest.mark.parametrize("at_event", ["opening", "opened", "closing"])
def test_killed_while_it_opens_or_closes(at_event: str, tmp_path: Path) -> None:
    """The moments that a count of calls does not reach; the same file takes another round."""
    print(f"seed {plans.SEED}")
    with simulator.spawn(seed=plans.SEED, tls=False) as sim:
        run = Run(plans.SEED, "process", sim, tmp_path)
        run.round(0, calls=90, at_event=at_event)
        run.round(1, calls=90)
