"""What a user holds of a running simulator, in-process or spawned: addresses, books, script.

`Simulator` is the common face. Both kinds are context managers; `close` is idempotent.

    with sluiceway.simulator.start(seed=7) as simulator:
        url = simulator.base_url("openai")            # http://127.0.0.1:PORT/openai/v1
        simulator.script([{"match": {"nth": 1}, "action": {"fault": "drop_after"}}])
        ...
        simulator.bill()["total_nanousd"]
"""

from __future__ import annotations

import json
from abc import ABC, abstractmethod
from types import TracebackType
from typing import Any, Self

from sluiceway.simulator.errors import SimulatorError

_BASE_PATHS = {"openai": "/openai/v1", "deepseek": "/deepseek", "anthropic": "/anthropic"}


class Simulator(ABC):
    """A running simulator."""

    http_url: str
    https_url: str  # empty without TLS
    ca_file: str  # empty without TLS
    pid: int

    def base_url(self, provider: str, tls: bool = False) -> str:
        """The base URL to configure for a provider ("openai", "deepseek", "anthropic")."""
        if provider not in _BASE_PATHS:
            known = ", ".join(_BASE_PATHS)
            raise SimulatorError(f"no simulated provider {provider!r}; known: {known}")
        origin = self.https_url if tls else self.http_url
        if not origin:
            raise SimulatorError("this simulator was started without TLS")
        return origin + _BASE_PATHS[provider]

    @abstractmethod
    def script(self, rules: object) -> int:
        """Replaces the script (see `script.py`) and returns the number of its rules. Raises
        ScriptError."""

    @abstractmethod
    def executions(self) -> dict[str, Any]:
        """{"total", "by_idempotency_key", "by_attempt", "by_call"}: how often what was executed."""

    @abstractmethod
    def bill(self) -> dict[str, Any]:
        """{"total_nanousd", "by_provider", "by_model", "by_attempt"}, in nano-dollars."""

    @abstractmethod
    def reset(self) -> None:
        """Empties the books and restarts the script (its rules stay)."""

    @abstractmethod
    def close(self) -> None:
        """Stops the simulator. Safe to call twice."""

    @abstractmethod
    def _log_lines(self, since: int) -> bytes:
        """The log as JSON lines."""

    def log(self, since: int = 0) -> list[dict[str, Any]]:
        """The log's lines, from line number `since`; the last 200,000 are kept."""
        return [json.loads(line) for line in self._log_lines(since).splitlines()]

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.close()
