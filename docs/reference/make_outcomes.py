"""Writes the tables in outcomes.md: what may happen to an attempt, from the table in the core.

    python docs/reference/make_outcomes.py            writes the table into the page
    python docs/reference/make_outcomes.py --check    status 1 when the page is out of date

Model: one row of `sluiceway._core.outcome_rows()`, `status_rows()` or `fault_rows()`
(src/cpp/engine/outcomes.cc) is one line, in the same order; the line says nothing about money or
re-sending that the core's row does not say. The exception comes from `sluiceway.errors`, what a
fault does from the fault server's own list. The words around the tables are written by hand.
"""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Any

from sluiceway import _core
from sluiceway.errors import error_class
from sluiceway.simulator.faults import FAULTS, PROTOCOLS

PAGE = Path(__file__).with_name("outcomes.md")
BEGIN = "<!-- The table of {} is written by docs/reference/make_outcomes.py. -->\n"
END = "<!-- End of the table of {}. -->\n"

_HEADS = {
    "classes": "class | on the wire | sent again | the reservation | the breaker | exception",
    "statuses": "status | class | on the wire | billed",
    "faults": "fault | what the server does | a whole answer | a stream | billed",
}
_BOOKS = {"settle": "settled at its cost", "void": "given back", "in_doubt": "kept, in doubt"}
_BILLED = {
    "settle": "yes, at its cost",
    "void": "no",
    "in_doubt": "unknown: the reservation is kept",
}
_OUTCOMES: dict[str, dict[str, Any]] = {row["failure"]: row for row in _core.outcome_rows()}
_BREAKER = {
    "success": "success",
    "failure": "failure",
    "ignored": "learns nothing",
    "account": "the account's opens",
}


def row_text(row: dict[str, Any]) -> str:
    """One line of the table."""
    again = "yes, as after a throttle" if row["throttled"] else "yes"
    kind = row["error_kind"]
    error = "" if kind == "none" else f"`{error_class(kind, row['outcome']).__name__}`"
    cells = (
        f"`{row['failure']}`",
        row["outcome"].replace("_", " "),
        again if row["resend"] else "no",
        _BOOKS[row["books"]],
        _BREAKER[row["breaker"]],
        error,
    )
    return f"| {' | '.join(cells)} |\n"


def _billed(*failures: str) -> str:
    """What becomes of the money in these classes; the worst of them."""
    books = {_OUTCOMES[failure]["books"] for failure in failures}
    return next(_BILLED[word] for word in ("in_doubt", "settle", "void") if word in books)


def status_text(row: dict[str, Any]) -> str:
    """One line of the table of statuses."""
    low, high = row["low"], row["high"]
    if low == 0 or high == 999:
        span = f"other {'4xx, and 3xx' if low == 0 else '5xx'}"
    else:
        span = ", ".join(str(status) for status in range(low, high + 1))
    body = " with the provider's own error body" if row["body"] == "own" else ""
    failure = row["failure"]
    outcome = _OUTCOMES[failure]["outcome"].replace("_", " ")
    return f"| {span}{body} | `{failure}` | {outcome} | {_billed(failure)} |\n"


def fault_text(row: dict[str, Any]) -> str:
    """One line of the table of faults."""
    fault = FAULTS[row["fault"]]
    over = "" if fault.over == PROTOCOLS else f" ({', '.join(fault.over)})"
    cells = (
        f"`{fault.name}`{over}",
        fault.text,
        f"`{row['whole']}`",
        f"`{row['streamed']}`",
        _billed(row["whole"], row["streamed"]),
    )
    return f"| {' | '.join(cells)} |\n"


def tables() -> dict[str, str]:
    """The tables by name."""
    lines = {
        "classes": [row_text(row) for row in _core.outcome_rows()],
        "statuses": [status_text(row) for row in _core.status_rows()],
        "faults": [fault_text(row) for row in _core.fault_rows()],
    }
    made = {}
    for name, head in _HEADS.items():
        rule = " | ".join(["---"] * (head.count("|") + 1))
        made[name] = f"| {head} |\n| {rule} |\n" + "".join(lines[name])
    return made


def with_table(page: str) -> str:
    """The page's text with the tables of this core. ValueError when their marks are gone."""
    for name, table in tables().items():
        before, begin, rest = page.partition(BEGIN.format(name))
        _, end, after = rest.partition(END.format(name))
        if not begin or not end:
            raise ValueError(f"{PAGE.name} has lost the marks around its table of {name}")
        page = before + begin + table + end + after
    return page


def main(arguments: list[str]) -> int:
    """Writes, or with --check compares; the exit status."""
    page = PAGE.read_text(encoding="utf-8")
    if arguments == ["--check"]:
        return int(page != with_table(page))
    PAGE.write_text(with_table(page), encoding="utf-8")
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
