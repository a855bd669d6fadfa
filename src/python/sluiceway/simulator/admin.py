"""The simulator's own endpoints under `/_simulator/`: what really happened, and what shall happen.

    GET  /_simulator/health            {"ok": true}
    GET  /_simulator/log?since=N       the log as JSON lines, from line N
    GET  /_simulator/bill              total, by provider, by "provider/model", by attempt
    GET  /_simulator/executions        by idempotency key, by attempt, by call
    GET  /_simulator/script            how often each rule has matched
    POST /_simulator/script            a list of rules; replaces the script
    POST /_simulator/reset             empties the books and restarts the script

No key is needed: the server listens on loopback only. Errors are `{"error": "..."}` with 4xx.
"""

from __future__ import annotations

import json
from collections.abc import Callable
from urllib.parse import parse_qs

from sluiceway.simulator.app import Simulation
from sluiceway.simulator.errors import ScriptError
from sluiceway.simulator.message import Reply, Request
from sluiceway.simulator.script import parse_script

PREFIX = "/_simulator/"


class Admin:
    """Answers the admin endpoints of one simulation."""

    def __init__(self, simulation: Simulation, seed: int, monotonic: Callable[[], float]) -> None:
        self._simulation = simulation
        self._seed = seed
        self._monotonic = monotonic

    def install(self, rules: object) -> int:
        """Replaces the script and returns the number of its rules. Raises ScriptError."""
        script = parse_script(rules, self._seed, self._monotonic())
        self._simulation.script = script
        return len(script.rules)

    def reset(self) -> None:
        """Empties the books and restarts the script's counters, clock and random source."""
        self._simulation.books.reset()
        self._simulation.script = self._simulation.script.restarted(self._monotonic())

    def handle(self, request: Request) -> Reply:
        """Answers one request below `/_simulator/`."""
        name = request.path.removeprefix(PREFIX)
        books = self._simulation.books
        if request.method == "GET":
            if name == "log":
                since = parse_qs(request.query).get("since", ["0"])[0]
                if not (since.isascii() and since.isdigit()):
                    return _json({"error": f"since={since!r} is not a line number"}, 400)
                headers = [("content-type", "application/x-ndjson")]
                return Reply(200, headers, books.lines(int(since)))
            if name == "bill":
                return _json(books.bill())
            if name == "executions":
                return _json(books.executions())
            if name == "health":
                return _json({"ok": True})
            if name == "script":
                return _json({"matched": [rule.matched for rule in self._simulation.script.rules]})
        elif request.method == "POST":
            if name == "reset":
                self.reset()
                return _json({"ok": True})
            if name == "script":
                return self._install(request.body)
        return _json({"error": f"no such endpoint: {request.method} {request.path}"}, 404)

    def _install(self, body: bytes) -> Reply:
        try:
            return _json({"rules": self.install(json.loads(body))})
        except ScriptError as error:
            return _json({"error": str(error)}, 400)
        except ValueError as error:
            return _json({"error": f"the script is not JSON: {error}"}, 400)


def _json(value: object, status: int = 200) -> Reply:
    body = json.dumps(value).encode()
    return Reply(status, [("content-type", "application/json")], body)
