"""Retries against a naive rule, through the gateway and the simulator of this process.

Model: a call is a list of what the provider does to its first, second, third attempt. The naive
rule walks it: a refusal that time may cure (429, 503 with the provider's own body) is sent again
while attempts are left; everything else ends the call. What reached the provider, what it executed
and billed, what the caller was told and what the ledger says must be what the walk says. One
gateway lives through an example, so its books are checked over many calls.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from hypothesis import strategies as st
from hypothesis.stateful import (
    RuleBasedStateMachine,
    initialize,
    invariant,
    rule,
    run_state_machine_as_test,
)

from sluiceway import Gateway, SluicewayError, errors
from sluiceway.money import nanousd_of
from sluiceway.simulator import Simulator
from tests.python.machines.profile import sized

MODEL = "openai/gpt-4o-mini"
PROMPT = "abcdefgh"  # 5 prompt tokens of 150 nano-dollars, with what a message costs
COST = 5 * 150 + 16 * 600
ATTEMPTS = 3


@dataclass(frozen=True)
class Fate:
    """What the provider does to one attempt, and what that means."""

    action: dict[str, Any]
    again: bool = False  # may be sent again
    billed: bool = False
    error: type[SluicewayError] | None = None
    books: str = "void"  # how the call ends if this was its last attempt


def status(code: int, **more: object) -> dict[str, Any]:
    """The provider's own error, without a Retry-After."""
    return {"fault": "status", "status": code, "retry_after_form": "none", **more}


FATES = {
    "answers": Fate({}, billed=True, books="settle"),
    "429": Fate(status(429), again=True, error=errors.RateLimited),
    "503": Fate(status(503), again=True, error=errors.Overloaded),
    "400": Fate(status(400), error=errors.BadRequest),
    "500": Fate(status(500, executed=False), error=errors.InDoubt, books="in_doubt"),
    "500 billed": Fate(
        status(500, executed=True, bill="full"),
        billed=True,
        error=errors.InDoubt,
        books="in_doubt",
    ),
    "drop before": Fate({"fault": "drop_before"}, error=errors.InDoubt, books="in_doubt"),
    "drop after": Fate(
        {"fault": "drop_after"}, billed=True, error=errors.InDoubt, books="in_doubt"
    ),
    "cut": Fate({"fault": "cut_body"}, billed=True, error=errors.InDoubt, books="in_doubt"),
    "not JSON": Fate(
        {"fault": "bad_json"}, billed=True, error=errors.InvalidResponse, books="in_doubt"
    ),
}


def walk(fates: list[str]) -> tuple[int, Fate]:
    """How many attempts the provider sees, and the fate of the last."""
    for number, name in enumerate(fates, start=1):
        if not FATES[name].again or number == ATTEMPTS:
            return number, FATES[name]
    raise AssertionError("a fate for every attempt")


class RetryMachine(RuleBasedStateMachine):
    """One gateway, and the sums of a naive reader of its calls."""

    simulator: Simulator  # set by the test

    @initialize()
    def open(self) -> None:
        """Quick retries without a budget of their own, and no breaker in the way."""
        self.simulator.reset()
        self.gateway = Gateway(
            {
                "ledger": {"path": ":memory:", "durability": "memory"},
                "retries": {
                    "openai": {
                        "attempts": ATTEMPTS,
                        "base_s": 0.0005,
                        "throttle_base_s": 0.0005,
                        "cap_s": 0.001,
                        "budget_percent": 1000,
                    }
                },
                "breakers": {"openai": {"enabled": False}},
            }
        )
        self.requests = self.executions = self.bill = 0
        self.ends: dict[str, str] = {}

    @rule(fates=st.lists(st.sampled_from(sorted(FATES)), min_size=3, max_size=3))
    def call(self, fates: list[str]) -> None:
        """One call whose attempts meet these fates."""
        self.simulator.script(
            [
                {"match": {"attempt": [n, n]}, "action": FATES[name].action}
                for n, name in enumerate(fates, start=1)
            ]
        )
        attempts, last = walk(fates)
        told = self.ask()
        if isinstance(told, SluicewayError):
            assert isinstance(told, last.error or ()), f"{fates}: {told!r}"
            assert (nanousd_of(told.held) > 0) == (last.books == "in_doubt")
            assert told.retryable == last.again
        else:
            assert last.error is None, fates
            assert told.cost.nanousd == COST
        assert len(told.attempts) == attempts
        self.requests += attempts
        self.executions += last.billed
        self.bill += COST * last.billed
        self.ends[told.call_id] = last.books

    def ask(self) -> Any:
        """What the caller gets: an answer, or an error."""
        try:
            return self.gateway.chat(MODEL, PROMPT, max_output_tokens=16)
        except SluicewayError as error:
            return error

    @invariant()
    def the_provider_saw_what_the_rule_says(self) -> None:
        """Requests, executions and the bill."""
        if not hasattr(self, "ends"):
            return
        assert len(self.simulator.log()) == self.requests
        assert self.simulator.executions()["total"] == self.executions
        assert self.simulator.bill()["total_nanousd"] == self.bill

    def teardown(self) -> None:
        """The books: each call reserved once and ended as the rule says."""
        if not hasattr(self, "ends"):
            return
        assert self.gateway.flush()
        kinds: dict[str, list[str]] = {}
        for entry in self.gateway.ledger.entries():
            kinds.setdefault(entry["call_id"], []).append(entry["kind"])
        report = self.gateway.ledger.verify()
        self.gateway.close()
        assert report["ok"], report
        assert kinds == {call: ["reserve", end] for call, end in self.ends.items()}


def test_retries_follow_the_naive_rule(sim: Simulator) -> None:
    RetryMachine.simulator = sim
    run_state_machine_as_test(RetryMachine, settings=sized(20, 15))


def test_the_rule_by_hand() -> None:
    assert walk(["429", "503", "answers"]) == (3, FATES["answers"])
    assert walk(["429", "drop before", "answers"]) == (2, FATES["drop before"])
    assert walk(["429", "429", "429"]) == (3, FATES["429"])
    assert walk(["500", "answers", "answers"])[0] == 1
