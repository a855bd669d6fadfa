"""Encodes OpenAI chat completions, for OpenAI and for every provider that speaks the same format.

Model: see encoding.py. The request's own maximum is always set (`max_completion_tokens`, or what
the dialect's row names), streams always ask for their usage, and where the provider has service
tiers the standard one is asked for by name, since "auto" follows a project setting that no one here
can see. `n` multiplies the bound of the output.

Bounded: text parts, images whose `detail` is "low" or "high" where the row states what one may
cost (other details follow the picture's size without a published end), function and custom tools
(run by the caller), the fields in `BOUNDED`. Everything else, such as audio, files, web search or
predicted outputs, has no bound here.

Source: OpenAI's OpenAPI document, 2026-08-21 (schema CreateChatCompletionRequest); allowances and
their sources stand in registry.toml.

    encode_chat(facts, "Name three rivers", {"temperature": 0.2}, False).body
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from sluiceway.errors import InvalidRequest, InvalidType
from sluiceway.providers.dialects.encoding import (
    Body,
    Bounds,
    ChatFacts,
    Encoded,
    Options,
    Prompt,
    count_of,
    extra_of,
    max_output_of,
    message_list,
    number_of,
    short,
    stop_list,
    text_of,
    tier_of,
    tool_list,
    words,
    wrong_prompt,
)

_ROLES = words("developer system user assistant tool function")
_MESSAGE_KEYS = words(
    "role content name refusal tool_calls tool_call_id function_call reasoning_content prefix"
)
_TEXT_PARTS = {"text": "text", "refusal": "refusal"}
_MAXIMA = ("max_completion_tokens", "max_tokens")
_MANAGED = {
    "model": "give the model as the first argument",
    "messages": "give the messages as the prompt",
    "stream": "call gw.stream(...) for a stream",
}
# Fields that neither add tokens beyond the allowances nor change the price of one.
BOUNDED = words(
    "frequency_penalty presence_penalty logit_bias logprobs top_logprobs user safety_identifier "
    "prompt_cache_key metadata store reasoning_effort verbosity tool_choice parallel_tool_calls "
    "temperature top_p stop seed response_format tools functions function_call thinking user_id "
    "max_completion_tokens max_tokens n service_tier stream_options"
)


def encode_chat(facts: ChatFacts, prompt: Prompt, options: Options, stream: bool) -> Encoded:
    """The body of POST /chat/completions and its bounds; InvalidRequest for nonsense."""
    messages: list[Any]
    if prompt.__class__ is str and prompt:
        bounds = None
        messages = [{"role": "user", "content": prompt}]
    else:
        bounds = Bounds(facts.base_allowance)
        messages = _messages(prompt, bounds, facts.allowances.get("per_image", 0))
    body: Body = {"model": facts.model, "messages": messages}
    maximum = choices = 0
    tier = unbounded = ""
    allowance = facts.base_allowance
    if options:
        bounds = bounds or Bounds(allowance)
        choices, maximum, tier = _apply(facts, body, options, bounds)
    if bounds is not None:
        allowance, unbounded = bounds.allowance, bounds.unbounded
    body[facts.max_output_field] = maximum = maximum or facts.max_output_default
    if facts.pinned_tier and "service_tier" not in body:
        body["service_tier"] = facts.pinned_tier
    if stream:
        if choices > 1:
            raise InvalidRequest("n above 1 cannot be streamed: the answers would mix; use gw.chat")
        body["stream"] = True
        body["stream_options"] = {**body.get("stream_options", {}), "include_usage": True}
    allowance += facts.per_message * len(messages)
    return Encoded(body, maximum * (choices or 1), allowance, (), tier, unbounded)


def _messages(prompt: object, bounds: Bounds, per_image: int) -> list[Any]:
    messages = message_list(prompt, _ROLES) if prompt.__class__ is not str else []
    if not messages:
        raise wrong_prompt(prompt)
    for index, message in enumerate(messages):
        for key in message:
            if key not in _MESSAGE_KEYS:
                bounds.no_bound(f"the field {short(key)} of message {index}")
        content = message.get("content")
        if isinstance(content, str):
            continue
        if isinstance(content, Sequence) and not isinstance(content, bytes | bytearray):
            _parts(content, index, bounds, per_image)
        elif content is not None or not (message.get("tool_calls") or message.get("function_call")):
            raise InvalidType(
                f"message {index} has a content that is neither a str nor a list of parts"
            )
    return messages


def _parts(parts: Sequence[Any], index: int, bounds: Bounds, per_image: int) -> None:
    for part in parts:
        if not isinstance(part, Mapping):
            raise InvalidType(f"message {index} has a content part that is not a dict")
        kind = part.get("type")
        field = _TEXT_PARTS.get(kind) if isinstance(kind, str) else None
        if kind == "image_url" and per_image:
            image = part.get("image_url")
            if isinstance(image, Mapping) and image.get("detail") in ("low", "high"):
                bounds.allowance += per_image
            else:
                bounds.no_bound(f'an image_url without detail "low" or "high" in message {index}')
        elif field is None:
            bounds.no_bound(f"a content part of type {short(kind)} in message {index}")
        elif not isinstance(part.get(field), str):
            raise InvalidType(f"message {index} has a {kind} part without a {field}")


def _apply(facts: ChatFacts, body: Body, options: Options, bounds: Bounds) -> tuple[int, int, str]:
    """Lays options over the body; returns choices (0: not said), maximum (0: not said), tier."""
    extra = extra_of(options, _MANAGED)
    if options.get("system") is not None:
        body["messages"].insert(
            0, {"role": "system", "content": text_of(options["system"], "system")}
        )
    for key, value in extra.items():
        _check_extra(key, value, bounds)
        body[key] = value
    if options.get("temperature") is not None:
        body["temperature"] = number_of(options["temperature"], "temperature", 0, 2)
    if options.get("top_p") is not None:
        body["top_p"] = number_of(options["top_p"], "top_p", 0, 1)
    if options.get("stop") is not None:
        body["stop"] = stop_list(options["stop"])
    if options.get("seed") is not None:
        if isinstance(options["seed"], bool) or not isinstance(options["seed"], int):
            raise InvalidType("seed is not an int")
        body["seed"] = options["seed"]
    if options.get("tools") is not None:
        body["tools"] = [_tool(tool) for tool in tool_list(options["tools"])]
    if options.get("response_format") is not None:
        body["response_format"] = _response_format(options["response_format"])
    _allow(facts, body, bounds)
    choices = count_of(extra["n"], "n") if extra.get("n") is not None else 0
    tier = ""
    if extra.get("service_tier") is not None:
        tier, unbounded = tier_of(facts, extra["service_tier"])
        if unbounded:
            bounds.no_bound(unbounded)
    maximum = max_output_of(options, extra, _MAXIMA) or 0
    for name in _MAXIMA:
        body.pop(name, None)
    return choices, maximum, tier


def _check_extra(key: str, value: object, bounds: Bounds) -> None:
    if key == "modalities":
        if value != ["text"]:
            bounds.no_bound("the field 'modalities' with more than text")
    elif key == "prompt_cache_retention":
        # A longer retention is billed dearer, and the usage does not tell the two apart.
        if value not in (None, "in_memory"):
            bounds.no_bound("a longer retention of the prompt cache")
    elif key not in BOUNDED:
        bounds.no_bound(f"the field {short(key)}")
    elif key == "stream_options" and not isinstance(value, Mapping):
        raise InvalidType("extra has stream_options that are not a dict")


def _allow(facts: ChatFacts, body: Body, bounds: Bounds) -> None:
    """Adds allowances for tools and a response format; tools that the provider runs have none."""
    allowances = facts.allowances
    for field in ("tools", "functions"):
        tools = body.get(field)
        if not tools:
            continue
        tools = tool_list(tools)
        bounds.allowance += allowances["tools_fixed"] + allowances["per_tool"] * len(tools)
        for tool in tools:
            if field == "tools" and tool.get("type") not in ("function", "custom"):
                bounds.no_bound(f"a tool of type {short(tool.get('type'))}")
    if body.get("response_format") is not None:
        bounds.allowance += allowances["response_format"]


def _tool(tool: Mapping[str, Any]) -> Mapping[str, Any]:
    """A tool as this format writes it; the other format's declaration is translated."""
    if "type" in tool or "input_schema" not in tool:
        return tool
    function = {"name": tool.get("name"), "parameters": tool["input_schema"]}
    if "description" in tool:
        function["description"] = tool["description"]
    return {"type": "function", "function": function}


def _response_format(value: object) -> Mapping[str, Any]:
    if not isinstance(value, Mapping) or not isinstance(value.get("type"), str):
        raise InvalidType('response_format is a dict such as {"type": "json_object"}')
    if value["type"] == "json_schema" and "schema" in value:
        return {"type": "json_schema", "json_schema": {"name": "answer", "schema": value["schema"]}}
    return value
