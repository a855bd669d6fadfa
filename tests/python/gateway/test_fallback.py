"""Chains: the next provider is asked where the failed one surely cost nothing, and not else."""

from __future__ import annotations

import logging

import pytest

from sluiceway import (
    BadRequest,
    Gateway,
    InDoubt,
    InvalidRequest,
    NoMoney,
    Overloaded,
    RateLimited,
    UnknownModel,
)
from sluiceway.simulator import Simulator

FIRST = "openai/gpt-4o-mini"
SECOND = "anthropic/claude-haiku-4-5"


def fail_openai(**action: object) -> list[dict[str, object]]:
    return [{"match": {"provider": "openai"}, "action": {"fault": "status", **action}}]


@pytest.mark.parametrize(
    ("action", "kind"),
    [
        ({"status": 429}, "rate_limited"),
        ({"status": 503}, "overloaded"),
        ({"status": 429, "flavour": "insufficient_quota"}, "no_money"),
        ({"status": 401}, "authentication"),
    ],
)
def test_it_follows(gw: Gateway, sim: Simulator, action: dict[str, object], kind: str) -> None:
    sim.script(fail_openai(**action))
    r = gw.chat(FIRST, "hi", fallbacks=[SECOND])
    assert r.model == SECOND
    assert r.served_by.startswith("anthropic/")
    assert [hop.error_kind for hop in r.hops] == [kind, "none"]
    assert [hop.model for hop in r.hops] == [FIRST, SECOND]
    assert {hop.held for hop in r.hops} == {0}
    assert r.attempts[-1].model == SECOND
    assert r.attempts[0].error_kind == kind
    assert r.cost.nanousd == sim.bill()["total_nanousd"]
    # One intent over both hops, two calls in the books, nothing left open.
    entries = gw.ledger.entries()
    assert {entry["intent_id"] for entry in entries if entry["intent_id"]} == {r.intent_id}
    assert gw.ledger.holds() == []
    assert gw.ledger.verify()["ok"]


def test_it_does_not_follow_what_may_have_been_billed(gw: Gateway, sim: Simulator) -> None:
    sim.script([{"match": {"provider": "openai"}, "action": {"fault": "drop_after"}}])
    with pytest.raises(InDoubt) as caught:
        gw.chat(FIRST, "hi", fallbacks=[SECOND])
    assert caught.value.outcome == "in_doubt"
    assert caught.value.held > 0
    assert not caught.value.retryable
    assert sim.executions()["total"] == 1


def test_it_follows_after_doubt_when_told_and_both_holds_stay(gw: Gateway, sim: Simulator) -> None:
    sim.script([{"match": {"provider": "openai"}, "action": {"fault": "drop_after"}}])
    r = gw.chat(FIRST, "hi", fallbacks=[SECOND], fallback_in_doubt=True)
    assert r.model == SECOND
    assert r.hops[0].held > 0
    assert sim.executions()["total"] == 2
    holds = gw.ledger.holds()
    assert [hold["in_doubt"] for hold in holds] == [True]


def test_it_does_not_follow_a_bad_request(gw: Gateway, sim: Simulator) -> None:
    sim.script(fail_openai(status=400))
    with pytest.raises(BadRequest) as caught:
        gw.chat(FIRST, "hi", fallbacks=[SECOND])
    assert caught.value.outcome == "refused"
    assert sim.executions()["total"] == 0


def test_when_all_fail_the_last_error_names_every_hop(gw: Gateway, sim: Simulator) -> None:
    sim.script(
        [
            *fail_openai(status=429, flavour="insufficient_quota"),
            {"match": {"provider": "anthropic"}, "action": {"fault": "status", "status": 529}},
        ]
    )
    with pytest.raises(Overloaded) as caught:
        gw.chat(FIRST, "hi", fallbacks=[SECOND])
    assert [hop.error_kind for hop in caught.value.hops] == ["no_money", "overloaded"]
    assert caught.value.provider == "anthropic"
    assert {attempt.model for attempt in caught.value.attempts} == {FIRST, SECOND}


def test_mistakes_in_the_chain_are_found_before_anything_is_sent(
    gw: Gateway, sim: Simulator
) -> None:
    with pytest.raises(UnknownModel):
        gw.chat(FIRST, "hi", fallbacks=["antropic/claude-haiku-4-5"])
    with pytest.raises(InvalidRequest, match="seed"):
        gw.chat(FIRST, "hi", seed=3, fallbacks=[SECOND])
    with pytest.raises(InvalidRequest):
        gw.chat(FIRST, "hi", fallbacks="anthropic/claude-haiku-4-5")
    assert sim.executions()["total"] == 0
    assert gw.stats().get("submitted", 0) == 0


def test_no_money_is_not_tried_again(gw: Gateway, sim: Simulator) -> None:
    sim.script(fail_openai(status=429, flavour="insufficient_quota"))
    with pytest.raises(NoMoney) as caught:
        gw.chat(FIRST, "hi")
    assert len(caught.value.attempts) == 1
    assert not caught.value.retryable


def test_a_chain_is_logged_without_prompt_and_key(
    gw: Gateway, sim: Simulator, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.DEBUG, "sluiceway")
    sim.script(fail_openai(status=429))
    gw.chat(FIRST, "a very secret prompt", fallbacks=[SECOND])
    events = [getattr(record, "event", "") for record in caplog.records]
    assert "fallback" in events
    assert "retry" in events
    fallback = next(r for r in caplog.records if getattr(r, "event", "") == "fallback")
    assert vars(fallback)["provider"] == "openai"
    assert vars(fallback)["detail"] == f"to {SECOND} after rate_limited (refused)"
    assert "secret" not in caplog.text
    assert "not-a-secret" not in caplog.text


def test_a_stream_falls_back_before_its_first_delta(gw: Gateway, sim: Simulator) -> None:
    sim.script(fail_openai(status=429))
    with gw.stream(FIRST, "hi", fallbacks=[SECOND]) as s:
        text = "".join(delta.text for delta in s)
        r = s.result()
    assert r.text == text
    assert r.model == s.model == SECOND
    assert r.hops[0].error_kind == "rate_limited"


def test_the_deadline_covers_the_chain(gw: Gateway, sim: Simulator) -> None:
    sim.script(fail_openai(status=429, retry_after_s=60))
    with pytest.raises(RateLimited) as caught:
        gw.chat(FIRST, "hi", timeout_s=1)
    assert caught.value.retry_after_s == 60
    assert caught.value.retryable
