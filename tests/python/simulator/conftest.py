"""Fixtures for the simulator's tests: one simulator for each test, on free loopback ports."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

import sluiceway.simulator
from sluiceway.simulator import Simulator

SEED = 20261122


@pytest.fixture
def simulator() -> Iterator[Simulator]:
    """A fresh simulator in this process, closed after the test. Its seed is printed."""
    print(f"seed {SEED}")
    with sluiceway.simulator.start(seed=SEED) as running:
        yield running
