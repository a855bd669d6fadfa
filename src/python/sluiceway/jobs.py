"""Async jobs: handles that outlive their process.

Model: a `Job` is a view of one row in the ledger file. Starting a job reserves what it may cost at
most; the hold stays until the job has ended, through restarts, and any process that opens the same
ledger with the same key can go on with it: `gw.job(job.id)`. A look at the provider is free. The
look that finds the job ended settles its real cost and frees the rest.

    job = gw.batch("anthropic/claude-haiku-5-5", ["Name a river", "Name a lake"])
    job.wait(timeout_s=900, on_progress=print)
    for item in job.results(): print(item.text, item.cost)

    gw.job(job.id).state, [one.id for one in gw.jobs("running")]

`AsyncJob` has the same names, to be awaited. A handle may be used by any thread; it holds the row
as it was at its last look.
"""

from __future__ import annotations

import json
import time
from collections.abc import Callable
from decimal import Decimal
from typing import TYPE_CHECKING, NamedTuple

from sluiceway._job_steps import (
    ENDED,
    BatchItem,
    Row,
    cancel_steps,
    look_steps,
    results_steps,
)
from sluiceway._steps import run, run_async
from sluiceway.errors import DeadlineExceeded, InvalidRequest
from sluiceway.money import usd_of

if TYPE_CHECKING:
    from sluiceway._hub import Hub
    from sluiceway.options import Plan

FIRST_LOOK_S = 1.0
LOOKS_GROW = 1.5
LOOK_MAX_S = 60.0


class Progress(NamedTuple):
    """What a look saw: items done, of how many, and the seconds since the wait began."""

    done: int
    total: int
    waited_s: float


class _JobView:
    __slots__ = ("_hub", "_plan", "_row")

    def __init__(self, hub: Hub, plan: Plan, row: Row) -> None:
        self._hub = hub
        self._plan = plan
        self._row = row

    @property
    def id(self) -> str:
        """The job's id in this ledger: what `gw.job` takes."""
        return str(self._row["call_id"])

    @property
    def provider_job_id(self) -> str:
        """The provider's own id."""
        return str(self._row["provider_job_id"])

    @property
    def model(self) -> str:
        """ "provider/model"."""
        return str(json.loads(self._row["request"])["model"])

    @property
    def state(self) -> str:
        """ "running" or "ended", as of the last look."""
        return str(self._row["state"])

    @property
    def ceiling(self) -> Decimal:
        """What was reserved: the most that the job may cost."""
        return usd_of(sum(json.loads(self._row["request"])["ceilings_nanousd"]))

    @property
    def cost(self) -> Decimal | None:
        """What it cost; None while it runs."""
        return usd_of(json.loads(self._row["result"])["nanousd"]) if self._ended else None

    @property
    def _ended(self) -> bool:
        return bool(self._row["state"] == ENDED)

    def __repr__(self) -> str:
        return f"{type(self).__name__}({self.id}, {self.model}, {self.state})"

    def _check_ended(self) -> None:
        if not self._ended:
            raise InvalidRequest(f"the job {self.id} has not ended; wait() for it first")


class Pace:
    """When to look next: soon at first, then less and less often, never past the deadline."""

    __slots__ = ("_began_s", "_deadline_s", "_job", "_next_s", "_now")

    def __init__(
        self, job: str, timeout_s: float, first_s: float, now: Callable[[], float]
    ) -> None:
        if not first_s > 0:
            raise InvalidRequest(f"poll_s={first_s} is not above zero")
        self._now = now
        self._job = job
        self._began_s = now()
        self._deadline_s = self._began_s + timeout_s
        self._next_s = first_s

    def waited_s(self) -> float:
        """Seconds since the wait began."""
        return self._now() - self._began_s

    def pause_s(self) -> float:
        """How long to sleep before the next look. DeadlineExceeded: there is no time for one."""
        left_s = self._deadline_s - self._now()
        if left_s <= 0:
            raise DeadlineExceeded(
                f"the job {self._job} was still running at the deadline; it goes on and its money"
                " stays held: look again with gw.job(...)",
                outcome="done",
                call_id=self._job,
            )
        pause_s = min(self._next_s, left_s, LOOK_MAX_S)
        self._next_s *= LOOKS_GROW
        return pause_s


OnProgress = Callable[[Progress], object]


class Job(_JobView):
    """A job, to be waited for by blocking."""

    __slots__ = ()

    def poll(self) -> bool:
        """One look at the provider; True when the job has ended and is settled."""
        self._row = run(look_steps(self._hub, self._plan, self._row))[0]
        return self._ended

    def wait(
        self,
        timeout_s: float = 900.0,
        *,
        poll_s: float = FIRST_LOOK_S,
        on_progress: OnProgress | None = None,
    ) -> Job:
        """Looks again and again until the job has ended. DeadlineExceeded after `timeout_s`: the
        job goes on. `poll_s` is the first pause; the next ones grow to a minute."""
        pace = Pace(self.id, timeout_s, poll_s, time.monotonic)
        while True:
            self._row, done, total = run(look_steps(self._hub, self._plan, self._row))
            if on_progress is not None:
                on_progress(Progress(done, total, pace.waited_s()))
            if self._ended:
                return self
            time.sleep(pace.pause_s())

    def results(self) -> list[BatchItem]:
        """What became of each prompt, in their order; read from the provider each time."""
        self._check_ended()
        return run(results_steps(self._hub, self._plan, self._row))

    def cancel(self) -> None:
        """Asks the provider to stop. What is done by then is billed; wait() for the end."""
        run(cancel_steps(self._hub, self._plan, self._row))


class AsyncJob(_JobView):
    """The asyncio twin of `Job`."""

    __slots__ = ()

    async def poll(self) -> bool:
        """See `Job.poll`."""
        self._row = (await run_async(look_steps(self._hub, self._plan, self._row)))[0]
        return self._ended

    async def wait(
        self,
        timeout_s: float = 900.0,
        *,
        poll_s: float = FIRST_LOOK_S,
        on_progress: OnProgress | None = None,
    ) -> AsyncJob:
        """See `Job.wait`."""
        import asyncio

        pace = Pace(self.id, timeout_s, poll_s, time.monotonic)
        while True:
            self._row, done, total = await run_async(look_steps(self._hub, self._plan, self._row))
            if on_progress is not None:
                on_progress(Progress(done, total, pace.waited_s()))
            if self._ended:
                return self
            await asyncio.sleep(pace.pause_s())

    async def results(self) -> list[BatchItem]:
        """See `Job.results`."""
        self._check_ended()
        return await run_async(results_steps(self._hub, self._plan, self._row))

    async def cancel(self) -> None:
        """See `Job.cancel`."""
        await run_async(cancel_steps(self._hub, self._plan, self._row))


def rows(hub: Hub, state: str | None) -> list[Row]:
    """The rows of all jobs, oldest first; of one state where it is named."""
    if state not in (None, "running", ENDED):
        raise InvalidRequest(f'the state {state!r} is neither "running" nor "ended"')
    found: list[Row] = hub.engine.job_list(state)
    return found
