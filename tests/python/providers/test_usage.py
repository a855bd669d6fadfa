"""The traps of usage in a whole answer: bodies through the real core, costs worked out by hand.

Rates (kit.py), nano-dollars a token: input 1,000, cache read 100, write 5 m 1,250, write 1 h 2,000,
output and reasoning 5,000, audio in 3,000 and out 9,000; a search 10,000,000.
"""

from __future__ import annotations

from typing import Any

import pytest

from sluiceway import InvalidRequest
from tests.python.providers.kit import CEILING, RATES, Wire, chat, messages, openai, sheet

# name: dialect, body, buckets, cost in nano-dollars
SETTLED: dict[str, tuple[str, Any, dict[str, int], int]] = {
    "plain": ("openai_chat", chat(openai()), {"input": 100, "output": 10}, 150_000),
    "cached lies inside the input": (
        "openai_chat",
        chat(openai(prompt_tokens_details={"cached_tokens": 40})),
        {"input": 60, "cache_read": 40, "output": 10},
        60_000 + 4_000 + 50_000,
    ),
    "cached lies outside the input": (
        "anthropic_messages",
        messages({"input_tokens": 100, "cache_read_input_tokens": 40, "output_tokens": 10}),
        {"input": 100, "cache_read": 40, "output": 10},
        100_000 + 4_000 + 50_000,
    ),
    "cached larger than the input lies beside it": (
        "openai_chat",
        chat(openai(prompt_tokens=7, prompt_tokens_details={"cached_tokens": 161})),
        {"input": 7, "cache_read": 161, "output": 10},
        7_000 + 16_100 + 50_000,
    ),
    "cached and written overlap: never below zero": (
        "openai_chat",
        chat(openai(prompt_tokens_details={"cached_tokens": 80, "cache_write_tokens": 60})),
        {"input": 0, "cache_read": 80, "cache_write_5m": 60, "output": 10},
        8_000 + 75_000 + 50_000,
    ),
    "writes lie inside OpenAI's input": (
        "openai_chat",
        chat(openai(prompt_tokens_details={"cached_tokens": 10, "cache_write_tokens": 30})),
        {"input": 60, "cache_read": 10, "cache_write_5m": 30, "output": 10},
        60_000 + 1_000 + 37_500 + 50_000,
    ),
    "both durations of Anthropic's writes": (
        "anthropic_messages",
        messages(
            {
                "input_tokens": 5,
                "output_tokens": 10,
                "cache_creation_input_tokens": 30,
                "cache_creation": {
                    "ephemeral_5m_input_tokens": 20,
                    "ephemeral_1h_input_tokens": 10,
                },
            }
        ),
        {"input": 5, "cache_write_5m": 20, "cache_write_1h": 10, "output": 10},
        5_000 + 25_000 + 20_000 + 50_000,
    ),
    "reasoning lies inside the output": (
        "openai_chat",
        chat(openai(completion_tokens_details={"reasoning_tokens": 4})),
        {"input": 100, "output": 6, "reasoning": 4},
        150_000,
    ),
    "reasoning larger than the output lies beside it": (
        "openai_chat",
        chat(openai(completion_tokens=8, completion_tokens_details={"reasoning_tokens": 300})),
        {"input": 100, "output": 8, "reasoning": 300},
        100_000 + 308 * 5_000,
    ),
    "audio in and out": (
        "openai_chat",
        chat(
            openai(
                prompt_tokens_details={"audio_tokens": 30, "text_tokens": 70, "image_tokens": 9},
                completion_tokens_details={"audio_tokens": 4, "text_tokens": 6},
            )
        ),
        {"input": 70, "audio_input": 30, "output": 6, "audio_output": 4},
        70_000 + 90_000 + 30_000 + 36_000,
    ),
    "integral floats and fields that nobody knows": (
        "openai_chat",
        chat(
            {
                "prompt_tokens": 100.0,
                "completion_tokens": 1e1,
                "total_tokens": 110.5,
                "prompt_tokens_details": {"cached_tokens": 40.0, "moon_tokens": "many"},
                "latency": [0.25, None],
            },
            service_tier=None,
            system_fingerprint="fp_1",
        ),
        {"input": 60, "cache_read": 40, "output": 10},
        114_000,
    ),
    "zero is a count": (
        "openai_chat",
        chat({"prompt_tokens": 0, "completion_tokens": 0}),
        {"input": 0, "output": 0},
        0,
    ),
    "null details are no counts": (
        "openai_chat",
        chat(
            openai(
                prompt_tokens_details={"cached_tokens": None, "audio_tokens": None},
                completion_tokens_details=None,
            )
        ),
        {"input": 100, "output": 10},
        150_000,
    ),
    "a detail below zero is no count": (
        "openai_chat",
        chat(openai(prompt_tokens_details={"cached_tokens": -1})),
        {"input": 100, "output": 10},
        150_000,
    ),
    "DeepSeek tells hits and misses apart": (
        "deepseek_chat",
        chat(openai(prompt_cache_hit_tokens=64, prompt_cache_miss_tokens=36)),
        {"input": 36, "cache_read": 64, "output": 10},
        36_000 + 6_400 + 50_000,
    ),
    "searches of Anthropic": (
        "anthropic_messages",
        messages(
            {
                "input_tokens": 100,
                "output_tokens": 10,
                "server_tool_use": {"web_search_requests": 3, "web_fetch_requests": 1},
            }
        ),
        {"input": 100, "output": 10, "searches": 3},
        150_000 + 30_000_000,
    ),
    "no searches": (
        "anthropic_messages",
        messages({"input_tokens": 100, "output_tokens": 10, "server_tool_use": None}),
        {"input": 100, "output": 10},
        150_000,
    ),
    "a compaction is billed beside the answer": (
        "anthropic_messages",
        messages(
            {
                "input_tokens": 100,
                "output_tokens": 10,
                "iterations": [
                    {"type": "compaction", "input_tokens": 1_000, "output_tokens": 20},
                    {"type": "message", "input_tokens": 60, "output_tokens": 7},
                    {"type": "message", "input_tokens": 40, "output_tokens": 3},
                ],
            }
        ),
        {"input": 1_100, "output": 30},
        1_100_000 + 150_000,
    ),
    "searches that are only listed": (
        "openai_responses",
        {
            "status": "completed",
            "output": [
                {"type": "web_search_call", "id": "1"},
                {"type": "web_search_call", "id": "2"},
                {"type": "message", "content": [{"type": "output_text", "text": "four"}]},
            ],
            "usage": {
                "input_tokens": 100,
                "input_tokens_details": {"cached_tokens": 40},
                "output_tokens": 10,
                "output_tokens_details": {"reasoning_tokens": 3},
            },
        },
        {"input": 60, "cache_read": 40, "output": 7, "reasoning": 3, "searches": 2},
        114_000 + 20_000_000,
    ),
    "a transcription by its seconds": (
        "openai_transcription",
        {"text": "four", "usage": {"type": "duration", "seconds": 12.5}},
        {"seconds": 12_500},
        12_500 * 75,
    ),
    "a transcription by its tokens": (
        "openai_transcription",
        {
            "text": "four",
            "usage": {
                "type": "tokens",
                "input_tokens": 100,
                "input_token_details": {"text_tokens": 20, "audio_tokens": 80},
                "output_tokens": 10,
            },
        },
        {"input": 20, "audio_input": 80, "output": 10},
        20_000 + 240_000 + 50_000,
    ),
    "embeddings": (
        "openai_embeddings",
        {"data": [{"embedding": [0.5]}], "usage": {"prompt_tokens": 8, "total_tokens": 8}},
        {"input": 8},
        8_000,
    ),
}


@pytest.mark.parametrize("name", SETTLED)
def test_what_is_settled(wire: Wire, name: str) -> None:
    dialect, body, buckets, cost = SETTLED[name]
    call = wire.ask(dialect, body)
    assert call.ok, call.message
    assert call.usage == buckets
    assert (call.cost_nanousd, call.cost_source, call.held_nanousd) == (cost, "table", 0)


# Counts that cannot be believed: the money stays in doubt at its ceiling, and an estimate is shown:
# the body that was sent, "{}", is one token of 1,000, the answer "four" one of 5,000.
IN_DOUBT: dict[str, tuple[Any, dict[str, int], int]] = {
    "none at all": (chat(...), {}, 6_000),
    "null": (chat(None), {}, 6_000),
    "empty": (chat({}), {}, 6_000),
    "no input": (chat({"completion_tokens": 10}), {"output": 10}, 51_000),
    "no output": (chat({"prompt_tokens": 100}), {"input": 100}, 105_000),
    "null counts": (chat({"prompt_tokens": None, "completion_tokens": None}), {}, 6_000),
    "below zero": (chat(openai(prompt_tokens=-100)), {"output": 10}, 51_000),
    "a fraction": (chat(openai(completion_tokens=10.5)), {"input": 100}, 105_000),
    "as text": (chat(openai(prompt_tokens="100")), {"output": 10}, 51_000),
    "a trillion and one": (chat(openai(prompt_tokens=10**12 + 1)), {"output": 10}, 51_000),
    "beyond int64": (chat(openai(prompt_tokens=2**70)), {"output": 10}, 51_000),
    "not a number of JSON's": (
        b'{"choices":[{"message":{"content":"four"},"finish_reason":"stop"}],'
        b'"usage":{"prompt_tokens":1e400,"completion_tokens":10}}',
        {"output": 10},
        51_000,
    ),
}


@pytest.mark.parametrize("name", IN_DOUBT)
def test_what_stays_in_doubt(wire: Wire, name: str) -> None:
    body, buckets, estimate = IN_DOUBT[name]
    call = wire.ask("openai_chat", body)
    assert call.ok, call.message
    assert call.usage == buckets
    assert call.held_nanousd == CEILING
    assert (call.cost_nanousd, call.cost_source) == (estimate, "estimated")


def test_the_largest_count_that_is_believed(wire: Wire) -> None:
    call = wire.ask("openai_chat", chat(openai(prompt_tokens=10**12)))
    assert call.cost_nanousd == 10**15 + 50_000
    assert call.held_nanousd == 0


def test_a_bucket_without_a_rate_is_not_free(wire: Wire) -> None:
    prices = sheet({bucket: rate for bucket, rate in RATES.items() if bucket != "searches"})
    usage = {"input_tokens": 1, "output_tokens": 1, "server_tool_use": {"web_search_requests": 1}}
    call = wire.ask("anthropic_messages", messages(usage), prices=prices)
    assert (call.cost_nanousd, call.held_nanousd) == (None, CEILING)
    usage["server_tool_use"] = {"web_search_requests": 0}
    assert wire.ask("anthropic_messages", messages(usage), prices=prices).cost_nanousd == 6_000


def test_an_advisors_tokens_have_no_price_here(wire: Wire) -> None:
    advisor = {"type": "advisor_message", "model": "other", "input_tokens": 9, "output_tokens": 9}
    usage = {"input_tokens": 100, "output_tokens": 10, "iterations": [advisor]}
    call = wire.ask("anthropic_messages", messages(usage))
    assert call.usage == {"input": 100, "output": 10}
    assert (call.cost_nanousd, call.cost_source) == (150_000, "estimated")
    assert call.held_nanousd == CEILING


def test_usage_twice_in_one_object_is_read_once(wire: Wire) -> None:
    body = (
        '{"choices":[{"message":{"content":"x"},"finish_reason":"stop"}],'
        '"usage":{"prompt_tokens":100,"completion_tokens":10},'
        '"usage":{"prompt_tokens":100,"completion_tokens":10}}'
    )
    assert wire.ask("openai_chat", body).cost_nanousd == 150_000


def test_speech_costs_what_was_counted_before_it_was_sent(wire: Wire) -> None:
    call = wire.ask("openai_speech", b"\xff\xf3 sound", lenient=True, other_units={"characters": 7})
    assert call.ok
    assert call.usage == {"characters": 7}
    assert (call.cost_nanousd, call.cost_source, call.held_nanousd) == (7 * 15, "estimated", 0)
    uncounted = wire.ask("openai_speech", b"sound", lenient=True)
    assert (uncounted.usage, uncounted.held_nanousd) == ({}, CEILING)


@pytest.mark.parametrize("units", [{"input": 1}, {"moons": 1}, {"characters": -1}])
def test_units_that_cannot_be_counted_before(wire: Wire, units: dict[str, int]) -> None:
    with pytest.raises(InvalidRequest):
        wire.ask("openai_speech", b"", lenient=True, other_units=units)
