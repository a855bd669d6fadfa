"""`python -m sluiceway.simulator.faults [--tls] [FAULT ...]`: the fault server from a shell.

Prints one JSON line when it listens, serves until SIGINT or SIGTERM, and prints what it counted:

    {"url": "http://127.0.0.1:P", "ca_file": null, "pid": N}
    {"connections": 3, "requests": 2, "executions": 2}

`--list` prints the faults instead. Exit status: 0, or 2 for a fault that is unknown or
cannot be played, a missing library or a port that cannot be had.
"""

from __future__ import annotations

import argparse
import json
import os
import signal
import sys
import threading

from sluiceway.simulator.errors import SimulatorError
from sluiceway.simulator.faults import FAULTS, FaultServer
from sluiceway.simulator.faults.plan import HTTP_VERSIONS


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="python -m sluiceway.simulator.faults",
        description="A server on loopback that fails on command and counts what it executed.",
    )
    parser.add_argument("faults", nargs="*", metavar="FAULT", help="in turn; the last one stays")
    parser.add_argument("--tls", action="store_true", help="TLS, HTTP/2 by ALPN")
    parser.add_argument("--http-version", choices=HTTP_VERSIONS, default="auto")
    parser.add_argument("--port", type=int, default=0, help="0: a free one")
    parser.add_argument("--streams-max", type=int, default=0, help="HTTP/2's limit of streams")
    parser.add_argument("--delay-s", type=float, default=0.02, help="the pause inside a fault")
    parser.add_argument("--list", action="store_true", help="print the faults and exit")
    return parser


def main(arguments: list[str] | None = None) -> int:
    """Runs the server; returns the exit status."""
    options = _parser().parse_args(arguments)
    if options.list:
        for fault in FAULTS.values():
            print(f"{fault.name:16} {' '.join(fault.over):18} {fault.text}")
        return 0
    stopping = threading.Event()
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, lambda *_: stopping.set())
    try:
        server = FaultServer(
            *options.faults,
            tls=options.tls,
            http_version=options.http_version,
            port=options.port,
            streams_max=options.streams_max,
            delay_s=options.delay_s,
        )
    except (SimulatorError, OSError, OverflowError) as error:
        print(f"sluiceway.simulator.faults: {error}", file=sys.stderr)
        return 2
    with server:
        ready = {"url": server.url, "ca_file": server.ca_file or None, "pid": os.getpid()}
        print(json.dumps(ready), flush=True)
        stopping.wait()
        counted = {
            "connections": server.connections,
            "requests": server.requests,
            "executions": server.executions,
        }
    print(json.dumps(counted), flush=True)
    return 0


if __name__ == "__main__":
    sys.exit(main())
