"""The core never sends a paid request twice by itself: counted where the money is charged.

libcurl re-sends any request, silently, when a reused connection dies before the first response
byte (measured on 8.14.1). These tests let connections become old and then break them in every way
that the simulator knows, at a high rate and with many at once, and compare three books: the
simulator's executions, the core's attempts and the ledger's entries.
"""

from __future__ import annotations

import asyncio
import random
from typing import Any

import pytest

from tests.python.core.conftest import MakeEngine
from tests.python.core.kit import PROTOCOLS, Bench, chat, wait_until

SEED = 20261122
PLAIN = [
    "fault=drop_before",
    "fault=drop_after",
    "fault=drop_after reset=true",
    "fault=cut_body",
    "fault=cut_chunked",
    "fault=bad_json",
    "fault=html_error",
    "fault=status status=429 flavour=requests",
    "fault=status status=503",
    "fault=goaway",
    "fault=goaway executed=true",
    "fault=refused_stream",
    "close_after=true",
]
STREAMED = [
    "fault=cut_stream after_events=5",
    "fault=cut_stream after_events=5 clean=true",
    "fault=error_in_stream",
    "fault=error_in_stream after_deltas=4",
    "fault=drop_after",
]


@pytest.mark.parametrize("protocol", PROTOCOLS)
@pytest.mark.parametrize("reset", ["false", "true"])
@pytest.mark.parametrize("idempotent_key_header", ["", "idempotency-key"])
def test_a_reused_connection_dropped_after_execution(
    protocol: str, reset: str, idempotent_key_header: str, bench: Bench
) -> None:
    route = bench.route(protocol, idempotent_key_header=idempotent_key_header)
    for turn in range(5):
        assert bench.run(route).ok  # the connection is open and idle now
        call = bench.run(route, f"fault=drop_after reset={reset}")
        assert (call.error_kind, call.outcome) == ("in_doubt", "in_doubt")
        assert len(call.attempts) == bench.executions(call) == 1
        assert call.held_nanousd == call.ceiling_nanousd
        assert bench.executed() == bench.requests() == 2 * (turn + 1)
    # Every dropped call went over a connection that had served the call before it, and no
    # connection was opened for a re-send. On h2 a stream dies and the connection lives on.
    expected = 1 if protocol.startswith("h2") and reset == "false" else 5
    wait_until(lambda: bench.engine.stats()["connections_opened"] >= expected)
    assert bench.engine.stats()["connections_opened"] == expected
    bench.check_money()


@pytest.mark.parametrize("protocol", PROTOCOLS)
def test_a_paid_request_without_a_body(protocol: str, bench: Bench) -> None:
    # Without a body there is nothing to rewind, so a fresh connection has to stop the re-send.
    url = bench.simulator.base_url("openai", tls="tls" in protocol) + "/models"
    route = bench.route(protocol, method="GET", url=url, dialect={}, sheet=None)
    for turn in range(5):
        good = bench.engine.submit(route, None, cap_nanousd=10)
        good.wait()
        assert good.ok, good.message
        call = bench.engine.submit(
            route,
            None,
            cap_nanousd=10,
            extra_headers=[("sluiceway-simulator", "fault=drop_before")],
        )
        call.wait()
        assert (call.outcome, call.held_nanousd) == ("in_doubt", 10)
        assert bench.requests() == 2 * (turn + 1)


@pytest.mark.parametrize("protocol", PROTOCOLS)
def test_many_at_once_with_every_fault(protocol: str, bench: Bench) -> None:
    rng = random.Random(SEED)
    print(f"seed {SEED}")
    route = bench.route(protocol)
    scope = bench.engine.open_scope("job", "storm", 10**12)

    async def one() -> Any:
        stream = rng.random() < 0.3
        words = rng.choice([""] * 10 + (STREAMED if stream else PLAIN))
        return await bench.submit(route, words, stream=stream, scopes=(scope,))

    async def main() -> list[Any]:
        calls: list[Any] = []
        for _ in range(10):
            calls += await asyncio.gather(*(one() for _ in range(30)))
        return calls

    calls = asyncio.run(main())
    bench.check_money()
    for call in calls:
        executed = bench.executions(call)
        assert executed <= 1, call.message
        if call.outcome == "never_sent":
            assert executed == 0
        if call.outcome == "refused":
            assert executed == 0
        if call.ok:
            assert executed == 1
    # Every request that the provider saw is an attempt that the core knows of.
    attempts = sum(len(call.attempts) for call in calls)
    assert bench.requests() <= attempts
    check_sums(bench, calls, scope)


def check_sums(bench: Bench, calls: list[Any], scope: Any) -> None:
    """Three books of one money: the calls', the ledger's, the provider's."""
    balance = scope.balance()
    settled = sum(call.cost_nanousd for call in calls if call.ok)
    held = sum(call.held_nanousd for call in calls)
    assert bench.books().get("settle", 0) == balance["settled"] == settled
    holds = bench.engine.ledger_holds()
    assert sum(hold["amount_nanousd"] for hold in holds) == held
    assert all(hold["in_doubt"] for hold in holds)
    assert {h["call_id"] for h in holds} == {c.call_id for c in calls if c.held_nanousd}
    # The ceilings are true: whatever was executed is covered by what was settled or is held.
    charged = bench.simulator.executions()["by_call"]
    covered = {call.call_id for call in calls if call.ok or call.held_nanousd}
    assert set(charged) <= covered


def test_an_origin_that_closes_idle_connections(bench: Bench) -> None:
    # closed by the server after each answer, without announcing it
    route = bench.route()
    calls = [bench.run(route, "close_after=true") for _ in range(20)]
    for call in calls:
        assert call.ok or call.outcome == "in_doubt"
        assert len(call.attempts) == 1
        assert bench.executions(call) <= 1
    assert bench.executed() == bench.requests()
    bench.check_money()


def test_a_free_request_may_be_sent_again(bench: Bench) -> None:
    url = bench.simulator.base_url("openai") + "/models"
    route = bench.route(method="GET", url=url, dialect={}, sheet=None, free=True)
    call = bench.engine.submit(route, None)
    call.wait()
    assert call.ok
    assert (call.cost_nanousd, call.held_nanousd) == (0, 0)
    assert bench.engine.ledger_entries() == []


def test_an_idempotency_key_is_used_once(bench: Bench) -> None:
    route = bench.route()
    first = bench.run(route, idempotency_key="order-7")
    assert first.ok
    second = bench.run(route, idempotency_key="order-7")
    assert (second.error_kind, second.outcome) == ("already_submitted", "never_sent")
    assert second.duplicate_call_id == first.call_id
    assert bench.run(route, idempotency_key="order-7", tenant="other").ok
    assert bench.executed() == 2


def test_the_providers_key_is_the_same_for_all_attempts(bench: Bench) -> None:
    bench.simulator.script(
        [{"match": {"nth": "1-2"}, "action": {"fault": "status", "status": 503}}]
    )
    call = bench.run(bench.route(idempotent_key_header="Idempotency-Key"))
    assert call.ok
    assert [line["idempotency_key"] for line in bench.simulator.log()] == [call.call_id] * 3
    numbers = [line["attempt"] for line in bench.simulator.log()]
    assert numbers == [f"{call.call_id}/{number}" for number in (1, 2, 3)]
    assert bench.simulator.executions()["by_idempotency_key"] == {call.call_id: 1}


def test_the_attempt_header_can_be_kept_back(bench: Bench, make_engine: MakeEngine) -> None:
    quiet = Bench(bench.simulator, make_engine(send_attempt_header="never"))
    assert quiet.run(quiet.route(), body=chat("no header")).ok
    assert bench.simulator.log()[-1]["attempt"] is None
