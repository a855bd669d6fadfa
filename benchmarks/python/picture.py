"""A picture of the rows that have a goal, drawn from build/bench/summary.json.

Model: each such row is a bar on a logarithmic axis, its length how far the figure is on the good
side of its goal, with a dot at its end: 2 is twice as good as asked, 0.5 half as good, whether more
or less is better. The figure and the goal stand beside it. Rows that miss their goal are drawn like
the others, in red. A goal of 0 has no ratio: such a row is a dot on the goal. Colours are Paul
Tol's "bright" scheme, which the colour-blind tell apart.

    python -m benchmarks.python.picture build/bench/summary.json docs/images/benchmarks.png

`make bench` writes build/bench/benchmarks.png. Needs matplotlib. Bounds: a hundred rows.
"""

from __future__ import annotations

import json
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import NamedTuple

from benchmarks.python.rows import GOALS, Goal, Row

MET, MISSED, INK = "#4477AA", "#EE6677", "#222222"
LEAST, MOST = 0.1, 100.0  # bars end here; the figures beside them are exact
ROW_INCHES, WIDTH_INCHES = 0.25, 11.0


class Bar(NamedTuple):
    """One row of the picture. `margin` is None where the goal is 0."""

    name: str
    margin: float | None
    met: bool
    text: str


def bar(name: str, row: Row, goal: Goal) -> Bar:
    """How a row stands to its goal."""
    of_value = goal.of_value or row.ratio is None
    figure = row.value if of_value else row.ratio
    assert figure is not None
    if goal.at_most is not None:
        margin = None if goal.at_most == 0 else goal.at_most / max(figure, 1e-12)
    else:
        assert goal.at_least is not None
        margin = figure / goal.at_least
    unit = f" {row.unit}" if of_value else ""
    shown = f"{figure:,.12g}"
    return Bar(name, margin, goal.holds(row), f"{shown}{unit}   (goal {goal})")


def bars(rows: Mapping[str, Row]) -> list[Bar]:
    """The rows that have a goal, by name."""
    return [bar(name, rows[name], GOALS[name]) for name in sorted(rows.keys() & GOALS.keys())]


def read(summary: Path) -> dict[str, Row]:
    """The rows of a summary.json."""
    return {name: Row(**row) for name, row in json.loads(summary.read_text()).items()}


def paint(found: list[Bar], path: Path, footnote: str = "") -> None:
    """Writes the picture as PNG."""
    from matplotlib.figure import Figure

    height = ROW_INCHES * len(found) + 1.3
    figure = Figure(figsize=(WIDTH_INCHES, height), layout="constrained")
    axes = figure.subplots()
    for place, one in enumerate(reversed(found)):
        colour = MET if one.met else MISSED
        end = 1.0 if one.margin is None else min(max(one.margin, LEAST), MOST)
        axes.barh(place, end - 1.0, left=1.0, color=colour, height=0.62)
        axes.plot([end], [place], "o", color=colour, markersize=7, zorder=3, clip_on=False)
        axes.text(MOST * 1.15, place, one.text, va="center", fontsize=8, color=INK)
        if one.margin is not None and not LEAST <= one.margin <= MOST:
            inside = "left" if one.margin < LEAST else "right"
            axes.text(end, place, f" {one.margin:.3g} ", va="center", ha=inside, fontsize=7)
    axes.axvline(1.0, color=INK, linewidth=1)
    axes.set_xscale("log")
    axes.set_xlim(LEAST, MOST)
    axes.set_ylim(-0.6, len(found) - 0.4)
    ticks = (0.1, 0.2, 0.5, 1, 2, 5, 10, 20, 50, 100)
    axes.set_xticks(ticks, ["goal" if tick == 1 else f"{tick:g}" for tick in ticks])
    axes.minorticks_off()
    axes.grid(axis="x", color="#DDDDDD", linewidth=0.6)
    axes.set_axisbelow(True)
    names = [one.name for one in reversed(found)]
    axes.set_yticks(range(len(found)), names, fontsize=8, family="monospace")
    axes.tick_params(axis="y", length=0)
    met = sum(one.met for one in found)
    axes.set_title(f"Benchmark rows against their goals: {met} of {len(found)} met", loc="left")
    axes.set_xlabel(
        "times as good as the goal asks (blue: met, red: missed)"
        + (f"\n{footnote}" if footnote else ""),
        fontsize=9,
    )
    for side in ("top", "right", "left"):
        axes.spines[side].set_visible(False)
    path.parent.mkdir(parents=True, exist_ok=True)
    figure.savefig(path, dpi=110)


def main() -> None:
    """The command line: a summary.json and the picture to write."""
    if len(sys.argv) != 3:
        sys.exit("usage: python -m benchmarks.python.picture SUMMARY.json OUT.png")
    paint(bars(read(Path(sys.argv[1]))), Path(sys.argv[2]))


if __name__ == "__main__":
    main()
