"""When a fallback follows: after a failed hop, may the next provider of the chain be asked?

Model: one pure function over what happened (the outcome on the wire and the kind of error). A
fallback is a new call with a new reservation, so it follows only where the failed one surely cost
nothing and another provider may help: it was never reached, refused, limited, kept back by a
breaker, or its account has no money. What is in doubt may have been billed; after it the chain goes
on only when the caller said so, and both holds stay. What is the caller's own (a bad request, a
budget, a cancel) ends the chain, for the next provider would not change it, with two exceptions: a
budget whose template says on_exceed = "fallback" passes on to a cheaper model, and a request that
one provider's limits can never take may fit another's. A deadline of one hop (connecting, silence)
does not end the chain; the call's own deadline does, which the caller of this function watches.

    may_follow("refused", "rate_limited", in_doubt=False, budget=False)     # True

Source: docs/internals/call.md, "Retry". No state, any thread.
"""

from __future__ import annotations

# Kinds (base/status.h) after which another provider may help, given that nothing was executed.
_FOLLOWED = frozenset(
    (
        "connection",
        "limited",
        "request_too_large",
        "breaker_open",
        "rate_limited",
        "overloaded",
        "no_money",
        "authentication",
        "permission",
        "deadline_exceeded",
    )
)
# Kinds that end up in doubt; a cancel that ended in doubt is still the caller's own.
_DOUBTED = frozenset(("in_doubt", "invalid_response", "deadline_exceeded"))


def may_follow(outcome: str, kind: str, *, in_doubt: bool, budget: bool) -> bool:
    """Whether the next hop may be tried.

    `in_doubt`: the caller accepts that the failed hop may have been billed. `budget`: the scope
    that refused asks for a fallback.
    """
    if kind == "budget_exceeded":
        return budget
    if outcome in ("never_sent", "refused"):
        return kind in _FOLLOWED
    if outcome == "in_doubt":
        return in_doubt and kind in _DOUBTED
    # An error of the provider's own that is documented as unbilled, or one inside a stream before
    # its first delta: told as done, but nobody was served.
    return kind == "provider_error" and in_doubt
