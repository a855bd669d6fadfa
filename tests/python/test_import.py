"""`import sluiceway` starts nothing, opens nothing for writing, and loads no third-party module.

Model: a fresh interpreter imports the package under an audit hook, in an empty folder that holds a
`.env`, and reports what it did as JSON. The same probe is then shown planted packages that do each
forbidden thing, so that a probe which sees nothing is known to look.

Bounds: one interpreter start a case. What C++ opens is seen through /proc/self/fd, before against
after; what it starts through /proc/self/task.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path

import pytest

_PROBE = r"""
import importlib, json, os, sys, threading

package = sys.argv[1]
written, dotenv, started = [], [], []
WRITES = os.O_WRONLY | os.O_RDWR | os.O_CREAT | os.O_APPEND | os.O_TRUNC

def hook(event, arguments):
    if event == "open":
        path, mode, flags = arguments
        if isinstance(path, bytes):
            path = path.decode()
        if isinstance(mode, str) and set(mode) & set("wax+") or (flags or 0) & WRITES:
            written.append(str(path))
        if os.path.basename(str(path)).startswith(".env"):
            dotenv.append(str(path))
    elif event.startswith(("socket.connect", "socket.bind", "subprocess.", "os.fork", "os.exec",
                           "os.posix_spawn", "os.system", "_thread.start_new_thread")):
        started.append(event)

def descriptors():
    return {os.readlink(f"/proc/self/fd/{fd}") for fd in os.listdir("/proc/self/fd")
            if os.path.islink(f"/proc/self/fd/{fd}")}

before, open_before = set(sys.modules), descriptors()
sys.addaudithook(hook)
importlib.import_module(package)
loaded = set(sys.modules) - before
known = set(sys.stdlib_module_names) | {package}
json.dump({
    "foreign": sorted(m for m in loaded if m.partition(".")[0] not in known),
    "loaded": len(loaded),
    "written": written,
    "dotenv": dotenv,
    "started": started,
    "python_threads": threading.active_count(),
    "system_threads": len(os.listdir("/proc/self/task")),
    "left_open": sorted(descriptors() - open_before),
}, sys.stdout)
"""


@dataclass(frozen=True)
class Report:
    """What importing a package did to its process."""

    foreign: list[str]
    loaded: int
    written: list[str]
    dotenv: list[str]
    started: list[str]
    python_threads: int
    system_threads: int
    left_open: list[str]

    def complaints(self) -> list[str]:
        """The names of the fields that are not as they are promised."""
        lists = ("foreign", "written", "dotenv", "started", "left_open")
        found = [name for name in lists if getattr(self, name)]
        found += [n for n in ("python_threads", "system_threads") if getattr(self, n) != 1]
        return found


def _import_report(package: str, folder: Path, search: Path | None = None) -> Report:
    """Imports `package` in a fresh interpreter whose working folder and home are `folder`."""
    (folder / ".env").write_text("OPENAI_API_KEY=sk-obviously-fake\n")
    environment = {
        key: value for key, value in os.environ.items() if not key.startswith(("PYTHON", "COV"))
    }
    environment |= {"HOME": str(folder), "PYTHONDONTWRITEBYTECODE": "1"}
    if search is not None:
        environment["PYTHONPATH"] = str(search)
    run = subprocess.run(
        [sys.executable, "-c", _PROBE, package],
        cwd=folder,
        env=environment,
        capture_output=True,
        text=True,
        timeout=60,
    )
    assert run.returncode == 0, run.stderr
    return Report(**json.loads(run.stdout))


def test_import_starts_nothing_and_loads_nothing_foreign(tmp_path: Path) -> None:
    report = _import_report("sluiceway", tmp_path)
    assert report.complaints() == [], report
    assert report.loaded >= 1


@pytest.mark.parametrize(
    ("code", "complaint"),
    [
        ("import pytest", "foreign"),
        ("open('made.txt', 'w').close()", "written"),
        ("import os; os.close(os.open('made.db', os.O_RDWR | os.O_CREAT))", "written"),
        ("open('.env').read()", "dotenv"),
        ("import subprocess; subprocess.run(['true'])", "started"),
        ("import os; kept = os.open('.', os.O_RDONLY)", "left_open"),
        (
            "import threading; e = threading.Event()\n"
            "threading.Thread(target=e.wait, daemon=True).start()",
            "system_threads",
        ),
    ],
)
def test_the_probe_sees_what_is_planted(tmp_path: Path, code: str, complaint: str) -> None:
    packages = tmp_path / "packages"
    packages.mkdir()
    (packages / "planted.py").write_text(code + "\n")
    assert complaint in _import_report("planted", tmp_path, packages).complaints()


def test_the_probe_has_nothing_against_an_empty_package(tmp_path: Path) -> None:
    packages = tmp_path / "packages"
    packages.mkdir()
    (packages / "planted.py").write_text("")
    assert _import_report("planted", tmp_path, packages).complaints() == []
