"""Bodies through the real core: a server that answers with what a test gave it, and a price sheet.

`Wire.ask(dialect, body)` serves the body once over loopback HTTP, lets the core read it by a
dialect of the registry and returns the finished call. The sheet's rates are round, so that every
expected amount can be worked out in the head: nano-dollars a token stand in `RATES`.
"""

from __future__ import annotations

import json
import os
import threading
from collections.abc import Mapping
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

from sluiceway import _core
from sluiceway.providers.registry import Dialect, load_dialects

SHARED = Path(os.environ.get("SLUICEWAY_SHARED") or Path(__file__).parents[4] / "shared")
CEILING = 10**9  # what each call reserves: one dollar
NOT_HERE = f"the shared folder is not here ({SHARED}); set SLUICEWAY_SHARED"

# Nano-dollars a unit, of the standard tier. Seconds are counted in thousandths.
RATES = {
    "input": 1_000,
    "cache_read": 100,
    "cache_write_5m": 1_250,
    "cache_write_1h": 2_000,
    "output": 5_000,
    "audio_input": 3_000,
    "audio_output": 9_000,
    "characters": 15,
    "seconds": 75,
    "searches": 10_000_000,
}
# Tiers: standard, flex at half, priority at twice, batch at half, us at 1.1 times.
FACTORS = {"": (1, 1), "flex": (1, 2), "priority": (2, 1), "batch": (1, 2), "us": (11, 10)}


def sheet(rates: Mapping[str, int] = RATES) -> dict[str, Any]:
    """One model whose rows differ by tier alone."""
    row = {
        "effective_from_ns": -(2**63),
        "effective_to_ns": 2**63 - 1,
        "windows": [],
        "excluded_days": [],
        "windows_inverted": False,
        "prompt_from": 0,
        "prompt_to": 2**63 - 1,
        "rates": {bucket: rate * 1_000_000 for bucket, rate in rates.items()},
    }
    rows = [
        {**row, "version": f"p/m@1/{tier}", "service_tier": tier, "factor": factor}
        for tier, factor in FACTORS.items()
    ]
    return {"provider": "p", "model": "m", "rows": rows}


class Wire:
    """An engine without a ledger file, and a server that knows the answers by number."""

    def __init__(self) -> None:
        self.engine = _core.Engine({"ledger_path": ":memory:", "durability": "memory"})
        self.dialects: dict[str, Dialect] = load_dialects()
        self._bodies: list[tuple[str, bytes]] = []
        wire = self

        class Handler(BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"
            wbufsize = 65_536  # head and body in one segment: two wait for a delayed ACK

            def do_POST(self) -> None:
                number = int(self.headers["x-body"])
                self.rfile.read(int(self.headers["content-length"]))
                kind, body = wire._bodies[number]
                self.send_response(200)
                self.send_header("content-type", kind)
                self.send_header("content-length", str(len(body)))
                self.end_headers()
                self.wfile.write(body)

            def log_message(self, format: str, *args: Any) -> None:
                pass

        self._http = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self._thread = threading.Thread(target=self._http.serve_forever, args=(0.01,))
        self._thread.start()
        self.url = f"http://127.0.0.1:{self._http.server_address[1]}/answer"

    def close(self) -> None:
        """Ends the engine and the server."""
        self.engine.close()
        self._http.shutdown()
        self._thread.join()
        self._http.server_close()

    def serve(self, body: bytes | str | Mapping[str, Any], kind: str = "application/json") -> str:
        """Keeps an answer; returns the value of the header x-body that asks for it."""
        if isinstance(body, Mapping):
            body = json.dumps(body)
        self._bodies.append((kind, body if isinstance(body, bytes) else body.encode()))
        return str(len(self._bodies) - 1)

    def ask(
        self,
        dialect: str,
        body: bytes | str | Mapping[str, Any],
        *,
        stream: bool = False,
        tier: str = "",
        prices: dict[str, Any] | None = None,
        lenient: bool = False,
        **submit: Any,
    ) -> _core.Call:
        """The call that got this body, finished. It reserved CEILING."""
        number = self.serve(body, "text/event-stream" if stream else "application/json")
        spec = {
            "provider": "p",
            "model": "m",
            "url": self.url,
            "dialect": self.dialects[dialect].core,
            "sheet": sheet() if prices is None else prices,
            "service_tier": tier,
            "retry": {"attempts": 1},
            "breaker": {"enabled": False},
            "lenient": lenient,
        }
        route = self.engine.add_route(spec)
        call = self.engine.submit(
            route,
            {},
            stream=stream,
            cap_nanousd=CEILING,
            extra_headers=[("x-body", number)],
            **submit,
        )
        call.wait()
        return call


def chat(usage: Any, text: str = "four", **more: Any) -> dict[str, Any]:
    """A chat completion with this usage."""
    message = {"role": "assistant", "content": text}
    body = {"model": "m", "choices": [{"message": message, "finish_reason": "stop"}], **more}
    return body if usage is ... else {**body, "usage": usage}


def openai(**fields: Any) -> dict[str, Any]:
    """OpenAI's usage of 100 and 10 tokens, with `fields` beside or instead."""
    return {"prompt_tokens": 100, "completion_tokens": 10, "total_tokens": 110, **fields}


def messages(usage: Any, text: str = "four") -> dict[str, Any]:
    """An Anthropic message with this usage."""
    content = [{"type": "text", "text": text}]
    return {"model": "m", "content": content, "stop_reason": "end_turn", "usage": usage}


def events(*items: Any, end: str = "[DONE]") -> str:
    """A stream of chat chunks."""
    lines = [f"data: {json.dumps(item)}\n\n" for item in items]
    return "".join(lines) + (f"data: {end}\n\n" if end else "")


def named_events(*items: dict[str, Any]) -> str:
    """A stream whose events carry their type's name."""
    return "".join(f"event: {item['type']}\ndata: {json.dumps(item)}\n\n" for item in items)


def chunk(text: str = "", finish: str | None = None, **more: Any) -> dict[str, Any]:
    """One chunk of a chat stream."""
    return {"choices": [{"delta": {"content": text}, "finish_reason": finish}], **more}
