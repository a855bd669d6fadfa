"""The engine against bare libcurl and against the clients that a user would pick instead.

A POST of 461 B, an answer of 1.2 kB parsed, 64 in flight, client on one core and server on another,
unless a row says otherwise. "Everything on" is limits in four dimensions, the breaker, a day's
budget and one of the job, a ledger on disk with `durability = "power"`, usage and price of each
call. Every client checks its answers, and ours its books (see clients/).
"""

from __future__ import annotations

import importlib.util
import os
import statistics
import time
from pathlib import Path

import pytest

from benchmarks.python.harness import Bench, Result, Subject, difference, median, ratio
from benchmarks.python.rows import Rows

pytestmark = pytest.mark.informational

OURS, PEERS = "sluiceway_client", "peers"
FLOOR = "curl_floor, 64 in flight"


def cpu(result: Result) -> float:
    return result.cpu_us


def speed(result: Result) -> float:
    return result.calls_per_s


def p50(result: Result) -> float:
    return result.p50_us


def installed(*names: str) -> list[str]:
    return [name for name in names if importlib.util.find_spec(name) is not None]


def test_cpu_a_call(bench: Bench, rows: Rows) -> None:
    """The first figure of all: what a call costs, through the public API and below it."""
    subjects = {
        "floor": Subject("floor", "floor", 40_000),
        "aio": Subject(OURS, "aio", 20_000, durable=True),
        "off": Subject(OURS, "aio_off", 20_000),
        "core": Subject(OURS, "core", 20_000, durable=True),
        "core_off": Subject(OURS, "core_off", 20_000),
        "many": Subject(OURS, "many", 20_000, durable=True),
    }
    if installed("uvloop"):
        subjects["uvloop"] = Subject(OURS, "aio", 20_000, durable=True, options=("--uvloop",))
    with bench.server() as origin:
        got = bench.rounds(subjects, f"{origin}/v1")
    metrics = {
        "aio": "engine.cpu_vs_floor",
        "off": "engine.cpu_off_vs_floor",
        "core": "engine.core_cpu_vs_floor",
        "core_off": "engine.core_cpu_off_vs_floor",
        "many": "engine.submit_many_cpu_vs_floor",
        "uvloop": "engine.cpu_uvloop_vs_floor",
    }
    rows.add("engine.floor_cpu_us", median(got["floor"], cpu), "us/call")
    for name in subjects.keys() - {"floor"}:
        share = ratio(got[name], got["floor"], cpu)
        rows.add(metrics[name], median(got[name], cpu), "us/call", versus=FLOOR, ratio=share)
    threads = {"main": "python", "sluiceway": "engine"}
    for thread in sorted({name for one in got["aio"] for name in one.threads_us}):
        spent = [one.threads_us.get(thread, 0.0) for one in got["aio"]]
        part = threads.get(thread, "ledger")
        rows.add(f"engine.{part}_thread_cpu_us", statistics.median(spent), "us/call")
    rows.add("engine.calls_per_s", median(got["aio"], speed), "calls/s")
    commits = [one.stats["ledger_admitted"] / one.stats["ledger_commits"] for one in got["aio"]]
    rows.add("engine.calls_per_commit", statistics.median(commits), "calls")


def test_cpu_of_the_blocking_twin(bench: Bench, rows: Rows) -> None:
    """8 threads, each with one call in flight; the floor with 8 in flight."""
    subjects = {
        "floor": Subject("floor", "floor", 40_000, in_flight=8),
        "sync": Subject(OURS, "sync", 12_000, in_flight=8, durable=True),
    }
    with bench.server() as origin:
        got = bench.rounds(subjects, f"{origin}/v1")
    rows.add(
        "engine.cpu_sync_vs_floor",
        median(got["sync"], cpu),
        "us/call",
        versus="curl_floor, 8 in flight",
        ratio=ratio(got["sync"], got["floor"], cpu),
    )


def test_throughput_against_clients(bench: Bench, rows: Rows) -> None:
    """Calls a second on one core, ours with everything on and with everything off."""
    calls = {"aiohttp": 8_000, "pyreqwest": 10_000, "httpx2": 1_500, "openai": 600, "litellm": 300}
    names = {"openai": "openai_sdk"}
    subjects = {
        "aio": Subject(OURS, "aio", 20_000, durable=True),
        "off": Subject(OURS, "aio_off", 20_000),
    }
    found = installed(*calls)
    subjects |= {name: Subject(PEERS, name, calls[name]) for name in found}
    with bench.server() as origin:
        got = bench.rounds(subjects, f"{origin}/v1")
    for name in found:
        peer = f"{got[name][0].version}, {median(got[name], speed):.0f} calls/s"
        for ours, metric in (("aio", "throughput"), ("off", "throughput_off")):
            rows.add(
                f"engine.{metric}_vs_{names.get(name, name)}",
                median(got[ours], speed),
                "calls/s",
                versus=peer,
                ratio=ratio(got[ours], got[name], speed),
            )


def test_latency_at_one_in_flight(bench: Bench, rows: Rows) -> None:
    """What a call waits longer than bare libcurl, ledger in memory and durable."""
    subjects = {
        "floor": Subject("floor", "floor", 5_000, in_flight=1),
        "memory": Subject(OURS, "aio", 3_000, in_flight=1),
        "durable": Subject(OURS, "aio", 1_500, in_flight=1, durable=True),
    }
    with bench.server() as origin:
        got = bench.rounds(subjects, f"{origin}/v1")
    floor = f"curl_floor, 1 in flight, p50 {median(got['floor'], p50):.0f} us"
    for name, metric in (
        ("memory", "latency_added_p50_us"),
        ("durable", "latency_durable_added_p50_us"),
    ):
        rows.add(
            f"engine.{metric}",
            difference(got[name], got["floor"], p50),
            "us",
            versus=floor,
            ratio=ratio(got[name], got["floor"], p50),
        )
    rows.add("disk.write_fdatasync_p50_us", write_and_sync_p50_us(bench.scratch / "sync"), "us")


def write_and_sync_p50_us(path: Path) -> float:
    """One page written and synced on the disk of the ledger, into a file that has its size."""
    page, spans_s = b"x" * 4096, []
    descriptor = os.open(path, os.O_RDWR | os.O_CREAT, 0o600)
    try:
        os.pwrite(descriptor, b"\0" * (256 * 4096), 0)
        os.fsync(descriptor)
        for number in range(200):
            began = time.perf_counter()
            os.pwrite(descriptor, page, number * 4096)
            os.fdatasync(descriptor)
            spans_s.append(time.perf_counter() - began)
    finally:
        os.close(descriptor)
    return statistics.median(spans_s) * 1e6


def test_numbers_in_flight(bench: Bench, rows: Rows) -> None:
    """Cost a call from 1 to 4,000 in flight, beside aiohttp up to 1,000."""
    counts = (1, 16, 256, 1_000, 4_000)
    calls = {1: 1_500, 16: 6_000}
    subjects = {
        f"aio {n}": Subject(OURS, "aio", calls.get(n, 20_000), in_flight=n, durable=True)
        for n in counts
    }
    with_peer = counts[:-1] if installed("aiohttp") else ()
    subjects |= {
        f"aiohttp {n}": Subject(PEERS, "aiohttp", 1_500 if n == 1 else 5_000, in_flight=n)
        for n in with_peer
    }
    with bench.server() as origin:
        got = bench.rounds(subjects, f"{origin}/v1")
    for n in with_peer:
        rows.add(
            f"engine.throughput_{n}_in_flight_vs_aiohttp",
            median(got[f"aio {n}"], speed),
            "calls/s",
            versus=f"aiohttp, {median(got[f'aiohttp {n}'], speed):.0f} calls/s",
            ratio=ratio(got[f"aio {n}"], got[f"aiohttp {n}"], speed),
        )
    rows.add(
        "engine.cpu_4000_in_flight_vs_16",
        median(got["aio 4000"], cpu),
        "us/call",
        versus="ours, 16 in flight",
        ratio=ratio(got["aio 4000"], got["aio 16"], cpu),
    )
