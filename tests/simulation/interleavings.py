"""Every interleaving of a small budget: do our rules keep the limit, do the usual ones break it?

Model. Five callers share a scope with room for three; each call reserves one unit, is sent, and
costs one unit if the provider executes it. A state says for every caller where it stands; a step
is anything that may happen next to one of them: it is admitted or refused, sends, is executed
(perhaps after it has given up), hears of it, crashes, its request gets lost, the money in doubt is
posted in full or resolved by the provider's bill. The search walks all states that can be reached,
breadth first, so a counterexample is a shortest one. Callers are alike, so a state is a sorted
tuple: that is why the numbers of states are small.

    rules                     what differs
    in doubt keeps the money  ours: only a proof gives it back (docs/internals/call.md, "Money")
    refund on expiry          a reservation whose caller is gone gives its money back
    check then record         admission looks first and writes later: two steps, not one

`without_symmetry` counts every order of the callers apart, as a check of the reduction itself.

Bounds: 5 callers are some thousand states (a hundred thousand without the reduction), in seconds.
`python -m tests.simulation.interleavings` prints the table and the counterexamples.

Source of the idea: TigerBeetle's expiry returns the money; for a call that may have been sent that
is wrong, and this is the proof.
"""

from __future__ import annotations

import time
from collections import deque
from collections.abc import Iterator
from dataclasses import dataclass, field

CALLERS = 5
LIMIT = 3

# Where a caller stands. Upper case: its money counts. "x": the provider has executed the call.
IDLE = "idle"
CHECKED = "checked"  # check then record: it has seen that there is room
RESERVED = "RESERVED"  # durable, not sent
SENT = "SENT"  # on its way or at work
SENT_X = "SENT x"
SETTLED_X = "SETTLED x"  # at its true cost
VOID = "void"  # proof that nothing was executed
REFUSED = "refused"
DOUBT_UNSENT = "DOUBT"  # its end is unknown; it never ran and never will
DOUBT_RUNNING = "DOUBT running"  # ... it may still be executed
DOUBT_X = "DOUBT x"
POSTED = "POSTED"  # in doubt for too long: posted in full
POSTED_RUNNING = "POSTED running"
POSTED_X = "POSTED x"
EXPIRED_UNSENT = "expired"  # refund on expiry: the money is back
EXPIRED_RUNNING = "expired running"
EXPIRED_X = "expired x"

State = tuple[str, ...]
Step = tuple[str, str, str]  # from, to, what happens


@dataclass(frozen=True)
class Rules:
    """What a set of rules allows: the steps of one caller, given whether there is room."""

    name: str
    steps: tuple[Step, ...]
    checks_first: bool = False

    def of(self, place: str, room: bool) -> Iterator[tuple[str, str]]:
        """Where a caller may go from `place`, and what that is called."""
        if place == IDLE:
            if not room:
                yield REFUSED, "is refused"
            elif self.checks_first:
                yield CHECKED, "sees that there is room"
            else:
                yield RESERVED, "reserves"
        for start, end, what in self.steps:
            if start == place:
                yield end, what


_LIFE: tuple[Step, ...] = (
    (RESERVED, SENT, "sends"),
    (RESERVED, VOID, "gives up before it sends"),
    (SENT, SENT_X, "is executed"),
    (SENT, VOID, "is refused by the provider"),
    (SENT_X, SETTLED_X, "hears of it and settles"),
)
_DOUBT: tuple[Step, ...] = (
    (RESERVED, DOUBT_UNSENT, "crashes before it sends: in doubt"),
    (SENT, DOUBT_RUNNING, "crashes or times out: in doubt"),
    (SENT, DOUBT_UNSENT, "loses its request and hears nothing: in doubt"),
    (SENT_X, DOUBT_X, "crashes, or the answer is lost: in doubt"),
    (DOUBT_RUNNING, DOUBT_X, "is executed although nobody waits"),
    (DOUBT_RUNNING, DOUBT_UNSENT, "is dropped by the provider"),
    (DOUBT_UNSENT, VOID, "is resolved by the bill: nothing"),
    (DOUBT_X, SETTLED_X, "is resolved by the bill: its cost"),
    (DOUBT_UNSENT, POSTED, "is posted in full"),
    (DOUBT_RUNNING, POSTED_RUNNING, "is posted in full"),
    (DOUBT_X, POSTED_X, "is posted in full"),
    (POSTED_RUNNING, POSTED_X, "is executed although nobody waits"),
    (POSTED_RUNNING, POSTED, "is dropped by the provider"),
    (POSTED, VOID, "is corrected by the bill: nothing"),
    (POSTED_X, SETTLED_X, "is corrected by the bill: its cost"),
)
_EXPIRY: tuple[Step, ...] = (
    (RESERVED, EXPIRED_UNSENT, "crashes before it sends: its money comes back"),
    (SENT, EXPIRED_RUNNING, "crashes or times out: its money comes back"),
    (SENT, EXPIRED_UNSENT, "loses its request: its money comes back"),
    (SENT_X, EXPIRED_X, "crashes, or the answer is lost: its money comes back"),
    (EXPIRED_RUNNING, EXPIRED_X, "is executed although nobody waits"),
    (EXPIRED_RUNNING, EXPIRED_UNSENT, "is dropped by the provider"),
)

OURS = Rules("in doubt keeps the money", _LIFE + _DOUBT)
REFUND_ON_EXPIRY = Rules("refund on expiry", _LIFE + _EXPIRY)
CHECK_THEN_RECORD = Rules(
    "check then record",
    (*_LIFE, *_DOUBT, (CHECKED, RESERVED, "records its reservation")),
    checks_first=True,
)
# Without a crash, a time-out or a lost message: the race alone.
CHECK_THEN_RECORD_UNHURT = Rules(
    "check then record, no crash",
    (*_LIFE, (CHECKED, RESERVED, "records its reservation")),
    checks_first=True,
)
ALL = (OURS, REFUND_ON_EXPIRY, CHECK_THEN_RECORD, CHECK_THEN_RECORD_UNHURT)


def counted(state: State) -> int:
    """What the books count: settled, held and in doubt."""
    return sum(place[0].isupper() for place in state)


def spent(state: State) -> int:
    """What the provider bills."""
    return sum(place.endswith(" x") for place in state)


@dataclass
class Found:
    """What a search came to."""

    states: int = 0
    steps: int = 0
    most_spent: int = 0
    most_counted: int = 0
    counterexample: list[str] = field(default_factory=list)  # a shortest way past the limit
    took_s: float = 0.0


def explore(
    rules: Rules, callers: int = CALLERS, limit: int = LIMIT, without_symmetry: bool = False
) -> Found:
    """Walks every reachable state."""
    begun = time.perf_counter()
    start: State = (IDLE,) * callers
    came_from: dict[State, tuple[State, str] | None] = {start: None}
    queue = deque([start])
    found = Found()
    while queue:
        state = queue.popleft()
        found.most_spent = max(found.most_spent, spent(state))
        found.most_counted = max(found.most_counted, counted(state))
        if spent(state) > limit and not found.counterexample:
            found.counterexample = _way(state, came_from)
        room = counted(state) < limit
        for i, place in enumerate(state):
            for target, what in rules.of(place, room):
                found.steps += 1
                after = (*state[:i], target, *state[i + 1 :])
                if not without_symmetry:
                    after = tuple(sorted(after))
                if after not in came_from:
                    came_from[after] = (state, what)
                    queue.append(after)
    found.states = len(came_from)
    found.took_s = time.perf_counter() - begun
    return found


def _way(state: State, came_from: dict[State, tuple[State, str] | None]) -> list[str]:
    lines = []
    here: State | None = state
    while here is not None and (step := came_from[here]) is not None:
        before, what = step
        lines.append(f"a caller {what}: counted {counted(here)}, billed {spent(here)}")
        here = before
    return lines[::-1]


def main() -> None:
    """Prints what each set of rules comes to."""
    for rules in ALL:
        for without_symmetry in (False, True) if rules is OURS else (False,):
            found = explore(rules, without_symmetry=without_symmetry)
            print(
                f"{rules.name}{' (every order)' if without_symmetry else ''}: {CALLERS} callers,"
                f" limit {LIMIT}: {found.states} states, {found.steps} steps, the bill reaches"
                f" {found.most_spent}, {found.took_s:.2f} s"
            )
            for number, line in enumerate(found.counterexample, start=1):
                print(f"  {number:2}. {line}")


if __name__ == "__main__":
    main()
