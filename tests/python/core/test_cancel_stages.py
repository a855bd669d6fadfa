"""A cancel at every stage of a call gives everything back: permits, connections, reservations.

The stage is brought about by what the call meets (a full queue, a listener that does not accept, a
server that does not read), never by a moment's luck. After each cancel: nothing is in flight or
queued in the limit group, no connection of the call is open, the hold is void or in doubt as what
was sent demands, and a call with the same limit of one at a time goes through.
"""

from __future__ import annotations

import random
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

from sluiceway.simulator import Simulator
from tests.python.core.conftest import SEED, MakeEngine
from tests.python.core.kit import (
    ACCOUNT,
    MODEL,
    PROVIDER,
    WAIT_S,
    Bench,
    ceiling_nanousd,
    chat,
    spec,
    wait_until,
)
from tests.python.core.traps import Deaf, DeafTls, Full, Silent

SLOW = "latency_ms=60000"
GROUP = f"{PROVIDER}/{ACCOUNT}/{MODEL}"
REQUESTS = 60  # a minute, all of them at once: what is not given back is missing for a second
LIMITS = {"concurrency": 1, "requests_per_minute": REQUESTS, "burst_requests": REQUESTS}
# Holds the ledger's commit lock (byte 1 of its lock file) until its stdin is closed.
HOLD_COMMITS = """
import fcntl, os, sys
lock = os.open(sys.argv[1], os.O_RDWR)
fcntl.lockf(lock, fcntl.LOCK_EX, 1, 1)
print("held", flush=True)
sys.stdin.read()
"""
Stage = Callable[[Bench, Path], Iterator[tuple[Any, bool]]]  # the call at its stage; was it sent?


def in_flight(bench: Bench) -> int:
    """Permits given out."""
    return int(bench.engine.limits(GROUP).get("in_flight", 0))


def limited(bench: Bench, **changes: Any) -> Any:
    """A route with the limits of this file."""
    return bench.route(**({"limits": LIMITS} | changes))


def queued(bench: Bench, _: Path) -> Iterator[tuple[Any, bool]]:
    """In the limiter's queue, behind a call that is under way."""
    route = limited(bench)
    first = bench.submit(route, SLOW)
    wait_until(lambda: bench.requests() == 1)
    call = bench.submit(route)
    wait_until(lambda: bench.engine.limits(GROUP)["waiting"] == 1)
    yield call, False
    assert bench.engine.limits(GROUP)["waiting"] == 0
    assert in_flight(bench) == 1
    first.cancel()
    first.wait()


def parked(bench: Bench, _: Path) -> Iterator[tuple[Any, bool]]:
    """Waiting for money that another call holds."""
    scope = bench.engine.open_scope("job", "1", ceiling_nanousd(chat()) * 3 // 2)
    route = limited(bench, limits=LIMITS | {"concurrency": 2})
    first = bench.submit(route, SLOW, scopes=(scope,))
    wait_until(lambda: bench.requests() == 1)
    call = bench.submit(route, scopes=(scope,), on_exceed="wait")
    wait_until(lambda: in_flight(bench) == 2)
    yield call, False
    first.cancel()
    first.wait()
    assert bench.engine.flush(WAIT_S)
    assert scope.balance()["held"] == 0
    assert scope.balance()["in_doubt"] == ceiling_nanousd(chat())


def reserving(bench: Bench, ledger: Path) -> Iterator[tuple[Any, bool]]:
    """The reservation cannot be written: another process holds the commit lock."""
    assert bench.run(limited(bench)).ok
    assert bench.engine.flush(WAIT_S)
    with subprocess.Popen(
        [sys.executable, "-c", HOLD_COMMITS, f"{ledger}-lock"],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    ) as holder:
        assert holder.stdout is not None
        assert holder.stdout.readline() == "held\n"
        call = bench.submit(limited(bench))
        wait_until(lambda: in_flight(bench) == 1)
        yield call, False
        assert in_flight(bench) == 0
        holder.communicate(timeout=WAIT_S)


def pooled(bench: Bench, _: Path) -> Iterator[tuple[Any, bool]]:
    """Waiting for a place at the origin."""
    route = limited(bench, limits=LIMITS | {"concurrency": 9})
    first = [bench.submit(route, SLOW) for _ in range(CONNECTIONS_MAX)]
    wait_until(lambda: bench.requests() == CONNECTIONS_MAX)
    call = bench.submit(route)
    wait_until(lambda: in_flight(bench) == CONNECTIONS_MAX + 1)
    yield call, False
    for one in first:
        one.cancel()
        one.wait()


def connecting(bench: Bench, _: Path) -> Iterator[tuple[Any, bool]]:
    """The SYN is out."""
    with Full() as server:
        call = bench.submit(limited(bench, url=server.url))
        wait_until(lambda: bench.engine.stats()["connections_open"] == 1)
        yield call, False


def handshaking(bench: Bench, _: Path) -> Iterator[tuple[Any, bool]]:
    """The ClientHello is out."""
    with DeafTls() as server:
        call = bench.submit(limited(bench, url=server.url))
        with server.accepted():
            yield call, False


def sending(bench: Bench, _: Path) -> Iterator[tuple[Any, bool]]:
    """The first bytes of a large body are out; the server does not read on."""
    with Deaf() as server:
        body = chat("x" * 20_000_000)
        call = bench.submit(limited(bench, url=server.url), body=body, cap_nanousd=1000)
        with server.accepted():
            yield call, True


def waiting(bench: Bench, _: Path) -> Iterator[tuple[Any, bool]]:
    """For the answer."""
    call = bench.submit(limited(bench), SLOW)
    wait_until(lambda: bench.requests() == 1)
    yield call, True


def receiving(bench: Bench, _: Path) -> Iterator[tuple[Any, bool]]:
    """The head of the answer and a part of its body are there."""
    head = b"HTTP/1.1 200 OK\r\ncontent-type: application/json\r\ncontent-length: 500\r\n\r\n{"
    with Silent(head) as server:
        call = bench.submit(limited(bench, url=server.url))
        assert server.asked.wait(WAIT_S)
        yield call, True


def streaming(bench: Bench, _: Path) -> Iterator[tuple[Any, bool]]:
    """The first delta was delivered."""
    call = bench.submit(limited(bench), "output_tokens=50 token_ms=1000", stream=True)
    assert call.next_events_wait()
    yield call, True


def paused(bench: Bench, _: Path) -> Iterator[tuple[Any, bool]]:
    """A stream whose reader is behind: its transfer stands still."""
    body = chat(stream=True) | {"max_completion_tokens": 50_000}
    settings = "output_tokens=50000"
    call = bench.submit(limited(bench), settings, body=body, stream=True, cap_nanousd=1000)
    assert call.next_events_wait()
    wait_until(lambda: bench.engine.stats()["streamed_deltas"] > 2_000)
    yield call, True


def backing_off(bench: Bench, _: Path) -> Iterator[tuple[Any, bool]]:
    """Refused once, waiting to be sent again."""
    route = limited(bench, retry={"attempts": 3, "throttle_base_s": 9.0, "base_s": 9.0})
    call = bench.submit(route, "fault=status status=503 retry_after_form=none")
    wait_until(lambda: "retry" in [event["kind"] for event in bench.engine.events()])
    yield call, False


def over_h2(bench: Bench, _: Path) -> Iterator[tuple[Any, bool]]:
    """A stream of a connection that goes on serving others."""
    route = limited(bench, **h2(bench))
    assert bench.run(route).ok
    call = bench.submit(route, SLOW)
    wait_until(lambda: bench.requests() == 2)
    yield call, True


def h2(bench: Bench) -> dict[str, Any]:
    """What makes a route one over HTTP/2."""
    whole = spec(bench.simulator, "h2-tls")
    return {name: whole[name] for name in ("url", "http_version", "ca_file")}


STAGES: dict[str, Stage] = {
    stage.__name__: stage
    for stage in (
        queued,
        parked,
        reserving,
        pooled,
        connecting,
        handshaking,
        sending,
        waiting,
        receiving,
        streaming,
        paused,
        backing_off,
        over_h2,
    )
}
CONNECTIONS_MAX = 2


@pytest.fixture
def durable(sim: Simulator, make_engine: MakeEngine, tmp_path: Path) -> Bench:
    """An engine on a ledger file."""
    path = str(tmp_path / "books.db")
    options = {"ledger_path": path, "durability": "process", "connections_max": CONNECTIONS_MAX}
    return Bench(sim, make_engine(**options))


@pytest.mark.parametrize("name", STAGES)
def test_a_cancel_gives_everything_back(name: str, durable: Bench, tmp_path: Path) -> None:
    with contextmanager(STAGES[name])(durable, tmp_path / "books.db") as (call, sent):
        begun_s = time.monotonic()
        assert call.cancel()
        call.wait()
        assert time.monotonic() - begun_s < 5
        assert call.error_kind == "cancelled"
        unsent = "refused" if name == "backing_off" else "never_sent"
        assert call.outcome == ("in_doubt" if sent else unsent)
        assert not call.cancel()
        held = call.held_nanousd
    assert held == (call.ceiling_nanousd if sent else 0)
    assert durable.engine.flush(WAIT_S)
    wait_until(lambda: durable.engine.stats()["completed"] == durable.engine.stats()["submitted"])
    limits = durable.engine.limits(GROUP)
    assert (limits["in_flight"], limits["waiting"]) == (0, 0)
    if name not in ("queued", "parked", "reserving", "pooled", "backing_off", "over_h2"):
        # The calls beside the cancelled one were sent and keep their request of this minute.
        given_back = limits["requests"]["available"] == REQUESTS
        assert given_back or sent
        wait_until(lambda: durable.engine.stats()["connections_open"] == 0)
    # A reservation that was under way is voided once its commit is through.
    ends = (["in_doubt"],) if sent else (["void"], [])
    wait_until(lambda: durable.kinds(call)[-1:] in ends)
    ours = [hold for hold in durable.engine.ledger_holds() if hold["call_id"] == call.call_id]
    assert [hold["in_doubt"] for hold in ours] == ([True] if sent else [])
    assert durable.run(limited(durable)).ok
    durable.check_money()


def test_a_joiner_leaves_the_flight_and_the_last_one_stops_it(bench: Bench) -> None:
    """Identical calls under a cache share one transfer, until nobody waits for it."""
    route = limited(bench)
    leader, joiner, last = (bench.submit(route, SLOW, cache_ttl_s=60.0) for _ in range(3))
    wait_until(lambda: bench.requests() == 1)
    for call, held in ((joiner, 0), (leader, leader.ceiling_nanousd), (last, 0)):
        assert in_flight(bench) == 1
        assert call.cancel()
        call.wait()
        assert call.error_kind == "cancelled"
        # The leader's scopes pay for the flight, also when it has left.
        assert (call.held_nanousd, call is leader) == (held, held > 0)
    wait_until(lambda: in_flight(bench) == 0)
    wait_until(lambda: bench.engine.stats()["connections_open"] == 0)
    assert bench.kinds(leader) == ["reserve", "in_doubt"]
    assert bench.kinds(joiner) == bench.kinds(last) == []
    bench.check_money()


@pytest.mark.parametrize("protocol", ["h1", "h2-tls"])
def test_a_storm_of_cancels(protocol: str, durable: Bench) -> None:
    """At any moment: 600 calls, each cancelled after a few of the others were submitted."""
    rng = random.Random(SEED)
    print(f"seed {SEED}")
    changes = {} if protocol == "h1" else h2(durable)
    route = limited(durable, limits={"concurrency": 8}, **changes)
    open_calls: list[Any] = []
    every: list[Any] = []
    for _ in range(600):
        latency = f"latency_ms={rng.choice([0, 1, 2, 5])}"
        call = durable.submit(route, f"{latency} output_tokens=5", stream=rng.random() < 0.3)
        every.append(call)
        open_calls.append(call)
        if rng.random() < 0.7:
            open_calls.pop(rng.randrange(len(open_calls))).cancel()
        if rng.random() < 0.2:
            open_calls.pop(rng.randrange(len(open_calls))).wait() if open_calls else None
    for call in every:
        call.wait()
    stats = durable.engine.stats()
    assert stats["completed"] == stats["submitted"] == 600
    limits = durable.engine.limits(GROUP)
    assert (limits["in_flight"], limits["waiting"]) == (0, 0)
    assert durable.engine.flush(WAIT_S)
    holds = {hold["call_id"]: hold["in_doubt"] for hold in durable.engine.ledger_holds()}
    doubts = [call for call in every if call.held_nanousd]
    assert holds == {call.call_id: True for call in doubts}
    assert {call.error_kind for call in every} <= {"none", "cancelled"}
    assert all(durable.run(route).ok for _ in range(3))
    durable.check_money()
