"""What a wire format supplies to the simulator, and the types that pass between the two.

A dialect checks a request the way its provider does, counts its tokens, and writes answers, events
and error bodies. It does no I/O, reads no clock and knows nothing of connections or faults.

    check(request)               -> Refusal | None      key and version headers
    find(method, path)           -> operation           "chat", "models", "model/<id>", ...
    read(body, settings)         -> Chat | Refusal      validation and tokens
    whole(chat, ids)             -> the JSON of a whole answer
    stream(chat, ids)            -> EventStream         head, deltas, tail
    error(...), stream_error(...)                       the provider's own bodies
    headers(...), identity(...)                         what it adds to every answer
"""

from __future__ import annotations

import base64
import random
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field, replace
from typing import Protocol

from sluiceway.simulator.message import Headers, Request
from sluiceway.simulator.providers.models import Model
from sluiceway.simulator.settings import Settings
from sluiceway.simulator.tariff import Usage


@dataclass(frozen=True, slots=True)
class Refusal:
    """An error of the provider's own: nothing was executed, nothing is charged."""

    status: int
    body: bytes
    content_type: str = "application/json"


@dataclass(frozen=True, slots=True)
class Chat:
    """A valid request, counted: what will be answered and what it will cost."""

    model: Model
    usage: Usage  # of everything, all choices together
    output_tokens: int  # of one choice, reasoning included
    reasoning_tokens: int  # of one choice
    cut_by_max: bool
    stream: bool
    settings: Settings
    choices: int = 1
    include_usage: bool = False
    obfuscation: bool = True
    show_reasoning: bool = False

    @property
    def text_tokens(self) -> int:
        """Tokens of visible text in one choice."""
        return self.output_tokens - self.reasoning_tokens

    @property
    def deltas(self) -> int:
        """How many delta events the stream has, shown reasoning included."""
        per_event = self.settings.tokens_per_event
        count = -(-self.text_tokens // per_event)
        if self.show_reasoning:
            count += -(-self.reasoning_tokens // per_event)
        return count * self.choices

    def produced(self, deltas: int) -> Usage:
        """The usage after `deltas` delta events: all of the input and as much output."""
        if deltas >= self.deltas:
            return self.usage
        hidden = 0 if self.show_reasoning else self.reasoning_tokens * self.choices
        output = hidden + deltas * self.settings.tokens_per_event
        return replace(self.usage, output=min(output, self.usage.output))


@dataclass(frozen=True, slots=True)
class EventStream:
    """The events of a streamed answer, in three parts; each item is one whole event."""

    head: list[bytes]
    deltas: Iterator[bytes]
    tail: list[bytes]


@dataclass(slots=True)
class Ids:
    """Identity of one exchange: random ids from the seed, and the time of arrival."""

    rng: random.Random
    created_unix_s: int
    request_id: str = field(default="")

    def token(self, length: int) -> str:
        """`length` random letters and digits."""
        raw = base64.b64encode(self.rng.randbytes(length)).decode("ascii")
        return raw.replace("+", "x").replace("/", "Z")[:length]

    def hexadecimal(self, digits: int) -> str:
        """`digits` random hexadecimal digits."""
        return f"{self.rng.getrandbits(4 * digits):0{digits}x}"


class Dialect(Protocol):
    """What every wire format implements; see the top of this file."""

    @property
    def provider(self) -> str:
        """The provider's name."""

    @property
    def prefix(self) -> str:
        """The path below which it is served."""

    @property
    def keep_alive_whole(self) -> bytes:
        """What it sends while a whole answer waits; empty for nothing."""

    @property
    def keep_alive_stream(self) -> bytes:
        """What it sends while a stream waits; empty for nothing."""

    @property
    def chunked_answers(self) -> bool:
        """Whether whole answers come chunked, without Content-Length."""

    def check(self, request: Request) -> Refusal | None:
        """Refuses a missing or wrong key, or a missing version header."""

    def find(self, method: str, path: str) -> str | Refusal:
        """The operation behind a method and a path below the provider's prefix."""

    def read(self, body: Mapping[str, object], settings: Settings) -> Chat | Refusal:
        """Validates a chat request as the provider does and counts its tokens."""

    def whole(self, chat: Chat, ids: Ids) -> bytes:
        """The body of an answer that is not streamed."""

    def stream(self, chat: Chat, ids: Ids) -> EventStream:
        """The events of a streamed answer."""

    def models(self) -> bytes:
        """The body of the list of models."""

    def model(self, name: str) -> bytes | Refusal:
        """The body of one model's description."""

    def count(self, chat: Chat) -> bytes:
        """The body of a token count; only where the provider has that operation."""

    def error(self, settings: Settings, status: int, model: str, ids: Ids) -> bytes:
        """The provider's own body for a scripted error."""

    def stream_error(self, kind: str, ids: Ids) -> list[bytes]:
        """The provider's own error event for a stream that has begun."""

    def invalid(self, message: str, status: int = 400) -> Refusal:
        """A plain refusal of the request, in the provider's shape."""

    def seal(self, refusal: Refusal, ids: Ids) -> bytes:
        """The body of a refusal with the request id in it, where the provider puts one."""

    def identity(self, ids: Ids) -> Headers:
        """The headers that name the provider and the request; sets `ids.request_id`."""

    def limits(self, chat: Chat | None, settings: Settings, status: int, now_s: float) -> Headers:
        """The rate-limit headers of an answer with this status."""


def build_usage(
    settings: Settings, input_tokens: int, output_tokens: int, cache_writes: bool
) -> Usage:
    """Splits the input into disjoint buckets as the settings ask; no bucket passes the rest."""
    left = input_tokens
    cache_read = min(settings.cached_tokens, left)
    left -= cache_read
    write_5m = min(settings.cache_write_5m_tokens, left) if cache_writes else 0
    left -= write_5m
    write_1h = min(settings.cache_write_1h_tokens, left) if cache_writes else 0
    return Usage(left - write_1h, cache_read, write_5m, write_1h, output_tokens)


def bounded_output(settings: Settings, output_max: int) -> tuple[int, bool]:
    """Output tokens of one choice, and whether the request's maximum cut them."""
    cut = settings.output_tokens > output_max
    return min(settings.output_tokens, output_max) + settings.overrun_tokens, cut
