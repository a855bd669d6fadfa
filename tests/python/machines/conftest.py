"""How long the state machines run, and a clean environment for those that make calls.

SLUICEWAY_PROOF=1 asks for the long runs. It is read when this file is imported, before any fixture
empties the environment.
"""

from __future__ import annotations

import logging

import pytest

from sluiceway.simulator import Simulator
from tests.fixtures import clean_environment as clean_environment
from tests.fixtures import running_simulator as running_simulator
from tests.python.machines import profile as profile


@pytest.fixture
def sim(running_simulator: Simulator, monkeypatch: pytest.MonkeyPatch) -> Simulator:
    """The simulator, and the environment that leads a gateway to it."""
    monkeypatch.setattr(logging.getLogger("sluiceway"), "disabled", True)  # thousands of warnings
    running_simulator.script([])
    running_simulator.reset()
    monkeypatch.setenv("SLUICEWAY_SIMULATOR_URL", running_simulator.http_url)
    return running_simulator
