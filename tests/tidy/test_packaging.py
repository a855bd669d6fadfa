"""What is shipped: the wheel and the source archive hold what the package needs, and no more.

In .venv the wheel is built from the build folder that its own module came from, so nothing is
compiled again: a few seconds, no network. Another environment has a build folder of its own.
"""

from __future__ import annotations

import subprocess
import sys
import tarfile
import zipfile
from email.parser import HeaderParser
from pathlib import Path

import pytest

from tests.tidy import house_tree as tree

BUILD = "build/python" if Path(sys.prefix) == tree.ROOT / ".venv" else "build/python-other"


@pytest.fixture(scope="module")
def wheel(tmp_path_factory: pytest.TempPathFactory) -> zipfile.ZipFile:
    folder = tmp_path_factory.mktemp("wheel")
    run = subprocess.run(
        [
            *(sys.executable, "-m", "pip", "--disable-pip-version-check", "wheel"),
            *("--no-build-isolation", "--no-deps", "--no-index", "--wheel-dir", str(folder)),
            *(f"--config-settings=build-dir={BUILD}", str(tree.ROOT)),
        ],
        cwd=tree.ROOT,
        capture_output=True,
        text=True,
    )
    assert run.returncode == 0, run.stdout + run.stderr
    (path,) = folder.glob("sluiceway-*.whl")
    return zipfile.ZipFile(path)


def test_the_wheel_holds_the_whole_package(wheel: zipfile.ZipFile) -> None:
    names = set(wheel.namelist())
    expected = {
        f"sluiceway/{path.relative_to('src/python/sluiceway')}"
        for path in tree.under("src/python/sluiceway")
    }
    assert {"sluiceway/py.typed", "sluiceway/_core.pyi"} <= names
    assert {"sluiceway/providers/registry.toml"} <= names
    assert any(name.startswith("sluiceway/prices/") and name.endswith(".toml") for name in names)
    assert expected <= names
    assert [name for name in names if name.startswith("sluiceway/_core.cpython-")]


def test_the_wheel_holds_nothing_else(wheel: zipfile.ZipFile) -> None:
    others = [
        name
        for name in wheel.namelist()
        if not name.startswith(("sluiceway/", "sluiceway-")) or "__pycache__" in name
    ]
    assert others == []


def test_the_metadata_is_complete(wheel: zipfile.ZipFile) -> None:
    (name,) = [n for n in wheel.namelist() if n.endswith(".dist-info/METADATA")]
    metadata = HeaderParser().parsestr(wheel.read(name).decode())
    assert metadata["Name"] == "sluiceway"
    assert metadata["License-Expression"] == "Apache-2.0"
    assert set(metadata.get_all("License-File", [])) >= {
        "LICENSE",
        "third-party-licenses/README.md",
        "third-party-licenses/pybind11.txt",
    }
    assert metadata["Requires-Python"] == ">=3.11"
    assert metadata["Description-Content-Type"] == "text/markdown"
    assert metadata["Summary"]
    required = metadata.get_all("Requires-Dist", [])
    assert [line for line in required if "extra ==" not in line] == []
    assert set(metadata.get_all("Provides-Extra", [])) == {
        "arrow",
        "demo",
        "simulator",
        "tokenizers",
    }


def test_the_command_is_declared(wheel: zipfile.ZipFile) -> None:
    (name,) = [n for n in wheel.namelist() if n.endswith(".dist-info/entry_points.txt")]
    assert "sluiceway = sluiceway.cli:main" in wheel.read(name).decode().replace(
        "=", " = "
    ).replace("  ", " ")


def test_the_source_archive_can_be_built_from(tmp_path: Path) -> None:
    code = "import sys; from scikit_build_core.build import build_sdist; build_sdist(sys.argv[1])"
    subprocess.run(
        [sys.executable, "-c", code, str(tmp_path)], cwd=tree.ROOT, check=True, capture_output=True
    )
    (path,) = tmp_path.glob("sluiceway-*.tar.gz")
    with tarfile.open(path) as archive:
        names = {name.partition("/")[2] for name in archive.getnames()}
    needed = {"pyproject.toml", "CMakeLists.txt", "LICENSE", "README.md"}
    needed |= {str(path) for path in tree.under("src")}
    assert needed <= names
    assert [n for n in names if n.startswith(("build/", ".venv/")) or n.endswith(".so")] == []
