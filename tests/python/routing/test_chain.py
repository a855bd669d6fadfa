"""When a fallback follows: the table of docs/internals/call.md, "Retry", written out."""

from __future__ import annotations

import pytest

from sluiceway.errors import CLASS_OF_KIND
from sluiceway.routing.chain import may_follow

OUTCOMES = ("never_sent", "refused", "in_doubt", "done")
# Outcome and kind after which the chain goes on by itself: never sent, refused, limited, breaker
# open, no money, and a key or an account that the next provider does not share.
BY_ITSELF = {
    ("never_sent", "connection"),
    ("never_sent", "limited"),
    ("never_sent", "request_too_large"),
    ("never_sent", "breaker_open"),
    ("never_sent", "deadline_exceeded"),
    ("refused", "rate_limited"),
    ("refused", "overloaded"),
    ("refused", "no_money"),
    ("refused", "authentication"),
    ("refused", "permission"),
    ("refused", "request_too_large"),
}
ONLY_WHEN_TOLD = {
    ("in_doubt", "in_doubt"),
    ("in_doubt", "invalid_response"),
    ("in_doubt", "deadline_exceeded"),
    ("done", "provider_error"),
}
# The caller's own: another provider changes nothing.
NEVER = {
    "invalid_request",
    "bad_request",
    "cancelled",
    "budget_unavailable",
    "forked",
    "closed",
    "stream_broken",
}


@pytest.mark.parametrize(("outcome", "kind"), sorted(BY_ITSELF))
def test_follows_by_itself(outcome: str, kind: str) -> None:
    assert may_follow(outcome, kind, in_doubt=False, budget=False)


@pytest.mark.parametrize(("outcome", "kind"), sorted(ONLY_WHEN_TOLD))
def test_follows_after_doubt_only_when_told(outcome: str, kind: str) -> None:
    assert not may_follow(outcome, kind, in_doubt=False, budget=False)
    assert may_follow(outcome, kind, in_doubt=True, budget=False)


@pytest.mark.parametrize("outcome", OUTCOMES)
@pytest.mark.parametrize("kind", sorted(NEVER))
def test_never_follows_what_is_the_callers_own(outcome: str, kind: str) -> None:
    assert not may_follow(outcome, kind, in_doubt=True, budget=True)


@pytest.mark.parametrize("kind", sorted(CLASS_OF_KIND))
def test_nothing_in_doubt_is_followed_untold(kind: str) -> None:
    assert (
        not may_follow("in_doubt", kind, in_doubt=False, budget=True) or kind == "budget_exceeded"
    )


def test_a_budget_passes_on_only_where_its_template_says_so() -> None:
    assert not may_follow("never_sent", "budget_exceeded", in_doubt=True, budget=False)
    assert may_follow("never_sent", "budget_exceeded", in_doubt=False, budget=True)
