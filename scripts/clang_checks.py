#!/usr/bin/env python3
"""Runs clang-format-19 and clang-tidy-19 over the C++ code.

    scripts/clang_checks.py                      every room, tests too (`make lint`)
    scripts/clang_checks.py --rooms base cost    only these rooms of src/cpp (for `make test`)

Model: the formatter looks at every file each time, since it is quick. clang-tidy takes seconds a
file, so a file that passed is remembered in build/tidy/passed under a hash of what its answer
depends on: the file, every header of the project, .clang-tidy and the tool's version. A second run
looks only at what changed. Compile commands come from the CMake preset `tidy`.

Where a tool is absent it is said and skipped: both come from Debian packages that `make setup`
installs. Bounds: as many clang-tidy processes as there are processors, about 0.5 GB each. Standard
library only.
"""

from __future__ import annotations

import argparse
import hashlib
import os
import shutil
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
BUILD = ROOT / "build" / "tidy"
PASSED = BUILD / "passed"
FORMAT = "clang-format-19"
TIDY = "clang-tidy-19"
CODE = ("src/cpp", "tests/cpp", "tests/fuzz", "benchmarks/cpp")


def files(suffixes: tuple[str, ...]) -> list[Path]:
    """The project's C++ files with one of the suffixes, sorted; generated ones are left out."""
    found = (path for folder in CODE for path in (ROOT / folder).rglob("*"))
    return sorted(
        path for path in found if path.suffix in suffixes and "_generated" not in path.name
    )


def check_format() -> bool:
    """True where clang-format would change nothing; prints its first complaints otherwise."""
    if not shutil.which(FORMAT):
        print(f"    {FORMAT} is not installed: the C++ format was not checked", file=sys.stderr)
        return True
    names = [str(path.relative_to(ROOT)) for path in files((".cc", ".h"))]
    if not names:
        return True
    run = subprocess.run(
        [FORMAT, "--dry-run", "--Werror", *names], cwd=ROOT, capture_output=True, text=True
    )
    if run.returncode:
        print("\n".join(run.stderr.splitlines()[:30]), file=sys.stderr)
        print(f"C++ format: run {FORMAT} -i on the files above", file=sys.stderr)
    return run.returncode == 0


def key_of(source: Path, common: bytes) -> str:
    """The name under which a pass is remembered: 64 hex digits."""
    digest = hashlib.sha256(common)
    digest.update(str(source.relative_to(ROOT)).encode())
    digest.update(source.read_bytes())
    return digest.hexdigest()


def tidy(source: Path) -> tuple[Path, bool, str]:
    """One file through clang-tidy: the file, whether it passed, and what was said."""
    run = subprocess.run(
        [TIDY, "-p", str(BUILD), "--quiet", str(source)], cwd=ROOT, capture_output=True, text=True
    )
    return source, run.returncode == 0, run.stdout + (run.stderr if run.returncode else "")


def module_options() -> list[str]:
    """What CMake has to be told so that the bindings have compile commands, too."""
    python = ROOT / ".venv" / "bin" / "python"
    asked = [str(python), "-m", "pybind11", "--cmakedir"]
    found = subprocess.run(asked, capture_output=True, text=True) if python.exists() else None
    if found is None or found.returncode:
        print("    no .venv with pybind11: the bindings were not looked at", file=sys.stderr)
        return []
    return [
        "-DSLUICEWAY_BUILD_PYTHON=ON",
        f"-DPython_EXECUTABLE={python}",
        f"-Dpybind11_DIR={found.stdout.strip()}",
    ]


def check_tidy(rooms: list[str] | None) -> bool:
    """True where clang-tidy has no finding in the chosen rooms (None: everything, tests too)."""
    if not shutil.which(TIDY) or not shutil.which("clang++-19"):
        print(f"    {TIDY} is not installed: the C++ code was not looked at by it", file=sys.stderr)
        return True
    options = module_options() if rooms is None or "bindings" in rooms else []
    configure = subprocess.run(
        ["cmake", "--preset", "tidy", "--log-level=WARNING", *options],
        cwd=ROOT,
        capture_output=True,
        text=True,
    )
    if configure.returncode:
        print(configure.stdout + configure.stderr, file=sys.stderr)
        return False
    commands = (BUILD / "compile_commands.json").read_text()
    version = subprocess.run([TIDY, "--version"], capture_output=True, check=True).stdout
    headers = b"".join(hashlib.sha256(path.read_bytes()).digest() for path in files((".h",)))
    common = headers + version + (ROOT / ".clang-tidy").read_bytes()
    PASSED.mkdir(parents=True, exist_ok=True)
    todo: list[Path] = []
    for source in files((".cc",)):
        part = source.relative_to(ROOT).parts
        if rooms is not None and not (part[:2] == ("src", "cpp") and part[2] in rooms):
            continue
        if f'"{source}"' in commands and not (PASSED / key_of(source, common)).exists():
            todo.append(source)
    good = True
    with ThreadPoolExecutor(os.cpu_count() or 1) as pool:
        for done, (source, passed, said) in enumerate(pool.map(tidy, todo), start=1):
            print(
                f"    clang-tidy [{done}/{len(todo)}] {source.relative_to(ROOT)}", file=sys.stderr
            )
            if passed:
                (PASSED / key_of(source, common)).touch()
            else:
                print(said, file=sys.stderr)
                good = False
    return good


def main() -> int:
    parser = argparse.ArgumentParser(description="clang-format and clang-tidy over the C++ code")
    parser.add_argument(
        "--rooms", nargs="+", help="only these rooms of src/cpp go through clang-tidy"
    )
    rooms: list[str] | None = parser.parse_args().rooms
    print("==> clang-format and clang-tidy", file=sys.stderr)
    return 0 if check_format() & check_tidy(rooms) else 1


if __name__ == "__main__":
    sys.exit(main())
