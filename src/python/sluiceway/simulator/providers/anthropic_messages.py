"""Anthropic's messages dialect: answers, streams, errors and headers.

`input_tokens` excludes what was read from or written to the cache; a stream carries the input in
`message_start` and the cumulative output in `message_delta`; there is no [DONE]. Recorded streams
pad their JSON with blanks before the last brace, and so do these. Thinking is answered (and billed
as output) only if the request enables it.

Sources: Anthropic's OpenAPI document (2026-05-06), recorded responses (2025, 2026), the errors page
(November 2026), public threads for error texts. Time: linear in the tokens.
"""

from __future__ import annotations

import base64
import json
from collections.abc import Iterator, Mapping
from dataclasses import dataclass

from sluiceway.simulator import rate_headers
from sluiceway.simulator.message import Headers, Request
from sluiceway.simulator.providers.anthropic_batches import operation_of
from sluiceway.simulator.providers.anthropic_requests import validate
from sluiceway.simulator.providers.dialect import (
    Chat,
    EventStream,
    Ids,
    Refusal,
    bounded_output,
    build_usage,
)
from sluiceway.simulator.providers.models import Model, find_model, models_of
from sluiceway.simulator.settings import Settings
from sluiceway.simulator.tokens import count_input_tokens, words

_REQUEST_ID_MARK = b'"request_id":"?"'

_ERROR_TYPES = {
    400: ("invalid_request_error", "The request could not be processed."),
    401: ("authentication_error", "invalid x-api-key"),
    # Documented, but no real body of a 402 was found.
    402: ("billing_error", "There is an issue with your billing or payment information."),
    403: ("permission_error", "Permission denied"),
    404: ("not_found_error", "model: {model}"),
    409: ("conflict_error", "The request conflicts with the current state of the resource."),
    413: ("request_too_large", "Request exceeds the maximum size"),
    429: (
        "rate_limit_error",
        "This request would exceed your account's rate limit. Please try again later.",
    ),
    500: ("api_error", "Internal server error"),
    504: ("timeout_error", "The request timed out."),
    529: ("overloaded_error", "Overloaded"),
}
_LOW_BALANCE = (
    "Your credit balance is too low to access the Anthropic API. Please go to Plans & Billing to "
    "upgrade or purchase credits."
)
_STREAM_ERRORS = {
    "overloaded": ("overloaded_error", "Overloaded"),
    "rate_limit": ("rate_limit_error", "Rate limited"),
    "server": ("api_error", "Internal server error"),
}


def _dump(value: object) -> str:
    return json.dumps(value, separators=(",", ":"))


def _error(kind: str, message: str, details: Mapping[str, object] | None = None) -> bytes:
    """An error body whose request id `seal` fills in."""
    error: dict[str, object] = {"type": kind, "message": message}
    if details is not None:
        error["details"] = details
    return _dump({"type": "error", "error": error, "request_id": "?"}).encode()


@dataclass(frozen=True, slots=True)
class AnthropicMessages:
    """The one provider that speaks this dialect."""

    provider: str = "anthropic"
    prefix: str = "/anthropic"
    keep_alive_whole: bytes = b""
    keep_alive_stream: bytes = b""
    chunked_answers: bool = False

    def check(self, request: Request) -> Refusal | None:
        """401 without an accepted key, 400 without `anthropic-version`."""
        key = request.headers.get("x-api-key", "").strip()
        if not key:
            scheme, _, token = request.headers.get("authorization", "").partition(" ")
            key = token.strip() if scheme.lower() == "bearer" else ""
        if not key:
            return Refusal(401, _error("authentication_error", "x-api-key header is required"))
        if key.startswith("bad-"):
            return Refusal(401, _error("authentication_error", "invalid x-api-key"))
        if not request.headers.get("anthropic-version"):
            return self.invalid("anthropic-version: header is required")
        return None

    def find(self, method: str, path: str) -> str | Refusal:
        """Routes below the prefix."""
        routes = {
            ("POST", "/v1/messages"): "chat",
            ("POST", "/v1/messages/count_tokens"): "count",
            ("GET", "/v1/models"): "models",
        }
        operation = routes.get((method, path))
        if operation is not None:
            return operation
        batch = operation_of(method, path)
        if batch is not None:
            return batch
        if path.startswith("/v1/models/") and method == "GET":
            return "model/" + path.removeprefix("/v1/models/")
        if path in ("/v1/messages", "/v1/messages/count_tokens", "/v1/models"):
            return Refusal(405, _error("invalid_request_error", "Method Not Allowed"))
        return Refusal(404, _error("not_found_error", "Not Found"))

    def read(self, body: Mapping[str, object], settings: Settings) -> Chat | Refusal:
        """Validates the request and counts it; refuses what does not fit the context."""
        name = body.get("model")
        model = find_model("anthropic", name) if isinstance(name, str) else None
        wrong = validate(body, model)
        if wrong is not None:
            kind = "not_found_error" if wrong[0] == 404 else "invalid_request_error"
            return Refusal(wrong[0], _error(kind, wrong[1]))
        assert model is not None
        messages, output_max = body["messages"], body.get("max_tokens", 1)
        assert isinstance(messages, list)
        assert isinstance(output_max, int)
        input_tokens = count_input_tokens(messages, body.get("system"), body.get("tools"))
        if input_tokens > model.context_tokens:
            limit = model.context_tokens
            return self.invalid(f"prompt is too long: {input_tokens} tokens > {limit} maximum")
        output_tokens, cut = bounded_output(settings, output_max)
        thinking = body.get("thinking")
        thinks = isinstance(thinking, Mapping) and thinking.get("type") in ("enabled", "adaptive")
        reasoning = min(settings.reasoning_tokens, output_tokens) if thinks else 0
        return Chat(
            model=model,
            usage=build_usage(settings, input_tokens, output_tokens, model.cache_writes),
            output_tokens=output_tokens,
            reasoning_tokens=reasoning,
            cut_by_max=cut,
            stream=body.get("stream") is True,
            settings=settings,
            show_reasoning=reasoning > 0,
        )

    def _usage(self, chat: Chat, output_tokens: int) -> dict[str, object]:
        usage = chat.usage
        counts: dict[str, object] = {
            "input_tokens": usage.input,
            "cache_creation_input_tokens": usage.cache_write_5m + usage.cache_write_1h,
            "cache_read_input_tokens": usage.cache_read,
            "cache_creation": {
                "ephemeral_5m_input_tokens": usage.cache_write_5m,
                "ephemeral_1h_input_tokens": usage.cache_write_1h,
            },
            "output_tokens": output_tokens,
            "service_tier": "standard",
            "inference_geo": "global",
        }
        if chat.show_reasoning and output_tokens == usage.output:
            counts["output_tokens_details"] = {"thinking_tokens": chat.reasoning_tokens}
        return counts

    def _frame(self, chat: Chat, ids: Ids) -> dict[str, object]:
        return {
            "model": chat.model.served_as,
            "id": "msg_01" + ids.token(22),
            "type": "message",
            "role": "assistant",
            "content": [],
            "stop_reason": None,
            "stop_sequence": None,
            "stop_details": None,
            "usage": {},
        }

    def whole(self, chat: Chat, ids: Ids) -> bytes:
        """The `message` object."""
        content: list[dict[str, object]] = []
        if chat.show_reasoning:
            thinking = words(0, chat.reasoning_tokens)
            content.append({"type": "thinking", "thinking": thinking, "signature": _signature(ids)})
        if chat.text_tokens:
            content.append({"type": "text", "text": words(0, chat.text_tokens)})
        body = self._frame(chat, ids)
        body["content"] = content
        body["stop_reason"] = _stop_reason(chat)
        body["usage"] = self._usage(chat, chat.usage.output)
        return _dump(body).encode()

    def stream(self, chat: Chat, ids: Ids) -> EventStream:
        """From `message_start` to `message_stop`; a ping follows the first block's start."""
        message = self._frame(chat, ids)
        message["usage"] = self._usage(chat, min(chat.usage.output, 1))
        start = {"type": "message_start", "message": message}
        head = [_event("message_start", _dump(start), 1)]
        if chat.show_reasoning:
            head.append(_block_start(0, '{"type":"thinking","thinking":"","signature":""}'))
        elif chat.text_tokens:
            head.append(_block_start(0, '{"type":"text","text":""}'))
        head.append(b'event: ping\ndata: {"type": "ping"}\n\n')
        delta = {
            "type": "message_delta",
            "delta": {"stop_reason": _stop_reason(chat), "stop_sequence": None},
            "usage": self._delta_usage(chat),
        }
        tail = []
        if chat.text_tokens or chat.show_reasoning:
            last = int(chat.show_reasoning and chat.text_tokens > 0)
            tail.append(_block_stop(last))
        tail.append(_event("message_delta", _dump(delta), 5))
        tail.append(_event("message_stop", '{"type":"message_stop"}', 3))
        return EventStream(head, self._deltas(chat, ids), tail)

    def _delta_usage(self, chat: Chat) -> dict[str, object]:
        counts = self._usage(chat, chat.usage.output)
        for name in ("cache_creation", "service_tier", "inference_geo"):
            del counts[name]
        return counts

    def _deltas(self, chat: Chat, ids: Ids) -> Iterator[bytes]:
        # Structural events ride with the delta before them, so that an item stays one delta.
        step, index = chat.settings.tokens_per_event, 0
        for start in range(0, chat.reasoning_tokens, step):
            text = words(start, min(step, chat.reasoning_tokens - start))
            event = _delta(0, "thinking_delta", "thinking", text, start)
            if start + step >= chat.reasoning_tokens:
                event += _delta(0, "signature_delta", "signature", _signature(ids), start)
                if chat.text_tokens:
                    index = 1
                    event += _block_stop(0) + _block_start(1, '{"type":"text","text":""}')
            yield event
        for start in range(0, chat.text_tokens, step):
            text = words(start, min(step, chat.text_tokens - start))
            yield _delta(index, "text_delta", "text", text, start)

    def models(self) -> bytes:
        """The (single) page of models."""
        listed = [self._model(model) for model in models_of("anthropic")]
        page = {
            "data": listed,
            "has_more": False,
            "first_id": listed[0]["id"],
            "last_id": listed[-1]["id"],
        }
        return _dump(page).encode()

    def model(self, name: str) -> bytes | Refusal:
        """One model's description, or 404."""
        model = find_model("anthropic", name)
        if model is None:
            return Refusal(404, _error("not_found_error", f"model: {name}"))
        return _dump(self._model(model)).encode()

    def _model(self, model: Model) -> dict[str, object]:
        return {
            "type": "model",
            "id": model.id,
            "display_name": model.display_name,
            "created_at": rate_headers.rfc3339(model.created_unix_s),
            "max_input_tokens": model.context_tokens,
            "max_tokens": model.output_tokens_max,
            "capabilities": None,
        }

    def count(self, chat: Chat) -> bytes:
        """`{"input_tokens": n}`, free of charge."""
        return _dump({"input_tokens": chat.usage.prompt}).encode()

    def error(self, settings: Settings, status: int, model: str, ids: Ids) -> bytes:
        """The provider's own body for a scripted status and flavour."""
        if status == 413:
            # Sent by the edge: no outer type, no request id (claude-code#14567).
            kind, message = _ERROR_TYPES[413]
            return _dump({"error": {"type": kind, "message": message}}).encode()
        kind, message = _ERROR_TYPES.get(
            status,
            ("api_error" if status >= 500 else "invalid_request_error", f"Error {status}."),
        )
        message = message.replace("{model}", model)
        details: Mapping[str, object] | None = None
        if settings.flavour == "insufficient_quota":
            message = _LOW_BALANCE
        elif settings.flavour == "spend_limit":
            message = "You have reached your specified API usage limits."
            if status == 429:
                details = {"error_code": "enforced_spend_limit_reached"}
        elif settings.flavour == "too_large" and status == 429:
            message = "This request would exceed the rate limit for your organization."
        body = _error(kind, message, details)
        return self.seal(Refusal(status, body), ids)

    def stream_error(self, kind: str, ids: Ids) -> list[bytes]:
        """`event: error` with `details` and the request id; no message_stop follows."""
        name, message = _STREAM_ERRORS[kind]
        error = {"details": None, "type": name, "message": message}
        body = {"type": "error", "error": error, "request_id": ids.request_id}
        return [_event("error", _dump(body), 0)]

    def invalid(self, message: str, status: int = 400) -> Refusal:
        """A plain invalid_request_error."""
        return Refusal(status, _error("invalid_request_error", message))

    def seal(self, refusal: Refusal, ids: Ids) -> bytes:
        """Puts the request id into an error body."""
        return refusal.body.replace(
            _REQUEST_ID_MARK, b'"request_id":"' + ids.request_id.encode() + b'"'
        )

    def identity(self, ids: Ids) -> Headers:
        """`request-id` and the organization, as recorded."""
        ids.request_id = "req_011C" + ids.token(20)
        return [
            ("server", "cloudflare"),
            ("anthropic-organization-id", "00000000-0000-4000-8000-000000000000"),
            ("request-id", ids.request_id),
            ("via", "1.1 google"),
        ]

    def limits(self, chat: Chat | None, settings: Settings, status: int, now_s: float) -> Headers:
        """Twelve headers on answers and rate-limit errors; `x-should-retry` on 429 and 529."""
        spend = settings.flavour in ("spend_limit", "insufficient_quota")
        headers: Headers = []
        if status in (429, 529) and not spend:
            headers.append(("x-should-retry", "true"))
        if status == 200 or (status == 429 and not spend):
            prompt = chat.usage.prompt if chat is not None else 0
            output = chat.usage.output if chat is not None else 0
            headers += rate_headers.anthropic_limits(
                prompt, output, settings.reset_s, status == 429, now_s
            )
        return headers


def _stop_reason(chat: Chat) -> str:
    return "max_tokens" if chat.cut_by_max else "end_turn"


def _signature(ids: Ids) -> str:
    return base64.b64encode(ids.rng.randbytes(96)).decode("ascii")


def _event(name: str, data: str, padding: int) -> bytes:
    return f"event: {name}\ndata: {data[:-1]}{' ' * padding}}}\n\n".encode("ascii")


def _delta(index: int, kind: str, key: str, text: str, position: int) -> bytes:
    delta = f'{{"type":"{kind}","{key}":"{text}"}}'
    data = f'{{"type":"content_block_delta","index":{index},"delta":{delta}}}'
    return _event("content_block_delta", data, position * 7 % 16)


def _block_start(index: int, block: str) -> bytes:
    data = f'{{"type":"content_block_start","index":{index},"content_block":{block}}}'
    return _event("content_block_start", data, 8)


def _block_stop(index: int) -> bytes:
    return _event("content_block_stop", f'{{"type":"content_block_stop","index":{index}}}', 8)


ANTHROPIC = AnthropicMessages()
