"""What the replay amounted to: cost by provider, model and job, latencies, what happened.

Model: pure functions from the record of the replay and the audit to a `Summary`: rows of plain
values that the terminal, the page, the picture and result.json share. Money stays in nano-dollars
until it is written out by `dollars`. Percentiles are by nearest rank.

    summary = summarise(replay, audit)
    summary.result["p99_ms"], summary.models[0].cost_nanousd
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from sluiceway.demo.books import Audit
from sluiceway.demo.limits import scope_of
from sluiceway.demo.replay import (
    COMPLETED,
    REFUSED_BY_BUDGET,
    WORDS,
    Outcome,
    Replay,
    is_closing,
    is_opening,
)

WAITED_MS = 50.0  # the ledger alone takes less
# With this many calls or more, each of NEEDED has to have happened.
CALLS_ENOUGH = 5_000
NEEDED = {
    "completed": "a completed call",
    "refused_by_budget": "a call refused by a budget",
    "cache_hits": "a cache hit",
    "retries": "a retried call",
    "streamed": "a streamed call",
    "breaker_opened": "a breaker that opened",
    "breaker_closed": "a breaker that closed again",
}


@dataclass(slots=True)
class Row:
    """A line of a table of costs."""

    name: str
    calls: int = 0
    completed: int = 0
    refused: int = 0
    in_doubt: int = 0
    cost_nanousd: int = 0
    charged_nanousd: int = 0  # by the provider's log
    limit_nanousd: int | None = None
    latencies_ms: list[float] = field(default_factory=list)

    def percentile_ms(self, share: float) -> float:
        """A latency by nearest rank; 0 without any."""
        return percentile(self.latencies_ms, share)


@dataclass(slots=True)
class Summary:
    """Everything that is shown."""

    result: dict[str, Any]
    providers: list[Row]
    models: list[Row]
    jobs: list[Row]
    breaker_events: list[tuple[float, str, str]]  # seconds, model, what
    words: dict[str, int]
    errors: dict[str, int]
    missing: list[str]

    @property
    def jobs_run_out(self) -> int:
        """Jobs that had a call refused for want of money."""
        return sum(row.refused > 0 for row in self.jobs)


def percentile(values: Sequence[float], share: float) -> float:
    """By nearest rank; 0 of nothing."""
    if not values:
        return 0.0
    ordered = sorted(values)
    return ordered[max(0, -(-round(share * 1e6) * len(ordered) // 1_000_000) - 1)]


def dollars(nanousd: int, digits: int = 6) -> str:
    """An amount for people, rounded half up to `digits` decimals; never through a float."""
    scale: int = 10 ** (9 - digits)
    whole, part = divmod((abs(nanousd) + scale // 2) // scale, 10**digits)
    return f"{'-' if nanousd < 0 else ''}${whole:,}.{part:0{digits}}"


def summarise(replay: Replay, audit: Audit) -> Summary:
    """Tables and result.json, but for `wall_s`, which the end of the job sets."""
    outcomes = replay.outcomes
    words = Counter(outcome.word for outcome in outcomes)
    done = [outcome.latency_ms for outcome in outcomes if outcome.word == COMPLETED]
    result: dict[str, Any] = {
        "calls": len(outcomes),
        "completed": words[COMPLETED],
        "streamed": sum(one.call.stream and one.word == COMPLETED for one in outcomes),
        "refused_by_budget": words[REFUSED_BY_BUDGET],
        "cache_hits": sum(one.cache == "hit" for one in outcomes),
        "cache_joined": sum(one.cache == "joined" for one in outcomes),
        "retries": sum(one.retries for one in outcomes),
        "waited_for_limits": sum(one.queue_ms >= WAITED_MS for one in outcomes),
        "fallbacks": sum(one.hops - 1 for one in outcomes if one.hops > 1),
        "breaker_opened": sum(map(is_opening, replay.events)),
        "breaker_closed": sum(map(is_closing, replay.events)),
        "outcomes": {word: words[word] for word in WORDS},
        "ledger_nanousd": audit.ledger_nanousd,
        "provider_nanousd": audit.provider_nanousd,
        "provider_settled_nanousd": audit.provider_settled_nanousd,
        "provider_in_doubt_nanousd": audit.provider_in_doubt_nanousd,
        "in_doubt_nanousd": audit.in_doubt_nanousd,
        "settled_calls": audit.settled_calls,
        "void_calls": audit.void_calls,
        "in_doubt_calls": audit.in_doubt_calls,
        "executions_per_attempt_max": audit.executions_per_attempt_max,
        "executions_per_call_max": audit.executions_per_call_max,
        "overshoot_nanousd": audit.overshoot_nanousd,
        "problems": audit.problems,
        "wall_s": 0.0,
        "replay_s": round(replay.replay_s, 3),
        "p50_ms": round(percentile(done, 0.50), 3),
        "p90_ms": round(percentile(done, 0.90), 3),
        "p99_ms": round(percentile(done, 0.99), 3),
        "seed": replay.plan.seed,
        "trace": replay.plan.trace_name,
    }
    missing = []
    if len(outcomes) >= CALLS_ENOUGH:
        missing = [what for name, what in NEEDED.items() if result[name] < 1]
    charged = audit.charged_by_scope
    limits = dict(replay.budgets.jobs)
    jobs = _rows(outcomes, lambda one: scope_of(one.call.job), replay.budgets.jobs)
    for row in jobs:
        row.limit_nanousd = limits[row.name]
        row.charged_nanousd = charged.get(row.name, 0)
    return Summary(
        result,
        _rows(outcomes, lambda one: one.model.partition("/")[0]),
        _rows(outcomes, lambda one: one.model),
        jobs,
        [
            (event.at_s, f"{event.provider}/{event.model}", event.detail)
            for event in sorted(replay.events, key=lambda event: event.at_s)
            if event.kind == "breaker"
        ],
        {word: words[word] for word in WORDS},
        dict(Counter(one.error for one in outcomes if one.error).most_common()),
        missing,
    )


def _rows(
    outcomes: Iterable[Outcome], name_of: Callable[[Outcome], str], order: Mapping[str, Any] = {}
) -> list[Row]:
    """Rows by name; in the order given, else the dearest first."""
    rows: dict[str, Row] = {name: Row(name) for name in order}
    for one in outcomes:
        row = rows.setdefault(name_of(one), Row(name_of(one)))
        row.calls += 1
        row.cost_nanousd += one.cost_nanousd
        row.refused += one.word == REFUSED_BY_BUDGET
        row.in_doubt += one.word == "in doubt"
        if one.word == COMPLETED:
            row.completed += 1
            row.latencies_ms.append(one.latency_ms)
    found = list(rows.values())
    if not order:
        found.sort(key=lambda row: -row.cost_nanousd)
    return found
