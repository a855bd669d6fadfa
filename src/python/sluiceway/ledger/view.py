"""`gw.ledger`: the books, read and resolved through the engine that owns the file.

Model: every method first waits until what has ended is written, then asks the file; none belongs
into an inner loop. Amounts in entries, holds and scopes are ints in the row's unit. Any thread;
`gw.aio.ledger` has the same names to be awaited.

    for row in gw.ledger.report(["provider", "model", "day"], from_="2026-11-01"):
        print(row["model"], row.usd, row.latency.p95_ms)
    gw.ledger.resolve(call_id, usd="0.0021", evidence="invoice of 2026-11")
"""

from __future__ import annotations

import os
from collections.abc import Callable, Mapping, Sequence
from decimal import Decimal
from typing import TYPE_CHECKING, Any

from sluiceway._values import flag, instant_s, labels, text, texts
from sluiceway._values import path as path_of
from sluiceway.errors import InvalidRequest
from sluiceway.money import nanousd_of, usd_of
from sluiceway.options import Money, whole

if TYPE_CHECKING:
    from sluiceway._hub import Hub
    from sluiceway.ledger.bill import BillResult
    from sluiceway.ledger.export import EntryTable
    from sluiceway.ledger.rows import Instant, ReportRow

ENTRIES_MAX = 1_000_000
BY = ("provider", "model")
_NS = 1_000_000_000


class LedgerView:
    """What the ledger file says."""

    __slots__ = ("_hub",)

    def __init__(self, hub: Hub) -> None:
        self._hub = hub

    def entries(
        self, from_s: float = 0.0, to_s: float = float("inf"), limit: int = ENTRIES_MAX
    ) -> list[dict[str, Any]]:
        """Entries of a span of ledger time (Unix seconds), in the order of the calls."""
        low, high = instant_s(from_s, "from_s"), instant_s(to_s, "to_s")
        whole(limit, "limit", 0, 2**31 - 1)
        self._hub.settled()
        return self._hub.engine.ledger_entries(low, high, limit)

    def holds(self) -> list[dict[str, Any]]:
        """Open reservations, in doubt ones included."""
        self._hub.settled()
        return self._hub.engine.ledger_holds()

    def scopes(self) -> list[dict[str, Any]]:
        """Every scope with its limit and balance."""
        self._hub.settled()
        return self._hub.engine.ledger_scopes()

    def history(self, call_id: str) -> list[dict[str, Any]]:
        """Every entry of one call, oldest first: a correction or refund is a row of its own."""
        text(call_id, "call_id")
        self._hub.settled()
        return self._hub.engine.ledger_history(call_id)

    def report(
        self,
        by: Sequence[str] = BY,
        *,
        from_: Instant | None = None,
        to: Instant | None = None,
        scope: str = "",
        tags: Mapping[str, str] | None = None,
        where: Mapping[str, str] | None = None,
        time_zone: str = "UTC",
        archives: Sequence[str | os.PathLike[str]] = (),
    ) -> list[ReportRow]:
        """Calls rolled up by any of provider, model, operation, tenant, account, tags, tag:NAME,
        hour, day, month, service_month; without one, the total.

        `from_` and `to` (exclusive) bound when a call was booked: when it ended, or if it has not,
        when it was reserved. `scope` is "video:42", a window "day:2026-11-22" or a kind "video";
        `tags` and `where` ({"provider": "openai"}) keep the calls with those labels. A call counts
        once, at what its last entry of money says. `archives` are files of this ledger's, whose
        calls are counted too; InvalidRequest for one that is named twice. About a second for a
        million entries.
        """
        from sluiceway.ledger.rows import ReportRow, archive_paths, instant_ns, zone_of

        names = tuple(texts(by, "by"))
        files = archive_paths(archives)
        zone = zone_of(time_zone)
        conditions = [(f"tag:{name}", value) for name, value in labels(tags, "tags")]
        conditions += labels(where, "where")
        self._hub.settled()
        found = self._hub.engine.ledger_report(
            list(names),
            from_ns=instant_ns(from_, "from_", zone),
            to_ns=instant_ns(to, "to", zone),
            time_zone=time_zone,
            scope=text(scope, "scope"),
            where=conditions,
            archives=files,
        )
        return [ReportRow._of(names, group) for group in found]

    def verify(self) -> dict[str, Any]:
        """Replays every entry; `ok` is true when the books agree, else see `problems`."""
        self._hub.settled()
        return self._hub.engine.ledger_verify()

    def resolve(self, call_id: str, *, usd: Money, evidence: str) -> None:
        """Ends a call in doubt with what it really cost, and says how that is known.

        A call that was posted in full gets a correction.
        """
        text(call_id, "call_id")
        text(evidence, "evidence", "say where the amount comes from")
        self._hub.engine.ledger_resolve(call_id, nanousd_of(usd), evidence)

    def post_in_doubt(self, *, older_than_s: float) -> int:
        """Settles at their holds the calls that have been in doubt for that long; how many."""
        if not 0 <= instant_s(older_than_s, "older_than_s") <= 1e9:
            raise InvalidRequest(f"older_than_s={older_than_s} is not a number of seconds")
        return self._hub.engine.ledger_post_in_doubt(int(older_than_s * _NS))

    def grant(self, scope: str, *, usd: Money, evidence: str) -> Decimal:
        """Raises the limit of a scope ("video:42") by an entry of its own, or lowers it ("-1.00",
        never below what is used); the new limit."""
        text(scope, "scope")
        text(evidence, "evidence", "say who granted it, and why")
        stored = {found["name"].partition("@")[0] for found in self.scopes()}
        if scope not in stored:
            raise InvalidRequest(f"the ledger has no scope {scope!r}")
        from sluiceway._budget import Budget

        lower = isinstance(usd, str) and usd.strip().startswith("-")
        amount = nanousd_of(usd.strip()[1:] if lower and isinstance(usd, str) else usd)
        handle = Budget(self._hub, scope, None, False).scope
        granted = self._hub.engine.ledger_grant(handle, -amount if lower else amount, evidence)
        return usd_of(granted)

    def archive(self, path: str | os.PathLike[str], *, before: str) -> dict[str, Any]:
        """Moves the entries of the months before `before` ("2026-09") into a file of their own.

        Months with an open hold stay. Reports and exports read what is left, and `verify` still
        proves the balances; an audit and a replay are to be told of the archive.
        """
        text(before, "before")
        target = text(path_of(path, "path"), "path")
        self._hub.settled()
        return self._hub.engine.ledger_archive(before, os.path.abspath(target))

    def export(
        self,
        path: str | os.PathLike[str],
        format: str | None = None,
        *,
        from_: Instant | None = None,
        to: Instant | None = None,
        archives: Sequence[str | os.PathLike[str]] = (),
    ) -> int:
        """Writes the entries into a new file, "jsonl" (with scopes and holds, which an audit asks
        for) or "csv", by default as the name ends; how many. `archives` are the ledger's archive
        files, whose entries come first; InvalidRequest for one that is named twice. See
        docs/reference/ledger.md."""
        from sluiceway.ledger.export import export_file
        from sluiceway.ledger.rows import archive_paths, instant_ns, zone_of

        zone = zone_of("UTC")
        bounds = instant_ns(from_, "from_", zone), instant_ns(to, "to", zone)
        files = archive_paths(archives)
        target = path_of(path, "path")
        self._hub.settled()
        return export_file(self._hub.engine, target, format, bounds, files)

    def arrow(
        self,
        *,
        from_: Instant | None = None,
        to: Instant | None = None,
        archives: Sequence[str | os.PathLike[str]] = (),
    ) -> EntryTable:
        """The entries for anything that reads Arrow: pyarrow.table(e), polars.DataFrame(e), "FROM
        e" in duckdb. `archives` as for `export`. Some 250 bytes an entry while it is read."""
        from sluiceway.ledger.export import EntryTable
        from sluiceway.ledger.rows import archive_paths, instant_ns, zone_of

        zone = zone_of("UTC")
        bounds = instant_ns(from_, "from_", zone), instant_ns(to, "to", zone)
        files = archive_paths(archives)
        self._hub.settled()
        return EntryTable(self._hub.engine, bounds, files)

    def _scan(self, take: Callable[[dict[str, Any]], object], archives: Sequence[str] = ()) -> int:
        """Hands every entry to `take`, a call's one after the other."""
        from sluiceway.ledger.export import scan
        from sluiceway.ledger.rows import archive_paths

        files = archive_paths(archives)
        self._hub.settled()
        return scan(self._hub.engine, (None, None), take, files)

    def import_bill(self, path: str | os.PathLike[str], *, apply: bool = False) -> BillResult:
        """Sets a provider's bill (CSV) against the books; see docs/how-to/ledger.md.

        With `apply=True` it resolves what is in doubt and corrects what was posted in full. Running
        it twice changes nothing more. BillError names every line that cannot be read.
        """
        from sluiceway.ledger.bill import import_bill

        return import_bill(self, path_of(path, "path"), apply=flag(apply, "apply"))
