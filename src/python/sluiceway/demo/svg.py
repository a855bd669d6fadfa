"""The picture without matplotlib: the two panels that matter most, as SVG written by hand.

Model: the same numbers as picture.py. Text and lines take `currentColor`, so that the page's light
and dark ground both work. No script, no outside resource. Pure.

    svg = paint_svg(series, summary)
"""

from __future__ import annotations

from html import escape

from sluiceway.demo.picture import COLOURS, RAN_OUT
from sluiceway.demo.series import Series
from sluiceway.demo.summary import Summary

_WIDTH, _PANEL, _LEFT, _TOP = 1000, 240, 60, 40


def paint_svg(series: Series, summary: Summary) -> str:
    """An SVG element, 1,000 units wide."""
    parts = [
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {_WIDTH} {2 * _PANEL + 160}"'
        ' role="img" font-family="sans-serif" font-size="12" fill="currentColor">',
        "<title>How calls ended, and what each job was charged against its budget</title>",
        *_ended(series),
        *_jobs(summary),
        "</svg>",
    ]
    return "\n".join(parts)


def _rect(x: float, y: float, width: float, height: float, colour: str) -> str:
    return (
        f'<rect x="{x:.1f}" y="{y:.1f}" width="{width:.1f}" height="{height:.1f}" fill="{colour}"/>'
    )


def _text(x: float, y: float, text: str, more: str = "") -> str:
    return f'<text x="{x:.1f}" y="{y:.1f}" {more}>{escape(text)}</text>'


def _ended(series: Series) -> list[str]:
    bins = len(next(iter(series.ended.values())))
    top = max(sum(counts[place] for counts in series.ended.values()) for place in range(bins)) or 1
    wide = (_WIDTH - _LEFT) / bins
    base = _TOP + _PANEL
    out = [_text(_LEFT, 16, "Calls ended a second", 'font-weight="bold"')]
    below = [0.0] * bins
    for word, counts in series.ended.items():
        for place, count in enumerate(counts):
            height = count / top * _PANEL
            below[place] += height
            if count:
                x = _LEFT + place * wide
                out.append(_rect(x, base - below[place], wide * 0.95, height, COLOURS[word]))
    scale = (_WIDTH - _LEFT) / series.end_s
    for name, from_s, to_s in series.open_spans:
        bar = _rect(
            _LEFT + from_s * scale,
            base + 2,
            max((to_s - from_s) * scale, 2),
            5,
            COLOURS["breaker open"],
        )
        out.append(bar.replace("/>", f"><title>{escape(name)}: open</title></rect>"))
    out.append(_text(_LEFT - 6, _TOP + 10, f"{top / series.bin_s:,.0f}", 'text-anchor="end"'))
    out.append(_text(_LEFT - 6, base, "0", 'text-anchor="end"'))
    out.append(_text(_WIDTH, base + 20, f"{series.end_s:.0f} s", 'text-anchor="end"'))
    x = _LEFT
    for word in series.ended:
        out.append(_rect(x, base + 10, 12, 12, COLOURS[word]))
        out.append(_text(x + 16, base + 20, word))
        x += 40 + 7 * len(word)
    return out


def _jobs(summary: Summary) -> list[str]:
    base = 2 * _PANEL + _TOP + 80
    amounts = [max(row.charged_nanousd, row.limit_nanousd or 0) for row in summary.jobs]
    top = max(amounts, default=1) or 1
    wide = (_WIDTH - _LEFT) / max(len(summary.jobs), 1)
    title = "Charged to each job (red: it ran out) and its budget (line)"
    out = [_text(_LEFT, base - _PANEL - 14, title, 'font-weight="bold"')]
    for place, row in enumerate(summary.jobs):
        x = _LEFT + place * wide
        height = row.charged_nanousd / top * _PANEL
        colour = RAN_OUT if row.refused else COLOURS["completed"]
        out.append(_rect(x, base - height, wide * 0.8, height, colour))
        limit = base - (row.limit_nanousd or 0) / top * _PANEL
        out.append(_rect(x, limit - 1, wide * 0.8, 2, "currentColor"))
    out.append(_text(_LEFT, base + 18, "job 1"))
    out.append(_text(_WIDTH, base + 18, f"job {len(summary.jobs)}", 'text-anchor="end"'))
    return out
