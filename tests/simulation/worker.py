"""One worker process of the simulations: a service that makes paid calls and says what it sees.

Run as a script. It reads a plan (one JSON line) on its standard input, says "ready", waits for
another line, makes the planned calls with `concurrency` tasks on one event loop through the public
`sluiceway.Gateway`, and writes one JSON line for every event, each with one write, so that a line
arrives whole or not at all however the process ends:

    {"event": "ready" | "opening" | "opened" | "closing" | "closed"}
    {"event": "start", "n": 17}
    {"event": "end", "n": 17, "call": id, "told": word, "amount": nano-dollars, "scope": name}

`told` is what the caller was told: settled (amount: the cost), in_doubt (amount: what is held),
refused (by a budget; scope: which one) or no_charge (any other error that holds nothing).

The plan: {"worker", "ledger", "durability", "concurrency", "shared", "budgets": {provider: [scope,
usd]}, "calls": [[n, model, prompt, max_output_tokens, stream], ...]}. The simulator's address comes
from the environment.
"""

from __future__ import annotations

import asyncio
import json
import os
import sys
from collections.abc import Iterator
from typing import Any

from sluiceway import BudgetExceeded, Gateway, SluicewayError
from sluiceway.money import nanousd_of

PROVIDERS = ("openai", "deepseek", "anthropic")
STDOUT = 1


def say(event: str, **fields: Any) -> None:
    """Writes one event with one write."""
    os.write(STDOUT, json.dumps({"event": event, **fields}).encode() + b"\n")


def gateway_config(ledger: str, durability: str) -> dict[str, Any]:
    """No limits and no breakers: the simulations are about money. Retries are quick."""
    retry = {"base_s": 0.005, "throttle_base_s": 0.005, "cap_s": 0.02, "budget_percent": 1000}
    return {
        "ledger": {"path": ledger, "durability": durability},
        "retries": dict.fromkeys(PROVIDERS, retry),
        "breakers": {provider: {"enabled": False} for provider in PROVIDERS},
    }


class Worker:
    """The calls of one plan."""

    def __init__(self, plan: dict[str, Any]) -> None:
        self.plan = plan
        self.gateway = Gateway(gateway_config(plan["ledger"], plan["durability"]))
        self.calls: Iterator[list[Any]] = iter(plan["calls"])

    async def run(self) -> None:
        """Makes all calls and closes the gateway."""
        say("opening")
        self.shared = self.gateway.budget(self.plan["shared"])
        self.own = {
            provider: self.gateway.budget(scope, usd)
            for provider, (scope, usd) in self.plan["budgets"].items()
        }
        say("opened")
        async with asyncio.TaskGroup() as group:
            for _ in range(self.plan["concurrency"]):
                group.create_task(self.work())
        say("closing")
        await self.gateway.aio.close(10)
        say("closed")

    async def work(self) -> None:
        """One of the tasks: takes the next call until none is left."""
        for n, model, prompt, maximum, stream in self.calls:
            say("start", n=n)
            try:
                with self.shared, self.own[model.partition("/")[0]]:
                    result = await self.call(model, prompt, maximum, stream)
                say("end", n=n, call=result.call_id, told="settled", amount=result.cost.nanousd)
            except BudgetExceeded as error:
                say("end", n=n, call=error.call_id, told="refused", amount=0, scope=error.scope)
            except SluicewayError as error:
                held = nanousd_of(error.held)
                told = "in_doubt" if held else "no_charge"
                kind = type(error).__name__
                say("end", n=n, call=error.call_id, told=told, amount=held, error=kind)

    async def call(self, model: str, prompt: str, maximum: int, stream: bool) -> Any:
        """One call, delta by delta or whole."""
        options: dict[str, Any] = {"max_output_tokens": maximum, "tenant": self.plan["worker"]}
        if not stream:
            return await self.gateway.aio.chat(model, prompt, **options)
        async with self.gateway.aio.stream(model, prompt, **options) as deltas:
            async for _ in deltas:
                pass
            return await deltas.result()


def main() -> None:
    """Reads the plan, waits for the start, works."""
    worker = Worker(json.loads(sys.stdin.readline()))
    say("ready")
    sys.stdin.readline()
    asyncio.run(worker.run())


if __name__ == "__main__":
    main()
