"""Gateways whose one account is told how to reach a fault server."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator

import pytest

from sluiceway import Gateway
from sluiceway.simulator.faults import FaultServer
from tests.fixtures import QUICK_RETRY, empty_environment

MODEL = "openai/gpt-6-luna"
MakeGateway = Callable[..., Gateway]


@pytest.fixture(autouse=True)
def clean_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    """Nothing of whoever runs the tests: no keys, no proxies."""
    empty_environment(monkeypatch)
    for name in list(os.environ):
        if name.lower().endswith("_proxy"):
            monkeypatch.delenv(name)
    monkeypatch.setenv("OPENAI_API_KEY", "not-a-key")


@pytest.fixture
def reach_url() -> Iterator[MakeGateway]:
    """Makes gateways to a base URL; other keywords are settings of the account."""
    made: list[Gateway] = []

    def make(base_url: str, *, breakers_on: bool = False, **account: object) -> Gateway:
        gateway = Gateway(
            {
                "ledger": {"path": ":memory:", "durability": "memory"},
                "accounts": {"openai": {"default": {"base_url": base_url, **account}}},
                "retries": {"openai": QUICK_RETRY},
                "breakers": {"openai": {"enabled": breakers_on}},
            }
        )
        made.append(gateway)
        return gateway

    yield make
    for gateway in made:
        gateway.close()


@pytest.fixture
def reach(reach_url: MakeGateway) -> MakeGateway:
    """Makes gateways to a fault server; keywords are settings of the account."""

    def make(server: FaultServer, **account: object) -> Gateway:
        if server.ca_file and "ca_file" not in account:
            account["ca_file"] = server.ca_file
        account.setdefault("base_url", server.base_url("openai"))
        return reach_url(account.pop("base_url"), **account)

    return make
