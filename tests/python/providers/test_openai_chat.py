"""OpenAI chat completions: bodies as the provider's document has them, and true bounds."""

from __future__ import annotations

from typing import Any

import pytest

from sluiceway.errors import InvalidRequest, InvalidType
from sluiceway.providers.dialects.encoding import ChatFacts, Encoded
from sluiceway.providers.dialects.openai_chat import encode_chat
from sluiceway.providers.registry import load_registry

ALLOWANCES = {
    "fixed": 10,
    "per_message": 5,
    "tools_fixed": 100,
    "per_tool": 7,
    "response_format": 50,
}
FACTS = ChatFacts(
    "openai",
    "gpt-x",
    "max_completion_tokens",
    4096,
    ALLOWANCES,
    {"default": "", "auto": "", "flex": "flex"},
)
DEEPSEEK = ChatFacts("deepseek", "flash", "max_tokens", 300, ALLOWANCES, {})
TOOL = {"type": "function", "function": {"name": "f", "parameters": {"type": "object"}}}


def encode(
    prompt: Any, *, stream: bool = False, facts: ChatFacts = FACTS, **options: Any
) -> Encoded:
    return encode_chat(facts, prompt, options, stream)


def test_a_plain_prompt() -> None:
    assert encode("hi") == Encoded(
        body={
            "model": "gpt-x",
            "messages": [{"role": "user", "content": "hi"}],
            "max_completion_tokens": 4096,
            "service_tier": "default",  # the project's own setting may be dearer
        },
        max_output_tokens=4096,
        prompt_allowance=15,
        reachable_buckets=(),
        service_tier="",
        unbounded="",
    )


def test_a_provider_with_another_field_and_no_tiers() -> None:
    assert encode("hi", facts=DEEPSEEK, stream=True).body == {
        "model": "flash",
        "messages": [{"role": "user", "content": "hi"}],
        "max_tokens": 300,
        "stream": True,
        "stream_options": {"include_usage": True},
    }


def test_every_option_has_its_field() -> None:
    encoded = encode(
        "hi",
        system="Be brief",
        max_output_tokens=7,
        temperature=0,
        top_p=0.5,
        stop="END",
        seed=3,
        tools=[TOOL],
        response_format={"type": "json_object"},
        extra={"user": "u"},
    )
    assert encoded.body == {
        "model": "gpt-x",
        "messages": [
            {"role": "system", "content": "Be brief"},
            {"role": "user", "content": "hi"},
        ],
        "user": "u",
        "temperature": 0,
        "top_p": 0.5,
        "stop": ["END"],
        "seed": 3,
        "tools": [TOOL],
        "response_format": {"type": "json_object"},
        "max_completion_tokens": 7,
        "service_tier": "default",
    }
    # 10 + two messages of 5 + tools 100 + one tool 7 + response format 50
    assert encoded.prompt_allowance == 177
    assert encoded.max_output_tokens == 7


def test_n_multiplies_the_output() -> None:
    encoded = encode("hi", max_output_tokens=100, extra={"n": 3})
    assert encoded.max_output_tokens == 300
    assert encoded.body["max_completion_tokens"] == 100
    with pytest.raises(InvalidRequest, match="n above 1"):
        encode("hi", extra={"n": 2}, stream=True)


@pytest.mark.parametrize("name", ["max_tokens", "max_completion_tokens"])
def test_the_wires_own_maxima_are_recognised(name: str) -> None:
    encoded = encode("hi", extra={name: 9})
    assert encoded.max_output_tokens == 9
    assert encoded.body["max_completion_tokens"] == 9
    assert "max_tokens" not in encoded.body
    with pytest.raises(InvalidRequest, match="both set the maximum"):
        encode("hi", max_output_tokens=9, extra={name: 9})


def test_service_tiers() -> None:
    flex = encode("hi", extra={"service_tier": "flex"})
    assert (flex.service_tier, flex.unbounded) == ("flex", "")
    assert flex.body["service_tier"] == "flex"
    assert "service tier" in encode("hi", extra={"service_tier": "scale"}).unbounded


@pytest.mark.parametrize(
    ("options", "said"),
    [
        ({"extra": {"web_search_options": {}}}, "web_search_options"),
        ({"extra": {"audio": {"voice": "v"}}}, "audio"),
        ({"extra": {"modalities": ["text", "audio"]}}, "modalities"),
        ({"extra": {"prediction": {}}}, "prediction"),
        ({"extra": {"prompt_cache_retention": "24h"}}, "prompt cache"),
        ({"extra": {"brand_new_field": 1}}, "brand_new_field"),
        ({"tools": [{"type": "web_search"}]}, "web_search"),
        ({"extra": {"tools": [{"type": "web_search"}]}}, "web_search"),
    ],
)
def test_what_has_no_bound(options: dict[str, Any], said: str) -> None:
    assert said in encode("hi", **options).unbounded


@pytest.mark.parametrize(
    "extra",
    [
        {"modalities": ["text"]},
        {"prompt_cache_retention": "in_memory"},
        {"store": True, "metadata": {"a": "b"}, "reasoning_effort": "low", "logprobs": True},
    ],
)
def test_what_has_a_bound(extra: dict[str, Any]) -> None:
    assert encode("hi", extra=extra).unbounded == ""


def test_parts() -> None:
    text = [{"role": "user", "content": [{"type": "text", "text": "hi"}]}]
    assert encode(text).unbounded == ""
    for part in ({"type": "image_url", "image_url": {}}, {"type": "file"}, {"type": "input_audio"}):
        messages = [{"role": "user", "content": [part]}]
        assert str(part["type"]) in encode(messages).unbounded
    assert (
        "audio" in encode([{"role": "assistant", "audio": {"id": "a"}, "content": "x"}]).unbounded
    )


def test_tool_calls_have_no_content() -> None:
    messages = [
        {"role": "user", "content": "hi"},
        {"role": "assistant", "content": None, "tool_calls": [{"id": "1"}]},
        {"role": "tool", "tool_call_id": "1", "content": "result"},
    ]
    encoded = encode(messages)
    assert encoded.unbounded == ""
    assert encoded.prompt_allowance == 10 + 3 * 5
    assert encoded.body["messages"] == messages


def test_the_callers_messages_are_not_changed() -> None:
    messages = [{"role": "user", "content": "hi"}]
    encode(messages, system="s")
    assert messages == [{"role": "user", "content": "hi"}]


def test_tools_in_the_other_form_are_translated() -> None:
    tool = {"name": "f", "description": "d", "input_schema": {"type": "object"}}
    assert encode("hi", tools=[tool]).body["tools"] == [
        {
            "type": "function",
            "function": {"name": "f", "parameters": {"type": "object"}, "description": "d"},
        }
    ]


@pytest.mark.parametrize(
    ("prompt", "kind", "said"),
    [
        (None, InvalidType, "None"),
        (b"hi", InvalidType, "bytes"),
        (7, InvalidType, "an int"),
        ("", InvalidRequest, "empty"),
        ([], InvalidRequest, "empty"),
        ({"role": "user", "content": "hi"}, InvalidType, "into a list"),
        (["hi"], InvalidType, "message 0"),
        ([{"role": "boss", "content": "hi"}], InvalidRequest, "'boss'"),
        ([{"content": "hi"}], InvalidRequest, "role"),
        ([{"role": ["user"], "content": "hi"}], InvalidRequest, "role"),
        ([{"role": "user"}], InvalidType, "content"),
        ([{"role": "user", "content": 3}], InvalidType, "content"),
        ([{"role": "user", "content": b"x"}], InvalidType, "content"),
        ([{"role": "user", "content": ["x"]}], InvalidType, "part"),
        ([{"role": "user", "content": [{"type": "text"}]}], InvalidType, "text part"),
    ],
)
def test_prompts_that_are_none(prompt: Any, kind: type[Exception], said: str) -> None:
    with pytest.raises(kind, match=said):
        encode(prompt)


@pytest.mark.parametrize(
    "options",
    [
        {"temperature": float("nan")},
        {"temperature": 2.1},
        {"temperature": "hot"},
        {"temperature": True},
        {"top_p": -0.1},
        {"max_output_tokens": 0},
        {"max_output_tokens": 1.5},
        {"max_output_tokens": True},
        {"stop": []},
        {"stop": [""]},
        {"stop": [3]},
        {"seed": "x"},
        {"tools": "f"},
        {"tools": ["f"]},
        {"response_format": "json"},
        {"system": ""},
        {"system": b"x"},
        {"extra": []},
        {"extra": {3: 4}},
        {"extra": {"model": "other"}},
        {"extra": {"messages": []}},
        {"extra": {"stream": True}},
        {"extra": {"n": 0}},
    ],
)
def test_options_that_are_none(options: dict[str, Any]) -> None:
    with pytest.raises(InvalidRequest):
        encode("hi", **options)


def test_messages_of_errors_hold_no_prompt() -> None:
    with pytest.raises(InvalidRequest) as caught:
        encode([{"role": "a secret prompt of more than forty characters, not to be shown"}])
    assert "secret" not in str(caught.value)


def test_the_registrys_allowances_have_all_that_the_encoder_reads() -> None:
    for provider in load_registry().values():
        if provider.dialect.encoder == "openai_chat":
            assert ALLOWANCES.keys() <= provider.dialect.allowances.keys()


@pytest.mark.parametrize(
    ("image", "said"),
    [
        ({"url": "data:,", "detail": "low"}, ""),
        ({"url": "https://x/y.png", "detail": "high"}, ""),
        ({"url": "https://x/y.png"}, "detail"),
        ({"url": "https://x/y.png", "detail": "auto"}, "detail"),
        ("https://x/y.png", "detail"),
    ],
)
def test_images_are_bounded_by_their_detail(image: Any, said: str) -> None:
    facts = ChatFacts("openai", "m", "max_tokens", 9, {**ALLOWANCES, "per_image": 1000}, {})
    parts = [{"type": "text", "text": "x"}, {"type": "image_url", "image_url": image}]
    encoded = encode_chat(facts, [{"role": "user", "content": parts}], {}, False)
    assert said in encoded.unbounded
    assert bool(encoded.unbounded) == bool(said)
    plain = encode_chat(facts, "x", {}, False).prompt_allowance
    assert encoded.prompt_allowance - plain == (0 if said else 1000)
