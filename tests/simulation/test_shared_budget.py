"""Several processes share one budget, without a crash: the bill stops at the limit, fairly shared.

Three workers hammer one scope whose limit buys about half of what they ask for. Counted at the
simulator: the bill never passes the limit and comes close to it, and no worker is starved while
there is money. The workers also open the same scopes at the same moment.
"""

from __future__ import annotations

import random
from collections import Counter
from pathlib import Path
from typing import Any

import pytest

from sluiceway import Gateway, simulator
from tests.simulation import plans
from tests.simulation.books import Books, prove, read_books, shown
from tests.simulation.crew import Crew, environment
from tests.simulation.worker import gateway_config

SHARED = "job:1"
CONCURRENCY = 12
CEILING_MAX_NANOUSD = 200 * 600 + 400 * 150  # the most that one drawn call can reserve


def hammer(
    rng: random.Random, folder: Path, durability: str, limit: int, calls: list[list[Any]]
) -> tuple[Crew, Books, list[dict[str, Any]]]:
    """Runs the calls over three workers; the crew, the books afterwards, the provider's log."""
    ledger = str(folder / "books.db")
    with Gateway(gateway_config(ledger, durability)) as before:
        before.budget(SHARED, plans.usd(limit))
    wide = {provider: [f"video:{provider}", "5.00"] for provider in plans.MODELS}
    workers = [
        {
            "worker": f"w{index}",
            "calls": calls[index::3],
            "ledger": ledger,
            "durability": durability,
            "concurrency": CONCURRENCY,
            "shared": SHARED,
            "budgets": wide,
        }
        for index in range(3)
    ]
    with simulator.spawn(seed=rng.randrange(1 << 30), tls=False) as sim:
        crew = Crew(workers, environment(sim.http_url), folder)
        crew.run()
        lines = sim.log()
    with Gateway(gateway_config(ledger, durability)) as fresh:
        return crew, read_books(fresh), lines


@pytest.mark.parametrize("seed", plans.seeds(10))
@pytest.mark.parametrize("durability", ["process", "power"])
def test_three_workers_never_pass_one_limit(durability: str, seed: int, tmp_path: Path) -> None:
    print(f"seed {seed}")
    rng = random.Random(f"shared {seed}")
    calls = plans.draw_calls(rng, 3000 if plans.PROOF else 1000, fault_share=0.0)
    need = sum(plans.need_nanousd(calls, provider) for provider in plans.MODELS)
    limit = need // 2
    crew, books, lines = hammer(rng, tmp_path, durability, limit, calls)
    assert crew.exit_status == {"w0": 0, "w1": 0, "w2": 0}
    limits = {SHARED: limit} | {f"video:{provider}": 5 * 10**9 for provider in plans.MODELS}
    problems = prove(books, lines, limits, lambda line: (SHARED, f"video:{line['provider']}"))
    assert not problems, shown(problems)

    # Nothing was in doubt, so the bill is what was settled. A call is refused while its siblings
    # still hold their ceilings; what these give back at the very end finds nobody to spend it.
    bill = sum(line["billed_nanousd"] for line in lines)
    assert limit - 3 * CONCURRENCY * CEILING_MAX_NANOUSD < bill <= limit
    assert books.scopes[SHARED]["settled"] == bill
    assert books.holds == []

    ends = [event for events in crew.events.values() for event in events if event["event"] == "end"]
    assert len(ends) == len(calls)
    refused = [event for event in ends if event["told"] == "refused"]
    assert {event["scope"] for event in refused} == {SHARED}
    assert len(refused) + len(books.calls) == len(calls)

    spent: Counter[str] = Counter()
    for call in books.calls.values():
        spent[call.tenant] += call.ends[0][1]
    print(spent)
    for worker in ("w0", "w1", "w2"):
        assert spent[worker] > bill // 3 // 3, f"{worker} was starved: {dict(spent)}"
