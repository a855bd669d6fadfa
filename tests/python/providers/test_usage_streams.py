"""The traps of usage in a stream: counts that grow, come twice, late, in halves or not at all.

Each is a body through the real core, buckets and cost worked out by hand. Rates (kit.py),
nano-dollars a token: input 1,000, cache read 100, output 5,000; a search 10,000,000.
"""

from __future__ import annotations

from tests.python.providers.kit import CEILING, Wire, chunk, events, named_events


def test_usage_that_grows_in_each_chunk_is_not_added_up(wire: Wire) -> None:
    body = events(
        chunk("a", usage={"prompt_tokens": 100, "completion_tokens": 1}),
        chunk("b", usage={"prompt_tokens": 100, "completion_tokens": 5}),
        chunk("c", "stop", usage={"prompt_tokens": 100, "completion_tokens": 10}),
    )
    call = wire.ask("openai_chat", body, stream=True)
    assert (call.text, call.usage) == ("abc", {"input": 100, "output": 10})
    assert (call.cost_nanousd, call.cost_source) == (150_000, "table")


def test_usage_twice_in_a_stream_is_not_added_up(wire: Wire) -> None:
    usage = {"prompt_tokens": 100, "completion_tokens": 10}
    body = events(chunk("a"), chunk("", "stop", usage=usage), {"choices": [], "usage": usage})
    assert wire.ask("openai_chat", body, stream=True).cost_nanousd == 150_000


def test_the_usage_of_a_stream_that_is_null_until_its_last_chunk(wire: Wire) -> None:
    last = {"choices": [], "usage": {"prompt_tokens": 100, "completion_tokens": 10}}
    body = events(chunk("a", usage=None), chunk("", "stop", usage=None), last)
    assert wire.ask("openai_chat", body, stream=True).cost_nanousd == 150_000


def test_a_stream_without_its_option_has_no_usage(wire: Wire) -> None:
    # Without stream_options.include_usage: two tokens of text ("eightchr") are shown as estimate.
    call = wire.ask("openai_chat", events(chunk("eightchr"), chunk("", "stop")), stream=True)
    assert call.ok
    assert (call.usage, call.held_nanousd) == ({}, CEILING)
    assert (call.cost_nanousd, call.cost_source) == (1_000 + 2 * 5_000, "estimated")


def test_a_cut_stream_keeps_its_money_and_shows_what_was_delivered(wire: Wire) -> None:
    growing = {"prompt_tokens": 100, "completion_tokens": 1}
    body = events(chunk("x" * 400, usage=growing), end="")
    call = wire.ask("openai_chat", body, stream=True)
    assert call.error_kind == "stream_broken"
    assert call.held_nanousd == CEILING
    # 100 tokens in, and 400 bytes out instead of the one token that was counted so far.
    assert (call.cost_nanousd, call.cost_source) == (100_000 + 100 * 5_000, "estimated")


def test_a_cut_after_the_final_usage_settles(wire: Wire) -> None:
    last = {"choices": [], "usage": {"prompt_tokens": 100, "completion_tokens": 10}}
    call = wire.ask("openai_chat", events(chunk("a"), chunk("", "stop"), last, end=""), stream=True)
    assert (call.cost_nanousd, call.cost_source, call.held_nanousd) == (150_000, "table", 0)


def test_the_two_halves_of_anthropics_usage(wire: Wire) -> None:
    start = {"input_tokens": 100, "cache_read_input_tokens": 40, "output_tokens": 1}
    final = {"output_tokens": 10, "server_tool_use": {"web_search_requests": 1}}
    body = named_events(
        {"type": "message_start", "message": {"model": "m", "usage": start}},
        {"type": "content_block_delta", "delta": {"type": "text_delta", "text": "four"}},
        {"type": "message_delta", "delta": {"stop_reason": "end_turn"}, "usage": final},
        {"type": "message_stop"},
    )
    call = wire.ask("anthropic_messages", body, stream=True)
    assert call.usage == {"input": 100, "cache_read": 40, "output": 10, "searches": 1}
    assert call.cost_nanousd == 100_000 + 4_000 + 50_000 + 10_000_000


def test_a_stream_of_responses(wire: Wire) -> None:
    done = {
        "status": "completed",
        "output": [{"type": "web_search_call"}],
        "usage": {"input_tokens": 100, "output_tokens": 10},
    }
    body = named_events(
        {"type": "response.created", "response": {"model": "m", "id": "r", "usage": None}},
        {"type": "response.output_text.delta", "delta": "four"},
        {"type": "response.completed", "response": done},
    )
    call = wire.ask("openai_responses", body, stream=True)
    assert (call.text, call.served_model, call.finish_reason) == ("four", "m", "completed")
    assert call.usage == {"input": 100, "output": 10, "searches": 1}
    assert call.cost_nanousd == 150_000 + 10_000_000
