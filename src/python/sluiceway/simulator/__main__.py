"""`python -m sluiceway.simulator`: the simulator as a process of its own.

Prints one JSON line when it listens:

    {"http": "http://127.0.0.1:P", "https": "https://127.0.0.1:Q", "ca_file": "...", "pid": N}

and serves until SIGTERM or SIGINT, or until its standard input closes with `--exit-with-stdin`.
Exit status: 0, or 2 for a bad script, a missing library, a port or a file that cannot be had.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import logging
import os
import signal
import sys
import threading
import time

from sluiceway.simulator.errors import SimulatorError
from sluiceway.simulator.script import load_rules
from sluiceway.simulator.server import Options, Server


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="python -m sluiceway.simulator",
        description="Serves the providers' APIs on loopback, with faults, and keeps their books.",
    )
    parser.add_argument("--port", type=int, default=0, help="plain HTTP port (0: a free one)")
    parser.add_argument("--tls-port", type=int, default=0, help="TLS port (0: a free one)")
    parser.add_argument("--no-tls", action="store_true", help="HTTP/1.1 in the clear only")
    parser.add_argument("--log", metavar="FILE", help="append the log to FILE as JSON lines")
    parser.add_argument("--script", metavar="FILE", help="rules, as JSON")
    parser.add_argument("--seed", type=int, default=0, help="of ids, latencies, probabilities")
    parser.add_argument(
        "--wall-offset-s", type=float, default=0.0, help="moves the wall clock (tariffs, dates)"
    )
    parser.add_argument(
        "--exit-with-stdin", action="store_true", help="end when standard input closes"
    )
    return parser


def _watch_stdin(loop: asyncio.AbstractEventLoop, stopping: asyncio.Event) -> None:
    def watch() -> None:
        while os.read(sys.stdin.fileno(), 4096):
            pass
        loop.call_soon_threadsafe(stopping.set)

    threading.Thread(target=watch, name="sluiceway-simulator-stdin", daemon=True).start()


async def _serve(server: Server, exit_with_stdin: bool) -> None:
    stopping = asyncio.Event()
    loop = asyncio.get_running_loop()
    for number in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(number, stopping.set)
    await server.start()
    ready = {
        "http": server.http_url,
        "https": server.https_url or None,
        "ca_file": server.ca_file or None,
        "pid": os.getpid(),
    }
    print(json.dumps(ready), flush=True)
    if exit_with_stdin:
        _watch_stdin(loop, stopping)
    await stopping.wait()
    await server.stop()


def main(arguments: list[str] | None = None) -> int:
    """Runs the simulator; returns the exit status."""
    options = _parser().parse_args(arguments)
    # Connections that break under our hands are this program's business, not news.
    logging.getLogger("asyncio").setLevel(logging.ERROR)
    offset_s: float = options.wall_offset_s
    try:
        server = Server(
            Options(
                script=load_rules(options.script) if options.script else (),
                seed=options.seed,
                port=options.port,
                tls_port=options.tls_port,
                tls=not options.no_tls,
                log_path=options.log,
                wall_clock=lambda: time.time() + offset_s,
            )
        )
        asyncio.run(_serve(server, options.exit_with_stdin))
    except (SimulatorError, OSError, OverflowError) as error:  # a port beyond 65535
        print(f"sluiceway.simulator: {error}", file=sys.stderr)
        return 2
    return 0


if __name__ == "__main__":
    sys.exit(main())
