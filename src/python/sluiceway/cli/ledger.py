"""`sluiceway ledger`: the books in a ledger file, read and resolved.

    verify     replays every entry; status 1 when the books do not agree
    holds      open reservations; --in-doubt: only those whose end is unknown
    report     what was settled, by provider and model and by scope
    resolve    ends a call in doubt with what it really cost, and says how that is known

Model: the file is opened through an engine of this process, beside the engines that may be using
it. A file that does not exist is an error, never a new ledger. The path is --ledger, else
$SLUICEWAY_LEDGER, else the configuration's, else sluiceway.db. Amounts are exact.
"""

from __future__ import annotations

import argparse
import datetime
import json
import os
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

from sluiceway.cli.prices import columns
from sluiceway.errors import ConfigError, InvalidRequest
from sluiceway.money import usd_of

if TYPE_CHECKING:
    from sluiceway._ledger import LedgerView

_ENTRIES_MAX = 10_000_000


def add(subparsers: Any) -> None:
    """Adds the command and its actions."""
    command = subparsers.add_parser("ledger", help="verify, report and resolve the books")
    actions = command.add_subparsers(required=True, metavar="ACTION")
    for name, run, words in (
        ("verify", _verify, "replay every entry and compare the balances"),
        ("holds", _holds, "open reservations, in doubt ones included"),
        ("report", _report, "what was settled, by model and by scope"),
        ("resolve", _resolve, "end a call in doubt with what it really cost"),
    ):
        action = actions.add_parser(name, help=words)
        action.add_argument("--ledger", metavar="FILE", help="the ledger file")
        action.add_argument("--config", metavar="FILE", help="sluiceway.toml, for the path in it")
        action.add_argument("--json", action="store_true", help="as JSON")
        action.set_defaults(run=run)
        if name == "holds":
            action.add_argument("--in-doubt", action="store_true", help="only those in doubt")
        if name == "resolve":
            action.add_argument("call", metavar="CALL", help="the call's id")
            action.add_argument("--usd", required=True, metavar="X", help="what it cost")
            action.add_argument("--evidence", required=True, metavar="TEXT", help="how you know")


def ledger_path(options: argparse.Namespace) -> str:
    """The path that these options mean."""
    if options.ledger:
        return str(options.ledger)
    if os.environ.get("SLUICEWAY_LEDGER"):
        return os.environ["SLUICEWAY_LEDGER"]
    if options.config:
        from sluiceway.config import load_config

        return str(load_config(options.config).ledger.get("path", "sluiceway.db"))
    return "sluiceway.db"


@contextmanager
def _opened(options: argparse.Namespace) -> Iterator[LedgerView]:
    path = ledger_path(options)
    if path == ":memory:":
        raise ConfigError("a ledger in memory ends with its process; name a file with --ledger")
    if not os.path.isfile(path):
        raise ConfigError(f"there is no ledger {path}; name the file with --ledger")
    with open(path, "rb") as file:
        if not file.read(16).startswith(b"SQLite format 3"):
            raise ConfigError(f"{path} is not a ledger file")
    from sluiceway._hub import Hub
    from sluiceway.config import config_of
    from sluiceway.gateway import Gateway
    from sluiceway.keys.env import EnvKeys

    hub = Hub(config_of({"ledger": {"path": path}}), EnvKeys({}))
    with Gateway._of(hub, hub.plan) as gateway:
        yield gateway.ledger


def _usd(nanousd: int) -> str:
    return f"{usd_of(nanousd):f}"


def _verify(options: argparse.Namespace) -> int:
    with _opened(options) as ledger:
        found = ledger.verify()
    if options.json:
        print(json.dumps(found, indent=2))
    else:
        agree = "the books agree" if found["ok"] else "the books do NOT agree"
        print(
            f"{agree}: {found['entries']:,} entries of {found['calls']:,} calls,"
            f" {found['open']:,} open, {found['in_doubt']:,} in doubt"
        )
        for line in (*found["problems"], *found["over_limit"]):
            print(f"  {line}")
    return 0 if found["ok"] else 1


def _holds(options: argparse.Namespace) -> int:
    with _opened(options) as ledger:
        holds = [hold for hold in ledger.holds() if hold["in_doubt"] or not options.in_doubt]
    if options.json:
        print(json.dumps(holds, indent=2))
        return 0
    if not holds:
        print("nothing is held")
        return 0
    rows = [("call", "model", "USD held", "state", "since (UTC)", "scopes")]
    for hold in holds:
        since = datetime.datetime.fromtimestamp(hold["since_s"], datetime.UTC)
        rows.append(
            (
                hold["call_id"],
                f"{hold['provider']}/{hold['model']}",
                _usd(hold["amount_nanousd"]),
                "in doubt" if hold["in_doubt"] else "running",
                f"{since:%Y-%m-%d %H:%M:%S}",
                " ".join(hold["scopes"]),
            )
        )
    print("\n".join(columns(rows)))
    print(f"\n{len(holds):,} holds, {_usd(sum(hold['amount_nanousd'] for hold in holds))} USD")
    return 0


def _report(options: argparse.Namespace) -> int:
    with _opened(options) as ledger:
        entries = ledger.entries(limit=_ENTRIES_MAX)
        scopes = ledger.scopes()
    models = _model_of_calls(entries)
    settled: Counter[str] = Counter()
    calls: Counter[str] = Counter()
    for entry in _last_amounts(entries):
        model = models.get(entry["call_id"], "unknown")
        calls[model] += 1
        settled[model] += entry["amount_nanousd"]
    if options.json:
        report = {
            "settled_nanousd": settled.total(),
            "by_model": {
                model: {"calls": calls[model], "settled_nanousd": amount}
                for model, amount in settled.items()
            },
            "scopes": scopes,
        }
        print(json.dumps(report, indent=2))
        return 0
    rows = [("model", "calls settled", "USD")]
    rows += [(model, f"{calls[model]:,}", _usd(amount)) for model, amount in settled.most_common()]
    rows.append(("total", f"{calls.total():,}", _usd(settled.total())))
    print("\n".join(columns(rows)) + "\n")
    table = [("scope", "limit", "settled", "held", "in doubt", "")]
    table += [
        (
            scope["name"],
            "none" if scope["limit"] is None else _usd(scope["limit"]),
            _usd(scope["settled"]),
            _usd(scope["held"]),
            _usd(scope["in_doubt"]),
            "blocked" if scope["blocked"] else "",
        )
        for scope in scopes
    ]
    print("\n".join(columns(table)))
    return 0


def _model_of_calls(entries: list[dict[str, Any]]) -> dict[str, str]:
    return {
        entry["call_id"]: f"{entry['provider']}/{entry['model']}"
        for entry in entries
        if entry["provider"]
    }


def _last_amounts(entries: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """The entry that says what each settled call cost: a correction replaces what it corrects."""
    found: dict[str, dict[str, Any]] = {}
    rank = {"settle": 0, "post_full": 0, "correct": 1}
    for entry in entries:
        known = found.get(entry["call_id"])
        if entry["kind"] in rank and (
            known is None
            or (rank[entry["kind"]], entry["at_s"]) >= (rank[known["kind"]], known["at_s"])
        ):
            found[entry["call_id"]] = entry
    return list(found.values())


def _resolve(options: argparse.Namespace) -> int:
    if not options.evidence.strip():
        raise InvalidRequest("--evidence is empty; say where the amount comes from")
    with _opened(options) as ledger:
        ledger.resolve(options.call, usd=options.usd, evidence=options.evidence)
    if options.json:
        print(json.dumps({"call": options.call, "usd": options.usd, "evidence": options.evidence}))
    else:
        print(f"call {options.call} is settled at {options.usd} USD")
    return 0
