"""The settings of one answer: how long, how many tokens, which fault. One vocabulary for all.

The same keys work in a rule's `action`, in the header `sluiceway-simulator: key=value key=value`
and in the last user message as `[[simulator: key=value key=value]]`. Later sources win: defaults,
rules in their order, the prompt, the header. `KEYS` below is the list of keys with their readers.

Faults (`fault=`):

    status            the provider's own error body; `status`, `flavour`, `retry_after_s`, ...
    drop_before       the connection closes before the request is executed
    drop_after        executed, then closed without a response byte (h2: RST_STREAM)
    stall_before      never executed, never answered
    stall_after       executed, never answered
    cut_body          Content-Length promises more than is sent
    cut_chunked       a chunked body without its last chunk (h2: RST_STREAM after some DATA)
    cut_stream        the stream ends after `after_events` events; `clean=true`: a whole message
                      on the wire, but without the dialect's last events
    stall_stream      after `after_events` events nothing more comes
    error_in_stream   the provider's error event after `after_deltas` text deltas
    slow_drip         `drip_bytes` at a time, one piece each `drip_ms`
    bad_json          200 with a body that does not parse
    html_error        a proxy's HTML page instead of the provider's body; `status` (default 502)
    goaway            h2 GOAWAY that refuses this request (`executed=true`: that still answers it)
    refused_stream    h2 RST_STREAM(REFUSED_STREAM), not executed

On HTTP/1.1 goaway and refused_stream act as drop_before. A stream fault on an answer that is not
a stream acts on its body (cut_stream as cut_body, error_in_stream as status 500, stall_stream as
half a body), and cut_body on a stream acts as cut_chunked.

Money: `executed` and `bill` override what a fault does by default (see `executes_by_default`).
`bill=full` charges everything the answer would have held, `partial` what was produced, `none`
nothing.

Bounds: tokens up to 1,000,000; text is read once. Pure functions, any thread.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass, fields, replace

from sluiceway.simulator.errors import ScriptError
from sluiceway.simulator.latency import ZERO, Draw, parse_draw

_FAULT_NAMES = (
    "status drop_before drop_after stall_before stall_after cut_body cut_chunked cut_stream "
    "stall_stream error_in_stream slow_drip bad_json html_error goaway refused_stream"
)
FAULTS = _FAULT_NAMES.split()
FLAVOURS = ["auto", "requests", "tokens", "too_large", "insufficient_quota", "spend_limit"]
RETRY_AFTER_FORMS = ["seconds", "ms", "date", "rfc850", "asctime", "none"]
STREAM_ERRORS = ["overloaded", "rate_limit", "server"]
# RFC 9113 section 7.
H2_ERRORS = {
    "no_error": 0x0,
    "protocol_error": 0x1,
    "internal_error": 0x2,
    "refused_stream": 0x7,
    "cancel": 0x8,
    "enhance_your_calm": 0xB,
}


@dataclass(frozen=True, slots=True)
class Settings:
    """What one answer shall be. Times are draws; None means "whatever is usual"."""

    output_tokens: int = 16
    reasoning_tokens: int = 0  # part of output_tokens
    cached_tokens: int = 0
    cache_write_5m_tokens: int = 0
    cache_write_1h_tokens: int = 0
    overrun_tokens: int = 0  # generated and billed beyond the request's own maximum
    latency_ms: Draw = ZERO
    token_ms: Draw = ZERO
    tokens_per_event: int = 1
    events_per_write: int = 0  # 0: one when tokens take time, else 16
    keep_alive: int | None = None
    keep_alive_every_ms: int = 1000
    fault: str | None = None
    on_attempt: tuple[int, int] | None = None  # the fault only on these attempt numbers
    status: int | None = None
    flavour: str = "auto"
    retry_after_s: float | None = None
    retry_after_form: str = "seconds"
    rate_headers: bool = True
    reset_s: float | None = None
    after_events: int | None = None
    after_deltas: int = 0
    after_bytes: int | None = None
    stream_error: str = "overloaded"
    clean: bool = False
    reset: bool = False  # TCP RST instead of FIN on a drop
    close_after: bool = False  # close after a whole answer without announcing it
    drip_bytes: int = 1
    drip_ms: int = 10
    h2_error: str = "internal_error"
    executed: bool | None = None
    bill: str | None = None
    batch_looks: int = 0  # looks at a batch that find it still at work


def _integer(low: int, high: int) -> Callable[[object], int]:
    def read(value: object) -> int:
        if isinstance(value, str) and re.fullmatch(r"\d{1,12}", value):
            value = int(value)
        if isinstance(value, bool) or not isinstance(value, int) or not low <= value <= high:
            raise ScriptError(f"{value!r} is not a whole number from {low} to {high}")
        return value

    return read


def _number(value: object) -> float:
    try:
        if isinstance(value, bool) or not isinstance(value, int | float | str):
            raise ValueError
        number = float(value)
    except ValueError:
        raise ScriptError(f"{value!r} is not a number") from None
    if not 0 <= number <= 1e9:
        raise ScriptError(f"{value!r} is not a number from 0 to 1e9")
    return number


def _boolean(value: object) -> bool:
    if value is True or value in ("true", "yes", "1"):
        return True
    if value is False or value in ("false", "no", "0"):
        return False
    raise ScriptError(f"{value!r} is neither true nor false")


def _one_of(choices: list[str]) -> Callable[[object], str]:
    def read(value: object) -> str:
        if value not in choices:
            raise ScriptError(f"{value!r} is not one of {', '.join(choices)}")
        return str(value)

    return read


def _fault(value: object) -> str | None:
    return None if value in (None, "none") else _one_of(FAULTS)(value)


def read_range(value: object) -> tuple[int, int]:
    """A range of counts, from 1 and inclusive: 3, "3", "2-5", [2, 5] or [2, null]."""
    if isinstance(value, list | tuple) and len(value) == 2:
        first, last = value
    elif isinstance(value, str) and "-" in value:
        first, last = value.split("-", 1)
    else:
        first = last = value
    read = _integer(1, 10**12)
    low, high = read(first), 10**12 if last in (None, "") else read(last)
    if low > high:
        raise ScriptError(f"{value!r}: the range ends before it begins")
    return low, high


_TOKENS = _integer(0, 1_000_000)
_MILLISECONDS = _integer(0, 86_400_000)
_COUNT = _integer(0, 1_000_000_000)

KEYS: dict[str, Callable[[object], object]] = {
    "output_tokens": _TOKENS,
    "reasoning_tokens": _TOKENS,
    "cached_tokens": _TOKENS,
    "cache_write_5m_tokens": _TOKENS,
    "cache_write_1h_tokens": _TOKENS,
    "overrun_tokens": _TOKENS,
    "latency_ms": parse_draw,
    "token_ms": parse_draw,
    "tokens_per_event": _integer(1, 1_000_000),
    "events_per_write": _COUNT,
    "keep_alive": _integer(0, 10_000),
    "keep_alive_every_ms": _integer(1, 86_400_000),
    "fault": _fault,
    "on_attempt": read_range,
    "status": _integer(400, 599),
    "flavour": _one_of(FLAVOURS),
    "retry_after_s": _number,
    "retry_after_form": _one_of(RETRY_AFTER_FORMS),
    "rate_headers": _boolean,
    "reset_s": _number,
    "after_events": _COUNT,
    "after_deltas": _COUNT,
    "after_bytes": _COUNT,
    "stream_error": _one_of(STREAM_ERRORS),
    "clean": _boolean,
    "reset": _boolean,
    "close_after": _boolean,
    "drip_bytes": _integer(1, 1_000_000_000),
    "drip_ms": _MILLISECONDS,
    "h2_error": _one_of(list(H2_ERRORS)),
    "executed": _boolean,
    "bill": _one_of(["full", "partial", "none"]),
    "batch_looks": _COUNT,
}
if set(KEYS) != {field.name for field in fields(Settings)}:
    raise AssertionError("KEYS and Settings have drifted apart")

DEFAULTS = Settings()

_DIRECTIVE = re.compile(r"\[\[simulator:([^\]]*)\]\]")


def read_settings(raw: Mapping[str, object]) -> dict[str, object]:
    """Checks keys and values and returns typed values. Raises ScriptError naming the key."""
    typed: dict[str, object] = {}
    for key, value in raw.items():
        reader = KEYS.get(key)
        if reader is None:
            raise ScriptError(f"unknown setting {key!r}; known: {', '.join(KEYS)}")
        try:
            typed[key] = reader(value)
        except ScriptError as error:
            raise ScriptError(f"{key}: {error}") from None
    return typed


def read_words(text: str) -> dict[str, object]:
    """Settings from "key=value key=value", as the header carries them. Raises ScriptError."""
    raw: dict[str, object] = {}
    for part in text.replace(",", " ").split():
        key, equals, value = part.partition("=")
        if not equals:
            raise ScriptError(f"{part!r} is not key=value")
        raw[key] = value
    return read_settings(raw)


def read_directives(prompt: str) -> dict[str, object]:
    """Settings from every `[[simulator: ...]]` in a prompt; later ones win."""
    if "[[simulator:" not in prompt:
        return {}
    typed: dict[str, object] = {}
    for match in _DIRECTIVE.finditer(prompt):
        typed.update(read_words(match.group(1)))
    return typed


def combine(overlay: Mapping[str, object]) -> Settings:
    """The defaults with these typed values laid over them."""
    return replace(DEFAULTS, **overlay) if overlay else DEFAULTS  # type: ignore[arg-type]


def error_status(settings: Settings) -> int:
    """The status of a scripted error: as set, else 502 for a page, 429 for a flavour, or 500."""
    if settings.status is not None:
        return settings.status
    if settings.fault == "html_error":
        return 502
    return 429 if settings.flavour != "auto" else 500


def executes_by_default(settings: Settings) -> bool:
    """Whether a request with this fault counts as executed when `executed` is not set.

    The faults before execution are not; the provider's own refusals (4xx, 503, 529) are not;
    500, 502, 504 and a proxy's HTML page are, which is the worst case for whoever pays.
    """
    fault = settings.fault
    if fault in ("drop_before", "stall_before", "goaway", "refused_stream"):
        return False
    if fault == "status":
        return error_status(settings) in (500, 502, 504)
    return True
