"""Turns an executed request and its settings into a reply: which bytes, which fault on the wire.

`whole` and `streamed` translate the fault names of `settings.py` into the wire faults of
`message.py`, cut what is to be cut, and say how much of a stream will have been produced (for
`bill=partial`). Headers and times are added by the caller. Pure functions.
"""

from __future__ import annotations

from collections.abc import Iterator
from itertools import chain, islice

from sluiceway.simulator.message import Reply
from sluiceway.simulator.providers.dialect import Chat, Dialect, Ids
from sluiceway.simulator.settings import Settings

# Faults that act alike on whole bodies and on streams.
_PLAIN = {
    "drop_before": "drop",
    "drop_after": "drop",
    "refused_stream": "drop",
    "stall_before": "stall",
    "stall_after": "stall",
    "slow_drip": "drip",
}
_NO_ANSWER = frozenset(("drop", "stall"))


def logged_status(reply: Reply) -> int | None:
    """The status for the log: None where no response byte will be sent."""
    return None if reply.wire_fault in _NO_ANSWER else reply.status


def html_page(status: int) -> bytes:
    """A proxy's error page, like the one that users of DeepSeek have pasted."""
    title = {502: "502 Bad Gateway", 503: "503 Service Temporarily Unavailable"}.get(
        status, f"{status} Error"
    )
    return (
        f"<html>\r\n<head><title>{title}</title></head>\r\n<body>\r\n<center><h1>{title}</h1>"
        "</center>\r\n<hr><center>openresty</center>\r\n</body>\r\n</html>\r\n"
    ).encode()


def _cut_at(settings: Settings, length: int) -> int:
    """How many bytes of a body are sent: `after_bytes`, at least one byte short of all of it."""
    wanted = length // 2 if settings.after_bytes is None else settings.after_bytes
    return min(wanted, max(length - 1, 0))


def whole(body: bytes, settings: Settings, chunked: bool) -> Reply:
    """A reply with status 200 and a body, under the settings' fault."""
    reply = Reply(200, [], body, chunked=chunked, settings=settings)
    fault = settings.fault or ""
    reply.wire_fault = _PLAIN.get(fault)
    if fault == "bad_json":
        # Cut in the middle and unbalanced, but whole on the wire.
        reply.body = body[: len(body) // 2] + b'"<unfinished'
    elif fault in ("cut_body", "cut_stream"):
        reply.chunked = False
        reply.declared_length = len(body)
        reply.body = body[: _cut_at(settings, len(body))]
        reply.wire_fault = "short"
    elif fault in ("cut_chunked", "stall_stream"):
        reply.chunked = True
        reply.body = body[: _cut_at(settings, len(body))]
        reply.wire_fault = "cut" if fault == "cut_chunked" else "hang"
    return reply


def streamed(dialect: Dialect, chat: Chat, ids: Ids, settings: Settings) -> tuple[Reply, int]:
    """A reply with events under the settings' fault, and how many deltas it will produce."""
    parts = dialect.stream(chat, ids)
    events: Iterator[bytes] = chain(parts.head, parts.deltas, parts.tail)
    reply = Reply(200, [], events=events, settings=settings)
    reply.head_events, reply.delta_events = len(parts.head), chat.deltas
    fault = settings.fault or ""
    reply.wire_fault = _PLAIN.get(fault)
    produced = chat.deltas
    if fault in ("cut_stream", "stall_stream", "cut_body", "cut_chunked"):
        count = settings.after_events
        if count is None:
            count = len(parts.head) + chat.deltas // 2
        reply.events = islice(events, count)
        produced = min(max(count - len(parts.head), 0), chat.deltas)
        reply.wire_fault = "hang" if fault == "stall_stream" else "cut"
        if settings.clean and reply.wire_fault == "cut":
            reply.wire_fault = None
    elif fault == "error_in_stream":
        count = settings.after_events
        if count is None:
            count = len(parts.head) + min(settings.after_deltas, chat.deltas)
        produced = min(max(count - len(parts.head), 0), chat.deltas)
        error = dialect.stream_error(settings.stream_error, ids)
        reply.events = chain(islice(events, count), error)
    elif fault == "bad_json":
        reply.events = chain(parts.head, (b'data: {"id":"unfinished\n\n',), parts.tail)
        produced = 0
    return reply, produced
