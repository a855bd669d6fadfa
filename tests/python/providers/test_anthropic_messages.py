"""Anthropic messages: bodies as the provider's document has them, and true bounds."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from sluiceway.errors import InvalidRequest, InvalidType
from sluiceway.providers.dialects.anthropic_messages import encode_chat, growth
from sluiceway.providers.dialects.encoding import ChatFacts, Encoded

ALLOWANCES = {
    "fixed": 10,
    "per_message": 5,
    "tools_fixed": 100,
    "per_tool": 7,
    "per_defined_tool": 30,
    "response_format": 50,
}
FACTS = ChatFacts(
    "anthropic", "claude-x", "max_tokens", 4096, ALLOWANCES, {"auto": "", "standard_only": ""}
)
PLAIN = ("input", "cache_read", "output", "reasoning")


def encode(prompt: Any, *, stream: bool = False, **options: Any) -> Encoded:
    return encode_chat(FACTS, prompt, options, stream)


def test_a_plain_prompt() -> None:
    assert encode("hi") == Encoded(
        body={
            "model": "claude-x",
            "messages": [{"role": "user", "content": "hi"}],
            "max_tokens": 4096,
        },
        max_output_tokens=4096,
        prompt_allowance=15,
        reachable_buckets=PLAIN,
        service_tier="",
        unbounded="",
    )
    assert encode("hi", stream=True).body["stream"] is True


def test_every_option_has_its_field() -> None:
    encoded = encode(
        "hi",
        system="Be brief",
        max_output_tokens=7,
        temperature=1,
        top_p=0.5,
        stop=["END"],
        tools=[{"name": "f", "input_schema": {}}],
        response_format={"type": "json_schema", "schema": {"type": "object"}},
        extra={"top_k": 5, "service_tier": "standard_only"},
    )
    assert encoded.body == {
        "model": "claude-x",
        "messages": [{"role": "user", "content": "hi"}],
        "top_k": 5,
        "service_tier": "standard_only",
        "system": "Be brief",
        "temperature": 1,
        "top_p": 0.5,
        "stop_sequences": ["END"],
        "tools": [{"name": "f", "input_schema": {}}],
        "output_config": {"format": {"type": "json_schema", "schema": {"type": "object"}}},
        "max_tokens": 7,
    }
    # 10 + message 5 + system 5 + tools 100 + one tool 7 + output format 50
    assert encoded.prompt_allowance == 177
    assert encoded.unbounded == ""


def test_leading_system_messages_move() -> None:
    encoded = encode(
        [
            {"role": "system", "content": "a"},
            {"role": "developer", "content": "b"},
            {"role": "user", "content": "hi"},
        ]
    )
    assert encoded.body["system"] == [{"type": "text", "text": "a"}, {"type": "text", "text": "b"}]
    assert encoded.body["messages"] == [{"role": "user", "content": "hi"}]
    assert encoded.prompt_allowance == 10 + 3 * 5
    one = encode([{"role": "system", "content": "a"}, {"role": "user", "content": "hi"}])
    assert one.body["system"] == "a"
    with pytest.raises(InvalidRequest, match="both given"):
        encode([{"role": "system", "content": "a"}, {"role": "user", "content": "x"}], system="b")
    with pytest.raises(InvalidRequest, match="before all others"):
        encode([{"role": "user", "content": "x"}, {"role": "system", "content": "a"}])
    with pytest.raises(InvalidRequest, match="only system"):
        encode([{"role": "system", "content": "a"}])


@pytest.mark.parametrize(
    ("control", "buckets"),
    [
        ({"type": "ephemeral"}, (*PLAIN, "cache_write_5m")),
        ({"type": "ephemeral", "ttl": "5m"}, (*PLAIN, "cache_write_5m")),
        ({"type": "ephemeral", "ttl": "1h"}, (*PLAIN, "cache_write_5m", "cache_write_1h")),
    ],
)
@pytest.mark.parametrize("where", ["message", "tool_result", "system", "tool", "request"])
def test_cache_control_reaches_the_writes(
    control: dict[str, str], buckets: tuple[str, ...], where: str
) -> None:
    part = {"type": "text", "text": "hi", "cache_control": control}
    prompt: Any = "hi"
    options: dict[str, Any] = {}
    if where == "message":
        prompt = [{"role": "user", "content": [part]}]
    elif where == "tool_result":
        result = {"type": "tool_result", "tool_use_id": "1", "content": [part]}
        prompt = [{"role": "user", "content": [result]}]
    elif where == "system":
        options["system"] = [part]
    elif where == "tool":
        options["tools"] = [{"name": "f", "input_schema": {}, "cache_control": control}]
    else:
        options["extra"] = {"cache_control": control}
    encoded = encode(prompt, **options)
    assert encoded.reachable_buckets == buckets
    assert encoded.unbounded == ""


def test_an_unknown_cache_control_has_no_bound() -> None:
    assert "cache_control" in encode("x", extra={"cache_control": {"ttl": "24h"}}).unbounded


@pytest.mark.parametrize(
    ("options", "said"),
    [
        ({"extra": {"container": "c"}}, "container"),
        ({"extra": {"mcp_servers": []}}, "mcp_servers"),
        ({"extra": {"inference_geo": "moon"}}, "inference_geo"),
        ({"extra": {"speed": "fast"}}, "speed"),
        ({"extra": {"service_tier": "priority"}}, "service tier"),
        ({"tools": [{"type": "web_search_20250305", "name": "web_search"}]}, "web_search"),
        ({"tools": [{"type": "code_execution_20250825"}]}, "code_execution"),
    ],
)
def test_what_has_no_bound(options: dict[str, Any], said: str) -> None:
    assert said in encode("hi", **options).unbounded


@pytest.mark.parametrize("kind", ["image", "document", "container_upload", "search_result", None])
def test_parts_without_bound(kind: str | None) -> None:
    assert encode([{"role": "user", "content": [{"type": kind}]}]).unbounded
    nested = {"type": "tool_result", "content": [{"type": kind}]}
    assert encode([{"role": "user", "content": [nested]}]).unbounded


def test_where_it_runs_decides_the_tariff() -> None:
    us = encode("hi", extra={"inference_geo": "us"})
    assert (us.service_tier, us.unbounded) == ("us", "")
    anywhere = encode("hi", extra={"inference_geo": "global", "service_tier": "auto"})
    assert (anywhere.service_tier, anywhere.unbounded) == ("", "")


def test_tools_that_the_caller_runs() -> None:
    tools = [
        {"type": "bash_20250124", "name": "bash"},
        {"type": "custom", "name": "f", "input_schema": {}},
    ]
    encoded = encode("hi", tools=tools)
    assert encoded.unbounded == ""
    assert encoded.prompt_allowance == 15 + 100 + 30 + 7


def test_tools_in_the_other_form_are_translated() -> None:
    tool = {
        "type": "function",
        "function": {"name": "f", "description": "d", "parameters": {"a": 1}},
    }
    assert encode("hi", tools=[tool]).body["tools"] == [
        {"name": "f", "input_schema": {"a": 1}, "description": "d"}
    ]


def test_response_formats() -> None:
    openai = {"type": "json_schema", "json_schema": {"name": "n", "schema": {"a": 1}}}
    body = encode("hi", response_format=openai, extra={"output_config": {"effort": "low"}}).body
    assert body["output_config"] == {
        "effort": "low",
        "format": {"type": "json_schema", "schema": {"a": 1}},
    }
    assert "output_config" not in encode("hi", response_format={"type": "text"}).body
    with pytest.raises(InvalidRequest):
        encode("hi", response_format={"type": "json_object"})


@pytest.mark.parametrize(
    ("prompt", "kind"),
    [
        (None, InvalidType),
        (b"x", InvalidType),
        ("", InvalidRequest),
        ([], InvalidRequest),
        ([{"role": "tool", "content": "x"}], InvalidRequest),
        ([{"role": "user", "content": ""}], InvalidRequest),
        ([{"role": "user", "content": []}], InvalidType),
        ([{"role": "user", "content": None}], InvalidType),
        ([{"role": "user", "content": "x", "name": "n"}], InvalidRequest),
        ([{"role": "user", "content": [{"type": "text"}]}], InvalidType),
    ],
)
def test_prompts_that_are_none(prompt: Any, kind: type[Exception]) -> None:
    with pytest.raises(kind):
        encode(prompt)


@pytest.mark.parametrize(
    "options", [{"seed": 1}, {"temperature": 1.1}, {"extra": {"system": "x"}}, {"system": []}]
)
def test_options_that_are_none(options: dict[str, Any]) -> None:
    with pytest.raises(InvalidRequest):
        encode("hi", **options)


def test_normalisation_is_allowed_for() -> None:
    # U+FDFA is 3 bytes in UTF-8; its NFKC form is 18 characters of 2 bytes but 3 spaces: 33 bytes.
    assert growth("\ufdfa") == 30
    assert growth("plain") == 0
    assert growth("ﬁ") == 0  # 3 bytes become 2: never negative
    assert encode("\ufdfa").prompt_allowance == 15 + 30
    assert encode([{"role": "user", "content": "\ufdfa"}]).prompt_allowance == 15 + 30
    assert encode("x", system="\ufdfa").prompt_allowance == 15 + 5 + 30


@given(st.text())
def test_normalised_text_never_passes_bytes_plus_growth(text: str) -> None:
    import unicodedata

    def size(value: str) -> int:
        return len(value.encode("utf-8", "surrogatepass"))

    assert size(unicodedata.normalize("NFKC", text)) <= size(text) + growth(text)


@pytest.mark.parametrize(("source", "bounded"), [("base64", True), ("url", True), ("file", False)])
def test_images_are_scaled_down_to_a_bound(source: str, bounded: bool) -> None:
    facts = ChatFacts("anthropic", "m", "max_tokens", 9, {**ALLOWANCES, "per_image": 1000}, {})
    image = {"type": "image", "source": {"type": source}}
    result = {"type": "tool_result", "tool_use_id": "1", "content": [image]}
    encoded = encode_chat(facts, [{"role": "user", "content": [image, result]}], {}, False)
    assert bool(encoded.unbounded) == (not bounded)
    plain = encode_chat(facts, "x", {}, False).prompt_allowance
    assert encoded.prompt_allowance - plain == (2000 if bounded else 0)
