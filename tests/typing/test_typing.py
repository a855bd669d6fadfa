"""The public face under mypy --strict: what types users get, and which mistakes are seen."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

pytest.importorskip("mypy", reason="mypy is not installed (the dev group has it)")
_HERE = Path(__file__).parent
_ROOT = _HERE.parents[1]


def _mypy(file: Path, *flags: str) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-m", "mypy", "--strict", "--warn-unreachable", *flags, str(file)]
    command += ["--cache-dir", str(_ROOT / "build" / "mypy")]
    return subprocess.run(command, cwd=_ROOT, capture_output=True, text=True, timeout=300)


@pytest.mark.parametrize("name", ["uses.py", "misuses.py"])
def test_under_strict(name: str) -> None:
    run = _mypy(_HERE / name)
    assert run.returncode == 0, run.stdout + run.stderr


def test_the_check_can_fail(tmp_path: Path) -> None:
    planted = tmp_path / "planted.py"
    planted.write_text("import sluiceway as sw\nx: int = sw.Retry(2).key\n")
    assert "Incompatible types" in _mypy(planted).stdout
