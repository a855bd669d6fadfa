"""The auditor: books that agree pass, and each planted error is found.

The exports are written by hand, so that they owe nothing to the ledger; the last tests change an
export of a real one.
"""

from __future__ import annotations

import asyncio
import json
import sqlite3
from pathlib import Path
from typing import Any

import pytest

from sluiceway import BudgetConflict, Gateway, InvalidType, SluicewayError
from sluiceway.ledger import audit
from tests.python.ledger.conftest import COST, Books, Export

CALL, OTHER = "01a2021f-be70-7001-89a1-211e55170465", "01a2021f-be70-7001-89a1-211e55170466"
# 1,000 nano-dollars a token in, 2,500 out, a third of it in the batch tier.
ROWS: dict[str, dict[str, Any]] = {
    "a/b@1": {"rates": {"input": 1_000_000_000, "output": 2_500_000_000}, "factor": (1, 3)}
}


def kinds(export: Export) -> list[str]:
    """What an audit finds, by kind."""
    found, count = audit.audit(export.lines(), ROWS)
    assert count == len(export.entries)
    return [finding.kind for finding in found]


@pytest.fixture
def good() -> Export:
    """A settled call, a void one and an open one under a limit of 100."""
    export = Export()
    export.entry(CALL, "reserve", 60, scopes=["job:1"])
    export.entry(CALL, "shrink", 50)
    export.entry(CALL, "settle", 40)
    export.entry(OTHER, "reserve", 50, scopes=["job:1"])
    export.entry(OTHER, "void", 0)
    export.entry("third", "reserve", 60, scopes=["job:1"])
    export.holds.append({"call_id": "third", "amount_nanousd": 60, "in_doubt": False})
    export.scope("job:1", 100, settled=40, held=60)
    return export


def test_good_books(good: Export) -> None:
    assert kinds(good) == []


def test_settled_twice(good: Export) -> None:
    good.entry(CALL, "settle", 40, attempts=2)
    assert "ended_twice" in kinds(good)
    good.entries[-1]["attempts"] = 1
    assert {"twice", "ended_twice", "balance"} <= set(kinds(good))


def test_a_missing_reservation(good: Export) -> None:
    del good.entries[0]
    assert {"no_reserve", "balance"} <= set(kinds(good))


def test_wrong_sums(good: Export) -> None:
    good.scopes["job:1"]["settled"] = 41
    assert kinds(good) == ["balance"]
    good.scopes["job:1"]["settled"] = 40
    good.holds[0]["amount_nanousd"] = 59
    assert kinds(good) == ["hold"]
    good.holds.clear()
    assert kinds(good) == ["hold"]


def test_a_hold_of_nothing(good: Export) -> None:
    good.holds.append({"call_id": CALL, "amount_nanousd": 50, "in_doubt": False})
    good.holds.append({"call_id": "fourth", "amount_nanousd": 1, "in_doubt": True})
    assert kinds(good) == ["hold", "hold"]


def test_over_the_limit(good: Export) -> None:
    good.scopes["job:1"]["limit"] = 99
    assert kinds(good) == ["over_limit"]


def test_a_rolling_scope_is_checked_in_its_sum_alone(good: Export) -> None:
    good.scopes["job:1"].update(limit=10, rolling=True)
    assert kinds(good) == []
    good.scopes["job:1"]["settled"] = 39
    assert kinds(good) == ["balance"]


def test_over_the_limit_for_a_moment_only() -> None:
    export = Export()
    export.entry(CALL, "reserve", 60, scopes=["job:1"])
    export.entry(OTHER, "reserve", 50, scopes=["job:1"])
    export.entry(CALL, "settle", 1)
    export.entry(OTHER, "settle", 1)
    export.scope("job:1", 100, settled=2)
    assert kinds(export) == ["over_limit"]
    export.scopes["job:1"]["limit"] = 110
    assert kinds(export) == []


def test_an_overrun_explains_the_excess() -> None:
    export = Export()
    export.entry(CALL, "reserve", 50, scopes=["job:1"])
    settle = export.entry(CALL, "settle", 95)  # 45 more than was held
    export.scope("job:1", 100, settled=95)
    assert kinds(export) == ["overrun"]  # not said
    settle["overrun"] = True
    assert kinds(export) == []
    export.scopes["job:1"]["limit"] = 50
    assert kinds(export) == []
    # The next call would have to be refused: 95 and 1 are more than 50 and 45.
    export.entry(OTHER, "reserve", 1, scopes=["job:1"])
    export.entry(OTHER, "void", 0)
    assert kinds(export) == ["over_limit"]


def test_a_forced_booking_explains_itself() -> None:
    export = Export()
    reserve = export.entry(CALL, "reserve", 150, scopes=["job:1"])
    export.entry(CALL, "settle", 150, overrun=True, at_ns=reserve["at_ns"])
    export.scope("job:1", 100, settled=150)
    assert kinds(export) == []
    export.entries[1]["overrun"] = False
    assert kinds(export) == ["over_limit"]


def test_grants_move_the_limit() -> None:
    export = Export()
    export.entry(CALL, "reserve", 100, scopes=["job:1"])
    export.entry("grant-1", "grant", 50, scopes=["job:1"])
    export.entry(OTHER, "reserve", 50, scopes=["job:1"])
    export.entry(CALL, "settle", 100)
    export.entry(OTHER, "settle", 50)
    export.scope("job:1", 150, settled=150)
    assert kinds(export) == []
    export.entries[1]["at_ns"] = export.entries[4]["at_ns"] + 1  # it came too late
    assert kinds(export) == ["over_limit"]


def test_doubt_correction_and_refund() -> None:
    export = Export()
    export.entry(CALL, "reserve", 60, scopes=["job:1"])
    export.entry(CALL, "in_doubt", 60)
    export.scope("job:1", 100)
    export.scopes["job:1"]["in_doubt"] = 60
    export.holds.append({"call_id": CALL, "amount_nanousd": 60, "in_doubt": True})
    assert kinds(export) == []
    export.entry(CALL, "post_full", 60, attempts=0)
    export.entry(CALL, "correct", -20, attempts=1)
    export.entry(CALL, "refund", 10, attempts=0)
    export.holds.clear()
    export.scope("job:1", 100, settled=30)
    assert kinds(export) == []
    export.entry(CALL, "refund", 31, attempts=1)
    export.scope("job:1", 100, settled=-1)
    assert kinds(export) == ["refund"]


def test_a_correction_without_a_posting_and_an_amount_of_nothing(good: Export) -> None:
    good.entry(CALL, "correct", 5)
    good.scopes["job:1"]["settled"] = 45
    good.entries[4]["amount"] = 3
    assert sorted(kinds(good)) == ["correct", "over_limit", "void"]


def test_prices() -> None:
    export = Export()
    export.entry(CALL, "reserve", 60_000, scopes=["job:1"])
    # 5 * 1000 / 3 = 1666.67 and 3 * 2500 / 3 = 2500: 1667 + 2500; reasoning counts as output.
    used = {"input": 5, "output": 1, "reasoning": 2, "cache_read": 0}
    settle = export.entry(CALL, "settle", 4_167, price_version="a/b@1", usage=used)
    export.scope("job:1", None, settled=4_167)
    assert kinds(export) == []
    settle["usage"] = {**used, "input": 6}
    assert kinds(export) == ["price"]
    settle["evidence"] = "invoice 7"  # somebody said so
    assert kinds(export) == []
    settle["evidence"] = ""
    settle["price_version"] = "a/b@0"  # a row that is not known
    assert kinds(export) == []
    settle["reported_cost_nanousd"] = 4_167
    assert kinds(export) == []
    settle["reported_cost_nanousd"] = 4_168
    assert kinds(export) == ["price"]


def test_half_a_nano_dollar_goes_to_the_even_one() -> None:
    row = {"rates": {"input": 500_000}, "factor": (1, 1)}  # half a nano-dollar each
    assert [audit.cost_of(row, {"input": n}) for n in (1, 2, 3, 5)] == [0, 1, 2, 2]
    assert audit.cost_of({**row, "rate_dens": {"input": 5}}, {"input": 10}) == 1
    assert audit.cost_of(row, {"output": 1}) is None
    assert audit.cost_of(row, {"output": 0}) == 0


def test_files_that_are_no_export(good: Export) -> None:
    lines = good.lines()
    assert [f.kind for f in audit.audit(lines[:-1], {})[0]] == ["file"]  # cut off
    assert [f.kind for f in audit.audit(["{"], {})[0]] == ["file"]
    assert [f.kind for f in audit.audit(['{"record":"export","version":9}'], {})[0]] == ["file"]
    part = lines[0].replace('"to_ns": null', '"to_ns": 5')
    assert "file" in [f.kind for f in audit.audit([part, *lines[1:]], {})[0]]
    good.still = False
    good.scopes["job:1"]["settled"] = 1  # not compared: calls were running
    assert kinds(good) == ["file"]


def test_archived_months(books: Books, tmp_path: Path) -> None:
    """A month is made older behind the ledger's back: tests do not wait for one to end."""
    books.settled()
    books.gateway.close()
    with sqlite3.connect(books.path) as db:
        (month,) = db.execute("SELECT segment FROM segments").fetchone()
        db.execute(f"ALTER TABLE entries_{month} RENAME TO entries_202601")
        db.execute("UPDATE segments SET segment = 202601")
    db.close()
    archive = tmp_path / "older.db"
    with Gateway({"ledger": {"path": str(books.path), "durability": "process"}}) as gateway:
        done = gateway.ledger.archive(archive, before="2026-02")
        assert (done["segments"], done["entries"]) == (["2026-01"], 2)
        assert gateway.ledger.verify()["ok"]
        assert gateway.ledger.report([]) == []
        (row,) = gateway.ledger.report([], archives=[archive])
        assert (row.calls, row.cost) == (1, COST)
        assert asyncio.run(gateway.aio.ledger.report([], archives=[archive])) == [row]
        with pytest.raises(InvalidType, match="list of files"):
            gateway.ledger.report([], archives=str(archive))
        path = tmp_path / "books.jsonl"
        assert gateway.ledger.export(path) == 0
        (found,), _ = audit.audit(path.read_text().splitlines(), ROWS)
        assert found.kind == "balance"
        assert "archived" in found.text
        assert gateway.ledger.export(path, archives=[str(archive)]) == 2
        assert audit.audit(path.read_text().splitlines(), ROWS) == ([], 2)


def test_a_call_that_was_archived_cannot_be_changed_and_says_what_to_do(
    books: Books, tmp_path: Path
) -> None:
    call_id = books.settled()["call_id"]
    books.gateway.close()
    with sqlite3.connect(books.path) as db:
        (month,) = db.execute("SELECT segment FROM segments").fetchone()
        db.execute(f"ALTER TABLE entries_{month} RENAME TO entries_202601")
        db.execute("UPDATE segments SET segment = 202601")
    db.close()
    archive = tmp_path / "older.db"
    with Gateway({"ledger": {"path": str(books.path), "durability": "process"}}) as gateway:
        gateway.ledger.archive(archive, before="2026-02")
        before = gateway.ledger.scopes()
        with pytest.raises(BudgetConflict, match=rf"is in the archive .*older.db at {COST}"):
            gateway.ledger.resolve(call_id, usd="0.00001", evidence="invoice 7")
        with pytest.raises(BudgetConflict, match=r"granted to its scopes job:1 \(gw.ledger.grant"):
            gateway.wallet("account:7").refund(call_id, "0.000001", "came back")
        assert gateway.ledger.scopes()[0] == before[0]
        archive.rename(tmp_path / "moved.db")
        with pytest.raises(SluicewayError, match=r"may lie in the archive .*cannot be read"):
            gateway.wallet("account:7").refund(call_id, "0.000001", "came back")


def test_a_limit_that_was_replaced_is_audited(books: Books, tmp_path: Path) -> None:
    """Of three days two are over, each shown against the limit that it was closed with."""
    gateway = books.gateway
    books.settled()
    with gateway.budget("job:1", usd="0.50", replace=True):
        books.settled()
    (entry,) = (e for e in gateway.ledger.entries() if e["kind"] == "replace")
    assert entry["amount_nanousd"] == -500_000_000
    assert entry["evidence"] == "the configured limit was 1000000000 and is 500000000"
    assert entry["scopes"] == ["job:1"]
    path = tmp_path / "books.jsonl"
    gateway.ledger.export(path)
    assert audit.audit(path.read_text().splitlines(), ROWS) == ([], 5)
    assert gateway.ledger.verify()["ok"]


def test_a_real_export(books: Books, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    books.settled()
    books.in_doubt()
    posted = books.in_doubt()
    ledger = books.gateway.ledger
    ledger.resolve(posted, usd="0.00001", evidence="invoice 7")
    path = tmp_path / "books.jsonl"
    assert ledger.export(path) == 2 + 2 + 3
    assert audit.main([str(path)]) == 0
    assert "7 entries: nothing found" in capsys.readouterr().out

    def changed(find: str, replace: str) -> list[str]:
        text = path.read_text()
        assert find in text
        other = tmp_path / "other.jsonl"
        other.write_text(text.replace(find, replace, 1))
        status = audit.main([str(other), "--json"])
        report = json.loads(capsys.readouterr().out)
        assert status == (not report["ok"])
        return [finding["kind"] for finding in report["findings"]]

    # The real price row and usage say what it costs.
    assert {"price", "balance"} <= set(changed(f'"amount":{COST}', f'"amount":{COST - 1}'))
    assert "no_reserve" in changed('"kind":"reserve"', '"kind":"shrink"')
    assert changed('"limit":1000000000', '"limit":100000') == ["over_limit"]
    assert changed('"in_doubt":true', '"in_doubt":false') == ["hold"]
