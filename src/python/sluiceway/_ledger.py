"""`gw.ledger`: the books, read and resolved through the engine that owns the file.

Reading goes through the core because a second SQLite in the same process would break the file's
locks. Every method first waits until what has ended is written, then asks the file; none belongs
into an inner loop. Any thread.

    for entry in gw.ledger.entries(): ...
    gw.ledger.resolve(call_id, usd="0.0021", evidence="invoice of 2026-11")
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from sluiceway.errors import InvalidRequest
from sluiceway.money import nanousd_of
from sluiceway.options import Money

if TYPE_CHECKING:
    from sluiceway._hub import Hub

ENTRIES_MAX = 1_000_000


class LedgerView:
    """What the ledger file says."""

    __slots__ = ("_hub",)

    def __init__(self, hub: Hub) -> None:
        self._hub = hub

    def entries(
        self, from_s: float = 0.0, to_s: float = float("inf"), limit: int = ENTRIES_MAX
    ) -> list[dict[str, Any]]:
        """Entries of a span of ledger time (Unix seconds), oldest first; amounts: nano-dollars."""
        self._hub.settled()
        return self._hub.engine.ledger_entries(from_s, to_s, limit)

    def holds(self) -> list[dict[str, Any]]:
        """Open reservations, in doubt ones included."""
        self._hub.settled()
        return self._hub.engine.ledger_holds()

    def scopes(self) -> list[dict[str, Any]]:
        """Every scope with its limit and balance."""
        self._hub.settled()
        return self._hub.engine.ledger_scopes()

    def verify(self) -> dict[str, Any]:
        """Replays every entry; `ok` is true when the books agree, else see `problems`."""
        self._hub.settled()
        return self._hub.engine.ledger_verify()

    def resolve(self, call_id: str, *, usd: Money, evidence: str) -> None:
        """Ends a call in doubt with what it really cost, and says how that is known."""
        if not evidence:
            raise InvalidRequest("evidence is empty; say where the amount comes from")
        self._hub.engine.ledger_resolve(call_id, nanousd_of(usd), evidence)
