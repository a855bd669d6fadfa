"""Validation of messages requests, as Anthropic does it: field by field, "path: what is wrong".

Sources: Anthropic's OpenAPI document (2026-05-06) for names and ranges; the wording follows the
pydantic-like texts that public threads quote ("max_tokens: Field required").
"""

from __future__ import annotations

from collections.abc import Mapping

from sluiceway.simulator.providers.models import Model

_PARAMETER_NAMES = (
    "cache_control container context_management inference_geo max_tokens mcp_servers messages "
    "metadata model output_config output_format service_tier speed stop_sequences stream system "
    "temperature thinking tool_choice tools top_k top_p"
)
_PARAMETERS = frozenset(_PARAMETER_NAMES.split())


def validate(body: Mapping[str, object], model: Model | None) -> tuple[int, str] | None:
    """The first thing that is wrong as (status, message), or None."""
    for key in ("model", "messages", "max_tokens"):
        if body.get(key) is None:
            return 400, f"{key}: Field required"
    for key in body:
        if key not in _PARAMETERS:
            return 400, f"{key}: Extra inputs are not permitted"
    if not isinstance(body["model"], str):
        return 400, "model: Input should be a valid string"
    if model is None:
        return 404, f"model: {body['model']}"
    wrong = _wrong_messages(body["messages"])
    if wrong is None:
        wrong = _wrong_maximum(body["max_tokens"], model)
    if wrong is None and not isinstance(body.get("stream", False), bool):
        wrong = "stream: Input should be a valid boolean"
    if wrong is None and not isinstance(body.get("system", ""), str | list):
        wrong = "system: Input should be a valid list"
    if wrong is None:
        temperature = body.get("temperature", 1.0)
        if not isinstance(temperature, int | float) or not 0 <= temperature <= 1:
            wrong = "temperature: range: 0..1"
    return None if wrong is None else (400, wrong)


def _wrong_maximum(value: object, model: Model) -> str | None:
    if isinstance(value, bool) or not isinstance(value, int):
        return "max_tokens: Input should be a valid integer"
    if value < 0:
        return "max_tokens: Input should be greater than or equal to 0"
    if value > model.output_tokens_max:
        return (
            f"max_tokens: {value} > {model.output_tokens_max}, which is the maximum allowed number "
            f"of output tokens for {model.id}"
        )
    return None


def _wrong_messages(messages: object) -> str | None:
    if not isinstance(messages, list):
        return "messages: Input should be a valid list"
    if not messages:
        return "messages: at least one message is required"
    for index, message in enumerate(messages):
        where = f"messages.{index}"
        if not isinstance(message, Mapping):
            return f"{where}: Input should be an object"
        role = message.get("role")
        if role is None:
            return f"{where}.role: Field required"
        if role not in ("user", "assistant"):
            return (
                f'messages: Unexpected role "{role}". The Messages API accepts a top-level '
                '`system` parameter, not "system" as an input message role.'
            )
        content = message.get("content")
        if content is None:
            return f"{where}.content: Field required"
        if not isinstance(content, str | list):
            return f"{where}.content: Input should be a valid list"
        if not content and index + 1 < len(messages):
            return f"{where}: all messages must have non-empty content"
    return None
