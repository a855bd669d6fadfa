"""The overshoot experiment: what each tenant is billed against its limit, counted at the simulator.

8 tenants, 3 worker processes, 128 streams, demand without end. A tenant's limit is the price of
20,000 output tokens; a request's ceiling is at most 4 % of it. When nothing fits and nothing is in
flight, the simulator's bill of each tenant is divided by its limit. Our budgets (waiting, refusing)
stand beside two policies of other gateways; see clients/overshoot_worker.py. The figures do not
depend on the machine's speed, only on what was in flight when the money ran out.
"""

from __future__ import annotations

import json
import os
import random
import subprocess
import sys
from pathlib import Path

import pytest

from benchmarks.python.harness import OUT, ROOT, Bench
from benchmarks.python.rows import Rows
from sluiceway import simulator

pytestmark = pytest.mark.informational

TENANTS, WORKERS, STREAMS = 8, 3, 128
LIMIT_NANOUSD = 20_000 * 5_000  # Haiku 4.5: $5 per million output tokens, 5,000 nano-dollars each
POLICIES = ("wait", "refuse", "reserve_max", "count_after")
WORDS = {
    "wait": "our budget, waiting",
    "refuse": "our budget, refusing",
    "reserve_max": "reserve the ceiling,\nshared counter",
    "count_after": "count after the call,\nshared counter",
}


def shares(policy: str, seed: int, folder: Path) -> list[float]:
    """Billed divided by the limit, by tenant."""
    folder.mkdir()
    counters = folder / "counters"
    counters.write_bytes(bytes(16 * TENANTS))
    with simulator.spawn(tls=False, seed=seed) as running:
        environment = {
            **{
                name: text for name, text in os.environ.items() if not name.startswith("SLUICEWAY_")
            },
            "SLUICEWAY_SIMULATOR_URL": running.http_url,
        }
        workers = [
            subprocess.Popen(
                [
                    *(sys.executable, "-m", "benchmarks.python.clients.overshoot_worker", policy),
                    *("--ledger", str(folder / "ledger.db"), "--counters", str(counters)),
                    *("--streams", str(STREAMS // WORKERS + (number < STREAMS % WORKERS))),
                    *("--tenants", str(TENANTS), "--limit-nanousd", str(LIMIT_NANOUSD)),
                    *("--seed", str(seed * 10 + number)),
                ],
                stdout=subprocess.PIPE,
                cwd=ROOT,
                env=environment,
            )
            for number in range(WORKERS)
        ]
        tenant_of: dict[str, int] = {}
        for worker in workers:
            out, _ = worker.communicate(timeout=300)
            assert worker.returncode == 0, policy
            tenant_of.update(json.loads(out)["calls"])
        by_attempt: dict[str, int] = running.bill()["by_attempt"]
    billed = [0] * TENANTS
    for attempt, nanousd in by_attempt.items():
        if nanousd:  # every billed call must be one that a worker knows
            billed[tenant_of[attempt.rpartition("/")[0]]] += nanousd
    return [one / LIMIT_NANOUSD for one in billed]


def paint(found: dict[str, list[float]], path: Path) -> None:
    """The tenants' shares by policy, as a picture."""
    from matplotlib.figure import Figure

    figure = Figure(figsize=(9, 3.6), layout="constrained")
    axes = figure.subplots()
    for row, policy in enumerate(reversed(POLICIES)):
        colour = "#4477AA" if policy in ("wait", "refuse") else "#EE6677"
        percents = [100 * share for share in found[policy]]
        axes.barh(row, max(percents), color=colour, alpha=0.35, height=0.6)
        axes.plot(percents, [row] * len(percents), "o", color=colour, markersize=5)
        axes.text(max(percents) + 3, row, f"{max(percents):.1f} %", va="center", fontsize=9)
    axes.axvline(100, color="#222", linewidth=1)
    axes.set_yticks(range(len(POLICIES)), [WORDS[policy] for policy in reversed(POLICIES)])
    axes.set_xlim(0, max(130.0, 115 * max(max(one) for one in found.values())))
    axes.set_xlabel("billed by the provider, in percent of the tenant's limit (a dot a tenant)")
    axes.set_title("8 tenants, 3 processes, 128 streams, demand without end", loc="left")
    for side in ("top", "right"):
        axes.spines[side].set_visible(False)
    path.parent.mkdir(parents=True, exist_ok=True)
    figure.savefig(path, dpi=110)


def test_overshoot(bench: Bench, rows: Rows) -> None:
    """No tenant above its limit, and little of it left over."""
    seed = int(os.environ.get("SLUICEWAY_BENCH_SEED", random.SystemRandom().randrange(1, 10**6)))
    print(f"\novershoot experiment, seed {seed} (SLUICEWAY_BENCH_SEED)")
    found = {policy: shares(policy, seed, bench.scratch / policy) for policy in POLICIES}
    for policy in POLICIES:
        print(f"  {policy:12s}", " ".join(f"{share:7.4f}" for share in found[policy]))
    over = max(0, round((max(found["wait"]) - 1) * LIMIT_NANOUSD))
    rows.add("money.overshoot_nanousd", over, "nanousd")
    rows.add("money.usable_share", min(found["wait"]), "of the limit")
    for policy in POLICIES[1:]:
        rows.add(f"money.share_{policy}", max(found[policy]), "of the limit, the most of a tenant")
    paint(found, OUT / "overshoot.png")
