"""Scripts in processes of their own, against one simulator: what they print, how they end."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

import sluiceway
from sluiceway import Gateway, simulator
from sluiceway.simulator import Simulator
from tests.fixtures import clean_environment as clean_environment
from tests.fixtures import sim as sim

ROOT = Path(sluiceway.__file__).resolve().parents[1]
TIMEOUT_S = 60.0
# CPython 3.12 and newer warn of every fork of a process with threads, which these tests are about.
FORKS_ARE_MEANT = "ignore:This process:DeprecationWarning"
_POLL_S = 0.01


@pytest.fixture(scope="module")
def running_simulator() -> Iterator[Simulator]:
    """One simulator a module, in a process of its own: no script here inherits its thread."""
    with simulator.spawn(tls=False, seed=7) as running:
        yield running


class Scripts:
    """Runs Python text in other processes with the simulator and one ledger in the environment."""

    def __init__(self, sim: Simulator, folder: Path) -> None:
        self.sim = sim
        self.folder = folder
        self.ledger = folder / "books.db"
        self.started: list[subprocess.Popen[str]] = []
        paths = [str(ROOT), *os.environ.get("PYTHONPATH", "").split(os.pathsep)]
        self.environment = {
            **os.environ,
            "PYTHONPATH": os.pathsep.join(dict.fromkeys(path for path in paths if path)),
            "SLUICEWAY_SIMULATOR_URL": sim.http_url,
            "SLUICEWAY_LEDGER": str(self.ledger),
            "PYTHONWARNINGS": FORKS_ARE_MEANT,
        }

    def start(self, text: str) -> subprocess.Popen[str]:
        """Starts a script. It is a file, so that multiprocessing's spawn finds it again."""
        path = self.folder / "script.py"
        path.write_text(text)
        process = subprocess.Popen(
            [sys.executable, str(path)],
            env=self.environment,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
            start_new_session=True,
        )
        self.started.append(process)
        return process

    def close(self) -> None:
        """Ends what a failed test left running."""
        for process in self.started:
            if process.poll() is None:
                os.killpg(process.pid, signal.SIGKILL)
            process.wait()
            for pipe in (process.stdout, process.stderr):
                assert pipe is not None
                pipe.close()

    def finish(self, process: subprocess.Popen[str], timeout_s: float = TIMEOUT_S) -> str:
        """What it printed; it ended well, said nothing on stderr, and was not too slow."""
        try:
            out, errors = process.communicate(timeout=timeout_s)
        except subprocess.TimeoutExpired:
            os.killpg(process.pid, signal.SIGKILL)  # its children hold the pipes too
            out, errors = process.communicate()
            raise AssertionError(f"it did not end in {timeout_s} s: {out} {errors}") from None
        assert process.returncode == 0, f"status {process.returncode}: {out} {errors}"
        assert errors == ""
        return out

    def run(self, text: str, timeout_s: float = TIMEOUT_S) -> str:
        """Runs a script to its end."""
        return self.finish(self.start(text), timeout_s)

    def wait_executed(self, count: int) -> None:
        """Until the simulator has executed so many requests. It books before it answers."""
        deadline_s = time.monotonic() + TIMEOUT_S
        while self.sim.executions()["total"] < count:
            assert time.monotonic() < deadline_s, f"{self.sim.log()}"
            time.sleep(_POLL_S)

    def books(self) -> tuple[list[dict[str, Any]], list[dict[str, Any]]]:
        """The ledger's ends of calls and its holds, after a check of the whole file. Each end gets
        the scopes of its reservation."""
        config = {"ledger": {"path": str(self.ledger)}}
        with Gateway(config) as fresh:
            report = fresh.ledger.verify()
            assert report["ok"], report
            entries = fresh.ledger.entries()
            holds = fresh.ledger.holds()
        scopes = {one["call_id"]: one["scopes"] for one in entries if one["kind"] == "reserve"}
        ends = [one for one in entries if one["kind"] != "reserve"]
        return [{**end, "scopes": scopes[end["call_id"]]} for end in ends], holds


@pytest.fixture
def scripts(sim: Simulator, tmp_path: Path) -> Iterator[Scripts]:
    """Scripts on an empty ledger."""
    made = Scripts(sim, tmp_path)
    yield made
    made.close()


@pytest.fixture
def make_gateway(
    sim: Simulator, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> Iterator[Callable[[], Gateway]]:
    """Makes gateways of this process, on one ledger file."""
    monkeypatch.setenv("SLUICEWAY_SIMULATOR_URL", sim.http_url)
    made: list[Gateway] = []

    def make() -> Gateway:
        config = {"ledger": {"path": str(tmp_path / "books.db"), "durability": "process"}}
        made.append(Gateway(config))
        return made[-1]

    yield make
    for gateway in made:
        gateway.close()
