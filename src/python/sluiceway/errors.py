"""Every exception that Sluiceway raises.

    SluicewayError
      ConfigError                    the set-up is wrong; nothing was sent
        UnknownModel                 no such provider, or no such model (nearest names are shown)
        MissingKey                   no key for that provider
        UnknownAccount               the configuration has no such account
        WrongKey                     the job belongs to another key of that provider
      InvalidRequest (ValueError)    the call's arguments are wrong; nothing was sent
        UnknownJob                   the ledger has no job of that id
        InvalidType (TypeError)      an argument has the wrong type, such as a float for money
        UnboundedOperation           no true ceiling can be told, and no max_cost_usd was stated
        UnpricedOperation            no price is known, and no max_cost_usd was stated
          UnpricedModel              ... because the price files lack the model (also UnknownModel)
      BudgetError
        BudgetExceeded               a scope has no room for the call's ceiling
        BudgetConflict               the scope exists with another limit
        BudgetUnavailable            the ledger did not answer in time, or cannot be written
      LimitExceeded                  our own limiter: the wait would pass the deadline
      RequestTooLarge                larger than a limit allows in a whole minute
      BreakerOpen                    the provider or the account is resting after failures
      DeadlineExceeded (TimeoutError)
      Cancelled                      this call was cancelled by its caller
      AlreadySubmitted               the idempotency key was used before; nothing was sent
      ProviderError
        ConnectionFailed             never reached the provider
        InDoubt                      sent, and the end is unknown: never sent again by itself
          TimedOutInDoubt            ... because a deadline passed (also DeadlineExceeded)
        RateLimited, Overloaded      the provider refused for now
        NoMoney                      the provider's account has no money or quota left
        AuthenticationFailed, PermissionDenied, BadRequest
        ProviderFailure              an error of the provider's own
        InvalidResponse              an answer that is not what the wire format promises
        StreamBroken                 ended after its first delta; `text` has what arrived
      FileError (OSError)            a file cannot be read or written; what is there is kept
      ForkedError                    the call belongs to the parent process
      GatewayClosed

Every one carries `outcome` ("never_sent", "refused", "in_doubt", "done"), `provider`, `model`,
`status_code`, `intent_id`, `call_id`, `provider_request_id`, `attempts`, `held` (USD that this call
still holds in its budgets), `charged` (USD that it was settled at all the same: a stream that broke
after its final usage), `retryable` and `retry_after_s`. All are picklable, and what looks like a
key is blanked out of their messages.

An error of a stream also has `text`, what had been delivered before it.

`retryable` is about proof, not about hope: it is true only for classes that time may cure and only
where the call was never sent or explicitly refused.

    try:
        gw.chat("openai/gpt-6-luna", "Name three rivers")
    except sluiceway.BudgetExceeded as error:
        print(error.scope, error.limit, error.spent, error.would_cost)
    except sluiceway.SluicewayError as error:
        print(error.outcome, error.retryable, error.intent_id)

Source: docs/internals/call.md, "Errors"; the classes of failure are engine/outcomes.h.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from decimal import Decimal

TYPE_CHECKING = False
if TYPE_CHECKING:
    from sluiceway.types import Attempt, Hop

ZERO = Decimal(0)

# Long enough to be a key, and shaped like one: what vendors print ("sk-...", "Bearer ...").
_SECRET = r"(?i)\b(?:(?:sk|rk|pk|xai|gsk)[-_][\w\-*]{6,}|AIza[\w\-*]{6,}|(?<=bearer )\S{8,})"


def redact(text: str) -> str:
    """Blanks what looks like a key. Errors are rare, so the import inside costs nothing."""
    import re

    return re.sub(_SECRET, "***", text)


def kind_of(value: object) -> str:
    """What a value is, for a message: "None", "an int", "a str"."""
    if value is None:
        return "None"
    name = type(value).__name__
    return f"an {name}" if name[0] in "aeiouAEIOU" else f"a {name}"


def _rebuild(cls: type[SluicewayError], message: str, state: dict[str, object]) -> SluicewayError:
    error = cls.__new__(cls, message)
    Exception.__init__(error, message)
    error.__dict__.update(state)
    return error


class SluicewayError(Exception):
    """The root. `message` is for people; decide on the class and the fields."""

    may_pass = False  # whether time alone may cure this class of failure

    def __init__(
        self,
        message: str,
        *,
        outcome: str = "never_sent",
        provider: str = "",
        model: str = "",
        status_code: int | None = None,
        intent_id: str = "",
        call_id: str = "",
        provider_request_id: str = "",
        attempts: Sequence[Attempt] = (),
        held: Decimal = ZERO,
        charged: Decimal = ZERO,
        retry_after_s: float | None = None,
        error_type: str = "",
        error_code: str = "",
        hops: Sequence[Hop] = (),
        text: str = "",
    ) -> None:
        self.message = redact(message)
        super().__init__(self.message)
        self.outcome = outcome
        self.provider = provider
        self.model = model
        self.status_code = status_code
        self.intent_id = intent_id
        self.call_id = call_id
        self.provider_request_id = provider_request_id
        self.attempts = tuple(attempts)
        self.held = held
        self.charged = charged
        self.retry_after_s = retry_after_s
        self.error_type = error_type  # the provider's own words
        self.error_code = error_code
        self.hops = tuple(hops)  # every provider that was asked, in order
        self.text = text  # what a stream had delivered before it failed

    @property
    def retryable(self) -> bool:
        """Whether the same call may be made again later without paying twice."""
        return self.may_pass and self.outcome in ("never_sent", "refused")

    def __str__(self) -> str:
        notes = []
        if self.provider:
            notes.append(f"{self.provider}/{self.model}" if self.model else self.provider)
        if self.status_code:
            notes.append(f"status {self.status_code}")
        if self.provider_request_id:
            notes.append(f"provider request {self.provider_request_id}")
        if self.intent_id:
            notes.append(f"intent {self.intent_id}")
        if self.held:
            notes.append(f"held ${self.held:f}{f' by call {self.call_id}' * bool(self.call_id)}")
        return f"{self.message} [{', '.join(notes)}]" if notes else self.message

    def __reduce__(self) -> tuple[Callable[..., SluicewayError], tuple[object, ...]]:
        return _rebuild, (type(self), self.message, dict(self.__dict__))


class ConfigError(SluicewayError):
    """The set-up is wrong: a file, a name, a key. Nothing was sent."""


class UnknownModel(ConfigError):
    """No such provider or model."""


class MissingKey(ConfigError):
    """There is no key for the provider."""


class UnknownAccount(ConfigError):
    """The configuration has no such account."""


class WrongKey(ConfigError):
    """The job belongs to another key than the one that is configured; nothing was sent."""


class InvalidRequest(SluicewayError, ValueError):
    """The call's arguments are wrong. Nothing was sent."""


class UnknownJob(InvalidRequest):
    """The ledger has no job of that id."""


class InvalidType(InvalidRequest, TypeError):
    """An argument has the wrong type."""


class UnboundedOperation(InvalidRequest):
    """What this call may cost has no bound; state `max_cost_usd` to make it anyway."""


class UnpricedOperation(InvalidRequest):
    """What this call costs is not known; state `max_cost_usd` to make it anyway."""


class UnpricedModel(UnpricedOperation, UnknownModel):
    """The price files have no such model."""


class BudgetError(SluicewayError):
    """Something about a budget scope."""


class Balance:
    """What a scope held at one moment, in USD; `limit` and `left` are None where it has none."""

    __slots__ = ("blocked", "held", "in_doubt", "left", "limit", "spent")

    def __init__(
        self, limit: Decimal | None, spent: Decimal, held: Decimal, in_doubt: Decimal, blocked: bool
    ) -> None:
        self.limit = limit
        self.spent = spent
        self.held = held
        self.in_doubt = in_doubt
        self.blocked = blocked
        self.left = None if limit is None else limit - spent - held - in_doubt

    def __repr__(self) -> str:
        limit = "no limit" if self.limit is None else f"limit ${self.limit:f}"
        return (
            f"Balance({limit}, spent ${self.spent:f}, held ${self.held:f}, "
            f"in doubt ${self.in_doubt:f}{', blocked' if self.blocked else ''})"
        )


class BudgetExceeded(BudgetError):
    """A scope has no room for the ceiling of the call; nothing was sent.

    `balance` tells spent, held (running calls) and in doubt (calls whose end is unknown) apart;
    `would_cost` is the ceiling that did not fit. `held` stays what it is on every error: what this
    call still holds, which is nothing.
    """

    def __init__(
        self,
        message: str,
        *,
        scope: str = "",
        would_cost: Decimal = ZERO,
        balance: Balance | None = None,
        **common: object,
    ) -> None:
        super().__init__(message, **common)  # type: ignore[arg-type]
        self.scope = scope
        self.would_cost = would_cost
        self.balance = balance or Balance(None, ZERO, ZERO, ZERO, False)

    @property
    def limit(self) -> Decimal | None:
        """The scope's limit."""
        return self.balance.limit

    @property
    def spent(self) -> Decimal:
        """What the scope has settled."""
        return self.balance.spent

    @property
    def in_doubt(self) -> Decimal:
        """What the scope counts for calls whose end is unknown."""
        return self.balance.in_doubt

    @property
    def left(self) -> Decimal | None:
        """What the scope has left."""
        return self.balance.left


class BudgetConflict(BudgetError):
    """The scope exists with another limit; `replace=True` changes it."""


class BudgetUnavailable(BudgetError):
    """The ledger did not answer in time, or cannot be written."""

    may_pass = True


class LimitExceeded(SluicewayError):
    """Our own limiter: the wait would pass the deadline, or the queue is full."""

    may_pass = True


class RequestTooLarge(SluicewayError):
    """Larger than a limit allows in a whole minute: no wait helps."""


class BreakerOpen(SluicewayError):
    """The breaker of this provider or account is open."""

    may_pass = True


class DeadlineExceeded(SluicewayError, TimeoutError):
    """A deadline passed; `outcome` says whether the call had been sent."""

    may_pass = True


class Cancelled(SluicewayError):
    """The caller cancelled the call."""


class AlreadySubmitted(SluicewayError):
    """The idempotency key was used before, by the call `first_call_id`; nothing was sent."""

    def __init__(self, message: str, *, first_call_id: str = "", **common: object) -> None:
        super().__init__(message, **common)  # type: ignore[arg-type]
        self.first_call_id = first_call_id


class ProviderError(SluicewayError):
    """Something between us and the provider, or the provider's own answer."""


class ConnectionFailed(ProviderError):
    """The provider was never reached: DNS, connect, TLS or proxy."""

    may_pass = True


class InDoubt(ProviderError):
    """Sent, and the end is unknown. It may have been executed and billed: `held` stays counted."""


class TimedOutInDoubt(InDoubt, DeadlineExceeded):
    """A deadline passed after the call was sent."""

    may_pass = False


class RateLimited(ProviderError):
    """The provider refused: too many requests or tokens."""

    may_pass = True


class Overloaded(ProviderError):
    """The provider refused: it is overloaded."""

    may_pass = True


class NoMoney(ProviderError):
    """The provider's account has no money or quota left."""


class AuthenticationFailed(ProviderError):
    """The provider does not accept the key."""


class PermissionDenied(ProviderError):
    """The key may not do this."""


class BadRequest(ProviderError):
    """The provider refused the request as it is."""


class ProviderFailure(ProviderError):
    """An error of the provider's own, told by itself."""


class InvalidResponse(ProviderError):
    """The answer is not what the wire format promises. It may have been billed."""


class StreamBroken(ProviderError):
    """The stream ended after its first delta without its end; `text` has what arrived."""


class FileError(SluicewayError, OSError):
    """A file of a download or an export cannot be written, or a bill cannot be read. What can be
    gone on with is kept."""


class ForkedError(SluicewayError):
    """The call or the gateway belongs to the parent process."""


class GatewayClosed(SluicewayError):
    """The gateway was closed, before the call or under it: `outcome` says how far it had come."""


# The names of base/status.h. This is the only place where they become classes.
CLASS_OF_KIND: dict[str, type[SluicewayError]] = {
    "invalid_request": InvalidRequest,
    "budget_exceeded": BudgetExceeded,
    "budget_unavailable": BudgetUnavailable,
    "limited": LimitExceeded,
    "request_too_large": RequestTooLarge,
    "breaker_open": BreakerOpen,
    "deadline_exceeded": DeadlineExceeded,
    "cancelled": Cancelled,
    "connection": ConnectionFailed,
    "in_doubt": InDoubt,
    "rate_limited": RateLimited,
    "overloaded": Overloaded,
    "no_money": NoMoney,
    "authentication": AuthenticationFailed,
    "permission": PermissionDenied,
    "bad_request": BadRequest,
    "provider_error": ProviderFailure,
    "invalid_response": InvalidResponse,
    "stream_broken": StreamBroken,
    "forked": ForkedError,
    "closed": GatewayClosed,
    "already_submitted": AlreadySubmitted,
}


def error_class(kind: str, outcome: str) -> type[SluicewayError]:
    """The class for a core error kind; a deadline that passed after sending is also InDoubt."""
    if kind == "deadline_exceeded" and outcome == "in_doubt":
        return TimedOutInDoubt
    return CLASS_OF_KIND.get(kind, SluicewayError)
