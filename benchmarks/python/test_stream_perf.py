"""Streams: live ones through the engine beside aiohttp, and the CPU time of an event.

`stream.cpu_1000` is 1,000 streams at once with 20 events a second each, their text read by the
user's coroutine; the peer splits lines by hand and reads each with json. Decoding alone (no socket)
is in test_rooms_perf.py.
"""

from __future__ import annotations

import pytest

from benchmarks.python.harness import Bench, Result, Subject, median, ratio
from benchmarks.python.rows import Rows

pytestmark = pytest.mark.informational

OURS, PEERS = "sluiceway_client", "peers"
BURST_EVENTS = 200


def cpu(result: Result) -> float:
    return result.cpu_us


def core_percent(result: Result) -> float:
    return result.core_percent


def test_a_thousand_live_streams(bench: Bench, rows: Rows) -> None:
    """Percent of a core for 20,000 events a second."""
    events = 100 if bench.factor >= 1 else 40
    options = ("--events", str(events))
    streams = int(1_000 / min(bench.factor, 1.0))  # the factor is taken off again by the run
    subjects = {
        "ours": Subject(OURS, "stream", streams, 1_000, options=options),
        "aiohttp": Subject(PEERS, "aiohttp_stream", streams, 1_000, options=options),
    }
    with bench.server("--events", str(events), "--interval-ms", "50") as origin:
        got = bench.rounds(subjects, f"{origin}/stream/v1")
    if "aiohttp" not in got:
        rows.add("stream.cpu_1000", median(got["ours"], core_percent), "% of a core")
        return
    rows.add(
        "stream.cpu_1000",
        median(got["ours"], core_percent),
        "% of a core",
        versus=f"aiohttp and json, {median(got['aiohttp'], core_percent):.0f} % of a core",
        ratio=ratio(got["ours"], got["aiohttp"], core_percent),
    )


def test_cpu_of_an_event(bench: Bench, rows: Rows) -> None:
    """All events of a stream at once, 16 streams in flight: what an event costs through Python."""
    options = ("--events", str(BURST_EVENTS))
    subjects = {
        "ours": Subject(OURS, "stream", 2_000, 16, options=options),
        "aiohttp": Subject(PEERS, "aiohttp_stream", 600, 16, options=options),
        "openai": Subject(PEERS, "openai_stream", 80, 16, options=options),
    }
    with bench.server("--events", str(BURST_EVENTS)) as origin:
        got = bench.rounds(subjects, f"{origin}/stream/v1")
    ours = median(got["ours"], cpu) / BURST_EVENTS
    for name, metric in (("aiohttp", "vs_aiohttp"), ("openai", "vs_openai_sdk")):
        if name in got:
            peer = f"{got[name][0].version}, {median(got[name], cpu) / BURST_EVENTS:.1f} us/event"
            share = ratio(got[name], got["ours"], cpu)
            rows.add(f"stream.event_cpu_{metric}", ours, "us/event", versus=peer, ratio=share)
