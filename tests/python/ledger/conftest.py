"""Books to read: a ledger file with calls in every state, and exports written by hand."""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from sluiceway import Gateway, InDoubt
from sluiceway.simulator import Simulator
from tests.fixtures import clean_environment as clean_environment
from tests.fixtures import running_simulator as running_simulator

# "hi" is 1 token and 3 of the message, the answer 16: 4 * 100 + 16 * 500 nano-dollars.
COST = 8_400
MODEL = "openai/gpt-6-luna"


@dataclass
class Books:
    """A gateway on a file, and the ids of its calls."""

    gateway: Gateway
    path: Path
    simulator: Simulator

    def settled(self) -> dict[str, Any]:
        """Makes a call that is settled at COST; its settlement's entry."""
        self.gateway.chat(MODEL, "hi", max_output_tokens=100)
        newest = max(self.gateway.ledger.entries(), key=lambda entry: entry["at_ns"])
        assert newest["kind"] == "settle"
        return newest

    def in_doubt(self) -> str:
        """Makes a call that is in doubt; its id."""
        self.simulator.script([{"match": {}, "action": {"fault": "drop_after"}}])
        with pytest.raises(InDoubt):
            self.gateway.chat(MODEL, "hi", max_output_tokens=100)
        self.simulator.script([])
        (hold,) = (h for h in self.gateway.ledger.holds() if h["since_s"] > self._since())
        self._doubts.append(hold["since_s"])
        return str(hold["call_id"])

    def _since(self) -> float:
        return max(self._doubts, default=0.0)

    def __post_init__(self) -> None:
        self._doubts: list[float] = []


@pytest.fixture
def books(
    running_simulator: Simulator, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> Iterator[Books]:
    """A gateway on a fresh file; every call is in job:1, of at most one dollar."""
    running_simulator.script([])
    running_simulator.reset()
    monkeypatch.setenv("SLUICEWAY_SIMULATOR_URL", running_simulator.http_url)
    path = tmp_path / "books.db"
    config = {"ledger": {"path": str(path), "durability": "process"}}
    with Gateway(config) as gateway, gateway.budget("job:1", usd="1.00"):
        yield Books(gateway, path, running_simulator)


class Export:
    """An export written by hand, to be changed and audited."""

    def __init__(self) -> None:
        self.entries: list[dict[str, Any]] = []
        self.scopes: dict[str, dict[str, Any]] = {}
        self.holds: list[dict[str, Any]] = []
        self.still = True
        self._at_ns = 1_795_305_600_000_000_000

    def scope(self, name: str, limit: int | None, settled: int = 0, held: int = 0) -> None:
        """A scope's balance as the file is said to have it."""
        balance = {"settled": settled, "held": held, "in_doubt": 0, "blocked": False}
        self.scopes[name] = {"name": name, "unit": "nanousd", "limit": limit, **balance}
        self.scopes[name]["rolling"] = False

    def entry(self, call: str, kind: str, amount: int, **fields: Any) -> dict[str, Any]:
        """The next entry, a microsecond after the last."""
        self._at_ns += 1_000
        entry = {
            "call_id": call,
            "kind": kind,
            "attempts": 0 if kind == "reserve" else 1,
            "at_ns": self._at_ns,
            "unit": "nanousd",
            "amount": amount,
            "scopes": [],
            "price_version": "",
            "reported_cost_nanousd": None,
            "estimated": False,
            "overrun": False,
            "evidence": "",
            "usage": {},
            **fields,
        }
        self.entries.append(entry)
        return entry

    def lines(self) -> list[str]:
        """The export's lines."""
        head = {"record": "export", "version": 1, "from_ns": None, "to_ns": None}
        books = {
            "record": "books",
            "entries": len(self.entries),
            "still": self.still,
            "scopes": list(self.scopes.values()),
            "holds": self.holds,
        }
        entries = [{"record": "entry", **entry} for entry in self.entries]
        return [json.dumps(record) for record in (head, *entries, books)]
