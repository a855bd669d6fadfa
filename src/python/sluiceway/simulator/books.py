"""The simulator's books: what it executed, and what it charged for it.

Model: one line for every request that reached the simulated provider, written and flushed before
the first byte of the answer, so that a client that was killed or cut off still finds its bill.
An executed request is charged when it executes; what happens to the answer afterwards changes
nothing, except under `bill=partial`, where a client that leaves early gets a second line with
`"correction": true`, negative usage and a negative amount. Sums over all lines are always right.

A line: {"t": monotonic seconds, "wall": Unix seconds, "provider", "model", "path", "protocol",
"request_id", "attempt", "idempotency_key", "executed", "status" (null: no answer), "fault",
"stream", "usage": {disjoint buckets}, "billed_nanousd"}.

Bounds: totals are exact for ever; the last `LINES_MAX` lines stay in memory, a log file has all.
Memory also grows by one counter for each distinct attempt and idempotency key. Threads: a lock
around everything, since tests read while the loop writes.

Example: `Books(None).total_nanousd` is 0.
"""

from __future__ import annotations

import json
import threading
from collections import Counter, deque
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from sluiceway.simulator.tariff import Usage

LINES_MAX = 200_000
_NO_USAGE = Usage()


@dataclass(frozen=True, slots=True)
class Entry:
    """What a line says, apart from its times."""

    provider: str
    model: str | None
    path: str
    protocol: str
    request_id: str
    attempt: str | None = None
    idempotency_key: str | None = None
    executed: bool = False
    status: int | None = None
    fault: str | None = None
    stream: bool = False
    usage: Usage = _NO_USAGE
    billed_nanousd: int = 0
    correction: bool = False


class Books:
    """Counts executions, adds up bills, keeps and writes the log."""

    def __init__(
        self,
        log_path: str | Path | None,
        monotonic: Callable[[], float],
        wall_clock: Callable[[], float],
    ) -> None:
        """Opens the log file for appending, if one is given. Raises OSError if that fails."""
        self._monotonic = monotonic
        self._wall_clock = wall_clock
        self._lock = threading.Lock()
        self._file = None if log_path is None else open(log_path, "ab", buffering=0)  # noqa: SIM115
        self._clear()

    def _clear(self) -> None:
        self._lines: deque[bytes] = deque(maxlen=LINES_MAX)
        self._count = 0
        self._total = 0
        self._executed = 0
        self._by_provider: Counter[str] = Counter()
        self._by_model: Counter[str] = Counter()
        self._by_attempt: Counter[str] = Counter()
        self._executions_by_key: Counter[str] = Counter()
        self._executions_by_attempt: Counter[str] = Counter()

    def write(self, entry: Entry) -> None:
        """Adds one line, counts it and flushes it."""
        line = {
            "t": round(self._monotonic(), 6),
            "wall": round(self._wall_clock(), 6),
            "provider": entry.provider,
            "model": entry.model,
            "path": entry.path,
            "protocol": entry.protocol,
            "request_id": entry.request_id,
            "attempt": entry.attempt,
            "idempotency_key": entry.idempotency_key,
            "executed": entry.executed,
            "status": entry.status,
            "fault": entry.fault,
            "stream": entry.stream,
            "usage": entry.usage.as_dict(),
            "billed_nanousd": entry.billed_nanousd,
        }
        if entry.correction:
            line["correction"] = True
        text = json.dumps(line, separators=(",", ":")).encode() + b"\n"
        with self._lock:
            self._lines.append(text)
            self._count += 1
            if self._file is not None:
                self._file.write(text)
            self._count_in(entry)

    def _count_in(self, entry: Entry) -> None:
        if entry.executed and not entry.correction:
            self._executed += 1
            if entry.idempotency_key is not None:
                self._executions_by_key[entry.idempotency_key] += 1
            if entry.attempt is not None:
                self._executions_by_attempt[entry.attempt] += 1
        if entry.billed_nanousd:
            self._total += entry.billed_nanousd
            self._by_provider[entry.provider] += entry.billed_nanousd
            self._by_model[f"{entry.provider}/{entry.model}"] += entry.billed_nanousd
        if entry.attempt is not None:
            # An attempt that was refused appears too, with 0.
            self._by_attempt[entry.attempt] += entry.billed_nanousd

    @property
    def total_nanousd(self) -> int:
        """Everything charged since the last reset."""
        with self._lock:
            return self._total

    def bill(self) -> dict[str, object]:
        """The bill: total, by provider, by "provider/model" and by attempt, in nano-dollars."""
        with self._lock:
            return {
                "total_nanousd": self._total,
                "by_provider": dict(self._by_provider),
                "by_model": dict(self._by_model),
                "by_attempt": dict(self._by_attempt),
            }

    def executions(self) -> dict[str, object]:
        """Executed requests: in total, by idempotency key, by attempt and by call id."""
        with self._lock:
            by_call: Counter[str] = Counter()
            for attempt, count in self._executions_by_attempt.items():
                by_call[attempt.rpartition("/")[0] or attempt] += count
            return {
                "total": self._executed,
                "by_idempotency_key": dict(self._executions_by_key),
                "by_attempt": dict(self._executions_by_attempt),
                "by_call": dict(by_call),
            }

    @property
    def executed(self) -> int:
        """How many requests were executed."""
        with self._lock:
            return self._executed

    def lines(self, since: int = 0) -> bytes:
        """The log as JSON lines from line number `since` (0 is the first), as far as kept."""
        with self._lock:
            dropped = self._count - len(self._lines)
            skip = max(since - dropped, 0)
            return b"".join(line for index, line in enumerate(self._lines) if index >= skip)

    def reset(self) -> None:
        """Forgets every line and count. A log file keeps what it has."""
        with self._lock:
            self._clear()

    def close(self) -> None:
        """Closes the log file; writing afterwards still counts in memory."""
        with self._lock:
            if self._file is not None:
                self._file.close()
                self._file = None
