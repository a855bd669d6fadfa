"""Anthropic's message batches: many messages in one job, at half price.

Pure functions: the body that starts a batch, what a look at it says, and the lines of its results.
A batch ends within 24 hours; what did not succeed until then is not billed.

Source: Anthropic's OpenAPI document (2026-05-06): CreateMessageBatchParams, MessageBatch,
MessageBatchIndividualResponse; the pricing page (half price), read 2026-11-22.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

CREATE_PATH = "/v1/messages/batches"
TIER = "batch"  # of the price rows
ITEMS_MAX = 100_000
LASTS_S = 24 * 3600.0
_ITEM = "item-"


class Look(NamedTuple):
    """What the provider says of a job. `done` and `total` count its items."""

    id: str
    ended: bool
    cancelling: bool
    done: int
    total: int


class Line(NamedTuple):
    """One result. `message` is the answer's body, empty where the item did not succeed."""

    number: int
    kind: str  # "succeeded", "errored", "canceled", "expired"
    message: bytes
    error: str


def encode(bodies: Sequence[Mapping[str, Any]]) -> dict[str, Any]:
    """The body that starts a batch of these message bodies."""
    return {
        "requests": [
            {"custom_id": f"{_ITEM}{index}", "params": {**body, "stream": False}}
            for index, body in enumerate(bodies)
        ]
    }


def look_path(job: str) -> str:
    """Where a look at the job is to be had."""
    return f"{CREATE_PATH}/{job}"


def results_path(job: str) -> str:
    """Where its results are; from the job's id, never from a URL in an answer, so that the key goes
    nowhere else."""
    return f"{CREATE_PATH}/{job}/results"


def cancel_path(job: str) -> str:
    """Where it is cancelled."""
    return f"{CREATE_PATH}/{job}/cancel"


def read_look(body: bytes) -> Look:
    """What an answer says of the job. ValueError when it is not a batch."""
    answer = json.loads(body)
    if not isinstance(answer, dict) or not isinstance(answer.get("id"), str) or not answer["id"]:
        raise ValueError("the answer names no batch")
    counts = answer.get("request_counts")
    numbers = {
        name: count
        for name, count in (counts.items() if isinstance(counts, dict) else ())
        if isinstance(count, int)
    }
    status = answer.get("processing_status")
    return Look(
        answer["id"],
        status == "ended",
        status == "canceling",
        sum(count for name, count in numbers.items() if name != "processing"),
        sum(numbers.values()),
    )


def read_results(body: bytes) -> list[Line]:
    """The lines of a results file in the order of the items. ValueError when one is malformed."""
    lines = []
    for number, text in enumerate(body.splitlines(), start=1):
        if not text.strip():
            continue
        line = json.loads(text)
        try:
            name, result = line["custom_id"], line["result"]
            kind = result["type"]
            if not name.startswith(_ITEM):
                raise ValueError(name)
            index = int(name.removeprefix(_ITEM))
        except (KeyError, TypeError, AttributeError, ValueError):
            raise ValueError(f"line {number} of the results is not one of this batch's") from None
        message = b""
        if kind == "succeeded":
            message = json.dumps(result["message"], separators=(",", ":")).encode()
        lines.append(Line(index, kind, message, "" if message else _error_of(result)))
    return sorted(lines)


def _error_of(result: Mapping[str, Any]) -> str:
    error = result.get("error")
    while isinstance(error, dict) and isinstance(error.get("error"), dict):
        error = error["error"]
    if isinstance(error, dict):
        return str(error.get("message") or error.get("type") or "")
    return ""
