"""Tables on the terminal: with rich where it is installed and somebody looks, plain otherwise.

Model: a table is a title, a header and rows of text; the first column is aligned left, the others
right. `tables_of` makes them from a summary, and the page makes its own from the same ones, so that
both always say the same. Jobs: on the terminal the ones that ran out and the dearest, on the page
all of them.

    show(tables_of(summary, audit, jobs_max=12), sys.stdout)
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import TextIO

from sluiceway.demo.books import Audit
from sluiceway.demo.summary import WAITED_MS, Row, Summary, dollars

EVENTS_MAX = 20


@dataclass(frozen=True, slots=True)
class Table:
    """Rows of text under a header."""

    title: str
    header: tuple[str, ...]
    rows: tuple[tuple[str, ...], ...]
    note: str = ""


def tables_of(summary: Summary, audit: Audit, jobs_max: int | None = None) -> list[Table]:
    """All tables, in order; `jobs_max` bounds the table of jobs."""
    jobs = summary.jobs
    note = f"{summary.jobs_run_out} of {len(jobs)} jobs ran out of money"
    if jobs_max is not None and len(jobs) > jobs_max:
        jobs = sorted(jobs, key=lambda row: (-(row.refused > 0), -row.cost_nanousd))[:jobs_max]
        note += f"; {len(jobs)} are shown here, all of them in report.html"
    return [
        _costs("Cost by provider", "provider", summary.providers),
        _costs("Cost by model", "model", summary.models),
        _jobs(jobs, note),
        _happened(summary),
        *_breakers(summary),
        _books(summary, audit),
    ]


def _costs(title: str, name: str, rows: Iterable[Row]) -> Table:
    return Table(
        title,
        (name, "calls", "completed", "in doubt", "cost", "p50 ms", "p90 ms", "p99 ms"),
        tuple(
            (
                row.name,
                f"{row.calls:,}",
                f"{row.completed:,}",
                f"{row.in_doubt:,}",
                dollars(row.cost_nanousd),
                *(f"{row.percentile_ms(share):,.0f}" for share in (0.50, 0.90, 0.99)),
            )
            for row in rows
        ),
        "calls by the provider that was asked last",
    )


def _jobs(rows: Sequence[Row], note: str) -> Table:
    return Table(
        "Cost by job",
        ("job", "calls", "completed", "refused", "settled", "charged", "budget", "used"),
        tuple(
            (
                row.name,
                f"{row.calls:,}",
                f"{row.completed:,}",
                f"{row.refused:,}",
                dollars(row.cost_nanousd),
                dollars(row.charged_nanousd),
                dollars(row.limit_nanousd or 0, 4),
                f"{row.charged_nanousd * 100 // max(row.limit_nanousd or 1, 1)} %",
            )
            for row in rows
        ),
        note,
    )


def _happened(summary: Summary) -> Table:
    result = summary.result
    rows = [(word, f"{count:,}") for word, count in summary.words.items()]
    rows += [
        ("streamed to the end", f"{result['streamed']:,}"),
        ("cache hits", f"{result['cache_hits']:,}"),
        ("joined a call in flight", f"{result['cache_joined']:,}"),
        ("retries", f"{result['retries']:,}"),
        ("waited for a limit", f"{result['waited_for_limits']:,}"),
        ("fallbacks", f"{result['fallbacks']:,}"),
        ("breakers opened, closed", f"{result['breaker_opened']}, {result['breaker_closed']}"),
        (
            "latency p50, p90, p99",
            " ".join(f"{result[f'p{p}_ms']:,.0f}" for p in (50, 90, 99)) + " ms",
        ),
    ]
    note = f"waited: {WAITED_MS:.0f} ms or more before a completed call was sent"
    return Table("What happened", ("what", "calls"), tuple(rows), note)


def _breakers(summary: Summary) -> list[Table]:
    events = summary.breaker_events
    if not events:
        return []
    shown = events[:EVENTS_MAX]
    note = f"{len(events) - len(shown):,} more" if len(events) > len(shown) else ""
    rows = tuple((f"{at_s:.2f} s", name, what) for at_s, name, what in shown)
    return [Table("Breaker events", ("after", "model", "now"), rows, note)]


def _books(summary: Summary, audit: Audit) -> Table:
    """The proof in figures. What the provider charged comes from its own log."""
    agree = "agree" if not audit.problems else f"{len(audit.problems)} differences"
    rows = (
        (
            "settled",
            f"{audit.settled_calls:,}",
            dollars(audit.ledger_nanousd, 9),
            dollars(audit.provider_settled_nanousd, 9),
        ),
        (
            "void",
            f"{audit.void_calls:,}",
            dollars(0, 9),
            dollars(
                audit.provider_nanousd
                - audit.provider_settled_nanousd
                - audit.provider_in_doubt_nanousd,
                9,
            ),
        ),
        (
            "in doubt (held)",
            f"{audit.in_doubt_calls:,}",
            dollars(audit.in_doubt_nanousd, 9),
            dollars(audit.provider_in_doubt_nanousd, 9),
        ),
    )
    return Table(
        "The books",
        ("reservations", "calls", "our ledger", "provider's log"),
        rows,
        f"books: {agree}; overshoot {dollars(audit.overshoot_nanousd, 9)};"
        f" executions per attempt: at most {audit.executions_per_attempt_max}",
    )


def show(tables: Iterable[Table], stream: TextIO) -> None:
    """Writes tables for people."""
    if stream.isatty():
        try:
            return _show_rich(tables, stream)
        except ImportError:
            pass
    for table in tables:
        stream.write(plain(table) + "\n")
    return None


def plain(table: Table) -> str:
    """A table in fixed columns."""
    lines = [table.header, *table.rows]
    widths = [max(len(line[place]) for line in lines) for place in range(len(table.header))]
    out = ["", table.title]
    for number, line in enumerate(lines):
        cells = [
            cell.ljust(width) if place == 0 else cell.rjust(width)
            for place, (cell, width) in enumerate(zip(line, widths, strict=True))
        ]
        out.append("  " + "  ".join(cells).rstrip())
        if number == 0:
            out.append("  " + "  ".join("-" * width for width in widths))
    if table.note:
        out.append(f"  ({table.note})")
    return "\n".join(out)


def _show_rich(tables: Iterable[Table], stream: TextIO) -> None:
    from rich import box
    from rich.console import Console
    from rich.table import Table as RichTable

    console = Console(file=stream)
    for table in tables:
        shown = RichTable(
            title=table.title,
            caption=table.note or None,
            title_justify="left",
            caption_justify="left",
            box=box.SIMPLE_HEAD,
        )
        for place, name in enumerate(table.header):
            shown.add_column(name, justify="left" if place == 0 else "right", no_wrap=True)
        for row in table.rows:
            shown.add_row(*row)
        console.print(shown)
