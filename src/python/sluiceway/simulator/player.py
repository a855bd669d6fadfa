"""Plays a reply on a wire: waits, writes, and does what its fault says.

The same steps serve HTTP/1.1 and HTTP/2; a `Wire` is one answer's place on a connection. Playing
ends when the answer is whole, cut or hanging; a client that leaves cancels the task that plays.

Pacing: each delta has its own due time, counted from the first, so that slow timers do not add up.
"""

from __future__ import annotations

import asyncio
from collections.abc import Iterator
from typing import Protocol

from sluiceway.simulator.message import Headers, Reply
from sluiceway.simulator.settings import Settings

EVENTS_PER_WRITE = 16


class Wire(Protocol):
    """One answer's place on a connection."""

    def head(self, status: int, headers: Headers, length: int | None) -> None:
        """Sends the status and the headers; without a length the body is open-ended."""

    def data(self, chunk: bytes) -> None:
        """Sends (or queues) a piece of the body."""

    async def drain(self) -> None:
        """Waits while too much is queued."""

    def end(self, settings: Settings) -> None:
        """Ends the answer cleanly."""

    async def cut(self, settings: Settings) -> None:
        """Ends the answer uncleanly, after what was queued."""

    def refuse(self, fault: str) -> None:
        """Refuses the request without an answer: "goaway" or "refused", on HTTP/2 only."""

    def goaway(self) -> None:
        """Announces that this is the last answer of an HTTP/2 connection."""

    def raw(self, data: bytes) -> None:
        """Writes bytes past the protocol: what no well-behaved server would send."""

    def interim(self, status: int, headers: Headers) -> None:
        """Sends an interim answer (1xx), on HTTP/2 only."""

    def reset(self, error_code: int) -> None:
        """Sends RST_STREAM with a code of RFC 9113, section 7, on HTTP/2 only."""


async def play(reply: Reply, wire: Wire) -> None:
    """Plays one reply to its end. Cancelled when the client leaves."""
    sent = _Sent()
    try:
        await _play(reply, wire, sent)
    except asyncio.CancelledError:
        if reply.abandoned is not None:
            reply.abandoned(sent.events)
        raise


class _Sent:
    """How far a reply has come."""

    __slots__ = ("events", "head")

    def __init__(self) -> None:
        self.events = 0
        self.head = False


async def _play(reply: Reply, wire: Wire, sent: _Sent) -> None:
    if reply.perform is not None:
        await reply.perform(wire)
        return
    settings, fault = reply.settings, reply.wire_fault
    await _wait(reply, wire, sent)
    if fault == "stall":
        await asyncio.Event().wait()
    if fault == "drop":
        await wire.cut(settings)
        return
    if fault in ("goaway", "refused"):
        wire.refuse(fault)
        return
    if fault == "goaway_after":
        wire.goaway()
    _begin(reply, wire, sent)
    if fault == "drip":
        await _drip(reply, wire, sent)
    elif reply.events is not None:
        await _play_events(reply, reply.events, wire, sent)
    elif reply.body:
        wire.data(reply.body)
        await wire.drain()
    if fault == "cut":
        await wire.cut(settings)
    elif fault == "hang":
        await asyncio.Event().wait()
    else:
        wire.end(settings)


async def _wait(reply: Reply, wire: Wire, sent: _Sent) -> None:
    """The latency before the answer, with keep-alives where the provider sends them."""
    settings, left_s = reply.settings, reply.latency_s
    every_s = settings.keep_alive_every_ms / 1000.0
    if reply.keep_alive and reply.wire_fault not in ("drop", "stall"):
        if settings.keep_alive:
            _begin(reply, wire, sent)
            wire.data(reply.keep_alive * settings.keep_alive)
        elif settings.keep_alive is None:
            while left_s > every_s:
                await asyncio.sleep(every_s)
                left_s -= every_s
                _begin(reply, wire, sent)
                wire.data(reply.keep_alive)
    if left_s > 0:
        await asyncio.sleep(left_s)


def _begin(reply: Reply, wire: Wire, sent: _Sent) -> None:
    if sent.head:
        return
    sent.head = True
    length = None
    if reply.declared_length is not None:
        length = reply.declared_length
    elif reply.events is None and not reply.chunked:
        length = len(reply.body)
    wire.head(reply.status, reply.headers, length)


async def _play_events(reply: Reply, events: Iterator[bytes], wire: Wire, sent: _Sent) -> None:
    group_size = reply.settings.events_per_write
    if group_size == 0:
        group_size = EVENTS_PER_WRITE if reply.event_s is None else 1
    loop = asyncio.get_running_loop()
    due_s = loop.time()
    last_delta = reply.head_events + reply.delta_events
    group: list[bytes] = []
    for index, event in enumerate(events):
        if reply.event_s is not None and reply.head_events <= index < last_delta:
            due_s += reply.event_s()
            wait_s = due_s - loop.time()
            if wait_s > 0:
                await asyncio.sleep(wait_s)
        group.append(event)
        if len(group) >= group_size:
            wire.data(b"".join(group))
            sent.events += len(group)
            group.clear()
            await wire.drain()
    if group:
        wire.data(b"".join(group))
        sent.events += len(group)
        await wire.drain()


async def _drip(reply: Reply, wire: Wire, sent: _Sent) -> None:
    size, wait_s = reply.settings.drip_bytes, reply.settings.drip_ms / 1000.0
    for whole in reply.events if reply.events is not None else (reply.body,):
        for start in range(0, len(whole), size):
            wire.data(whole[start : start + size])
            await wire.drain()
            await asyncio.sleep(wait_s)
        sent.events += 1
