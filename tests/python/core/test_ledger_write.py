"""Grants, bookings, refunds and rows of jobs, through the compiled core, on both kinds of ledger.

Amounts are small integers, so that every balance can be added up in the head.
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from sluiceway import _core
from sluiceway.errors import BudgetConflict, ConfigError, InvalidRequest

CALL = "01890000-0000-7000-8000-000000000001"
OTHER = "01890000-0000-7000-8000-000000000002"


@pytest.fixture(params=["memory", "file"])
def engine(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[_core.Engine]:
    path = ":memory:" if request.param == "memory" else str(tmp_path / "ledger.db")
    engine = _core.Engine({"ledger_path": path, "durability": "process"})
    yield engine
    report = engine.ledger_verify()
    engine.close()
    assert report["problems"] == []


def kinds(engine: _core.Engine) -> list[tuple[str, int]]:
    return [(entry["kind"], entry["amount_nanousd"]) for entry in engine.ledger_entries()]


def book(engine: _core.Engine, scopes: list[_core.Scope], amount: int, **rest: Any) -> Any:
    return engine.ledger_book(scopes, amount, **rest)


def test_a_booking_is_admitted_or_refused_by_all_scopes(engine: _core.Engine) -> None:
    video, day = engine.open_scope("video", "42", 100), engine.open_scope("day", "", 70)
    booked = book(engine, [video, day], 60, operation="storage", usage={"seconds": 5})
    assert booked["admitted"]
    assert not booked["duplicate"]
    assert booked["scope"] == "video:42"
    assert booked["balance"] == {
        "limit": 100,
        "settled": 60,
        "held": 0,
        "in_doubt": 0,
        "blocked": False,
    }
    refused = book(engine, [video, day], 11)
    assert not refused["admitted"]
    assert (refused["scope"], refused["balance"]["settled"]) == ("day", 60)
    assert video.balance()["settled"] == day.balance()["settled"] == 60
    assert kinds(engine) == [("reserve", 60), ("settle", 60)]
    settle = engine.ledger_entries()[1]
    assert settle["usage"] == {"seconds": 5}
    assert (settle["provider"], settle["operation"]) == ("local", "storage")


def test_a_forced_booking_overruns_and_blocks_only_what_is_over(engine: _core.Engine) -> None:
    video, day = engine.open_scope("video", "42", 100), engine.open_scope("day", "", 1_000)
    book(engine, [video, day], 80)
    booked = book(engine, [video, day], 50, force=True, evidence="GPU hour")
    assert booked["admitted"]
    assert booked["overrun"]
    assert booked["balance"]["settled"] == 130
    assert booked["balance"]["blocked"]
    assert not day.balance()["blocked"]
    report = engine.ledger_verify()
    assert report["over_limit"] == ["video:42 is 30 above its limit; overruns explain 30"]
    assert not book(engine, [video], 1)["admitted"]
    assert engine.ledger_grant(video, 30, "invoice 1") == 130
    assert not video.balance()["blocked"]
    assert not book(engine, [video], 1)["admitted"]
    assert engine.ledger_grant(video, 1, "invoice 2") == 131
    assert book(engine, [video], 1)["admitted"]


def test_an_idempotency_key_books_once(engine: _core.Engine) -> None:
    video = engine.open_scope("video", "42", 100)
    first = book(engine, [video], 10, idempotency_key="task-1", tenant="acme")
    again = book(engine, [video], 10, idempotency_key="task-1", tenant="acme")
    assert again["duplicate"]
    assert again["admitted"]
    assert again["call_id"] == first["call_id"]
    assert video.balance()["settled"] == 10
    assert not book(engine, [video], 10, idempotency_key="task-1", tenant="other")["duplicate"]


def test_grants_are_entries_and_outlive_a_new_configuration(engine: _core.Engine) -> None:
    wallet = engine.open_scope("account", "7", 0, unit="credit")
    assert wallet.unit == "credit"
    assert not book(engine, [wallet], 1)["admitted"]
    assert engine.ledger_grant(wallet, 500, "payment 1") == 500
    assert book(engine, [wallet], 200)["admitted"]
    with pytest.raises(BudgetConflict, match=r"to 0\.199 credit: 0\.2 credit is used"):
        engine.ledger_grant(wallet, -301, "too much")
    assert engine.ledger_grant(wallet, -300, "expired") == 200
    entry = engine.ledger_entries()[0]
    assert (entry["kind"], entry["scopes"], entry["unit"]) == ("grant", ["account:7"], "credit")
    assert entry["evidence"] == "payment 1"
    assert engine.open_scope("account", "7", 0, unit="credit").balance()["limit"] == 200
    assert (
        engine.open_scope("account", "7", 50, unit="credit", replace=True).balance()["limit"] == 250
    )
    with pytest.raises(BudgetConflict):
        engine.open_scope("account", "7", 50, unit="nanousd")


def test_what_a_grant_refuses(engine: _core.Engine) -> None:
    free = engine.open_scope("all", "", None)
    with pytest.raises(BudgetConflict, match="no limit"):
        engine.ledger_grant(free, 1, "x")
    video = engine.open_scope("video", "42", 100)
    for amount in (0, 2**63 - 1):
        with pytest.raises(ConfigError):
            engine.ledger_grant(video, amount, "x")
    assert video.balance()["limit"] == 100


def test_refunds_never_pass_the_cost(engine: _core.Engine) -> None:
    video = engine.open_scope("video", "42", 100)
    call_id = book(engine, [video], 60)["call_id"]
    assert engine.ledger_refund([call_id], 25, "returned") == (True, 35)
    assert engine.ledger_refund([call_id], 36, "more than that") == (False, 35)
    assert engine.ledger_refund([call_id], 35, "rest") == (True, 0)
    assert engine.ledger_refund([call_id], 1, "more") == (False, 0)
    with pytest.raises(InvalidRequest, match="not in account:7"):
        engine.ledger_refund([call_id], 1, "another's", ["account:7"])
    with pytest.raises(InvalidRequest):
        engine.ledger_refund([OTHER], 1, "unknown")
    with pytest.raises(InvalidRequest):
        engine.ledger_refund(["nonsense"], 1, "unknown")
    with pytest.raises(ConfigError):
        engine.ledger_refund([call_id], 0, "nothing")
    assert video.balance()["settled"] == 0
    assert kinds(engine) == [("reserve", 60), ("settle", 60), ("refund", 25), ("refund", 35)]
    assert engine.ledger_verify()["calls"] == 1


def test_units_never_mix(engine: _core.Engine) -> None:
    credits = engine.open_scope("account", "7", 100, unit="credit")
    video = engine.open_scope("video", "42", 100)
    with pytest.raises(ConfigError, match="unit"):
        book(engine, [credits, video], 1)
    with pytest.raises(ConfigError):
        book(engine, [video], -1)
    with pytest.raises(InvalidRequest, match="bucket"):
        book(engine, [video], 1, usage={"moonbeams": 1})


def test_changes_follow_the_commits(engine: _core.Engine) -> None:
    video = engine.open_scope("video", "42", 100)
    assert engine.ledger_changes(0, 10) == ([], 0)
    first = book(engine, [video], 60)["call_id"]
    second = book(engine, [video], 20)["call_id"]
    engine.ledger_refund([first], 5, "back")
    rows, cursor = engine.ledger_changes(0, 3)
    assert [row["kind"] for row in rows] == ["reserve", "settle", "reserve", "settle"]
    assert rows[2]["call_id"] == second
    rows, last = engine.ledger_changes(cursor, 10)
    assert [(row["kind"], row["call_id"]) for row in rows] == [("refund", first)]
    assert engine.ledger_changes(last, 10) == ([], last)


def test_a_rolling_scope_is_shown_once(engine: _core.Engine) -> None:
    hour = engine.open_scope("hour", "", 100, rolling_s=3600.0)
    book(engine, [hour], 60)
    (shown,) = engine.ledger_scopes()
    assert (shown["name"], shown["limit"], shown["settled"]) == ("hour", 100, 60)
    before = engine.ledger_time_s()
    engine.ledger_reanchor()
    assert engine.ledger_time_s() >= before


def job(engine: _core.Engine, call_id: str, provider_job_id: str) -> None:
    engine.job_create(
        call_id,
        provider="fal",
        account="main",
        tenant="acme",
        key_id="key-1",
        provider_job_id=provider_job_id,
        request='{"prompt":"a boat"}',
    )


def test_rows_of_jobs(engine: _core.Engine) -> None:
    assert engine.job_get("job-1") is None
    job(engine, CALL, "job-1")
    job(engine, CALL, "job-1")  # the same again is fine
    with pytest.raises(InvalidRequest, match="another call"):
        job(engine, OTHER, "job-1")
    with pytest.raises(InvalidRequest, match="has a job"):
        job(engine, CALL, "job-2")
    found = engine.job_get("job-1")
    assert found is not None
    assert found == engine.job_get(CALL)
    assert (found["state"], found["tenant"], found["key_id"]) == ("running", "acme", "key-1")
    assert found["request"] == '{"prompt":"a boat"}'
    assert found["result"] == ""
    engine.job_update(CALL, state="done", result='{"url":"x"}')
    assert engine.job_list("running") == []
    (done,) = engine.job_list("done")
    assert done["result"] == '{"url":"x"}'
    engine.job_update(CALL, state="fetched")
    assert engine.job_list() == [engine.job_get(CALL)]
    assert engine.job_list()[0]["result"] == '{"url":"x"}'
    with pytest.raises(InvalidRequest):
        engine.job_update(OTHER, state="done")
    with pytest.raises(BudgetConflict, match="ended"):
        engine.job_update(CALL, settle=5)
    with pytest.raises(ConfigError):
        engine.job_update(CALL, settle=5, release=True)


def test_archives(tmp_path: Path) -> None:
    engine = _core.Engine({"ledger_path": str(tmp_path / "ledger.db"), "durability": "process"})
    video = engine.open_scope("video", "42", 100)
    book(engine, [video], 60)
    archive = str(tmp_path / "archive.db")
    # Nothing is closed: the entries are of the running month. Older months: tests/cpp/store.
    assert engine.ledger_archive("2999-12", archive) == {
        "segments": [],
        "kept": [],
        "entries": 0,
        "path": archive,
    }
    with pytest.raises(ConfigError, match="2026-09"):
        engine.ledger_archive("September", archive)
    with pytest.raises(InvalidRequest, match="no archive"):
        _core.Engine.archive_verify(archive)
    with pytest.raises(ConfigError, match="not an archive"):
        _core.Engine.archive_entries(str(tmp_path / "ledger.db"))
    engine.close()


def test_what_was_written_outlives_the_engine(tmp_path: Path) -> None:
    options = {"ledger_path": str(tmp_path / "ledger.db"), "durability": "process"}
    engine = _core.Engine(options)
    wallet = engine.open_scope("account", "7", 10)
    engine.ledger_grant(wallet, 90, "payment")
    call_id = engine.ledger_book([wallet], 60, idempotency_key="k")["call_id"]
    job(engine, CALL, "job-1")
    engine.close()
    engine = _core.Engine(options)
    wallet = engine.open_scope("account", "7", 10)
    assert wallet.balance()["limit"] == 100
    assert wallet.balance()["settled"] == 60
    assert engine.ledger_book([wallet], 60, idempotency_key="k")["call_id"] == call_id
    assert engine.ledger_refund([call_id], 60, "returned") == (True, 0)
    assert engine.job_get("job-1") is not None
    assert engine.ledger_verify()["ok"]
    engine.close()
