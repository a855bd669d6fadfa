"""How long the state machines run, and a clean environment for those that make calls.

SLUICEWAY_PROOF=1 asks for the long runs. It is read when this file is imported, before any fixture
empties the environment.
"""

from __future__ import annotations

import logging
import os
from collections.abc import Iterator

import pytest

from sluiceway import simulator
from sluiceway.simulator import Simulator
from tests.python.machines import profile as profile


@pytest.fixture(autouse=True)
def clean_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    """No keys, no base URLs and no ledger of whoever runs the tests."""
    for name in list(os.environ):
        if name.startswith("SLUICEWAY_") or name.endswith("_API_KEY"):
            monkeypatch.delenv(name)


@pytest.fixture(scope="module")
def running_simulator() -> Iterator[Simulator]:
    """One simulator a module: starting it takes longer than an example."""
    with simulator.start(tls=False, seed=7) as running:
        yield running


@pytest.fixture
def sim(running_simulator: Simulator, monkeypatch: pytest.MonkeyPatch) -> Simulator:
    """The simulator, and the environment that leads a gateway to it."""
    monkeypatch.setattr(logging.getLogger("sluiceway"), "disabled", True)  # thousands of warnings
    running_simulator.script([])
    running_simulator.reset()
    monkeypatch.setenv("SLUICEWAY_SIMULATOR_URL", running_simulator.http_url)
    return running_simulator
