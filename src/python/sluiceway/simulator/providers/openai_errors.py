"""Error bodies of the OpenAI chat dialect, as OpenAI and as DeepSeek write them.

Texts are the ones quoted in public issue threads, provider pages and recorded responses (read
2026-11-22). Where no real body was found the nearest documented one is used and marked below.
OpenAI prints its JSON indented, DeepSeek compact.
"""

from __future__ import annotations

import json
from dataclasses import dataclass

from sluiceway.simulator.providers.dialect import Refusal

_QUOTA_PAGE = "https://platform.openai.com/docs/guides/error-codes/api-errors"
_KEYS_PAGE = "https://platform.openai.com/account/api-keys"
INVALID = "invalid_request_error"


@dataclass(frozen=True, slots=True)
class ErrorText:
    """The four fields of `{"error": {...}}`."""

    message: str
    type: str
    code: str | None = None
    param: str | None = None

    def fields(self) -> dict[str, str | None]:
        """The fields in the provider's order."""
        return {
            "message": self.message,
            "type": self.type,
            "param": self.param,
            "code": self.code,
        }


def write_error(provider: str, text: ErrorText) -> bytes:
    """The whole body."""
    body = {"error": text.fields()}
    if provider == "openai":
        return json.dumps(body, indent=2).encode() + b"\n"
    return json.dumps(body, separators=(",", ":")).encode()


def refuse(provider: str, status: int, text: ErrorText) -> Refusal:
    """A refusal with that body."""
    return Refusal(status, write_error(provider, text))


def masked(key: str) -> str:
    """A key as OpenAI shows it in its 401: the first and the last letters."""
    return f"{key[:5]}{'*' * max(len(key) - 9, 3)}{key[-4:]}" if len(key) > 9 else "***"


def wrong_key(provider: str, key: str) -> ErrorText:
    """The 401 for a key that is missing (empty) or not accepted."""
    if provider == "deepseek":
        shown = f"****{key[-4:]}" if key else ""
        message = f"Authentication Fails, Your api key: {shown} is invalid"
        return ErrorText(message, "authentication_error", INVALID)
    if not key:
        message = (
            "You didn't provide an API key. You need to provide your API key in an Authorization "
            "header using Bearer auth (i.e. Authorization: Bearer YOUR_KEY). You can obtain an "
            f"API key from {_KEYS_PAGE}."
        )
        return ErrorText(message, INVALID)
    message = f"Incorrect API key provided: {masked(key)}. You can find your API key at "
    return ErrorText(message + _KEYS_PAGE + ".", INVALID, "invalid_api_key")


def openai_429(flavour: str, model: str) -> ErrorText:
    """OpenAI's 429 in its flavours; the last three must not be retried."""
    where = f"for {model} in organization org-simulator on"
    if flavour in ("auto", "requests"):
        message = (
            f"Rate limit reached {where} requests per min (RPM): Limit 3, Used 3, Requested 1. "
            "Please try again in 20s. Visit https://platform.openai.com/account/rate-limits to "
            "learn more."
        )
        return ErrorText(message, "requests", "rate_limit_exceeded")
    if flavour == "tokens":
        message = (
            f"Rate limit reached {where} tokens per min (TPM): Limit 10000, Used 9348, Requested "
            "5086. Please try again in 26.604s. Visit "
            "https://platform.openai.com/account/rate-limits to learn more."
        )
        return ErrorText(message, "tokens", "rate_limit_exceeded")
    if flavour == "too_large":
        message = (
            f"Request too large {where} tokens per min (TPM): Limit 30000, Requested 31538. The "
            "input or output tokens must be reduced in order to run successfully."
        )
        return ErrorText(message, "tokens", "rate_limit_exceeded")
    if flavour == "insufficient_quota":
        message = (
            "You exceeded your current quota, please check your plan and billing details. For "
            f"more information on this error, read the docs: {_QUOTA_PAGE}."
        )
        return ErrorText(message, "insufficient_quota", "insufficient_quota")
    # The code is documented; no real message was found.
    message = "Your organization has reached its enforced spend limit."
    return ErrorText(message, "insufficient_quota", "organization_spend_limit_exceeded")


def openai_error(status: int, flavour: str, model: str) -> ErrorText:
    """OpenAI's body for a scripted status; an unknown one gets the general shape."""
    if status == 429:
        return openai_429(flavour, model)
    table = {
        401: wrong_key("openai", "sk-simulator-0000"),
        403: ErrorText(
            "Country, region, or territory not supported",
            "request_forbidden",
            "unsupported_country_region_territory",
        ),
        404: model_not_found("openai", model),
        500: ErrorText(
            "The server had an error while processing your request. Sorry about that!",
            "server_error",
        ),
        # Type and code as the current documentation names them.
        503: ErrorText(
            "Our servers are currently overloaded. Please try again later.",
            "service_unavailable_error",
            "server_is_overloaded",
        ),
    }
    kind = INVALID if status < 500 else "server_error"
    return table.get(status, ErrorText(f"Simulated error with status {status}.", kind))


def deepseek_error(status: int, model: str) -> ErrorText:
    """DeepSeek's body for a scripted status. Its `code` says little: do not classify on it."""
    table = {
        401: wrong_key("deepseek", "sk-simulator-0000"),
        402: ErrorText("Insufficient Balance", "unknown_error", INVALID),
        404: model_not_found("deepseek", model),
        429: ErrorText(
            "Too many requests. Your current concurrency is 26, which exceeds your concurrency "
            "limit of 25 based on your remaining balance. Please top up your balance to restore "
            "your concurrency.",
            "rate_limit_error",
            INVALID,
        ),
        503: ErrorText(
            "Service is too busy. We advise users to temporarily switch to alternative LLM API "
            "service providers.",
            "service_unavailable_error",
            "service_unavailable_error",
        ),
    }
    # No JSON body of a 500 was ever seen; a proxy's page was (see html_error).
    kind = INVALID if status < 500 else "server_error"
    return table.get(status, ErrorText(f"Simulated error with status {status}.", kind, INVALID))


def model_not_found(provider: str, model: str) -> ErrorText:
    """OpenAI's 404 for an unknown model; DeepSeek's text for the same, which comes with 400."""
    if provider == "deepseek":
        return ErrorText("Model Not Exist", INVALID, INVALID)
    message = f"The model `{model}` does not exist or you do not have access to it."
    return ErrorText(message, INVALID, "model_not_found")


def in_stream_error(provider: str, kind: str) -> ErrorText:
    """The error inside a stream that began with 200. DeepSeek's is not known: OpenAI's shape."""
    if kind == "rate_limit":
        text = openai_429("tokens", "this model")
        return text if provider == "openai" else deepseek_error(429, "")
    if kind == "overloaded":
        return openai_error(503, "auto", "") if provider == "openai" else deepseek_error(503, "")
    message = "The server had an error while processing your request. Sorry about that!"
    return ErrorText(message, "server_error", "server_error")
