"""The size of a Hypothesis run: small in `make test`, large with SLUICEWAY_PROOF=1.

No example database: a run does not depend on an earlier one. A failure prints the steps that lead
to it, shrunk, and the line `@reproduce_failure(...)` that replays it.
"""

from __future__ import annotations

import os

from hypothesis import HealthCheck, settings

PROOF = os.environ.get("SLUICEWAY_PROOF", "") not in ("", "0")


def sized(examples: int, steps: int, proof_factor: int = 20) -> settings:
    """Settings for a machine: so many examples of so many steps, more of them in a proof."""
    return settings(
        max_examples=examples * (proof_factor if PROOF else 1),
        stateful_step_count=steps,
        deadline=None,
        database=None,
        print_blob=True,
        suppress_health_check=list(HealthCheck),
    )
