"""The providers' own SDKs, pointed at the simulator, parse its answers, streams and errors."""

from __future__ import annotations

import socket
import ssl
from collections.abc import Iterator
from typing import Any

import pytest

from sluiceway.simulator import Simulator
from tests.python.simulator.wire import connect

anthropic: Any = pytest.importorskip("anthropic", reason="needs the package anthropic")
openai: Any = pytest.importorskip("openai", reason="needs the package openai")

PROMPT = "hi [[simulator: output_tokens=5 cached_tokens=2]]"
MESSAGES = [{"role": "user", "content": PROMPT}]
TEXT = "the river runs slowly past"
# 49 bytes are 13 tokens, and 3 for the message.
PROMPT_TOKENS = 16


@pytest.fixture
def openai_client(simulator: Simulator) -> Iterator[Any]:
    url = simulator.base_url("openai")
    with openai.OpenAI(base_url=url, api_key="fake-key", max_retries=0) as client:
        yield client


@pytest.fixture
def deepseek_client(simulator: Simulator) -> Iterator[Any]:
    url = simulator.base_url("deepseek")
    with openai.OpenAI(base_url=url, api_key="fake-key", max_retries=0) as client:
        yield client


@pytest.fixture
def anthropic_client(simulator: Simulator) -> Iterator[Any]:
    url = simulator.base_url("anthropic")
    with anthropic.Anthropic(base_url=url, api_key="fake-key", max_retries=0) as client:
        yield client


def steered(words: str) -> dict[str, str]:
    return {"sluiceway-simulator": words}


def test_the_prompt_is_as_long_as_the_tests_say() -> None:
    assert len(PROMPT) == 49


def test_openai_whole(openai_client: Any) -> None:
    answer = openai_client.chat.completions.create(model="gpt-4o", messages=MESSAGES)
    assert answer.choices[0].message.content == TEXT
    assert answer.choices[0].finish_reason == "stop"
    assert answer.usage.prompt_tokens == PROMPT_TOKENS
    assert answer.usage.prompt_tokens_details.cached_tokens == 2
    assert answer._request_id.startswith("req_")


def test_openai_stream(openai_client: Any) -> None:
    chunks = list(
        openai_client.chat.completions.create(
            model="gpt-6.2-sol",
            messages=MESSAGES,
            stream=True,
            stream_options={"include_usage": True},
        )
    )
    text = [chunk.choices[0].delta.content for chunk in chunks if chunk.choices]
    assert "".join(part or "" for part in text) == TEXT
    assert chunks[-1].usage.completion_tokens == 5
    assert next(iter(openai_client.models.list())).id == "gpt-6.2-sol"


def test_deepseek_whole_and_stream(deepseek_client: Any) -> None:
    create = deepseek_client.chat.completions.create
    words = steered("reasoning_tokens=2 keep_alive=2")
    answer = create(model="deepseek-v4-pro", messages=MESSAGES, extra_headers=words)
    assert answer.choices[0].message.reasoning_content == "the river"
    assert answer.usage.prompt_cache_hit_tokens == 2
    chunks = list(
        create(model="deepseek-flash", messages=MESSAGES, stream=True, extra_headers=words)
    )
    text = "".join(chunk.choices[0].delta.content or "" for chunk in chunks)
    assert text == "the river runs"
    assert chunks[-1].usage.total_tokens == PROMPT_TOKENS + 5


def test_anthropic_whole(anthropic_client: Any) -> None:
    answer = anthropic_client.messages.create(
        model="claude-sonnet-5-5", max_tokens=3, messages=MESSAGES
    )
    assert answer.content[0].text == "the river runs"
    assert answer.stop_reason == "max_tokens"
    assert answer.usage.cache_read_input_tokens == 2
    assert answer.usage.input_tokens == PROMPT_TOKENS - 2
    counted = anthropic_client.messages.count_tokens(model="claude-opus-5", messages=MESSAGES)
    assert counted.input_tokens == PROMPT_TOKENS
    assert anthropic_client.models.retrieve("claude-opus-5").max_tokens == 128_000


def test_anthropic_stream(anthropic_client: Any) -> None:
    thinking = {"type": "adaptive"}
    with anthropic_client.messages.stream(
        model="claude-opus-5-5",
        max_tokens=100,
        messages=MESSAGES,
        thinking=thinking,
        extra_headers=steered("reasoning_tokens=2"),
    ) as stream:
        assert "".join(stream.text_stream) == "the river runs"
        final = stream.get_final_message()
    assert final.content[0].thinking == "the river"
    assert final.usage.output_tokens == 5
    assert final.stop_reason == "end_turn"


@pytest.mark.parametrize(
    ("words", "error", "code"),
    [
        ("fault=status status=429", "RateLimitError", "rate_limit_exceeded"),
        ("fault=status flavour=insufficient_quota", "RateLimitError", "insufficient_quota"),
        ("fault=status status=500", "InternalServerError", None),
        (
            "fault=status status=403",
            "PermissionDeniedError",
            "unsupported_country_region_territory",
        ),
        ("fault=drop_after", "APIConnectionError", None),
    ],
)
def test_openai_errors(openai_client: Any, words: str, error: str, code: str | None) -> None:
    with pytest.raises(getattr(openai, error)) as caught:
        openai_client.chat.completions.create(
            model="gpt-4o", messages=MESSAGES, extra_headers=steered(words)
        )
    assert caught.value.code == code


def test_openai_error_inside_a_stream(openai_client: Any) -> None:
    stream = openai_client.chat.completions.create(
        model="gpt-4o",
        messages=MESSAGES,
        stream=True,
        extra_headers=steered("fault=error_in_stream after_deltas=2"),
    )
    with pytest.raises(openai.APIError, match="overloaded"):
        list(stream)


def test_refusals_become_the_right_exceptions(simulator: Simulator) -> None:
    with openai.OpenAI(
        base_url=simulator.base_url("openai"), api_key="bad-key", max_retries=0
    ) as client:
        with pytest.raises(openai.AuthenticationError) as caught:
            client.chat.completions.create(model="gpt-4o", messages=MESSAGES)
        assert caught.value.code == "invalid_api_key"
    with anthropic.Anthropic(
        base_url=simulator.base_url("anthropic"), api_key="fake-key", max_retries=0
    ) as client:
        with pytest.raises(anthropic.NotFoundError):
            client.messages.create(model="claude-0", max_tokens=5, messages=MESSAGES)
        with pytest.raises(anthropic.InternalServerError) as overloaded:
            client.messages.create(
                model="claude-opus-5",
                max_tokens=5,
                messages=MESSAGES,
                extra_headers=steered("fault=status status=529"),
            )
        assert overloaded.value.body["error"]["type"] == "overloaded_error"
        assert overloaded.value.request_id.startswith("req_")


def test_anthropic_error_inside_a_stream(anthropic_client: Any) -> None:
    with (
        pytest.raises(anthropic.APIStatusError, match="Overloaded"),
        anthropic_client.messages.stream(
            model="claude-opus-5",
            max_tokens=50,
            messages=MESSAGES,
            extra_headers=steered("fault=error_in_stream after_deltas=1"),
        ) as stream,
    ):
        list(stream.text_stream)


def test_the_sdks_obey_retry_after_ms(simulator: Simulator) -> None:
    simulator.script(
        [
            {
                "match": {"nth": 1},
                "action": {
                    "fault": "status",
                    "status": 429,
                    "retry_after_s": 0.001,
                    "retry_after_form": "ms",
                },
            }
        ]
    )
    with openai.OpenAI(
        base_url=simulator.base_url("openai"), api_key="fake-key", max_retries=1
    ) as client:
        answer = client.chat.completions.create(model="gpt-4o", messages=MESSAGES)
    assert answer.choices[0].message.content == TEXT
    assert [line["status"] for line in simulator.log()] == [429, 200]


def test_the_certificate_is_trusted_and_names_loopback(simulator: Simulator) -> None:
    for protocol in ("h2", "http/1.1"):
        connect(simulator, tls=True, alpn=protocol).close()
    context = ssl.create_default_context()
    host, port = simulator.https_url.removeprefix("https://").split(":")
    with (
        socket.create_connection((host, int(port)), timeout=10) as sock,
        pytest.raises(ssl.SSLCertVerificationError),
    ):
        context.wrap_socket(sock, server_hostname=host)
