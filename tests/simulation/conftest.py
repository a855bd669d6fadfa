"""No keys, no addresses and no ledger of whoever runs the simulations."""

from __future__ import annotations

import os

import pytest

# Reads SLUICEWAY_SEED and SLUICEWAY_PROOF before the environment is emptied.
from tests.simulation import plans as plans


@pytest.fixture(autouse=True)
def clean_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    """Removes what would reach a gateway of the tests."""
    for name in list(os.environ):
        if name.startswith("SLUICEWAY_") or name.endswith("_API_KEY"):
            monkeypatch.delenv(name)
