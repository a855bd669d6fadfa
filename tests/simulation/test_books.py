"""The proof can fail: every promise of books.py, broken by hand, is found and named.

The books below are worked out by hand: one call settled at 7 of a hold of 10, one void, one in
doubt at its hold of 10 and charged 4, in one scope with a limit of 30.
"""

from __future__ import annotations

import copy
from collections.abc import Callable
from typing import Any

import pytest

from tests.simulation.books import Books, Reserved, prove

SCOPE = "job:1"
LIMIT = 30
Lines = list[dict[str, Any]]


def line(call_id: str, billed: int, executed: bool = True) -> dict[str, Any]:
    """A line of the simulator's log."""
    return {"attempt": f"{call_id}/1", "billed_nanousd": billed, "executed": executed}


def good() -> tuple[Books, Lines]:
    """Books and a log that agree."""
    calls = {
        "a": Reserved("w0", (SCOPE,), 10, 1, [("settle", 7)]),
        "b": Reserved("w1", (SCOPE,), 10, 1, [("void", 0)]),
        "c": Reserved("w2", (SCOPE,), 10, 1, [("in_doubt", 10)]),
    }
    row = {"limit": LIMIT, "settled": 7, "held": 0, "in_doubt": 10, "blocked": False}
    holds = [{"call_id": "c", "amount_nanousd": 10, "in_doubt": True}]
    verify = {"ok": True, "problems": []}
    return Books(calls, holds, {SCOPE: row}, verify), [
        line("a", 7),
        line("b", 0, False),
        line("c", 4),
    ]


def problems_of(books: Books, lines: Lines) -> list[str]:
    """What `prove` finds."""
    return prove(books, lines, {SCOPE: LIMIT}, lambda _: (SCOPE,))


def test_good_books_are_good() -> None:
    assert problems_of(*good()) == []


Break = Callable[[Books, Lines], Any]
BREAKS: dict[str, tuple[Break, str]] = {
    "lost": (lambda b, _: b.calls.pop("a"), "a reached the provider without a reservation"),
    "end without reserve": (
        lambda b, _: setattr(b.calls["a"], "reserved_times", 0),
        "a (w0) was reserved 0 times",
    ),
    "twice": (lambda _, log: log.append(line("a", 0)), "attempt a/1 was executed 2 times"),
    "retried": (
        lambda _, log: log.append({**line("a", 0), "attempt": "a/2"}),
        "call a was executed 2 times",
    ),
    "nameless": (lambda _, log: log[0].update(attempt=None), "had no header"),
    "settled wrong": (lambda _, log: log[0].update(billed_nanousd=8), "settled at 7, charged 8"),
    "void billed": (lambda _, log: log[1].update(billed_nanousd=1), "is void, charged 1"),
    "hold too low": (lambda _, log: log[2].update(billed_nanousd=11), "in doubt at 10, charged 11"),
    "still open": (lambda b, _: b.calls["a"].ends.clear(), "was reserved and never ended"),
    "ended twice": (lambda b, _: b.calls["a"].ends.append(("void", 0)), "ended more than once"),
    "hold lost": (lambda b, _: b.holds.clear(), "c is in doubt in the holds or in the entries"),
    "hold shrunk": (lambda b, _: b.holds[0].update(amount_nanousd=9), "hold c is of 9"),
    "hold running": (lambda b, _: b.holds[0].update(in_doubt=False), "hold c is not in doubt"),
    "overshoot": (lambda _, log: log[0].update(billed_nanousd=27), "the bill of job:1 is 31, 1"),
    "balance low": (lambda b, _: b.scopes[SCOPE].update(in_doubt=3), "job:1 counts 10, the"),
    "balance high": (lambda b, _: b.scopes[SCOPE].update(settled=21), "counts 31, above its limit"),
    "still held": (lambda b, _: b.scopes[SCOPE].update(held=1), "job:1 still holds 1"),
    "other limit": (lambda b, _: b.scopes[SCOPE].update(limit=31), "has the limit 31, it was"),
    "other scope": (lambda b, _: setattr(b.calls["a"], "scopes", ()), "the ledger says ()"),
    "no scope": (lambda b, _: b.scopes.clear(), "the ledger has no scope job:1"),
    "verify": (lambda b, _: b.verify.update(ok=False), "verify is not ok"),
}


@pytest.mark.parametrize("name", BREAKS)
def test_each_broken_promise_is_found(name: str) -> None:
    books, lines = copy.deepcopy(good())
    breaking, message = BREAKS[name]
    breaking(books, lines)
    assert any(message in problem for problem in problems_of(books, lines))
