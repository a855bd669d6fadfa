"""How late a deadline is: 1,000 calls in flight to a server that never ends its answers.

Run as a module: `deadlines_client --url ORIGIN --calls N --in-flight M`. Every call has a deadline
of its own, drawn evenly from 0.2 to 1.2 s, and is replaced when it has passed. Late is what its
coroutine sees: the moment it goes on, less the moment before the call plus `timeout_s`; the first
call of each place is not counted. Prints one JSON line: milliseconds late (p50, p99, the worst) and
how many were early, which has to be none.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import os
import random
import time

from benchmarks.python.clients import common


async def measure(url: str, calls: int, in_flight: int) -> list[float]:
    """Milliseconds late, by call."""
    import sluiceway as sw

    os.environ["OPENAI_API_KEY"] = common.KEY
    config = {
        "accounts": {"openai": {"base_url": url}},
        "ledger": {"path": ":memory:", "durability": "memory"},
        "breakers": {"openai": {"enabled": False}},
        "limits": {f"openai/{common.MODEL}": {"concurrency": 100_000}},
    }
    late: list[float] = []
    left = iter(range(calls))

    async with sw.Gateway(config).aio as gw:

        async def worker(number: int) -> None:
            rng = random.Random(number)
            warm = False  # its first call belongs to a thousand that connect at the same moment
            for _ in left:
                timeout_s = rng.uniform(0.2, 1.2)
                begun_s = time.monotonic()
                try:
                    await gw.chat(f"openai/{common.MODEL}", common.PROMPT, timeout_s=timeout_s)
                except sw.SluicewayError as error:
                    if warm:
                        late.append((time.monotonic() - begun_s - timeout_s) * 1e3)
                    warm = True
                    # A ledger that did not answer until the deadline says so in its own words.
                    if not isinstance(error, sw.DeadlineExceeded | sw.BudgetUnavailable):
                        raise
                else:
                    raise AssertionError("the server answered")

        await asyncio.gather(*(worker(number) for number in range(in_flight)))
    return late


def main() -> None:
    """Measures and prints."""
    parser = argparse.ArgumentParser()
    parser.add_argument("--url", required=True)
    parser.add_argument("--calls", type=int, required=True)
    parser.add_argument("--in-flight", type=int, required=True)
    args = parser.parse_args()
    late = sorted(asyncio.run(measure(args.url, args.calls, args.in_flight)))
    figures = {
        "p50": late[len(late) // 2],
        "p99": late[len(late) * 99 // 100],
        "max": late[-1],
        "early": sum(one < 0 for one in late),
    }
    print(json.dumps(figures))


if __name__ == "__main__":
    main()
