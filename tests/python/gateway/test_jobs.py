"""Jobs: their money lives as long as they do, and what they cost is what the provider charged."""

from __future__ import annotations

import asyncio
import os
import subprocess
import sys
import textwrap
from collections.abc import Callable
from decimal import Decimal
from pathlib import Path

import pytest

from sluiceway import (
    AuthenticationFailed,
    BudgetExceeded,
    DeadlineExceeded,
    Gateway,
    InDoubt,
    InvalidRequest,
    InvalidType,
    UnknownJob,
    WrongKey,
)
from sluiceway.jobs import Progress
from sluiceway.simulator import Simulator

MakeGateway = Callable[..., Gateway]
MODEL = "anthropic/claude-haiku-4-5"
FAILING = "[[simulator: fault=status]] a river"


def slow(looks: int) -> list[dict[str, object]]:
    return [{"match": {"provider": "anthropic"}, "action": {"batch_looks": looks}}]


def billed(sim: Simulator) -> int:
    return int(sim.bill()["total_nanousd"])


def test_a_batch_costs_what_the_provider_charges(gw: Gateway, sim: Simulator) -> None:
    sim.script(slow(1))
    with gw.budget("job:1", usd="1.00") as budget:
        job = gw.batch(MODEL, ["Name a river", FAILING, "Name a lake"], max_output_tokens=50)
        assert (job.state, job.model, job.cost) == ("running", MODEL, None)
        assert budget.held == job.ceiling > 0
        assert not job.poll()
        assert budget.held == job.ceiling
        assert budget.spent == 0
        assert billed(sim) == 0
        seen: list[Progress] = []
        assert job.wait(poll_s=0.001, on_progress=seen.append) is job
        assert (seen[-1].done, seen[-1].total) == (3, 3)
        assert budget.held == 0
        assert budget.spent == job.cost
    assert job.state == "ended"
    results = job.results()
    assert [item.kind for item in results] == ["succeeded", "errored", "succeeded"]
    assert [item.ok for item in results] == [True, False, True]
    assert results[1].cost == 0
    assert results[1].error
    assert results[0].text
    # Haiku 4.5 costs $1 in and $5 out, a batch half of it: by the counts of the answer.
    usage = results[0].usage
    assert usage.input_tokens is not None
    assert usage.output_tokens is not None
    nano = usage.input_tokens * 500 + usage.output_tokens * 2_500
    assert results[0].cost == Decimal(nano).scaleb(-9)
    assert sum(item.cost for item in results) == job.cost
    assert job.cost is not None
    assert int(job.cost.scaleb(9)) == billed(sim)
    assert gw.ledger.verify()["ok"]
    assert gw.ledger.holds() == []
    (settled,) = (e for e in gw.ledger.entries() if e["kind"] == "settle")
    assert settled["price_version"].startswith(f"{MODEL}@")


def test_it_goes_on_after_a_restart(
    make_gateway: MakeGateway, sim: Simulator, tmp_path: Path
) -> None:
    sim.script(slow(1))
    ledger = {"path": str(tmp_path / "l.db"), "durability": "process"}
    first = make_gateway(ledger=ledger)
    with first.budget("job:2", usd="1.00"):
        started = first.batch(MODEL, ["a", "b"], max_output_tokens=20)
    assert not started.poll()
    first.close()
    second = make_gateway(ledger=ledger)
    job = second.job(started.id)
    assert second.job(started.provider_job_id).id == job.id
    assert [one.id for one in second.jobs("running")] == [job.id]
    # Nobody's death ended its hold.
    assert second.budget("job:2").balance.in_doubt == 0
    assert second.budget("job:2").held == job.ceiling
    job.wait(poll_s=0.001)
    assert job.cost is not None
    assert second.budget("job:2").spent == job.cost
    assert int(job.cost.scaleb(9)) == billed(sim)
    assert second.jobs("running") == []
    assert [one.cost for one in second.jobs("ended")] == [job.cost]
    assert second.ledger.verify()["ok"]


def test_a_crash_before_its_row_leaves_it_in_doubt(
    make_gateway: MakeGateway, sim: Simulator, tmp_path: Path
) -> None:
    ledger = tmp_path / "l.db"
    script = f"""
        import json, os, types
        from sluiceway import Gateway, _job_steps
        _job_steps.json = types.SimpleNamespace(dumps=lambda *a, **k: os._exit(9))
        gw = Gateway({{"ledger": {{"path": {str(ledger)!r}, "durability": "process"}}}})
        with gw.budget("job:3", usd="1.00"):
            gw.batch({MODEL!r}, ["a"], max_output_tokens=20)
    """
    done = subprocess.run(
        [sys.executable, "-c", textwrap.dedent(script)],
        env={**os.environ, "SLUICEWAY_SIMULATOR_URL": sim.http_url},
        check=False,
        timeout=60,
    )
    assert done.returncode == 9
    gw = make_gateway(ledger={"path": str(ledger), "durability": "process"})
    budget = gw.budget("job:3")
    assert budget.in_doubt > 0
    assert gw.jobs() == []
    assert gw.ledger.verify()["ok"]


def test_it_belongs_to_the_key_that_made_it(
    make_gateway: MakeGateway,
    sim: Simulator,
    monkeypatch: pytest.MonkeyPatch,
    tmp_path: Path,
) -> None:
    monkeypatch.delenv("SLUICEWAY_SIMULATOR_URL")
    monkeypatch.setenv("SLUICEWAY_ANTHROPIC_BASE_URL", sim.http_url + "/anthropic")
    monkeypatch.setenv("ANTHROPIC_API_KEY", "first-key-not-a-secret")
    ledger = {"path": str(tmp_path / "l.db"), "durability": "process"}
    gw = make_gateway(ledger=ledger)
    job = gw.batch(MODEL, ["a"], max_output_tokens=20)
    monkeypatch.setenv("ANTHROPIC_API_KEY", "other-key-not-a-secret")
    other = make_gateway(ledger=ledger)
    before = len(sim.log())
    for attempt in (other.job(job.id).poll, other.job(job.id).cancel):
        with pytest.raises(WrongKey, match="another key of anthropic"):
            attempt()
    assert len(sim.log()) == before
    with monkeypatch.context() as first_key:
        first_key.setenv("ANTHROPIC_API_KEY", "first-key-not-a-secret")
        assert job.poll()
    assert other.job(job.id).state == "ended"
    with pytest.raises(WrongKey):
        other.job(job.id).results()


def test_two_processes_find_it_ended_and_it_is_settled_once(
    make_gateway: MakeGateway, sim: Simulator, tmp_path: Path
) -> None:
    ledger = {"path": str(tmp_path / "l.db"), "durability": "process"}
    gw, other = make_gateway(ledger=ledger), make_gateway(ledger=ledger)
    mine = gw.batch(MODEL, ["a", "b"], max_output_tokens=20)
    theirs = other.job(mine.id)  # both hold the row as it was while it ran
    assert mine.poll()
    assert theirs.poll()
    assert mine.cost == theirs.cost is not None
    settled = [entry for entry in gw.ledger.entries() if entry["kind"] == "settle"]
    assert [entry["amount_nanousd"] for entry in settled] == [billed(sim)]
    assert gw.ledger.verify()["ok"]


def test_a_wait_ends_at_its_deadline_and_the_job_goes_on(gw: Gateway, sim: Simulator) -> None:
    sim.script(slow(3))
    job = gw.batch(MODEL, ["a"], max_output_tokens=20)
    with pytest.raises(DeadlineExceeded, match="goes on"):
        job.wait(timeout_s=0)
    assert job.state == "running"
    assert job.wait(poll_s=0.001).cost == Decimal(billed(sim)).scaleb(-9)


def test_cancelling_costs_nothing_that_was_not_done(gw: Gateway, sim: Simulator) -> None:
    sim.script(slow(100))
    job = gw.batch(MODEL, ["a", "b"], max_output_tokens=20)
    job.cancel()
    job.wait(poll_s=0.001)
    assert job.cost == 0
    assert [item.kind for item in job.results()] == ["canceled", "canceled"]
    assert gw.ledger.holds() == []


def test_what_is_not_taken_holds_nothing(gw: Gateway, sim: Simulator) -> None:
    sim.script([{"match": {"provider": "anthropic"}, "action": {"fault": "status", "status": 401}}])
    with gw.budget("job:4", usd="1.00") as budget:
        with pytest.raises(AuthenticationFailed):
            gw.batch(MODEL, ["a"], max_output_tokens=20)
        assert budget.held == budget.in_doubt == budget.spent == 0
        assert gw.jobs() == []


def test_taken_and_then_silent_is_in_doubt(gw: Gateway, sim: Simulator) -> None:
    sim.script([{"match": {"provider": "anthropic"}, "action": {"fault": "drop_after"}}])
    with gw.budget("job:5", usd="1.00") as budget:
        with pytest.raises(InDoubt):
            gw.batch(MODEL, ["a"], max_output_tokens=20)
        assert budget.in_doubt > 0


def test_a_batch_beyond_its_budget_is_not_sent(gw: Gateway, sim: Simulator) -> None:
    with gw.budget("job:6", usd="0.0001"), pytest.raises(BudgetExceeded):
        gw.batch(MODEL, ["a"] * 10, max_output_tokens=4_000)
    assert sim.log() == []


def test_the_ceiling_is_the_sum_at_half_price(gw: Gateway) -> None:
    one = gw.estimate.chat(MODEL, "a", max_output_tokens=20).ceiling
    job = gw.batch(MODEL, ["a"] * 4, max_output_tokens=20)
    # Rounded up a prompt, so at most a few nano-dollars above half.
    assert 2 * one <= job.ceiling <= 2 * one + Decimal(40).scaleb(-9)


@pytest.mark.parametrize(
    ("model", "prompts", "kind"),
    [
        (MODEL, "one text", InvalidType),
        (MODEL, [], InvalidRequest),
        ("openai/gpt-4o-mini", ["a"], InvalidRequest),
        (MODEL, [7], InvalidType),
    ],
)
def test_bad_input(
    gw: Gateway, sim: Simulator, model: str, prompts: object, kind: type[Exception]
) -> None:
    with pytest.raises(kind):
        gw.batch(model, prompts)  # type: ignore[arg-type]
    assert sim.log() == []


def test_unknown_jobs_and_early_results(gw: Gateway, sim: Simulator) -> None:
    with pytest.raises(UnknownJob, match=r"gw\.jobs"):
        gw.job("msgbatch_nobody")
    with pytest.raises(InvalidRequest, match="running"):
        gw.jobs("sleeping")
    sim.script(slow(9))
    with pytest.raises(InvalidRequest, match="has not ended"):
        gw.batch(MODEL, ["a"], max_output_tokens=20).results()


def test_the_async_twin(gw: Gateway, sim: Simulator) -> None:
    sim.script(slow(2))

    async def main() -> None:
        job = await gw.aio.batch(MODEL, ["a", FAILING], max_output_tokens=20)
        assert not await job.poll()
        assert await job.wait(poll_s=0.001) is job
        assert [item.ok for item in await job.results()] == [True, False]
        assert gw.aio.job(job.id).cost == job.cost == Decimal(billed(sim)).scaleb(-9)

    asyncio.run(main())


CODE: list[dict[str, str]] = [{"type": "code_execution_20250825", "name": "code_execution"}]


def test_a_cap_of_nothing_lets_only_what_is_free_through(gw: Gateway, sim: Simulator) -> None:
    """As for a single call: a batch that is reserved at $0 would count as nothing."""
    for tools in (CODE, None):
        with pytest.raises(InvalidRequest, match="max_cost_usd") as one:
            gw.chat(MODEL, "a", max_output_tokens=20, max_cost_usd="0", tools=tools)
        with pytest.raises(InvalidRequest, match="max_cost_usd") as many:
            gw.batch(MODEL, ["a", "b"], max_output_tokens=20, max_cost_usd="0", tools=tools)
        assert ("state a cap above 0" in one.value.message) == (
            "state a cap above 0" in many.value.message
        )
    assert gw.ledger.entries() == []
    assert sim.executions()["total"] == 0


def test_a_cap_above_the_ceiling_is_not_what_is_held(gw: Gateway) -> None:
    """Bounded and priced, a batch holds what it can cost; a cap below that refuses it."""
    plain = gw.batch(MODEL, ["a", "b"], max_output_tokens=20).ceiling
    assert gw.batch(MODEL, ["a", "b"], max_output_tokens=20, max_cost_usd="1").ceiling == plain
    below = plain - Decimal("0.000000001")
    with pytest.raises(InvalidRequest, match="this batch may cost up to"):
        gw.batch(MODEL, ["a", "b"], max_output_tokens=20, max_cost_usd=below)


def test_what_the_usage_does_not_tell_is_not_priced_by_it(gw: Gateway, sim: Simulator) -> None:
    """A code container's time is billed and not in the answer: such items cost their share."""
    job = gw.batch(MODEL, ["a", "b"], max_output_tokens=20, tools=CODE, max_cost_usd="0.10")
    assert job.ceiling == Decimal("0.10")
    job.wait(poll_s=0.001)
    assert job.cost == Decimal("0.10")
    assert [item.cost for item in job.results()] == [Decimal("0.05")] * 2
    (settled,) = (e for e in gw.ledger.entries() if e["kind"] == "settle")
    assert "2 items at their ceilings" in settled["evidence"]
    # Searches are counted, and only a cap lets them through: these are priced.
    search = [{"type": "web_search_20250305", "name": "web_search"}]
    told = gw.batch(MODEL, ["a"], max_output_tokens=20, tools=search, max_cost_usd="0.10")
    told.wait(poll_s=0.001)
    assert told.cost is not None
    assert 0 < told.cost < Decimal("0.01")
