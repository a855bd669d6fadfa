"""A caller's idempotency key: its second use never sends, over processes too."""

from __future__ import annotations

from pathlib import Path

import pytest

from sluiceway import AlreadySubmitted, Gateway, InDoubt, RateLimited, Retry
from sluiceway.simulator import Simulator

MODEL = "openai/gpt-4o-mini"
SECOND = "anthropic/claude-haiku-4-5"


def test_a_second_use_never_sends(gw: Gateway, sim: Simulator) -> None:
    first = gw.chat(MODEL, "hi", idempotency_key="video-42/script")
    with pytest.raises(AlreadySubmitted) as caught:
        gw.chat(MODEL, "hi", idempotency_key="video-42/script")
    assert caught.value.first_call_id == first.call_id
    assert caught.value.outcome == "never_sent"
    assert not caught.value.retryable
    assert sim.executions()["total"] == 1
    gw.chat(MODEL, "hi", idempotency_key="video-42/script", tenant="other")  # unique per tenant
    assert sim.executions()["total"] == 2


def test_what_is_in_doubt_is_not_sent_again_by_a_redelivery(gw: Gateway, sim: Simulator) -> None:
    sim.script([{"match": {"nth": 1}, "action": {"fault": "drop_after"}}])
    with pytest.raises(InDoubt):
        gw.chat(MODEL, "hi", idempotency_key="k")
    with pytest.raises(AlreadySubmitted):
        gw.chat(MODEL, "hi", idempotency_key="k")
    assert sim.executions()["total"] == 1


def test_a_chain_shares_its_key(gw: Gateway, sim: Simulator) -> None:
    sim.script([{"match": {"provider": "openai"}, "action": {"fault": "status", "status": 429}}])
    r = gw.chat(MODEL, "hi", fallbacks=[SECOND], idempotency_key="k")
    assert r.model == SECOND
    with pytest.raises(AlreadySubmitted):
        gw.chat(MODEL, "hi", fallbacks=[SECOND], idempotency_key="k")
    assert sim.executions()["total"] == 1


def test_a_refused_call_may_be_made_again(gw: Gateway, sim: Simulator) -> None:
    sim.script([{"match": {"nth": 1}, "action": {"fault": "status", "status": 429}}])
    once = gw.with_options(retry=Retry(attempts=1))
    with pytest.raises(RateLimited) as caught:
        once.chat(MODEL, "hi", idempotency_key="k")
    assert caught.value.retryable
    assert once.chat(MODEL, "hi", idempotency_key="k").text


def test_over_a_restart(sim: Simulator, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SLUICEWAY_SIMULATOR_URL", sim.http_url)
    monkeypatch.setenv("SLUICEWAY_LEDGER", str(tmp_path / "books.db"))
    with Gateway.from_env() as gw:
        first = gw.chat(MODEL, "hi", idempotency_key="k")
    with Gateway.from_env() as gw, pytest.raises(AlreadySubmitted) as caught:
        gw.chat(MODEL, "hi", idempotency_key="k")
    assert caught.value.first_call_id == first.call_id
