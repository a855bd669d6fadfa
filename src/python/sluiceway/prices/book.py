"""The price table that a gateway works with: one base, and a user's own files on top of it.

Model: the base is the shipped files, or a snapshot that replaces all of them (snapshot.py). Own
files add models or replace them whole; a replaced model keeps the aliases that nobody else claims.
A table is made once and never changed: an update makes a new one, and routes keep the sheet that
they were made with. Rows that do not come with the package say so in their names, which the ledger
keeps: `#` and eight hex digits of the hash of what the row says, so that one name never stands for
two prices, and in front of it the own file's name.

    openai/gpt-4o@2025-07-04                         shipped
    openai/gpt-4o@2025-07-04#5be1c0d2                from a snapshot
    my.toml:openai/gpt-4o@2026-11-22#0c9a77e1        from my.toml

Bounds: some hundred sheets, milliseconds. Threads: everything is constant once made. Errors:
ConfigError, and then there is no table; whoever had one keeps it.

Example: `make_table(files=["my.toml"]).of("openai")["gpt-4o"]["rows"]`.
"""

from __future__ import annotations

import functools
import hashlib
import json
import os
from collections.abc import Iterable
from pathlib import Path
from typing import Any

from sluiceway._values import path as path_of
from sluiceway.prices import schema
from sluiceway.prices.load import load_prices, price_table_version
from sluiceway.prices.snapshot import read_snapshot

Sheet = dict[str, Any]
SHIPPED = "shipped"


class PriceTable:
    """Sheets, each with the `layer` that it is from, found by provider and any name of a model."""

    __slots__ = ("_by_name", "layers", "sheets", "version")

    def __init__(self, sheets: list[Sheet], layers: tuple[str, ...], version: str) -> None:
        self.sheets = sheets
        self.layers = layers
        self.version = version
        self._by_name: dict[str, dict[str, Sheet]] = {}
        for sheet in sheets:
            models = self._by_name.setdefault(sheet["provider"], {})
            for name in (sheet["model"], *sheet["aliases"]):
                models[name] = sheet

    def of(self, provider: str) -> dict[str, Sheet]:
        """The sheets of one provider, by every name of each model."""
        return self._by_name.get(provider, {})

    def __repr__(self) -> str:
        return f"PriceTable({' + '.join(self.layers)}, {self.version[:19]})"


@functools.cache
def shipped_table() -> PriceTable:
    """The files that come with the package."""
    sheets = load_prices()
    version = price_table_version(sheets)
    return PriceTable([{**sheet, "layer": SHIPPED} for sheet in sheets], (SHIPPED,), version)


def make_table(
    snapshot: str | os.PathLike[str] | None = None,
    sha256: str | None = None,
    files: Iterable[str | os.PathLike[str]] = (),
) -> PriceTable:
    """The table of a snapshot (with its hash) or of the shipped files, with own files on top.

    ConfigError: a hash that differs, a row that is malformed, an older format, a file that cannot
    be read, two own files that price the same name.
    """
    base, version = shipped_table().sheets, shipped_table().version
    layers = [SHIPPED]
    if snapshot is not None:
        path = Path(path_of(snapshot, "snapshot"))
        layers = [path.name]
        if sha256 is None:
            schema.fail(path.name, "a snapshot needs its sha256, as its publisher states it")
        plain = read_snapshot(path, sha256)
        version = price_table_version(plain)
        base = _layer(plain, path.name, own=False)
    elif sha256 is not None:
        schema.fail("prices", "sha256 is the hash of a snapshot; name the snapshot too")
    paths = [Path(file) for file in files]
    if not paths and snapshot is None:
        return shipped_table()
    for path in paths:
        base = _overlay(base, _layer(load_prices([path]), path.name, own=True), paths)
        layers.append(path.name)
    return PriceTable(base, tuple(layers), price_table_version(base) if paths else version)


def plain_version(version: str) -> str:
    """A row's name without its layer's marks: "my.toml:p/m@d#0c9a77e1" is "p/m@d"."""
    name = version.partition("#")[0]
    first, colon, rest = name.partition(":")
    return rest if colon and first.endswith(".toml") else name


def plain_sheets(table: PriceTable) -> list[Sheet]:
    """The table as load_prices() would give it, without layers and their marks: for a snapshot."""
    return [
        {
            **{key: value for key, value in sheet.items() if key != "layer"},
            "rows": [{**row, "version": plain_version(row["version"])} for row in sheet["rows"]],
        }
        for sheet in table.sheets
    ]


def _layer(sheets: list[Sheet], name: str, own: bool) -> list[Sheet]:
    """The sheets with their layer's name, and with rows named by what they say."""
    prefix = f"{name}:" if own else ""
    made = []
    for sheet in sheets:
        rows = []
        for row in sheet["rows"]:
            plain = json.dumps(row, sort_keys=True, separators=(",", ":"), ensure_ascii=True)
            digest = hashlib.sha256(plain.encode("ascii")).hexdigest()[:8]
            rows.append({**row, "version": f"{prefix}{row['version']}#{digest}"})
        made.append({**sheet, "rows": rows, "layer": name})
    return made


def _overlay(base: list[Sheet], own: list[Sheet], files: list[Path]) -> list[Sheet]:
    """`own` over `base`: a name that an own sheet claims belongs to it alone."""
    taken = {(s["provider"], name) for s in own for name in (s["model"], *s["aliases"])}
    own_layers = {path.name for path in files}
    replaced: dict[tuple[str, str], list[str]] = {}
    made = []
    for sheet in base:
        names = (sheet["model"], *sheet["aliases"])
        lost = [name for name in names if (sheet["provider"], name) in taken]
        if lost and sheet["layer"] in own_layers:
            schema.fail(sheet["layer"], f"another own price file prices '{lost[0]}' too")
        left = [name for name in sheet["aliases"] if name not in lost]
        if sheet["model"] in lost:
            replaced[(sheet["provider"], sheet["model"])] = left
        elif lost:
            made.append({**sheet, "aliases": left})
        else:
            made.append(sheet)
    for sheet in own:
        inherited = [
            alias
            for (provider, name), aliases in replaced.items()
            if provider == sheet["provider"] and name in (sheet["model"], *sheet["aliases"])
            for alias in aliases
        ]
        made.append({**sheet, "aliases": [*sheet["aliases"], *inherited]})
    return made
