"""The soak's server: an OpenAI chat of which every third answer is a fault. Cheap: it keeps up.

Run as a script with a seed; prints its port. A request is read by Content-Length and nothing else
of it is understood but whether it asks for a stream. What it is answered with is drawn from the
seed. `GET /count` tells how many requests were read whole, which is how often a paid call was
executed. Ends when its standard input does.

Memory: what a connection has sent so far. One thread.
"""

from __future__ import annotations

import asyncio
import json
import random
import sys
from typing import cast

PLAIN, STREAM = 0, 1
USAGE = {"prompt_tokens": 12, "completion_tokens": 4, "total_tokens": 16}
BODY = json.dumps(
    {
        "id": "chatcmpl-soak",
        "model": "gpt-4o-mini",
        "choices": [
            {
                "index": 0,
                "finish_reason": "stop",
                "message": {"role": "assistant", "content": "The Rhine, the Po, the Tagus. " * 10},
            }
        ],
        "usage": USAGE,
    }
).encode()


def event(delta: dict[str, str], **more: object) -> bytes:
    """One event of a stream."""
    chunk = {"id": "chatcmpl-soak", "model": "gpt-4o-mini", **more}
    chunk.setdefault("choices", [{"index": 0, "delta": delta, "finish_reason": None}])
    return b"data: " + json.dumps(chunk).encode() + b"\n\n"


EVENTS = b"".join(event({"content": f"river {number} "}) for number in range(20))
LAST = event({}, choices=[], usage=USAGE) + b"data: [DONE]\n\n"


def answer(status: str, body: bytes, kind: str = "application/json", more: str = "") -> bytes:
    """A whole answer with its length."""
    head = f"HTTP/1.1 {status}\r\ncontent-type: {kind}\r\ncontent-length: {len(body)}\r\n{more}\r\n"
    return head.encode() + body


def chunked(*parts: bytes, kind: str = "application/json") -> bytes:
    """A whole answer in chunks."""
    head = f"HTTP/1.1 200 OK\r\ncontent-type: {kind}\r\ntransfer-encoding: chunked\r\n\r\n"
    return head.encode() + b"".join(b"%x\r\n%b\r\n" % (len(one), one) for one in (*parts, b""))


def error(kind: str) -> bytes:
    return json.dumps({"error": {"message": "no", "type": kind, "code": kind}}).encode()


SSE = "text/event-stream"
GOOD = (answer("200 OK", BODY), chunked(EVENTS, LAST, kind=SSE))
CHUNKED = (chunked(BODY[:100], BODY[100:]), GOOD[STREAM])
# What an answer may be, per thousand: bytes to send, and then whether the connection is closed (by
# a reset), left silent, or kept.
KEEP, CLOSE, RESET, HANG = range(4)
FAULTS: tuple[tuple[int, tuple[bytes, bytes], int], ...] = (
    (60, CHUNKED, KEEP),
    (40, (GOOD[PLAIN][:-50], GOOD[STREAM][:-300]), CLOSE),  # cut
    (20, (GOOD[PLAIN][:-50], GOOD[STREAM][:-300]), RESET),
    (40, (b"", b""), CLOSE),  # dropped after it was executed
    (20, (b"", b""), RESET),
    (20, (b"", b""), HANG),
    (10, (GOOD[PLAIN][:-50], GOOD[STREAM][:-300]), HANG),
    (40, (answer("429 Too Many Requests", error("rate_limit_exceeded")),) * 2, KEEP),
    (20, (answer("503 Service Unavailable", error("server_error")),) * 2, KEEP),
    (20, (answer("500 Internal Server Error", error("server_error")),) * 2, KEEP),
    (10, (answer("502 Bad Gateway", b"<html>no</html>", "text/html"),) * 2, CLOSE),
    (20, (answer("400 Bad Request", error("invalid_request_error")),) * 2, KEEP),
    (10, (answer("200 OK", b'{"choices": [{]}'), answer("200 OK", b"data: {]\n\n", SSE)), KEEP),
    (10, (answer("200 OK", BODY, more="connection: close\r\n"), GOOD[STREAM]), CLOSE),
    (5, (b"HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\nzz\r\n",) * 2, CLOSE),
)


class Chat(asyncio.Protocol):
    """One connection."""

    executed = 0
    rng = random.Random(1)

    def __init__(self) -> None:
        self.data = b""
        self.transport: asyncio.Transport | None = None

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self.transport = cast(asyncio.Transport, transport)  # uvloop's has another base

    def data_received(self, data: bytes) -> None:
        self.data += data
        while True:
            head, found, rest = self.data.partition(b"\r\n\r\n")
            if not found:
                return
            _, _, after = head.lower().partition(b"content-length:")
            length = int(after.partition(b"\r\n")[0] or b"0")
            if len(rest) < length:
                return
            self.data = rest[length:]
            if head.startswith(b"GET /count"):
                self.send(answer("200 OK", str(Chat.executed).encode()), KEEP)
                continue
            Chat.executed += 1
            self.reply(STREAM if b'"stream":true' in rest[:length] else PLAIN)

    def reply(self, which: int) -> None:
        """Answers with what the seed says."""
        number = Chat.rng.randrange(1000)
        for share, answers, then in FAULTS:
            number -= share
            if number < 0:
                return self.send(answers[which], then)
        return self.send(GOOD[which], KEEP)

    def send(self, data: bytes, then: int) -> None:
        """Writes, and leaves the connection as it is told to."""
        assert self.transport is not None
        if data:
            self.transport.write(data)
        if then == CLOSE:
            self.transport.close()
        elif then == RESET:
            self.transport.abort()


async def main() -> None:
    """Serves until standard input ends."""
    loop = asyncio.get_running_loop()
    server = await loop.create_server(Chat, "127.0.0.1", 0, backlog=1024)
    print(server.sockets[0].getsockname()[1], flush=True)
    ended = asyncio.Event()
    loop.add_reader(sys.stdin, ended.set)
    await ended.wait()


if __name__ == "__main__":
    Chat.rng = random.Random(int(sys.argv[1]))
    try:
        import uvloop
    except ImportError:
        asyncio.run(main())
    else:
        uvloop.run(main())
