"""What callers hand over, checked before it reaches the core or the disk.

Model: each function takes a value and the name of the argument, and returns the value in the form
that the rest of the package uses. A wrong type is an InvalidType, a wrong value an InvalidRequest;
both name the argument and what would do. The checks of call options are in options.py, amounts in
money.py.

    text("video:42", "scope")
    instant_s(float("nan"), "since_s")     # InvalidRequest

Time: below a microsecond. No state, any thread.
"""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence

from sluiceway.errors import InvalidRequest, InvalidType, kind_of


def text(value: object, name: str, if_empty: str = "") -> str:
    """A text that UTF-8 can carry. With `if_empty`, which says what to do then, it must not be."""
    if not isinstance(value, str):
        raise InvalidType(f"{name} is {kind_of(value)}, not a str")
    if not value and if_empty:
        raise InvalidRequest(f"{name} is empty; {if_empty}")
    try:
        value.encode()
    except UnicodeEncodeError:
        raise InvalidRequest(
            f"{name} has half a character (a lone surrogate), which is not valid Unicode"
        ) from None
    return value


def texts(value: object, name: str) -> list[str]:
    """A list of texts; a single one is a mistake."""
    if isinstance(value, str | bytes) or not isinstance(value, Sequence):
        hint = f': {name}=["{value}"]' if isinstance(value, str) else ""
        raise InvalidType(f"{name} is a list of names{hint}")
    return [text(one, f"one of {name}") for one in value]


def labels(value: object, name: str) -> list[tuple[str, str]]:
    """Pairs of a table of texts; None is an empty one."""
    if value is None:
        return []
    if not isinstance(value, Mapping):
        raise InvalidType(f"{name} is {kind_of(value)}, not a dict of strs")
    return [
        (text(key, f"a name in {name}"), text(one, f"{name}[{key!r}]"))
        for key, one in value.items()
    ]


def flag(value: object, name: str) -> bool:
    """True or False, nothing that only counts as one."""
    if not isinstance(value, bool):
        raise InvalidType(f"{name} is {kind_of(value)}, not True or False")
    return value


def instant_s(value: object, name: str) -> float:
    """Unix seconds; infinity is the end of time."""
    if isinstance(value, bool) or not isinstance(value, int | float):
        raise InvalidType(f"{name} is {kind_of(value)}, not a time in Unix seconds")
    if value != value:
        raise InvalidRequest(f"{name}={value} is no time in Unix seconds")
    try:
        return float(value)
    except OverflowError:
        return float("inf") if value > 0 else -float("inf")


def path(value: object, name: str) -> str:
    """The path of a file, as a text."""
    if not isinstance(value, str | os.PathLike):
        raise InvalidType(f"{name} is {kind_of(value)}, not a path (a str or a Path)")
    found = os.fspath(value)
    if not isinstance(found, str):
        raise InvalidType(f"{name} is a path of bytes; give a str (os.fsdecode)")
    try:
        usable = found and b"\0" not in os.fsencode(found)
    except UnicodeEncodeError:
        usable = False
    if not usable:
        raise InvalidRequest(f"{name}={found!r} is no path of a file")
    return found
