"""Limits and breakers from the configuration, as calls meet them."""

from __future__ import annotations

import logging

import pytest

from sluiceway import BreakerOpen, Gateway, InDoubt, LimitExceeded, RequestTooLarge
from sluiceway._hub import limits_spec
from sluiceway.simulator import Simulator

MODEL = "openai/gpt-4o-mini"


def test_the_classic_bucket_is_a_burst_of_the_whole_limit() -> None:
    table = {"requests_per_minute": 100, "llm_tokens_per_minute": 50, "burst_llm_tokens": 7}
    assert limits_spec(None) is None
    assert limits_spec(table) == table
    assert limits_spec({**table, "strict": True}) == table
    assert limits_spec({**table, "strict": False}) == {**table, "burst_requests": 100}


def test_a_limit_refuses_what_could_not_be_sent_in_time(
    make_gateway: object, sim: Simulator, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.DEBUG, "sluiceway")
    gw: Gateway = make_gateway(limits={MODEL: {"requests_per_minute": 2}})  # type: ignore[operator]
    gw.chat(MODEL, "hi")  # a tenth of 2 is at least one
    with pytest.raises(LimitExceeded) as caught:
        gw.chat(MODEL, "hi", timeout_s=1)
    assert caught.value.outcome == "never_sent"
    assert caught.value.retryable
    assert sim.executions()["total"] == 1
    assert gw.chat("openai/gpt-4o", "hi").text  # another model, another group
    events = {getattr(record, "event", "") for record in caplog.records}
    assert "limit_refused" in events


def test_a_burst_may_take_the_whole_limit(make_gateway: object, sim: Simulator) -> None:
    limits = {MODEL: {"requests_per_minute": 5, "strict": False}}
    gw: Gateway = make_gateway(limits=limits)  # type: ignore[operator]
    for _ in range(5):
        gw.chat(MODEL, "hi", timeout_s=1)
    with pytest.raises(LimitExceeded):
        gw.chat(MODEL, "hi", timeout_s=1)


def test_a_providers_limit_counts_all_its_models(make_gateway: object) -> None:
    limits = {"openai": {"requests_per_minute": 2, "strict": False}}
    gw: Gateway = make_gateway(limits=limits)  # type: ignore[operator]
    gw.chat(MODEL, "hi")
    gw.chat("openai/gpt-4o", "hi")
    with pytest.raises(LimitExceeded):
        gw.chat(MODEL, "hi", timeout_s=1)


def test_a_request_larger_than_its_limit(make_gateway: object, sim: Simulator) -> None:
    limits = {MODEL: {"input_tokens_per_minute": 100}}
    gw: Gateway = make_gateway(limits=limits)  # type: ignore[operator]
    with pytest.raises(RequestTooLarge) as caught:
        gw.chat(MODEL, "word " * 400)
    assert not caught.value.retryable
    assert sim.executions()["total"] == 0


def test_a_breaker_opens_and_is_logged(
    make_gateway: object, sim: Simulator, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.INFO, "sluiceway")
    sim.script([{"match": {"provider": "openai"}, "action": {"fault": "drop_after"}}])
    breakers = {"openai": {"failure_threshold": 2, "recovery_timeout_s": 3600}}
    gw: Gateway = make_gateway(breakers=breakers)  # type: ignore[operator]
    for _ in range(2):
        with pytest.raises(InDoubt):
            gw.chat(MODEL, "hi")
    with pytest.raises(BreakerOpen) as caught:
        gw.chat(MODEL, "hi")
    assert caught.value.outcome == "never_sent"
    assert caught.value.retryable
    assert sim.executions()["total"] == 2
    assert gw.breaker("openai", "gpt-4o-mini")["state"] == "open"
    r = gw.chat(MODEL, "hi", fallbacks=["deepseek/deepseek-flash"])
    assert r.hops[0].error_kind == "breaker_open"
    breaker = [r for r in caplog.records if getattr(r, "event", "") == "breaker"]
    assert "open" in breaker[0].getMessage()
    assert {getattr(r, "event", "") for r in caplog.records} >= {"breaker", "in_doubt", "fallback"}


def test_limits_of_a_model_that_has_no_price_are_told_once(
    make_gateway: object, sim: Simulator, caplog: pytest.LogCaptureFixture
) -> None:
    """A misspelt name limits nothing; a model of one's own, called by `gw.raw`, may have none."""
    limit = {"requests_per_minute": 100}
    gw: Gateway = make_gateway(  # type: ignore[operator]
        limits={"openai/gpt-4o-mni": limit, MODEL: limit, "openai": limit}
    )
    with caplog.at_level(logging.WARNING, "sluiceway"):
        gw.chat(MODEL, "hi")
        gw.chat("openai/gpt-4o", "hi")
    (record,) = caplog.records
    assert '[limits."openai/gpt-4o-mni"]' in record.getMessage()
    assert "did you mean 'gpt-4o-mini'" in record.getMessage()
