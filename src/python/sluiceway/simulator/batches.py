"""Anthropic's message batches, simulated: taken, worked on, ended, read.

Model: a batch is taken whole or refused whole. It ends after `batch_looks` looks at it (0: the
first look finds it ended); only then are its items executed and billed, each at half price at the
time of its arrival, and an item that errs, expires or was cancelled before is not. Items follow the
directives in their own prompts: `[[simulator: fault=status]]` makes one err.

    POST /v1/messages/batches                 taken
    GET  /v1/messages/batches/<id>            a look
    GET  /v1/messages/batches/<id>/results    one line an item, in no special order
    POST /v1/messages/batches/<id>/cancel     what has not been done is cancelled

Source: Anthropic's OpenAPI document (2026-05-06); which items are billed: the batch page. Memory:
every batch is kept. It belongs to the loop's thread.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field

from sluiceway.simulator.providers.anthropic_batches import PATH
from sluiceway.simulator.providers.dialect import Chat, Dialect, Ids, Refusal
from sluiceway.simulator.rate_headers import rfc3339
from sluiceway.simulator.settings import Settings, combine, read_directives
from sluiceway.simulator.tokens import last_user_text

_LASTS_S = 86_400
_KINDS = ("succeeded", "errored", "canceled", "expired")


@dataclass(slots=True)
class Item:
    """One request of a batch and what became of it."""

    name: str
    chat: Chat
    result: dict[str, object] = field(default_factory=dict)


@dataclass(slots=True)
class Batch:
    """A batch and how far it is."""

    id: str
    items: list[Item]
    created_s: float
    looks_left: int
    ended_s: float | None = None
    cancelled: bool = False


class Batches:
    """All batches of one simulator. `execute` books an item that was done."""

    def __init__(self, execute: Callable[[Chat, Ids, float], None]) -> None:
        self._execute = execute
        self._known: dict[str, Batch] = {}

    def answer(
        self, operation: str, body: object, dialect: Dialect, ids: Ids, now_s: float, looks: int
    ) -> bytes | Refusal:
        """The body of the answer, or a refusal."""
        if operation == "batch":
            return self._take(body, dialect, ids, now_s, looks)
        _, name, *action = operation.split("/")
        batch = self._known.get(name)
        if batch is None:
            return dialect.invalid("Not Found", 404)
        if action == ["results"]:
            if batch.ended_s is None:
                return dialect.invalid("The batch has not ended; it has no results yet.")
            return b"".join(_line(item) for item in reversed(batch.items))
        if action == ["cancel"]:
            batch.cancelled = batch.cancelled or batch.ended_s is None
        elif batch.ended_s is None:
            if batch.looks_left > 0 and not batch.cancelled:
                batch.looks_left -= 1
            else:
                self._end(batch, dialect, ids, now_s)
        return _dump(_describe(batch))

    def _take(
        self, body: object, dialect: Dialect, ids: Ids, now_s: float, looks: int
    ) -> bytes | Refusal:
        requests = body.get("requests") if isinstance(body, Mapping) else None
        if not isinstance(requests, list) or not requests:
            return dialect.invalid("requests: Field required")
        items: list[Item] = []
        names = set()
        for number, request in enumerate(requests):
            name = request.get("custom_id") if isinstance(request, Mapping) else None
            params = request.get("params") if isinstance(request, Mapping) else None
            if not isinstance(name, str) or not isinstance(params, Mapping):
                return dialect.invalid(f"requests.{number}.params: Field required")
            if name in names:
                return dialect.invalid(f"requests.{number}.custom_id: is not unique")
            names.add(name)
            chat = dialect.read(params, _settings_of(params))
            if isinstance(chat, Refusal):
                return chat
            items.append(Item(name, chat))
        batch = Batch("msgbatch_01" + ids.token(22), items, now_s, looks)
        self._known[batch.id] = batch
        return _dump(_describe(batch))

    def _end(self, batch: Batch, dialect: Dialect, ids: Ids, now_s: float) -> None:
        batch.ended_s = now_s
        for item in batch.items:
            if batch.cancelled:
                item.result = {"type": "canceled"}
            elif item.chat.settings.fault is not None:
                body = dialect.error(item.chat.settings, 500, item.chat.model.id, ids)
                item.result = {"type": "errored", "error": json.loads(body)}
            else:
                message = json.loads(dialect.whole(item.chat, ids))
                message["usage"]["service_tier"] = "batch"
                item.result = {"type": "succeeded", "message": message}
                self._execute(item.chat, ids, batch.created_s)


def _settings_of(params: Mapping[str, object]) -> Settings:
    messages = params.get("messages")
    if not isinstance(messages, list):
        return combine({})
    return combine(read_directives(last_user_text(messages)))


def _describe(batch: Batch) -> dict[str, object]:
    ended = batch.ended_s is not None
    counts = {"processing": 0 if ended else len(batch.items), **dict.fromkeys(_KINDS, 0)}
    for item in batch.items:
        if item.result:
            counts[str(item.result["type"])] += 1
    status = "ended" if ended else "canceling" if batch.cancelled else "in_progress"
    return {
        "id": batch.id,
        "type": "message_batch",
        "processing_status": status,
        "request_counts": counts,
        "created_at": rfc3339(batch.created_s),
        "expires_at": rfc3339(batch.created_s + _LASTS_S),
        "ended_at": rfc3339(batch.ended_s) if batch.ended_s is not None else None,
        "cancel_initiated_at": None,
        "archived_at": None,
        "results_url": f"https://api.anthropic.com{PATH}/{batch.id}/results" if ended else None,
    }


def _dump(value: object) -> bytes:
    return json.dumps(value, separators=(",", ":")).encode()


def _line(item: Item) -> bytes:
    return _dump({"custom_id": item.name, "result": item.result}) + b"\n"
