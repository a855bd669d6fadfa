"""The engine over TLS, over HTTP/2, and with bodies of 100 kB, beside bare libcurl and a client.

One load each: 64 in flight, ours with everything on and durable, as in test_engine_perf.py. The
server's certificate is made when it starts and verified by every client. aiohttp has no HTTP/2;
httpx2 has.
"""

from __future__ import annotations

import pytest

from benchmarks.python.clients import common
from benchmarks.python.harness import Bench, Result, Rounds, Subject, median, ratio
from benchmarks.python.rows import Rows

pytestmark = pytest.mark.informational

OURS, PEERS = "sluiceway_client", "peers"
LARGE = 100_000


def cpu(result: Result) -> float:
    return result.cpu_us


def speed(result: Result) -> float:
    return result.calls_per_s


def add(rows: Rows, what: str, got: Rounds) -> None:
    """`engine.cpu_<what>_vs_floor` and `engine.throughput_<what>_vs_<peer>` of three subjects."""
    ours, floor = got.pop("ours"), got.pop("floor")
    rows.add(
        f"engine.cpu_{what}_vs_floor",
        median(ours, cpu),
        "us/call",
        versus=f"curl_floor, the same work, {median(floor, cpu):.1f} us/call",
        ratio=ratio(ours, floor, cpu),
    )
    for name, theirs in got.items():
        rows.add(
            f"engine.throughput_{what}_vs_{name}",
            median(ours, speed),
            "calls/s",
            versus=f"{theirs[0].version}, {median(theirs, speed):.0f} calls/s",
            ratio=ratio(ours, theirs, speed),
        )


@pytest.mark.parametrize(
    ("version", "peer", "calls"), [(1, "aiohttp", 8_000), (2, "httpx2", 1_000)]
)
def test_tls(bench: Bench, rows: Rows, version: int, peer: str, calls: int) -> None:
    """TLS 1.3 by OpenSSL, connections kept: HTTP/1.1, and HTTP/2 with 64 streams on one."""
    http2 = ("--h2",) if version == 2 else ()
    with bench.tls_server(*http2) as (origin, certificate):
        options = ("--cacert", certificate, *(("--http2",) if version == 2 else ()))
        subjects = {
            "floor": Subject("floor", "floor", 40_000, options=options),
            "ours": Subject(OURS, "aio", 20_000, durable=True, options=options),
            peer: Subject(PEERS, peer, calls, options=options),
        }
        add(rows, f"tls_h{version}", bench.rounds(subjects, f"{origin}/v1"))


def test_large_answers(bench: Bench, rows: Rows) -> None:
    """A completion of 100 kB."""
    body = bench.scratch / "answer.json"
    body.write_bytes(common.answer_bytes(common.text_of(LARGE)))
    subjects = {
        "floor": Subject("floor", "floor", 10_000, text_bytes=LARGE),
        "ours": Subject(OURS, "aio", 5_000, durable=True, text_bytes=LARGE),
        "aiohttp": Subject(PEERS, "aiohttp", 3_000, text_bytes=LARGE),
    }
    with bench.server("--body", str(body)) as origin:
        add(rows, "100kb", bench.rounds(subjects, f"{origin}/v1"))


def test_large_requests(bench: Bench, rows: Rows) -> None:
    """A prompt of 100 kB; aiohttp sends ready bytes, ours encodes the prompt in each call."""
    subjects = {
        "floor": Subject("floor", "floor", 10_000, post_bytes=LARGE),
        "ours": Subject(OURS, "aio", 5_000, durable=True, post_bytes=LARGE),
        "aiohttp": Subject(PEERS, "aiohttp", 3_000, post_bytes=LARGE),
    }
    with bench.server() as origin:
        add(rows, "100kb_up", bench.rounds(subjects, f"{origin}/v1"))
