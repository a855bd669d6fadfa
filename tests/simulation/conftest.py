"""No keys, no addresses and no ledger of whoever runs the simulations."""

from __future__ import annotations

from tests.fixtures import clean_environment as clean_environment

# Reads SLUICEWAY_SEED and SLUICEWAY_PROOF before the environment is emptied.
from tests.simulation import plans as plans
