"""The set-up agrees with itself: package metadata, groups of packages, apt sources, the commands.

What the scripts do on a fresh machine cannot be tried from a unit test; what they decide can.
"""

from __future__ import annotations

import importlib.util
import json
import os
import re
import stat
import subprocess
import sys
import tomllib
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest

from tests.tidy import house_tree as tree

PYPROJECT: dict[str, Any] = tomllib.loads((tree.ROOT / "pyproject.toml").read_text())


def _script(name: str) -> ModuleType:
    """A file of scripts/ as a module."""
    spec = importlib.util.spec_from_file_location(name, tree.ROOT / "scripts" / f"{name}.py")
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def _group(name: str) -> set[str]:
    found: set[str] = set()
    for entry in PYPROJECT["dependency-groups"][name]:
        found |= {entry} if isinstance(entry, str) else _group(entry["include-group"])
    return found


def test_the_package_needs_nothing_at_run_time() -> None:
    assert PYPROJECT["project"]["dependencies"] == []


@pytest.mark.parametrize(
    ("extra", "group"), [("simulator", "demo"), ("demo", "demo"), ("simulator", "dev")]
)
def test_the_environment_has_what_the_extras_ask_for(extra: str, group: str) -> None:
    asked = PYPROJECT["project"]["optional-dependencies"][extra]
    assert {name for name in asked if not name.startswith("sluiceway[")} <= _group(group)


def test_the_build_group_is_what_the_build_asks_for() -> None:
    assert _group("build") == set(PYPROJECT["build-system"]["requires"])


def test_the_floors_are_the_same_everywhere() -> None:
    shell = tree.read(Path("scripts/lib.sh"))
    cmake = tree.read(Path("CMakeLists.txt"))
    curl = re.findall(r"^CURL_FLOOR=(\S+)", shell, re.MULTILINE)
    python = re.findall(r"^PYTHON_FLOOR=(\S+)", shell, re.MULTILINE)
    assert curl == re.findall(r"find_package\(CURL (\S+)", cmake)
    assert python == re.findall(r"find_package\(Python (\S+)", cmake)
    assert PYPROJECT["project"]["requires-python"] == f">={python[0]}"


def test_the_version_is_written_once() -> None:
    init = tree.read(Path("src/python/sluiceway/__init__.py"))
    written = re.findall(r'^__version__(?:: \w+)? = "([^"]+)"', init, re.MULTILINE)
    assert written in ([], [PYPROJECT["project"]["version"]])


def test_every_preset_that_is_promised_exists() -> None:
    presets = json.loads((tree.ROOT / "CMakePresets.json").read_text())["configurePresets"]
    names = {preset["name"] for preset in presets if not preset.get("hidden")}
    assert {"dev", "asan", "tsan", "tidy", "fuzz"} <= names


def test_ci_runs_the_tests_command() -> None:
    run = tree.ROOT / ".ci/run"
    assert run.stat().st_mode & stat.S_IXUSR
    assert run.read_text().startswith("#!/usr/bin/env bash\n")
    assert re.search(r"^exec make test$", run.read_text(), re.MULTILINE)


@pytest.mark.parametrize("path", tree.under("scripts", ".sh"), ids=str)
def test_shell_scripts_are_sound(path: Path) -> None:
    subprocess.run(["bash", "-n", str(tree.ROOT / path)], check=True)
    if path.name != "lib.sh":
        assert "set -euo pipefail" in tree.read(path)
        assert os.access(tree.ROOT / path, os.X_OK)


def test_every_third_party_library_has_its_licence_row() -> None:
    page = tree.read(Path("third-party-licenses/README.md")).lower()
    cmake = tree.read(Path("CMakeLists.txt"))
    names = {"curl": "libcurl", "sqlite3": "sqlite", "absl": "abseil", "gtest": "googletest"}
    names |= {"benchmark": "google benchmark"}
    for package in re.findall(r"find_package\((\w+)", cmake):
        if package not in {"Threads", "Python"}:
            assert names.get(package.lower(), package.lower()) in page


# The two forms of apt sources, as sources.list(5) describes them; the hosts are invented.
ONE_LINE = (
    "deb [arch=amd64,arm64 signed-by=/k/d.gpg trusted=no] http://m.example/debian bookworm main"
)
STANZAS = """\
# A comment that is no stanza's.
Types: deb
URIs: http://m.example/debian-security
Suites: bookworm-security
Components: main

Types: deb deb-src
# A comment inside.
URIs: http://m.example/debian
Suites: bookworm bookworm-updates
Components: main contrib
Signed-By:
 -----BEGIN PGP PUBLIC KEY BLOCK-----
 .
 abc
"""


def test_a_one_line_source_becomes_a_stanza_of_the_other_suite() -> None:
    made = _script("backports_source").stanza_from_line(ONE_LINE, "bookworm-backports")
    assert made.splitlines() == [
        "Types: deb",
        "URIs: http://m.example/debian",
        "Suites: bookworm-backports",
        "Components: main",
        "Architectures: amd64 arm64",
        "Signed-By: /k/d.gpg",
        "Trusted: no",
    ]


def test_a_stanza_keeps_its_mirror_and_its_key() -> None:
    made = _script("backports_source").stanza_from_deb822(STANZAS, 2, "bookworm-backports")
    assert made.splitlines() == [
        "Types: deb",
        "URIs: http://m.example/debian",
        "Signed-By:",
        " -----BEGIN PGP PUBLIC KEY BLOCK-----",
        " .",
        " abc",
        "Suites: bookworm-backports",
        "Components: main",
    ]


def test_only_debians_own_release_is_taken_as_the_pattern() -> None:
    find = _script("backports_source").find_entry
    targets = [
        "bookworm|Docker|main|/etc/apt/sources.list.d/vendor.list:1",
        "bookworm-security|Debian|main|/etc/apt/sources.list.d/debian.sources:1",
        "bookworm|Debian|contrib|/etc/apt/sources.list.d/debian.sources:9",
        "bookworm|Debian|main|/etc/apt/sources.list.d/debian.sources:2",
    ]
    assert find(targets, "bookworm") == (Path("/etc/apt/sources.list.d/debian.sources"), 2)
    assert find(targets, "trixie") is None


def test_a_machine_without_apt_is_told_what_to_install(tmp_path: Path) -> None:
    """The script runs in a copy of the project without libraries, with a PATH that has no apt."""
    tools = tmp_path / "bin"
    tools.mkdir()
    for name in ("bash", "dirname", "mkdir", "cat", "grep", "sed", "env", "id"):
        found = next(d for d in ("/usr/bin", "/bin") if Path(d, name).exists())
        (tools / name).symlink_to(Path(found, name))
    (tools / "python3").symlink_to(sys.executable)
    run = subprocess.run(
        ["bash", str(tree.ROOT / "scripts/system_packages.sh"), "build"],
        cwd=tmp_path,
        env={"PATH": str(tools), "HOME": str(tmp_path)},
        capture_output=True,
        text=True,
    )
    assert run.returncode == 1
    assert "this machine has no apt-get" in run.stderr
    for wanted in (
        "libcurl4-openssl-dev",
        "libsimdjson-dev",
        "bookworm-backports",
        "pip install .",
    ):
        assert wanted in run.stderr
