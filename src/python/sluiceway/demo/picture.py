"""The picture of a replay, painted by matplotlib where that is installed.

Model: four panels of one figure: how calls ended over time, with the phases of faults behind them
and a bar where a breaker was open; latencies over time; cost by model; each job's charge against
its budget. It is painted twice, on light and on dark ground. Colours: the palette of Paul Tol
(colour-blind safe), https://sronpersonalpages.nl/~pault/, "bright", read 2026-11-22.

About a second, and 60 MB while it lasts. `paint` raises ImportError without matplotlib.

    png = paint(series, summary, dark=False)
"""

from __future__ import annotations

import io
from typing import Any

from sluiceway.demo.series import Series
from sluiceway.demo.summary import Summary

COLOURS = {
    "completed": "#4477AA",
    "refused by a budget": "#CCBB44",
    "breaker open": "#AA3377",
    "refused by a limit": "#66CCEE",
    "in doubt": "#EE6677",
    "failed": "#999999",
}
RAN_OUT = "#EE6677"
_NANOUSD = 1e9  # of the axes only: a picture is no place for books


def paint(series: Series, summary: Summary, *, dark: bool) -> bytes:
    """A PNG, 1,600 by 1,000 pixels."""
    import matplotlib as mpl
    from matplotlib.figure import Figure

    ink, ground, faint = ("#e6e6e6", "#15181c", "#2b3138") if dark else ("#222", "#fff", "#eceff3")
    style: Any = {
        "font.size": 10.0,
        "font.family": "sans-serif",
        "text.color": ink,
        "axes.edgecolor": "#888",
        "axes.labelcolor": ink,
        "axes.facecolor": ground,
        "axes.spines.top": False,
        "axes.spines.right": False,
        "axes.titlelocation": "left",
        "axes.titleweight": "bold",
        "xtick.color": ink,
        "ytick.color": ink,
        "figure.facecolor": ground,
        "legend.frameon": False,
    }
    with mpl.rc_context(style):
        # A Figure of its own, not pyplot: no global state, no display.
        figure = Figure(figsize=(16, 10), dpi=100, layout="constrained")
        grid: Any = figure.add_gridspec(3, 2, height_ratios=(5, 3, 4), width_ratios=(1, 2))
        time_axis = figure.add_subplot(grid[0, :])
        _ended(time_axis, series, faint)
        latency_axis = figure.add_subplot(grid[1, :], sharex=time_axis)
        _latency(latency_axis, series)
        _models(figure.add_subplot(grid[2, 0]), summary)
        _jobs(figure.add_subplot(grid[2, 1]), summary, ink)
        out = io.BytesIO()
        figure.savefig(out, format="png")
    return out.getvalue()


def _ended(axis: Any, series: Series, faint: str) -> None:
    for place, (name, from_s, to_s) in enumerate(series.phases):
        if place % 2:
            axis.axvspan(from_s, to_s, color=faint, lw=0, zorder=0)
        axis.text(
            (from_s + to_s) / 2,
            1.0,
            name.replace(" ", "\n"),
            transform=axis.get_xaxis_transform(),
            ha="center",
            va="top",
            fontsize=9,
        )
    times = [
        series.bin_s * (place + 0.5) for place in range(len(next(iter(series.ended.values()))))
    ]
    below = [0.0] * len(times)
    for word, counts in series.ended.items():
        rates = [count / series.bin_s for count in counts]
        axis.bar(times, rates, series.bin_s * 0.96, bottom=below, color=COLOURS[word], label=word)
        below = [low + rate for low, rate in zip(below, rates, strict=True)]
    top = max(below) or 1.0
    for _, from_s, to_s in series.open_spans:
        axis.plot([from_s, to_s], [-0.03 * top] * 2, color=COLOURS["breaker open"], lw=6)
    axis.set_ylim(-0.06 * top, top * 1.22)
    axis.set_xlim(0, series.end_s)
    axis.set_ylabel("calls ended a second")
    axis.set_title("How calls ended (the bar below the axis: a breaker was open)")
    axis.legend(loc="lower right", bbox_to_anchor=(1, 0.99), ncols=len(series.ended))


def _latency(axis: Any, series: Series) -> None:
    times = [at_s for at_s, _, _ in series.latency]
    axis.plot(times, [p99 for _, _, p99 in series.latency], color="#EE6677", lw=2, label="p99")
    axis.plot(times, [p50 for _, p50, _ in series.latency], color="#4477AA", lw=2, label="p50")
    axis.set_yscale("symlog", linthresh=1)
    axis.set_ylabel("ms")
    axis.set_xlabel("seconds of the replay")
    axis.set_title("Latency of completed calls, as their callers saw it")
    axis.legend(loc="lower right", bbox_to_anchor=(1, 0.97), ncols=2)


def _models(axis: Any, summary: Summary) -> None:
    rows = summary.models[::-1]
    axis.barh(
        [row.name for row in rows], [row.cost_nanousd / _NANOUSD for row in rows], color="#4477AA"
    )
    axis.set_xlabel("settled, USD")
    axis.set_title("Cost by model")


def _jobs(axis: Any, summary: Summary, ink: str) -> None:
    places = range(1, len(summary.jobs) + 1)
    charged = [row.charged_nanousd / _NANOUSD for row in summary.jobs]
    limits = [(row.limit_nanousd or 0) / _NANOUSD for row in summary.jobs]
    colours = [RAN_OUT if row.refused else "#4477AA" for row in summary.jobs]
    axis.bar(places, charged, color=colours, width=0.8)
    axis.hlines(limits, [x - 0.45 for x in places], [x + 0.45 for x in places], color=ink, lw=2)
    axis.set_xlim(0.3, len(summary.jobs) + 0.7)
    axis.set_xlabel("job (red: it ran out; the line: its budget)")
    axis.set_ylabel("charged, USD")
    axis.set_title("What the provider charged each job, and its budget")
