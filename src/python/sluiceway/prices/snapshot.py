"""One file that holds a whole price table, to be handed to running gateways with its hash.

Model: canonical JSON (keys sorted, no blanks, ASCII, one line end), so that equal tables are equal
bytes and have one SHA-256. The hash is pinned where the file is used, in the configuration or in
`gw.update_prices(path, sha256=...)`, and is compared before anything is parsed: whoever may write
the file alone cannot change a price. Reading checks every key, type and range again, and that no
rows overlap or leave a gap; anything wrong refuses the whole file.

    {"format": "sluiceway-prices", "schema": 1, "table": "sha256:...", "sheets": [...]}

`schema` says how rows are written; another number is refused, an older one too, because a row that
lacks a field would price what it did not mean. `table` is price_table_version() of the sheets.

Bounds: files up to 64 MiB; some hundred kilobytes and 100 ms for the shipped table. Threads: pure
but for reading and writing one file. Errors: ConfigError.

Example: `sha256 = write_snapshot(Path("prices.json"), load_prices())`.
"""

from __future__ import annotations

import hashlib
import hmac
import json
import os
import re
from pathlib import Path
from typing import Any, NoReturn

from sluiceway._values import path as path_of
from sluiceway.prices import schema
from sluiceway.prices.coverage import check_coverage
from sluiceway.prices.load import KINDS, price_table_version

FORMAT = "sluiceway-prices"
SCHEMA = 1
BYTES_MAX = 64 * 1024 * 1024
_INT32_MAX = 2**31 - 1

_SHEET = {
    **dict.fromkeys(("provider", "model", "kind", "retires", "note"), str),
    **dict.fromkeys(("aliases", "rows"), list),
    **dict.fromkeys(("context_tokens", "max_output_tokens"), int),
}
_ROW = {
    **dict.fromkeys(("version", "service_tier", "plan", "size", "quality"), str),
    **dict.fromkeys(("source", "checked", "note"), str),
    **dict.fromkeys(("effective_from_ns", "effective_to_ns", "prompt_from", "prompt_to"), int),
    **dict.fromkeys(("windows", "excluded_days", "factor"), list),
    **dict.fromkeys(("rates", "rate_dens"), dict),
    "windows_inverted": bool,
}


def snapshot_bytes(sheets: list[dict[str, Any]]) -> bytes:
    """The file of a table. `layer`, where a sheet came from, is left out: it is not a price."""
    plain = [{key: sheet[key] for key in _SHEET} for sheet in sheets]
    document = {
        "format": FORMAT,
        "schema": SCHEMA,
        "table": price_table_version(plain),
        "sheets": plain,
    }
    text = json.dumps(document, sort_keys=True, separators=(",", ":"), ensure_ascii=True)
    return text.encode("ascii") + b"\n"


def write_snapshot(path: Path, sheets: list[dict[str, Any]]) -> str:
    """Writes the file in one step: a reader sees the old or the new one. Its SHA-256 in hex."""
    data = snapshot_bytes(sheets)
    if not path.name:
        schema.fail(str(path), "a snapshot is written into a file: name it")
    path_of(path, "the snapshot's path")
    beside = path.with_name(f".{path.name}.{os.getpid()}.new")
    try:
        beside.write_bytes(data)
        beside.replace(path)
    except OSError as error:
        schema.fail(str(path), f"the snapshot cannot be written: {error.strerror or error}")
    finally:
        beside.unlink(missing_ok=True)
    return hashlib.sha256(data).hexdigest()


def read_snapshot(path: Path, sha256: str | None = None) -> list[dict[str, Any]]:
    """The sheets of a snapshot, as load_prices() gives them. ConfigError: see the top.

    Without `sha256` the bytes are not vouched for: for looking at a file, not for pricing by it.
    """
    name = path.name
    try:
        with path.open("rb") as file:
            data = file.read(BYTES_MAX + 1)
    except OSError as error:
        schema.fail(str(path), f"the price snapshot cannot be read: {error.strerror or error}")
    if len(data) > BYTES_MAX:
        schema.fail(name, f"a price snapshot has at most {BYTES_MAX // 2**20} MiB")
    if sha256 is not None:
        _check_hash(data, sha256, name)
    try:
        document = json.loads(
            data, object_pairs_hook=_once, parse_float=_no_float, parse_constant=_no_float
        )
    except (ValueError, RecursionError) as error:
        schema.fail(name, f"not a price snapshot: {error}")
    return _read_document(document, name)


def _check_hash(data: bytes, sha256: str, name: str) -> None:
    if not re.fullmatch(r"(sha256:)?[0-9a-fA-F]{64}", sha256):
        schema.fail(name, "sha256 is written as 64 hex digits")
    found = hashlib.sha256(data).hexdigest()
    if not hmac.compare_digest(found, sha256.removeprefix("sha256:").lower()):
        schema.fail(name, f"the file's sha256 is {found}, not {sha256}: not used")


def _once(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    table = dict(pairs)
    if len(table) != len(pairs):
        raise ValueError("a key stands twice in one object")
    return table


def _no_float(text: str) -> NoReturn:
    raise ValueError(f"{text} is not a whole number")


def _read_document(document: Any, name: str) -> list[dict[str, Any]]:
    if not isinstance(document, dict) or document.get("format") != FORMAT:
        schema.fail(name, f'not a price snapshot: "format" is not "{FORMAT}"')
    if document.get("schema") != SCHEMA:
        schema.fail(
            name,
            f"the snapshot is written in schema {document.get('schema')!r}, this version reads"
            f" {SCHEMA}: make it anew with `sluiceway prices snapshot`",
        )
    if set(document) != {"format", "schema", "table", "sheets"}:
        schema.fail(name, "not a price snapshot: it has other keys than it should")
    sheets = document["sheets"]
    if not isinstance(sheets, list) or not sheets:
        schema.fail(name, "the snapshot holds no sheets")
    names: set[tuple[str, str]] = set()
    for sheet in sheets:
        _check_sheet(sheet, name, names)
    if document["table"] != price_table_version(sheets):
        schema.fail(name, "'table' is not the hash of the sheets: the file was edited by hand")
    return sheets


def _check_types(value: Any, types: dict[str, type], place: str) -> None:
    if not isinstance(value, dict) or set(value) != set(types):
        schema.fail(place, f"needs exactly the keys {', '.join(sorted(types))}")
    for key, kind in types.items():
        if type(value[key]) is not kind:
            schema.fail(place, f"'{key}' is a {type(value[key]).__name__}, not a {kind.__name__}")


def _check_sheet(sheet: Any, name: str, names: set[tuple[str, str]]) -> None:
    _check_types(sheet, _SHEET, name)
    place = f"{name}: {sheet['provider']}/{sheet['model']}"
    if not sheet["provider"] or not sheet["model"] or sheet["kind"] not in KINDS:
        schema.fail(place, "needs a provider, a model and a known kind")
    for one in (sheet["model"], *sheet["aliases"]):
        if not isinstance(one, str) or not one or (sheet["provider"], one) in names:
            schema.fail(place, f"the name {one!r} is empty or taken")
        names.add((sheet["provider"], one))
    if min(sheet["context_tokens"], sheet["max_output_tokens"]) < 0:
        schema.fail(place, "a number of tokens is below zero")
    versions = set()
    for row in sheet["rows"]:
        _check_row(row, place)
        versions.add(row["version"])
    if not versions or len(versions) != len(sheet["rows"]):
        schema.fail(place, "has no rows, or two rows of one name")
    check_coverage(sheet["rows"], place)


def _check_row(row: Any, place: str) -> None:
    _check_types(row, _ROW, place)
    place = f"{place}, row {row['version']!r}"
    if not row["version"] or not row["source"] or not row["checked"]:
        schema.fail(place, "needs a version, a source and the day on which it was checked")
    ranges = (("effective_from_ns", "effective_to_ns"), ("prompt_from", "prompt_to"))
    for low, high in ranges:
        if not schema.INT64_MIN <= row[low] < row[high] <= schema.INT64_MAX:
            schema.fail(place, f"'{low}' and '{high}' are no range in 64 bits")
    if row["prompt_from"] < 0:
        schema.fail(place, "'prompt_from' is below zero")
    for bucket, rate in row["rates"].items():
        if bucket not in schema.BUCKETS or not _within(rate, 0, schema.INT64_MAX):
            schema.fail(place, f"the rate of {bucket!r} is no whole number of nano-dollars")
    for bucket, den in row["rate_dens"].items():
        usable = bucket in row["rates"] and bucket not in schema.TOKEN_BUCKETS
        if not usable or not _within(den, 2, 86_400):
            schema.fail(place, f"the rate of {bucket!r} cannot be divided by {den!r}")
    if not row["rates"]:
        schema.fail(place, "has no rates")
    factor = row["factor"]
    if len(factor) != 2 or not _within(factor[0], 0, _INT32_MAX):
        schema.fail(place, "'factor' is not two whole numbers")
    if not _within(factor[1], 1, _INT32_MAX):
        schema.fail(place, "'factor' divides by less than 1")
    for window in row["windows"]:
        if not isinstance(window, list) or len(window) != 3 or not _is_window(window):
            schema.fail(place, f"{window!r} is no window of the week")
    if not all(_within(day, -_INT32_MAX, _INT32_MAX) for day in row["excluded_days"]):
        schema.fail(place, "an excluded day is no number of a day")
    if row["windows_inverted"] and not row["windows"]:
        schema.fail(place, "inverts windows that it does not have")
    # As the loader writes them, and as the core takes them.
    row["windows"] = [tuple(window) for window in row["windows"]]
    row["factor"] = tuple(factor)


def _within(value: Any, low: int, high: int) -> bool:
    return type(value) is int and low <= value <= high


def _is_window(window: list[Any]) -> bool:
    mask, from_s, to_s = window
    in_range = _within(mask, 1, 127) and _within(from_s, 0, 86_399) and _within(to_s, 1, 86_400)
    return in_range and from_s < to_s
