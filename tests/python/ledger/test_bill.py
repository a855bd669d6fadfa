"""A provider's bill as CSV: what it would change, what it changes, what it refuses."""

from __future__ import annotations

import asyncio
from decimal import Decimal
from pathlib import Path

import pytest

from sluiceway import FileError, InvalidRequest
from tests.python.ledger.conftest import COST, Books

UNKNOWN = "01a2021f-be70-7001-89a1-211e55170465"


def bill(path: Path, *lines: str, header: str = "provider_request_id,amount,currency") -> str:
    """Writes a bill and returns its path."""
    path.write_text("\n".join([header, *lines]) + "\n")
    return str(path)


def test_dry_run_apply_and_again(books: Books, tmp_path: Path) -> None:
    settled = books.settled()
    doubted, posted = books.in_doubt(), ""
    ledger = books.gateway.ledger
    ledger.post_in_doubt(older_than_s=0)
    posted, doubted = doubted, books.in_doubt()
    held = {hold["call_id"]: hold["amount_nanousd"] for hold in ledger.holds()}
    path = bill(
        tmp_path / "bill.csv",
        f"{settled['provider_request_id']},,0.0000084,USD",
        f",{doubted},0.000007,USD",
        f",{doubted},0.000002,usd",
        f",{posted},0.00001,USD",
        f",{UNKNOWN},1.00,USD",
        "req_nobody,,0.5,USD",
        header="provider_request_id,call_id,amount,currency",
    )
    result = ledger.import_bill(path)
    assert not result.applied
    assert (result.lines, result.agreed) == (6, 1)
    changes = {change.call_id: change for change in result.changes}
    assert changes[doubted].action == "resolve"
    assert changes[doubted].before == Decimal(held[doubted]) / 10**9
    assert changes[doubted].after == Decimal("0.000009")
    assert changes[doubted].lines == (3, 4)
    assert (changes[posted].action, changes[posted].lines) == ("correct", (5,))
    assert {(one.id, one.reason) for one in result.refused} == {
        (UNKNOWN, "no such call here"),
        ("req_nobody", "no such call here"),
    }
    assert ledger.holds()[0]["call_id"] == doubted  # nothing was changed

    applied = ledger.import_bill(path, apply=True)
    assert applied.applied
    assert applied.changes == result.changes
    assert ledger.holds() == []
    assert ledger.history(doubted)[-1]["evidence"] == "bill bill.csv, line 3, 4"
    assert ledger.history(posted)[-1]["kind"] == "correct"
    (row,) = ledger.report([])
    assert row.cost == COST + 9_000 + 10_000

    again = ledger.import_bill(path, apply=True)
    assert (again.changes, again.agreed, len(again.refused)) == ((), 3, 2)
    assert ledger.report([])[0].cost == row.cost
    assert ledger.verify()["ok"]


def test_what_is_settled_otherwise_is_refused(books: Books, tmp_path: Path) -> None:
    request = books.settled()["provider_request_id"]
    result = books.gateway.ledger.import_bill(
        bill(tmp_path / "bill.csv", f"{request},0.0000085,USD"), apply=True
    )
    (refused,) = result.refused
    assert refused.reason == "it is settled at 0.000008400 USD"
    # A credit note beside it makes them agree.
    result = books.gateway.ledger.import_bill(
        bill(tmp_path / "bill.csv", f"{request},0.0000085,USD", f"{request},-0.0000001,USD")
    )
    assert (result.agreed, result.refused) == (1, ())
    result = books.gateway.ledger.import_bill(
        bill(tmp_path / "bill.csv", f"{request},-0.0000001,USD")
    )
    assert result.refused[0].reason.endswith("less than nothing")


@pytest.mark.parametrize(
    ("lines", "header", "words"),
    [
        (("r1,free,USD",), None, "line 2: amount='free' is not an amount"),
        (("r1,1.00,USD", "r2,1.00,EUR"), None, "line 3: the currency is 'EUR'"),
        ((",1.00,USD",), None, "line 2: call_id and provider_request_id are both empty"),
        (("r1,0.0000000001,USD",), None, "line 2: .*finer than a nano-dollar"),
        (("r1,1.00",), None, "line 2 has 2 columns, the header has 3"),
        (("x,-1,USD", "", "y,,USD", 'z,"1,00",USD'), None, "line 4: .*line 5: "),
        (('"a,1,USD',), None, "line 2: "),
        ((), "id,amount", "line 1 must name the columns"),
        ((), "call_id;amount", "separated by commas"),
        ((), "amount,amount,call_id", "twice"),
    ],
)
def test_lines_that_cannot_be_read_change_nothing(
    books: Books, tmp_path: Path, lines: tuple[str, ...], header: str | None, words: str
) -> None:
    doubted = books.in_doubt()
    named = header or "provider_request_id,amount,currency"
    path = bill(tmp_path / "bill.csv", *lines, header=named)
    with pytest.raises(InvalidRequest, match=words):
        books.gateway.ledger.import_bill(path, apply=True)
    assert books.gateway.ledger.holds()[0]["call_id"] == doubted


def test_a_bill_that_is_no_text_or_not_there(books: Books, tmp_path: Path) -> None:
    path = tmp_path / "bill.csv"
    path.write_bytes(b"call_id,amount\n\xff\xfe,1\n")
    with pytest.raises(InvalidRequest, match="UTF-8"):
        books.gateway.ledger.import_bill(path)
    with pytest.raises(FileError, match=r"none\.csv cannot be read: No such file"):
        books.gateway.ledger.import_bill(tmp_path / "none.csv")


def test_a_byte_order_mark_and_no_currency(books: Books, tmp_path: Path) -> None:
    request = books.settled()["provider_request_id"]
    path = tmp_path / "bill.csv"
    path.write_text(f"\ufeffAmount,provider_request_id,note\r\n0.0000084,{request},x\r\n")
    assert asyncio.run(books.gateway.aio.ledger.import_bill(path)).agreed == 1
