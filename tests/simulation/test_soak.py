"""A soak: very many calls with faults and cancels, and a process that looks the same afterwards.

SLUICEWAY_SOAK_CALLS sets how many (2,000,000 take about a quarter of an hour on two cores); `make
proof` makes 20,000, `make test` 4,000. The seed is printed. After the first fifth nothing may grow
but what the allocator keeps (5 % of resident memory and 4 MB) and the ledger's page cache, which is
bounded and full after some 100,000 calls; no thread, no descriptor. At the end no call, no permit,
no hold and no connection is left, and the books replay.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
import urllib.request
from collections.abc import Iterator
from pathlib import Path

import pytest

import sluiceway
from tests.simulation import plans

CALLS = int(os.environ.get("SLUICEWAY_SOAK_CALLS") or (20_000 if plans.PROOF else 4_000))
FOLDER = Path(__file__).parent
SPARE_KB = 4_096
PAGE_CACHE_KB = 16_384  # of SQLite: src/cpp/store/sqlite_db.cc
A_CALL_S = 0.02  # far more than a call takes here


@pytest.fixture
def server() -> Iterator[str]:
    """The faulty server's base URL."""
    command = [sys.executable, str(FOLDER / "soak_server.py"), str(plans.SEED)]
    with subprocess.Popen(
        command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    ) as process:
        assert process.stdout is not None
        yield f"http://127.0.0.1:{process.stdout.readline().strip()}"
        process.communicate()


def test_nothing_grows(server: str, tmp_path: Path) -> None:
    print(f"seed {plans.SEED}, {CALLS} calls")
    environment = os.environ | {
        "SLUICEWAY_OPENAI_BASE_URL": f"{server}/v1",
        "OPENAI_API_KEY": "fake-key-for-a-soak",
        "PYTHONPATH": str(Path(sluiceway.__file__).resolve().parents[1]),
    }
    command = [sys.executable, str(FOLDER / "soak_client.py"), str(CALLS), str(plans.SEED)]
    with subprocess.Popen(
        [*command, str(tmp_path / "books.db")], env=environment, stdout=subprocess.PIPE, text=True
    ) as process:
        try:
            out, _ = process.communicate(timeout=60 + CALLS * A_CALL_S)
        finally:
            process.kill()
    assert process.returncode == 0, out
    *samples, last = [json.loads(line) for line in out.splitlines()]
    for one in samples:
        print(one)
    print(last["ends"])
    with urllib.request.urlopen(f"{server}/count") as reply:
        executed = int(reply.read())

    warm = samples[len(samples) // 5 :]
    first, late = warm[0], warm[-1]
    cached_kb = min(late["ledger_kb"], PAGE_CACHE_KB) - min(first["ledger_kb"], PAGE_CACHE_KB)
    assert late["rss_kb"] <= first["rss_kb"] * 1.05 + SPARE_KB + cached_kb, (first, late)
    assert {one["threads"] for one in warm} == {first["threads"]}
    assert max(one["descriptors"] - one["connections_open"] for one in warm) <= (
        first["descriptors"] - first["connections_open"] + 2
    )
    assert all(one["connections_open"] <= 256 for one in warm)
    assert all(one["open"] == 0 for one in samples)

    made = CALLS // len(samples) * len(samples)
    assert sum(last["ends"].values()) == made
    assert last["ends"]["ok"] > made / 2
    for end in ("cancelled", "StreamBroken", "InvalidResponse", "TimedOutInDoubt"):
        assert last["ends"].get(end), f"no call ended as {end}: {last['ends']}"
    assert last["stats"]["submitted"] == last["stats"]["completed"]
    assert executed <= last["stats"]["attempts"]
    assert (last["limits"]["in_flight"], last["limits"]["waiting"]) == (0, 0)
    assert last["holds"] == 0
    assert last["verify"]["ok"], last["verify"]
