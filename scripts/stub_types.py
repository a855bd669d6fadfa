"""Fills in what pybind11-stubgen cannot know of the compiled module: element types, members.

Usage: stub_types.py FILE, which is changed in place. Every rule has to find its text, so that a
changed binding is noticed here and not by a user's type checker.
"""

import re
import sys
from pathlib import Path

# (pattern, replacement, how often it is found at least)
RULES: list[tuple[str, str, int]] = [
    (r"typing\.SupportsInt \| typing\.SupportsIndex", "int", 5),
    (r"typing\.SupportsFloat \| typing\.SupportsIndex", "float", 5),
    (r"-> dict \| None", "-> dict[str, typing.Any] | None", 2),
    (r"def next_events_wait\(self\) -> list", "def next_events_wait(self) -> list[Delta]", 1),
    (
        r"def next_events\(self\) -> typing\.Any",
        "def next_events(self) -> collections.abc.Awaitable[list[Delta]]",
        1,
    ),
    (
        r"def next_bytes\(self\) -> typing\.Any",
        "def next_bytes(self) -> collections.abc.Awaitable[list[bytes]]",
        1,
    ),
    (
        r"def __await__\(self\) -> typing\.Any",
        "def __await__(self) -> collections.abc.Generator[typing.Any, None, Call]",
        1,
    ),
    (r"def usage\(self\) -> dict:", "def usage(self) -> dict[str, int]:", 1),
    (
        r"def acquire\(self, lease_s: float = 0\.0\) -> tuple:",
        "def acquire(self, lease_s: float = 0.0) -> tuple[bool, bool, int, float]:",
        1,
    ),
    (
        r"def __exit__\(self, \*args\) -> None:",
        "def __exit__(self, *args: object) -> None:",
        1,
    ),
    (
        r"    @staticmethod\n    def try_acquire\(\*args, \*\*kwargs\):",
        "    def try_acquire(self, permits: int = 1) -> float:",
        1,
    ),
    (
        r"    @staticmethod\n    def submit\(\*args, \*\*kwargs\):",
        "    def submit(self, route: Route, body: typing.Any, *shared: typing.Any,"
        " **arguments: typing.Any) -> Call:",
        1,
    ),
    (
        r"    @staticmethod\n    def submit_ready\(\*args, \*\*kwargs\):",
        "    def submit_ready(self, ready: Ready, prompt: str | bytes,"
        " scopes: collections.abc.Sequence[Scope]) -> Call:",
        1,
    ),
    (
        r"route: typing\.Any, body: typing\.Any, marker: str, \*\*kwargs\)",
        "route: Route, body: typing.Any, marker: str, **options: typing.Any)",
        1,
    ),
    (  # plain C properties, which the generator does not show
        r"    @property\n    def duplicate_call_id\(self\)",
        "    @property\n    def done(self) -> bool: ...\n"
        "    @property\n    def ok(self) -> bool: ...\n"
        "    @property\n    def text(self) -> str: ...\n"
        "    @property\n    def duplicate_call_id(self)",
        1,
    ),
    (
        r"    @staticmethod\n    def leave\(\*args, \*\*kwargs\):",
        "    def leave(self, permit: tuple[bool, int], result: str, duration_s: float) -> bool:",
        1,
    ),
    (r"request: typing\.Any\) -> bytes:", "request: typing.Any, /) -> bytes:", 1),
    (r"def enter\(self\) -> tuple \| None:", "def enter(self) -> tuple[bool, int] | None:", 1),
    (
        r"calls: collections\.abc\.Sequence\) -> list:",
        "calls: collections.abc.Sequence[tuple[Route, typing.Any, dict[str, typing.Any]]]) "
        "-> list[Call]:",
        1,
    ),
    (
        r"callback: typing\.Any\) -> None",
        "callback: collections.abc.Callable[[list[dict[str, typing.Any]]], None] | None) -> None",
        1,
    ),
    (
        r"batch: collections\.abc\.Callable,",
        "batch: collections.abc.Callable[[list[dict[str, typing.Any]]], bool],",
        1,
    ),
    (
        r"limit: int = 1000\) -> tuple:",
        "limit: int = 1000) -> tuple[list[dict[str, typing.Any]], int]:",
        1,
    ),
    (
        r"def __init__\(self, \*\*kwargs\) -> None",
        "def __init__(self, **options: typing.Any) -> None",
        1,
    ),
    (
        r"within: collections\.abc\.Sequence\[str\] = \[\], idempotency_key: str = ''\) -> tuple:",
        "within: collections.abc.Sequence[str] = [], idempotency_key: str = '')"
        " -> tuple[bool, int]:",
        1,
    ),
    (r"allowance: Scope = None", "allowance: Scope | None = None", 1),
    (r"def core_versions\(\) -> dict:", "def core_versions() -> dict[str, str]:", 1),
    (r"sheet: dict,", "sheet: dict[str, typing.Any],", 1),
    (r"options: dict\)", "options: dict[str, typing.Any])", 1),
    (r"spec: dict\)", "spec: dict[str, typing.Any])", 1),
    (r"-> dict:", "-> dict[str, typing.Any]:", 3),
    (r"-> list:", "-> list[dict[str, typing.Any]]:", 3),
    (r"    def __repr__\(self\):\n.*?\"\"\"\n.*?\n *\"\"\"\n", "    text: str\n    kind: str\n", 1),
    (r"    def __str__\(self\):", "    def __str__(self) -> str:", 1),
    (  # a slot of the type
        r"    def __call__\(self, \*args, \*\*kwargs\):\n *\"\"\"\n.*?\n *\"\"\"\n",
        "    def __call__(self) -> None: ...\n",
        1,
    ),
]


def main(path: Path) -> None:
    text = path.read_text()
    for pattern, replacement, least in RULES:
        text, count = re.subn(pattern, replacement.replace("\\", r"\\"), text)
        if count < least:
            raise SystemExit(f"stub_types.py: found {count} of {least} for {pattern!r}")
    path.write_text(text)


if __name__ == "__main__":
    main(Path(sys.argv[1]))
