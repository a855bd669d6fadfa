"""Cache keys: every part counts, and no two sets of parts are written the same way."""

from __future__ import annotations

import itertools
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from sluiceway import _core

BASE: dict[str, Any] = {
    "tenant": "t",
    "schema_version": 1,
    "provider": "p",
    "model": "m",
    "operation": "o",
    "request": {"a": 1},
}
OTHER: dict[str, Any] = {
    "tenant": "u",
    "schema_version": 2,
    "provider": "q",
    "model": "n",
    "operation": "r",
    "request": {"a": 2},
}
TEXTS = ["tenant", "provider", "model", "operation"]


def cache_key(**parts: Any) -> bytes:
    """The key of parts that are given by name."""
    return _core.cache_key(*(parts[name] for name in BASE))


def test_shape_and_determinism() -> None:
    key = cache_key(**BASE)
    assert isinstance(key, bytes)
    assert len(key) == 32
    assert cache_key(**BASE) == key
    assert _core.cache_key("t", 1, "p", "m", "o", {"a": 1}) == key


@pytest.mark.parametrize("part", list(BASE))
def test_every_part_counts(part: str) -> None:
    assert cache_key(**BASE | {part: OTHER[part]}) != cache_key(**BASE)


def test_the_order_of_keys_does_not() -> None:
    one = cache_key(**BASE | {"request": {"a": 1, "b": [1.0]}})
    assert one == cache_key(**BASE | {"request": {"b": [1], "a": 1}})


@pytest.mark.parametrize(("left", "right"), list(itertools.pairwise(TEXTS)))
@pytest.mark.parametrize("join", ["", "\n", "\x00", "|", ":", "\x1f", "1:"])
def test_boundaries_do_not_shift(left: str, right: str, join: str) -> None:
    one = BASE | {left: f"a{join}b", right: "c"}
    two = BASE | {left: "a", right: f"b{join}c"}
    assert cache_key(**one) != cache_key(**two)
    empty = BASE | {left: "", right: "ab"}
    assert cache_key(**empty) != cache_key(**BASE | {left: "ab", right: ""})


# Few letters, lengths and separators among them: what would collide if anything did.
SMALL = st.text("a1:\n\x00", max_size=4)
PARTS = st.tuples(SMALL, st.integers(0, 12), SMALL, SMALL, SMALL, SMALL)


@given(PARTS, PARTS)
def test_no_two_tuples_collide(one: tuple[Any, ...], two: tuple[Any, ...]) -> None:
    assert (_core.cache_key(*one) == _core.cache_key(*two)) == (one == two)


def test_what_has_no_canonical_form_raises() -> None:
    with pytest.raises(OverflowError):
        cache_key(**BASE | {"request": {"n": 2**53 + 1}})
    with pytest.raises(ValueError, match="not JSON"):
        cache_key(**BASE | {"request": float("nan")})
    with pytest.raises(TypeError):
        cache_key(**BASE | {"request": b"bytes"})
    with pytest.raises(TypeError):
        cache_key(**BASE | {"tenant": 1})
    with pytest.raises(TypeError):
        cache_key(**BASE | {"schema_version": "1"})
