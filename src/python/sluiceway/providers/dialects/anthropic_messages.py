"""Encodes Anthropic messages.

Model: see encoding.py. `max_tokens` is required by the format and always set. A leading system
message, as other formats have it, moves into `system`, so that one list of messages serves a
fallback chain. Tools in the other format's declaration are translated.

Bounded: text, tool calls and their text results, thinking blocks (their bytes are longer than what
they stand for), images by value or URL (Anthropic scales each down to a stated size), tools that
the caller runs, the fields in `BOUNDED`. Documents, files, server tools, containers and MCP
servers have no bound here. `cache_control` makes the dearer cache writes reachable. Anthropic's
tokenizer is not published; an earlier one normalised text (NFKC), which can lengthen it, so what
normalisation would add to text outside ASCII is allowed for.

Source: Anthropic's API reference (messages), OpenAPI document of 2026-05; allowances and their
sources stand in registry.toml.

    encode_chat(facts, "Name three rivers", {"system": "Be brief"}, False).body
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

_ROLES = frozenset(("user", "assistant", "system", "developer"))
_SYSTEM_ROLES = ("system", "developer")
_MANAGED = {
    "model": "give the model as the first argument",
    "messages": "give the messages as the prompt",
    "system": "give it as system=",
    "stream": "call gw.stream(...) for a stream",
}
BOUNDED = words(
    "metadata top_k top_p temperature thinking tool_choice tools stop_sequences service_tier "
    "cache_control output_config max_tokens inference_geo"
)
# Where it runs decides the tariff (price files: tier "us").
GEO_TIERS = {"us": "us", "global": ""}
_BOUNDED_PARTS = words("text tool_use tool_result thinking redacted_thinking")
# Defined by Anthropic, run by the caller; type names carry a date.
_DEFINED_TOOLS = ("bash_", "text_editor_", "memory_")

_NO_WRITES: tuple[str, ...] = ("input", "cache_read", "output", "reasoning")
_WRITES_5M = (*_NO_WRITES, "cache_write_5m")
_WRITES_1H = (*_WRITES_5M, "cache_write_1h")


def encode_chat(facts: ChatFacts, prompt: Prompt, options: Options, stream: bool) -> Encoded:
    """The body of POST /v1/messages and its bounds; InvalidRequest for nonsense."""
    bounds = Bounds(facts.base_allowance, facts.allowances.get("per_image", 0))
    body: Body = {"model": facts.model}
    if prompt.__class__ is str and prompt:
        if not prompt.isascii():
            bounds.allowance += growth(prompt)
        body["messages"] = [{"role": "user", "content": prompt}]
        count = 1
    else:
        count = _messages(prompt, body, bounds)
    maximum = 0
    tier = ""
    if options:
        maximum, tier = _apply(facts, body, options, bounds)
    body["max_tokens"] = maximum = maximum or facts.max_output_default
    if stream:
        body["stream"] = True
    buckets = _NO_WRITES
    if bounds.writes_1h:
        buckets = _WRITES_1H
    elif bounds.writes_5m:
        buckets = _WRITES_5M
    allowance = bounds.allowance + facts.per_message * count
    return Encoded(body, maximum, allowance, buckets, tier, bounds.unbounded)


def growth(value: object) -> int:
    """How many bytes NFKC normalisation would add to the texts in a JSON value; never negative."""
    if isinstance(value, str):
        if value.isascii():
            return 0
        import unicodedata

        if unicodedata.is_normalized("NFKC", value):
            return 0
        before = len(value.encode("utf-8", "surrogatepass"))
        after = unicodedata.normalize("NFKC", value).encode("utf-8", "surrogatepass")
        return max(0, len(after) - before)
    if isinstance(value, Mapping):
        return sum(growth(key) + growth(one) for key, one in value.items())
    if isinstance(value, Sequence) and not isinstance(value, bytes | bytearray):
        return sum(growth(one) for one in value)
    return 0


def _messages(prompt: object, body: Body, bounds: Bounds) -> int:
    """Fills `messages` (and `system` from leading system messages); returns how many there were."""
    if prompt.__class__ is str:
        raise wrong_prompt(prompt)
    messages = message_list(prompt, _ROLES)
    bounds.allowance += growth(messages)
    system: list[Any] = []
    while messages and messages[0]["role"] in _SYSTEM_ROLES:
        content = messages.pop(0).get("content")
        system += [{"type": "text", "text": content}] if isinstance(content, str) else content or []
    if not messages:
        raise InvalidRequest("the list of messages holds only system messages; add a user message")
    if system:
        _parts(system, "system", bounds)
        body["system"] = system[0]["text"] if _is_plain(system) else system
    for index, message in enumerate(messages):
        if message["role"] in _SYSTEM_ROLES:
            raise InvalidRequest("Anthropic takes system messages only before all others")
        for key in message:
            if key not in ("role", "content"):
                raise InvalidRequest(
                    f"Anthropic messages have no field {short(key)} (message {index})"
                )
        content = message.get("content")
        if not isinstance(content, str):
            _parts(content, f"message {index}", bounds)
        elif not content:
            raise InvalidRequest(f"message {index} is empty")
    body["messages"] = messages
    return len(messages) + len(system)


def _is_plain(system: list[Any]) -> bool:
    return len(system) == 1 and set(system[0]) == {"type", "text"}


def _parts(parts: object, where: str, bounds: Bounds) -> None:
    if not isinstance(parts, Sequence) or isinstance(parts, str | bytes | bytearray) or not parts:
        raise InvalidType(f"{where} has a content that is neither a str nor a list of parts")
    for part in parts:
        if not isinstance(part, Mapping):
            raise InvalidType(f"{where} has a content part that is not a dict")
        kind = part.get("type")
        if kind == "image" and bounds.per_image and _source_of(part) in ("base64", "url"):
            bounds.allowance += bounds.per_image
        elif not isinstance(kind, str) or kind not in _BOUNDED_PARTS:
            bounds.no_bound(f"a content part of type {short(kind)} in {where}")
        elif kind == "text" and not isinstance(part.get("text"), str):
            raise InvalidType(f"{where} has a text part without a text")
        elif kind == "tool_result" and isinstance(part.get("content"), list) and part["content"]:
            _parts(part["content"], where, bounds)
        _cache_control(part, bounds)


def _source_of(part: Mapping[str, Any]) -> object:
    source = part.get("source")
    return source.get("type") if isinstance(source, Mapping) else None


def _cache_control(holder: Mapping[str, Any], bounds: Bounds) -> None:
    control = holder.get("cache_control")
    if control is None:
        return
    ttl = control.get("ttl", "5m") if isinstance(control, Mapping) else None
    if ttl == "5m":
        bounds.writes_5m = True
    elif ttl == "1h":
        bounds.writes_1h = True
    else:
        bounds.no_bound("a cache_control other than 5m and 1h")


def _apply(facts: ChatFacts, body: Body, options: Options, bounds: Bounds) -> tuple[int, str]:
    """Lays options over the body; returns the maximum (0: not said) and the price tier."""
    extra = extra_of(options, _MANAGED)
    for key, value in extra.items():
        if key not in BOUNDED:
            bounds.no_bound(f"the field {short(key)}")
        body[key] = value
    _cache_control(body, bounds)
    if options.get("system") is not None:
        _system(body, options["system"], facts, bounds)
    if options.get("temperature") is not None:
        body["temperature"] = number_of(options["temperature"], "temperature", 0, 1)
    if options.get("top_p") is not None:
        body["top_p"] = number_of(options["top_p"], "top_p", 0, 1)
    if options.get("stop") is not None:
        body["stop_sequences"] = stop_list(options["stop"])
    if options.get("seed") is not None:
        raise InvalidRequest("Anthropic messages have no seed; leave it out for this model")
    if options.get("tools") is not None:
        body["tools"] = [_tool(tool) for tool in tool_list(options["tools"])]
    if options.get("response_format") is not None:
        _response_format(body, options["response_format"])
    _allow(facts, body, bounds)
    tier = _tier(facts, extra, bounds)
    return max_output_of(options, extra, ("max_tokens",)) or 0, tier


def _tier(facts: ChatFacts, extra: Mapping[str, Any], bounds: Bounds) -> str:
    tier = unbounded = ""
    if extra.get("service_tier") is not None:
        tier, unbounded = tier_of(facts, extra["service_tier"])
    geo = extra.get("inference_geo")
    if isinstance(geo, str) and geo in GEO_TIERS:
        tier = GEO_TIERS[geo] or tier
    elif geo is not None:
        unbounded = unbounded or f"the inference_geo {short(geo)}"
    if unbounded:
        bounds.no_bound(unbounded)
    return tier


def _system(body: Body, system: object, facts: ChatFacts, bounds: Bounds) -> None:
    if "system" in body:
        raise InvalidRequest("system= and a system message are both given; give one")
    bounds.allowance += facts.per_message + growth(system)
    if not isinstance(system, str):
        _parts(system, "system", bounds)
    body["system"] = system if not isinstance(system, str) else text_of(system, "system")


def _allow(facts: ChatFacts, body: Body, bounds: Bounds) -> None:
    allowances = facts.allowances
    tools = tool_list(body["tools"]) if body.get("tools") else []
    if tools:
        bounds.allowance += allowances["tools_fixed"] + growth(tools)
    for tool in tools:
        kind = tool.get("type")
        _cache_control(tool, bounds)
        if kind in (None, "custom"):
            bounds.allowance += allowances["per_tool"]
        elif isinstance(kind, str) and kind.startswith(_DEFINED_TOOLS):
            bounds.allowance += allowances["per_defined_tool"]
        else:
            bounds.no_bound(f"a tool of type {short(kind)}")
    if body.get("output_config") is not None:
        bounds.allowance += allowances["response_format"] + growth(body["output_config"])


def _tool(tool: Mapping[str, Any]) -> Mapping[str, Any]:
    """A tool as this format writes it; the other format's declaration is translated."""
    function = tool.get("function")
    if tool.get("type") != "function" or not isinstance(function, Mapping):
        return tool
    schema = function.get("parameters") or {"type": "object", "properties": {}}
    out = {"name": function.get("name"), "input_schema": schema}
    if "description" in function:
        out["description"] = function["description"]
    return out


def _response_format(body: Body, value: object) -> None:
    if not isinstance(value, Mapping) or not isinstance(value.get("type"), str):
        raise InvalidType('response_format is a dict such as {"type": "json_schema", ...}')
    if value["type"] == "text":
        return
    inner = value.get("json_schema")
    schema = inner.get("schema") if isinstance(inner, Mapping) else value.get("schema")
    if value["type"] != "json_schema" or not isinstance(schema, Mapping):
        raise InvalidRequest(
            "Anthropic takes a response_format of type json_schema with a schema, or text"
        )
    body["output_config"] = {
        **body.get("output_config", {}),
        "format": {"type": "json_schema", "schema": schema},
    }
