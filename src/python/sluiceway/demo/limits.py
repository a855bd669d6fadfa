"""The demo's configuration: per-minute limits, breakers, retries, an hourly and per-job budgets.

Model: everything is sized from the plan, so that any trace meets limits that now and then make a
call wait, an hour that has room and jobs of which some run out. A per-minute limit R admits at once
a tenth of it (requests) or half of it (tokens) and the rest over the minute (limits/limit_group.h);
the demo lasts less than a minute, and R is chosen for that. Budgets come from quotes: the gateway's
own dry run prices a token of each model once, and a job's expected cost is a sum of these.

Money is integer nano-dollars. Sends nothing.

    config = demo_config(plan, Path("build/demo/ledger.db"), "power")
"""

from __future__ import annotations

import random
from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from sluiceway.demo.workload import MODELS, Plan, PlannedCall
from sluiceway.gateway import Gateway
from sluiceway.money import nanousd_of, usd_of

TIMEOUT_S = 20.0
READ_TIMEOUT_S = 4.0  # the longest silence: what ends a stalled call
CACHE_TTL_S = 600.0
CONCURRENCY = 48  # calls in flight, a model
RECOVERY_TIMEOUT_S = 0.8
SHORT_JOBS = 4  # one job in so many gets less than it needs
_BYTES_PER_TOKEN = 4
_PER_MILLION = 1_000_000


def demo_config(plan: Plan, ledger: Path, durability: str, hour_nanousd: int) -> dict[str, Any]:
    """The gateway's tables. Keys and addresses are the simulator's, from the environment given."""
    breaker = {"failure_threshold": 5, "recovery_timeout_s": RECOVERY_TIMEOUT_S}
    retry = {"base_s": 0.1, "throttle_base_s": 0.2, "cap_s": 2.0}
    providers = {model.partition("/")[0] for model in MODELS}
    return {
        "ledger": {"path": str(ledger), "durability": durability},
        "defaults": {"timeout_s": TIMEOUT_S, "read_timeout_s": READ_TIMEOUT_S},
        "breakers": dict.fromkeys(providers, breaker),
        "retries": dict.fromkeys(providers, retry),
        "limits": {model: _limits(plan, model) for model in MODELS},
        "budgets": {"hour": {"limit": f"{usd_of(hour_nanousd):f}", "period": "hour"}},
    }


def _limits(plan: Plan, model: str) -> dict[str, int]:
    """Limits above the model's average need, which the waves of the trace pass, and wait."""
    calls = [call for call in plan.calls if call.model == model]
    # Retries and fallbacks come on top of what is planned, and a model may have had none at all.
    need = len(calls) + len(plan.calls) // 20 + 1
    limits = {
        "requests_per_minute": int(need * 1.5 / (0.1 + 0.9 * plan.duration_s / 60)) + 10,
        "concurrency": CONCURRENCY,
    }
    llm_tokens = sum(call.context_tokens + call.max_output_tokens for call in calls)
    # A token dimension is sized by its rate alone, R/120 a second: answers of a provider that
    # report what remains leave little of the burst.
    per_minute = int(llm_tokens * 1.7 / plan.duration_s * 120) + 500_000
    provider = model.partition("/")[0]
    if provider == "openai":
        limits["llm_tokens_per_minute"] = per_minute
    elif provider == "anthropic":
        limits["input_tokens_per_minute"] = per_minute
    return limits


@dataclass(frozen=True, slots=True)
class Rate:
    """Nano-dollars per 1,000,000 LLM tokens, at most; from quotes."""

    input: int
    output: int

    def cost_nanousd(self, call: PlannedCall) -> int:
        """What a call should cost, rounded up."""
        total = call.context_tokens * self.input + call.output_tokens * self.output
        return -(-total // _PER_MILLION)

    def ceiling_nanousd(self, call: PlannedCall) -> int:
        """About what a call reserves: its prompt counted in bytes, its maximum of output."""
        prompt_bytes = call.context_tokens * _BYTES_PER_TOKEN
        total = prompt_bytes * self.input + call.max_output_tokens * self.output
        return -(-total // _PER_MILLION)


def quoted_rates(gateway: Gateway) -> dict[str, Rate]:
    """The price of a token of each model, by the difference of two dry runs."""
    rates = {}
    for model in MODELS:

        def ceiling(prompt_bytes: int, output_tokens: int, model: str = model) -> int:
            prompt = "x" * prompt_bytes
            quote = gateway.estimate.chat(model, prompt, max_output_tokens=output_tokens)
            return nanousd_of(quote.ceiling)

        base = ceiling(1000, 1000)
        rates[model] = Rate(
            (ceiling(11_000, 1000) - base) * (_PER_MILLION // 10_000),
            (ceiling(1000, 2000) - base) * (_PER_MILLION // 1000),
        )
    return rates


@dataclass(frozen=True, slots=True)
class Budgets:
    """Limits in nano-dollars: of the hour, and of each job by its scope's name."""

    hour: int
    jobs: Mapping[str, int]


def size_budgets(plan: Plan, rates: Mapping[str, Rate]) -> Budgets:
    """An hour with twice the room that is needed; one job in four gets about half of its need."""
    rng = random.Random(f"sluiceway demo budgets {plan.seed}")
    need: Counter[int] = Counter()
    largest: Counter[int] = Counter()
    for call in plan.calls:
        rate = rates[call.model]
        need[call.job] += rate.cost_nanousd(call)
        largest[call.job] = max(largest[call.job], rate.ceiling_nanousd(call))
    jobs = {}
    for job in range(plan.jobs):
        percent = rng.randint(35, 65)
        if job % SHORT_JOBS == SHORT_JOBS - 1:
            limit = max(need[job] * percent // 100, largest[job])
        else:
            limit = need[job] * 3 // 2 + 3 * largest[job]
        jobs[scope_of(job)] = _round_up(limit)
    ceilings = max((rates[call.model].ceiling_nanousd(call) for call in plan.calls), default=0)
    return Budgets(_round_up(2 * need.total() + 50 * ceilings), jobs)


def _round_up(nanousd: int) -> int:
    """To the next hundredth of a cent, as a person would write it."""
    return max(1, -(-nanousd // 100_000)) * 100_000


def scope_of(job: int) -> str:
    """The budget scope of a job."""
    return f"job:{job + 1}"
