"""Blocking waits: from many threads, with Ctrl-C, and around the engine's end."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import threading
import time
from typing import Any

import pytest

import sluiceway
from sluiceway import _core
from sluiceway.errors import ConfigError, GatewayClosed
from tests.python.core.conftest import MakeEngine
from tests.python.core.kit import WAIT_S, Bench, chat, spec, wait_until

SLOW = "latency_ms=60000"


def in_threads(count: int, work: Any) -> None:
    """Runs work(number) in threads; raises what one of them raised."""
    errors: list[BaseException] = []

    def run(number: int) -> None:
        try:
            work(number)
        except BaseException as error:  # noqa: BLE001 - handed to the test's own thread
            errors.append(error)

    threads = [threading.Thread(target=run, args=(number,)) for number in range(count)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(2 * WAIT_S)
        assert not thread.is_alive()
    if errors:
        raise errors[0]


def test_eight_threads(bench: Bench) -> None:
    route = bench.route()

    def work(number: int) -> None:
        for _ in range(40):
            assert bench.run(route, tenant=f"tenant-{number}").ok

    in_threads(8, work)
    assert bench.executed() == 320
    assert bench.engine.stats()["succeeded"] == 320
    bench.check_money()


def test_eight_threads_wait_for_one_call(bench: Bench) -> None:
    call = bench.submit(bench.route(), "latency_ms=50")
    in_threads(8, lambda _: call.wait())
    assert call.ok
    assert bench.executions(call) == 1


def test_eight_threads_start_one_engine(bench: Bench) -> None:
    route = bench.route()
    gate = threading.Barrier(8)

    def work(_: int) -> None:
        gate.wait()
        assert bench.run(route).ok

    in_threads(8, work)
    assert bench.engine.stats()["submitted"] == 8


def test_eight_threads_make_routes_scopes_and_reports(bench: Bench) -> None:
    def work(number: int) -> None:
        for turn in range(10):
            route = bench.route(model="gpt-6-luna", account=f"a{turn}")
            scope = bench.engine.open_scope("job", f"{turn}", 10**9)
            assert bench.run(route, scopes=(scope,)).ok
            assert scope.balance()["limit"] == 10**9
            bench.engine.stats()
            bench.engine.ledger_scopes()
            bench.engine.breaker("openai", f"a{turn}", "gpt-6-luna")
            bench.engine.events()
            bench.engine.quote(route, chat(), max_output_tokens=number + 1)

    in_threads(8, work)
    assert len(bench.engine.ledger_scopes()) == 10
    bench.check_money()


def test_wait_twice_and_read_before_the_end(bench: Bench) -> None:
    call = bench.submit(bench.route(), "latency_ms=20")
    assert not call.done
    assert not call.ok
    assert call.error_kind == "none"
    assert (call.text, call.body, call.usage, call.attempts) == ("", b"", {}, [])
    assert call.cost_nanousd is None
    assert call.call_id == call.intent_id
    call.wait()
    call.wait()
    assert call.ok
    assert call.latency_ms >= 20


def test_cancel_from_another_thread(bench: Bench) -> None:
    call = bench.submit(bench.route(), SLOW)
    threading.Timer(0.02, call.cancel).start()
    call.wait()
    assert call.error_kind == "cancelled"
    assert not call.cancel()


def test_blocking_stream(bench: Bench) -> None:
    call = bench.submit(bench.route(), "output_tokens=30 token_ms=1", stream=True)
    texts: list[str] = []
    while deltas := call.next_events_wait():
        texts += [str(delta) for delta in deltas]
        assert all(delta.kind == "text" for delta in deltas)
    assert call.next_events_wait() == []
    assert call.done
    assert "".join(texts) == call.text
    assert call.usage["output"] == 30


CTRL_C = """
import json, sys
from sluiceway import _core
engine = _core.Engine({"durability": "memory"})
spec, body = json.loads(sys.stdin.readline())
spec["sheet"]["rows"][0]["factor"] = tuple(spec["sheet"]["rows"][0]["factor"])
call = engine.submit(engine.add_route(spec), body)
print("waiting", flush=True)
try:
    call.wait() if sys.argv[1] == "wait" else call.next_events_wait()
except KeyboardInterrupt:
    call.wait()
    print(call.error_kind, call.outcome, call.held_nanousd == call.ceiling_nanousd, flush=True)
"""


@pytest.mark.parametrize("how", ["wait", "next_events_wait"])
def test_ctrl_c_cancels_the_call(how: str, bench: Bench) -> None:
    slow = spec(bench.simulator)
    slow["headers"] = [*slow["headers"], ("sluiceway-simulator", SLOW)]
    environment = os.environ | {"PYTHONPATH": os.path.dirname(os.path.dirname(sluiceway.__file__))}
    with subprocess.Popen(
        [sys.executable, "-c", CTRL_C, how],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        env=environment,
    ) as process:
        assert process.stdin is not None
        assert process.stdout is not None
        process.stdin.write(json.dumps([slow, chat()]) + "\n")
        process.stdin.flush()
        assert process.stdout.readline() == "waiting\n"
        wait_until(lambda: bench.requests() == 1)
        process.send_signal(signal.SIGINT)
        out, err = process.communicate(timeout=WAIT_S)
    assert (process.returncode, out, err) == (0, "cancelled in_doubt True\n", "")


class TestClose:
    def test_drains_what_is_in_flight(self, bench: Bench) -> None:
        call = bench.submit(bench.route(), "latency_ms=150")
        bench.engine.close(WAIT_S)
        assert call.done
        assert call.ok
        assert call.cost_nanousd is not None

    def test_drains_for_a_bounded_time(self, bench: Bench) -> None:
        call = bench.submit(bench.route(), SLOW)
        quick = bench.run(bench.route())
        assert quick.ok
        started = time.monotonic()
        bench.engine.close(0.1)
        assert time.monotonic() - started < 5
        assert call.done
        assert call.error_kind == "closed"
        assert call.outcome == "in_doubt"
        assert call.held_nanousd == call.ceiling_nanousd

    def test_wakes_threads_that_wait(self, bench: Bench) -> None:
        calls = [bench.submit(bench.route(), SLOW) for _ in range(4)]

        def work(number: int) -> None:
            if number == 4:
                bench.engine.close(0.05)
            else:
                calls[number].wait()

        in_threads(5, work)
        assert all(call.error_kind == "closed" for call in calls)

    def test_ends_the_engine_for_good(self, bench: Bench) -> None:
        route = bench.route()
        scope = bench.engine.open_scope("job", "1", 10**9)
        call = bench.run(route, cache_ttl_s=60.0)
        bench.engine.close()
        bench.engine.close()
        for use in (
            lambda: bench.submit(route),
            lambda: bench.submit(route, cache_ttl_s=60.0),
            lambda: bench.engine.submit_many([(route, chat(), {})]),
            lambda: bench.engine.open_scope("job", "2"),
            scope.balance,
            bench.engine.ledger_entries,
            bench.engine.ledger_holds,
            bench.engine.ledger_scopes,
            bench.engine.ledger_verify,
        ):
            with pytest.raises(GatewayClosed):
                use()
        assert bench.engine.flush()
        assert bench.engine.stats() == {}
        assert bench.engine.events() == []
        call.wait()
        assert call.text
        assert not call.cancel()

    def test_before_the_first_use(self, make_engine: MakeEngine) -> None:
        engine = make_engine()
        engine.close()
        with pytest.raises(GatewayClosed):
            engine.open_scope("job", "1")

    def test_the_callback_hears_of_the_last_moments(self, bench: Bench) -> None:
        seen: list[str] = []
        bench.engine.set_event_callback(lambda events: seen.extend(e["kind"] for e in events))
        call = bench.submit(bench.route(), SLOW)
        wait_until(lambda: bench.requests() == 1)
        bench.engine.close(0.05)
        assert call.outcome == "in_doubt"
        assert seen == ["in_doubt"]

    def test_writes_the_books(self, bench: Bench, make_engine: MakeEngine, tmp_path: Any) -> None:
        path = str(tmp_path / "ledger.db")
        first = Bench(bench.simulator, make_engine(ledger_path=path, durability="process"))
        calls = [first.submit(first.route(), "latency_ms=10") for _ in range(50)]
        first.engine.close(WAIT_S)
        assert all(call.ok for call in calls)
        second = Bench(bench.simulator, make_engine(ledger_path=path, durability="process"))
        assert second.engine.ledger_holds() == []
        settled = sum(call.cost_nanousd for call in calls)
        assert second.books()["settle"] == settled > 0


def test_many_submits_at_once(bench: Bench) -> None:
    route = bench.route()
    calls = bench.engine.submit_many(
        [(route, chat(f"{n}"), {"tenant": f"t{n}", "timeout_s": WAIT_S}) for n in range(100)]
    )
    for call in calls:
        call.wait()
    assert all(call.ok for call in calls)
    assert bench.executed() == 100
    assert bench.engine.submit_many([]) == []


def test_ids_are_ordered_and_unique() -> None:
    ids = [_core.new_id() for _ in range(10_000)]
    assert len(set(ids)) == 10_000
    assert ids == sorted(ids)
    assert {(len(one), one[14]) for one in ids} == {(36, "7")}  # RFC 9562, version 7


def test_a_ledger_that_cannot_be_opened(make_engine: MakeEngine, tmp_path: Any) -> None:
    engine = make_engine(ledger_path=str(tmp_path), durability="power")  # a directory
    with pytest.raises(ConfigError, match="not a regular file"):
        engine.open_scope("job", "1")
