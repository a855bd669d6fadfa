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


def log_unknown_limit(source: str, name: str, hint: str) -> None:
    """Limits of a model that has no price: right for a model of one's own, else a slip."""
    provider, _, model = name.partition("/")
    extra = {"event": "unknown_limit", "provider": provider, "model": model}
    text = (
        '%s: [limits."%s"]: the price table has no such model, so no priced call is limited by it%s'
    )
    logger.warning(text, source, name, hint, extra=extra)


def log_fallback(failed: str, following: str, call: Any) -> None:
    """A chain moved on."""
    provider, _, model = failed.partition("/")
    move = f"to {following}" if failed != following else "a shorter maximum of output tokens"
    log_events(
        [
            {
                "kind": "fallback",
                "provider": provider,
                "model": model,
                "account": None,
                "call_id": call.call_id,
                "detail": f"{move} after {call.error_kind} ({call.outcome})",
                "t_wall": None,
            }
        ]
    )


def log_threshold(event: Any) -> None:
    """A budget reached a level; `event` is a BudgetEvent."""
    level = logging.ERROR if event.level == "exceeded" else logging.WARNING
    if logger.isEnabledFor(level):
        fields = {"event": "budget_threshold", "scope": event.scope, "budget_level": event.level}
        logger.log(
            level,
            "budget_threshold: %s is at %s (%s): %s spent, %s held, %s in doubt of %s",
            event.scope,
            event.level,
            event.status,
            event.spent,
            event.held,
            event.in_doubt,
            event.limit,
            extra={**dict.fromkeys(_FIELDS), **fields, "status": event.status},
        )


def log_callback_error(scope: str, error: Exception) -> None:
    """A callback of the user's raised; the call that led to it goes on."""
    logger.error("a callback for the budget %s raised", scope, exc_info=error)
