"""The OpenAI chat completions dialect: OpenAI itself and DeepSeek, two rows of one wire format.

Differences that matter and that recorded responses show: DeepSeek adds `prompt_cache_hit_tokens`
and `prompt_cache_miss_tokens` and `reasoning_content`, puts the usage of a stream on its last
content chunk whether asked or not, and sends empty lines or `: keep-alive` comments while a
request waits. OpenAI sends one more chunk with `choices: []` and the usage only if
`stream_options.include_usage` asked for it, and pads its chunks with `obfuscation`.

Sources: OpenAI's OpenAPI document (2026-08-21), recorded responses of both (2025, 2026), DeepSeek's
documentation as of November 2026. Time: linear in the tokens; events are made as they are sent.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from dataclasses import dataclass

from sluiceway.simulator import rate_headers
from sluiceway.simulator.message import Headers, Request
from sluiceway.simulator.providers import openai_errors
from sluiceway.simulator.providers.dialect import (
    Chat,
    EventStream,
    Ids,
    Refusal,
    bounded_output,
    build_usage,
)
from sluiceway.simulator.providers.models import Model, find_model, models_of
from sluiceway.simulator.providers.openai_errors import INVALID, ErrorText
from sluiceway.simulator.providers.openai_requests import validate
from sluiceway.simulator.settings import Settings
from sluiceway.simulator.tokens import count_input_tokens, word, words

DONE = b"data: [DONE]\n\n"
# A pool to cut obfuscation from: its length varies with the position, which is all that matters.
_PADDING = "aZ3kQ9xWm2Lp7Rt5Vb8Nc4Yd6Hf1Jg0sKeTuIoPzXqUwErMnBvClDjFhGaSyi"


@dataclass(frozen=True, slots=True)
class OpenAIChat:
    """One provider that speaks this dialect."""

    provider: str
    prefix: str
    keep_alive_whole: bytes
    keep_alive_stream: bytes
    chunked_answers: bool
    fingerprint: str

    @property
    def _is_openai(self) -> bool:
        return self.provider == "openai"

    def check(self, request: Request) -> Refusal | None:
        """401 unless the request carries `Authorization: Bearer <key>` with an accepted key."""
        scheme, _, key = request.headers.get("authorization", "").partition(" ")
        key = key.strip()
        if scheme.lower() == "bearer" and key and not key.startswith("bad-"):
            return None
        text = openai_errors.wrong_key(self.provider, key)
        return openai_errors.refuse(self.provider, 401, text)

    def find(self, method: str, path: str) -> str | Refusal:
        """Routes below the prefix; DeepSeek answers with and without /v1."""
        if not self._is_openai:
            path = path.removeprefix("/v1")
        if path == "/chat/completions":
            if method == "POST":
                return "chat"
            message = f"Not allowed to {method} on /v1{path}."
            return self.invalid(f"{message} (HINT: Perhaps you meant to use POST.)", 405)
        if path == "/models" and method == "GET":
            return "models"
        if path.startswith("/models/") and method == "GET":
            return "model/" + path.removeprefix("/models/")
        return self.invalid(f"Invalid URL ({method} {self.prefix}{path})", 404)

    def read(self, body: Mapping[str, object], settings: Settings) -> Chat | Refusal:
        """Validates the request and counts it; refuses what does not fit the context."""
        name = body.get("model")
        model = find_model(self.provider, name) if isinstance(name, str) else None
        wrong = validate(self.provider, body, model)
        if wrong is not None:
            return openai_errors.refuse(self.provider, *wrong)
        assert model is not None
        messages = body["messages"]
        assert isinstance(messages, list)
        maxima = (body.get("max_completion_tokens"), body.get("max_tokens"))
        given = next((value for value in maxima if isinstance(value, int)), None)
        input_tokens = count_input_tokens(messages, tools=body.get("tools"))
        if input_tokens + (given or 0) > model.context_tokens:
            return self._too_long(model, input_tokens, given or 0)
        output_tokens, cut = bounded_output(settings, given or model.output_tokens_max)
        choices = body.get("n")
        count = choices if isinstance(choices, int) else 1
        options = body.get("stream_options")
        options = options if isinstance(options, Mapping) else {}
        return Chat(
            model=model,
            usage=build_usage(settings, input_tokens, output_tokens * count, model.cache_writes),
            output_tokens=output_tokens,
            reasoning_tokens=min(settings.reasoning_tokens, output_tokens),
            cut_by_max=cut,
            stream=body.get("stream") is True,
            settings=settings,
            choices=count,
            include_usage=options.get("include_usage") is True,
            obfuscation=options.get("include_obfuscation") is not False,
            show_reasoning=not self._is_openai and settings.reasoning_tokens > 0,
        )

    def _too_long(self, model: Model, input_tokens: int, output_tokens: int) -> Refusal:
        message = (
            f"This model's maximum context length is {model.context_tokens} tokens. However, you "
            f"requested {input_tokens + output_tokens} tokens ({input_tokens} in the messages, "
            f"{output_tokens} in the completion). Please reduce the length of the messages or "
            "completion."
        )
        code = "context_length_exceeded" if self._is_openai else INVALID
        param = "messages" if self._is_openai else None
        body = openai_errors.write_error(self.provider, ErrorText(message, INVALID, code, param))
        # DeepSeek was recorded sending this one as application/octet-stream.
        kind = "application/json" if self._is_openai else "application/octet-stream"
        return Refusal(400, body, kind)

    def _usage(self, chat: Chat) -> dict[str, object]:
        usage = chat.usage
        reasoning = chat.reasoning_tokens * chat.choices
        counts: dict[str, object] = {
            "prompt_tokens": usage.prompt,
            "completion_tokens": usage.output,
            "total_tokens": usage.prompt + usage.output,
        }
        if self._is_openai:
            prompt = {"cached_tokens": usage.cache_read, "audio_tokens": 0}
            if chat.model.cache_writes:
                prompt["cache_write_tokens"] = usage.cache_write_5m + usage.cache_write_1h
            counts["prompt_tokens_details"] = prompt
            counts["completion_tokens_details"] = {
                "reasoning_tokens": reasoning,
                "audio_tokens": 0,
                "accepted_prediction_tokens": 0,
                "rejected_prediction_tokens": 0,
            }
            return counts
        counts["prompt_tokens_details"] = {"cached_tokens": usage.cache_read}
        if reasoning:
            counts["completion_tokens_details"] = {"reasoning_tokens": reasoning}
        counts["prompt_cache_hit_tokens"] = usage.cache_read
        counts["prompt_cache_miss_tokens"] = usage.input
        return counts

    def _message(self, chat: Chat) -> dict[str, object]:
        message: dict[str, object] = {
            "role": "assistant",
            "content": words(0, chat.text_tokens),
        }
        if self._is_openai:
            message["refusal"] = None
            message["annotations"] = []
        elif chat.show_reasoning:
            message["reasoning_content"] = words(0, chat.reasoning_tokens)
        return message

    def _answer_id(self, ids: Ids) -> str:
        if self._is_openai:
            return "chatcmpl-" + ids.token(29)
        return _uuid(ids)

    def whole(self, chat: Chat, ids: Ids) -> bytes:
        """The `chat.completion` object."""
        message = self._message(chat)
        finish = "length" if chat.cut_by_max else "stop"
        body: dict[str, object] = {
            "id": self._answer_id(ids),
            "object": "chat.completion",
            "created": ids.created_unix_s,
            "model": chat.model.served_as,
            "choices": [
                {"index": index, "message": message, "logprobs": None, "finish_reason": finish}
                for index in range(chat.choices)
            ],
            "usage": self._usage(chat),
        }
        if self._is_openai:
            body["service_tier"] = "default"
        body["system_fingerprint"] = self.fingerprint
        return json.dumps(body, separators=(",", ":")).encode()

    def stream(self, chat: Chat, ids: Ids) -> EventStream:
        """The `chat.completion.chunk` events, `[DONE]` included."""
        frame = {
            "id": self._answer_id(ids),
            "object": "chat.completion.chunk",
            "created": ids.created_unix_s,
            "model": chat.model.served_as,
        }
        if self._is_openai:
            frame["service_tier"] = "default"
        frame["system_fingerprint"] = self.fingerprint
        writer = _ChunkWriter(
            prefix="data: " + json.dumps(frame, separators=(",", ":"))[:-1] + ',"choices":[',
            null_usage=',"usage":null' if chat.include_usage else "",
            obfuscate=self._is_openai and chat.obfuscation,
        )
        first = '{"role":"assistant","content":""' + (
            ',"refusal":null}' if self._is_openai else "}"
        )
        head = [writer.chunk(index, first) for index in range(chat.choices)]
        return EventStream(head, self._deltas(chat, writer), self._tail(chat, writer))

    def _deltas(self, chat: Chat, writer: _ChunkWriter) -> Iterator[bytes]:
        step = chat.settings.tokens_per_event
        for index in range(chat.choices):
            if chat.show_reasoning:
                for start in range(0, chat.reasoning_tokens, step):
                    text = words(start, min(step, chat.reasoning_tokens - start))
                    delta = f'{{"content":null,"reasoning_content":"{text}"}}'
                    yield writer.chunk(index, delta)
            for start in range(0, chat.text_tokens, step):
                if step == 1:
                    text = word(start)
                else:
                    text = words(start, min(step, chat.text_tokens - start))
                yield writer.chunk(index, f'{{"content":"{text}"}}')

    def _tail(self, chat: Chat, writer: _ChunkWriter) -> list[bytes]:
        finish = '"length"' if chat.cut_by_max else '"stop"'
        usage = ',"usage":' + json.dumps(self._usage(chat), separators=(",", ":"))
        last = chat.choices - 1
        if not self._is_openai:
            delta = '{"content":"","reasoning_content":null}' if chat.show_reasoning else ""
            delta = delta or '{"content":""}'
            events = [writer.chunk(index, delta, finish) for index in range(last)]
            return [*events, writer.chunk(last, delta, finish, usage), DONE]
        events = [writer.chunk(index, "{}", finish) for index in range(chat.choices)]
        if chat.include_usage:
            events.append(writer.write("]", usage))
        return [*events, DONE]

    def models(self) -> bytes:
        """The list of models."""
        listed = [self._model(model) for model in models_of(self.provider)]
        return json.dumps({"object": "list", "data": listed}).encode()

    def model(self, name: str) -> bytes | Refusal:
        """One model's description, or 404."""
        model = find_model(self.provider, name)
        if model is None:
            text = openai_errors.model_not_found(self.provider, name)
            return openai_errors.refuse(self.provider, 404, text)
        return json.dumps(self._model(model)).encode()

    def _model(self, model: Model) -> dict[str, object]:
        shown: dict[str, object] = {"id": model.id, "object": "model", "owned_by": self.provider}
        if self._is_openai:
            shown["created"] = model.created_unix_s
            shown["shutdown_date"] = model.shutdown_date
        return shown

    def count(self, chat: Chat) -> bytes:
        """Neither provider counts tokens under this dialect."""
        raise NotImplementedError("no such operation")

    def error(self, settings: Settings, status: int, model: str, ids: Ids) -> bytes:
        """The provider's own body for a scripted status and flavour."""
        if self._is_openai:
            text = openai_errors.openai_error(status, settings.flavour, model)
        else:
            text = openai_errors.deepseek_error(status, model)
        return openai_errors.write_error(self.provider, text)

    def stream_error(self, kind: str, ids: Ids) -> list[bytes]:
        """`data: {"error":{...}}`; no [DONE] follows."""
        fields = openai_errors.in_stream_error(self.provider, kind).fields()
        return [b"data: " + json.dumps({"error": fields}, separators=(",", ":")).encode() + b"\n\n"]

    def invalid(self, message: str, status: int = 400) -> Refusal:
        """A plain invalid_request_error."""
        code = None if self._is_openai else INVALID
        return openai_errors.refuse(self.provider, status, ErrorText(message, INVALID, code))

    def seal(self, refusal: Refusal, ids: Ids) -> bytes:
        """This dialect's bodies carry no request id."""
        return refusal.body

    def identity(self, ids: Ids) -> Headers:
        """OpenAI's x-request-id and friends; DeepSeek's x-ds-trace-id."""
        if not self._is_openai:
            ids.request_id = ids.hexadecimal(32)
            return [
                ("server", "elb"),
                ("vary", "origin, access-control-request-method, access-control-request-headers"),
                ("x-ds-trace-id", ids.request_id),
            ]
        ids.request_id = "req_" + ids.hexadecimal(32)
        return [
            ("server", "cloudflare"),
            ("openai-organization", "org-simulator"),
            ("openai-processing-ms", str(ids.rng.randrange(180, 900))),
            ("openai-version", "2020-10-01"),
            ("x-request-id", ids.request_id),
        ]

    def limits(self, chat: Chat | None, settings: Settings, status: int, now_s: float) -> Headers:
        """OpenAI's six headers on answers and on 429; DeepSeek has none."""
        if not self._is_openai or status not in (200, 429):
            return []
        llm_tokens = chat.usage.prompt if chat is not None else 0
        exhausted = None
        if status == 429:
            exhausted = "tokens" if settings.flavour in ("tokens", "too_large") else "requests"
        return rate_headers.openai_limits(llm_tokens, settings.reset_s, exhausted)


@dataclass(slots=True)
class _ChunkWriter:
    """Writes chunks by joining strings; nothing in them needs escaping."""

    prefix: str
    null_usage: str
    obfuscate: bool
    position: int = 0

    def chunk(
        self, index: int, delta: str, finish: str = "null", usage: str | None = None
    ) -> bytes:
        """One chunk with one choice; `usage` replaces the null of include_usage."""
        choice = f'{{"index":{index},"delta":{delta},"logprobs":null,"finish_reason":{finish}}}]'
        return self.write(choice, self.null_usage if usage is None else usage)

    def write(self, choices: str, usage: str) -> bytes:
        """The whole event; `choices` closes its array."""
        padding = ""
        if self.obfuscate:
            self.position = (self.position + 7) % (len(_PADDING) - 16)
            end = self.position + 1 + self.position % 16
            padding = f',"obfuscation":"{_PADDING[self.position : end]}"'
        return f"{self.prefix}{choices}{usage}{padding}}}\n\n".encode("ascii")


def _uuid(ids: Ids) -> str:
    digits = ids.hexadecimal(30)
    return f"{digits[:8]}-{digits[8:12]}-4{digits[12:15]}-a{digits[15:18]}-{digits[18:30]}"


OPENAI = OpenAIChat("openai", "/openai/v1", b"", b"", False, "fp_f5bdcc3276")
DEEPSEEK = OpenAIChat(
    "deepseek",
    "/deepseek",
    b"\n",
    b": keep-alive\n\n",
    True,
    "fp_a18b46594c_prod0820_fp8_kvcache_20260402",
)
