"""Texts that the in-process rows work on: a request, an answer, a stream, made here.

They have the shape of the providers' documents and the bytes of the C++ programs' twins, so that a
figure from Google Benchmark compares with one from Python.
"""

from __future__ import annotations

import json
from typing import Any

LINE = "A lock keeper's log, line by line, with accents é and numbers 12.5. "


def request(size: int) -> dict[str, Any]:
    """A chat request whose compact JSON is about `size` bytes."""
    made: dict[str, Any] = {
        "model": "gpt-4.1",
        "messages": [
            {"role": "system", "content": "You keep the log of a lock."},
            {"role": "user", "content": ""},
        ],
        "temperature": 0.7,
        "max_completion_tokens": 256,
        "stop": ["\n\n", "END"],
        "seed": 7,
        "response_format": {"type": "text"},
    }
    rest = size - len(json.dumps(made, separators=(",", ":")).encode())
    made["messages"][1]["content"] = LINE * (rest // len(LINE.encode()))
    return made


def answer() -> bytes:
    """The chat.completion of parse_bench's parse_usage_3_7k."""
    body = {
        "id": "chatcmpl-000000000000000000000",
        "object": "chat.completion",
        "created": 1741569952,
        "model": "some-model-2025-04-14",
        "choices": [
            {
                "index": 0,
                "message": {
                    "role": "assistant",
                    "content": "Hello! How can I assist you today? " * 90,
                    "refusal": None,
                    "annotations": [],
                },
                "logprobs": None,
                "finish_reason": "stop",
            }
        ],
        "usage": {
            "prompt_tokens": 19,
            "completion_tokens": 10,
            "total_tokens": 29,
            "prompt_tokens_details": {"cached_tokens": 0, "audio_tokens": 0},
            "completion_tokens_details": {
                "reasoning_tokens": 0,
                "audio_tokens": 0,
                "accepted_prediction_tokens": 0,
                "rejected_prediction_tokens": 0,
            },
        },
        "service_tier": "default",
    }
    return json.dumps(body).encode()


STREAM_EVENTS = 100


def stream() -> bytes:
    """The 100 deltas of parse_bench's sse_100_deltas_decoded."""
    delta = {
        "id": "chatcmpl-000000000000000000000",
        "object": "chat.completion.chunk",
        "created": 1741569952,
        "model": "some-model",
        "choices": [{"index": 0, "delta": {"content": " word"}, "finish_reason": None}],
    }
    event = b"data: " + json.dumps(delta, separators=(",", ":")).encode() + b"\n\n"
    return event * STREAM_EVENTS
