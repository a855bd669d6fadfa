"""The simulator as a process: its line, its end, its errors, and the spawned face."""

from __future__ import annotations

import ast
import json
import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest

import sluiceway.simulator
from sluiceway.simulator import MissingExtraError, ScriptError, StartError
from tests.python.simulator.wire import H1, H2

ROOT = Path(sluiceway.simulator.__file__).parents[2]
TIMEOUT_S = 60


def launch(*arguments: str) -> subprocess.Popen[str]:
    environment = os.environ | {"PYTHONPATH": str(ROOT)}
    return subprocess.Popen(
        [sys.executable, "-m", "sluiceway.simulator", *arguments],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        env=environment,
    )


def test_it_says_where_it_listens_and_ends_on_sigterm() -> None:
    with launch() as process:
        assert process.stdout is not None
        ready = json.loads(process.stdout.readline())
        assert set(ready) == {"http", "https", "ca_file", "pid"}
        assert ready["pid"] == process.pid
        assert ready["http"].startswith("http://127.0.0.1:")
        assert Path(ready["ca_file"]).read_text().startswith("-----BEGIN CERTIFICATE-----")
        process.send_signal(signal.SIGTERM)
        assert process.wait(TIMEOUT_S) == 0
        assert not Path(ready["ca_file"]).exists()


def test_it_ends_with_its_standard_input() -> None:
    with launch("--exit-with-stdin", "--no-tls") as process:
        assert process.stdout is not None
        assert process.stdin is not None
        ready = json.loads(process.stdout.readline())
        assert (ready["https"], ready["ca_file"]) == (None, None)
        process.stdin.close()
        assert process.wait(TIMEOUT_S) == 0


def test_bad_scripts_and_taken_ports_are_said_plainly(tmp_path: Path) -> None:
    script = tmp_path / "script.json"
    script.write_text('[{"action": {"fault": "explode"}}]')
    with launch("--script", str(script)) as process:
        _, errors = process.communicate(timeout=TIMEOUT_S)
        assert process.returncode == 2
        assert "rule 0: fault: 'explode' is not one of" in errors
        assert "Traceback" not in errors
    with sluiceway.simulator.start(tls=False) as simulator:
        port = simulator.http_url.rpartition(":")[2]
        with launch("--port", port, "--no-tls") as process:
            _, errors = process.communicate(timeout=TIMEOUT_S)
            assert process.returncode == 2
            assert "cannot listen" in errors
        with pytest.raises(StartError, match="cannot listen"):
            sluiceway.simulator.start(tls=False, port=int(port))


def test_a_spawned_simulator_has_the_same_face(tmp_path: Path) -> None:
    log = tmp_path / "log.jsonl"
    rules = [{"match": {"nth": 1}, "action": {"fault": "status", "status": 503}}]
    with sluiceway.simulator.spawn(rules, seed=9, log=log) as simulator:
        assert simulator.pid != os.getpid()
        with H1(simulator) as connection:
            assert connection.chat("openai").status == 503
            assert connection.chat("openai").status == 200
        with H2(simulator) as over_h2:
            assert over_h2.chat("anthropic").status == 200
        # "hi" counts 4: 4 * 150 + 16 * 600, and 4 * 4000 + 16 * 20000
        assert simulator.bill()["by_provider"] == {"openai": 10_200, "anthropic": 336_000}
        assert simulator.executions()["total"] == 2
        assert simulator.log() == [json.loads(line) for line in log.read_text().splitlines()]
        assert [line["status"] for line in simulator.log(1)] == [200, 200]
        assert simulator.script([]) == 0
        with pytest.raises(ScriptError, match="rule 0"):
            simulator.script([{"action": 5}])
        simulator.reset()
        assert simulator.log() == []
        pid = simulator.pid
    assert not Path(f"/proc/{pid}").exists()
    simulator.close()


def test_a_spawn_that_fails_leaves_nothing(capfd: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(ScriptError):
        sluiceway.simulator.spawn("nonsense", tls=False)
    with pytest.raises(StartError):
        sluiceway.simulator.spawn(tls=False, log="/nonexistent/folder/log")
    assert "No such file" in capfd.readouterr().err


def test_the_wall_clock_can_be_moved() -> None:
    day_s = 86_400.0
    with sluiceway.simulator.spawn(tls=False, wall_offset_s=-365 * day_s) as simulator:
        with H1(simulator) as connection:
            connection.chat("openai")
        (line,) = simulator.log()
    with sluiceway.simulator.start(tls=False) as here:
        with H1(here) as connection:
            connection.chat("openai")
        now = here.log()[0]["wall"]
    assert 0 <= now - line["wall"] - 365 * day_s < 60


def test_a_missing_extra_names_the_command(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "h2.connection", None)
    with pytest.raises(MissingExtraError, match=r"pip install 'sluiceway\[simulator\]'"):
        sluiceway.simulator.start()
    with (
        sluiceway.simulator.start(tls=False) as simulator,
        H1(simulator) as connection,
    ):
        assert connection.chat("openai").status == 200


def test_importing_loads_nothing_foreign() -> None:
    """Beyond what `import sluiceway` does: only this package and the standard library."""
    code = (
        "import sys, sluiceway; before = set(sys.modules); import sluiceway.simulator; "
        "new = {name for name in set(sys.modules) - before "
        "if not name.startswith('sluiceway.simulator')}; "
        "print(sorted(name for name in new "
        "if name.partition('.')[0] not in sys.stdlib_module_names))"
    )
    environment = os.environ | {"PYTHONPATH": str(ROOT)}
    result = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, check=True, env=environment
    )
    assert result.stdout.strip() == "[]"


def test_nothing_here_knows_the_gateway() -> None:
    """No file of the simulator imports the rest of the package, prices above all."""
    for path in Path(sluiceway.simulator.__file__).parent.rglob("*.py"):
        for node in ast.walk(ast.parse(path.read_text())):
            names = []
            if isinstance(node, ast.Import):
                names = [alias.name for alias in node.names]
            elif isinstance(node, ast.ImportFrom):
                names = [node.module or ""]
            for name in names:
                if name.partition(".")[0] == "sluiceway":
                    assert name.startswith("sluiceway.simulator"), f"{path.name} imports {name}"
