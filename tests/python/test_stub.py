"""The type stub in the package is what the generator makes of the module that was built."""

import shutil
import subprocess
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
STUB = ROOT / "src/python/sluiceway/_core.pyi"


def test_the_stub_is_the_generated_one(tmp_path: Path) -> None:
    if not (ROOT / ".venv/bin/python").exists() or shutil.which("bash") is None:
        pytest.skip("needs the environment that `make setup` makes")
    fresh = tmp_path / "_core.pyi"
    made = subprocess.run(
        ["bash", str(ROOT / "scripts/stubs.sh"), str(fresh)], capture_output=True, text=True
    )
    assert made.returncode == 0, made.stdout + made.stderr
    assert fresh.read_text() == STUB.read_text(), "run `make stubs`"
