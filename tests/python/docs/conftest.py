"""One simulator for the pages and the examples, and a folder and an environment of their own."""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path

import pytest

from sluiceway import simulator
from sluiceway.simulator import Simulator
from tests.fixtures import reaches_gateways


@pytest.fixture(scope="session")
def running_simulator() -> Iterator[Simulator]:
    """Starting one takes longer than most pages."""
    with simulator.start(tls=False, seed=11) as running:
        yield running


@pytest.fixture
def reader(
    running_simulator: Simulator, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> Iterator[Simulator]:
    """What a reader has: an empty folder, no keys, and a simulator that nothing was done with."""
    running_simulator.script([])
    running_simulator.reset()
    monkeypatch.chdir(tmp_path)
    before = dict(os.environ)
    for name in before:
        if reaches_gateways(name):
            del os.environ[name]
    os.environ["SLUICEWAY_SIMULATOR_URL"] = running_simulator.http_url
    yield running_simulator
    os.environ.clear()
    os.environ.update(before)
