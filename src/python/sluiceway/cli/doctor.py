"""`sluiceway doctor`: is this installation ready? Checks that only read.

Model: each check is a function that returns one `Finding`: a name, "ok", "note" or "bad", and a
line. Keys are told by the name of their variable, never by their value. The ledger is opened by
SQLite read-only, and which of its owners live is asked of the lock file without taking a lock. No
engine is started and nothing is written. Status 1 when something is bad.

    sluiceway doctor --config sluiceway.toml --json
"""

from __future__ import annotations

import argparse
import datetime
import json
import os
import platform
import re
import struct
from collections.abc import Callable
from dataclasses import asdict, dataclass
from typing import Any

import sluiceway
from sluiceway.cli.ledger import ledger_path
from sluiceway.errors import SluicewayError

OK, NOTE, BAD = "ok", "note", "bad"
LIBCURL_MIN = (8, 5, 0)
PRICES_OLD_DAYS = 90
_OWNER_BASE = 1024  # store/file_lock.h: owner n holds the byte _OWNER_BASE + n


@dataclass(frozen=True, slots=True)
class Finding:
    """What one check found."""

    check: str
    state: str
    text: str


def add(subparsers: Any) -> None:
    """Adds the command."""
    command = subparsers.add_parser("doctor", help="check this installation; changes nothing")
    command.add_argument("--config", metavar="FILE", help="default: sluiceway.toml, if there")
    command.add_argument("--ledger", metavar="FILE", help="the ledger file to look at")
    command.add_argument("--json", action="store_true", help="as JSON")
    command.set_defaults(run=_run)


def _run(options: argparse.Namespace) -> int:
    if options.config is None and os.path.isfile("sluiceway.toml"):
        options.config = "sluiceway.toml"
    checks: list[Callable[[argparse.Namespace], Finding]] = [
        _version,
        _libraries,
        _configuration,
        _keys,
        _prices,
        _ledger,
        _extras,
    ]
    findings = []
    for check in checks:
        try:
            findings.append(check(options))
        except (SluicewayError, OSError, ImportError) as error:
            name = check.__name__.strip("_")
            findings.append(Finding(name, BAD, " ".join(str(error).split())))
    bad = any(finding.state == BAD for finding in findings)
    if options.json:
        report = {"ok": not bad, "findings": [asdict(finding) for finding in findings]}
        print(json.dumps(report, indent=2))
    else:
        for finding in findings:
            print(f"{finding.state:<5} {finding.check:<14} {finding.text}")
    return 1 if bad else 0


def _version(options: argparse.Namespace) -> Finding:
    return Finding(
        "version",
        OK,
        f"sluiceway {sluiceway.__version__}, {platform.python_implementation()}"
        f" {platform.python_version()}, {platform.system()} {platform.machine()}",
    )


def _libraries(options: argparse.Namespace) -> Finding:
    from sluiceway import _core

    versions = _core.core_versions()
    # curl_version() tells "libcurl/8.14.1 OpenSSL/3.0.19 ...": its first word is enough.
    short = {name: version.split()[0].rpartition("/")[2] for name, version in versions.items()}
    text = ", ".join(f"{name} {version}" for name, version in sorted(short.items()))
    number = re.match(r"(\d+)\.(\d+)\.(\d+)", short.get("libcurl", ""))
    if number is None or tuple(map(int, number.groups())) < LIBCURL_MIN:
        return Finding("libraries", BAD, f"libcurl 8.5 or newer is needed; {text}")
    return Finding("libraries", OK, text)


def _configuration(options: argparse.Namespace) -> Finding:
    from sluiceway.config import ELSEWHERE, Config, load_config
    from sluiceway.providers.registry import load_registry

    config = load_config(options.config) if options.config else Config()
    registry = load_registry()
    named = {owner for owner, _ in config.accounts if owner != ELSEWHERE} | set(config.breakers)
    named |= set(config.retries) | {name.partition("/")[0] for name in config.limits}
    unknown = sorted(named - set(registry))
    if unknown:
        return Finding("configuration", BAD, f"{options.config}: no provider {unknown[0]!r}")
    text = f"{options.config} is valid" if options.config else "no file; defaults"
    return Finding("configuration", OK, text)


def _keys(options: argparse.Namespace) -> Finding:
    from sluiceway.config import Config, load_config
    from sluiceway.keys.env import EnvKeys
    from sluiceway.providers.registry import load_registry

    keys = EnvKeys.from_environment()
    config = load_config(options.config) if options.config else Config()
    wanted = {provider.key_env for provider in load_registry().values()}
    wanted |= {account["key_env"] for account in config.accounts.values() if "key_env" in account}
    found = sorted(name for name in wanted if keys.key(name) is not None)
    missing = sorted(wanted - set(found))
    simulated = keys.get("SLUICEWAY_SIMULATOR_URL")
    if simulated:
        return Finding("keys", OK, f"SLUICEWAY_SIMULATOR_URL is set: calls go to {simulated}")
    if not found:
        text = f"none set; looked for {', '.join(missing)}; see `sluiceway simulator`"
        return Finding("keys", NOTE, text)
    text = f"set: {', '.join(found)}"
    return Finding("keys", OK, text + (f"; not set: {', '.join(missing)}" if missing else ""))


def _prices(options: argparse.Namespace) -> Finding:
    from sluiceway.prices.load import load_prices, price_table_version

    sheets = load_prices()
    checked = [str(row["checked"]) for sheet in sheets for row in sheet["rows"]]
    newest = datetime.date.fromisoformat(max(checked)[:10])
    age = (datetime.datetime.now(datetime.UTC).date() - newest).days
    text = (
        f"{len(sheets)} models, {price_table_version()[:19]}, last checked {newest}"
        f" ({max(age, 0)} days ago)"
    )
    if age > PRICES_OLD_DAYS:
        return Finding("prices", NOTE, text + "; a newer sluiceway may know newer prices")
    return Finding("prices", OK, text)


def _ledger(options: argparse.Namespace) -> Finding:
    path = os.path.abspath(ledger_path(options))
    folder = os.path.dirname(path)
    if not os.path.isdir(folder):
        return Finding("ledger", BAD, f"{path}: there is no folder {folder}")
    if not os.path.exists(path):
        if not os.access(folder, os.W_OK | os.X_OK):
            return Finding("ledger", BAD, f"{path}: the folder cannot be written")
        return Finding("ledger", OK, f"{path}: not there yet; its folder can be written")
    if not os.access(path, os.R_OK | os.W_OK) or not os.access(folder, os.W_OK | os.X_OK):
        return Finding("ledger", BAD, f"{path} and its folder must be readable and writable")
    owners = _owners(path)
    if owners is None:
        return Finding("ledger", BAD, f"{path} is not a ledger that this version can read")
    alive = [owner for owner in owners if _alive(path + "-lock", owner)]
    text = f"{path}: {len(alive)} engines use it now"
    if len(owners) > len(alive):
        text += f", {len(owners) - len(alive)} ended without saying so (the next start recovers)"
    return Finding("ledger", OK, text)


def _owners(path: str) -> list[int] | None:
    """The owners that the file names; None when it is no ledger."""
    import sqlite3
    import urllib.parse

    try:
        uri = f"file:{urllib.parse.quote(path)}?mode=ro"
        connection = sqlite3.connect(uri, uri=True, timeout=2.0)
        try:
            rows = connection.execute("SELECT owner_id FROM owners").fetchall()
        finally:
            connection.close()
    except sqlite3.Error:
        return None
    return [int(row[0]) for row in rows]


def _alive(lock_path: str, owner: int) -> bool:
    """Whether a process holds the owner's byte. F_GETLK only asks; Linux's struct flock."""
    import fcntl

    question = struct.pack("hhqqi", fcntl.F_WRLCK, os.SEEK_SET, _OWNER_BASE + owner, 1, 0)
    try:
        with open(lock_path, "rb") as file:
            answer = fcntl.fcntl(file, fcntl.F_GETLK, question)
    except OSError:
        return False
    return int(struct.unpack("hhqqi", answer)[0]) != fcntl.F_UNLCK


def _extras(options: argparse.Namespace) -> Finding:
    import importlib.util

    wanted = {"h11": "simulator", "h2": "simulator", "cryptography": "simulator"}
    wanted |= {"rich": "demo", "matplotlib": "demo"}
    missing = {
        name: extra for name, extra in wanted.items() if importlib.util.find_spec(name) is None
    }
    if not missing:
        return Finding("extras", OK, "simulator and demo are complete")
    hint = ", ".join(sorted(set(missing.values())))
    return Finding("extras", NOTE, f"without {', '.join(missing)}: sluiceway[{hint}] brings them")
