"""`sluiceway demo` and `sluiceway simulator`: the commands that run something.

The simulator's own command line is handed on as it is, so that both ways to start it are the same.
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any


def add(subparsers: Any) -> None:
    """Adds both commands."""
    demo = subparsers.add_parser(
        "demo",
        help="replay a trace against the simulator, with failures, and prove the books",
        description="Replays a production trace as paid calls against simulated providers that"
        " fail now and then, under limits and budgets, and proves that the books agree with what"
        " the providers charged. No key and no network are needed.",
    )
    demo.add_argument(
        "--trace",
        type=Path,
        metavar="FILE",
        help="a CSV with the columns TIMESTAMP,ContextTokens,GeneratedTokens; without it, arrivals"
        " and lengths are drawn from the figures of a public trace",
    )
    demo.add_argument("--seed", type=int, default=1, metavar="N", help="default 1")
    demo.add_argument("--calls", type=int, default=6000, metavar="N", help="default 6000")
    demo.add_argument(
        "--out",
        type=Path,
        default=Path("build/demo"),
        metavar="DIR",
        help="where result.json, report.html and the ledger go; default build/demo",
    )
    demo.add_argument(
        "--durability",
        choices=("power", "process", "memory"),
        default="power",
        help="what the ledger survives; default power",
    )
    demo.set_defaults(run=_run_demo)
    subparsers.add_parser(
        "simulator",
        help="serve the providers' APIs on loopback, with faults; see sluiceway simulator --help",
        add_help=False,
    )


def _run_demo(options: argparse.Namespace) -> int:
    from sluiceway.demo.run import Options, run_demo

    return run_demo(
        Options(options.trace, options.seed, options.calls, options.out, options.durability)
    )


def run_simulator(arguments: Sequence[str]) -> int:
    """Runs `python -m sluiceway.simulator` in this process and returns its exit status."""
    import runpy

    sys.argv = ["sluiceway simulator", *arguments]
    try:
        runpy.run_module("sluiceway.simulator", run_name="__main__", alter_sys=True)
    except SystemExit as end:
        return end.code if isinstance(end.code, int) else 0 if end.code is None else 2
    return 0
