"""A process whose disk runs full while it makes calls, and has room again later.

Run as a script: `full_disk.py LEDGER limit|ballast`. "limit" lowers RLIMIT_FSIZE, so that every
write beyond the first page fails with EFBIG (SQLite: an I/O error); "ballast" fills the file system
of the ledger, which should be a small one of its own, until ENOSPC. The simulator's address comes
from the environment. It writes one JSON object: what callers were told in each phase, and what the
ledger says at the end.

    well      calls that succeed
    slow      calls that are under way when the disk fills, and are answered while it is full
    full      calls that must be refused: nothing may be sent without a reservation
    again     calls after there is room again
"""

from __future__ import annotations

import json
import os
import resource
import sys
from collections import Counter
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

from sluiceway import Gateway, SluicewayError
from sluiceway.money import nanousd_of

MODEL = "openai/gpt-4o-mini"
CALLS = 12
SLOW_MS = 400
ROOM_BYTES = 4096


class Disk:
    """Takes the room away, and gives it back."""

    def __init__(self, how: str, folder: Path) -> None:
        self._how = how
        self._ballast = folder / "ballast"

    def fill(self) -> None:
        """From now on nothing can be written."""
        if self._how == "limit":
            hard = resource.getrlimit(resource.RLIMIT_FSIZE)[1]
            resource.setrlimit(resource.RLIMIT_FSIZE, (ROOM_BYTES, hard))
            return
        chunk = b"x" * ROOM_BYTES
        with open(self._ballast, "wb", buffering=0) as file:
            for size in (len(chunk), 1):
                try:
                    while True:
                        file.write(chunk[:size])
                except OSError:
                    continue

    def free(self) -> None:
        """And now it can again."""
        if self._how == "limit":
            hard = resource.getrlimit(resource.RLIMIT_FSIZE)[1]
            resource.setrlimit(resource.RLIMIT_FSIZE, (hard, hard))
        else:
            self._ballast.unlink()


def run(ledger: str, how: str) -> dict[str, Any]:
    """All phases; the figures."""
    disk = Disk(how, Path(ledger).parent)
    config = {
        "ledger": {"path": ledger, "durability": "process"},
        "breakers": {"openai": {"enabled": False}},
    }
    with Gateway(config) as gateway, ThreadPoolExecutor(CALLS) as pool:
        budget = gateway.budget("video:1", "1.00")

        def call(latency_ms: int) -> str:
            try:
                with budget:
                    prompt = f"hello [[simulator: latency_ms={latency_ms}]]"
                    answer = gateway.chat(MODEL, prompt, max_output_tokens=32)
                return f"ok {answer.cost.nanousd}"
            except SluicewayError as error:
                return f"{type(error).__name__} {error.outcome} {nanousd_of(error.held)}"

        told: dict[str, list[str]] = {"well": [call(0) for _ in range(CALLS)]}
        assert gateway.flush()
        slow = [pool.submit(call, SLOW_MS) for _ in range(CALLS)]
        while gateway._hub.engine.stats()["attempts"] < 2 * CALLS:
            os.sched_yield()
        disk.fill()
        told["full"] = [call(0) for _ in range(CALLS)]
        told["slow"] = [future.result() for future in slow]
        told["full"] += [call(0) for _ in range(CALLS)]
        disk.free()
        told["again"] = [call(0) for _ in range(CALLS)]
        flushed = gateway.flush()
        return {
            "told": {phase: Counter(words) for phase, words in told.items()},
            "flushed": flushed,
            "spent": nanousd_of(budget.balance.spent),
            "held": nanousd_of(budget.balance.held),
            "in_doubt": nanousd_of(budget.balance.in_doubt),
            "verify": gateway.ledger.verify(),
            "kinds": Counter(entry["kind"] for entry in gateway.ledger.entries()),
        }


if __name__ == "__main__":
    print(json.dumps(run(sys.argv[1], sys.argv[2])))
