"""One contract for every row of the registry: the simulator's answers and recorded ones are read.

Model: each provider's dialect goes to the core as it stands in registry.toml. Against the simulator
a row must answer, stream, be refused and be billed right. Recorded bodies (SLUICEWAY_SHARED, or the
folder `shared` beside the checkout) are served byte for byte by a small local server; text and
usage are compared with what Python's own json reads from them: the disjoint buckets must add up to
the provider's own totals.
"""

from __future__ import annotations

import json
import os
import threading
from collections.abc import Iterator
from dataclasses import dataclass
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import pytest

from sluiceway import _core, simulator
from sluiceway.providers.registry import load_registry
from sluiceway.simulator import Simulator

PROVIDERS = sorted(load_registry())
MODELS = {
    "openai": "gpt-4o-mini",
    "deepseek": "deepseek-flash",
    "anthropic": "claude-haiku-4-5",
}
_PATHS = {"openai": "chat/completions", "deepseek": "chat/completions", "anthropic": "v1/messages"}
_ROOT = Path(__file__).parents[3]
SHARED = Path(os.environ.get("SLUICEWAY_SHARED", _ROOT.parent / "shared"))
CASSETTES = SHARED / "data" / "cassettes"


@dataclass(frozen=True)
class Recording:
    """One recorded answer of a chat operation."""

    name: str
    provider: str
    status: int
    content_type: str
    body: bytes

    @property
    def streamed(self) -> bool:
        """Whether it is a stream of events."""
        return self.content_type.startswith("text/event-stream")

    def events(self) -> list[dict[str, Any]]:
        """The JSON of every event, or the one body."""
        text = self.body.decode()
        if not self.streamed:
            return [json.loads(text)]
        lines = [line[5:].strip() for line in text.splitlines() if line.startswith("data:")]
        return [json.loads(line) for line in lines if line and line != "[DONE]"]


def _recordings() -> list[Recording]:
    found = []
    for provider in PROVIDERS:
        for file in sorted((CASSETTES / provider).glob("*.json")):
            for number, entry in enumerate(json.loads(file.read_text())["interactions"]):
                url = entry["request"]["url"].partition("?")[0]
                own = f"api.{provider}.com" in url and url.endswith(_PATHS[provider])
                body = entry["response"].get("body", {}).get("text")
                if not own or body is None:
                    continue
                kind = entry["response"]["headers"].get("content-type", "application/json")
                status = entry["response"]["status"]
                name = f"{file.stem[:40]}-{number}"
                found.append(Recording(name, provider, status, kind, body.encode()))
    return found


RECORDINGS = _recordings()


@pytest.fixture(scope="module")
def engine() -> Iterator[_core.Engine]:
    """An engine without a ledger file."""
    running = _core.Engine({"ledger_path": ":memory:", "durability": "memory"})
    yield running
    running.close()


@pytest.fixture(scope="module")
def server() -> Iterator[str]:
    """Serves recording N at /N/..., byte for byte; returns its address."""

    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def do_POST(self) -> None:
            recording = RECORDINGS[int(self.path.split("/")[1])]
            self.rfile.read(int(self.headers["content-length"]))
            self.send_response(recording.status)
            self.send_header("content-type", recording.content_type)
            self.send_header("content-length", str(len(recording.body)))
            self.end_headers()
            self.wfile.write(recording.body)

        def log_message(self, format: str, *args: Any) -> None:
            pass

    http = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    thread = threading.Thread(target=http.serve_forever, args=(0.01,))
    thread.start()
    yield f"http://127.0.0.1:{http.server_address[1]}"
    http.shutdown()
    thread.join()
    http.server_close()


def _call(engine: _core.Engine, url: str, recording: Recording) -> _core.Call:
    route = engine.add_route(
        {
            "provider": recording.provider,
            "model": recording.name,  # a breaker of its own
            "account": recording.name,
            "url": url,
            "dialect": load_registry()[recording.provider].dialect.core,
            "retry": {"attempts": 1},
        }
    )
    call = engine.submit(route, {}, stream=recording.streamed, cap_nanousd=10**9)
    call.wait()
    return call


def _usage(recording: Recording) -> dict[str, int]:
    """The provider's own totals: of a stream, the last value that was sent of each."""
    totals: dict[str, int] = {}
    for event in recording.events():
        message = event.get("message", event) if recording.provider == "anthropic" else event
        totals.update(message.get("usage") or {})
    return totals


def _text(recording: Recording) -> str:
    if recording.provider == "anthropic":
        if recording.streamed:
            deltas = [event.get("delta", {}) for event in recording.events()]
            return "".join(delta.get("text", "") for delta in deltas)
        content = recording.events()[0]["content"]
        return "".join(part["text"] for part in content if part["type"] == "text")
    choices = [choice for event in recording.events() for choice in event["choices"][:1]]
    return "".join(
        choice.get("message", choice.get("delta", {})).get("content") or "" for choice in choices
    )


def _pick(good: bool) -> list[Any]:
    chosen = [
        pytest.param(number, id=f"{recording.provider}-{recording.name}")
        for number, recording in enumerate(RECORDINGS)
        if (recording.status < 400) == good
    ]
    reason = f"the recorded bodies are not here ({CASSETTES}); set SLUICEWAY_SHARED"
    return chosen or [pytest.param(-1, marks=pytest.mark.skip(reason=reason))]


@pytest.mark.parametrize("number", _pick(good=True))
def test_recorded_answers(engine: _core.Engine, server: str, number: int) -> None:
    recording = RECORDINGS[number]
    call = _call(engine, f"{server}/{number}/chat", recording)
    assert call.ok, (call.error_kind, call.message)
    assert call.text == _text(recording)
    assert call.finish_reason
    assert call.served_model
    usage, total = call.usage, _usage(recording)
    got_in = {name: usage.get(name, 0) for name in ("input", "cache_read")}
    writes = usage.get("cache_write_5m", 0) + usage.get("cache_write_1h", 0)
    got_out = usage["output"] + usage.get("reasoning", 0)
    if recording.provider == "anthropic":
        assert got_in["input"] == total["input_tokens"]
        assert got_in["cache_read"] == total.get("cache_read_input_tokens", 0)
        assert writes == total.get("cache_creation_input_tokens", 0)
        assert got_out == total["output_tokens"]
    else:
        audio = usage.get("audio_input", 0)
        assert got_in["input"] + got_in["cache_read"] + writes + audio == total["prompt_tokens"]
        assert got_out + usage.get("audio_output", 0) == total["completion_tokens"]


@pytest.mark.parametrize("number", _pick(good=False))
def test_recorded_refusals(engine: _core.Engine, server: str, number: int) -> None:
    recording = RECORDINGS[number]
    call = _call(engine, f"{server}/{number}/chat", recording)
    expected = {400: "bad_request", 401: "authentication", 404: "bad_request"}
    assert call.error_kind == expected[recording.status]
    assert call.outcome == "refused"
    assert call.held_nanousd == 0
    error = recording.events()[0]["error"]
    assert call.error_type == error["type"]
    assert error["message"][:60] in call.message


@pytest.fixture(scope="module")
def sim() -> Iterator[Simulator]:
    """One simulator for all rows."""
    with simulator.start(tls=False, seed=5) as running:
        yield running


def _spec(sim: Simulator, provider: str) -> dict[str, Any]:
    from sluiceway.prices.load import load_prices

    row = load_registry()[provider]
    model = MODELS[provider]
    return {
        "provider": provider,
        "model": model,
        "url": row.url("chat", sim.base_url(provider)),
        "headers": [*row.headers.items(), *row.auth_headers("obviously-fake")],
        "dialect": row.dialect.core,
        "sheet": next(sheet for sheet in load_prices() if sheet["model"] == model),
        "retry": {"attempts": 1},
        "breaker": {"enabled": False},
    }


def _body(provider: str, stream: bool) -> dict[str, Any]:
    body: dict[str, Any] = {
        "model": MODELS[provider],
        "messages": [{"role": "user", "content": "abcdefgh"}],
        load_registry()[provider].dialect.max_output_field: 100,
    }
    if stream:
        body["stream"] = True
        if provider != "anthropic":
            body["stream_options"] = {"include_usage": True}
    return body


@pytest.mark.parametrize("provider", PROVIDERS)
@pytest.mark.parametrize("stream", [False, True])
def test_every_row_is_billed_right(
    engine: _core.Engine, sim: Simulator, provider: str, stream: bool
) -> None:
    sim.reset()
    sim.script([{"action": {"output_tokens": 30, "reasoning_tokens": 7, "cached_tokens": 2}}])
    route = engine.add_route(_spec(sim, provider))
    body = _body(provider, stream)
    call = engine.submit(route, body, stream=stream, max_output_tokens=100, prompt_allowance=200)
    call.wait()
    assert call.ok, call.message
    assert call.cost_nanousd is not None
    assert call.cost_nanousd == sim.bill()["total_nanousd"] > 0
    assert call.cost_source == "table"
    assert call.usage["cache_read"] == 2
    assert call.usage["output"] + call.usage.get("reasoning", 0) == 30
    assert call.provider_request_id
    assert call.cost_nanousd <= call.ceiling_nanousd


@pytest.mark.parametrize("stream", [False, True])
def test_cache_writes_are_billed_by_their_duration(
    engine: _core.Engine, sim: Simulator, stream: bool
) -> None:
    sim.reset()
    writes = {"cache_write_5m_tokens": 100, "cache_write_1h_tokens": 40, "cached_tokens": 20}
    sim.script([{"action": writes}])
    control = {"type": "ephemeral", "ttl": "1h"}
    part = {"type": "text", "text": "word " * 400, "cache_control": control}
    body = {**_body("anthropic", stream), "messages": [{"role": "user", "content": [part]}]}
    route = engine.add_route(_spec(sim, "anthropic"))
    call = engine.submit(
        route,
        body,
        stream=stream,
        max_output_tokens=100,
        prompt_allowance=200,
        reachable_buckets=("input", "cache_read", "cache_write_5m", "cache_write_1h", "output"),
    )
    call.wait()
    assert call.ok, call.message
    assert (call.usage["cache_write_5m"], call.usage["cache_write_1h"]) == (100, 40)
    assert call.usage["cache_read"] == 20
    assert call.cost_nanousd == sim.bill()["total_nanousd"]


REFUSALS = [
    ("openai", 429, "auto", "rate_limited"),
    ("openai", 429, "tokens", "rate_limited"),
    ("openai", 429, "too_large", "request_too_large"),
    ("openai", 429, "insufficient_quota", "no_money"),
    ("openai", 401, "auto", "authentication"),
    ("openai", 403, "auto", "permission"),
    ("openai", 404, "auto", "bad_request"),
    ("openai", 503, "auto", "overloaded"),
    ("deepseek", 402, "auto", "no_money"),
    ("deepseek", 429, "auto", "rate_limited"),
    ("deepseek", 401, "auto", "authentication"),
    ("deepseek", 503, "auto", "overloaded"),
    ("anthropic", 429, "auto", "rate_limited"),
    ("anthropic", 429, "spend_limit", "no_money"),
    ("anthropic", 400, "insufficient_quota", "no_money"),
    ("anthropic", 400, "spend_limit", "no_money"),
    ("anthropic", 401, "auto", "authentication"),
    ("anthropic", 403, "auto", "permission"),
    ("anthropic", 413, "auto", "bad_request"),
    ("anthropic", 529, "auto", "overloaded"),
]


@pytest.mark.parametrize(("provider", "status", "flavour", "kind"), REFUSALS)
def test_every_refusal_is_understood(
    engine: _core.Engine, sim: Simulator, provider: str, status: int, flavour: str, kind: str
) -> None:
    action = {"fault": "status", "status": status, "flavour": flavour}
    sim.script([{"action": action}])
    spec = {**_spec(sim, provider), "account": f"{status}-{flavour}"}
    call = engine.submit(engine.add_route(spec), _body(provider, False), max_output_tokens=100)
    call.wait()
    assert (call.error_kind, call.outcome) == (kind, "refused"), call.message
    assert call.held_nanousd == 0
    assert call.error_type
    assert call.status_code == status


@pytest.mark.parametrize(
    ("provider", "status"),
    [("openai", 500), ("deepseek", 500), ("anthropic", 500), ("anthropic", 504), ("openai", 502)],
)
def test_what_may_have_been_billed_is_in_doubt(
    engine: _core.Engine, sim: Simulator, provider: str, status: int
) -> None:
    sim.script([{"action": {"fault": "status", "status": status}}])
    spec = {**_spec(sim, provider), "account": f"doubt-{status}"}
    call = engine.submit(engine.add_route(spec), _body(provider, False), max_output_tokens=100)
    call.wait()
    assert (call.error_kind, call.outcome) == ("in_doubt", "in_doubt")
    assert call.held_nanousd == call.ceiling_nanousd > 0
