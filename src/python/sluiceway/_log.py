"""What happens in the engine, told to `logging` under the name "sluiceway".

Model: the engine collects events (a retry, a limit reached, a breaker that moved, a budget that
refused, money in doubt) and hands them over in batches, from a drain or from a blocked waiter,
never from its own thread. Each becomes one record with a level and structured `extra` fields:
`event`, `provider`, `account`, `model`, `call_id`, `detail`, `t_wall`. No prompts, no answers, no
keys; the library adds no handlers and sets no levels. A message is made only if somebody listens.

    logging.getLogger("sluiceway").setLevel(logging.INFO)
"""

from __future__ import annotations

import logging
from collections.abc import Iterable, Mapping
from typing import Any

from sluiceway.errors import redact

logger = logging.getLogger("sluiceway")
logger.addHandler(logging.NullHandler())

_LEVELS = {
    "retry": logging.INFO,
    "limit_wait": logging.DEBUG,
    "limit_refused": logging.WARNING,
    "breaker": logging.WARNING,
    "budget_refused": logging.WARNING,
    "in_doubt": logging.WARNING,
    "fallback": logging.WARNING,
    "overrun": logging.ERROR,
    "frozen": logging.WARNING,
}
_FIELDS = ("provider", "account", "model", "call_id", "detail", "t_wall")


def log_events(events: Iterable[Mapping[str, Any]]) -> None:
    """One record an event."""
    for event in events:
        kind = event.get("kind", "event")
        level = _LEVELS.get(kind, logging.INFO)
        if not logger.isEnabledFor(level):
            continue
        extra = {name: event.get(name) for name in _FIELDS}
        extra["detail"] = redact(str(event.get("detail", "")))
        extra["event"] = kind
        where = f"{event.get('provider')}/{event.get('model')}"
        logger.log(level, "%s: %s %s", kind, where, extra["detail"], extra=extra)


def log_fallback(failed: str, following: str, call: Any) -> None:
    """A chain moved on."""
    provider, _, model = failed.partition("/")
    log_events(
        [
            {
                "kind": "fallback",
                "provider": provider,
                "model": model,
                "account": None,
                "call_id": call.call_id,
                "detail": f"to {following} after {call.error_kind} ({call.outcome})",
                "t_wall": None,
            }
        ]
    )
