"""Budgets against a naive ledger in plain Python: nested scopes, refusals, doubts, restarts.

Model: the naive ledger is a dictionary of scopes with a limit, what was settled and what is in
doubt. The real one is a SQLite file behind the public gateway, which calls the simulator in this
process. A call's ceiling is the gateway's own quote, its cost is what the simulator billed; whether
it is admitted is worked out here. Calls come alone and as a burst from threads, gateways are closed
and opened again on the file, limits are raised, doubts are resolved. After every step the balances
of all scopes are equal, and at the end the replay of the ledger says so too.
"""

from __future__ import annotations

import itertools
import shutil
import tempfile
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack
from dataclasses import dataclass
from decimal import Decimal
from typing import Any

from hypothesis import strategies as st
from hypothesis.stateful import (
    RuleBasedStateMachine,
    initialize,
    invariant,
    precondition,
    rule,
    run_state_machine_as_test,
)

from sluiceway import BudgetExceeded, Gateway, SluicewayError
from sluiceway.money import nanousd_of
from sluiceway.simulator import Simulator
from tests.python.machines.profile import sized

MODEL = "openai/gpt-4o-mini"
SCOPES = ("account:7", "video:1", "video:2", "team:red")
MAX_OUTPUT_TOKENS = 64
IN_DOUBT = ("drop_after", "drop_before", "bad_json", "cut_body")
scope_sets = st.lists(st.sampled_from(SCOPES), unique=True, max_size=3)


def usd(nanousd: int) -> Decimal:
    """An amount as the gateway takes it."""
    return Decimal(nanousd) / 10**9


@dataclass
class Naive:
    """A scope as anybody would keep it."""

    limit: int
    settled: int = 0
    in_doubt: int = 0

    def fits(self, amount: int) -> bool:
        """The rule."""
        return self.settled + self.in_doubt + amount <= self.limit


class BudgetMachine(RuleBasedStateMachine):
    """One ledger file over several gateways, and its naive twin."""

    simulator: Simulator  # set by the test

    @initialize(limits=st.lists(st.integers(0, 12), min_size=4, max_size=4))
    def open(self, limits: list[int]) -> None:
        """Limits in ceilings of a call, so that many of them are reached."""
        self.simulator.reset()
        self.folder = tempfile.mkdtemp(prefix="sluiceway-machine-")
        self.gateway = self.new_gateway()
        self.prompts = (f"call {n}" for n in itertools.count())
        self.ceiling = self.quote("call 0")
        self.scopes = {
            name: Naive(count * self.ceiling + count)
            for name, count in zip(SCOPES, limits, strict=True)
        }
        self.enter_all()
        self.doubts: dict[str, tuple[list[str], int]] = {}  # call -> scopes, held

    def new_gateway(self) -> Gateway:
        """A gateway on the file, without breakers, which are not the matter here."""
        return Gateway(
            {
                "ledger": {"path": f"{self.folder}/books.db", "durability": "process"},
                "breakers": {"openai": {"enabled": False}},
            }
        )

    def quote(self, prompt: str) -> int:
        """The ceiling of a call."""
        quoted = self.gateway.estimate.chat(MODEL, prompt, max_output_tokens=MAX_OUTPUT_TOKENS)
        return nanousd_of(quoted.ceiling)

    def enter_all(self) -> None:
        """Entering again continues."""
        self.budgets = {
            name: self.gateway.budget(name, usd(scope.limit)) for name, scope in self.scopes.items()
        }

    def ask(
        self, scopes: list[str], prompt: str, **words: object
    ) -> tuple[Any, SluicewayError | None]:
        """One call in these scopes: its answer, or its error."""
        text = " ".join(f"{key}={value}" for key, value in words.items())
        with ExitStack() as stack:
            for name in scopes:
                stack.enter_context(self.budgets[name])
            try:
                answer = self.gateway.chat(
                    MODEL, f"{prompt}[[simulator: {text}]]", max_output_tokens=MAX_OUTPUT_TOKENS
                )
            except SluicewayError as error:
                return None, error
        return answer, None

    def is_justified(self, error: SluicewayError | None) -> bool:
        """Whether a scope refused that has no room for the ceiling."""
        return isinstance(error, BudgetExceeded) and not self.scopes[error.scope].fits(
            nanousd_of(error.would_cost)
        )

    def billed(self) -> int:
        """What the provider has charged since the last look."""
        total = int(self.simulator.bill()["total_nanousd"])
        before, self.bill_before = getattr(self, "bill_before", 0), total
        return total - before

    @rule(scopes=scope_sets, output_tokens=st.integers(0, MAX_OUTPUT_TOKENS))
    def call(self, scopes: list[str], output_tokens: int) -> None:
        """A call that is answered, or refused by the first scope that has no room."""
        self.billed()
        answer, error = self.ask(scopes, next(self.prompts), output_tokens=f"{output_tokens:02}")
        cost = self.billed()
        if error is not None:
            assert self.is_justified(error), error
            assert cost == 0
            return
        assert answer.cost.nanousd == cost
        for name in scopes:
            assert self.scopes[name].fits(cost)
            self.scopes[name].settled += cost

    @rule(scopes=scope_sets, fault=st.sampled_from(IN_DOUBT))
    def call_in_doubt(self, scopes: list[str], fault: str) -> None:
        """A call whose end is unknown keeps its money."""
        _, error = self.ask(scopes, next(self.prompts), fault=fault)
        assert error is not None, f"{fault} was not noticed"
        if self.is_justified(error):
            return
        held = nanousd_of(error.held)
        assert held > 0, error
        for name in scopes:
            assert self.scopes[name].fits(held)
            self.scopes[name].in_doubt += held
        self.doubts[error.call_id] = (scopes, held)

    @rule(scopes=scope_sets, count=st.integers(2, 12))
    def burst(self, scopes: list[str], count: int) -> None:
        """Calls at once: what is admitted fits in the end as well."""
        self.billed()
        prompt = next(self.prompts)
        with ThreadPoolExecutor(count) as pool:
            ends = list(
                pool.map(
                    lambda _: self.ask(scopes, prompt, output_tokens=8, latency_ms=2), range(count)
                )
            )
        costs = [answer.cost.nanousd for answer, error in ends if error is None]
        assert all(isinstance(error, BudgetExceeded | None) for _, error in ends)
        assert sum(costs) == self.billed()
        for name in scopes:
            assert not costs or self.scopes[name].fits(sum(costs))
            self.scopes[name].settled += sum(costs)

    @precondition(lambda self: bool(getattr(self, "doubts", None)))
    @rule(data=st.data(), share=st.integers(0, 4))
    def resolve(self, data: st.DataObject, share: int) -> None:
        """An operator has the provider's bill."""
        call_id = data.draw(st.sampled_from(sorted(self.doubts)))
        scopes, held = self.doubts.pop(call_id)
        amount = held * share // 4
        self.gateway.ledger.resolve(call_id, usd=usd(amount), evidence="by hand")
        for name in scopes:
            self.scopes[name].in_doubt -= held
            self.scopes[name].settled += amount

    @rule(name=st.sampled_from(SCOPES), calls=st.integers(0, 6))
    def another_limit(self, name: str, calls: int) -> None:
        """A limit is raised, or lowered even below what is used."""
        self.scopes[name].limit = calls * self.ceiling
        self.budgets[name] = self.gateway.budget(name, usd(calls * self.ceiling), replace=True)

    @rule()
    def restart(self) -> None:
        """The next process finds everything."""
        self.gateway.close()
        self.gateway = self.new_gateway()
        self.enter_all()

    @invariant()
    def balances_are_equal(self) -> None:
        """Both keep the same books."""
        if not hasattr(self, "doubts"):
            return
        assert self.gateway.flush()
        for name, naive in self.scopes.items():
            balance = self.budgets[name].balance
            shown = [nanousd_of(x) for x in (balance.spent, balance.held, balance.in_doubt)]
            assert shown == [naive.settled, 0, naive.in_doubt], name
            assert nanousd_of(balance.limit or 0) == naive.limit

    def teardown(self) -> None:
        """The replay agrees."""
        if not hasattr(self, "doubts"):
            return
        report = self.gateway.ledger.verify()
        self.gateway.close()
        shutil.rmtree(self.folder)
        assert report["ok"], report
        assert report["in_doubt"] == len(self.doubts)


def test_budgets_are_the_naive_ones(sim: Simulator) -> None:
    BudgetMachine.simulator = sim
    run_state_machine_as_test(BudgetMachine, settings=sized(20, 20))
