"""What goes wrong during the demo, and when: phases of rules for the simulator.

Model: a phase begins when its share of the calls has been launched, and replaces the rules of the
one before. Under all of them lie the rules of a healthy provider (latencies, a pace of streams).
Chances are small and spread over the providers, so that a budget, a limit, a retry or a hold comes
out of each kind, while most calls still work. The outage is total for one provider; the run ends it
when a breaker has opened and OUTAGE_MIN_S have passed, or after OUTAGE_MAX_S.

Plain data, no clock. The words are those of simulator/settings.py and simulator/script.py.

    for phase in phases(): simulator.script([*HEALTHY, *phase.rules])
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

Rule = dict[str, Any]
OUTAGE_PROVIDER = "deepseek"
OUTAGE_MIN_S = 1.5
OUTAGE_MAX_S = 6.0

HEALTHY: list[Rule] = [
    {"match": {}, "action": {"latency_ms": "lognormal:45:0.5"}},
    {"match": {"stream": True}, "action": {"token_ms": 3}},
]


@dataclass(frozen=True, slots=True)
class Phase:
    """Rules from `from_share` (0 to 1) of the calls on. `name` goes into the picture."""

    name: str
    from_share: float
    rules: tuple[Rule, ...] = ()
    outage: bool = False


def _rule(chance: float, action: dict[str, Any], **match: Any) -> Rule:
    return {"match": {**match, "probability": chance}, "action": action}


def _throttled(provider: str, nth: str, **action: Any) -> Rule:
    action = {"fault": "status", "status": 429, **action}
    return {"match": {"provider": provider, "nth": nth}, "action": action}


def phases() -> tuple[Phase, ...]:
    """All phases, in order."""
    return (
        Phase("healthy", 0.0),
        Phase("throttled", 0.10, _THROTTLED),
        Phase("server errors", 0.25, _SERVER_ERRORS),
        Phase("outage", 0.40, _OUTAGE, outage=True),
        Phase("recovered", 0.45),
        Phase("broken connections", 0.58, _BROKEN),
        Phase("broken streams", 0.72, _BROKEN_STREAMS),
        Phase("healthy again", 0.88),
    )


# Each form of Retry-After and of the rate-limit headers, two or three answers of each. The dates
# have whole seconds and freeze a group for up to two; the others for some 200 ms.
_THROTTLED: tuple[Rule, ...] = (
    _throttled("openai", "8-10", retry_after_form="ms", retry_after_s=0.2, flavour="requests"),
    _throttled("openai", "60-62", flavour="tokens", reset_s=0.3),
    _throttled("openai", "110-111", retry_after_form="seconds", retry_after_s=1),
    _throttled("deepseek", "8-9", retry_after_form="date", retry_after_s=0.4),
    _throttled("deepseek", "70-71", retry_after_form="rfc850", retry_after_s=0.4),
    _throttled("anthropic", "8-9", retry_after_form="asctime", retry_after_s=0.4),
    _throttled("anthropic", "70-72", flavour="tokens", retry_after_form="none", reset_s=1),
    _rule(0.01, {"fault": "status", "status": 429}),
)

# 503 and 529 in the provider's own words are refusals and are tried again. 500, 502 and a proxy's
# page are not: they may have been executed, and half of them were.
_SERVER_ERRORS: tuple[Rule, ...] = (
    _rule(0.04, {"fault": "status", "status": 503}),
    _rule(0.04, {"fault": "status", "status": 529}, provider="anthropic"),
    _rule(0.008, {"fault": "status", "status": 500}),
    _rule(0.006, {"fault": "status", "status": 502, "executed": False}),
    _rule(0.006, {"fault": "html_error"}),
    _rule(0.004, {"fault": "html_error", "status": 503, "executed": False}),
)

_OUTAGE: tuple[Rule, ...] = (
    {"match": {"provider": OUTAGE_PROVIDER}, "action": {"fault": "status", "status": 503}},
)

_BROKEN: tuple[Rule, ...] = (
    _rule(0.010, {"fault": "drop_before"}),
    _rule(0.010, {"fault": "drop_after"}),
    _rule(0.006, {"fault": "drop_after", "reset": True}),
    _rule(0.006, {"fault": "cut_body"}, stream=False),
    _rule(0.004, {"fault": "cut_chunked"}),
    _rule(0.004, {"fault": "bad_json"}, stream=False),
    # A whole answer, and then the connection is gone without a word: the next call must not be sent
    # twice on it.
    _rule(0.040, {"close_after": True}),
)

_BROKEN_STREAMS: tuple[Rule, ...] = (
    _rule(0.004, {"fault": "stall_before"}),
    _rule(0.004, {"fault": "stall_after"}),
    _rule(0.020, {"fault": "cut_stream", "bill": "partial"}, stream=True),
    _rule(0.015, {"fault": "cut_stream", "clean": True}, stream=True),
    _rule(0.010, {"fault": "stall_stream", "bill": "partial"}, stream=True),
    _rule(0.015, {"fault": "error_in_stream", "after_deltas": 0}, stream=True),
    _rule(0.015, {"fault": "error_in_stream", "after_deltas": 2}, stream=True),
)
