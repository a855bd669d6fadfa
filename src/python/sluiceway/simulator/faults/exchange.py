"""Faults of one exchange: each plays an answer on a wire of the simulator, wrongly.

A performance gets the answer that would have been given and writes what the fault makes of it. Most
serve HTTP/1.1 and HTTP/2 through the wire's own verbs; what no verb can say is written by hand. A
client that leaves cancels it. Frames: RFC 9113, sections 4.1, 6.1 and 6.8.
"""

from __future__ import annotations

import asyncio
import functools
import gzip
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, replace

from sluiceway.simulator.message import Headers, Reply
from sluiceway.simulator.player import Wire
from sluiceway.simulator.server_h1 import head_bytes
from sluiceway.simulator.settings import DEFAULTS

_DRIP_BYTES = 97  # a prime, so that pieces end anywhere
_RESET = replace(DEFAULTS, reset=True)
_BOMB_BYTES = 100_000_000
_HTTP_1_1_REQUIRED = 0xD
_HINTS = b"HTTP/1.1 103 Early Hints\r\nlink: </style.css>\r\n\r\n"


@dataclass(frozen=True, slots=True)
class Act:
    """One answer, and the wire on which it is to go wrong."""

    wire: Wire
    status: int
    headers: Headers
    body: bytes
    length: int | None  # None: open-ended (a stream)
    h2: bool
    pause_s: float  # between what shall arrive first and what shall arrive after it

    def head(self, length: int | None = None) -> None:
        """Sends the head as it should be."""
        self.wire.head(self.status, self.headers, self.length if length is None else length)

    async def half(self, length: int | None = None) -> None:
        """The head and half of the body, and time for it to arrive."""
        self.head(length)
        self.wire.data(self.body[: len(self.body) // 2])
        await self.wire.drain()
        await asyncio.sleep(self.pause_s)

    async def whole(self) -> None:
        """The answer as it should be."""
        self.head()
        self.wire.data(self.body)
        await self.wire.drain()
        self.wire.end(DEFAULTS)

    async def cut(self, error: str = "internal_error") -> None:
        """FIN; on HTTP/2 RST_STREAM."""
        await self.wire.cut(replace(DEFAULTS, h2_error=error))

    async def close_raw(self) -> None:
        """FIN after bytes written by hand."""
        await self.wire.cut(DEFAULTS)

    def plain_head(self, *lines: str) -> bytes:
        """A head of HTTP/1.1 with these lines for its framing."""
        fields = [f"{name}: {value}" for name, value in self.headers]
        return "\r\n".join([f"HTTP/1.1 {self.status} OK", *fields, *lines, "", ""]).encode()


async def _forever() -> None:
    await asyncio.Event().wait()


async def _none(act: Act) -> None:
    await act.whole()


async def _drop(act: Act) -> None:
    await act.cut()


async def _reset(act: Act) -> None:
    await act.wire.cut(_RESET)


async def _stall(_: Act) -> None:
    await _forever()


async def _half_head(act: Act) -> None:
    head = head_bytes(act.status, act.headers, len(act.body), True)
    act.wire.raw(head[: len(head) // 2])
    await asyncio.sleep(act.pause_s)


async def _cut_head(act: Act) -> None:
    await _half_head(act)
    await act.close_raw()


async def _reset_head(act: Act) -> None:
    await _half_head(act)
    await act.wire.cut(_RESET)


async def _cut_body(act: Act) -> None:
    await act.half(len(act.body))
    if act.h2:
        act.wire.end(DEFAULTS)  # END_STREAM before the declared length: malformed
    else:
        await act.close_raw()


async def _cut_chunked(act: Act) -> None:
    await replace(act, length=None).half()
    await act.cut()


async def _no_length(act: Act, share: float = 1.0) -> None:
    act.wire.raw(act.plain_head("connection: close") + act.body[: int(len(act.body) * share)])
    await asyncio.sleep(act.pause_s)
    await act.close_raw()


async def _cut_no_length(act: Act) -> None:
    await _no_length(act, 0.5)


async def _reset_body(act: Act) -> None:
    await act.half()
    await act.wire.cut(_RESET)


async def _stall_body(act: Act) -> None:
    await act.half()
    await _forever()


async def _drip(act: Act) -> None:
    act.head()
    for start in range(0, len(act.body), _DRIP_BYTES):
        act.wire.data(act.body[start : start + _DRIP_BYTES])
        await act.wire.drain()
        await asyncio.sleep(0.001)
    act.wire.end(DEFAULTS)


def _written(*lines: str, body: bytes) -> Callable[[Act], Awaitable[None]]:
    """A head with these framing lines and this body; then the connection stays open."""

    async def play(act: Act) -> None:
        act.wire.raw(act.plain_head(*lines) + body)
        await _forever()

    return play


async def _not_http(act: Act) -> None:
    act.wire.raw(b"SSH-2.0-OpenSSH_9.2\r\n")
    await asyncio.sleep(act.pause_s)
    await act.close_raw()


async def _huge_headers(act: Act) -> None:
    filler = [(f"x-filler-{number}", "f" * 1000) for number in range(400)]
    await replace(act, headers=[*act.headers, *filler]).whole()


async def _interim(act: Act) -> None:
    if act.h2:
        act.wire.interim(103, [("link", "</style.css>")])
    else:
        act.wire.raw(_HINTS)
    await asyncio.sleep(act.pause_s)
    await act.whole()


async def _endless_interim(act: Act) -> None:
    many = _HINTS * 64
    while True:
        act.wire.raw(many)
        await act.wire.drain()
        await asyncio.sleep(0)


async def _endless_body(act: Act) -> None:
    act.wire.head(act.status, act.headers, None)
    while True:
        act.wire.data(b" " * 262_144)
        await act.wire.drain()
        await asyncio.sleep(0)


async def _extra_answer(act: Act) -> None:
    stale = b'{"stale": "answer"}'
    head = head_bytes(200, [("content-type", "application/json")], len(stale), True)
    act.wire.raw(head_bytes(act.status, act.headers, len(act.body), True) + act.body + head + stale)
    await _forever()


@functools.cache
def bomb() -> bytes:
    """100 MB of spaces in some 100 kB of gzip; a quarter of a second to make."""
    return gzip.compress(b" " * _BOMB_BYTES, 6)


async def _zip_bomb(act: Act) -> None:
    body = bomb()
    headers = [*act.headers, ("content-encoding", "gzip")]
    await replace(act, headers=headers, body=body, length=len(body)).whole()


async def _not_json(act: Act) -> None:
    body = b'{"choices": [{"message": '
    await replace(act, body=body, length=len(body)).whole()


async def _redirect(act: Act) -> None:
    headers = [("location", "http://127.0.0.1:9/elsewhere"), ("content-type", "text/plain")]
    await replace(act, status=307, headers=headers, body=b"moved", length=5).whole()


def _rst(error: str) -> Callable[[Act], Awaitable[None]]:
    async def play(act: Act) -> None:
        await act.cut(error)

    return play


async def _rst_http11(act: Act) -> None:
    act.wire.reset(_HTTP_1_1_REQUIRED)


async def _refused(act: Act) -> None:
    act.wire.refuse("refused")


async def _goaway_below(act: Act) -> None:
    act.wire.refuse("goaway")


async def _goaway_above(act: Act) -> None:
    act.wire.goaway()
    await asyncio.sleep(act.pause_s)
    await act.whole()


async def _goaway_drop(act: Act) -> None:
    act.wire.goaway()
    await asyncio.sleep(act.pause_s)
    await act.wire.cut(_RESET)


async def _bad_frame(act: Act) -> None:
    act.wire.raw(b"\x00\x00\x01\x00\x00\x00\x00\x00\x00x")
    await asyncio.sleep(act.pause_s)
    await act.wire.cut(_RESET)


PERFORMANCES: dict[str, Callable[[Act], Awaitable[None]]] = {
    "none": _none,
    "drop_before": _drop,
    "drop_after": _drop,
    "reset_before": _reset,
    "reset_after": _reset,
    "stall_before": _stall,
    "stall_after": _stall,
    "cut_head": _cut_head,
    "reset_head": _reset_head,
    "cut_body": _cut_body,
    "cut_chunked": _cut_chunked,
    "cut_no_length": _cut_no_length,
    "no_length": _no_length,
    "reset_body": _reset_body,
    "stall_body": _stall_body,
    "drip": _drip,
    "bad_chunk": _written("transfer-encoding: chunked", body=b"zz\r\n{}\r\n0\r\n\r\n"),
    "huge_chunk": _written("transfer-encoding: chunked", body=b"f" * 17 + b"\r\n{}\r\n"),
    "bad_length": _written("content-length: many", body=b"{}"),
    "two_lengths": _written("content-length: 2", "content-length: 4", body=b"{}{}"),
    "not_http": _not_http,
    "nul_header": _written("x-nul: a\x00b", "content-length: 2", body=b"{}"),
    "huge_headers": _huge_headers,
    "interim": _interim,
    "endless_interim": _endless_interim,
    "endless_body": _endless_body,
    "extra_answer": _extra_answer,
    "zip_bomb": _zip_bomb,
    "not_json": _not_json,
    "redirect": _redirect,
    "rst_internal": _rst("internal_error"),
    "rst_cancel": _rst("cancel"),
    "rst_no_error": _rst("no_error"),
    "rst_calm": _rst("enhance_your_calm"),
    "rst_http11": _rst_http11,
    "rst_refused": _refused,
    "rst_body": _cut_chunked,
    "goaway_below": _goaway_below,
    "goaway_above": _goaway_above,
    "goaway_drop": _goaway_drop,
    "bad_frame": _bad_frame,
}


def spoil(reply: Reply, fault: str, h2: bool, pause_s: float) -> Reply:
    """The reply, to be played as the fault says."""
    body, length = reply.body, None if reply.chunked else len(reply.body)
    if reply.events is not None:
        body, length = b"".join(reply.events), None
    status = reply.status or 200
    performance = PERFORMANCES[fault]

    async def perform(wire: Wire) -> None:
        await performance(Act(wire, status, reply.headers, body, length, h2, pause_s))

    # What HTTP/2 is told was not processed must not count as executed there.
    refused = {"rst_refused": "refused", "goaway_below": "goaway"}.get(fault)
    return Reply(status, reply.headers, perform=perform, wire_fault=refused)
