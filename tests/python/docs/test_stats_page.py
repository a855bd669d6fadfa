"""docs/reference/stats.md names what `gw.stats()` gives, and nothing else."""

from __future__ import annotations

import re

from sluiceway import _core
from tests.python.docs.pages import ROOT


def test_every_count_is_explained() -> None:
    engine = _core.Engine({"ledger_path": ":memory:", "durability": "memory"})
    assert engine.stats() == {}  # not started
    engine.open_scope("job", "1", 1)
    page = (ROOT / "docs" / "reference" / "stats.md").read_text(encoding="utf-8")
    names = [
        name
        for row in re.findall(r"^\| (`.*?) \|", page, re.MULTILINE)
        for name in re.findall(r"`(\w+)`", row)
    ]
    assert sorted(names) == sorted(engine.stats())
    engine.close(0.0)
