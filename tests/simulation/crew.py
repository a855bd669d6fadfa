"""Starts worker processes, follows what they say, and kills one of them at a chosen event.

Model: each worker (worker.py) is a process with a pipe each way. The crew reads all pipes in one
loop; when the victim has written the chosen number of lines it gets SIGKILL at once, while its
siblings go on to their end. No clock decides anything: the moment is a count of events, drawn from
a seed.

Bounds: a crew that takes longer than TIMEOUT_S is killed and is an error. One thread.

    crew = Crew(plans, environment, folder)
    crew.run(kill=Kill("w1", after_lines=217))
    crew.events["w1"]
"""

from __future__ import annotations

import json
import os
import selectors
import signal
import subprocess
import sys
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import sluiceway
from tests.fixtures import reaches_gateways

ROOT = Path(sluiceway.__file__).resolve().parents[1]
WORKER = Path(__file__).with_name("worker.py")
TIMEOUT_S = 180.0


@dataclass(frozen=True)
class Kill:
    """Kill this worker when it has written so many lines after "ready", or this event."""

    worker: str
    after_lines: int = 0
    at_event: str = ""


def environment(simulator_url: str) -> dict[str, str]:
    """This environment without keys and settings of whoever runs the tests, plus the simulator."""
    clean = {name: value for name, value in os.environ.items() if not reaches_gateways(name)}
    paths = [str(ROOT), *clean.get("PYTHONPATH", "").split(os.pathsep)]
    clean["PYTHONPATH"] = os.pathsep.join(dict.fromkeys(path for path in paths if path))
    clean["SLUICEWAY_SIMULATOR_URL"] = simulator_url
    return clean


class Crew:
    """Worker processes, by name."""

    def __init__(self, plans: list[dict[str, Any]], env: dict[str, str], folder: Path) -> None:
        self.events: dict[str, list[dict[str, Any]]] = {plan["worker"]: [] for plan in plans}
        self.exit_status: dict[str, int] = {}
        self._plans = plans
        self._env = env
        self._folder = folder
        self._processes: dict[str, subprocess.Popen[bytes]] = {}
        self._buffers: dict[str, bytes] = {}

    def run(self, kill: Kill | None = None) -> None:
        """Starts all workers together, kills the victim at its moment, returns when all ended."""
        try:
            with selectors.DefaultSelector() as selector:
                for plan in self._plans:
                    self._start(plan, selector)
                self._follow(selector, kill)
        finally:
            for process in self._processes.values():
                if process.poll() is None:
                    process.kill()
                process.wait()
                for pipe in (process.stdin, process.stdout):
                    assert pipe is not None
                    pipe.close()
        for name, process in self._processes.items():
            self.exit_status[name] = process.returncode

    def stderr(self, worker: str) -> str:
        """What a worker wrote to its standard error."""
        return (self._folder / f"{worker}.stderr").read_text()

    def killed(self, worker: str) -> bool:
        """Whether SIGKILL ended this worker."""
        return self.exit_status[worker] == -signal.SIGKILL

    def _start(self, plan: dict[str, Any], selector: selectors.BaseSelector) -> None:
        name = plan["worker"]
        with open(self._folder / f"{name}.stderr", "wb") as stderr:
            process = subprocess.Popen(
                [sys.executable, str(WORKER)],
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                stderr=stderr,
                env=self._env,
            )
        self._processes[name] = process
        self._buffers[name] = b""
        assert process.stdin is not None
        assert process.stdout is not None
        process.stdin.write(json.dumps(plan).encode() + b"\n")
        process.stdin.flush()
        os.set_blocking(process.stdout.fileno(), False)
        selector.register(process.stdout, selectors.EVENT_READ, name)

    def _follow(self, selector: selectors.BaseSelector, kill: Kill | None) -> None:
        deadline_s = time.monotonic() + TIMEOUT_S
        ready = 0
        while selector.get_map():
            ready_now = selector.select(max(0.0, deadline_s - time.monotonic()))
            if not ready_now:
                raise AssertionError(f"the workers did not end within {TIMEOUT_S:g} s")
            for key, _ in ready_now:
                name = key.data
                data = os.read(key.fd, 1 << 16)
                if not data:
                    selector.unregister(key.fileobj)
                    if ready < len(self._plans):
                        raise AssertionError(f"{name} ended early: {self.stderr(name)}")
                    continue
                *lines, self._buffers[name] = (self._buffers[name] + data).split(b"\n")
                for line in lines:
                    event = json.loads(line)
                    if event["event"] == "ready":
                        ready += 1
                        if ready == len(self._plans):
                            self._go()
                        continue
                    self.events[name].append(event)
                    if kill is not None and kill.worker == name and self._is_moment(kill, event):
                        # Lines that it has already written are still read: they are promises.
                        self._processes[name].kill()

    def _go(self) -> None:
        for process in self._processes.values():
            assert process.stdin is not None
            process.stdin.write(b"go\n")
            process.stdin.flush()

    def _is_moment(self, kill: Kill, event: dict[str, Any]) -> bool:
        if kill.at_event:
            return bool(event["event"] == kill.at_event)
        return len(self.events[kill.worker]) == kill.after_lines
