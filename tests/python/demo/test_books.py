"""The audit: books made by hand, and every way in which they may not agree."""

from __future__ import annotations

from typing import Any

import pytest

from sluiceway.demo.books import (
    Audit,
    Note,
    audit,
    ledger_calls,
    provider_books,
)

HOUR = "hour:2026-11-22T07"
LIMITS = {"job:1": 1000, "hour": 5000}


def line(attempt: str | None, billed: int, executed: bool = True, **more: Any) -> dict[str, Any]:
    """A line of the simulator's log, as far as the audit looks at it."""
    return {"attempt": attempt, "billed_nanousd": billed, "executed": executed, **more}


def entry(call: str, kind: str, amount: int = 0) -> dict[str, Any]:
    """An entry of the ledger."""
    scopes = [HOUR, "job:1"] if kind == "reserve" else []
    return {
        "call_id": call,
        "kind": kind,
        "amount_nanousd": amount,
        "scopes": scopes,
        "provider": "p",
        "model": "m",
    }


def note(told: str, amount: int = 0, job: str = "job:1", hours: tuple[str, ...] = (HOUR,)) -> Note:
    """What the demo noted."""
    return Note(job, hours, told, amount)


# a: settled after a refused attempt; b: void; c: in doubt and executed; d: in doubt, never arrived.
LINES = [
    line("a/1", 0, executed=False),
    line("a/2", 300),
    line("b/1", 0, executed=False),
    line("c/1", 200),
]
ENTRIES = [
    entry("a", "reserve", 400),
    entry("b", "reserve", 400),
    entry("c", "reserve", 250),
    entry("d", "reserve", 250),
    entry("a", "settle", 300),
    entry("b", "void"),
    entry("c", "in_doubt"),
    entry("d", "in_doubt"),
]
NOTES = {
    "a": note("settled", 300),
    "b": note("no_charge"),
    "c": note("in_doubt", 250),
    "d": note("in_doubt", 250),
    "e": note("cached"),
    "f": note("no_charge"),
}


def judge(
    lines: list[dict[str, Any]] = LINES,
    entries: list[dict[str, Any]] = ENTRIES,
    notes: dict[str, Note] = NOTES,
    limits: dict[str, int] = LIMITS,
) -> Audit:
    """The audit of these books, of the good ones where none are given."""
    return audit(ledger_calls(entries), provider_books(lines), notes, limits)


def test_books_that_agree() -> None:
    found = judge()
    assert found.problems == []
    assert found.ok
    assert (found.settled_calls, found.void_calls, found.in_doubt_calls) == (1, 1, 2)
    assert found.ledger_nanousd == 300
    assert found.provider_nanousd == 500
    assert found.provider_settled_nanousd == 300
    assert found.provider_in_doubt_nanousd == 200
    assert found.in_doubt_nanousd == 500
    assert found.executions_per_attempt_max == 1
    assert found.executions_per_call_max == 1
    assert found.charged_by_scope == {"job:1": 500, HOUR: 500}
    assert found.overshoot_nanousd == 0


@pytest.mark.parametrize("wrong", [299, 301])
def test_one_nano_dollar_is_caught(wrong: int) -> None:
    found = judge(lines=[line("a/2", wrong) if one["attempt"] == "a/2" else one for one in LINES])
    assert len(found.problems) == 1
    assert f"settled at 300 nano-dollars, charged {wrong}" in found.problems[0]
    assert not found.ok


def test_an_attempt_that_was_executed_twice_is_caught() -> None:
    found = judge(lines=[*LINES, line("a/2", 0)])
    assert found.executions_per_attempt_max == 2
    assert found.problems == ["attempt a/2 was executed 2 times"]


def test_a_call_that_was_executed_in_two_attempts_is_caught() -> None:
    found = judge(lines=[line("a/1", 0), *LINES[1:]])
    assert found.executions_per_attempt_max == 1
    assert found.executions_per_call_max == 2
    assert found.problems == ["call a was executed in 2 of its attempts"]


def test_a_void_call_that_was_charged_is_caught() -> None:
    found = judge(lines=[*LINES, line("b/2", 1, executed=False)])
    assert found.problems == ["call b (p/m): is void, charged 1 nano-dollars"]


def test_a_call_in_doubt_that_was_charged_more_than_it_holds_is_caught() -> None:
    found = judge(lines=[*LINES[:3], line("c/1", 251)])
    assert found.problems == ["call c (p/m): in doubt at 250 nano-dollars, charged 251"]


def test_a_correction_lowers_the_bill() -> None:
    lines = [*LINES[:3], line("c/1", 300), line("c/1", -100, executed=False, correction=True)]
    found = judge(lines=lines)
    assert found.problems == []
    assert found.provider_in_doubt_nanousd == 200


def test_overshoot_comes_from_the_log_and_the_notes() -> None:
    found = judge(limits={"job:1": 499, "hour": 500})
    assert found.problems == []
    assert found.overshoot_by_scope == {"job:1": 1}
    assert found.overshoot_nanousd == 1
    assert not found.ok
    assert judge(limits={"job:1": 500, "hour": 498}).overshoot_by_scope == {HOUR: 2}


def test_an_hour_that_changed_under_a_call() -> None:
    both = ("hour:2026-11-22T06", HOUR)
    notes = {**NOTES, "a": note("settled", 300, hours=both)}
    assert judge(notes=notes).charged_by_scope[HOUR] == 500  # the ledger says which
    other = [entry(**_call(one)) if one["call_id"] != "a" else one for one in ENTRIES]
    other[0] = {**other[0], "scopes": ["hour:elsewhere", "job:1"]}
    charged = judge(notes=notes, entries=other).charged_by_scope
    assert charged["hour:2026-11-22T06"] == 300  # it names neither: both are charged
    assert charged[HOUR] == 500


def _call(one: dict[str, Any]) -> dict[str, Any]:
    return {"call": one["call_id"], "kind": one["kind"], "amount": one["amount_nanousd"]}


def test_what_is_missing_or_doubled_in_the_ledger_is_caught() -> None:
    assert any("never ended" in what for what in judge(entries=ENTRIES[:-1]).problems)
    found = judge(entries=[*ENTRIES, entry("a", "settle", 300)])
    assert any("is settled and then has the entry settle" in what for what in found.problems)
    found = judge(entries=[*ENTRIES, entry("a", "reserve", 400)])
    assert any("reserved twice" in what for what in found.problems)
    without_a = [one for one in ENTRIES if one["call_id"] != "a"]
    problems = judge(entries=without_a).problems
    assert any("told settled, the ledger has no such call" in what for what in problems)
    assert any("charged 300 nano-dollars, the ledger has no" in what for what in problems)


def test_what_callers_were_told_counts() -> None:
    found = judge(notes={**NOTES, "a": note("settled", 301)})
    assert any("its caller was told 301" in what for what in found.problems)
    found = judge(notes={**NOTES, "c": note("no_charge")})
    assert any("in doubt at 250" in what for what in found.problems)
    found = judge(notes={**NOTES, "b": note("in_doubt", 400)})
    assert any("is void, its caller was told in_doubt" in what for what in found.problems)
    found = judge(notes={**NOTES, "a": note("settled", 300, job="job:2")})
    assert any("was made in job:2" in what for what in found.problems)


def test_calls_that_nobody_knows_are_caught() -> None:
    notes = {name: one for name, one in NOTES.items() if name != "a"}
    problems = judge(notes=notes).problems
    assert any("the demo never heard of it" in what for what in problems)
    assert any("in no scope" in what for what in problems)
    assert any(
        "without the header" in what for what in judge(lines=[*LINES, line(None, 5)]).problems
    )


def test_a_resolved_call_is_settled() -> None:
    found = judge(entries=[*ENTRIES, entry("c", "settle", 200)], notes={**NOTES, "c": note("x")})
    assert found.problems == []
    assert (found.settled_calls, found.ledger_nanousd, found.in_doubt_nanousd) == (2, 500, 250)


def test_a_hold_that_shrank_bounds_the_charge() -> None:
    entries = [*ENTRIES, entry("c", "shrink", 199)]
    found = judge(entries=entries, notes={**NOTES, "c": note("in_doubt", 199)})
    assert found.problems == ["call c (p/m): in doubt at 199 nano-dollars, charged 200"]
