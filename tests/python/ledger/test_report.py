"""`gw.ledger.report` and `history`: every figure follows from the calls that were made."""

from __future__ import annotations

import asyncio
import datetime
import json
from decimal import Decimal

import pytest

from sluiceway import InvalidRequest, InvalidType
from sluiceway.ledger.rows import instant_ns, zone_of
from tests.python.ledger.conftest import COST, Books


def test_by_model_with_usage_and_latency(books: Books) -> None:
    books.settled()
    books.settled()
    doubted = books.in_doubt()
    (row,) = books.gateway.ledger.report()
    assert row["provider"] == "openai"
    assert row["model"] == "gpt-6-luna"
    assert (row.calls, row.settled, row.in_doubt, row.voided, row.open) == (3, 2, 1, 0, 0)
    assert row.cost == 2 * COST
    assert row.usd == Decimal("0.0000168")
    assert (row.usage.input_tokens, row.usage.output_tokens) == (8, 32)
    (hold,) = books.gateway.ledger.holds()
    assert row.held_in_doubt == hold["amount_nanousd"]
    assert row.latency.count == 2
    assert row.latency.min_ms is not None
    assert row.latency.p50_ms is not None
    assert row.latency.max_ms is not None
    assert 0 < row.latency.min_ms <= row.latency.p50_ms <= row.latency.max_ms
    assert row.estimated_share == 0

    books.gateway.ledger.resolve(doubted, usd="0.00001", evidence="invoice 7")
    (row,) = books.gateway.ledger.report([])
    assert row.key == ()
    assert (row.cost, row.settled, row.in_doubt) == (2 * COST + 10_000, 3, 0)
    assert row.latency.count == 2  # how long the resolved one took is not known
    with pytest.raises(KeyError):
        row["model"]


def test_periods_and_bounds(books: Books) -> None:
    entry = books.settled()
    at = datetime.datetime.fromtimestamp(entry["at_ns"] // 10**9, datetime.UTC)
    (row,) = books.gateway.ledger.report(["hour", "day", "month", "service_month"])
    assert row.key == (f"{at:%Y-%m-%dT%H}", f"{at:%Y-%m-%d}", f"{at:%Y-%m}", f"{at:%Y-%m}")
    # Kiritimati is 14 hours ahead, and knows no summer time.
    there = at + datetime.timedelta(hours=14)
    (row,) = books.gateway.ledger.report(["day"], time_zone="Pacific/Kiritimati")
    assert row["day"] == f"{there:%Y-%m-%d}"

    exact = entry["at_ns"] / 1e9
    assert books.gateway.ledger.report([], from_=exact - 1, to=exact + 1)[0].calls == 1
    assert books.gateway.ledger.report([], from_=exact + 1) == []
    assert books.gateway.ledger.report([], to=at - datetime.timedelta(seconds=1)) == []


def test_filters(books: Books) -> None:
    books.settled()
    report = books.gateway.ledger.report
    assert report([], scope="job:1")[0].calls == 1
    assert report([], scope="job")[0].calls == 1
    assert report([], scope="job:2") == []
    assert report([], where={"provider": "openai", "tenant": "default"})[0].calls == 1
    assert report([], where={"model": "gpt-6-sol"}) == []
    assert report([], tags={"team": "films"}) == []


def test_rows_are_flat_for_tables(books: Books) -> None:
    books.settled()
    (row,) = books.gateway.ledger.report(["model"])
    flat = row.as_dict()
    assert flat["model"] == "gpt-6-luna"
    assert flat["usage_output"] == 16
    assert flat["latency_count"] == 1
    assert json.loads(json.dumps(flat, default=str))["usd"] == "0.000008400"


def test_wrong_questions(books: Books) -> None:
    report = books.gateway.ledger.report
    with pytest.raises(InvalidRequest, match=r"'modle'.*service_month"):
        report(["modle"])
    with pytest.raises(InvalidType, match=r'by=\["model"\]'):
        report("model")
    with pytest.raises(InvalidRequest, match="Mars"):
        report([], time_zone="Mars/Olympus")
    with pytest.raises(InvalidRequest, match="yesterday"):
        report([], from_="yesterday")
    with pytest.raises(InvalidRequest, match="from and to"):
        report([], where={"day": "2026-11-22"})


def test_history_has_corrections_as_rows_of_their_own(books: Books) -> None:
    call = books.in_doubt()
    ledger = books.gateway.ledger
    (hold,) = ledger.holds()
    assert ledger.post_in_doubt(older_than_s=3_600) == 0
    assert ledger.post_in_doubt(older_than_s=0) == 1
    ledger.resolve(call, usd="0.00001", evidence="invoice 7")
    ledger.resolve(call, usd="0.000009", evidence="invoice 7, credit note")
    books.settled()
    history = ledger.history(call)
    held = hold["amount_nanousd"]
    assert [(entry["kind"], entry["amount_nanousd"]) for entry in history] == [
        ("reserve", held),
        ("in_doubt", held),
        ("post_full", held),
        ("correct", 10_000 - held),
        ("correct", -1_000),
    ]
    assert history[-1]["evidence"] == "invoice 7, credit note"
    (row,) = ledger.report([])
    assert (row.calls, row.posted, row.cost) == (2, 1, 9_000 + COST)
    assert ledger.history("01a2021f-be70-7001-89a1-211e55170465") == []
    with pytest.raises(InvalidRequest):
        ledger.history("nonsense")


def test_the_async_twin(books: Books) -> None:
    entry = books.settled()

    async def ask() -> None:
        ledger = books.gateway.aio.ledger
        assert (await ledger.report([]))[0].cost == COST
        assert len(await ledger.history(entry["call_id"])) == 2
        assert (await ledger.verify())["ok"]
        assert await ledger.holds() == []
        assert (await ledger.scopes())[0]["name"] == "job:1"
        assert len(await ledger.entries()) == 2
        assert await ledger.post_in_doubt(older_than_s=0) == 0

    asyncio.run(ask())


@pytest.mark.parametrize(
    ("value", "expected"),
    [
        (None, None),
        ("1970-01-02", 86_400_000_000_000),
        ("1970-01-01T00:00:00.000001Z", 1_000),
        ("1970-01-01T01:00+01:00", 0),
        (datetime.date(1970, 1, 2), 86_400_000_000_000),
        (datetime.datetime(1970, 1, 1, 0, 0, 1, tzinfo=datetime.UTC), 1_000_000_000),
        (1_795_305_600, 1_795_305_600_000_000_000),
        (0.5, 500_000_000),
    ],
)
def test_instants(value: object, expected: int | None) -> None:
    assert instant_ns(value, "from_", zone_of("UTC")) == expected  # type: ignore[arg-type]


def test_an_instant_without_an_offset_is_in_the_zone() -> None:
    # 1970 began an hour earlier in Berlin.
    assert instant_ns("1970-01-01", "from_", zone_of("Europe/Berlin")) == -3_600_000_000_000
    with pytest.raises(InvalidType):
        instant_ns(True, "from_", zone_of("UTC"))
    with pytest.raises(InvalidRequest):
        instant_ns(float("nan"), "from_", zone_of("UTC"))
