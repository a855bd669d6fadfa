"""`sluiceway ledger`: the books in a ledger file, read, reported, resolved and audited.

    verify     replays every entry; status 1 when the books do not agree
    replay     works every balance out from the entries alone and compares
    audit      writes an export and lets the auditor check it; status 1 when it finds something
    holds      open reservations; --in-doubt: only those whose end is unknown
    report     calls rolled up by provider, model, day, tag ...
    history    every entry of one call
    export     the entries as JSON Lines, CSV, Arrow or Parquet
    resolve    ends a call in doubt with what it really cost, and says how that is known
    post       settles at their holds what has been in doubt for long
    import     sets a provider's bill against the books; --apply to resolve and correct
    grant      raises or lowers a scope's limit by an entry of its own
    archive    moves closed months into a file of their own

Model: the file is opened through an engine of this process, beside the engines that may be using
it. A file that does not exist is an error, never a new ledger. The path is --ledger, else
$SLUICEWAY_LEDGER, else the configuration's, else sluiceway.db. Amounts are exact; every action has
--json.
"""

from __future__ import annotations

import argparse
import os
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

from sluiceway.cli import ledger_reads, ledger_writes
from sluiceway.errors import ConfigError

if TYPE_CHECKING:
    from sluiceway.ledger.view import LedgerView


def add(subparsers: Any) -> None:
    """Adds the command and its actions."""
    command = subparsers.add_parser("ledger", help="verify, report, audit and resolve the books")
    actions = command.add_subparsers(required=True, metavar="ACTION")
    for name, words, run, arguments in (*ledger_reads.ACTIONS, *ledger_writes.ACTIONS):
        action = actions.add_parser(name, help=words, description=words)
        action.add_argument("--ledger", metavar="FILE", help="the ledger file")
        action.add_argument("--config", metavar="FILE", help="sluiceway.toml, for the path in it")
        action.add_argument("--json", action="store_true", help="as JSON")
        for flags, options in arguments:
            action.add_argument(*flags, **options)
        action.set_defaults(run=_runner(run))


def _runner(
    run: Callable[[argparse.Namespace, LedgerView], int],
) -> Callable[[argparse.Namespace], int]:
    def opened(options: argparse.Namespace) -> int:
        with _opened(options) as ledger:
            return run(options, ledger)

    return opened


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
    from sluiceway.config import config_of, load_config
    from sluiceway.gateway import Gateway
    from sluiceway.keys.env import EnvKeys

    config = load_config(options.config) if options.config else config_of({})
    config.ledger["path"] = path
    hub = Hub(config, EnvKeys({}))
    with Gateway._of(hub, hub.plan) as gateway:
        yield gateway.ledger
