"""A trace drawn from figures: when nobody names a file, the demo makes an hour that looks like one.

Model: `azure2023_code.toml` carries calls per minute and percentiles of both lengths of a public
production trace, with attribution. Arrivals: each call takes a minute in proportion to the counts
and a moment within it, uniformly. Lengths: inverse transform through the percentiles, linear in
between, rounded; the two lengths are independent, as they nearly are in the trace.

Deterministic by seed. Time and memory: linear in the calls. Any thread.

    trace = draw_trace(6000, seed=1)

Source: see the facts file. Inverse transform sampling: L. Devroye, Non-Uniform Random Variate
Generation, 1986, chapter II.2.
"""

from __future__ import annotations

import itertools
import random
import tomllib
from array import array
from bisect import bisect_right
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from sluiceway.demo.trace import Trace

_MINUTE_NS = 60_000_000_000


@dataclass(frozen=True, slots=True)
class Facts:
    """What is known of a trace: percentiles 0 to 100 of both lengths, calls in each minute."""

    name: str
    source: str
    licence: str
    calls_per_minute: tuple[int, ...]
    context_tokens: tuple[int, ...]
    generated_tokens: tuple[int, ...]


def load_facts() -> Facts:
    """The facts that the package carries."""
    path = Path(__file__).with_name("azure2023_code.toml")
    table = tomllib.loads(path.read_text(encoding="utf-8"))
    return Facts(
        table["name"],
        table["source"],
        table["licence"],
        tuple(table["calls_per_minute"]),
        tuple(table["context_tokens"]),
        tuple(table["generated_tokens"]),
    )


def quantile(percentiles: Sequence[int], share: float) -> int:
    """The value below which `share` (0 to 1) lies, between two percentiles by a straight line."""
    place = min(max(share, 0.0), 1.0) * (len(percentiles) - 1)
    below = min(int(place), len(percentiles) - 2)
    low, high = percentiles[below], percentiles[below + 1]
    return round(low + (high - low) * (place - below))


def draw_trace(calls: int, seed: int, facts: Facts | None = None) -> Trace:
    """`calls` rows; the same seed draws the same ones."""
    facts = facts or load_facts()
    rng = random.Random(f"sluiceway demo trace {seed}")
    upto = list(itertools.accumulate(facts.calls_per_minute))
    arrivals = []
    for _ in range(calls):
        minute = bisect_right(upto, rng.randrange(upto[-1]))
        arrivals.append(minute * _MINUTE_NS + rng.randrange(_MINUTE_NS))
    arrivals.sort()
    context = [quantile(facts.context_tokens, rng.random()) for _ in range(calls)]
    generated = [quantile(facts.generated_tokens, rng.random()) for _ in range(calls)]
    start = arrivals[0]
    return Trace(
        facts.name,
        array("q", (at - start for at in arrivals)),
        array("q", context),
        array("q", generated),
    )
