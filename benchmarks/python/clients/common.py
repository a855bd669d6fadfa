"""What every measured client shares: its arguments, the closed loop, the meter, the one line.

Model: a client is a process of its own, so that its CPU time is its own. It makes one call and
checks the whole answer, makes `--warm` calls that open connections and fill caches, and then
`--calls` calls with `--in-flight` of them at any time; only these are metered. CPU time is user and
system time of the whole process (all threads), wall time that of the loop. It prints one JSON line.

The work is the same for all: the bytes of `post_bytes()` up (461 B; --post-bytes), a chat
completion of 1.2 kB down (--text-bytes for another text), parsed; each call's answer is looked at.
A client whose library is not there ends with `ABSENT` and says so; the harness leaves its rows out.

    python -m benchmarks.python.clients.peers aiohttp --url http://127.0.0.1:8080/v1 --calls 10000
"""

from __future__ import annotations

import argparse
import asyncio
import contextlib
import json
import os
import resource
import sys
import time
from collections.abc import Awaitable, Callable, Iterator
from pathlib import Path
from typing import Any

MODEL = "gpt-4.1"
MAX_OUTPUT_TOKENS = 64
KEY = "sk-bench-fake"
POST_BYTES = 461
ABSENT = 77  # the exit code of a client whose library cannot be imported
# What the benchmark server answers.
SENTENCE = "Hello! How can I assist you today? "
TEXT = SENTENCE * 18
INPUT_TOKENS, OUTPUT_TOKENS, TOTAL_TOKENS = 19, 10, 29
# $2 and $8 a million tokens: 19 * 2,000 + 10 * 8,000 nano-dollars.
COST_NANOUSD = 118_000

One = Callable[[], Awaitable[bool]]


def body_of(prompt: str) -> dict[str, Any]:
    """The request, key by key as Sluiceway's encoder writes it."""
    return {
        "model": MODEL,
        "messages": [{"role": "user", "content": prompt}],
        "max_completion_tokens": MAX_OUTPUT_TOKENS,
        "service_tier": "default",
    }


def prompt_of(size: int) -> str:
    """The prompt whose request has `size` bytes."""
    rest = size - len(json.dumps(body_of(""), separators=(",", ":")))
    line = "Write me a haiku about water, in the voice of a lock keeper. "
    return (line * (rest // len(line) + 1))[:rest]


PROMPT = prompt_of(POST_BYTES)


def post_bytes(size: int = POST_BYTES) -> bytes:
    """The body that every client sends, `size` bytes."""
    return json.dumps(body_of(prompt_of(size)), separators=(",", ":")).encode()


def text_of(size: int) -> str:
    """The text of an answer, at most `size` bytes: whole sentences."""
    return SENTENCE * (size // len(SENTENCE))


def answer_bytes(text: str) -> bytes:
    """A chat completion as the benchmark server makes it, with another text."""
    return json.dumps(
        {
            "id": "chatcmpl-bench",
            "object": "chat.completion",
            "created": 1741569952,
            "model": MODEL,
            "choices": [
                {
                    "index": 0,
                    "message": {"role": "assistant", "content": text},
                    "finish_reason": "stop",
                }
            ],
            "usage": {
                "prompt_tokens": INPUT_TOKENS,
                "completion_tokens": OUTPUT_TOKENS,
                "total_tokens": TOTAL_TOKENS,
            },
            "service_tier": "default",
        },
        separators=(",", ":"),
    ).encode()


def arguments(names: tuple[str, ...]) -> argparse.Namespace:
    """The command line: a client's name out of `names`, and the load."""
    _, most = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (most, most))  # 10,000 in flight are as many sockets
    parser = argparse.ArgumentParser()
    parser.add_argument("client", choices=names)
    parser.add_argument("--url", required=True, help="the base URL, up to and with /v1")
    parser.add_argument("--calls", type=int, default=10_000)
    parser.add_argument("--in-flight", type=int, default=64)
    parser.add_argument("--warm", type=int, default=256)
    parser.add_argument("--ledger", default=":memory:")
    parser.add_argument("--events", type=int, default=0, help="of a stream")
    parser.add_argument("--post-bytes", type=int, default=POST_BYTES)
    parser.add_argument("--text-bytes", type=int, default=len(TEXT), help="of the answer's text")
    parser.add_argument("--cacert", default="", help="the certificate to trust over TLS")
    parser.add_argument("--http2", action="store_true")
    parser.add_argument("--uvloop", action="store_true")
    parser.add_argument(
        "--profile", default="", help="writes cProfile's figures of the main thread"
    )
    return parser.parse_args()


def cpu_s() -> float:
    """User and system time of this process so far, all threads."""
    used = resource.getrusage(resource.RUSAGE_SELF)
    return used.ru_utime + used.ru_stime


def threads_ns() -> dict[str, int]:
    """CPU time so far of the living threads by their names, nanoseconds; "main" is the first."""
    found: dict[str, int] = {}
    for task in Path("/proc/self/task").iterdir():
        try:
            name = (task / "comm").read_text().strip()
            spent_ns = int((task / "schedstat").read_text().split()[0])
        except OSError:  # it ended in between, or the kernel does not count
            continue
        name = "main" if task.name == str(os.getpid()) else name
        found[name] = found.get(name, 0) + spent_ns
    return found


class Meter:
    """CPU and wall time between `start` and `stop`, and the latencies in between."""

    def __init__(self) -> None:
        self.latencies_s: list[float] = []
        self.threads_ns: dict[str, int] = {}
        self.bad = 0
        self.cpu_s = self.wall_s = 0.0

    def start(self) -> None:
        """Forgets what was before."""
        self.latencies_s.clear()
        self.threads_ns = threads_ns()
        self.wall_s, self.cpu_s = time.perf_counter(), cpu_s()

    def lap(self) -> None:
        """The end of the last call; CPU time goes on for what is still to be written."""
        self.wall_s = time.perf_counter() - self.wall_s

    def stop(self) -> None:
        """The end of everything that the calls caused."""
        self.cpu_s = cpu_s() - self.cpu_s
        before = self.threads_ns
        self.threads_ns = {name: ns - before.get(name, 0) for name, ns in threads_ns().items()}

    def report(self, calls: int, version: str, **extra: object) -> None:
        """Prints the line that the harness reads."""
        sorted_s = sorted(self.latencies_s) or [0.0]
        line = {
            "calls": calls,
            "cpu_us": self.cpu_s / calls * 1e6,
            "calls_per_s": calls / self.wall_s,
            "p50_us": sorted_s[(len(sorted_s) - 1) // 2] * 1e6,
            "p99_us": sorted_s[int((len(sorted_s) - 1) * 0.99)] * 1e6,
            "bad": self.bad,
            "version": version,
            "threads_us": {name: ns / calls / 1e3 for name, ns in self.threads_ns.items()},
            **extra,
        }
        print(json.dumps(line), flush=True)


async def fan_out(one: One, calls: int, in_flight: int, meter: Meter) -> None:
    """Makes `calls` calls with `in_flight` of them at any time."""
    left = calls
    latencies_s = meter.latencies_s
    now = time.perf_counter

    async def worker() -> None:
        nonlocal left
        while left > 0:
            left -= 1
            began = now()
            if not await one():
                meter.bad += 1
            latencies_s.append(now() - began)

    await asyncio.gather(*(worker() for _ in range(min(in_flight, calls))))


@contextlib.contextmanager
def or_absent() -> Iterator[None]:
    """Ends the process with `ABSENT` where a library cannot be imported."""
    try:
        yield
    except ImportError as error:
        print(f"{type(error).__name__}: {error}", file=sys.stderr)
        sys.exit(ABSENT)


def run_loop(main: Callable[[], Awaitable[None]], uvloop: bool) -> None:
    """asyncio.run, or uvloop's."""

    async def body() -> None:
        await main()

    if uvloop:
        with or_absent():
            import uvloop as loops

        loops.run(body())
    else:
        asyncio.run(body())


def require(ok: bool, what: str) -> None:
    """Ends the process when an answer is wrong: nothing is timed that was not checked."""
    if not ok:
        sys.exit(f"wrong answer: {what}")
