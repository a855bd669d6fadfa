"""The exception for a call that ended without an answer: the core's record of it, in words.

Model: one pure function from a finished Call (and the hops before it) to an instance of a class in
errors.py; which class is decided there, by `error_class`. Messages say what happened and what to do
next, and hold neither prompts nor keys. Not on the hot path.

    raise error_of(call, "openai/gpt-6-luna", ())
"""

from __future__ import annotations

from decimal import Decimal
from typing import Any

from sluiceway._terms import DOLLAR, balance_of
from sluiceway.errors import (
    AlreadySubmitted,
    BreakerOpen,
    BudgetExceeded,
    InvalidRequest,
    InvalidType,
    SluicewayError,
    UnboundedOperation,
    error_class,
)
from sluiceway.money import CREDIT_DECIMALS, USD_DECIMALS, units_of, usd_of
from sluiceway.types import Attempt, hop_of

Before = tuple[tuple[str, Any], ...]  # the hops that failed: "provider/model" and the Call


def unwritable(error: Exception, provider: str, model: str) -> InvalidRequest:
    """The exception for a body that cannot be written as JSON."""
    kind = InvalidType if isinstance(error, TypeError) else InvalidRequest
    reason = str(error) if not isinstance(error, UnicodeError) else "a text is not valid Unicode"
    return kind(f"the request cannot be written as JSON: {reason}", provider=provider, model=model)


class Writing:
    """`with Writing("openai", "gpt-4.1"):` a body that is no JSON raises InvalidRequest.

    What every plain call takes spells it out instead: this costs 0.4 us.
    """

    __slots__ = ("_model", "_provider")

    def __init__(self, provider: str, model: str) -> None:
        self._provider = provider
        self._model = model

    def __enter__(self) -> None:
        pass

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: object
    ) -> None:
        own = isinstance(error, SluicewayError)
        if not own and isinstance(error, ValueError | TypeError | OverflowError):
            raise unwritable(error, self._provider, self._model) from None


def unbounded(what: str, provider: str, model: str) -> UnboundedOperation:
    """The exception for a call without a true ceiling."""
    return UnboundedOperation(
        f"what this call may cost has no bound: {what}. State the most it may cost with the call:"
        ' max_cost_usd="0.50".',
        provider=provider,
        model=model,
    )


def dollars(amount: Decimal) -> str:
    """An amount for people: no needless zeros, at least cents."""
    text = f"{amount:f}"
    if "." not in text:
        return f"${text}.00"
    whole, _, part = text.partition(".")
    return f"${whole}.{part.rstrip('0').ljust(2, '0')}"


def charged_nanousd(call: Any) -> int:
    """What a failed call was settled at; while it is in doubt its cost is an estimate."""
    return 0 if call.held_nanousd else call.cost_nanousd or 0


def error_of(call: Any, model: str, before: Before) -> SluicewayError:
    """The exception for a call that ended without an answer."""
    provider, _, name = model.partition("/")
    calls = (*before, (model, call))
    common: dict[str, Any] = {
        "outcome": call.outcome,
        "provider": provider,
        "model": name,
        "status_code": call.status_code or None,
        "intent_id": call.intent_id,
        "call_id": call.call_id,
        "provider_request_id": call.provider_request_id,
        "attempts": [Attempt(one, tries) for one, tried in calls for tries in tried.attempts],
        "held": usd_of(sum(tried.held_nanousd for _, tried in calls)),
        "charged": usd_of(sum(charged_nanousd(tried) for _, tried in calls)),
        "retry_after_s": call.retry_after_s,
        "error_type": call.error_type,
        "error_code": call.error_code,
        "hops": [hop_of(one, tried) for one, tried in calls],
        "text": call.text,
    }
    if call.duplicate_call_id is not None:
        return AlreadySubmitted(
            f"the idempotency key was already used by call {call.duplicate_call_id};"
            " nothing was sent",
            first_call_id=call.duplicate_call_id,
            **common,
        )
    kind = error_class(call.error_kind, call.outcome)
    message = call.message or call.error_kind
    if kind is BudgetExceeded and call.budget_refusal is not None:
        return budget_exceeded(call.budget_refusal, common)
    if kind is BreakerOpen:
        message = f"{message}: {_why_open(message, call.retry_after_s)}"
    return kind(message, **common)


def _why_open(message: str, retry_after_s: float | None) -> str:
    """What opens the breakers that docs/reference/configuration.md has, and what to do."""
    again = "" if retry_after_s is None else f"; it is asked again in {retry_after_s:.0f} s"
    if "account" in message:
        return f"the provider refused its key, its rights or its money{again}, see the first error"
    return f"too many of its calls failed{again}; name fallbacks= to be served meanwhile"


def budget_exceeded(
    refusal: dict[str, Any], common: dict[str, Any], unit: str = DOLLAR
) -> BudgetExceeded:
    """The exception for a scope that had no room: for a call, or for a booking in any unit."""
    decimals = USD_DECIMALS if unit == DOLLAR else CREDIT_DECIMALS

    def shown(amount: Decimal) -> str:
        return dollars(amount) if unit == DOLLAR else f"{amount.normalize():f} {unit}"

    balance = balance_of(refusal, decimals)
    scope = refusal["scope"]
    cost = units_of(refusal["amount"], decimals)
    state = (
        f"{shown(balance.spent)} spent, {shown(balance.held)} held by running calls,"
        f" {shown(balance.in_doubt)} in doubt"
    )
    what, lower = ("this call may cost up to", " Lower max_output_tokens, raise")
    if not common:
        what, lower = "this costs", " Raise"
    if balance.blocked:
        message = (
            f"the budget {scope} is blocked: more was billed or booked than was reserved there"
            f" ({state}). Look at `sluiceway ledger`, then set its limit anew with replace=True."
        )
    else:
        top = "its limit" if balance.limit is None else f"its limit of {shown(balance.limit)}"
        message = (
            f"the budget {scope} has no room: {what} {shown(cost)}, and of"
            f" {top} there are {state}.{lower} the limit with"
            " gw.budget(..., replace=True), or resolve what is in doubt"
            " (`sluiceway ledger resolve`)."
        )
    return BudgetExceeded(message, scope=scope, would_cost=cost, balance=balance, **common)
