"""Line numbers of TOML keys: every way to write a key, and strings that look like keys."""

from __future__ import annotations

import tomllib

from hypothesis import given, settings
from hypothesis import strategies as st

from sluiceway._toml_lines import KeyPath, key_lines

TEXT = "\n".join(
    [
        "# a comment = 1",
        "top = 1",
        "[a]",
        'b = "x # no comment" # a comment',
        "  c.d = 2",
        r'"quo\"ted" = 3',
        "'lit.eral' = 4",
        '[ a . "b/c" ]',
        "long = '''",
        "fake = 1",
        "[fake]",
        "''' # after",
        "multi = [",
        "  1, # one",
        '  { in = 2, deep.er = [ "]" ] },',
        '  "],[",',
        "]",
        r'last = "\\"',
        "[[tables]]",
        "k = 1",
        "[[tables]]",
        "k = 2",
        'other = """',
        r'quotes "" inside \""" still = 1""""" # two quotes belong to the text',
        "end = 1979-05-27T07:32:00Z",
    ]
)


def test_lines_by_hand() -> None:
    tomllib.loads(TEXT)  # the sample itself is TOML
    assert key_lines(TEXT) == {
        ("top",): 2,
        ("a",): 3,
        ("a", "b"): 4,
        ("a", "c"): 5,
        ("a", "c", "d"): 5,
        ("a", 'quo"ted'): 6,
        ("a", "lit.eral"): 7,
        ("a", "b/c"): 8,
        ("a", "b/c", "long"): 9,
        ("a", "b/c", "multi"): 13,
        ("a", "b/c", "multi", "in"): 15,
        ("a", "b/c", "multi", "deep"): 15,
        ("a", "b/c", "multi", "deep", "er"): 15,
        ("a", "b/c", "last"): 18,
        ("tables",): 19,
        ("tables", "k"): 20,
        ("tables", "other"): 23,
        ("tables", "end"): 25,
    }


def test_empty_and_comment_only() -> None:
    assert key_lines("") == {}
    assert key_lines("# nothing\n\n#") == {}


def _paths(value: object, prefix: KeyPath = ()) -> set[KeyPath]:
    found: set[KeyPath] = set()
    if isinstance(value, dict):
        for key, inner in value.items():
            found |= {(*prefix, key)} | _paths(inner, (*prefix, key))
    elif isinstance(value, list):
        for inner in value:
            found |= _paths(inner, prefix)
    return found


_KEYS = st.sampled_from(["a", "b-1", '"q.x"', "'l i t'", '"e\\u0041"', "1"])
_VALUES = st.sampled_from(
    ["1", "true", '"s"', "'#'", '"""m\n[x]\ny = 1\n"""', "[1, 2]", '[["]"], []]', "{ i = 1 }", "{}"]
)


@given(st.lists(st.tuples(_KEYS, _KEYS, _VALUES, st.sampled_from(["", " # c = 1"])), max_size=8))
@settings(max_examples=300)
def test_it_finds_what_tomllib_finds(lines: list[tuple[str, str, str, str]]) -> None:
    text = "".join(
        f"[t{number}.{table}]\n{key}.{key} = {value}{comment}\n"
        for number, (table, key, value, comment) in enumerate(lines)
    )
    found = key_lines(text)
    assert set(found) == _paths(tomllib.loads(text))
    for path, line in found.items():
        assert text.splitlines()[line - 1].strip(), path
