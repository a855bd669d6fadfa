"""Deadlines: for a place, to connect, of silence, in all. None is early; all say what was sent.

How late they are is a benchmark's matter (`engine.deadline_late_p99_ms`); here only that they come.
"""

from __future__ import annotations

import contextlib
import os
import random
import select
import time
from typing import Any

import pytest

from tests.python.core.conftest import SEED, MakeEngine
from tests.python.core.kit import WAIT_S, Bench, chat, wait_until
from tests.python.core.traps import Deaf, DeafTls, Full, Silent

SLOW = "latency_ms=60000"
HEAD = b"HTTP/1.1 200 OK\r\ncontent-type: application/json\r\ncontent-length: 500\r\n\r\n{"
SHORT_S = 0.15


def timed(bench: Bench, route: Any, at_least_s: float, settings: str = "", **arguments: Any) -> Any:
    """Runs a call that has to end by a deadline, and not before it."""
    begun_s = time.monotonic()
    call = bench.run(route, settings, **arguments)
    took_s = time.monotonic() - begun_s
    assert took_s >= at_least_s, f"{(at_least_s - took_s) * 1000:.3f} ms early"
    assert took_s < WAIT_S / 2
    assert call.error_kind == "deadline_exceeded", (call.error_kind, call.message)
    return call


@pytest.mark.parametrize("trap", [Full, DeafTls])
def test_connect(trap: type[Full | DeafTls], bench: Bench) -> None:
    """TCP or the TLS handshake; what was not connected was never sent."""
    with trap() as server:
        route = bench.route(url=server.url, retry={"attempts": 1})
        begun_s = time.monotonic()
        call = bench.run(route, connect_timeout_s=SHORT_S)
        assert time.monotonic() - begun_s >= SHORT_S
        assert not call.ok
        assert call.outcome == "never_sent"
    assert bench.kinds(call)[-1:] in ([], ["void"])
    wait_until(lambda: bench.engine.stats()["connections_open"] == 0)


def test_pool(sim: Any, make_engine: MakeEngine) -> None:
    """One connection at the origin, and it is taken."""
    bench = Bench(sim, make_engine(connections_max=1))
    route = bench.route(retry={"attempts": 1})
    slow = bench.submit(route, SLOW)
    wait_until(lambda: bench.requests() == 1)
    call = timed(bench, route, SHORT_S, pool_timeout_s=SHORT_S)
    assert call.outcome == "never_sent"
    slow.cancel()
    slow.wait()
    assert bench.run(route).ok


@pytest.mark.parametrize("head", [b"", HEAD], ids=["no answer", "a part of one"])
def test_read(head: bytes, bench: Bench) -> None:
    """Silence, before the answer or within it."""
    with Silent(head) as server:
        call = timed(bench, bench.route(url=server.url), SHORT_S, read_timeout_s=SHORT_S)
    assert call.outcome == "in_doubt"
    assert call.held_nanousd == call.ceiling_nanousd


def test_write(bench: Bench) -> None:
    """A server that reads nothing: the silence's deadline counts while a request is sent, too."""
    with Deaf() as server:
        route = bench.route(url=server.url)
        body = chat("x" * 20_000_000)
        call = timed(bench, route, SHORT_S, body=body, read_timeout_s=SHORT_S, cap_nanousd=1000)
    assert call.outcome == "in_doubt"


@pytest.mark.parametrize("trap", [Full, Deaf, DeafTls, Silent])
def test_total(trap: type[Full | Deaf | DeafTls | Silent], bench: Bench) -> None:
    """In all, whatever it waits for."""
    with trap() as server:
        route = bench.route(url=server.url)
        call = timed(bench, route, SHORT_S, timeout_s=SHORT_S, body=chat("x" * 4_000_000))
    assert call.outcome == ("in_doubt" if trap in (Deaf, Silent) else "never_sent")


def test_total_covers_a_retrys_wait(bench: Bench) -> None:
    """Not waited for in vain: a retry beyond the deadline is not waited for at all."""
    waits = {"base_s": 1e6, "throttle_base_s": 1e6, "cap_s": 1e6}  # jitter: up to so much
    route = bench.route(retry={"attempts": 3, "budget_percent": 1000, **waits})
    settings = "fault=status status=503 retry_after_form=none"
    call = bench.run(route, settings, timeout_s=SHORT_S)
    assert not call.ok
    assert len(call.attempts) == 1
    assert call.latency_ms < WAIT_S * 500


def test_never_early(bench: Bench) -> None:
    """A thousand calls at once with deadlines of their own, in no order."""
    rng = random.Random(SEED)
    print(f"seed {SEED}")
    with Silent() as server:
        route = bench.route(url=server.url)
        calls = []
        for _ in range(1_000):
            timeout_s = rng.uniform(0.001, 0.8)
            before_s = time.monotonic()
            calls.append((timeout_s, before_s, bench.submit(route, timeout_s=timeout_s)))
        early = []
        for timeout_s, before_s, call in sorted(calls, key=lambda one: one[0] + one[1]):
            call.wait()
            left_s = before_s + timeout_s - time.monotonic()
            # One whose time is over while it waits for the ledger is told so.
            assert call.error_kind in ("deadline_exceeded", "budget_unavailable"), call.message
            if left_s > 0:
                early.append((left_s, call.latency_ms, timeout_s))
        assert early == []
    assert bench.engine.stats()["completed"] == 1_000


def descriptors() -> dict[int, str]:
    """What this process has open."""
    found = {}
    for name in os.listdir("/proc/self/fd"):
        with contextlib.suppress(OSError):
            found[int(name)] = os.readlink(f"/proc/self/fd/{name}")
    return found


@pytest.mark.parametrize("protocol", ["h1", "h2-tls"])
def test_the_watchdog_finds_what_was_lost(protocol: str, bench: Bench) -> None:
    """An event is stolen: the engine's epoll set is told to keep to itself what a socket has.

    Without the watchdog the call would stand until a deadline. What it did is counted.
    """
    before = descriptors()
    call = bench.submit(bench.route(protocol), "latency_ms=300")
    wait_until(lambda: bench.requests() == 1)
    opened = {fd: what for fd, what in descriptors().items() if before.get(fd) != what}
    (watched,) = [fd for fd, what in opened.items() if "eventpoll" in what]
    assert bench.engine.stats()["watchdog_progress"] == 0
    with open(f"/proc/self/fdinfo/{watched}") as lines:
        members = [int(line.split()[1]) for line in lines if line.startswith("tfd")]
    sockets = [fd for fd in members if opened.get(fd, "").startswith("socket")]
    assert sockets
    for fd in sockets:
        with select.epoll.fromfd(os.dup(watched)) as stolen:
            stolen.modify(fd, 0)
    begun_s = time.monotonic()
    call.wait()
    assert call.ok, call.message
    assert time.monotonic() - begun_s < 5
    wait_until(lambda: bench.engine.stats()["watchdog_progress"] >= 1)
    assert bench.run(bench.route(protocol)).ok
