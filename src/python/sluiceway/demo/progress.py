"""Live progress of the demo: a bar with rich, a line on a bare terminal, a few lines elsewhere.

Model: `Progress` is a context manager whose `update` takes the replay's counters a few times a
second. Which of three faces it has is decided once: rich is installed and stderr is a terminal; a
terminal without rich (one line, rewritten); no terminal (a line at each fifth of the calls). All
go to stderr, so that the tables on stdout can be piped.

One thread. rich is imported only here and in tables.py, and only when it is there.
"""

from __future__ import annotations

import sys
from types import TracebackType
from typing import TYPE_CHECKING, Any, Self, TextIO

if TYPE_CHECKING:
    from sluiceway.demo.replay import Replay


def _line(replay: Replay) -> str:
    counts = replay.counts
    done = len(replay.outcomes)
    cents = replay.spent_nanousd // 10_000_000
    return (
        f"{done:,} of {len(replay.plan.calls):,} calls"
        f" | in flight {replay.launched - done}"
        f" | ${cents // 100}.{cents % 100:02} settled"
        f" | retries {counts['retries']}"
        f" | cache {counts['cache']}"
        f" | refused {counts['refused by a budget']}"
        f" | in doubt {counts['in doubt']}"
        f" | {replay.phases_begun[-1][0] if replay.phases_begun else 'starting'}"
    )


class Progress:
    """The plain face: a few lines, or one that is rewritten on a terminal."""

    def __init__(self, calls: int, stream: TextIO) -> None:
        self._calls = calls
        self._stream = stream
        self._terminal = stream.isatty()
        self._shown_fifths = -1

    def update(self, replay: Replay) -> None:
        """Shows how far it is."""
        if self._terminal:
            self._stream.write(f"\r\033[K{_line(replay)[:118]}")
            self._stream.flush()
            return
        fifths = len(replay.outcomes) * 5 // max(self._calls, 1)
        if fifths > self._shown_fifths:
            self._shown_fifths = fifths
            self._stream.write(f"demo: {_line(replay)}\n")
            self._stream.flush()

    def close(self) -> None:
        """Leaves the terminal on a fresh line."""
        if self._terminal:
            self._stream.write("\n")

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.close()


class RichProgress(Progress):
    """A bar, with the counters under it."""

    def __init__(self, calls: int, stream: TextIO) -> None:
        from rich.console import Console
        from rich.progress import (
            BarColumn,
            MofNCompleteColumn,
            TextColumn,
            TimeElapsedColumn,
        )
        from rich.progress import Progress as Bars

        super().__init__(calls, stream)
        self._bars: Any = Bars(
            TextColumn("[bold]{task.description}"),
            BarColumn(bar_width=None),
            MofNCompleteColumn(),
            TimeElapsedColumn(),
            TextColumn("{task.fields[more]}"),
            console=Console(file=stream),
            auto_refresh=False,
            expand=True,
        )
        self._task = self._bars.add_task("replaying", total=calls, more="")
        self._bars.start()

    def update(self, replay: Replay) -> None:
        """Shows how far it is."""
        counts = replay.counts
        cents = replay.spent_nanousd // 10_000_000
        more = (
            f"${cents // 100}.{cents % 100:02}  retries {counts['retries']}"
            f"  cache {counts['cache']}  refused {counts['refused by a budget']}"
            f"  in doubt {counts['in doubt']}"
        )
        phase = replay.phases_begun[-1][0] if replay.phases_begun else "starting"
        self._bars.update(
            self._task, completed=len(replay.outcomes), description=f"{phase:<18}", more=more
        )
        self._bars.refresh()

    def close(self) -> None:
        """Ends the live display."""
        self._bars.stop()


def make_progress(calls: int, stream: TextIO | None = None) -> Progress:
    """The face that fits the stream (standard error) and what is installed."""
    stream = stream or sys.stderr
    if stream.isatty():
        try:
            return RichProgress(calls, stream)
        except ImportError:
            pass
    return Progress(calls, stream)
