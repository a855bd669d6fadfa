"""Local servers that speak the providers' APIs, with faults, and that keep the provider's books.

Users test against it; the demo proves its own books against it. It serves OpenAI chat completions,
DeepSeek chat completions and Anthropic messages on loopback, over HTTP/1.1 and HTTP/2, in the clear
and over TLS, with scripted latency, token counts, refusals and broken connections. It counts what
it executed and bills it with its own price table: "what the provider really charged" is a number.

    python -m sluiceway.simulator                    a process of its own; prints its addresses

    simulator = sluiceway.simulator.start(seed=7)    in this process, in a thread of its own
    simulator = sluiceway.simulator.spawn(seed=7)    in another process, same face

HTTP/2 and TLS need `pip install 'sluiceway[simulator]'`; without it `start(tls=False)` serves
HTTP/1.1. Importing this package starts nothing and loads no third-party module. It shares nothing
with the gateway, prices above all. The files: `settings.py` (all that an answer can be told),
`script.py` (rules), `app.py` (the order of things), `providers/` (wire formats), `tariff.py` and
`books.py` (money), `server_h1.py` and `server_h2.py` (the wire).
"""

from __future__ import annotations

import time
from collections.abc import Callable
from pathlib import Path

from sluiceway.simulator.errors import (
    AdminError,
    MissingExtraError,
    ScriptError,
    SimulatorError,
    StartError,
)
from sluiceway.simulator.face import Simulator

__all__ = [
    "AdminError",
    "MissingExtraError",
    "ScriptError",
    "Simulator",
    "SimulatorError",
    "StartError",
    "spawn",
    "start",
]


def start(
    script: object = (),
    *,
    seed: int = 0,
    port: int = 0,
    tls_port: int = 0,
    tls: bool = True,
    log: str | Path | None = None,
    wall_clock: Callable[[], float] = time.time,
) -> Simulator:
    """Starts a simulator in this process and returns when it listens.

    `script` is a list of rules, `log` a file for JSON lines, `wall_clock` the Unix time in seconds
    by which tariffs and dates go. Raises ScriptError, StartError or MissingExtraError.
    """
    from sluiceway.simulator.in_process import InProcess
    from sluiceway.simulator.server import Options

    return InProcess(Options(script, seed, port, tls_port, tls, log, wall_clock))


def spawn(
    script: object = (),
    *,
    seed: int = 0,
    port: int = 0,
    tls_port: int = 0,
    tls: bool = True,
    log: str | Path | None = None,
    wall_offset_s: float = 0.0,
) -> Simulator:
    """Starts a simulator in a process of its own and returns when it listens.

    `wall_offset_s` moves its wall clock. The process ends with this one. Raises ScriptError or
    StartError.
    """
    from sluiceway.simulator.spawned import Spawned

    arguments = ["--seed", str(seed), "--port", str(port), "--tls-port", str(tls_port)]
    arguments += ["--wall-offset-s", repr(wall_offset_s)]
    if log is not None:
        arguments += ["--log", str(log)]
    if not tls:
        arguments.append("--no-tls")
    return Spawned(arguments, script)
