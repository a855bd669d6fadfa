"""Entries into files: JSON Lines, which an audit reads, and CSV, which a spreadsheet reads.

Model: entries are read batch by batch and written to a file beside the target, which replaces it
when all are there. JSON Lines has three kinds of records:

    {"record": "export", "version": 1, ...}        the first line: what was exported
    {"record": "entry", "call_id": ..., ...}       one an entry
    {"record": "books", "still": true, ...}        the last: scopes and holds as the file has them

`still` says that balances and entries are of one state: nothing was written in between, in up to
three tries. CSV has the entries alone. Amounts are ints in the row's unit, `usd` is exact text,
times are Unix nanoseconds and ISO 8601 in UTC. Bounds: about 100,000 entries a second, one batch in
memory. Any thread.
"""

from __future__ import annotations

import csv
import datetime
import json
import os
from collections.abc import Callable, Mapping, Sequence
from typing import IO, TYPE_CHECKING, Any

from sluiceway.errors import FileError, InvalidRequest
from sluiceway.ledger.rows import NANOUSD
from sluiceway.money import usd_of
from sluiceway.prices.schema import BUCKETS

if TYPE_CHECKING:
    from sluiceway._core import Engine

FORMAT_VERSION = 1
FORMATS = {".jsonl": "jsonl", ".ndjson": "jsonl", ".csv": "csv"}
TRIES = 3
_INT64_MAX = 2**63 - 1
_NS = 1_000_000_000

# Of both formats, in this order; CSV adds usage_<bucket> for each bucket.
COLUMNS = (
    "call_id",
    "kind",
    "attempts",
    "at",
    "at_ns",
    "unit",
    "amount",
    "usd",
    "provider",
    "model",
    "operation",
    "tenant",
    "account",
    "tags",
    "scopes",
    "price_version",
    "reported_cost_nanousd",
    "estimated",
    "overrun",
    "latency_ns",
    "intent_id",
    "provider_request_id",
    "evidence",
)

Bounds = tuple[int | None, int | None]


class EntryTable:
    """The entries as an Arrow stream, each time it is asked: see `LedgerView.arrow`.

    Columns are those of the CSV with `at` as a timestamp; `usd` is a decimal. The engine has to be
    open while it is read.
    """

    __slots__ = ("_archives", "_bounds", "_engine")

    def __init__(self, engine: Engine, bounds: Bounds, archives: Sequence[str] = ()) -> None:
        self._engine = engine
        self._bounds = bounds
        self._archives = list(archives)

    def __arrow_c_stream__(self, requested_schema: object = None) -> object:
        """A PyCapsule of an ArrowArrayStream; the schema is what it is."""
        low, high = span(self._bounds)
        return self._engine.ledger_arrow(from_ns=low, to_ns=high, archives=self._archives)


def span(bounds: Bounds) -> tuple[int, int]:
    """Bounds as the core takes them."""
    low, high = bounds
    return 0 if low is None else low, _INT64_MAX if high is None else high


def export_file(
    engine: Engine, path: str, format: str | None, bounds: Bounds, archives: Sequence[str] = ()
) -> int:
    """Writes a file and returns the number of entries. InvalidRequest: no such format."""
    chosen = format or FORMATS.get(os.path.splitext(path)[1].lower())
    if chosen not in ("jsonl", "csv"):
        named = f"there is no format {format!r}" if format else f"{path!r} does not name a format"
        raise InvalidRequest(f'{named}; it is "jsonl" or "csv", and gw.ledger.arrow() has the rest')
    write = write_jsonl if chosen == "jsonl" else write_csv
    beside = f"{path}.{os.getpid()}.part"
    try:
        with open(beside, "w", encoding="utf-8", newline="") as file:
            count = write(engine, file, bounds, archives)
        os.replace(beside, path)
    except OSError as error:
        raise FileError(f"{path} cannot be written: {error.strerror}") from None
    finally:
        if os.path.exists(beside):
            os.unlink(beside)
    return count


def scan(
    engine: Engine,
    bounds: Bounds,
    take: Callable[[dict[str, Any]], object],
    archives: Sequence[str] = (),
) -> int:
    """Hands every entry, those of archives first, to `take`; how many there were."""
    count = 0

    def batch(entries: list[dict[str, Any]]) -> bool:
        nonlocal count
        for entry in entries:
            take(entry)
        count += len(entries)
        return True

    low, high = span(bounds)
    engine.ledger_scan(batch, from_ns=low, to_ns=high, archives=list(archives))
    return count


def exported(entry: Mapping[str, Any]) -> dict[str, Any]:
    """An entry as an export has it."""
    amount = entry["amount_nanousd"]
    row: dict[str, Any] = {name: entry[name] for name in COLUMNS if name in entry}
    row["at"] = iso_ns(entry["at_ns"])
    row["amount"] = amount
    row["usd"] = f"{usd_of(amount):f}" if entry["unit"] == NANOUSD else None
    row["usage"] = entry["usage"]
    return row


def iso_ns(at_ns: int) -> str:
    """ISO 8601 in UTC with nine decimals."""
    seconds, rest = divmod(at_ns, _NS)
    at = datetime.datetime.fromtimestamp(seconds, datetime.UTC)
    return f"{at:%Y-%m-%dT%H:%M:%S}.{rest:09d}Z"


def write_jsonl(engine: Engine, file: IO[str], bounds: Bounds, archives: Sequence[str] = ()) -> int:
    """Entries between their two framing records; how many entries."""
    import sluiceway

    head = {
        "record": "export",
        "version": FORMAT_VERSION,
        "by": f"sluiceway {sluiceway.__version__}",
        "from_ns": bounds[0],
        "to_ns": bounds[1],
    }
    encode = json.JSONEncoder(ensure_ascii=False, separators=(",", ":")).encode
    start = file.tell() if file.seekable() else None
    for left in reversed(range(TRIES)):
        before = engine.ledger_balances()
        file.write(encode(head) + "\n")
        count = scan(
            engine,
            bounds,
            lambda entry: file.write(encode({"record": "entry", **exported(entry)}) + "\n"),
            archives,
        )
        holds = engine.ledger_holds()
        still = engine.ledger_balances() == before
        if still or not left or start is None:
            books = {"record": "books", "entries": count, "still": still}
            file.write(encode({**books, "scopes": before, "holds": holds}) + "\n")
            return count
        file.seek(start)
        file.truncate()
    raise AssertionError("the last try returns")


def write_csv(engine: Engine, file: IO[str], bounds: Bounds, archives: Sequence[str] = ()) -> int:
    """A header and one line an entry; how many entries. `scopes` are separated by blanks."""
    out = csv.writer(file, lineterminator="\n")
    out.writerow([*COLUMNS, *(f"usage_{bucket}" for bucket in BUCKETS)])

    def write(entry: dict[str, Any]) -> None:
        row = exported(entry)
        row["scopes"] = " ".join(row["scopes"])
        usage = row["usage"]
        cells = [_cell(row[name]) for name in COLUMNS]
        out.writerow([*cells, *(usage.get(bucket, "") for bucket in BUCKETS)])

    return scan(engine, bounds, write, archives)


def _cell(value: object) -> object:
    if isinstance(value, bool):
        return "true" if value else "false"
    return "" if value is None else value
