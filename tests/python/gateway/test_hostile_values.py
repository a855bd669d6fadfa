"""What no caller should hand over, to every public function about money, prices and the ledger.

Each argument in turn gets each value, the others are right. A value may be taken; what is refused
is refused by an error of ours that says what would do, never by one of Python's.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from decimal import Decimal
from pathlib import Path
from typing import Any

import pytest

from sluiceway import FileError, Gateway, InvalidRequest, InvalidType, SluicewayError

HOSTILE: tuple[Any, ...] = (
    *(None, True, 0, -1, 2**63, 10**30, 0.5, float("nan"), float("inf"), -float("inf"), 1j),
    *(
        "",
        "x",
        "-1",
        "NaN",
        "inf",
        "1e400",
        "9" * 5000,
        "0.0000000001",
        "2026-13-01",
        "k:v",
        "hour",
    ),
    *("a\ud800", "k:\ud800", "\0", "a\nb", "k:" + "x" * 10_000, b"x", b"\xff", [], ["x"], [None]),
    *((), {}, {"a": 1}, object(), range(3), Decimal("NaN"), Decimal("sNaN"), Decimal("Infinity")),
    *(Decimal("1E+1000000"), Decimal("1E-1000000")),
)
Call = tuple[Callable[..., Any], dict[str, Any]]


@pytest.fixture
def gw(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Gateway]:
    monkeypatch.chdir(tmp_path)
    with Gateway({"ledger": {"path": str(tmp_path / "l.db"), "durability": "process"}}) as gateway:
        yield gateway


def calls(gw: Gateway) -> dict[str, Call]:
    """Every function with arguments that are right."""
    wallet = gw.wallet("account:7")
    wallet.top_up("1000", "cash")
    spent = wallet.deduct("500", "x")
    budget = gw.budget("video:1", usd="1.00")
    ledger, estimate = gw.ledger, gw.estimate
    terms = ("period", "time_zone", "rolling_s", "on_exceed", "fallbacks", "warn", "critical")
    span = {"from_": None, "to": None, "archives": ()}
    why = {"amount": "0.001", "idempotency_key": None}
    local = {"note": "", "provider": "local", "model": ""}
    speak = {"text": "x", "expected_s": None, "seconds_max": None, "account": None}
    heard = {"seconds": 3, "max_output_tokens": None, "account": None}
    scene = {"seconds": 4, "size": "", "quality": "", "n": 1, "account": None}
    return {
        "budget": (
            gw.budget,
            {"name": "video:2", "usd": "1", "replace": True, **dict.fromkeys((*terms, "statuses"))},
        ),
        "component": (budget.component, {"name": "voice"}),
        "wallet": (gw.wallet, {"name": "account:8", "unit": None}),
        "credits": (
            gw.credits,
            {"name": "a:9", "unit": None, "monthly": 5, "time_zone": None, "replace": True},
        ),
        "top_up": (wallet.top_up, {**why, "evidence": "e"}),
        "withdraw": (wallet.withdraw, {**why, "evidence": "e"}),
        "deduct": (wallet.deduct, {**why, "reason": "r", "operation": "o", "force": False}),
        "refund": (wallet.refund, {**why, "call": spent, "reason": "r"}),
        "can_afford": (wallet.can_afford, {"amount": 1}),
        "history": (wallet.history, {"since_s": 0.0, "until_s": 1.0}),
        "usage": (wallet.usage, {"by": "day", "since_s": 0.0}),
        "book": (
            gw.book,
            {
                **local,
                "operation": "o",
                "usd": "0.001",
                "quantity": None,
                "unit": "",
                "idempotency_key": None,
                "force": False,
            },
        ),
        "local_cost": (gw.local_cost, {**local, "operation": "o", "usd_per_s": "1", "unit": "s"}),
        "add": (gw.local_cost("o", usd_per_s="9000000000").add, {"duration_ns": 1}),
        "reload_budgets": (gw.reload_budgets, {"config": {}}),
        "update_prices": (gw.update_prices, {"path": "none.json", "sha256": "0" * 64}),
        "entries": (ledger.entries, {"from_s": 0.0, "to_s": 1.0, "limit": 1}),
        "entry_history": (ledger.history, {"call_id": spent.call_id}),
        "report": (
            ledger.report,
            {**span, "by": [], "scope": "", "tags": None, "where": None, "time_zone": "UTC"},
        ),
        "resolve": (ledger.resolve, {"call_id": spent.call_id, "usd": "1", "evidence": "e"}),
        "post_in_doubt": (ledger.post_in_doubt, {"older_than_s": 1}),
        "grant": (ledger.grant, {"scope": "video:1", "usd": "0.01", "evidence": "e"}),
        "archive": (ledger.archive, {"path": "a.db", "before": "2020-01"}),
        "export": (ledger.export, {**span, "path": "x.jsonl", "format": None}),
        "arrow": (ledger.arrow, span),
        "import_bill": (ledger.import_bill, {"path": "none.csv", "apply": False}),
        "embeddings": (estimate.embeddings, {"model": "openai/tts-1", "texts": ["x"]}),
        "speech": (estimate.speech, {"model": "openai/tts-1", **speak}),
        "transcription": (estimate.transcription, {"model": "openai/whisper-1", **heard}),
        "video": (estimate.video, {"model": "openai/sora-2", **scene}),
    }


NAMES = (
    *("budget", "component", "wallet", "credits", "top_up", "withdraw", "deduct", "refund"),
    *("can_afford", "history", "usage", "book", "local_cost", "add", "reload_budgets"),
    *("update_prices", "entries", "entry_history", "report", "resolve", "post_in_doubt", "grant"),
    *(
        "archive",
        "export",
        "arrow",
        "import_bill",
        "embeddings",
        "speech",
        "transcription",
        "video",
    ),
)


@pytest.mark.parametrize("name", NAMES)
def test_only_typed_errors(gw: Gateway, name: str) -> None:
    fn, right = calls(gw)[name]
    for argument in right:
        for value in HOSTILE:
            try:
                fn(**{**right, argument: value})
            except SluicewayError:
                pass
            except Exception as error:
                raise AssertionError(f"{name}({argument}={value!r:.60}) leaks") from error
    assert gw.ledger.verify()["ok"]


def test_none_is_left_out(gw: Gateway) -> None:
    assert sorted(calls(gw)) == sorted(NAMES)


def test_the_errors_say_what_to_do(gw: Gateway) -> None:
    wallet = gw.wallet("account:7")
    with pytest.raises(InvalidRequest, match=r"amount=1E\+1000000 is no"):
        wallet.top_up(Decimal("1E+1000000"), "cash")
    with pytest.raises(InvalidRequest, match="evidence has half a character"):
        wallet.top_up(1, "a\ud800")
    with pytest.raises(InvalidType, match="force is a str, not True or False"):
        wallet.deduct(1, "x", force="yes")  # type: ignore[arg-type]
    with pytest.raises(InvalidType, match="replace is an int, not True or False"):
        gw.budget("video:1", usd="1", replace=1)  # type: ignore[arg-type]
    with pytest.raises(InvalidRequest, match="since_s=nan is no time"):
        wallet.history(float("nan"))
    with pytest.raises(InvalidType, match="where is a str, not a dict of strs"):
        gw.ledger.report(where="x")  # type: ignore[arg-type]
    with pytest.raises(FileError, match=r"none\.csv cannot be read: No such file"):
        gw.ledger.import_bill("none.csv")
    with pytest.raises(FileError, match=r"no/x\.csv cannot be written: No such file"):
        gw.ledger.export("no/x.csv")
    with pytest.raises(InvalidRequest, match="costs more than"):
        gw.local_cost("o", usd_per_s="9000000000").add(2**62)
