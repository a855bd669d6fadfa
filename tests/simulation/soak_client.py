"""The soak's client: many calls with random cancels from a loop and from threads, in one process.

Run as a script: `soak_client.py CALLS SEED LEDGER`; the server's address comes from the environment
(SLUICEWAY_OPENAI_BASE_URL). It prints one JSON line a sample: calls made, resident memory, open
descriptors, threads, and the engine's counters; the last line also has how the calls ended. Between
samples it posts what is in doubt, as an operator would: open holds are meant to be remembered.
"""

from __future__ import annotations

import asyncio
import gc
import json
import os
import random
import sys
import threading
import time
from collections import Counter
from typing import Any

import sluiceway as sw

TASKS = 64
THREADS = 3
SAMPLES = 20
MODEL = "openai/gpt-4o-mini"


def sample(gateway: sw.Gateway, ledger: str, calls: int, begun_s: float) -> dict[str, Any]:
    """The process as the kernel sees it."""
    gc.collect()
    with open("/proc/self/status") as file:
        status = dict(line.split(":", 1) for line in file)
    stats = gateway.stats()
    return {
        "calls": calls,
        "seconds": round(time.monotonic() - begun_s, 1),
        "rss_kb": int(status["VmRSS"].split()[0]),
        "anonymous_kb": int(status["RssAnon"].split()[0]),
        "ledger_kb": sum(os.path.getsize(path) for path in (ledger, f"{ledger}-wal")) // 1024,
        "threads": int(status["Threads"]),
        "descriptors": len(os.listdir("/proc/self/fd")),
        "open": stats["submitted"] - stats["completed"],
        "connections_open": stats["connections_open"],
    }


class Soak:
    """Draws what each call does, and counts how it ended."""

    def __init__(self, calls: int, seed: int, ledger: str) -> None:
        retry = {"base_s": 0.001, "throttle_base_s": 0.001, "cap_s": 0.004, "budget_percent": 1000}
        self.gateway = sw.Gateway(
            {
                "ledger": {"path": ledger, "durability": "process"},
                "breakers": {"openai": {"enabled": False}},
                "retries": {"openai": retry},
                "limits": {MODEL: {"concurrency": 256}},
            }
        ).with_options(timeout_s=5, read_timeout_s=0.05, max_output_tokens=50)
        self.seed = seed
        self.left = calls
        self.lock = threading.Lock()
        self.ends: Counter[str] = Counter()

    def take(self, most: int) -> int:
        """How many calls to make next; 0 is the end of this stretch."""
        with self.lock:
            count = min(most, self.left)
            self.left -= count
            return count

    def note(self, end: str, count: int = 1) -> None:
        with self.lock:
            self.ends[end] += count

    async def one(self, streamed: bool) -> str:
        try:
            if not streamed:
                await self.gateway.aio.chat(MODEL, "Name three rivers")
                return "ok"
            async with self.gateway.aio.stream(MODEL, "Name three rivers") as stream:
                await stream.result()
            return "ok"
        except sw.SluicewayError as error:
            return type(error).__name__

    async def task(self, number: int) -> None:
        """Call after call; some are cancelled after a moment, some before they began."""
        rng = random.Random(f"{self.seed} {number}")
        ends: Counter[str] = Counter()
        while count := self.take(20):
            for _ in range(count):
                job = asyncio.ensure_future(self.one(rng.random() < 0.3))
                if rng.random() < 0.15:
                    await asyncio.sleep(rng.choice((0, 0, 0.0005, 0.002, 0.01)))
                    job.cancel()
                try:
                    ends[await job] += 1
                except asyncio.CancelledError:
                    ends["cancelled"] += 1
        for end, count in ends.items():
            self.note(end, count)

    def thread(self, number: int) -> None:
        """The blocking twin; some streams are left early."""
        rng = random.Random(f"{self.seed} thread {number}")
        while count := self.take(5):
            for _ in range(count):
                try:
                    if rng.random() < 0.5:
                        self.gateway.chat(MODEL, "Name three rivers")
                    else:
                        with self.gateway.stream(MODEL, "Name three rivers") as stream:
                            for _ in stream:
                                if rng.random() < 0.1:
                                    break
                    self.note("ok")
                except sw.SluicewayError as error:
                    self.note(type(error).__name__)

    def stretch(self, calls: int) -> None:
        """So many calls, on a fresh loop and fresh threads."""
        self.left = calls

        async def loop() -> None:
            await asyncio.gather(*(self.task(number) for number in range(TASKS)))

        threads = [threading.Thread(target=self.thread, args=(n,)) for n in range(THREADS)]
        for thread in threads:
            thread.start()
        asyncio.run(loop())
        for thread in threads:
            thread.join()
        self.seed += 1
        self.gateway.flush()
        self.gateway.ledger.post_in_doubt(older_than_s=0)


def main() -> None:
    """Runs the whole soak."""
    calls, seed, ledger = int(sys.argv[1]), int(sys.argv[2]), sys.argv[3]
    soak = Soak(calls, seed, ledger)
    begun_s = time.monotonic()
    for number in range(1, SAMPLES + 1):
        soak.stretch(calls // SAMPLES)
        made = number * (calls // SAMPLES)
        print(json.dumps(sample(soak.gateway, ledger, made, begun_s)), flush=True)
    limits = soak.gateway._hub.engine.limits("openai/default/gpt-4o-mini")
    verified = soak.gateway.ledger.verify()
    stats = soak.gateway.stats()
    holds = len(soak.gateway.ledger.holds())
    soak.gateway.close()
    last = {"ends": soak.ends, "limits": limits, "verify": verified, "stats": stats, "holds": holds}
    print(json.dumps(last), flush=True)


if __name__ == "__main__":
    main()
