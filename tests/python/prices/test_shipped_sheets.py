"""The C++ property test's rows are those of the price files as they stand."""

from __future__ import annotations

from tests.python.prices.shipped_sheets import TARGET, render


def test_generated_header_is_current() -> None:
    """After a price change run tests/python/prices/shipped_sheets.py, as it says at its top."""
    assert TARGET.read_text(encoding="utf-8") == render()
