"""What an answer says of its own price: a cost that it reports, the tier and place that served it.

Each is a body through the real core, the cost worked out by hand. Rates (kit.py), nano-dollars a
token: input 1,000, output 5,000, so that 100 and 10 cost 150,000; twice that as priority, half as
flex or batch, a tenth more in the US.
"""

from __future__ import annotations

import pytest

from tests.python.providers.kit import (
    CEILING,
    Wire,
    chat,
    chunk,
    events,
    messages,
    named_events,
    openai,
    sheet,
)

REPORTED: dict[str, tuple[str, int]] = {
    "a decimal": ('{"cost":0.00435825}', 4_358_250),
    "a whole number": ('{"cost":2}', 2_000_000_000),
    "as text": ('{"cost":"0.25"}', 250_000_000),
    "with an exponent": ('{"cost":1.5e-06}', 1_500),
    "more than nine decimals, up": ('{"cost":0.0076509169000000005}', 7_650_917),
    "a half goes to the even one": ('{"cost":0.0000000025}', 2),
    "below a nano-dollar": ('{"cost":0.0000000004}', 0),
    "zero is a cost": ('{"cost":0,"prompt_tokens":100,"completion_tokens":10}', 0),
    "inside an object": ('{"cost":{"request_cost":0.005,"total_cost":0.00502}}', 5_020_000),
    "ticks": ('{"cost_in_usd_ticks":10959000}', 1_095_900),
    "ticks above one dollar": ('{"cost_in_usd_ticks":123456789012345}', 12_345_678_901_234),
    "a tick and a half": ('{"cost_in_usd_ticks":15}', 2),
    "dollars before ticks": ('{"cost":0.5,"cost_in_usd_ticks":1}', 500_000_000),
    "ticks where dollars are null": ('{"cost":null,"cost_in_usd_ticks":10}', 1),
}


@pytest.mark.parametrize("name", REPORTED)
def test_a_reported_cost_wins_and_is_exact(wire: Wire, name: str) -> None:
    usage, cost = REPORTED[name]
    body = '{"choices":[{"message":{"content":"x"},"finish_reason":"stop"}],"usage":' + usage + "}"
    call = wire.ask("openai_compatible", body)
    assert (call.cost_nanousd, call.cost_source, call.held_nanousd) == (cost, "provider", 0)


@pytest.mark.parametrize("cost", ["-0.5", "null", '"much"', "{}", "1000000.1", "1e300", "true"])
def test_a_cost_that_is_none_leaves_the_table(wire: Wire, cost: str) -> None:
    body = (
        '{"choices":[{"message":{"content":"x"},"finish_reason":"stop"}],'
        '"usage":{"prompt_tokens":100,"completion_tokens":10,"cost":' + cost + "}}"
    )
    call = wire.ask("openai_compatible", body)
    assert (call.cost_nanousd, call.cost_source) == (150_000, "table")


def test_a_cost_that_grows_and_comes_alone_at_the_end(wire: Wire) -> None:
    body = events(
        chunk("a", usage={"cost": 0.001}),
        chunk("b", "stop", usage={"cost": 0.002}),
        {"choices": [], "usage": {"cost": 0.003}},
    )
    call = wire.ask("openai_compatible", body, stream=True)
    assert (call.cost_nanousd, call.cost_source) == (3_000_000, "provider")
    cut = events(chunk("a", usage={"cost": 0.001}), end="")
    call = wire.ask("openai_compatible", cut, stream=True)
    assert (call.cost_nanousd, call.cost_source) == (1_000_000, "estimated")
    assert call.held_nanousd == CEILING


def test_openai_itself_is_not_believed_about_a_cost_it_never_reports(wire: Wire) -> None:
    call = wire.ask("openai_chat", chat(openai(cost=0)))
    assert (call.cost_nanousd, call.cost_source) == (150_000, "table")


# ---------------------------------------------------------------------------- the tier that served


@pytest.mark.parametrize(
    ("asked", "served", "cost"),
    [
        ("priority", "default", 150_000),  # sent as priority, served as ordinary
        ("", "priority", 300_000),
        ("priority", "fast", 300_000),
        ("flex", "flex", 75_000),
        ("flex", "default", 150_000),
        ("flex", None, 75_000),  # nothing is said: what was asked for
        ("priority", "moon", 300_000),  # a word that we do not know
    ],
)
def test_the_tier_that_served_is_billed(
    wire: Wire, asked: str, served: str | None, cost: int
) -> None:
    call = wire.ask("openai_chat", chat(openai(), service_tier=served), tier=asked)
    assert (call.cost_nanousd, call.cost_source) == (cost, "table")
    usage = {"prompt_tokens": 100, "completion_tokens": 10}
    body = events(
        chunk("a", service_tier=served),
        chunk("", "stop", service_tier=served),
        {"choices": [], "usage": usage, "service_tier": served},
    )
    assert wire.ask("openai_chat", body, stream=True, tier=asked).cost_nanousd == cost


@pytest.mark.parametrize(
    ("asked", "served", "cost"),
    [
        ("", {"service_tier": "standard", "inference_geo": "us"}, 165_000),
        ("us", {"service_tier": "standard", "inference_geo": "global"}, 150_000),
        ("us", {"service_tier": "standard", "inference_geo": "not_available"}, 165_000),
        ("", {"service_tier": "batch"}, 75_000),
        ("", {"service_tier": "batch", "inference_geo": "us"}, 165_000),
        ("", {"service_tier": "priority"}, 150_000),
        ("us", {}, 165_000),
    ],
)
def test_where_and_how_anthropic_served(
    wire: Wire, asked: str, served: dict[str, str], cost: int
) -> None:
    usage = {"input_tokens": 100, "output_tokens": 10, **served}
    assert wire.ask("anthropic_messages", messages(usage), tier=asked).cost_nanousd == cost
    body = named_events(
        {"type": "message_start", "message": {"usage": {**usage, "output_tokens": 1}}},
        {"type": "content_block_delta", "delta": {"type": "text_delta", "text": "four"}},
        {
            "type": "message_delta",
            "delta": {"stop_reason": "end_turn"},
            "usage": {"output_tokens": 10},
        },
        {"type": "message_stop"},
    )
    call = wire.ask("anthropic_messages", body, stream=True, tier=asked)
    assert call.cost_nanousd == cost


def test_a_served_tier_without_a_row_is_not_guessed(wire: Wire) -> None:
    prices = sheet()
    prices["rows"] = [row for row in prices["rows"] if row["service_tier"] != "flex"]
    call = wire.ask("openai_chat", chat(openai(), service_tier="flex"), prices=prices)
    assert (call.cost_nanousd, call.held_nanousd) == (None, CEILING)
