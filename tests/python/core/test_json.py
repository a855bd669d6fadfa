"""JSON from Python objects: the canonical form (RFC 8785) and the body that is sent.

Expected values: the vectors of RFC 8785's author (cyberphone/json-canonicalization), cases worked
out by hand from the RFC, and Python's own json for round trips.
"""

from __future__ import annotations

import collections
import enum
import json
import math
import struct
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from sluiceway import _core
from tests.python.core.kit import shared

VECTORS = ["arrays", "french", "structures", "unicode", "values", "weird"]
SAFE = 2**53


def jcs(kind: str, name: str) -> Path:
    return shared("data", "vectors", "jcs", kind, name)


@pytest.mark.parametrize("name", VECTORS)
def test_vectors_of_rfc_8785(name: str) -> None:
    value = json.loads(jcs("input", f"{name}.json").read_text(encoding="utf-8"))
    canonical = _core.canonical_json(value)
    assert canonical == jcs("output", f"{name}.json").read_bytes()
    assert canonical == bytes.fromhex(jcs("outhex", f"{name}.txt").read_text())


def test_ten_thousand_doubles() -> None:
    lines = shared("data", "vectors", "jcs", "es6_numbers_10000.txt").read_text().splitlines()
    assert len(lines) == 10_000
    wrong = []
    for line in lines:
        bits, _, expected = line.partition(",")
        value = struct.unpack(">d", bytes.fromhex(bits.zfill(16)))[0]
        if _core.canonical_json(value) != expected.encode():
            wrong.append((line, _core.canonical_json(value)))
    assert not wrong


BY_HAND: list[tuple[object, bytes]] = [
    (None, b"null"),
    (True, b"true"),
    (False, b"false"),
    (1, b"1"),
    (1.0, b"1"),
    (0, b"0"),
    (-0.0, b"0"),
    (1e21, b"1e+21"),
    (1e20, b"100000000000000000000"),
    (1e-6, b"0.000001"),
    (1e-7, b"1e-7"),
    (0.1, b"0.1"),
    (5e-324, b"5e-324"),
    (SAFE, b"9007199254740992"),
    (-SAFE, b"-9007199254740992"),
    (1e16, b"10000000000000000"),  # a float may be beyond 2^53
    ([], b"[]"),
    ({}, b"{}"),
    ((), b"[]"),
    ((1, (2,)), b"[1,[2]]"),
    ("", b'""'),
    ('"\\/', b'"\\"\\\\/"'),
    ("\b\t\n\f\r", b'"\\b\\t\\n\\f\\r"'),
    ("\x00\x1f\x7f", b'"\\u0000\\u001f\x7f"'),
    ("\u2028\u00e9", '"\u2028\u00e9"'.encode()),
    ("\U0001f600", '"\U0001f600"'.encode()),
    ({"b": 1, "a": {"d": 2, "c": []}}, b'{"a":{"c":[],"d":2},"b":1}'),
    ({"": 0, "a": 1, "A": 2}, b'{"":0,"A":2,"a":1}'),
    # U+1F600 is D83D DE00 in UTF-16: before U+FB33 there, after it by code points and in UTF-8.
    ({"\ufb33": 1, "\U0001f600": 2}, '{"\U0001f600":2,"\ufb33":1}'.encode()),
    ({"\ue000": 1, "\U00010000": 2, "z": 3}, '{"z":3,"\U00010000":2,"\ue000":1}'.encode()),
    # A key that is the beginning of another comes first.
    ({"aa": 1, "a": 2, "a\U0001f600": 3}, '{"a":2,"aa":1,"a\U0001f600":3}'.encode()),
]


@pytest.mark.parametrize(("value", "expected"), BY_HAND)
def test_canonical_by_hand(value: object, expected: bytes) -> None:
    assert _core.canonical_json(value) == expected


class Text(str):
    __slots__ = ()


class Whole(int):
    pass


class Number(enum.IntEnum):
    SEVEN = 7


class Point(collections.namedtuple("Point", "x y")):
    __slots__ = ()


def test_subclasses_are_what_they_extend() -> None:
    value = collections.OrderedDict(b=Text("t"), a=[Whole(3), Number.SEVEN, Point(1, 2.5)])
    assert _core.canonical_json(value) == b'{"a":[3,7,[1,2.5]],"b":"t"}'
    assert _core.json_bytes(value) == b'{"b":"t","a":[3,7,[1,2.5]]}'


def test_bool_is_not_an_integer() -> None:
    assert _core.canonical_json([True, 1, False, 0]) == b"[true,1,false,0]"
    assert _core.json_bytes({"a": True, "b": 1}) == b'{"a":true,"b":1}'


def nested(depth: int) -> list[Any]:
    value: list[Any] = []
    for _ in range(depth - 1):
        value = [value]
    return value


@pytest.mark.parametrize("write", [_core.canonical_json, _core.json_bytes])
class TestRefusals:
    @pytest.mark.parametrize("value", [math.nan, math.inf, -math.inf, [math.nan], {"a": math.inf}])
    def test_not_a_number(self, write: Any, value: object) -> None:
        with pytest.raises(ValueError, match="not JSON"):
            write(value)

    @pytest.mark.parametrize("value", ["\ud800", "a\udfff", {"\udc00": 1}, {"a": "\ud83d"}])
    def test_lone_surrogate(self, write: Any, value: object) -> None:
        with pytest.raises(ValueError, match="surrogate"):
            write(value)

    @pytest.mark.parametrize(
        "value",
        [b"bytes", {1, 2}, object(), 1j, {1: 2}, {None: 1}, {b"a": 1}, [range(3)], bytearray(1)],
    )
    def test_other_types(self, write: Any, value: object) -> None:
        with pytest.raises(TypeError):
            write(value)

    def test_depth(self, write: Any) -> None:
        assert write(nested(257)) == b"[" * 257 + b"]" * 257  # depth 0 to 256
        with pytest.raises(ValueError, match="deep"):
            write(nested(258))
        with pytest.raises(ValueError, match="deep"):
            write(nested(100_000))

    def test_a_circle_ends(self, write: Any) -> None:
        circle: dict[str, Any] = {}
        circle["self"] = [circle]
        with pytest.raises(ValueError, match="deep"):
            write(circle)

    def test_an_argument_too_many(self, write: Any) -> None:
        with pytest.raises(TypeError):
            write()
        with pytest.raises(TypeError):
            write(1, 2)


@pytest.mark.parametrize("value", [SAFE + 1, -SAFE - 1, 2**63, 2**64, -(10**30)])
def test_integers_beyond_2_to_the_53(value: int) -> None:
    with pytest.raises(OverflowError):
        _core.canonical_json({"n": [value]})
    assert _core.json_bytes([value]) == b"[%d]" % value  # a body keeps them whole


def test_body_keeps_order_and_text() -> None:
    assert _core.json_bytes({"b": 1, "a": "\u00e9\U0001f600"}) == (
        '{"b":1,"a":"\u00e9\U0001f600"}'.encode()
    )
    assert _core.json_bytes([1.0, 0.1, 1e300, -0.0]) == b"[1.0,0.1,1e+300,-0.0]"


TEXT = st.text(st.characters(exclude_categories=["Cs"]), max_size=12)
FINITE = st.floats(allow_nan=False, allow_infinity=False)
LEAVES = st.none() | st.booleans() | TEXT | FINITE


def trees(leaves: st.SearchStrategy[Any]) -> st.SearchStrategy[Any]:
    return st.recursive(
        leaves,
        lambda inner: st.lists(inner, max_size=5) | st.dictionaries(TEXT, inner, max_size=5),
        max_leaves=20,
    )


@given(trees(LEAVES | st.integers()))
def test_body_reads_back_the_same(value: object) -> None:
    body = _core.json_bytes(value)
    assert repr(json.loads(body)) == repr(value)  # repr: 1.0 is not 1, -0.0 is not 0.0
    assert list(body) == list(body.strip())


@given(trees(LEAVES | st.integers(-SAFE, SAFE)))
def test_canonical_reads_back_and_is_stable(value: Any) -> None:
    canonical = _core.canonical_json(value)
    back = json.loads(canonical, parse_int=float)  # 1e16 is written without an exponent
    assert back == value
    assert _core.canonical_json(back) == canonical
    if isinstance(value, dict):
        names = list(back)
        assert names == sorted(names, key=lambda name: name.encode("utf-16-be"))
        assert _core.canonical_json(dict(reversed(list(value.items())))) == canonical
