"""The arrows of the house hold: no file includes or imports what its room may not see.

Each rule is first shown a planted breach, so that a rule which finds nothing is known to look.
"""

from __future__ import annotations

import sys
from pathlib import Path

import pytest

from tests.tidy import house_arrows as arrows
from tests.tidy import house_tree as tree

STDLIB = frozenset(sys.stdlib_module_names) | {"__future__"}


@pytest.mark.parametrize(
    ("room", "line", "said"),
    [
        ("limits", '#include "cost/usage.h"', "limits may not see cost"),
        ("base", '#include "engine/loop.h"', "base may not see engine"),
        ("engine", '#include "bindings/gil.h"', "engine may not see bindings"),
        ("store", "#include <simdjson.h>", "belongs to the room parse"),
        ("engine", "#include <curl/curl.h>", "belongs to the room http"),
        ("cost", "#include <sqlite3.h>", "belongs to the room store"),
        ("engine", "#include <pybind11/pybind11.h>", "belongs to the room bindings"),
        ("engine", "#  include <Python.h>", "belongs to the room bindings"),
        ("http", "#include <openssl/evp.h>", "belongs to the room cache"),
        ("http", "#include <boost/asio.hpp>", "no room owns"),
        ("base", '#include "status.h"', "write the path from src/cpp"),
        ("attic", "#include <string>", "not in the table"),
    ],
)
def test_a_planted_include_is_found(room: str, line: str, said: str) -> None:
    found = arrows.cpp_breaches(room, f"// A file.\n{line}\n", is_header=False)
    assert len(found) == 1
    assert said in found[0]


def test_a_third_party_header_is_found_in_a_header_of_its_own_room() -> None:
    line = "#include <curl/curl.h>\n"
    assert arrows.cpp_breaches("http", line, is_header=False) == []
    assert len(arrows.cpp_breaches("http", line, is_header=True)) == 1


def test_what_the_table_allows_is_not_a_breach() -> None:
    text = '#include <string>\n#include <sys/epoll.h>\n#include "base/ids.h"\n#include "absl/x.h"\n'
    assert arrows.cpp_breaches("engine", text, is_header=True) == []


def test_cpp_rooms_include_only_what_stands_left_of_them() -> None:
    breaches = []
    for path in tree.under("src/cpp", ".cc", ".h"):
        room = path.parts[2]
        found = arrows.cpp_breaches(room, tree.read(path), is_header=path.suffix == ".h")
        breaches += [f"{path}: {breach}" for breach in found]
    for path in tree.under("tests/cpp", ".cc", ".h"):
        room = path.parts[2]
        if room in arrows.CPP_ROOMS:
            found = arrows.cpp_breaches(room, tree.read(path), is_header=False, is_test=True)
            breaches += [f"{path}: {breach}" for breach in found]
    assert not breaches, "\n".join(breaches)


@pytest.mark.parametrize(
    ("room", "line", "said"),
    [
        ("routing", "import sluiceway.gateway", "'routing' may not import 'gateway'"),
        ("prices", "from sluiceway.providers import x", "'prices' may not import 'providers'"),
        ("gateway", "from sluiceway import simulator", "'gateway' may not import 'simulator'"),
        ("simulator", "from sluiceway.prices import load", "'simulator' may not import 'prices'"),
        ("errors", "from sluiceway import _core", "'types' may not import '_core'"),
        ("money", "def f():\n    import sluiceway.gateway\n", "'types' may not import 'gateway'"),
        ("", "from sluiceway import cli", "'__init__' may not import 'cli'"),
        ("gateway", "from . import errors", "relative import"),
        ("gateway", "import httpx", "may not import the package httpx"),
        ("cli", "def f():\n    import numpy\n", "may not import the package numpy"),
        ("gateway", "import sluiceway.attic", "not in the table"),
        ("routing", "from sluiceway import Gateway", "'routing' may not import 'gateway'"),
        ("simulator", "import sluiceway", "'simulator' may not import 'gateway'"),
    ],
)
def test_a_planted_import_is_found(room: str, line: str, said: str) -> None:
    found = arrows.python_breaches(room, line, STDLIB)
    assert len(found) == 1
    assert said in found[0]


def test_the_engines_types_may_be_named_where_nothing_runs() -> None:
    text = "import typing\nif typing.TYPE_CHECKING:\n    from sluiceway._core import Call\n"
    assert arrows.python_breaches("types", text, STDLIB) == []
    assert arrows.python_breaches("types", text.replace("_core", "gateway"), STDLIB)


def test_python_rooms_import_only_what_stands_left_of_them() -> None:
    breaches = []
    for path in tree.under("src/python/sluiceway", ".py"):
        found = arrows.python_breaches(_python_room(path), tree.read(path), STDLIB)
        breaches += [f"{path}: {breach}" for breach in found]
    assert not breaches, "\n".join(breaches)


def _python_room(path: Path) -> str:
    first = path.parts[3]
    return "" if first == "__init__.py" else first.removesuffix(".py")
