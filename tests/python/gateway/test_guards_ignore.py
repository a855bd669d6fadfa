"""What a breaker of one's own learns from Sluiceway's errors: as the gateway's breakers do."""

from __future__ import annotations

import asyncio
from collections.abc import Callable

import pytest

from sluiceway import CircuitBreaker, Gateway, errors, guarded
from tests.python.gateway.conftest import MakeGateway

# By docs/reference/outcomes.md: what is wrong with a call, or with our own money, is no word of the
# service's health.
CALLERS = [
    errors.InvalidRequest("x"),
    errors.InvalidType("x"),
    errors.UnboundedOperation("x"),
    errors.UnknownModel("x"),
    errors.MissingKey("x"),
    errors.LimitExceeded("x"),
    errors.BreakerOpen("x"),
    errors.BadRequest("x", outcome="refused"),
    errors.GatewayClosed("x"),
]
SERVICES: list[Exception] = [
    errors.ConnectionFailed("x"),
    errors.Overloaded("x", outcome="refused"),
    errors.RateLimited("x", outcome="refused"),
    errors.DeadlineExceeded("x", outcome="in_doubt"),
    errors.InDoubt("x", outcome="in_doubt"),
    TimeoutError(),
    ValueError(),  # not ours: nobody knows what it tells, but for `ignore`
]


def state_after(error: Exception) -> str:
    """Of a breaker that opens at the second failure, after three calls that end in `error`."""
    breaker = CircuitBreaker(failure_threshold=2)

    @guarded(breaker)
    def fails() -> None:
        raise error

    @guarded(breaker)
    async def fails_later() -> None:
        raise error

    kinds: list[Callable[[], object]] = [fails, lambda: asyncio.run(fails_later()), fails]
    for run in kinds:
        with pytest.raises((type(error), errors.BreakerOpen)):
            run()
    return breaker.state


@pytest.mark.parametrize("error", CALLERS, ids=lambda error: type(error).__name__)
def test_the_callers_own_errors_open_no_breaker(error: Exception) -> None:
    assert state_after(error) == "closed"


@pytest.mark.parametrize("error", SERVICES, ids=lambda error: type(error).__name__)
def test_the_services_errors_do(error: Exception) -> None:
    assert state_after(error) == "open"


def test_a_budget_that_is_used_up_opens_no_breaker(make_gateway: MakeGateway) -> None:
    gw: Gateway = make_gateway()
    breaker = CircuitBreaker(failure_threshold=1)
    ask = guarded(breaker)(gw.budget("video:1", usd="0.00000001").bind(gw.chat))
    for _ in range(2):
        with pytest.raises(errors.BudgetExceeded):
            ask("openai/gpt-4o-mini", "abcdefgh")
    assert breaker.state == "closed"
