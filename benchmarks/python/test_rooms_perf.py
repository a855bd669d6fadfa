"""The rooms alone, from their Google Benchmark programs, beside Python peers of this process.

A ratio here sets our C++ figure against a peer's Python call: what the engine spends on its own
thread, against what a user's process would spend. Both are CPU time on the same machine, minutes
apart; crossing into Python is part of the engine's rows.
"""

from __future__ import annotations

import importlib
import json
import types
from typing import Any

import pytest

from benchmarks.python import bodies
from benchmarks.python.google import Figures, rows_of
from benchmarks.python.harness import Bench
from benchmarks.python.rows import Rows
from benchmarks.python.timing import compare, repeat

pytestmark = pytest.mark.informational


def need_all_calls(bench: Bench) -> None:
    """Leaves what writes a million rows out of a shortened run."""
    if bench.factor < 1:
        pytest.skip("writes a million rows: set SLUICEWAY_BENCH_CALLS=1 (--quick makes it 0.1)")


def test_limits(bench: Bench, rows: Rows) -> None:
    """Admission by four buckets, the breaker, a turn through the fair queue."""
    got = rows_of(bench, "limits_bench")
    rows.add("limits.acquire_ns", got["acquire_four"]["cpu_time"], "ns")
    rows.add("limits.permit_of_four_ns", got["permit_of_four"]["cpu_time"], "ns")
    rows.add("limits.queue_and_grant_ns", got["queue_and_grant"]["cpu_time"], "ns")
    rows.add("limits.breaker_ns", got["breaker_acquire_report"]["cpu_time"], "ns")


def test_usage_of_an_answer(bench: Bench, rows: Rows, benchmark: Any) -> None:
    """Text, finish reason and usage out of a body of 3.7 kB."""
    body = bodies.answer()
    assert 3_600 < len(body) < 3_900

    def stdlib() -> int:
        usage = json.loads(body)["usage"]
        return int(usage["prompt_tokens"])

    assert stdlib() == 19
    subjects = {"json": repeat(stdlib)}
    msgspec = pytest.importorskip("msgspec")
    orjson = pytest.importorskip("orjson")
    details = msgspec.defstruct("Details", [("cached_tokens", int)])
    thoughts = msgspec.defstruct("Thoughts", [("reasoning_tokens", int)])
    usage = msgspec.defstruct(
        "Usage",
        [
            ("prompt_tokens", int),
            ("completion_tokens", int),
            ("prompt_tokens_details", details),
            ("completion_tokens_details", thoughts),
        ],
    )
    message = msgspec.defstruct("Message", [("content", str)])
    choice = msgspec.defstruct("Choice", [("message", message), ("finish_reason", str)])
    whole = msgspec.defstruct(
        "Whole", [("choices", types.GenericAlias(list, (choice,))), ("usage", usage)]
    )
    decoder = msgspec.json.Decoder(whole)
    assert decoder.decode(body).usage.completion_tokens == 10
    subjects["msgspec"] = repeat(lambda: decoder.decode(body).usage.prompt_tokens)
    subjects["orjson"] = repeat(lambda: orjson.loads(body)["usage"]["prompt_tokens"])
    peers = compare(benchmark, subjects, calls=5_000)
    # In place, as the engine reads a body whose length was announced (dispatcher_wire.cc).
    ours = rows_of(bench, "parse_bench")["parse_usage_3_7k_padded"]["cpu_time"]
    words = {"json": "json.loads", "msgspec": "msgspec, typed", "orjson": "orjson.loads"}
    for name, peer_ns in peers.items():
        versus = f"{words[name]}, {peer_ns:.0f} ns"
        rows.add(f"parse.usage_vs_{name}", ours, "ns", versus=versus, ratio=peer_ns / ours)


def test_events_of_a_stream(bench: Bench, rows: Rows, benchmark: Any) -> None:
    """Events split and their text taken, from bytes in memory."""
    text = bodies.stream()
    orjson = pytest.importorskip("orjson")

    def by_hand() -> int:
        length = 0
        for line in text.split(b"\n"):
            if line.startswith(b"data: "):
                length += len(orjson.loads(line[6:])["choices"][0]["delta"]["content"])
        return length

    expected = 5 * bodies.STREAM_EVENTS
    assert by_hand() == expected
    subjects = {"orjson": repeat(by_hand)}
    peers = compare(benchmark, subjects, calls=200)
    peers |= openai_sdk(text + b"data: [DONE]\n\n", expected)
    figures: Figures = rows_of(bench, "parse_bench", only="sse_100_deltas")
    ours = figures["sse_100_deltas_decoded"]["cpu_time"] / bodies.STREAM_EVENTS
    words = {"orjson": "lines split, orjson.loads", "openai_sdk": "openai SDK"}
    for name, total_ns in peers.items():
        event_ns = total_ns / bodies.STREAM_EVENTS
        versus = f"{words[name]}, {event_ns:.0f} ns/event"
        rows.add(f"stream.decode_vs_{name}", ours, "ns/event", versus=versus, ratio=event_ns / ours)


def openai_sdk(text: bytes, expected: int) -> dict[str, float]:
    """Nanoseconds of the SDK's blocking stream over a canned body; skips where it is absent."""
    openai = pytest.importorskip("openai")
    # Version 3 is built on httpx2, version 2 on httpx; both may be installed.
    bases = (one.__module__.partition(".")[0] for one in openai.DefaultHttpxClient.__mro__)
    httpx = importlib.import_module(next(name for name in bases if name in ("httpx", "httpx2")))

    def answered(_: Any) -> Any:
        return httpx.Response(200, headers={"content-type": "text/event-stream"}, content=text)

    http_client = openai.DefaultHttpxClient(transport=httpx.MockTransport(answered))
    client = openai.OpenAI(
        api_key="sk-bench-fake", base_url="http://127.0.0.1/v1", http_client=http_client
    )

    def read() -> int:
        chunks = client.chat.completions.create(model="some-model", messages=[], stream=True)
        return sum(len(chunk.choices[0].delta.content or "") for chunk in chunks)

    assert read() == expected
    return {"openai_sdk": compare(_NoTable(), {"openai": repeat(read)}, calls=3)["openai"]}


class _NoTable:
    """Stands in for pytest-benchmark where a peer is timed apart."""

    def pedantic(self, *_: object, **__: object) -> None:
        """Nothing."""


def test_ledger(bench: Bench, rows: Rows) -> None:
    """Rows a second beside a bare C loop over SQLite, durable calls, the wait of a lone call."""
    batches = rows_of(bench, "store_bench", only="ledger_rows_vs_sqlite")
    for size in (64, 256):
        got = batches[f"ledger_rows_vs_sqlite/{size}"]
        versus = f"C loop over SQLite, {got['bare_rows_per_s']:.0f} rows/s, {size} calls a commit"
        name = "ledger.rows_vs_sqlite" + ("" if size == 64 else f"_{size}")
        rows.add(name, got["rows_per_s"], "rows/s", versus=versus, ratio=got["ratio"])
    three = rows_of(bench, "store_bench", only="three_processes", repetitions=1)
    (got,) = three.values()
    versus = f"C loops over SQLite in 3 processes, {got['bare_rows_per_s']:.0f} rows/s"
    name = "ledger.rows_vs_sqlite_3_processes"
    rows.add(name, got["rows_per_s"], "rows/s", versus=versus, ratio=got["ratio"])
    rows.add("ledger.three_processes_spread", got["spread"], "times the mean, or its part")
    durable = rows_of(bench, "store_bench", only="durable_calls", repetitions=1)
    for name, got in durable.items():
        in_flight = name.split("/")[1]
        metric = "ledger.durable_calls_per_s" + ("" if in_flight == "512" else f"_{in_flight}")
        rows.add(metric, got["calls_per_s"], "calls/s")
    lone = next(iter(rows_of(bench, "store_bench", only="lone_wait").values()))
    versus = f"write and fdatasync, {lone['fdatasync_p50_us']:.0f} us"
    rows.add("ledger.lone_wait_vs_fsync", lone["p50_us"], "us", versus=versus, ratio=lone["ratio"])


def test_ledger_stays_flat(bench: Bench, rows: Rows) -> None:
    """A call with a million rows in the month against one with few."""
    need_all_calls(bench)
    got = next(iter(rows_of(bench, "store_bench", only="flat", repetitions=1).values()))
    versus = f"the first tenth, {got['first_us']:.2f} us/call"
    rows.add("ledger.flat_1m_rows", got["last_us"], "us/call", versus=versus, ratio=got["ratio"])
    rows.add("ledger.read_rows_per_s", got["read_rows_per_s"], "rows/s")
    rows.add("ledger.movements_in_1m_rows_ms", got["scope_ms"], "ms")
    rows.add("ledger.history_in_1m_rows_us", got["history_us"], "us")


def test_roll_up(bench: Bench, rows: Rows) -> None:
    """Calls a second into groups, in memory, on one core."""
    got = rows_of(bench, "cost_bench")
    events = got["rollup_provider_model_day"]["events_per_s"]
    rows.add("cost.rollup_per_s", events, "events/s")
    rows.add("cost.rollup_hour_tag_per_s", got["rollup_hour_tag"]["events_per_s"], "events/s")


def test_report(bench: Bench, rows: Rows) -> None:
    """A million rows of a ledger file by provider, model and day, with latency quantiles."""
    need_all_calls(bench)
    got = rows_of(bench, "engine_bench", only="report_1m_rows", repetitions=3)
    (figures,) = got.values()
    rows.add("ledger.report_1m_s", figures["real_time"] / 1e9, "s")


def test_cache(bench: Bench, rows: Rows) -> None:
    """A key of ready canonical text, a look-up of one of 10,000."""
    got = rows_of(bench, "cache_bench", only="cache_(key|hit)")
    rows.add("cache.key_of_text_2kb_ns", got["cache_key/2000"]["cpu_time"], "ns")
    rows.add("cache.look_up_ns", got["cache_hit/threads:1"]["cpu_time"], "ns")
