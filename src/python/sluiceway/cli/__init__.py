"""The console command `sluiceway`.

    sluiceway demo [--trace FILE] [--seed N] [--calls N] [--out DIR]
    sluiceway simulator [...]                      the same as python -m sluiceway.simulator
    sluiceway doctor [--config FILE] [--json]
    sluiceway prices show [NAME ...]
    sluiceway ledger verify|replay|audit|holds|report|history|export [--ledger FILE]
    sluiceway ledger resolve|post|import|grant|archive [--ledger FILE]
    sluiceway estimate MODEL TEXT [--max-output-tokens N]

Model: argparse, and nothing of a third party when this is imported. A subcommand is a module with
`add(subparsers)`; it is a few lines over the package's public face, and what it needs is imported
when it runs. Errors are one plain line on standard error and exit status 2; what a command finds
wrong (books that do not agree) is status 1. Ctrl-C is 130.
"""

from __future__ import annotations

import argparse
import contextlib
import io
import os
import sys
from collections.abc import Sequence
from typing import NoReturn

import sluiceway
from sluiceway.cli import doctor, estimate, jobs, ledger, prices
from sluiceway.errors import SluicewayError


class _Parser(argparse.ArgumentParser):
    """An ArgumentParser whose errors are one line."""

    def error(self, message: str) -> NoReturn:
        self.exit(2, f"{self.prog}: {message}; see {self.prog} --help\n")


def make_parser() -> argparse.ArgumentParser:
    """The whole command line."""
    parser = _Parser(
        prog="sluiceway",
        description="Paid API calls under hard budgets: the demo, the simulator, checks and books.",
    )
    parser.add_argument("--version", action="version", version=f"sluiceway {sluiceway.__version__}")
    subparsers = parser.add_subparsers(required=True, metavar="COMMAND")
    for command in (jobs, doctor, prices, ledger, estimate):
        command.add(subparsers)
    return parser


def main(arguments: Sequence[str] | None = None) -> int:
    """Runs one command and returns its exit status."""
    words = sys.argv[1:] if arguments is None else list(arguments)
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, io.TextIOWrapper):  # a terminal of ASCII gets "\\xe9" for a letter
            stream.reconfigure(errors="backslashreplace")
    if words[:1] == ["simulator"]:  # its options are its own, --help included
        return jobs.run_simulator(words[1:])
    options = make_parser().parse_args(words)
    try:
        status = options.run(options)
        if sys.stdout is not None:  # the shell closed it: `>&-`
            sys.stdout.flush()
        return int(status)
    except KeyboardInterrupt:
        print("sluiceway: interrupted", file=sys.stderr)
        return 130
    except BrokenPipeError:
        _write_no_more()
        return 141
    except SluicewayError as error:
        print(f"sluiceway: {one_line(error)}", file=sys.stderr)
        return 2
    except OSError as error:
        where = f"{error.filename}: " if error.filename else ""
        print(f"sluiceway: {where}{error.strerror or one_line(error)}", file=sys.stderr)
        if not error.filename:
            _write_no_more()
        return 2


def _write_no_more() -> None:
    """Whoever read our output has gone, or its disk is full: the interpreter's last flush too."""
    with contextlib.suppress(OSError, ValueError, AttributeError):
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())


def one_line(error: BaseException) -> str:
    """An error's text without line ends."""
    return " ".join(str(error).split()) or type(error).__name__
