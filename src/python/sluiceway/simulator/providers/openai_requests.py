"""Validation of chat completion requests, as OpenAI and DeepSeek do it.

Only what a client can get wrong in ways that matter to it is checked: the shape of the body, the
model, the messages, the limits on tokens, the known parameters. The order follows the provider:
what is missing first, then the model, then the rest.

Sources: OpenAI's OpenAPI document (2026-08-21) for names and ranges; error texts as quoted in
public threads (see `openai_errors.py`); DeepSeek's valid range as reported in 2025, its answer to
an unknown model as in ConardLi/easy-dataset#9 and langbot-app/LangBot#1643.
"""

from __future__ import annotations

from collections.abc import Mapping

from sluiceway.simulator.providers.models import Model
from sluiceway.simulator.providers.openai_errors import INVALID, ErrorText, model_not_found

_PARAMETER_NAMES = (
    "audio frequency_penalty function_call functions logit_bias logprobs max_completion_tokens "
    "max_tokens messages metadata modalities model moderation n parallel_tool_calls prediction "
    "presence_penalty prompt_cache_key prompt_cache_options prompt_cache_retention "
    "reasoning_effort response_format safety_identifier seed service_tier stop store stream "
    "stream_options temperature tool_choice tools top_logprobs top_p user verbosity "
    "web_search_options"
)
_OPENAI_PARAMETERS = frozenset(_PARAMETER_NAMES.split())
_ROLES = frozenset(("developer", "system", "user", "assistant", "tool", "function"))
CHOICES_MAX = 128

Wrong = tuple[int, ErrorText]


def validate(provider: str, body: Mapping[str, object], model: Model | None) -> Wrong | None:
    """The first thing that is wrong with a request as (status, error), or None."""
    name = body.get("model")
    if not isinstance(name, str) or not name:
        return 400, _invalid("you must provide a model parameter", None, provider)
    if model is None:
        return 404 if provider == "openai" else 400, model_not_found(provider, name)
    wrong = _wrong_messages(provider, body.get("messages", _MISSING))
    if wrong is None:
        wrong = _wrong_maximum(provider, body, model)
    if wrong is None:
        wrong = _wrong_flags(provider, body)
    return wrong


_MISSING = object()


def _invalid(message: str, param: str | None, provider: str, code: str | None = None) -> ErrorText:
    if provider == "deepseek":
        return ErrorText(message, INVALID, INVALID)
    return ErrorText(message, INVALID, code, param)


def _wrong_messages(provider: str, messages: object) -> Wrong | None:
    if messages is _MISSING:
        text = "Missing required parameter: 'messages'."
        return 400, _invalid(text, "messages", provider, "missing_required_parameter")
    if not isinstance(messages, list):
        text = "Invalid type for 'messages': expected an array of objects."
        return 400, _invalid(text, "messages", provider, "invalid_type")
    if not messages:
        text = "Invalid 'messages': empty array. Expected an array with minimum length 1."
        return 400, _invalid(text, "messages", provider, "empty_array")
    for index, message in enumerate(messages):
        where = f"messages[{index}]"
        if not isinstance(message, Mapping):
            text = f"Invalid type for '{where}': expected an object."
            return 400, _invalid(text, where, provider, "invalid_type")
        role = message.get("role")
        if role is None:
            text = f"Missing required parameter: '{where}.role'."
            return 400, _invalid(text, f"{where}.role", provider, "missing_required_parameter")
        if role not in _ROLES:
            text = f"Invalid value: '{role}'. Supported values are: 'system', 'user', ..."
            return 400, _invalid(text, f"{where}.role", provider, "invalid_value")
        content = message.get("content")
        if content is None and role == "assistant":
            continue
        if not isinstance(content, str | list) or (provider == "deepseek" and _has_media(content)):
            text = f"Invalid type for '{where}.content': expected a string or an array of objects."
            if provider == "deepseek":
                text = (
                    "Failed to deserialize the JSON body into the target type: "
                    f"{where}: invalid type: expected a string at line 1 column 1"
                )
            return 400, _invalid(text, f"{where}.content", provider, "invalid_type")
    return None


def _has_media(content: object) -> bool:
    """Whether a list of parts holds anything but text, which DeepSeek does not take."""
    if not isinstance(content, list):
        return False
    return any(not isinstance(part, Mapping) or part.get("type") != "text" for part in content)


def _wrong_maximum(provider: str, body: Mapping[str, object], model: Model) -> Wrong | None:
    for key in ("max_completion_tokens", "max_tokens"):
        value = body.get(key)
        if value is None:
            continue
        if provider == "openai" and key == "max_tokens" and not model.old_max_tokens:
            text = (
                "Unsupported parameter: 'max_tokens' is not supported with this model. Use "
                "'max_completion_tokens' instead."
            )
            return 400, _invalid(text, key, provider, "unsupported_parameter")
        if isinstance(value, bool) or not isinstance(value, int):
            text = f"Invalid type for '{key}': expected an integer."
            return 400, _invalid(text, key, provider, "invalid_type")
        if 1 <= value <= model.output_tokens_max:
            continue
        if provider == "deepseek":
            text = f"Invalid {key} value, the valid range of {key} is "
            return 400, _invalid(f"{text}[1, {model.output_tokens_max}]", key, provider)
        if value < 1:
            text = f"Invalid '{key}': integer below minimum value. Expected a value >= 1, but got "
            return 400, _invalid(
                f"{text}{value} instead.", key, provider, "integer_below_min_value"
            )
        text = (
            f"{key} is too large: {value}. This model supports at most {model.output_tokens_max} "
            f"completion tokens, whereas you provided {value}."
        )
        return 400, _invalid(text, key, provider, "invalid_value")
    return None


def _wrong_flags(provider: str, body: Mapping[str, object]) -> Wrong | None:
    stream = body.get("stream")
    if stream is not None and not isinstance(stream, bool):
        text = "Invalid type for 'stream': expected a boolean."
        return 400, _invalid(text, "stream", provider, "invalid_type")
    if body.get("stream_options") is not None and stream is not True:
        text = "The 'stream_options' parameter is only allowed when 'stream' is enabled."
        return 400, _invalid(text, "stream_options", provider)
    choices = body.get("n")
    if choices is not None and (
        isinstance(choices, bool) or not isinstance(choices, int) or not 1 <= choices <= CHOICES_MAX
    ):
        text = f"Invalid 'n': expected an integer from 1 to {CHOICES_MAX}."
        return 400, _invalid(text, "n", provider, "invalid_value")
    temperature = body.get("temperature")
    if temperature is not None and not (
        isinstance(temperature, int | float) and 0 <= temperature <= 2
    ):
        text = "Invalid 'temperature': expected a decimal from 0 to 2."
        return 400, _invalid(text, "temperature", provider, "decimal_above_max_value")
    if provider == "openai":
        for key in body:
            if key not in _OPENAI_PARAMETERS:
                text = f"Unknown parameter: '{key}'."
                return 400, _invalid(text, key, provider, "unknown_parameter")
    return None
