"""The real thing on a real disk that runs full: refuse, lose nothing, go on when there is room.

Through the public face, in a process of its own (full_disk.py) against the simulator. Two ways to
run full: a limit on file sizes, and a file system of a few megabytes, which takes the right to
mount one (a user namespace; skipped with the reason where the machine does not give it).
"""

from __future__ import annotations

import json
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from sluiceway import simulator
from tests.simulation.crew import environment
from tests.simulation.full_disk import CALLS

SCRIPT = Path(__file__).with_name("full_disk.py")
TIMEOUT_S = 120


def small_disk(folder: Path) -> list[str]:
    """The command that runs another one with a file system of 3 MB on `folder`."""
    unshare = shutil.which("unshare")
    if unshare is None:
        pytest.skip("needs `unshare` of util-linux, to mount a small file system")
    mount = f'mount -t tmpfs -o size=3m none "{folder}" && exec "$@"'
    probe = [unshare, "-rm", "sh", "-c", mount, "sh", "true"]
    tried = subprocess.run(probe, capture_output=True, text=True, check=False)
    if tried.returncode != 0:
        pytest.skip(f"needs user namespaces, to mount a small file system: {tried.stderr.strip()}")
    return [unshare, "-rm", "sh", "-c", mount, "sh"]


@pytest.mark.parametrize("how", ["limit", "ballast"])
def test_a_full_disk_refuses_and_loses_nothing(how: str, tmp_path: Path) -> None:
    wrapper = small_disk(tmp_path) if how == "ballast" else []
    with simulator.spawn(seed=7, tls=False) as sim:
        done = subprocess.run(
            [*wrapper, sys.executable, str(SCRIPT), str(tmp_path / "books.db"), how],
            env=environment(sim.http_url),
            capture_output=True,
            text=True,
            timeout=TIMEOUT_S,
            check=False,
        )
        assert done.returncode == 0, done.stderr
        bill, executions = sim.bill(), sim.executions()["total"]
    found: dict[str, Any] = json.loads(done.stdout)
    print(found)
    told = found["told"]
    # Nothing was sent that could not be reserved, and nobody waited for ever.
    assert told["full"] == {"BudgetUnavailable never_sent 0": 2 * CALLS}
    # What was under way was answered, and its settlement was kept until there was room.
    for phase in ("well", "slow", "again"):
        assert [word.split()[0] for word in told[phase]] == ["ok"], told
        assert sum(told[phase].values()) == CALLS
    assert executions == 3 * CALLS
    assert found["flushed"]
    assert found["spent"] == bill["total_nanousd"]
    assert found["held"] == found["in_doubt"] == 0
    assert found["verify"]["ok"], found["verify"]
    assert found["kinds"]["settle"] == 3 * CALLS
