"""One worker of the overshoot experiment: streams against every tenant's budget, without end.

Model: `--streams` tasks take the tenants in turn and send one streamed call after the other until
their tenant has no room any more. Four policies decide what "room" means:

    wait          our budget, on_exceed="wait": the call waits until money comes back or its
                  deadline passes
    refuse        our budget, on_exceed="refuse": the first refusal ends the tenant for this task
    reserve_max   a counter that all workers share, as gateways have it: spent + held + ceiling must
                  fit; the hold goes back when the stream ends
    count_after   the same counter, only looked at before a call and added to after it

The shared counters of the last two live in a file of int64 under a lock: they are exact, so
what they show is the policy and not a race. Prints one JSON line: {"calls": {call id: tenant}}.
"""

from __future__ import annotations

import argparse
import asyncio
import fcntl
import json
import os
import random
import struct
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from sluiceway import BudgetError, DeadlineExceeded, Gateway

MODEL = "anthropic/claude-haiku-4-5"
MAX_OUTPUT_TOKENS = 560
PATIENCE_S = 4.0


class Counters:
    """spent and held of each tenant, in a file that all workers share."""

    def __init__(self, path: str) -> None:
        self._fd = os.open(path, os.O_RDWR)

    @contextmanager
    def of(self, tenant: int) -> Iterator[list[int]]:
        """[spent, held] under the lock; written back at the end."""
        fcntl.flock(self._fd, fcntl.LOCK_EX)
        try:
            pair = list(struct.unpack("<qq", os.pread(self._fd, 16, 16 * tenant)))
            yield pair
            os.pwrite(self._fd, struct.pack("<qq", *pair), 16 * tenant)
        finally:
            fcntl.flock(self._fd, fcntl.LOCK_UN)


class Worker:
    """See the top of the file."""

    def __init__(self, args: argparse.Namespace) -> None:
        self.args = args
        self.random = random.Random(args.seed)
        self.calls: dict[str, int] = {}
        self.counters = Counters(args.counters)
        self.gw = Gateway({"ledger": {"path": args.ledger, "durability": "process"}})
        self.limit = args.limit_nanousd
        self.ours = args.policy in ("wait", "refuse")
        self.done: set[int] = set()

    def prompt(self) -> str:
        """A short prompt whose answer has 30 to 560 tokens, drawn from the seed."""
        tokens = min(max(int(self.random.lognormvariate(5.3, 0.7)), 30), MAX_OUTPUT_TOKENS)
        return f"[[simulator: output_tokens={tokens} tokens_per_event=40 token_ms=1]] go on"

    async def stream(self, prompt: str) -> int:
        """One call to its end; what it cost."""
        options: Any = {"max_output_tokens": MAX_OUTPUT_TOKENS, "timeout_s": PATIENCE_S}
        async with self.gw.aio.stream(MODEL, prompt, **options) as s:
            async for _ in s:
                pass
            result = await s.result()
        self.calls[result.call_id] = self.tenant_of_task()
        return int(result.cost.nanousd or 0)

    def tenant_of_task(self) -> int:
        """The tenant that the running task works for."""
        task = asyncio.current_task()
        assert task is not None
        return int(task.get_name())

    async def ours_once(self, tenant: int, prompt: str) -> bool:
        """False: the tenant is finished."""
        try:
            await self.stream(prompt)
        except (BudgetError, DeadlineExceeded):
            return False
        return True

    async def counted_once(self, tenant: int, prompt: str) -> bool:
        """By the shared counter."""
        ceiling = int(
            self.gw.estimate.chat(
                MODEL, prompt, max_output_tokens=MAX_OUTPUT_TOKENS
            ).ceiling.scaleb(9)
        )
        hold = ceiling if self.args.policy == "reserve_max" else 0
        with self.counters.of(tenant) as pair:
            room = pair[0] + pair[1] + hold <= self.limit if hold else pair[0] < self.limit
            if room:
                pair[1] += hold
        if not room:
            return False
        cost = await self.stream(prompt)
        with self.counters.of(tenant) as pair:
            pair[0] += cost
            pair[1] -= hold
        return True

    async def task(self, tenant: int) -> None:
        once = self.ours_once if self.ours else self.counted_once
        if not self.ours:
            while await once(tenant, self.prompt()):
                pass
            return
        usd = str(self.limit).rjust(10, "0")
        budget = self.gw.budget(
            f"tenant:{tenant}", usd=f"{usd[:-9]}.{usd[-9:]}", on_exceed=self.args.policy
        )
        async with budget:
            while await once(tenant, self.prompt()):
                pass

    async def main(self) -> None:
        tasks = [
            asyncio.create_task(
                self.task(index % self.args.tenants), name=str(index % self.args.tenants)
            )
            for index in range(self.args.streams)
        ]
        await asyncio.gather(*tasks)
        print(json.dumps({"calls": self.calls}))
        self.gw.close()


if __name__ == "__main__":
    parser = argparse.ArgumentParser()
    parser.add_argument("policy", choices=("wait", "refuse", "reserve_max", "count_after"))
    for name in ("ledger", "counters"):
        parser.add_argument(f"--{name}", required=True)
    for name in ("streams", "tenants", "limit-nanousd", "seed"):
        parser.add_argument(f"--{name}", type=int, required=True)
    asyncio.run(Worker(parser.parse_args()).main())
