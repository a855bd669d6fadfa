"""`gw.aio.ledger`: the names of `gw.ledger`, to be awaited; each waits in a thread.

rows = await gw.aio.ledger.report(["model"], from_="2026-11-01")
"""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from decimal import Decimal
from typing import TYPE_CHECKING, Any

from sluiceway._threads import in_thread
from sluiceway.ledger.rows import Instant, ReportRow
from sluiceway.ledger.view import BY, ENTRIES_MAX, LedgerView
from sluiceway.options import Money

if TYPE_CHECKING:
    from sluiceway._hub import Hub
    from sluiceway.ledger.bill import BillResult
    from sluiceway.ledger.export import EntryTable


class AsyncLedgerView:
    """The asyncio twin of `LedgerView`; see there."""

    __slots__ = ("_view",)

    def __init__(self, hub: Hub) -> None:
        self._view = LedgerView(hub)

    async def entries(
        self, from_s: float = 0.0, to_s: float = float("inf"), limit: int = ENTRIES_MAX
    ) -> list[dict[str, Any]]:
        """See `LedgerView.entries`."""
        return await in_thread(self._view.entries, from_s, to_s, limit)

    async def holds(self) -> list[dict[str, Any]]:
        """See `LedgerView.holds`."""
        return await in_thread(self._view.holds)

    async def scopes(self) -> list[dict[str, Any]]:
        """See `LedgerView.scopes`."""
        return await in_thread(self._view.scopes)

    async def history(self, call_id: str) -> list[dict[str, Any]]:
        """See `LedgerView.history`."""
        return await in_thread(self._view.history, call_id)

    async def report(
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
        """See `LedgerView.report`."""
        return await in_thread(
            self._view.report,
            by,
            from_=from_,
            to=to,
            scope=scope,
            tags=tags,
            where=where,
            time_zone=time_zone,
            archives=archives,
        )

    async def verify(self) -> dict[str, Any]:
        """See `LedgerView.verify`."""
        return await in_thread(self._view.verify)

    async def resolve(self, call_id: str, *, usd: Money, evidence: str) -> None:
        """See `LedgerView.resolve`."""
        await in_thread(self._view.resolve, call_id, usd=usd, evidence=evidence)

    async def post_in_doubt(self, *, older_than_s: float) -> int:
        """See `LedgerView.post_in_doubt`."""
        return await in_thread(self._view.post_in_doubt, older_than_s=older_than_s)

    async def grant(self, scope: str, *, usd: Money, evidence: str) -> Decimal:
        """See `LedgerView.grant`."""
        return await in_thread(self._view.grant, scope, usd=usd, evidence=evidence)

    async def archive(self, path: str | os.PathLike[str], *, before: str) -> dict[str, Any]:
        """See `LedgerView.archive`."""
        return await in_thread(self._view.archive, path, before=before)

    async def export(
        self,
        path: str | os.PathLike[str],
        format: str | None = None,
        *,
        from_: Instant | None = None,
        to: Instant | None = None,
        archives: Sequence[str | os.PathLike[str]] = (),
    ) -> int:
        """See `LedgerView.export`."""
        return await in_thread(
            self._view.export, path, format, from_=from_, to=to, archives=archives
        )

    async def arrow(
        self,
        *,
        from_: Instant | None = None,
        to: Instant | None = None,
        archives: Sequence[str | os.PathLike[str]] = (),
    ) -> EntryTable:
        """See `LedgerView.arrow`. The table is read by whoever consumes it, which blocks."""
        return await in_thread(self._view.arrow, from_=from_, to=to, archives=archives)

    async def import_bill(self, path: str | os.PathLike[str], *, apply: bool = False) -> BillResult:
        """See `LedgerView.import_bill`."""
        return await in_thread(self._view.import_bill, path, apply=apply)
