"""Fixtures that several rooms of the tests have in common, and what they are made of.

A room's conftest takes what it wants over by its name; what it does not name is not there:

    from tests.fixtures import clean_environment as clean_environment
    from tests.fixtures import running_simulator as running_simulator
    from tests.fixtures import sim as sim

`sim` is the simulator of whatever `running_simulator` the room has: this one or its own.
"""

from __future__ import annotations

import os
from collections.abc import Iterator

import pytest

from sluiceway import simulator
from sluiceway.simulator import Simulator

# What a retry waits, so that tests need not: the shapes of the waits are tested in C++.
QUICK_RETRY = {"base_s": 0.001, "throttle_base_s": 0.001, "cap_s": 0.002, "budget_percent": 1000}


def reaches_gateways(name: str) -> bool:
    """Whether a gateway would read the environment variable: a setting, or a provider's key."""
    return name.startswith("SLUICEWAY_") or name.endswith("_API_KEY")


def empty_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    """Takes keys, base URLs and the ledger of whoever runs the tests out of the environment."""
    for name in list(os.environ):
        if reaches_gateways(name):
            monkeypatch.delenv(name)


@pytest.fixture(autouse=True)
def clean_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    """No keys, no base URLs and no ledger of whoever runs the tests."""
    empty_environment(monkeypatch)


@pytest.fixture(scope="module")
def running_simulator() -> Iterator[Simulator]:
    """One simulator a module: starting it takes longer than a test."""
    with simulator.start(tls=False, seed=7) as running:
        yield running


@pytest.fixture
def sim(running_simulator: Simulator) -> Simulator:
    """The simulator with an empty script and empty books."""
    running_simulator.script([])
    running_simulator.reset()
    return running_simulator
