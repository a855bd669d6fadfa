"""The cache and single flight, as submit(cache_ttl_s=...) gives them."""

from __future__ import annotations

import asyncio
import time
from typing import Any

import pytest

from tests.python.core.kit import WAIT_S, Bench, chat, wait_until

LONG_S = 3600.0


def test_a_hit_touches_nothing(bench: Bench) -> None:
    route = bench.route()
    scope = bench.engine.open_scope("job", "1", 10**12)
    first = bench.run(route, cache_ttl_s=LONG_S, scopes=(scope,))
    assert (first.cache, first.ok) == ("miss", True)
    before = bench.engine.stats()
    hit = bench.submit(route, cache_ttl_s=LONG_S, scopes=(scope,))
    assert hit.done  # at once, without the engine
    assert (hit.cache, hit.ok, hit.outcome, hit.error_kind) == ("hit", True, "done", "none")
    assert (hit.text, hit.body, hit.usage) == (first.text, first.body, first.usage)
    assert (hit.cost_nanousd, hit.held_nanousd, hit.attempts) == (0, 0, [])
    assert hit.call_id != first.call_id
    after = bench.engine.stats()
    assert after["attempts"] == before["attempts"] == 1
    assert after["submitted"] == before["submitted"] == 1
    assert after["cache_hits"] == before["cache_hits"] + 1
    bench.engine.flush()
    assert scope.balance()["settled"] == first.cost_nanousd
    assert bench.executed() == 1


def test_a_hit_can_be_awaited(bench: Bench) -> None:
    route = bench.route()
    bench.run(route, cache_ttl_s=LONG_S)

    async def main() -> Any:
        return await bench.submit(route, cache_ttl_s=LONG_S)

    assert asyncio.run(main()).cache == "hit"


def test_off_unless_asked_for(bench: Bench) -> None:
    route = bench.route()
    assert bench.run(route).cache == "off"
    assert bench.run(route, cache_ttl_s=0.0).cache == "off"
    assert bench.run(route, cache_ttl_s=LONG_S).cache == "miss"
    assert bench.run(route).cache == "off"
    assert bench.executed() == 4


def test_it_ends_with_its_time(bench: Bench) -> None:
    route = bench.route()
    bench.run(route, cache_ttl_s=0.03)
    wait_until(lambda: bench.submit(route, cache_ttl_s=0.03).cache != "hit")
    assert bench.run(route, body=chat("other"), cache_ttl_s=LONG_S).cache == "miss"
    time.sleep(0.04)  # longer than the short time to live
    assert bench.run(route, body=chat("other"), cache_ttl_s=LONG_S).cache == "hit"


def test_what_makes_a_request_another_one(bench: Bench) -> None:
    route = bench.route()
    bench.run(route, cache_ttl_s=LONG_S, tenant="a")
    assert bench.run(route, cache_ttl_s=LONG_S, tenant="a").cache == "hit"
    assert bench.run(route, cache_ttl_s=LONG_S, tenant="b").cache == "miss"
    assert bench.run(route, cache_ttl_s=LONG_S).cache == "miss"
    assert bench.run(route, cache_ttl_s=LONG_S, tenant="a", body=chat("x")).cache == "miss"
    for changes in ({"schema_version": 2}, {"operation": "other"}, {"provider": "deepseek"}):
        assert bench.run(bench.route(**changes), cache_ttl_s=LONG_S, tenant="a").cache == "miss"
    # Neither the order of keys nor the account is part of it: the answer is the same.
    turned = dict(reversed(chat().items()))
    assert bench.run(route, cache_ttl_s=LONG_S, tenant="a", body=turned).cache == "hit"


def test_integers_beyond_2_to_the_53_are_not_cached(bench: Bench) -> None:
    route = bench.route()
    for number, words in ((2**53, ("miss", "hit")), (2**53 + 1, ("off", "off"))):
        body = chat() | {"metadata": {"n": str(number)}, "seed": number}
        seen = tuple(bench.run(route, body=body, cache_ttl_s=LONG_S).cache for _ in range(2))
        assert seen == words


def test_failures_are_not_kept(bench: Bench) -> None:
    route = bench.route()
    assert bench.run(route, "fault=drop_after", cache_ttl_s=LONG_S).error_kind == "in_doubt"
    assert bench.run(route, "fault=status status=400", cache_ttl_s=LONG_S).cache == "miss"
    assert bench.run(route, cache_ttl_s=LONG_S).cache == "miss"
    assert bench.run(route, cache_ttl_s=LONG_S).cache == "hit"


def test_streams_are_not_cached(bench: Bench) -> None:
    route = bench.route()
    for _ in range(2):
        assert bench.run(route, stream=True, cache_ttl_s=LONG_S).cache == "off"
    assert bench.executed() == 2


def test_clear(bench: Bench) -> None:
    route = bench.route()
    bench.engine.cache_clear()
    bench.run(route, cache_ttl_s=LONG_S)
    bench.engine.cache_clear()
    assert bench.run(route, cache_ttl_s=LONG_S).cache == "miss"


def flight(bench: Bench, count: int, words: str, **arguments: Any) -> list[Any]:
    """Calls that are the same, submitted while the first is on the wire."""
    route = bench.route()
    calls = [bench.submit(route, words, cache_ttl_s=LONG_S, **arguments)]
    wait_until(lambda: bench.requests() == 1)
    calls += [bench.submit(route, words, cache_ttl_s=LONG_S, **arguments) for _ in range(count - 1)]
    wait_until(lambda: bench.engine.stats()["flights_joined"] == count - 1)
    return calls


def test_single_flight(bench: Bench) -> None:
    calls = flight(bench, 10, "latency_ms=300")
    for call in calls:
        call.wait()
    assert [call.cache for call in calls] == ["miss"] + ["joined"] * 9
    assert {call.text for call in calls} == {calls[0].text}
    assert bench.executed() == 1
    assert calls[0].cost_nanousd > 0
    assert {call.cost_nanousd for call in calls[1:]} == {0}
    assert bench.books()["settle"] == calls[0].cost_nanousd


def test_the_leader_is_cancelled_and_the_flight_goes_on(bench: Bench) -> None:
    calls = flight(bench, 3, "latency_ms=400")
    assert calls[0].cancel()
    calls[0].wait()
    assert calls[0].error_kind == "cancelled"
    assert not calls[1].done
    for call in calls[1:]:
        call.wait()
        assert (call.ok, call.cache) == (True, "joined")
    assert bench.executed() == 1
    # Its scopes pay for what it started, as soon as that is known.
    entry = bench.books()
    assert entry["settle"] > 0
    assert "in_doubt" not in entry
    bench.check_money()


def test_the_flight_ends_with_its_last_waiter(bench: Bench) -> None:
    calls = flight(bench, 3, "latency_ms=60000")
    for call in calls:
        call.cancel()
    for call in calls:
        call.wait()
        assert call.error_kind == "cancelled"
    assert bench.books().keys() == {"reserve", "in_doubt"}
    assert sum(call.held_nanousd for call in calls) >= calls[0].ceiling_nanousd
    bench.check_money()


def test_what_the_provider_answered_goes_to_all(bench: Bench) -> None:
    calls = flight(bench, 4, "latency_ms=300 fault=drop_after")
    for call in calls:
        call.wait()
        assert (call.error_kind, call.outcome) == ("in_doubt", "in_doubt")
    assert [call.held_nanousd > 0 for call in calls] == [True, False, False, False]
    assert bench.executed() == 1
    bench.check_money()


def test_a_waiter_has_its_own_deadline(bench: Bench) -> None:
    route = bench.route()
    slow = bench.submit(route, "latency_ms=300", cache_ttl_s=LONG_S)
    hasty = bench.submit(route, "latency_ms=300", cache_ttl_s=LONG_S, timeout_s=0.05)
    hasty.wait()
    assert hasty.error_kind == "deadline_exceeded"
    assert hasty.held_nanousd == 0  # the leader's scopes pay
    slow.wait()
    assert slow.ok
    assert bench.executed() == 1


def test_the_leaders_own_refusal_promotes_the_next(bench: Bench) -> None:
    route = bench.route()
    full = bench.engine.open_scope("job", "full", 1)
    calls = bench.engine.submit_many(
        [
            (route, chat(), {"cache_ttl_s": LONG_S, "scopes": (full,), "timeout_s": WAIT_S}),
            (route, chat(), {"cache_ttl_s": LONG_S, "timeout_s": WAIT_S}),
            (route, chat(), {"cache_ttl_s": LONG_S, "timeout_s": WAIT_S}),
        ]
    )
    for call in calls:
        call.wait()
    assert [call.error_kind for call in calls] == ["budget_exceeded", "none", "none"]
    assert bench.executed() == 1


@pytest.mark.parametrize("count", [1, 50])
def test_gathered_twins_fly_once(count: int, bench: Bench) -> None:
    route = bench.route()

    async def main() -> list[Any]:
        return await asyncio.gather(
            *(bench.submit(route, cache_ttl_s=LONG_S) for _ in range(count))
        )

    calls = asyncio.run(main())
    assert all(call.ok for call in calls)
    assert bench.executed() == 1
