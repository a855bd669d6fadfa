"""Makes the planned calls in time, through the gateway's asyncio twin, and notes what comes back.

Model: one task a call, started when the call is due, under its job's budget. A conductor changes
the simulator's rules when a phase is due. A handler on the logger "sluiceway" hears what the engine
tells users: retries, breakers that moved, fallbacks. Nothing here looks into the ledger: the notes
are the demo's own testimony, made from results and errors alone.

One event loop, one thread (and a worker thread for the simulator's admin requests). Memory: some
500 bytes a call.

    replay = Replay(plan, gateway, simulator, budgets)
    asyncio.run(replay.run())
    replay.outcomes, replay.notes, replay.events
"""

from __future__ import annotations

import asyncio
import contextlib
import datetime
import functools
import logging
import time
from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Any

from sluiceway.demo.books import IN_DOUBT, SETTLED, Note
from sluiceway.demo.faults import (
    HEALTHY,
    OUTAGE_MAX_S,
    OUTAGE_MIN_S,
    OUTAGE_PROVIDER,
    phases,
)
from sluiceway.demo.limits import CACHE_TTL_S, Budgets, scope_of
from sluiceway.demo.workload import Plan, PlannedCall
from sluiceway.errors import (
    BreakerOpen,
    BudgetExceeded,
    LimitExceeded,
    RequestTooLarge,
    SluicewayError,
)
from sluiceway.gateway import Gateway
from sluiceway.money import nanousd_of
from sluiceway.simulator import Simulator
from sluiceway.types import ChatResult, Hop

COMPLETED, FAILED = "completed", "failed"
REFUSED_BY_BUDGET, REFUSED_BY_LIMITS = "refused by a budget", "refused by a limit"
BREAKER_OPEN = "breaker open"
LEFT_IN_DOUBT = "in doubt"
WORDS = (COMPLETED, REFUSED_BY_BUDGET, BREAKER_OPEN, REFUSED_BY_LIMITS, LEFT_IN_DOUBT, FAILED)
# Near the hour's end the two clocks, ours and the ledger's, may not agree which hour it is.
_HOUR_MARGIN_S = 2.0
_TICK_S = 0.25


@dataclass(frozen=True, slots=True)
class Outcome:
    """What became of one call. Times in seconds from the start of the replay."""

    call: PlannedCall
    word: str  # of WORDS
    model: str  # who answered, else who was asked last
    cost_nanousd: int
    cache: str
    retries: int
    hops: int
    latency_ms: float
    queue_ms: float
    started_s: float
    ended_s: float
    error: str  # the class of the error, or ""


@dataclass(frozen=True, slots=True)
class Event:
    """Something that the engine told; `at_s` from the start of the replay."""

    kind: str
    provider: str
    model: str
    detail: str
    at_s: float


@dataclass(slots=True)
class Replay:
    """A plan under way, and then its record."""

    plan: Plan
    gateway: Gateway
    simulator: Simulator
    budgets: Budgets
    on_tick: Callable[[Replay], None] = lambda replay: None
    outcomes: list[Outcome] = field(default_factory=list)
    notes: dict[str, Note] = field(default_factory=dict)
    events: list[Event] = field(default_factory=list)
    phases_begun: list[tuple[str, float]] = field(default_factory=list)
    counts: Counter[str] = field(default_factory=Counter)
    launched: int = 0
    spent_nanousd: int = 0
    late_ms_max: float = 0.0
    replay_s: float = 0.0
    _due: list[asyncio.Event] = field(default_factory=lambda: [asyncio.Event() for _ in phases()])
    _opened: asyncio.Event = field(default_factory=asyncio.Event)  # a breaker, in this phase
    _start_s: float = 0.0
    _start_wall_s: float = 0.0

    async def run(self) -> None:
        """Returns when every call has ended. Raises what is not an error of a call."""
        loop = asyncio.get_running_loop()
        budgets = [
            self.gateway.budget(scope, f"{nanousd // 10**9}.{nanousd % 10**9:09}")
            for scope, nanousd in self.budgets.jobs.items()
        ]
        logger, handler = logging.getLogger("sluiceway"), _Listener(self._heard)
        level = logger.level
        logger.addHandler(handler)
        logger.setLevel(logging.INFO)
        self._start_s, self._start_wall_s = loop.time(), time.time()
        side_tasks = [loop.create_task(self._conduct()), loop.create_task(self._tick())]
        try:
            async with asyncio.TaskGroup() as group:
                for number, call in enumerate(self.plan.calls):
                    due_s = self._start_s + call.at_s
                    wait_s = due_s - loop.time()
                    if wait_s > 0.001:
                        await asyncio.sleep(wait_s)
                    elif number % 16 == 0:
                        await asyncio.sleep(0)
                    self.late_ms_max = max(self.late_ms_max, (loop.time() - due_s) * 1000)
                    group.create_task(self._one(call, budgets[call.job]))
                    self._count_launched()
            self.replay_s = loop.time() - self._start_s
        finally:
            for task in side_tasks:
                task.cancel()
            results = await asyncio.gather(*side_tasks, return_exceptions=True)
            logger.removeHandler(handler)
            logger.setLevel(level)
        for result in results:
            if isinstance(result, Exception):
                raise result
        self.on_tick(self)

    def _count_launched(self) -> None:
        self.launched += 1
        for phase, due in zip(phases(), self._due, strict=True):
            if self.launched >= phase.from_share * len(self.plan.calls):
                due.set()

    async def _one(self, call: PlannedCall, budget: Any) -> None:
        loop = asyncio.get_running_loop()
        started_s, wall_s = loop.time() - self._start_s, time.time()
        options: dict[str, Any] = {"max_output_tokens": call.max_output_tokens}
        if call.fallbacks:
            options["fallbacks"] = call.fallbacks
        if call.cache_group is not None:
            options["cache"] = CACHE_TTL_S
        prompt = self.plan.prompt(call)
        result: ChatResult | None = None
        error: SluicewayError | None = None
        try:
            with budget:
                if call.stream:
                    async with self.gateway.aio.stream(call.model, prompt, **options) as stream:
                        async for _ in stream:
                            pass
                        result = await stream.result()
                else:
                    result = await self.gateway.aio.chat(call.model, prompt, **options)
        except SluicewayError as raised:
            error = raised
        hours = hours_between(wall_s, time.time())
        ended_s = loop.time() - self._start_s
        if result is not None:
            outcome = self._completed(call, result, hours, started_s, ended_s)
        else:
            assert error is not None
            outcome = self._refused(call, error, hours, started_s, ended_s)
        self.outcomes.append(outcome)
        self.counts[outcome.word] += 1
        self.counts["retries"] += outcome.retries
        self.counts["cache"] += outcome.cache == "hit"

    def _completed(
        self,
        call: PlannedCall,
        result: ChatResult,
        hours: tuple[str, ...],
        started_s: float,
        ended_s: float,
    ) -> Outcome:
        hops = result.hops
        cost = result.cost.nanousd
        cached = result.cache in ("hit", "joined")
        self._note(call, hops[:-1], hours)
        told = "cached" if cached else SETTLED if cost is not None else "no_cost"
        self.notes[result.call_id] = Note(scope_of(call.job), hours, told, cost or 0)
        self.spent_nanousd += cost or 0
        return Outcome(
            call,
            COMPLETED,
            result.model,
            cost or 0,
            result.cache,
            sum(attempt.number > 1 for attempt in result.attempts),
            len(hops),
            result.latency_ms,
            result.queue_ms,
            started_s,
            ended_s,
            "",
        )

    def _refused(
        self,
        call: PlannedCall,
        error: SluicewayError,
        hours: tuple[str, ...],
        started_s: float,
        ended_s: float,
    ) -> Outcome:
        self._note(call, error.hops, hours)
        return Outcome(
            call,
            _word_of(error),
            f"{error.provider}/{error.model}" if error.provider else call.model,
            0,
            "off",
            sum(attempt.number > 1 for attempt in error.attempts),
            len(error.hops),
            (ended_s - started_s) * 1000,
            0.0,
            started_s,
            ended_s,
            type(error).__name__,
        )

    def _note(self, call: PlannedCall, hops: Sequence[Hop], hours: tuple[str, ...]) -> None:
        """Notes hops that gave no answer: what they hold is all that their caller knows."""
        for hop in hops:
            held = nanousd_of(hop.held)
            told = IN_DOUBT if held else "no_charge"
            self.notes[hop.call_id] = Note(scope_of(call.job), hours, told, held)

    def _heard(self, record: logging.LogRecord) -> None:
        kind = getattr(record, "event", "")
        if not kind:
            return
        wall_s = getattr(record, "t_wall", None) or record.created
        event = Event(
            kind,
            getattr(record, "provider", None) or "",
            getattr(record, "model", None) or "",
            getattr(record, "detail", None) or "",
            wall_s - self._start_wall_s,
        )
        self.events.append(event)
        if is_opening(event) and event.provider == OUTAGE_PROVIDER:
            self._opened.set()

    async def _conduct(self) -> None:
        loop = asyncio.get_running_loop()
        for phase, due in zip(phases(), self._due, strict=True):
            await due.wait()
            self._opened.clear()
            await asyncio.to_thread(self.simulator.script, [*HEALTHY, *phase.rules])
            begun_s = loop.time()
            self.phases_begun.append((phase.name, begun_s - self._start_s))
            if not phase.outage:
                continue
            # It stays up until a breaker has opened, within its bounds.
            with contextlib.suppress(TimeoutError):
                await asyncio.wait_for(self._opened.wait(), OUTAGE_MAX_S)
            await asyncio.sleep(max(0.0, begun_s + OUTAGE_MIN_S - loop.time()))

    async def _tick(self) -> None:
        while True:
            self.on_tick(self)
            await asyncio.sleep(_TICK_S)


class _Listener(logging.Handler):
    """Hands records on."""

    def __init__(self, heard: Callable[[logging.LogRecord], None]) -> None:
        super().__init__()
        self._heard = heard

    def emit(self, record: logging.LogRecord) -> None:
        self._heard(record)


def is_opening(event: Event) -> bool:
    """Whether a breaker opened."""
    return event.kind == "breaker" and event.detail.endswith(" open")


def is_closing(event: Event) -> bool:
    """Whether a breaker closed."""
    return event.kind == "breaker" and event.detail.endswith(" closed")


def _word_of(error: SluicewayError) -> str:
    if isinstance(error, BudgetExceeded):
        return REFUSED_BY_BUDGET
    if isinstance(error, LimitExceeded | RequestTooLarge):
        return REFUSED_BY_LIMITS
    if isinstance(error, BreakerOpen):
        return BREAKER_OPEN
    return LEFT_IN_DOUBT if error.outcome == "in_doubt" or error.held else FAILED


def hours_between(from_wall_s: float, to_wall_s: float) -> tuple[str, ...]:
    """The hourly scopes in which something may lie that happened between two Unix times."""
    first = int(from_wall_s - _HOUR_MARGIN_S) // 3600
    last = int(to_wall_s + _HOUR_MARGIN_S) // 3600
    return tuple(_hour_name(hour) for hour in range(first, last + 1))


@functools.cache
def _hour_name(hour: int) -> str:
    moment = datetime.datetime.fromtimestamp(hour * 3600, datetime.UTC)
    return f"hour:{moment:%Y-%m-%dT%H}"
