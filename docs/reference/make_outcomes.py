"""Writes the table in outcomes.md: what may happen to an attempt, from the table in the core.

    python docs/reference/make_outcomes.py            writes the table into the page
    python docs/reference/make_outcomes.py --check    status 1 when the page is out of date

Model: one row of `sluiceway._core.outcome_rows()` (src/cpp/engine/outcomes.cc) is one line, in the
same order; the line says nothing about money or re-sending that the core's row does not say. The
exception comes from `sluiceway.errors`. The words around the table are written by hand.
"""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Any

from sluiceway import _core
from sluiceway.errors import error_class

PAGE = Path(__file__).with_name("outcomes.md")
BEGIN = "<!-- The table is written by docs/reference/make_outcomes.py. -->\n"
END = "<!-- End of the table. -->\n"

_HEAD = """| class | on the wire | sent again | the reservation | the breaker | exception |
| --- | --- | --- | --- | --- | --- |
"""
_BOOKS = {"settle": "settled at its cost", "void": "given back", "in_doubt": "kept, in doubt"}
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


def with_table(page: str) -> str:
    """The page's text with the table of this core. ValueError when its marks are gone."""
    before, begin, rest = page.partition(BEGIN)
    _, end, after = rest.partition(END)
    if not begin or not end:
        raise ValueError(f"{PAGE.name} has lost the marks around its table")
    table = _HEAD + "".join(row_text(row) for row in _core.outcome_rows())
    return before + BEGIN + table + END + after


def main(arguments: list[str]) -> int:
    """Writes, or with --check compares; the exit status."""
    page = PAGE.read_text(encoding="utf-8")
    if arguments == ["--check"]:
        return int(page != with_table(page))
    PAGE.write_text(with_table(page), encoding="utf-8")
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
