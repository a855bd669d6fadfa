"""The rooms of the house and the arrows between them, as functions that name every breach.

Model: a room may include or import what stands left of it, never a sibling and never what stands
right of it (CONTRIBUTING.md shows the table). Third-party headers belong to one room's .cc files.
Each function takes text, not files, so that its test can hand it a planted breach; it returns one
sentence per breach and an empty list where all is well. The walk over the tree is in house_tree.py.

Bounds: linear in the text. Includes are found by line, imports by Python's own parser.
"""

from __future__ import annotations

import ast
import re
from collections.abc import Iterator

_MIDDLE = ("limits", "cost", "stats", "cache", "parse", "store", "http")

# What a C++ room may include beside its own headers.
CPP_ROOMS: dict[str, frozenset[str]] = {
    "base": frozenset(),
    **{room: frozenset({"base"}) for room in _MIDDLE},
    "engine": frozenset({"base", *_MIDDLE}),
    "bindings": frozenset({"base", *_MIDDLE, "engine"}),
}

# Third-party headers: the one room that sees them. Abseil is everybody's.
_CPP_THIRD_PARTY = {
    "simdjson": "parse",
    "curl/": "http",
    "zlib.h": "http",
    "brotli/": "http",
    "zstd.h": "http",
    "sqlite3": "store",
    "openssl/": "cache",
    "pybind11/": "bindings",
    "Python.h": "bindings",
    "structmember.h": "bindings",
}
_POSIX = re.compile(
    r"(sys|netinet|arpa|linux|net)/\w+\.h|(unistd|fcntl|poll|errno|signal|pthread|time|netdb|sched"
    r"|malloc|string|stdint|stddef|stdlib|stdio|limits|dlfcn|dirent|cxxabi|immintrin|arm_neon)\.h"
)
_INCLUDE = re.compile(r'^\s*#\s*include\s*([<"])([^>"]+)[>"]', re.MULTILINE)


def cpp_breaches(room: str, text: str, *, is_header: bool, is_test: bool = False) -> list[str]:
    """What one C++ file of `room` (for a test: the room it tests) includes against the arrows."""
    if room not in CPP_ROOMS:
        return [f"the room '{room}' is not in the table of rooms"]
    breaches = []
    for bracket, header in _INCLUDE.findall(text):
        first = header.partition("/")[0]
        owner = next((o for start, o in _CPP_THIRD_PARTY.items() if header.startswith(start)), None)
        if owner is not None:
            if room != owner:
                breaches.append(f"{header} belongs to the room {owner}, not to {room}")
            elif is_header and owner != "bindings":
                breaches.append(f"{header} in a header: it belongs to the .cc files of {owner}")
        elif bracket == '"' and first in CPP_ROOMS:
            if first != room and first not in CPP_ROOMS[room]:
                breaches.append(f"{room} may not see {first} ({header})")
        elif bracket == '"':
            if not is_test and not first.startswith("absl"):
                breaches.append(f"{header}: write the path from src/cpp, <room>/<file>.h")
        elif not (
            "." not in header
            or _POSIX.fullmatch(header)
            or first == "absl"
            or (is_test and first in {"gtest", "gmock"})
        ):
            breaches.append(f"{header} is a third-party header that no room owns")
    return breaches


# The files of the package's top level, by the room that they make up. A folder is its own room.
PYTHON_ROOM_OF_FILE: dict[str, str] = {
    **dict.fromkeys(("errors", "types", "money", "_log", "_threads", "_toml_lines"), "types"),
    "_values": "types",
    "_core": "_core",
    "__main__": "cli",
    **dict.fromkeys(("gateway", "config", "options", "estimate", "guards"), "gateway"),
    **dict.fromkeys(("_budget", "_failures", "_hub", "ledger"), "gateway"),
    **dict.fromkeys(("_booking", "_budget_report", "_frames", "_hops"), "gateway"),
    **dict.fromkeys(("_config_checks", "_money_verbs", "_terms", "_thresholds"), "gateway"),
    **dict.fromkeys(("_wallet_history", "wallet"), "gateway"),
    **dict.fromkeys(("_aio", "_delivery", "_many", "_raw", "_steps", "_stream"), "gateway"),
    **dict.fromkeys(("_accounts", "_raw_steps", "_raw_stream", "_upload", "_urls"), "gateway"),
    **dict.fromkeys(("_download", "_download_steps"), "gateway"),
    **dict.fromkeys(("_partial_file", "_callables", "_target", "_told"), "gateway"),
    **dict.fromkeys(("_job_steps", "jobs", "_estimate_media", "tokenizers"), "gateway"),
}
# The Python rooms from left to right; a row's members are siblings and do not see each other.
PYTHON_ROWS: tuple[frozenset[str], ...] = (
    frozenset({"types"}),
    frozenset({"_core"}),
    frozenset({"providers", "prices", "keys"}),
    frozenset({"routing"}),
    frozenset({"gateway"}),
    frozenset({"integrations", "dashboard", "cli"}),
)
# What `import sluiceway` itself shows (Gateway, __version__) is the gateway's.
_FACE = "gateway"
# These stand beside the gateway: what they may import, and nobody right or left may import them,
# but for the demo, which uses the simulator and is started by the command line.
PYTHON_BESIDE: dict[str, frozenset[str]] = {
    "simulator": frozenset(),
    "testing": frozenset().union(*PYTHON_ROWS[:5]) | {"simulator"},
    "demo": frozenset().union(*PYTHON_ROWS[:5]) | {"simulator"},
}
# The third-party packages that a room may import; the rooms that are not here have none.
PYTHON_THIRD_PARTY: dict[str, frozenset[str]] = {
    "simulator": frozenset({"h11", "h2", "hpack", "hyperframe", "cryptography"}),
    "testing": frozenset({"pytest"}),
    "demo": frozenset({"rich", "matplotlib"}),
    "gateway": frozenset({"tiktoken"}),  # tokenizers.py, when a count is asked for
    "cli": frozenset({"pyarrow"}),
    "integrations": frozenset({"*"}),
    "dashboard": frozenset({"*"}),
}


def _room_of(name: str) -> str:
    """The room of a module or folder of the package's top level."""
    return PYTHON_ROOM_OF_FILE.get(name, name)


def _row_of(room: str) -> int | None:
    return next((row for row, members in enumerate(PYTHON_ROWS) if room in members), None)


def _imports(tree: ast.AST) -> Iterator[tuple[str, str]]:
    """Every import as (module, name or ""), those inside functions included.

    Under `if TYPE_CHECKING`, which runs nothing, the engine's own types may be named from anywhere:
    imports of `_core` are left out there.
    """
    for node in ast.iter_child_nodes(tree):
        if isinstance(node, ast.Import):
            yield from ((alias.name, "") for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            yield from (("." * node.level + (node.module or ""), a.name) for a in node.names)
        elif isinstance(node, ast.If) and ast.unparse(node.test).endswith("TYPE_CHECKING"):
            found = [*_imports(ast.Module(node.body, [])), *_imports(ast.Module(node.orelse, []))]
            yield from (
                (module, name)
                for module, name in found
                if "_core" not in (*module.split("."), name)
            )
        else:
            yield from _imports(node)


def python_breaches(name: str, text: str, stdlib: frozenset[str]) -> list[str]:
    """What one Python file imports against the arrows.

    `name` is its module or folder at the package's top level, "" for the package's own face.
    """
    room = _room_of(name)
    breaches = []
    for module, imported in _imports(ast.parse(text)):
        parts = module.split(".")
        if module.startswith("."):
            breaches.append(f"relative import of {module}: write it from sluiceway on")
        elif parts[0] == "sluiceway":
            target = parts[1] if len(parts) > 1 else imported
            known = _row_of(_room_of(target)) is not None or target in PYTHON_BESIDE
            breaches.extend(_package_breach(room, target if known or len(parts) > 1 else _FACE))
        elif parts[0] not in stdlib:
            allowed = PYTHON_THIRD_PARTY.get(room, frozenset())
            if parts[0] not in allowed and "*" not in allowed:
                breaches.append(f"'{room or '__init__'}' may not import the package {parts[0]}")
    return breaches


def _package_breach(room: str, imported: str) -> list[str]:
    """The breach, if any, of `room` importing the module or folder `imported` of the package."""
    target = _room_of(imported)
    target_row = _row_of(target)
    if target == room:
        return []
    if target_row is None and target not in PYTHON_BESIDE:
        return [f"'{target}' is not in the table of Python rooms"]
    if room in PYTHON_BESIDE:
        allowed = target in PYTHON_BESIDE[room]
    elif target in PYTHON_BESIDE:
        allowed = (room, target) == ("cli", "demo")
    elif room == "":  # the package's own face: everything up to the gateway
        allowed = target_row is not None and target_row <= 4
    else:
        row = _row_of(room)
        if row is None:
            return [f"'{room}' is not in the table of Python rooms"]
        allowed = target_row is not None and target_row < row
    return [] if allowed else [f"'{room or '__init__'}' may not import '{target}'"]
