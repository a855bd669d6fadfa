"""OpenAI's data-residency endpoints: what is sent to REGION.api.openai.com costs ten percent more.

By OpenAI's guide "Data residency" (read 2026-11-23) that holds for models released on or after
2026-03-05. A million tokens of gpt-6-luna (2026-09-22): $0.10 in and $0.50 out, so 1,000 in and 100
out cost $0.000150, there $0.000165; flex is half of it, priority twice. gpt-4o (2024): $2.50 and
$10, so $0.0035 on every endpoint.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from decimal import Decimal
from typing import Any

import pytest

from sluiceway import Gateway, UnpricedOperation
from sluiceway.providers.registry import load_registry
from tests.python.providers.kit import Wire

EU = "http://eu.api.openai.com/v1"
LUNA, OLD = "openai/gpt-6-luna", "openai/gpt-4o"
Make = Callable[..., Gateway]


@pytest.fixture
def make(monkeypatch: pytest.MonkeyPatch) -> Iterator[Make]:
    """Makes gateways whose OpenAI account has these settings."""
    for name in ("SLUICEWAY_SIMULATOR_URL", "SLUICEWAY_OPENAI_BASE_URL"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("OPENAI_API_KEY", "not-a-real-key")
    made: list[Gateway] = []

    def make(**settings: Any) -> Gateway:
        ledger = {"path": ":memory:", "durability": "memory"}
        made.append(Gateway({"ledger": ledger, "accounts": {"openai": {"default": settings}}}))
        return made[-1]

    yield make
    for gateway in made:
        gateway.close()


def answer(**rest: Any) -> dict[str, Any]:
    usage = {"prompt_tokens": 1000, "completion_tokens": 100}
    choice = {"message": {"role": "assistant", "content": "hi"}, "finish_reason": "stop"}
    return {"model": "m", "choices": [choice], "usage": usage, **rest}


@pytest.mark.parametrize(
    ("url", "tier"),
    [
        (None, ""),
        ("https://api.openai.com/v1", ""),
        ("https://eu.api.openai.com/v1", "regional"),
        ("https://US.api.OpenAI.com", "regional"),
        ("https://ae.api.openai.com:443/v1/", "regional"),
        ("https://eu.api.openai.com./v1", "regional"),
        ("https://eu.api.openai.com.example/v1", ""),
        ("https://evilapi.openai.com/v1", ""),
        ("https://gateway.example/eu.api.openai.com/v1", ""),
        ("http://127.0.0.1:8080/openai/v1", ""),
    ],
)
def test_the_host_names_the_tier(url: str | None, tier: str) -> None:
    """Only a host below api.openai.com is an endpoint of a region."""
    assert load_registry()["openai"].tier_at(url) == tier
    assert load_registry()["anthropic"].tier_at(url) == ""


@pytest.mark.parametrize(("model", "share"), [(LUNA, "1.1"), (OLD, "1")])
def test_a_ceiling_is_of_the_endpoint(make: Make, model: str, share: str) -> None:
    """What a call reserves, what a batch and embeddings would cost; older models cost the same."""
    plain, there = make(), make(base_url="https://eu.api.openai.com/v1")
    for job in (False, True):
        low, high = (
            gw.estimate.job(model, ["x" * 99], max_output_tokens=1000)
            if job
            else gw.estimate.chat(model, "x" * 99, max_output_tokens=1000)
            for gw in (plain, there)
        )
        assert low.ceiling * Decimal(share) == pytest.approx(high.ceiling, abs=Decimal("4E-9"))
        assert low.expected * Decimal(share) == pytest.approx(high.expected, abs=Decimal("4E-9"))
    same = "openai/text-embedding-3-small"
    low, high = (gw.estimate.embeddings(same, "x") for gw in (plain, there))
    assert low.ceiling == high.ceiling


def test_media_are_dearer_there(make: Make) -> None:
    """gpt-transcribe: $0.0045 a minute, so $0.00495."""
    there = make(base_url="https://eu.api.openai.com/v1")
    minute = there.estimate.transcription("openai/gpt-transcribe", seconds=60)
    assert minute.ceiling == Decimal("0.00495")


@pytest.mark.parametrize(
    ("model", "said", "options", "cost"),
    [
        (LUNA, {}, {}, "0.000165"),
        (LUNA, {"service_tier": "default"}, {}, "0.000165"),
        (LUNA, {"service_tier": "flex"}, {"service_tier": "flex"}, "0.0000825"),
        (LUNA, {"service_tier": "priority"}, {"service_tier": "priority"}, "0.00033"),
        (OLD, {"service_tier": "default"}, {}, "0.0035"),
        # Held at a cap, since "auto" has no bound.
        (LUNA, {"service_tier": "priority"}, {"service_tier": "auto", "cap": "0.10"}, "0.00033"),
    ],
)
def test_a_call_is_settled_by_the_endpoint(
    make: Make, wire: Wire, model: str, said: Any, options: Any, cost: str
) -> None:
    """The answer's word for the tier names how it was queued, not where."""
    cap = options.pop("cap", None)
    if "service_tier" in options:
        options = {"extra": options}
    headers = {"x-body": wire.serve(answer(**said), "application/json")}
    gateway = make(base_url=EU, proxy=wire.url, headers=headers)
    with gateway.budget("job:1", usd="9.00") as b:
        result = gateway.chat(model, "x", max_cost_usd=cap, **options)
        assert (result.cost.usd, result.cost.source) == (Decimal(cost), "table")
        assert b.spent == Decimal(cost)


def test_a_raw_call_is_settled_by_the_endpoint(make: Make, wire: Wire) -> None:
    """gw.raw to the same place."""
    headers = {"x-body": wire.serve(answer(service_tier="default"), "application/json")}
    gateway = make(base_url=EU, proxy=wire.url, headers=headers)
    body = {"model": "gpt-6-luna", "messages": [{"role": "user", "content": "x"}]}
    result = gateway.raw.post("openai", "/v1/chat/completions", json=body, max_cost_usd="0.10")
    assert (result.cost.usd, result.cost.source) == (Decimal("0.000165"), "table")


def test_a_tier_without_a_regional_price_is_refused(make: Make, wire: Wire) -> None:
    """What ultrafast costs on such an endpoint was not found: no guess."""
    gateway = make(base_url=EU, proxy=wire.url)
    with pytest.raises(UnpricedOperation, match=r"regional_ultrafast.*max_cost_usd"):
        gateway.chat("openai/gpt-6.1-sol", "x", extra={"service_tier": "ultrafast"})
