"""One simulator for all tests of the core, fresh engines on ledgers in memory."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

import pytest

from sluiceway import _core, simulator
from sluiceway.simulator import Simulator
from tests.fixtures import sim as sim
from tests.python.core.kit import Bench
from tests.python.core.loops import run as run

SEED = 20261122
MakeEngine = Callable[..., Any]


@pytest.fixture(scope="session")
def running_simulator() -> Iterator[Simulator]:
    """Starting it (TLS, certificates) takes longer than most tests."""
    print(f"seed {SEED}")
    with simulator.start(seed=SEED) as running:
        yield running


@pytest.fixture
def make_engine() -> Iterator[MakeEngine]:
    """Makes engines; those of a test are closed after it."""
    made: list[Any] = []

    def make(**options: Any) -> Any:
        engine = _core.Engine({"ledger_path": ":memory:", "durability": "memory"} | options)
        made.append(engine)
        return engine

    yield make
    for engine in made:
        engine.close(0.2)


@pytest.fixture
def bench(sim: Simulator, make_engine: MakeEngine) -> Bench:
    """An engine and the simulator."""
    return Bench(sim, make_engine())
