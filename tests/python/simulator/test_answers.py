"""Whole answers and streams of the three providers: shapes, counts, headers.

Where a recorded body of the real provider is at hand (`../shared`), the shape is compared with it;
everything else is worked out by hand. The prompt "abcdefgh" counts 2 + 3 = 5 tokens.
"""

from __future__ import annotations

import json
import os
from pathlib import Path
from typing import Any

import pytest

from sluiceway.simulator import Simulator
from tests.python.simulator.wire import H1, Answer, key_headers

PROMPT = "abcdefgh"
SHARED = Path(os.environ.get("SLUICEWAY_SHARED", Path(__file__).parents[4] / "shared"))


def recorded(provider: str, name: str, index: int = 0) -> str:
    path = SHARED / "data" / "cassettes" / provider / f"{name}.json"
    if not path.exists():
        pytest.skip(f"{path} is not here; set SLUICEWAY_SHARED")
    exchange = json.loads(path.read_text())["interactions"][index]
    text = exchange["response"]["body"]["text"]
    assert isinstance(text, str)
    return text


def chat(simulator: Simulator, provider: str, **more: Any) -> Answer:
    with H1(simulator) as connection:
        headers = more.pop("headers", {})
        answer = connection.chat(provider, PROMPT, headers, **more)
    assert answer.status == 200, answer.body
    assert answer.whole
    return answer


def steer(words: str) -> dict[str, str]:
    return {"sluiceway-simulator": words}


def test_openai_whole(simulator: Simulator) -> None:
    answer = chat(
        simulator, "openai", headers=steer("output_tokens=3 cached_tokens=2 reasoning_tokens=1")
    )
    body = answer.json
    assert body["object"] == "chat.completion"
    assert body["id"].startswith("chatcmpl-")
    assert body["model"] == "gpt-4o-mini-2024-07-18"
    assert body["service_tier"] == "default"
    assert body["system_fingerprint"].startswith("fp_")
    (choice,) = body["choices"]
    assert choice["message"]["role"] == "assistant"
    assert choice["message"]["content"] == "the river"  # three tokens, one of them reasoning
    assert choice["finish_reason"] == "stop"
    assert body["usage"] == {
        "prompt_tokens": 5,
        "completion_tokens": 3,
        "total_tokens": 8,
        "prompt_tokens_details": {"cached_tokens": 2, "audio_tokens": 0},
        "completion_tokens_details": {
            "reasoning_tokens": 1,
            "audio_tokens": 0,
            "accepted_prediction_tokens": 0,
            "rejected_prediction_tokens": 0,
        },
    }
    assert answer.headers["x-ratelimit-remaining-tokens"] == "1999995"
    assert answer.headers["x-ratelimit-reset-requests"] == "12ms"
    assert answer.headers["x-request-id"].startswith("req_")
    assert "retry-after" not in answer.headers


def test_openai_shape_is_the_recorded_one(simulator: Simulator) -> None:
    real = json.loads(recorded("openai", "test_document_url_input", 1))
    ours = chat(simulator, "openai").json
    assert ours.keys() == real.keys()
    assert ours["choices"][0].keys() == real["choices"][0].keys()
    assert ours["choices"][0]["message"].keys() == real["choices"][0]["message"].keys()
    assert ours["usage"].keys() == real["usage"].keys()
    for details in ("prompt_tokens_details", "completion_tokens_details"):
        assert ours["usage"][details].keys() == real["usage"][details].keys()


def test_cache_writes_only_where_the_model_has_them(simulator: Simulator) -> None:
    words = steer("cache_write_5m_tokens=4 cached_tokens=1")
    old = chat(simulator, "openai", headers=words)
    assert "cache_write_tokens" not in old.json["usage"]["prompt_tokens_details"]
    new = chat(simulator, "openai", model="gpt-6-luna", headers=words)
    details = new.json["usage"]["prompt_tokens_details"]
    assert (details["cached_tokens"], details["cache_write_tokens"]) == (1, 4)
    assert [line["usage"]["cache_write_5m"] for line in simulator.log()] == [0, 4]


def test_output_is_cut_at_the_maximum(simulator: Simulator) -> None:
    cut = chat(simulator, "openai", max_tokens=4).json
    assert cut["usage"]["completion_tokens"] == 4
    assert cut["choices"][0]["finish_reason"] == "length"
    enough = chat(simulator, "openai", max_tokens=16).json
    assert enough["choices"][0]["finish_reason"] == "stop"
    claude = chat(simulator, "anthropic", max_tokens=4).json
    assert (claude["stop_reason"], claude["usage"]["output_tokens"]) == ("max_tokens", 4)
    empty = chat(simulator, "anthropic", max_tokens=0).json
    assert (empty["content"], empty["usage"]["output_tokens"]) == ([], 0)
    over = chat(simulator, "openai", max_tokens=4, headers=steer("overrun_tokens=2")).json
    assert over["usage"]["completion_tokens"] == 6


def test_openai_several_choices(simulator: Simulator) -> None:
    body = chat(simulator, "openai", n=3, headers=steer("output_tokens=2")).json
    assert [choice["index"] for choice in body["choices"]] == [0, 1, 2]
    assert body["usage"]["completion_tokens"] == 6
    stream = chat(simulator, "openai", n=2, stream=True, headers=steer("output_tokens=2"))
    texts = {0: "", 1: ""}
    for chunk in stream.data:
        for choice in chunk["choices"]:
            texts[choice["index"]] += choice["delta"].get("content", "")
    assert texts == {0: "the river", 1: "the river"}


def test_openai_stream_without_and_with_usage(simulator: Simulator) -> None:
    plain = chat(simulator, "openai", stream=True, headers=steer("output_tokens=3"))
    assert plain.headers["content-type"] == "text/event-stream; charset=utf-8"
    assert plain.events[-1] == "data: [DONE]"
    assert all("usage" not in chunk for chunk in plain.data)
    deltas = [chunk["choices"][0]["delta"] for chunk in plain.data]
    assert deltas[0] == {"role": "assistant", "content": "", "refusal": None}
    assert [delta["content"] for delta in deltas[1:-1]] == ["the", " river", " runs"]
    assert deltas[-1] == {}
    assert plain.data[-1]["choices"][0]["finish_reason"] == "stop"
    assert all(chunk["obfuscation"] for chunk in plain.data)
    options = {"include_usage": True, "include_obfuscation": False}
    counted = chat(simulator, "openai", stream=True, stream_options=options)
    *chunks, last = counted.data
    assert all(chunk["usage"] is None for chunk in chunks)
    assert all("obfuscation" not in chunk for chunk in counted.data)
    assert last["choices"] == []
    assert last["usage"]["total_tokens"] == 21


def test_deepseek_whole_is_chunked_and_like_the_recording(simulator: Simulator) -> None:
    answer = chat(
        simulator, "deepseek", headers=steer("output_tokens=3 reasoning_tokens=1 cached_tokens=2")
    )
    assert answer.headers["transfer-encoding"] == "chunked"
    assert "x-ds-trace-id" in answer.headers
    assert not [name for name in answer.headers if name.startswith("x-ratelimit")]
    body = answer.json
    assert body["usage"] == {
        "prompt_tokens": 5,
        "completion_tokens": 3,
        "total_tokens": 8,
        "prompt_tokens_details": {"cached_tokens": 2},
        "completion_tokens_details": {"reasoning_tokens": 1},
        "prompt_cache_hit_tokens": 2,
        "prompt_cache_miss_tokens": 3,
    }
    assert body["choices"][0]["message"]["reasoning_content"] == "the"
    real = json.loads(
        recorded(
            "deepseek", "chat_deepseek_thinking_control_returns_reasoning_content_for_effort_high"
        )
    )
    assert body.keys() == real.keys()
    assert list(body["usage"]) == list(real["usage"])
    assert body["choices"][0]["message"].keys() == real["choices"][0]["message"].keys()


def test_deepseek_stream_has_its_usage_on_the_last_content_chunk(simulator: Simulator) -> None:
    plain = chat(simulator, "deepseek", stream=True, headers=steer("output_tokens=2"))
    *chunks, last = plain.data
    assert all("usage" not in chunk for chunk in chunks)
    assert last["choices"][0]["finish_reason"] == "stop"
    assert last["usage"]["completion_tokens"] == 2
    asked = chat(simulator, "deepseek", stream=True, stream_options={"include_usage": True})
    assert [chunk["usage"] for chunk in asked.data[:-1]] == [None] * 17
    assert asked.data[-1]["usage"]["total_tokens"] == 21
    name = "chat_streaming_responses_deepseek_deepseek-chat_reports_consistent_token_counts"
    text = recorded("deepseek", f"{name}_compared_to_non-streaming")
    real = [json.loads(line[6:]) for line in text.split("\n\n") if line.startswith("data: {")]
    assert asked.data[0].keys() == real[0].keys()
    assert asked.data[0]["choices"] == real[0]["choices"]
    assert asked.data[-1]["choices"] == real[-1]["choices"]
    assert asked.data[-1]["usage"].keys() == real[-1]["usage"].keys()


def test_deepseek_reasoning_in_a_stream(simulator: Simulator) -> None:
    words = steer("output_tokens=5 reasoning_tokens=2")
    answer = chat(simulator, "deepseek", stream=True, headers=words)
    deltas = [chunk["choices"][0]["delta"] for chunk in answer.data]
    assert "".join(delta.get("reasoning_content") or "" for delta in deltas) == "the river"
    assert "".join(delta.get("content") or "" for delta in deltas) == "the river runs"


def test_deepseek_keep_alives(simulator: Simulator) -> None:
    whole = chat(simulator, "deepseek", headers=steer("keep_alive=3"))
    assert whole.body.startswith(b"\n\n\n{")
    assert whole.json["object"] == "chat.completion"
    stream = chat(simulator, "deepseek", stream=True, headers=steer("keep_alive=2"))
    assert stream.events[:2] == [": keep-alive", ": keep-alive"]
    timed = chat(
        simulator, "deepseek", stream=True, headers=steer("latency_ms=60 keep_alive_every_ms=25")
    )
    assert timed.events[:3] == [": keep-alive", ": keep-alive", timed.events[2]]
    assert timed.events[2].startswith("data: {")
    assert chat(simulator, "openai", headers=steer("keep_alive=3")).body.startswith(b"{")


def test_anthropic_whole(simulator: Simulator) -> None:
    words = steer("output_tokens=3 cached_tokens=2 cache_write_5m_tokens=1 cache_write_1h_tokens=1")
    answer = chat(simulator, "anthropic", headers=words)
    body = answer.json
    assert body["id"].startswith("msg_01")
    assert body["content"] == [{"type": "text", "text": "the river runs"}]
    assert body["stop_reason"] == "end_turn"
    assert body["usage"] == {
        "input_tokens": 1,
        "cache_creation_input_tokens": 2,
        "cache_read_input_tokens": 2,
        "cache_creation": {"ephemeral_5m_input_tokens": 1, "ephemeral_1h_input_tokens": 1},
        "output_tokens": 3,
        "service_tier": "standard",
        "inference_geo": "global",
    }
    assert answer.headers["request-id"].startswith("req_")
    assert answer.headers["anthropic-ratelimit-requests-remaining"] == "3999"
    assert answer.headers["anthropic-ratelimit-tokens-reset"].endswith("Z")


def test_anthropic_thinking_is_like_the_recording(simulator: Simulator) -> None:
    words = steer("output_tokens=5 reasoning_tokens=2")
    thinking = {"type": "adaptive"}
    body = chat(simulator, "anthropic", thinking=thinking, headers=words).json
    assert [block["type"] for block in body["content"]] == ["thinking", "text"]
    assert body["usage"]["output_tokens_details"] == {"thinking_tokens": 2}
    # Without thinking in the request nothing thinks.
    plain = chat(simulator, "anthropic", headers=words).json
    assert [block["type"] for block in plain["content"]] == ["text"]
    real = json.loads(recorded("anthropic", "test_anthropic_opus_5_features"))
    assert body.keys() == real.keys()
    assert body["usage"].keys() == real["usage"].keys()
    assert [block.keys() for block in body["content"]] == [
        block.keys() for block in real["content"]
    ]


def names(events: list[str]) -> list[str]:
    return [event.split("\n")[0].removeprefix("event: ") for event in events]


def test_anthropic_stream_follows_the_recorded_order(simulator: Simulator) -> None:
    answer = chat(simulator, "anthropic", stream=True, headers=steer("output_tokens=1"))
    expected = [
        "message_start",
        "content_block_start",
        "ping",
        "content_block_delta",
        "content_block_stop",
        "message_delta",
        "message_stop",
    ]
    assert names(answer.events) == expected
    start, stop = answer.data[0]["message"], answer.data[-2]
    assert start["usage"]["input_tokens"] == 5
    assert start["usage"]["output_tokens"] == 1
    assert start["content"] == []
    assert stop["delta"] == {"stop_reason": "end_turn", "stop_sequence": None}
    assert stop["usage"]["output_tokens"] == 1
    text = recorded("anthropic", "test_request_stream_fallback_for_high_max_tokens")
    real = [event for event in text.split("\n\n") if event]
    assert names(answer.events) == names(real)
    real_start = json.loads(real[0].split("data: ")[1])["message"]
    assert start["usage"].keys() == real_start["usage"].keys()
    assert real_start.keys() <= start.keys()
    real_delta = json.loads(real[-2].split("data: ")[1])
    assert stop["usage"].keys() == real_delta["usage"].keys()


def test_anthropic_thinking_stream(simulator: Simulator) -> None:
    words = steer("output_tokens=5 reasoning_tokens=2")
    answer = chat(
        simulator,
        "anthropic",
        stream=True,
        thinking={"type": "enabled", "budget_tokens": 1024},
        headers=words,
    )
    deltas = [event["delta"] for event in answer.data if event["type"] == "content_block_delta"]
    assert [delta["type"] for delta in deltas] == [
        "thinking_delta",
        "thinking_delta",
        "signature_delta",
        "text_delta",
        "text_delta",
        "text_delta",
    ]
    assert names(answer.events).count("content_block_start") == 2
    assert names(answer.events).count("content_block_stop") == 2


@pytest.mark.parametrize("provider", ["openai", "deepseek", "anthropic"])
@pytest.mark.parametrize(("tokens", "per_event", "deltas"), [(128, 1, 128), (10, 4, 3), (0, 1, 0)])
def test_exactly_as_many_deltas_as_asked(
    simulator: Simulator, provider: str, tokens: int, per_event: int, deltas: int
) -> None:
    words = steer(f"output_tokens={tokens} tokens_per_event={per_event}")
    more: dict[str, Any] = {"max_tokens": 1000} if provider == "anthropic" else {}
    answer = chat(simulator, provider, stream=True, headers=words, **more)
    texts = []
    for event in answer.data:
        if provider == "anthropic":
            texts.append(event.get("delta", {}).get("text"))
        else:
            texts += [choice["delta"].get("content") for choice in event["choices"]]
    found = [text for text in texts if text]
    assert len(found) == deltas
    assert len("".join(found).split()) == tokens
    (line,) = simulator.log()
    assert line["usage"]["output"] == tokens


def test_events_share_writes_as_configured(simulator: Simulator) -> None:
    with H1(simulator) as connection:
        for per_write, chunks in ((4, 5), (1, 20), (100, 1)):
            connection.send_chat(
                "openai",
                PROMPT,
                steer(f"output_tokens=17 events_per_write={per_write}"),
                stream=True,
            )
            # 1 head + 17 deltas + 1 finish + [DONE] = 20 events
            answer = connection.read()
            assert len(answer.events) == 20
            assert connection.chunks_seen == chunks


def test_the_prompt_steers_and_the_header_wins(simulator: Simulator) -> None:
    with H1(simulator) as connection:
        prompt = "[[simulator: output_tokens=9 cached_tokens=1]]"
        body = connection.chat("openai", prompt, steer("output_tokens=2")).json
        assert body["usage"]["completion_tokens"] == 2
        assert body["usage"]["prompt_tokens_details"]["cached_tokens"] == 1
        parts = [{"type": "text", "text": "[[simulator: output_tokens=7]]"}]
        messages = [{"role": "user", "content": parts}]
        body = connection.chat("anthropic", messages=messages).json
        assert body["usage"]["output_tokens"] == 7


@pytest.mark.parametrize(
    ("path", "provider", "key", "expected"),
    [
        ("/openai/v1/models", "openai", "data", "gpt-4o"),
        ("/deepseek/models", "deepseek", "data", "deepseek-flash"),
        ("/deepseek/v1/models", "deepseek", "data", "deepseek-v4-pro"),
        ("/anthropic/v1/models", "anthropic", "data", "claude-haiku-5-5"),
    ],
)
def test_lists_of_models(
    simulator: Simulator, path: str, provider: str, key: str, expected: str
) -> None:
    with H1(simulator) as connection:
        connection.send(path, headers=key_headers(provider))
        answer = connection.read()
        assert expected in [model["id"] for model in answer.json[key]]
        connection.send(f"{path}/{expected}", headers=key_headers(provider))
        assert connection.read().json["id"] == expected
        connection.send(f"{path}/nonexistent", headers=key_headers(provider))
        assert connection.read().status == 404
    assert simulator.bill()["total_nanousd"] == 0


def test_token_counting_is_free(simulator: Simulator) -> None:
    with H1(simulator) as connection:
        body = {"model": "claude-opus-5", "messages": [{"role": "user", "content": PROMPT}]}
        connection.send("/anthropic/v1/messages/count_tokens", body, key_headers("anthropic"))
        assert connection.read().json == {"input_tokens": 5}
    (line,) = simulator.log()
    assert (line["billed_nanousd"], line["executed"]) == (0, True)


def test_aliases_reach_the_model_that_serves_them(simulator: Simulator) -> None:
    with H1(simulator) as connection:
        assert connection.chat("deepseek", model="deepseek-chat").json["model"] == "deepseek-flash"
        haiku = connection.chat("anthropic", model="claude-haiku-4-5").json["model"]
        assert haiku == "claude-haiku-4-5-20251001"
    assert [line["model"] for line in simulator.log()] == ["deepseek-flash", "claude-haiku-4-5"]
