"""The actions of `sluiceway ledger` that write: resolve, post, import, grant, archive.

Each takes its options and the opened ledger, says what it did, and returns the exit status. What
they write is an entry of its own; nothing is ever changed.
"""

from __future__ import annotations

import argparse
from dataclasses import asdict
from typing import TYPE_CHECKING, Any

from sluiceway.cli.ledger_reads import print_json
from sluiceway.cli.prices import columns
from sluiceway.errors import InvalidRequest

if TYPE_CHECKING:
    from sluiceway.ledger.bill import BillResult
    from sluiceway.ledger.view import LedgerView

DAY_S = 86_400.0


def _resolve(options: argparse.Namespace, ledger: LedgerView) -> int:
    if not options.evidence.strip():
        raise InvalidRequest("--evidence is empty; say where the amount comes from")
    ledger.resolve(options.call, usd=options.usd, evidence=options.evidence)
    if options.json:
        print_json({"call": options.call, "usd": options.usd, "evidence": options.evidence})
    else:
        print(f"call {options.call} is settled at {options.usd} USD")
    return 0


def _post(options: argparse.Namespace, ledger: LedgerView) -> int:
    posted = ledger.post_in_doubt(older_than_s=options.older_than_days * DAY_S)
    if options.json:
        print_json({"posted": posted, "older_than_days": options.older_than_days})
    else:
        print(f"{posted:,} calls in doubt are settled at what they held")
    return 0


def _import(options: argparse.Namespace, ledger: LedgerView) -> int:
    result = ledger.import_bill(options.bill, apply=options.apply)
    if options.json:
        print_json(asdict(result))
    else:
        print("\n".join(_told(result)))
    return 1 if result.refused else 0


def _told(result: BillResult) -> list[str]:
    out = []
    if result.changes:
        rows: list[tuple[str, ...]] = [("call", "action", "was", "billed", "lines")]
        rows += [
            (one.call_id, one.action, f"{one.before:f}", f"{one.after:f}", _lines(one.lines))
            for one in result.changes
        ]
        out += [*columns(rows), ""]
    if result.refused:
        rows = [("refused", "billed", "why", "lines")]
        rows += [
            (one.id, f"{one.billed:f}", one.reason, _lines(one.lines)) for one in result.refused
        ]
        out += [*columns(rows), ""]
    did = "changed" if result.applied else "to change (run again with --apply)"
    out.append(
        f"{result.lines:,} lines: {result.agreed:,} calls agree, {len(result.changes):,} {did},"
        f" {len(result.refused):,} refused"
    )
    return out


def _lines(numbers: tuple[int, ...]) -> str:
    shown = ", ".join(str(number) for number in numbers[:3])
    return shown if len(numbers) <= 3 else f"{shown} and {len(numbers) - 3} more"


def _grant(options: argparse.Namespace, ledger: LedgerView) -> int:
    limit = ledger.grant(options.scope, usd=options.usd, evidence=options.evidence.strip())
    if options.json:
        print_json({"scope": options.scope, "limit": f"{limit:f}", "evidence": options.evidence})
    else:
        print(f"the limit of {options.scope} is {limit:f} USD now")
    return 0


def _archive(options: argparse.Namespace, ledger: LedgerView) -> int:
    done = ledger.archive(options.out, before=options.before)
    if options.json:
        print_json(done)
    else:
        months = ", ".join(str(segment) for segment in done["segments"]) or "no month"
        print(f"{done['entries']:,} entries of {months} are in {done['path']}")
    return 0


_EVIDENCE: Any = (["--evidence"], {"required": True, "metavar": "TEXT", "help": "how you know"})
# name, words, function, arguments
ACTIONS: Any = (
    (
        "resolve",
        "end a call in doubt with what it really cost",
        _resolve,
        (
            (["call"], {"metavar": "CALL", "help": "the call's id"}),
            (["--usd"], {"required": True, "metavar": "X", "help": "what it cost"}),
            _EVIDENCE,
        ),
    ),
    (
        "post",
        "settle at their holds the calls that have long been in doubt",
        _post,
        (
            (
                ["--older-than-days"],
                {"type": float, "default": 7.0, "metavar": "N", "help": "default 7"},
            ),
        ),
    ),
    (
        "import",
        "set a provider's bill (CSV) against the books",
        _import,
        (
            (
                ["bill"],
                {
                    "metavar": "FILE",
                    "help": "columns: amount, call_id or provider_request_id, currency",
                },
            ),
            (["--apply"], {"action": "store_true", "help": "resolve and correct; else a dry run"}),
        ),
    ),
    (
        "grant",
        "raise a scope's limit, or lower it with --usd=-1.00",
        _grant,
        (
            (["scope"], {"metavar": "SCOPE", "help": "as video:42"}),
            (["--usd"], {"required": True, "metavar": "X", "help": "how much more"}),
            _EVIDENCE,
        ),
    ),
    (
        "archive",
        "move closed months into a file of their own",
        _archive,
        (
            (["out"], {"metavar": "OUT", "help": "the archive file"}),
            (
                ["--before"],
                {
                    "required": True,
                    "metavar": "MONTH",
                    "help": "first month that stays, 2026-09",
                },
            ),
        ),
    ),
)
