"""A gateway in a process: construction starts nothing, an exit loses nothing, a fork works."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

from sluiceway import Gateway
from sluiceway.simulator import Simulator

_SCRIPT = """
import os, sys, threading
import sluiceway as sw

gw = sw.Gateway.from_env()
gw.with_options(timeout_s=3)
assert len(os.listdir("/proc/self/task")) == 1, "construction started a thread"
assert not os.path.exists(os.environ["SLUICEWAY_LEDGER"]), "construction opened the ledger"
for _ in range(5):
    gw.chat("openai/gpt-4o-mini", "abcdefgh")
"""


# A thread that never ends keeps the gateway alive to the very end of the process.
_HELD = (
    _SCRIPT
    + """
def hold(kept=gw):
    threading.Event().wait()

threading.Thread(target=hold, daemon=True).start()
"""
)


def _run(script: str, sim: Simulator, ledger: Path) -> None:
    environment = {
        **os.environ,
        "SLUICEWAY_SIMULATOR_URL": sim.http_url,
        "SLUICEWAY_LEDGER": str(ledger),
        # CPython 3.12 and newer warn of every fork of a process with threads.
        "PYTHONWARNINGS": "ignore:This process:DeprecationWarning",
    }
    run = subprocess.run(
        [sys.executable, "-c", script],
        env=environment,
        capture_output=True,
        text=True,
        timeout=60,
    )
    assert run.returncode == 0, run.stderr
    assert run.stderr == ""


@pytest.mark.parametrize("held", [False, True])
def test_a_script_that_just_ends(
    sim: Simulator, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, held: bool
) -> None:
    ledger = tmp_path / "books.db"
    _run(_HELD if held else _SCRIPT, sim, ledger)
    assert sim.executions()["total"] == 5
    monkeypatch.setenv("SLUICEWAY_LEDGER", str(ledger))
    with Gateway.from_env() as gw:
        settled = [e["amount_nanousd"] for e in gw.ledger.entries() if e["kind"] == "settle"]
        assert sum(settled) == sim.bill()["total_nanousd"]
        assert len(settled) == 5
        assert gw.ledger.holds() == []


_FORK = """
import os
import sluiceway as sw

gw = sw.Gateway.from_env()
with gw.budget("video:1", usd="1.00") as b:
    gw.chat("openai/gpt-4o-mini", "abcdefgh")
    child = os.fork()
    if child == 0:
        gw.chat("openai/gpt-4o-mini", "abcdefgh")
        gw.close()
        os._exit(0)
    assert os.waitpid(child, 0)[1] == 0
    gw.chat("openai/gpt-4o-mini", "abcdefgh")
    gw.flush()
    assert b.spent * 10**9 == 3 * 10_350, b.spent
"""


def test_a_fork_has_an_engine_of_its_own(sim: Simulator, tmp_path: Path) -> None:
    _run(_FORK, sim, tmp_path / "books.db")
    assert sim.executions()["total"] == 3
