"""A simulator in this process, and gateways that know nothing but it."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

import pytest

from sluiceway import Gateway
from sluiceway.simulator import Simulator
from tests.fixtures import QUICK_RETRY
from tests.fixtures import clean_environment as clean_environment
from tests.fixtures import running_simulator as running_simulator
from tests.fixtures import sim as sim

MakeGateway = Callable[..., Gateway]
PROVIDERS = ("openai", "deepseek", "anthropic")


@pytest.fixture
def make_gateway(sim: Simulator, monkeypatch: pytest.MonkeyPatch) -> Iterator[MakeGateway]:
    """Makes gateways that speak to the simulator; tables of the configuration as keywords."""
    monkeypatch.setenv("SLUICEWAY_SIMULATOR_URL", sim.http_url)
    made: list[Gateway] = []

    def make(**tables: Any) -> Gateway:
        config = {
            "ledger": {"path": ":memory:", "durability": "memory"},
            "retries": dict.fromkeys(PROVIDERS, QUICK_RETRY),
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
