"""What the tests of the compiled core share: routes to the simulator, bodies, and its books.

Model: every test speaks to `sluiceway._core` directly, without the Python face, and reads the
expected executions from the simulator's own books. The price sheet is made by hand, so that a
cost is worked out without the package's tables: 2,000 nano-dollars a prompt token and 8,000 an
output token. With the simulator's defaults an answer has 16 output tokens.

    bench = Bench(simulator, engine)
    call = bench.submit(bench.route(), "fault=drop_after")
    call.wait()
"""

from __future__ import annotations

import os
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from sluiceway import _core
from sluiceway.providers.registry import load_registry
from sluiceway.simulator import Simulator
from tests.fixtures import QUICK_RETRY

PROVIDER, MODEL, ACCOUNT = "openai", "gpt-6-luna", "default"
INPUT_NANOUSD, OUTPUT_NANOUSD = 2_000, 8_000
MAX_OUTPUT = 64
WAIT_S = 20.0  # far beyond what anything here takes: only a hang reaches it
KEY = "not-a-key"
ROOT = Path(__file__).resolve().parents[3]
BREAKER_OFF = {"enabled": False}
PROTOCOLS = ["h1", "h1-tls", "h2-tls"]


def shared(*parts: str) -> Path:
    """A path below the shared folder; skips the test where that folder is not."""
    root = Path(os.environ.get("SLUICEWAY_SHARED") or ROOT.parent / "shared")
    path = root.joinpath(*parts)
    if not path.exists():
        pytest.skip(f"shared data is absent: {path} (set SLUICEWAY_SHARED)")
    return path


def sheet() -> dict[str, Any]:
    """The hand-made price sheet, in the form that prices.load gives to the core."""
    row = {
        "version": "by-hand",
        "effective_from_ns": -(2**63),
        "effective_to_ns": 2**63 - 1,
        "windows": [],
        "excluded_days": [],
        "windows_inverted": False,
        "prompt_from": 0,
        "prompt_to": 2**63 - 1,
        "rates": {
            "input": INPUT_NANOUSD * 1_000_000,
            "cache_read": INPUT_NANOUSD * 1_000_000,
            "output": OUTPUT_NANOUSD * 1_000_000,
            "reasoning": OUTPUT_NANOUSD * 1_000_000,
        },
        "factor": (1, 1),
        "service_tier": "",
    }
    return {
        "provider": PROVIDER,
        "model": MODEL,
        "max_output_tokens": 1_000,
        "context_tokens": 100_000,
        "rows": [row],
    }


def spec(simulator: Simulator, protocol: str = "h1", **changes: Any) -> dict[str, Any]:
    """The specification of a route to the simulated OpenAI over one of PROTOCOLS."""
    provider = load_registry()[PROVIDER]
    version, _, tls = protocol.partition("-")
    made: dict[str, Any] = {
        "provider": PROVIDER,
        "account": ACCOUNT,
        "model": MODEL,
        "url": provider.url("chat", simulator.base_url(PROVIDER, tls=bool(tls))),
        "headers": [("authorization", f"Bearer {KEY}"), ("content-type", "application/json")],
        "dialect": provider.dialect.core,
        "sheet": sheet(),
        "http_version": {"h1": "1.1", "h2": "2"}[version],
        "breaker": BREAKER_OFF,
        "retry": QUICK_RETRY,
    }
    if tls:
        made["ca_file"] = simulator.ca_file
    return made | changes


def chat(prompt: str = "hello", *, stream: bool = False) -> dict[str, Any]:
    """A chat's body."""
    body: dict[str, Any] = {
        "model": MODEL,
        "messages": [{"role": "user", "content": prompt}],
        "max_completion_tokens": MAX_OUTPUT,
    }
    if stream:
        body |= {"stream": True, "stream_options": {"include_usage": True}}
    return body


def ceiling_nanousd(body: dict[str, Any]) -> int:
    """The ceiling by hand: every byte of the body a prompt token, and the whole output."""
    return len(_core.json_bytes(body)) * INPUT_NANOUSD + MAX_OUTPUT * OUTPUT_NANOUSD


def wait_until(condition: Callable[[], object]) -> None:
    """Polls what only another thread or process can bring about; fails after WAIT_S."""
    deadline_s = time.monotonic() + WAIT_S
    while not condition():
        assert time.monotonic() < deadline_s, "waited in vain"
        time.sleep(0.002)


class Bench:
    """One engine, the simulator, and short ways to make calls between them."""

    def __init__(self, simulator: Simulator, engine: Any) -> None:
        self.simulator = simulator
        self.engine = engine

    def route(self, protocol: str = "h1", **changes: Any) -> Any:
        """A route to the simulator."""
        return self.engine.add_route(spec(self.simulator, protocol, **changes))

    def submit(self, route: Any, settings: str = "", **arguments: Any) -> Any:
        """Submits a chat; `settings` are the simulator's words for this request."""
        body = arguments.pop("body", None) or chat(stream=bool(arguments.get("stream")))
        headers = list(arguments.pop("extra_headers", ()))
        if settings:
            headers.append(("sluiceway-simulator", settings))
        words = {"max_output_tokens": MAX_OUTPUT, "timeout_s": WAIT_S} | arguments
        return self.engine.submit(route, body, extra_headers=headers, **words)

    def run(self, route: Any, settings: str = "", **arguments: Any) -> Any:
        """Submits and waits."""
        call = self.submit(route, settings, **arguments)
        call.wait()
        return call

    def executions(self, call: Any) -> int:
        """How often the simulator executed this call."""
        return int(self.simulator.executions()["by_call"].get(call.call_id, 0))

    def executed(self) -> int:
        """How often the simulator executed anything."""
        return int(self.simulator.executions()["total"])

    def requests(self) -> int:
        """How many requests reached the simulated provider, executed or not."""
        return len(self.simulator.log())

    def books(self) -> dict[str, int]:
        """Sums over the ledger's entries, by kind, once everything is written."""
        assert self.engine.flush(WAIT_S)
        sums: dict[str, int] = {}
        for entry in self.engine.ledger_entries():
            sums[entry["kind"]] = sums.get(entry["kind"], 0) + entry["amount_nanousd"]
        return sums

    def kinds(self, call: Any) -> list[str]:
        """The kinds of the ledger's entries of one call, in their order."""
        assert self.engine.flush(WAIT_S)
        return [e["kind"] for e in self.engine.ledger_entries() if e["call_id"] == call.call_id]

    def check_money(self) -> None:
        """The books agree with themselves, and no attempt was executed twice."""
        assert self.engine.flush(WAIT_S)
        report = self.engine.ledger_verify()
        assert report["ok"], report
        twice = {k: n for k, n in self.simulator.executions()["by_attempt"].items() if n > 1}
        assert not twice
