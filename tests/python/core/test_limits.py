"""Limits, pool, breaker, retries, deadlines and budgets, through the core against the simulator.

What each part computes is tested in C++ with a fake clock; here it is whether the core asks it,
at the right moment, and what a caller sees of it.
"""

from __future__ import annotations

import time

import pytest

from sluiceway import _core
from sluiceway.errors import BudgetConflict
from tests.python.core.conftest import MakeEngine
from tests.python.core.kit import (
    ACCOUNT,
    MODEL,
    PROVIDER,
    Bench,
    ceiling_nanousd,
    chat,
    wait_until,
)

SLOW = "latency_ms=60000"
RETRY = {"base_s": 0.001, "throttle_base_s": 0.001, "cap_s": 0.002}


def kinds_of(bench: Bench) -> list[str]:
    return [event["kind"] for event in bench.engine.events()]


class TestLimits:
    def test_a_wait_beyond_the_deadline_is_refused_at_once(self, bench: Bench) -> None:
        # 1 request in a burst, then 5 more in 60 s: the next comes after 12 s.
        route = bench.route(limits={"requests_per_minute": 6, "burst_requests": 1})
        assert bench.run(route).ok
        started = time.monotonic()
        call = bench.run(route, timeout_s=5.0)
        assert time.monotonic() - started < 2
        assert (call.error_kind, call.outcome, call.attempts) == ("limited", "never_sent", [])
        assert call.limit_refusal["dimension"] == "requests"
        assert 9 < call.limit_refusal["wait_s"] <= 12
        assert call.retry_after_s == call.limit_refusal["wait_s"]
        assert bench.executed() == 1
        assert bench.engine.stats()["refused_by_limits"] == 1
        assert "limit_refused" in kinds_of(bench)
        bench.check_money()

    def test_a_short_wait_is_waited(self, bench: Bench) -> None:
        # 1 in a burst, then 1,199 in 60 s: one each 50 ms.
        route = bench.route(limits={"requests_per_minute": 1200, "burst_requests": 1})
        calls = [bench.submit(route) for _ in range(4)]
        for call in calls:
            call.wait()
            assert call.ok
        assert max(call.queue_ms for call in calls) > 100
        assert bench.engine.limits(f"{PROVIDER}/{ACCOUNT}/{MODEL}")["waiting"] == 0
        assert "limit_wait" in kinds_of(bench)

    def test_concurrency(self, bench: Bench) -> None:
        route = bench.route(limits={"concurrency": 2}, group="two")
        calls = [bench.submit(route, "latency_ms=150") for _ in range(6)]
        wait_until(lambda: bench.requests() == 2)
        limits = bench.engine.limits("two")
        assert limits["in_flight"] == 2
        assert limits["waiting"] == 4
        for call in calls:
            call.wait()
            assert call.ok
        times = sorted(line["t"] for line in bench.simulator.log())
        assert times[2] - times[0] >= 0.12  # the third waited for the first to end
        assert bench.engine.limits("two")["in_flight"] == 0

    def test_a_group_is_shared_by_name(self, bench: Bench) -> None:
        one = bench.route(limits={"concurrency": 1}, group="g")
        two = bench.route(limits={"concurrency": 1}, group="g", account="b")
        free = bench.route(limits={"concurrency": 1}, group="h")
        first = bench.submit(one, SLOW)
        wait_until(lambda: bench.requests() == 1)
        second = bench.submit(two)
        assert bench.run(free).ok
        assert not second.done
        first.cancel()
        second.wait()
        assert second.ok

    def test_larger_than_any_window(self, bench: Bench) -> None:
        route = bench.route(limits={"input_tokens_per_minute": 50})
        call = bench.run(route, expected_prompt_tokens=51)
        assert (call.error_kind, call.outcome) == ("request_too_large", "never_sent")
        assert call.limit_refusal == {"dimension": "input_tokens", "wait_s": None}
        assert bench.run(route, expected_prompt_tokens=50).ok

    def test_an_unsent_call_gives_its_permits_back(self, bench: Bench) -> None:
        route = bench.route(limits={"requests_per_minute": 2, "burst_requests": 1}, group="g")
        full = bench.engine.open_scope("job", "full", 1)
        refused = bench.run(route, scopes=(full,))
        assert refused.error_kind == "budget_exceeded"
        assert bench.run(route, timeout_s=1.0).ok

    def test_a_429_freezes_the_group(self, bench: Bench) -> None:
        route = bench.route(limits={"concurrency": 100}, group="g", retry=RETRY | {"attempts": 1})
        words = "fault=status status=429 flavour=requests retry_after_s=30"
        first = bench.run(route, words)
        assert (first.error_kind, first.retry_after_s) == ("rate_limited", 30.0)
        second = bench.run(route, timeout_s=1.0)
        assert (second.error_kind, second.outcome) == ("limited", "never_sent")
        assert bench.requests() == 1
        assert "frozen" in kinds_of(bench)


class TestPool:
    def test_no_connection_in_time(self, bench: Bench, make_engine: MakeEngine) -> None:
        small = Bench(bench.simulator, make_engine(connections_max=1))
        route = small.route()
        first = small.submit(route, SLOW)
        wait_until(lambda: small.requests() == 1)
        second = small.run(route, pool_timeout_s=0.05)
        assert [attempt["failure"] for attempt in second.attempts] == ["pool_timeout"]
        assert (second.error_kind, second.outcome) == ("deadline_exceeded", "never_sent")
        assert (second.cost_nanousd, second.held_nanousd) == (0, 0)
        assert small.kinds(second) == ["reserve", "void"]
        first.cancel()
        first.wait()
        assert small.run(route).ok
        assert small.executed() == 2

    def test_calls_wait_for_a_connection(self, bench: Bench, make_engine: MakeEngine) -> None:
        small = Bench(bench.simulator, make_engine(connections_max=2))
        route = small.route()
        calls = [small.submit(route, "latency_ms=10") for _ in range(10)]
        for call in calls:
            call.wait()
            assert call.ok
        wait_until(lambda: small.engine.stats()["connections_opened"] >= 2)
        assert small.engine.stats()["connections_opened"] == 2


class TestBreaker:
    def test_opens_and_refuses(self, bench: Bench) -> None:
        route = bench.route(breaker={"failure_threshold": 3, "recovery_timeout_s": 30.0})
        for _ in range(3):
            assert bench.run(route, "fault=status status=500").outcome == "in_doubt"
        call = bench.run(route)
        assert (call.error_kind, call.outcome) == ("breaker_open", "never_sent")
        assert 20 < call.retry_after_s <= 30
        state = bench.engine.breaker(PROVIDER, ACCOUNT, MODEL)
        assert (state["state"], state["opened"], state["refused"]) == ("open", 1, 1)
        assert 20 < state["retry_in_s"] <= 30
        assert bench.requests() == 3
        assert bench.engine.stats()["refused_by_breaker"] == 1
        assert "breaker" in kinds_of(bench)
        bench.engine.reset_breaker(PROVIDER, ACCOUNT, MODEL)
        assert bench.run(route).ok

    def test_one_probe_closes_it(self, bench: Bench) -> None:
        route = bench.route(breaker={"failure_threshold": 1, "recovery_timeout_s": 0.05})
        bench.run(route, "fault=status status=500")
        assert bench.run(route).error_kind == "breaker_open"
        wait_until(lambda: bench.engine.breaker(PROVIDER, ACCOUNT, MODEL)["retry_in_s"] <= 0)
        probe = bench.submit(route, "latency_ms=50")
        wait_until(lambda: bench.requests() == 2)
        assert bench.run(route).error_kind == "breaker_open"  # exactly one at a time
        probe.wait()
        assert probe.ok
        assert bench.run(route).ok
        assert bench.engine.breaker(PROVIDER, ACCOUNT, MODEL)["probes"] == 1

    @pytest.mark.parametrize("failure", ["status=400", "status=429", "status=404"])
    def test_refusals_are_no_failures(self, failure: str, bench: Bench) -> None:
        route = bench.route(breaker={"failure_threshold": 2}, retry=RETRY | {"attempts": 1})
        for _ in range(5):
            assert bench.run(route, f"fault=status {failure}").outcome == "refused"
        assert bench.engine.breaker(PROVIDER, ACCOUNT, MODEL)["state"] == "closed"

    def test_a_wrong_key_opens_the_account(self, bench: Bench) -> None:
        route = bench.route(breaker={})
        other = bench.route(breaker={}, account="other")
        assert bench.run(route, "fault=status status=401").error_kind == "authentication"
        assert bench.run(route).error_kind == "breaker_open"
        assert bench.run(other).ok
        assert bench.engine.breaker(PROVIDER, ACCOUNT)["state"] == "open"
        bench.engine.reset_breaker(PROVIDER, ACCOUNT, None)
        assert bench.run(route).ok

    def test_by_command(self, bench: Bench) -> None:
        route = bench.route(breaker={})
        assert bench.run(route).ok
        bench.engine.reset_breaker(PROVIDER, ACCOUNT, MODEL, "forced_open")
        call = bench.run(route)
        assert (call.error_kind, call.retry_after_s) == ("breaker_open", None)
        bench.engine.reset_breaker(PROVIDER, ACCOUNT, MODEL, "disabled")
        for _ in range(7):
            bench.run(route, "fault=status status=500")
        assert bench.run(route).ok
        assert bench.engine.breaker("nobody", ACCOUNT, MODEL) == {}


class TestRetry:
    def test_until_it_works(self, bench: Bench) -> None:
        rule = {"match": {"nth": "1-2"}, "action": {"fault": "status", "status": 503}}
        bench.simulator.script([rule])
        call = bench.run(bench.route())
        assert call.ok
        assert [a["status_code"] for a in call.attempts] == [503, 503, 200]
        assert [a["number"] for a in call.attempts] == [1, 2, 3]
        assert bench.executions(call) == 1
        assert bench.kinds(call) == ["reserve", "settle"]  # one reservation spans all attempts
        assert kinds_of(bench) == ["retry", "retry"]
        assert bench.engine.stats()["retries"] == 2

    @pytest.mark.parametrize(("route_s", "call_s", "expected"), [(2, 0, 2), (5, 1, 1), (1, 4, 4)])
    def test_how_often(self, route_s: int, call_s: int, expected: int, bench: Bench) -> None:
        retry = RETRY | {"attempts": route_s, "budget_percent": 1000}
        call = bench.run(bench.route(retry=retry), "fault=status status=503", attempts=call_s)
        assert len(call.attempts) == expected
        assert call.error_kind == "overloaded"

    def test_retry_after_beyond_the_deadline_is_not_waited_for(self, bench: Bench) -> None:
        call = bench.run(bench.route(), "fault=status status=503 retry_after_s=60", timeout_s=5.0)
        assert len(call.attempts) == 1
        assert call.retry_after_s == 60.0

    def test_retry_after_is_obeyed(self, bench: Bench) -> None:
        action = {
            "fault": "status",
            "status": 503,
            "retry_after_s": 0.2,
            "retry_after_form": "ms",
        }
        bench.simulator.script([{"match": {"nth": 1}, "action": action}])
        call = bench.run(bench.route())
        assert call.ok
        first, second = (line["t"] for line in bench.simulator.log())
        assert second - first >= 0.2

    def test_the_retry_budget(self, bench: Bench) -> None:
        route = bench.route(retry=RETRY | {"budget_percent": 0})
        ends = [bench.run(route, "fault=status status=503") for _ in range(40)]
        # Without a percentage only the budget's floor is left, which is far below 2 each.
        assert sum(len(call.attempts) - 1 for call in ends) < 40

    def test_no_retry_after_the_first_delta(self, bench: Bench) -> None:
        call = bench.run(bench.route(), "fault=error_in_stream after_deltas=2", stream=True)
        assert (call.error_kind, len(call.attempts)) == ("stream_broken", 1)
        assert len(call.text.split()) == 2
        assert call.cost_source in ("none", "estimated")


class TestDeadlines:
    def test_one_deadline_for_all_attempts(self, bench: Bench) -> None:
        retry = {"attempts": 50, "base_s": 0.02, "cap_s": 0.02, "budget_percent": 1000}
        started = time.monotonic()
        words = "fault=status status=503 latency_ms=20"
        call = bench.run(bench.route(retry=retry), words, timeout_s=0.3)
        assert time.monotonic() - started < 2
        assert 1 < len(call.attempts) < 50
        assert not call.ok

    def test_activity_moves_the_read_timeout(self, bench: Bench) -> None:
        # 40 tokens, one each 10 ms: 400 ms in all, and never silent for 200 ms.
        call = bench.run(
            bench.route(), "output_tokens=40 token_ms=10", stream=True, read_timeout_s=0.2
        )
        assert call.ok
        assert call.usage["output"] == 40


class TestBudgets:
    def test_a_full_scope_refuses(self, bench: Bench) -> None:
        ceiling = ceiling_nanousd(chat())
        route = bench.route()
        scope = bench.engine.open_scope("job", "1", ceiling + ceiling // 2)
        slow = bench.submit(route, SLOW, scopes=(scope,))
        wait_until(lambda: bench.requests() == 1)
        call = bench.run(route, scopes=(scope,))
        assert (call.error_kind, call.outcome, call.attempts) == (
            "budget_exceeded",
            "never_sent",
            [],
        )
        assert call.budget_refusal == {
            "scope": "job:1",
            "limit": ceiling + ceiling // 2,
            "settled": 0,
            "held": ceiling,
            "in_doubt": 0,
            "amount": ceiling,
            "blocked": False,
        }
        assert bench.requests() == 1
        slow.cancel()
        slow.wait()
        bench.check_money()

    def test_on_exceed_wait(self, bench: Bench) -> None:
        ceiling = ceiling_nanousd(chat())
        route = bench.route()
        scope = bench.engine.open_scope("job", "1", ceiling + ceiling // 2)
        first = bench.submit(route, "latency_ms=50", scopes=(scope,))
        second = bench.run(route, scopes=(scope,), on_exceed="wait")
        assert second.ok
        assert first.done
        third = bench.submit(route, SLOW, scopes=(scope,), on_exceed="wait")
        wait_until(lambda: bench.requests() == 3)
        late = bench.run(route, scopes=(scope,), on_exceed="wait", timeout_s=0.1)
        assert (late.error_kind, late.outcome) == ("budget_exceeded", "never_sent")
        third.cancel()
        third.wait()

    def test_all_scopes_or_none(self, bench: Bench) -> None:
        large = bench.engine.open_scope("job", "large", 10**12)
        small = bench.engine.open_scope("job", "small", 1)
        call = bench.run(bench.route(), scopes=(large, small))
        assert call.budget_refusal["scope"] == "job:small"
        balance = large.balance()
        assert (balance["settled"], balance["held"], balance["in_doubt"]) == (0, 0, 0)
        assert bench.requests() == 0

    def test_a_scope_never_passes_its_limit(self, bench: Bench) -> None:
        ceiling = ceiling_nanousd(chat())
        scope = bench.engine.open_scope("job", "1", 10 * ceiling)
        route = bench.route()
        calls = [bench.submit(route, scopes=(scope,)) for _ in range(300)]
        for call in calls:
            call.wait()
        assert {call.error_kind for call in calls} == {"none", "budget_exceeded"}
        assert bench.books()["settle"] == scope.balance()["settled"] <= 10 * ceiling
        assert bench.executed() == sum(call.ok for call in calls)
        bench.check_money()

    def test_an_overrun_is_recorded_and_blocks(self, bench: Bench) -> None:
        body = chat("x" * 8) | {"max_completion_tokens": 4}
        scope = bench.engine.open_scope("job", "1", 10**12)
        call = bench.run(
            bench.route(), "overrun_tokens=900", body=body, max_output_tokens=4, scopes=(scope,)
        )
        assert call.ok
        assert call.cost_nanousd > call.ceiling_nanousd
        assert "overrun" in kinds_of(bench)
        assert bench.engine.flush()
        balance = scope.balance()
        assert (balance["settled"], balance["blocked"]) == (call.cost_nanousd, True)
        assert bench.run(bench.route(), scopes=(scope,)).error_kind == "budget_exceeded"

    def test_a_stated_cap(self, bench: Bench) -> None:
        scope = bench.engine.open_scope("job", "1", 10**12)
        call = bench.run(bench.route(sheet=None), cap_nanousd=777, scopes=(scope,))
        # Without a price the true cost is unknown: the cap stays held.
        assert (call.ceiling_nanousd, call.held_nanousd) == (777, 777)
        assert call.cost_nanousd is None
        bench.check_money()

    def test_doubt_is_resolved_by_hand(self, bench: Bench) -> None:
        scope = bench.engine.open_scope("job", "1", 10**12)
        call = bench.run(bench.route(), "fault=drop_after", scopes=(scope,))
        assert bench.engine.flush()
        assert scope.balance()["in_doubt"] == call.ceiling_nanousd
        bench.engine.ledger_resolve(call.call_id, 1234, "the provider's bill")
        balance = scope.balance()
        assert (balance["settled"], balance["held"], balance["in_doubt"]) == (1234, 0, 0)
        assert bench.engine.ledger_holds() == []
        bench.check_money()

    def test_scopes_persist_by_name(self, bench: Bench) -> None:
        bench.engine.open_scope("video", "42", 100)
        assert bench.engine.open_scope("video", "42", 100).name == "video:42"
        with pytest.raises(BudgetConflict):
            bench.engine.open_scope("video", "42", 200)
        assert bench.engine.open_scope("video", "42", 200, replace=True).balance()["limit"] == 200

    def test_quote_is_the_ceiling(self, bench: Bench) -> None:
        route = bench.route()
        quote = bench.engine.quote(
            route,
            chat(),
            max_output_tokens=64,
            expected_prompt_tokens=10,
            expected_output_tokens=5,
        )
        call = bench.run(route)
        assert quote["ceiling"] == call.ceiling_nanousd == ceiling_nanousd(chat())
        assert quote["expected"] == 10 * 2_000 + 5 * 8_000
        assert quote["low"] <= quote["expected"] <= quote["ceiling"]
        assert quote["price_version"] == "by-hand"
        assert quote["prompt_tokens_max"] == len(_core.json_bytes(chat()))
        allowed = bench.run(route, prompt_allowance=100)
        assert allowed.ceiling_nanousd == ceiling_nanousd(chat()) + 100 * 2_000
