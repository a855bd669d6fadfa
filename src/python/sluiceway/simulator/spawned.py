"""A simulator in a process of its own, with the same face over the admin endpoints.

The child is `python -m sluiceway.simulator --exit-with-stdin`: it ends when this process closes its
pipe or dies, so nothing is left behind by a test that is killed. `close` asks first, terminates
then, and kills after that.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
import threading
import urllib.error
import urllib.request
from pathlib import Path
from typing import Any

from sluiceway.simulator.errors import AdminError, ScriptError, StartError
from sluiceway.simulator.face import Simulator

_START_TIMEOUT_S = 60.0
_ADMIN_TIMEOUT_S = 60.0
_STOP_TIMEOUT_S = 5.0


class Spawned(Simulator):
    """See `sluiceway.simulator.spawn`."""

    def __init__(self, arguments: list[str], rules: object) -> None:
        """Starts the process and returns when it listens. Raises StartError, ScriptError."""
        environment = dict(os.environ)
        # The child shall import the package that this process has, installed or not.
        root = str(Path(__file__).resolve().parents[2])
        paths = [root, *environment.get("PYTHONPATH", "").split(os.pathsep)]
        environment["PYTHONPATH"] = os.pathsep.join(dict.fromkeys(path for path in paths if path))
        command = [
            sys.executable,
            "-P",
            "-m",
            "sluiceway.simulator",
            "--exit-with-stdin",
            *arguments,
        ]
        self._process = subprocess.Popen(
            command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, env=environment
        )
        try:
            ready = self._read_ready()
        except BaseException:
            self.close()
            raise
        self.http_url = str(ready["http"])
        self.https_url = str(ready["https"] or "")
        self.ca_file = str(ready["ca_file"] or "")
        self.pid = int(ready["pid"])
        try:
            if rules:
                self.script(rules)
        except BaseException:
            self.close()
            raise

    def _read_ready(self) -> dict[str, Any]:
        lines: list[bytes] = []
        output = self._process.stdout
        assert output is not None
        reader = threading.Thread(target=lambda: lines.append(output.readline()), daemon=True)
        reader.start()
        reader.join(_START_TIMEOUT_S)
        try:
            ready = json.loads(lines[0])
        except (IndexError, ValueError):
            raise StartError("the simulator's process did not start; see its stderr") from None
        assert isinstance(ready, dict)
        return ready

    def _admin(self, name: str, body: object = None, post: bool = False) -> bytes:
        data = json.dumps(body).encode() if post else None
        request = urllib.request.Request(f"{self.http_url}/_simulator/{name}", data=data)
        opener = urllib.request.build_opener(urllib.request.ProxyHandler({}))
        try:
            with opener.open(request, timeout=_ADMIN_TIMEOUT_S) as response:
                content = response.read()
                assert isinstance(content, bytes)
                return content
        except urllib.error.HTTPError as error:
            detail = error.read().decode("utf-8", "replace")
            if name == "script" and error.code == 400:
                raise ScriptError(json.loads(detail)["error"]) from None
            raise AdminError(f"/_simulator/{name}: {error.code} {detail}") from None
        except OSError as error:
            raise AdminError(f"/_simulator/{name}: {error}") from error

    def script(self, rules: object) -> int:
        """See `Simulator.script`."""
        return int(json.loads(self._admin("script", rules, post=True))["rules"])

    def executions(self) -> dict[str, Any]:
        """See `Simulator.executions`."""
        answer: dict[str, Any] = json.loads(self._admin("executions"))
        return answer

    def bill(self) -> dict[str, Any]:
        """See `Simulator.bill`."""
        answer: dict[str, Any] = json.loads(self._admin("bill"))
        return answer

    def reset(self) -> None:
        """See `Simulator.reset`."""
        self._admin("reset", {}, post=True)

    def _log_lines(self, since: int) -> bytes:
        return self._admin(f"log?since={since}")

    def close(self) -> None:
        """See `Simulator.close`."""
        process = self._process
        if process.stdin is not None:
            process.stdin.close()
        for stop in (process.terminate, process.kill):
            try:
                process.wait(_STOP_TIMEOUT_S)
                break
            except subprocess.TimeoutExpired:
                stop()
        process.wait()
        if process.stdout is not None:
            process.stdout.close()
