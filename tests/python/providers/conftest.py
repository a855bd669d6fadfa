"""The server that answers with a test's body, and the engine that asks it."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from tests.python.providers.kit import Wire


@pytest.fixture(scope="module")
def wire() -> Iterator[Wire]:
    """One engine and one server a module."""
    made = Wire()
    yield made
    made.close()
