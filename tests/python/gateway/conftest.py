"""A simulator in this process, and gateways that know nothing but it."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator
from typing import Any

import pytest

from sluiceway import Gateway, simulator
from sluiceway.simulator import Simulator

MakeGateway = Callable[..., Gateway]
_RETRY = {"base_s": 0.001, "throttle_base_s": 0.001, "cap_s": 0.002, "budget_percent": 1000}
PROVIDERS = ("openai", "deepseek", "anthropic")


@pytest.fixture(autouse=True)
def clean_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    """No keys, no base URLs and no ledger of whoever runs the tests."""
    for name in list(os.environ):
        if name.startswith("SLUICEWAY_") or name.endswith("_API_KEY"):
            monkeypatch.delenv(name)


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


@pytest.fixture
def make_gateway(sim: Simulator, monkeypatch: pytest.MonkeyPatch) -> Iterator[MakeGateway]:
    """Makes gateways that speak to the simulator; tables of the configuration as keywords."""
    monkeypatch.setenv("SLUICEWAY_SIMULATOR_URL", sim.http_url)
    made: list[Gateway] = []

    def make(**tables: Any) -> Gateway:
        config = {
            "ledger": {"path": ":memory:", "durability": "memory"},
            "retries": dict.fromkeys(PROVIDERS, _RETRY),
            **tables,
        }
        gateway = Gateway(config)
        made.append(gateway)
        return gateway

    yield make
    for gateway in made:
        gateway.close()


@pytest.fixture
def gw(make_gateway: MakeGateway) -> Gateway:
    """A gateway without limits and budgets."""
    return make_gateway()
