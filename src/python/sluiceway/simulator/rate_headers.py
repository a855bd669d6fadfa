"""Retry-After and rate-limit headers in every form in which the providers send them.

- `Retry-After`: seconds, or an HTTP date in the three forms of RFC 9110 section 5.6.7 (IMF-fixdate,
  RFC 850, asctime); `retry-after-ms` (OpenAI SDKs read it, Azure sends it).
- OpenAI: `x-ratelimit-{limit,remaining,reset}-{requests,tokens}`; a reset is a duration such as
  "12ms", "6m0s" or "26.604s". Recorded: limits 5000 and 2000000, resets 12ms and 6ms.
- Anthropic: `anthropic-ratelimit-{requests,input-tokens,output-tokens,tokens}-{limit,remaining,
  reset}`; a reset is an RFC 3339 date.
- DeepSeek: none at all (0 of 21 recordings).

Pure functions; "now" is a parameter in Unix seconds.
"""

from __future__ import annotations

import datetime
import math

from sluiceway.simulator.message import Headers

_DAYS = ("Monday", "Tuesday", "Wednesday", "Thursday", "Friday", "Saturday", "Sunday")
_MONTH_NAMES = "Jan Feb Mar Apr May Jun Jul Aug Sep Oct Nov Dec"
_MONTHS = _MONTH_NAMES.split()

OPENAI_REQUESTS_LIMIT = 5_000
OPENAI_TOKENS_LIMIT = 2_000_000
ANTHROPIC_REQUESTS_LIMIT = 4_000
ANTHROPIC_INPUT_LIMIT = 200_000
ANTHROPIC_OUTPUT_LIMIT = 80_000


def http_date(unix_s: float, form: str = "date") -> str:
    """An HTTP date, locale-free. `form`: date (IMF-fixdate), rfc850 or asctime."""
    moment = datetime.datetime.fromtimestamp(math.floor(unix_s), datetime.UTC)
    day, month = _DAYS[moment.weekday()], _MONTHS[moment.month - 1]
    clock = f"{moment:%H:%M:%S}"
    if form == "rfc850":
        return f"{day}, {moment.day:02}-{month}-{moment.year % 100:02} {clock} GMT"
    if form == "asctime":
        return f"{day[:3]} {month} {moment.day:2} {clock} {moment.year}"
    return f"{day[:3]}, {moment.day:02} {month} {moment.year} {clock} GMT"


def rfc3339(unix_s: float) -> str:
    """A UTC time such as 2025-06-02T15:15:48Z, rounded up to a whole second."""
    moment = datetime.datetime.fromtimestamp(math.ceil(unix_s), datetime.UTC)
    return f"{moment:%Y-%m-%dT%H:%M:%SZ}"


def duration(seconds: float) -> str:
    """A duration as OpenAI writes it: 0s, 12ms, 8.64s, 6m0s, 1h0m3s; whole
    milliseconds, rounded down as in a recorded answer (6.9 ms was sent as 6ms)."""
    milliseconds = math.floor(seconds * 1000 + 1e-6)
    if milliseconds <= 0:
        return "0s"
    if milliseconds < 1000:
        return f"{milliseconds}ms"
    minutes, rest = divmod(milliseconds, 60_000)
    hours, minutes = divmod(minutes, 60)
    text = f"{rest // 1000}"
    if rest % 1000:
        text += f".{rest % 1000:03}".rstrip("0")
    text += "s"
    if hours:
        return f"{hours}h{minutes}m{text}"
    return f"{minutes}m{text}" if minutes else text


def retry_after(seconds: float, form: str, now_unix_s: float) -> Headers:
    """The Retry-After headers for a wait of `seconds`; an empty list for the form none."""
    if form == "none":
        return []
    if form == "ms":
        return [("retry-after-ms", f"{math.ceil(seconds * 1000)}")]
    if form == "seconds":
        return [("retry-after", str(int(seconds)) if seconds == int(seconds) else repr(seconds))]
    return [("retry-after", http_date(math.ceil(now_unix_s + seconds), form))]


def openai_limits(llm_tokens: int, reset_s: float | None, exhausted: str | None) -> Headers:
    """OpenAI's six headers after a request of `llm_tokens`; `exhausted` is requests or tokens."""
    remaining_requests = 0 if exhausted == "requests" else OPENAI_REQUESTS_LIMIT - 1
    remaining_tokens = 0 if exhausted == "tokens" else max(OPENAI_TOKENS_LIMIT - llm_tokens, 0)
    requests_reset_s = 60 / OPENAI_REQUESTS_LIMIT
    tokens_reset_s = 60 * llm_tokens / OPENAI_TOKENS_LIMIT
    if reset_s is not None and exhausted != "tokens":
        requests_reset_s = reset_s
    if reset_s is not None and exhausted != "requests":
        tokens_reset_s = reset_s
    return [
        ("x-ratelimit-limit-requests", str(OPENAI_REQUESTS_LIMIT)),
        ("x-ratelimit-limit-tokens", str(OPENAI_TOKENS_LIMIT)),
        ("x-ratelimit-remaining-requests", str(remaining_requests)),
        ("x-ratelimit-remaining-tokens", str(remaining_tokens)),
        ("x-ratelimit-reset-requests", duration(requests_reset_s)),
        ("x-ratelimit-reset-tokens", duration(tokens_reset_s)),
    ]


def anthropic_limits(
    input_tokens: int, output_tokens: int, reset_s: float | None, exhausted: bool, now_unix_s: float
) -> Headers:
    """Anthropic's twelve headers; remaining tokens are rounded to thousands, as documented."""
    reset = rfc3339(now_unix_s + (1.0 if reset_s is None else reset_s))
    total = ANTHROPIC_INPUT_LIMIT + ANTHROPIC_OUTPUT_LIMIT
    rows = (
        ("requests", ANTHROPIC_REQUESTS_LIMIT, ANTHROPIC_REQUESTS_LIMIT - 1),
        ("input-tokens", ANTHROPIC_INPUT_LIMIT, ANTHROPIC_INPUT_LIMIT - input_tokens),
        ("output-tokens", ANTHROPIC_OUTPUT_LIMIT, ANTHROPIC_OUTPUT_LIMIT - output_tokens),
        ("tokens", total, total - input_tokens - output_tokens),
    )
    headers: Headers = []
    for name, limit, remaining in rows:
        if name != "requests":
            remaining = round(max(remaining, 0), -3)
        headers += [
            (f"anthropic-ratelimit-{name}-limit", str(limit)),
            (f"anthropic-ratelimit-{name}-remaining", "0" if exhausted else str(remaining)),
            (f"anthropic-ratelimit-{name}-reset", reset),
        ]
    return headers
