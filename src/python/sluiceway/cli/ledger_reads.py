"""The actions of `sluiceway ledger` that change nothing.

Each takes its options and the opened ledger, prints a table or JSON, and returns the exit status.
"""

from __future__ import annotations

import argparse
import datetime
import json
import os
import sys
import tempfile
from collections.abc import Callable, Iterable, Mapping
from typing import TYPE_CHECKING, Any

from sluiceway.cli.prices import columns
from sluiceway.errors import InvalidRequest
from sluiceway.money import usd_of

if TYPE_CHECKING:
    from sluiceway.ledger.rows import ReportRow
    from sluiceway.ledger.view import LedgerView

NANOUSD = "nanousd"


def usd(nanousd: int) -> str:
    """Dollars, exact."""
    return f"{usd_of(nanousd):f}"


def amount(value: int, unit: str) -> str:
    """An amount with its unit where that is no money; credits are counted in thousandths."""
    return usd(value) if unit == NANOUSD else f"{value / 1000:.3f} {unit}"


def print_json(value: object) -> None:
    """Indented, decimals as text."""
    print(json.dumps(value, indent=2, default=str))


def pairs(words: Iterable[str], option: str) -> dict[str, str]:
    """NAME=VALUE words as a dict."""
    found = {}
    for word in words:
        name, equals, value = word.partition("=")
        if not equals or not name:
            raise InvalidRequest(f"{option} {word}: write it as NAME=VALUE")
        found[name] = value
    return found


def _verify(options: argparse.Namespace, ledger: LedgerView) -> int:
    found = ledger.verify()
    if options.json:
        print_json(found)
    else:
        agree = "the books agree" if found["ok"] else "the books do NOT agree"
        print(
            f"{agree}: {found['entries']:,} entries of {found['calls']:,} calls,"
            f" {found['open']:,} open, {found['in_doubt']:,} in doubt"
        )
        for line in (*found["problems"], *found["over_limit"]):
            print(f"  {line}")
    return 0 if found["ok"] else 1


def _replay(options: argparse.Namespace, ledger: LedgerView) -> int:
    from sluiceway.ledger import audit
    from sluiceway.ledger.export import exported

    entries: list[dict[str, Any]] = []
    ledger._scan(lambda entry: entries.append(exported(entry)), options.archive)
    sums = audit.balances_of(audit.fold(entries).values())
    scopes = ledger._hub.engine.ledger_balances()
    stated = {s["name"]: [s["settled"], s["held"], s["in_doubt"]] for s in scopes}
    units = {scope["name"]: scope["unit"] for scope in scopes}
    names = sorted(stated.keys() | sums.keys())
    nothing = [0, 0, 0]
    rows: list[dict[str, Any]] = [
        {
            "scope": name,
            "unit": units.get(name, NANOUSD),
            **dict(zip(("settled", "held", "in_doubt"), sums.get(name, nothing), strict=True)),
            "agrees": sums.get(name, nothing) == stated.get(name, nothing),
        }
        for name in names
    ]
    wrong = [row["scope"] for row in rows if not row["agrees"]]
    if options.json:
        print_json({"ok": not wrong, "entries": len(entries), "scopes": rows})
    else:
        table: list[tuple[str, ...]] = [("scope", "settled", "held", "in doubt", "")]
        table += [
            (
                row["scope"],
                *(amount(row[name], row["unit"]) for name in ("settled", "held", "in_doubt")),
                "" if row["agrees"] else "NOT what the file says",
            )
            for row in rows
        ]
        print("\n".join(columns(table)))
        agree = "the balances follow from them" if not wrong else f"{len(wrong)} balances do NOT"
        print(f"\n{len(entries):,} entries: {agree}")
    return 1 if wrong else 0


def _audit(options: argparse.Namespace, ledger: LedgerView) -> int:
    from sluiceway.ledger import audit

    with tempfile.TemporaryDirectory() as folder:
        path = os.path.join(folder, "books.jsonl")
        ledger.export(path, archives=options.archive)
        with open(path, encoding="utf-8") as lines:
            found, count = audit.audit(lines, audit.price_rows(options.prices))
    return audit.report(found, count, options.json)


def _holds(options: argparse.Namespace, ledger: LedgerView) -> int:
    holds = [hold for hold in ledger.holds() if hold["in_doubt"] or not options.in_doubt]
    if options.json:
        print_json(holds)
        return 0
    if not holds:
        print("nothing is held")
        return 0
    rows = [("call", "model", "held", "state", "since (UTC)", "scopes")]
    for hold in holds:
        since = datetime.datetime.fromtimestamp(hold["since_s"], datetime.UTC)
        rows.append(
            (
                hold["call_id"],
                f"{hold['provider']}/{hold['model']}",
                amount(hold["amount_nanousd"], hold["unit"]),
                "in doubt" if hold["in_doubt"] else "running",
                f"{since:%Y-%m-%d %H:%M:%S}",
                " ".join(hold["scopes"]),
            )
        )
    print("\n".join(columns(rows)))
    money = sum(hold["amount_nanousd"] for hold in holds if hold["unit"] == NANOUSD)
    print(f"\n{len(holds):,} holds, {usd(money)} USD")
    return 0


def _report(options: argparse.Namespace, ledger: LedgerView) -> int:
    from sluiceway.config import nearest
    from sluiceway.ledger.rows import instant_ns, zone_of

    by = [name for name in options.by.split(",") if name]
    zone = zone_of(options.time_zone)
    begin_ns = instant_ns(options.from_, "--from", zone)
    end_ns = instant_ns(options.to, "--to", zone)
    if begin_ns is not None and end_ns is not None and begin_ns > end_ns:
        raise InvalidRequest(f"--from is after --to: {options.from_}, {options.to}")
    asked: dict[str, Any] = {
        "from_": options.from_,
        "to": options.to,
        "scope": options.scope,
        "tags": pairs(options.tag, "--tag"),
        "where": pairs(options.where, "--where"),
        "time_zone": options.time_zone,
        "archives": options.archive,
    }
    rows = ledger.report(by, **asked)
    total = ledger.report([], **asked)
    scopes = ledger.scopes()
    names = [scope["name"] for scope in scopes]
    if options.scope and not total and not any(map(_begins_with(options.scope), names)):
        raise InvalidRequest(
            f"the ledger has no scope {options.scope!r}{nearest(options.scope, names)}"
        )
    if options.json:
        report = {"by": by, "rows": [_plain(row) for row in rows], "scopes": scopes}
        print_json({**report, "total": [_plain(row) for row in total]})
        return 0
    table: list[tuple[str, ...]] = [
        (*by, "calls", "in doubt", "void", "cost", "estimated", "in", "out", *_LATENCY)
    ]
    table += [_cells(row.key, row) for row in rows]
    if by:
        table += [_cells(("total", *("",) * (len(by) - 1)), row) for row in total]
    print("\n".join(columns(table)) + "\n")
    table = [("scope", "limit", "settled", "held", "in doubt", "")]
    table += [
        (
            scope["name"],
            "none" if scope["limit"] is None else amount(scope["limit"], scope["unit"]),
            *(amount(scope[name], scope["unit"]) for name in ("settled", "held", "in_doubt")),
            "blocked" if scope["blocked"] else "",
        )
        for scope in scopes
    ]
    print("\n".join(columns(table)))
    return 0


def _begins_with(scope: str) -> Callable[[str], bool]:
    """Whether a name is the scope, one of its windows or one of its parts."""
    return lambda name: name == scope or name.startswith((f"{scope}@", f"{scope}:", f"{scope}#"))


_LATENCY = ("p50 ms", "p95 ms", "p99 ms")


def _plain(row: ReportRow) -> Mapping[str, Any]:
    return {**row.as_dict(), "estimated_share": row.estimated_share}


def _cells(key: tuple[str, ...], row: ReportRow) -> tuple[str, ...]:
    latencies = (row.latency.p50_ms, row.latency.p95_ms, row.latency.p99_ms)
    tokens = (row.usage.input_tokens, row.usage.output_tokens)
    return (
        *(name or "-" for name in key),
        f"{row.calls:,}",
        f"{row.in_doubt:,}",
        f"{row.voided:,}",
        amount(row.cost, row.unit),
        f"{row.estimated_share:.1%}",
        *("" if count is None else f"{count:,}" for count in tokens),
        *("" if one is None else f"{one:.0f}" for one in latencies),
    )


def _history(options: argparse.Namespace, ledger: LedgerView) -> int:
    entries = ledger.history(options.call)
    if not entries:
        raise InvalidRequest(f"the ledger has no call {options.call}")
    if options.json:
        print_json(entries)
        return 0
    from sluiceway.ledger.export import iso_ns

    rows = [("at (UTC)", "entry", "attempt", "amount", "price row", "evidence")]
    rows += [
        (
            iso_ns(entry["at_ns"])[:23].replace("T", " "),
            entry["kind"],
            str(entry["attempts"]),
            amount(entry["amount_nanousd"], entry["unit"]),
            entry["price_version"],
            entry["evidence"],
        )
        for entry in entries
    ]
    print("\n".join(columns(rows)))
    return 0


def _export(options: argparse.Namespace, ledger: LedgerView) -> int:
    asked = {"from_": options.from_, "to": options.to, "archives": options.archive}
    kind = options.format or os.path.splitext(options.out)[1].removeprefix(".").lower()
    if kind in ("arrow", "parquet"):
        from sluiceway.cli.arrow_files import write_arrow

        count = write_arrow(ledger, options.out, kind, **asked)
    elif options.out == "-":
        if options.json:
            raise InvalidRequest("--json and OUT - would write into each other")
        with tempfile.TemporaryDirectory() as folder:
            path = os.path.join(folder, "entries")
            ledger.export(path, options.format or "jsonl", **asked)
            with open(path, encoding="utf-8", newline="") as file:
                for line in file:
                    sys.stdout.write(line)
        return 0
    else:
        count = ledger.export(options.out, options.format, **asked)
    if options.json:
        print_json({"entries": count, "out": options.out})
    else:
        print(f"{count:,} entries are in {options.out}")
    return 0


_TIME: Any = (
    (["--from"], {"dest": "from_", "metavar": "TIME", "help": "2026-11-01, or with a time"}),
    (["--to"], {"metavar": "TIME", "help": "up to then, exclusive"}),
)
_CALL: Any = (["call"], {"metavar": "CALL", "help": "the call's id"})
_MANY: Any = {"action": "append", "default": []}
_ARCHIVE: Any = (
    ["--archive"],
    {**_MANY, "metavar": "FILE", "help": "an archive of this ledger: its entries too"},
)
# name, words, function, arguments
ACTIONS: Any = (
    ("verify", "replay every entry and compare the balances", _verify, ()),
    ("replay", "work every balance out from the entries alone and compare", _replay, (_ARCHIVE,)),
    (
        "audit",
        "export the books and check them without the ledger's own code",
        _audit,
        ((["--prices"], {**_MANY, "metavar": "FILE", "help": "price files of your own"}), _ARCHIVE),
    ),
    (
        "holds",
        "open reservations, in doubt ones included",
        _holds,
        ((["--in-doubt"], {"action": "store_true", "help": "only those in doubt"}),),
    ),
    (
        "report",
        "calls rolled up by provider, model, day, tag ...",
        _report,
        (
            (
                ["--by"],
                {
                    "default": "provider,model",
                    "metavar": "NAMES",
                    "help": "of provider, model, operation, tenant, account, tags, tag:NAME, hour,"
                    " day, month, service_month; default provider,model",
                },
            ),
            *_TIME,
            (["--scope"], {"default": "", "help": "only calls in video:42, or in any video"}),
            (["--tag"], {**_MANY, "metavar": "NAME=VALUE", "help": "only calls with that tag"}),
            (["--where"], {**_MANY, "metavar": "NAME=VALUE", "help": "as provider=openai"}),
            (["--time-zone"], {"default": "UTC", "metavar": "ZONE", "help": "of days and months"}),
            _ARCHIVE,
        ),
    ),
    ("history", "every entry of one call", _history, (_CALL,)),
    (
        "export",
        "write the entries into a file",
        _export,
        (
            (["out"], {"metavar": "OUT", "help": "a new file; - for standard output"}),
            (
                ["--format"],
                {
                    "choices": ("jsonl", "csv", "arrow", "parquet"),
                    "help": "default: as the name ends",
                },
            ),
            *_TIME,
            _ARCHIVE,
        ),
    ),
)
