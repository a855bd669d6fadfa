"""The files of the project, as the tests of the house walk them.

Model: what git tracks or would track, so build folders and caches are not looked at; outside a git
checkout (an unpacked source archive) every file but those of the known build folders.
Bounds: one `git ls-files` and one read per file, cached for the test run.
"""

from __future__ import annotations

import functools
import subprocess
from collections.abc import Callable
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent.parent
CODE_SUFFIXES = (".py", ".pyi", ".cc", ".h", ".sh", ".cmake")
_CODE_NAMES = ("Makefile", "CMakeLists.txt", "run")


@functools.cache
def all_files() -> tuple[Path, ...]:
    """Every file of the project, as paths relative to its root, sorted."""
    listing = subprocess.run(
        ["git", "ls-files", "-co", "--exclude-standard", "-z"],
        cwd=ROOT,
        capture_output=True,
        check=False,
    )
    if listing.returncode == 0 and (ROOT / ".git").exists():
        names = [Path(name) for name in listing.stdout.decode().split("\0") if name]
    else:
        skipped = {"build", ".venv", ".git", "dist", "__pycache__"}
        names = [path.relative_to(ROOT) for path in ROOT.rglob("*")]
        names = [path for path in names if not skipped & set(path.parts)]
    return tuple(sorted(path for path in names if (ROOT / path).is_file()))


@functools.cache
def read(path: Path) -> str:
    """The text of a file given relative to the root; bytes that are no UTF-8 are replaced."""
    return (ROOT / path).read_text(encoding="utf-8", errors="replace")


def under(folder: str, *suffixes: str) -> list[Path]:
    """The files below a folder with one of the suffixes (none: any)."""
    prefix = Path(folder).parts
    return [
        path
        for path in all_files()
        if path.parts[: len(prefix)] == prefix and (not suffixes or path.suffix in suffixes)
    ]


def code_files() -> list[Path]:
    """Every file that is code, generated ones included."""
    return [p for p in all_files() if p.suffix in CODE_SUFFIXES or p.name in _CODE_NAMES]


def breaches_of(paths: list[Path], rule: Callable[[str], list[str]]) -> list[str]:
    """What a rule on text finds in the files, each line opened by the file's name."""
    return [f"{path}: {breach}" for path in paths for breach in rule(read(path))]
