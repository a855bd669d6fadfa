"""The engine against bare libcurl and against the clients that a user would pick instead.

A POST of 461 B, an answer of 1.2 kB parsed, 64 in flight, client on one core and server on another,
unless a row says otherwise. "Everything on" is limits in four dimensions, the breaker, a day's
budget and one of the job, a ledger on disk with `durability = "power"`, usage and price of each
call. Every client checks its answers, and ours its books (see clients/).
"""

from __future__ import annotations

import os
import statistics
import subprocess
import time
from pathlib import Path

import pytest

from benchmarks.python.harness import (
    RUN_TIMEOUT_S,
    Bench,
    Result,
    Subject,
    difference,
    median,
    ratio,
)
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


def test_cpu_a_call(bench: Bench, rows: Rows) -> None:
    """The first figure of all: what a call costs, through the public API and below it."""
    subjects = {
        "floor": Subject("floor", "floor", 40_000),
        "aio": Subject(OURS, "aio", 20_000, durable=True),
        "off": Subject(OURS, "aio_off", 20_000),
        "core": Subject(OURS, "core", 20_000, durable=True),
        "core_off": Subject(OURS, "core_off", 20_000),
        "uvloop": Subject(OURS, "aio", 20_000, durable=True, options=("--uvloop",)),
    }
    with bench.server() as origin:
        got = bench.rounds(subjects, f"{origin}/v1")
    metrics = {
        "aio": "engine.cpu_vs_floor",
        "off": "engine.cpu_off_vs_floor",
        "core": "engine.core_cpu_vs_floor",
        "core_off": "engine.core_cpu_off_vs_floor",
        "uvloop": "engine.cpu_uvloop_vs_floor",
    }
    rows.add("engine.floor_cpu_us", median(got["floor"], cpu), "us/call")
    for name in got.keys() - {"floor"}:
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
    subjects |= {name: Subject(PEERS, name, count) for name, count in calls.items()}
    with bench.server() as origin:
        got = bench.rounds(subjects, f"{origin}/v1")
    for name in got.keys() & calls.keys():
        peer = f"{got[name][0].version}, {median(got[name], speed):.0f} calls/s"
        for ours, metric in (("aio", "throughput"), ("off", "throughput_off")):
            rows.add(
                f"engine.{metric}_vs_{names.get(name, name)}",
                median(got[ours], speed),
                "calls/s",
                versus=peer,
                ratio=ratio(got[ours], got[name], speed),
            )


def test_many_at_once(bench: Bench, rows: Rows) -> None:
    """`gw.aio.chat_many`, batches of 64, against pycurl with 64 in flight and nothing around it."""
    subjects = {
        "floor": Subject("floor", "floor", 40_000),
        "many": Subject(OURS, "many", 20_000, durable=True),
        "many_off": Subject(OURS, "many_off", 20_000),
        "pycurl": Subject("pycurl_client", "pycurl", 30_000),
    }
    with bench.server() as origin:
        got = bench.rounds(subjects, f"{origin}/v1")
    theirs = got.get("pycurl", [])
    for name, metric in (("many", "submit_many"), ("many_off", "submit_many_off")):
        ours = got[name]
        value, share = median(ours, cpu), ratio(ours, got["floor"], cpu)
        rows.add(f"engine.{metric}_cpu_vs_floor", value, "us/call", versus=FLOOR, ratio=share)
        if not theirs:
            continue
        rows.add(
            f"engine.{metric}_vs_pycurl",
            median(ours, speed),
            "calls/s",
            versus=f"{theirs[0].version}, {median(theirs, speed):.0f} calls/s",
            ratio=ratio(ours, theirs, speed),
        )
        rows.add(
            f"engine.{metric}_cpu_vs_pycurl",
            value,
            "us/call",
            versus=f"{theirs[0].version}, {median(theirs, cpu):.1f} us/call",
            ratio=ratio(ours, theirs, cpu),
        )


def test_latency_at_one_in_flight(bench: Bench, rows: Rows) -> None:
    """What a call waits longer than bare libcurl, ledger in memory and durable."""
    subjects = {
        "floor": Subject("floor", "floor", 5_000, in_flight=1),
        "memory": Subject(OURS, "aio", 3_000, in_flight=1),
        "blocking": Subject(OURS, "sync", 3_000, in_flight=1),
        "durable": Subject(OURS, "aio", 1_500, in_flight=1, durable=True),
    }
    syncs_us = [write_and_sync_p50_us(bench.scratch / "sync")]
    with bench.server() as origin:
        got = bench.rounds(subjects, f"{origin}/v1")
    syncs_us.append(write_and_sync_p50_us(bench.scratch / "sync"))
    floor = f"curl_floor, 1 in flight, p50 {median(got['floor'], p50):.0f} us"
    for name, metric in (
        ("memory", "latency_added_p50_us"),
        ("blocking", "latency_sync_added_p50_us"),
        ("durable", "latency_durable_added_p50_us"),
    ):
        rows.add(
            f"engine.{metric}",
            difference(got[name], got["floor"], p50),
            "us",
            versus=floor,
            ratio=ratio(got[name], got["floor"], p50),
        )
    sync_us = min(syncs_us)  # before and after: the quieter moment is the stricter measure
    rows.add("disk.write_fdatasync_p50_us", sync_us, "us")
    added_us = difference(got["durable"], got["floor"], p50)
    allowed_us = 40 + 2 * sync_us
    rows.add(
        "engine.latency_durable_vs_allowed",
        added_us,
        "us",
        versus=f"40 us and two writes with fdatasync, {allowed_us:.0f} us",
        ratio=added_us / allowed_us,
    )


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
    """Cost a call from 1 to 10,000 in flight, beside aiohttp up to 1,000."""
    counts = (1, 16, 256, 1_000, 10_000)
    calls = {1: 1_500, 16: 6_000, 10_000: 40_000}
    subjects = {
        f"aio {n}": Subject(OURS, "aio", calls.get(n, 20_000), in_flight=n, durable=True)
        for n in counts
    }
    subjects |= {
        f"aiohttp {n}": Subject(PEERS, "aiohttp", 1_500 if n == 1 else 5_000, in_flight=n)
        for n in counts[:-1]
    }
    with bench.server() as origin:
        got = bench.rounds(subjects, f"{origin}/v1")
    for n in counts[:-1]:
        if f"aiohttp {n}" not in got:
            continue
        rows.add(
            f"engine.throughput_{n}_in_flight_vs_aiohttp",
            median(got[f"aio {n}"], speed),
            "calls/s",
            versus=f"aiohttp, {median(got[f'aiohttp {n}'], speed):.0f} calls/s",
            ratio=ratio(got[f"aio {n}"], got[f"aiohttp {n}"], speed),
        )
    rows.add(
        "engine.cpu_10000_in_flight_vs_16",
        median(got["aio 10000"], cpu),
        "us/call",
        versus=f"ours, 16 in flight, {median(got['aio 16'], cpu):.1f} us/call",
        ratio=ratio(got["aio 10000"], got["aio 16"], cpu),
    )


def test_a_million_rows(bench: Bench, rows: Rows) -> None:
    """Cost a call with an empty ledger and with one that has a million rows in this month."""
    program = bench.program("ledger_fill")
    if program is None:
        pytest.skip(f"ledger_fill is not in {bench.cpp}; build it with `make bench`")
    full = bench.scratch / "million.db"
    subprocess.run([program, full, "1000000"], check=True, timeout=RUN_TIMEOUT_S)
    subjects = {
        "empty": Subject(OURS, "aio", 20_000, durable=True),
        "full": Subject(OURS, "aio", 20_000, durable=True, ledger=full),
    }
    with bench.server() as origin:
        got = bench.rounds(subjects, f"{origin}/v1")
    rows.add(
        "engine.cpu_million_rows_vs_empty",
        median(got["full"], cpu),
        "us/call",
        versus=f"ours, empty ledger, {median(got['empty'], cpu):.1f} us/call",
        ratio=ratio(got["full"], got["empty"], cpu),
    )
