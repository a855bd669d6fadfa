"""The type stub in the package is what the generator makes of the module that was built."""

import importlib.util
import inspect
import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from sluiceway import _core

ROOT = Path(__file__).resolve().parents[2]
STUB = ROOT / "src/python/sluiceway/_core.pyi"


def test_the_stub_names_everything() -> None:
    """By a look at the module itself: on every Python."""
    stub = STUB.read_text()
    for name, value in vars(_core).items():
        if name.startswith("__"):
            continue
        if not inspect.isclass(value):
            assert re.search(rf"^(def )?{name}\b", stub, re.MULTILINE), name
            continue
        part = re.search(rf"^class {name}\b.*?(?=^\S|\Z)", stub, re.MULTILINE | re.DOTALL)
        assert part, name
        for member in vars(value):
            if not member.startswith("_"):
                assert re.search(rf"^    (def )?{member}\b", part.group(), re.MULTILINE), member


@pytest.mark.skipif(
    sys.version_info >= (3, 13),
    reason="needs Python 3.12 or older: pybind11-stubgen 3.0 reads no methods on 3.13",
)
def test_the_stub_is_the_generated_one(tmp_path: Path) -> None:
    needed = ("pybind11_stubgen", "ruff")
    if shutil.which("bash") is None or not all(map(importlib.util.find_spec, needed)):
        pytest.skip("needs bash, pybind11-stubgen and ruff")
    fresh = tmp_path / "_core.pyi"
    made = subprocess.run(
        ["bash", str(ROOT / "scripts/stubs.sh"), str(fresh)],
        capture_output=True,
        text=True,
        env=os.environ | {"PYTHON": sys.executable},
    )
    assert made.returncode == 0, made.stdout + made.stderr
    assert fresh.read_text() == STUB.read_text(), "run `make stubs`"
