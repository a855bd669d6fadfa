"""report.html: the whole job on one page, with nothing outside of it.

Model: one template; pictures are PNG data (one for each ground, chosen by the reader's setting) or
inline SVG; tables are the terminal's. No script, no font, no address is loaded. Light and dark by
`prefers-color-scheme`; tables scroll within themselves on a narrow screen and carry captions and
scopes for screen readers. Everything that comes from outside (a trace's name) is escaped.

    html = page(summary, audit, tables, Pictures(light_png, dark_png, ""), facts)
"""

from __future__ import annotations

import base64
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from html import escape

from sluiceway.demo.books import PROBLEMS_SHOWN_MAX, Audit
from sluiceway.demo.summary import Summary, dollars
from sluiceway.demo.tables import Table

_STYLE = """
:root { color-scheme: light dark; --ink: #1b1f24; --soft: #57606a; --ground: #fff;
  --card: #f5f7f9; --line: #d8dee4; --good: #1a7f37; --bad: #b3261e; }
@media (prefers-color-scheme: dark) { :root { --ink: #e6e6e6; --soft: #9aa4af;
  --ground: #15181c; --card: #1e2329; --line: #343b43; --good: #4ac26b; --bad: #ff8a80; } }
* { box-sizing: border-box; }
body { margin: 0; background: var(--ground); color: var(--ink);
  font: 16px/1.5 system-ui, -apple-system, "Segoe UI", Roboto, sans-serif; }
main { max-width: 1120px; margin: 0 auto; padding: 2rem 1.25rem 4rem; }
h1 { font-size: 1.75rem; margin: 0 0 .25rem; }
h2 { font-size: 1.2rem; margin: 2.5rem 0 .5rem; }
p { max-width: 75ch; }
.soft, caption, figcaption, footer { color: var(--soft); }
.verdict { border-left: 6px solid var(--good); background: var(--card); padding: .8rem 1rem;
  margin: 1.25rem 0; border-radius: 0 8px 8px 0; max-width: none; }
.verdict.bad { border-color: var(--bad); }
.verdict strong { color: var(--good); }
.verdict.bad strong { color: var(--bad); }
dl { display: grid; grid-template-columns: repeat(auto-fill, minmax(155px, 1fr)); gap: .75rem;
  margin: 1.25rem 0; }
dl div { background: var(--card); border-radius: 8px; padding: .7rem .9rem; }
dt { font-size: .8rem; color: var(--soft); }
dd { margin: 0; font-size: 1.25rem; font-variant-numeric: tabular-nums; overflow-wrap: anywhere; }
figure { margin: 1.5rem 0; }
figure img, figure svg { display: block; width: 100%; height: auto; border-radius: 8px; }
.scroll { overflow-x: auto; }
table { border-collapse: collapse; font-size: .9rem; font-variant-numeric: tabular-nums;
  min-width: 55%; }
caption { text-align: left; caption-side: bottom; padding-top: .4rem; font-size: .85rem; }
th, td { padding: .3rem .8rem; text-align: right; border-bottom: 1px solid var(--line);
  white-space: nowrap; font-weight: 400; }
thead th { color: var(--soft); font-size: .8rem; }
th:first-child, td:first-child { text-align: left; padding-left: 0; }
details { margin-top: 2.5rem; }
summary { cursor: pointer; font-size: 1.2rem; font-weight: 700; }
code { font-size: .9em; overflow-wrap: anywhere; }
footer { margin-top: 3rem; border-top: 1px solid var(--line); padding-top: 1rem;
  font-size: .85rem; }
a { color: inherit; }
"""


@dataclass(frozen=True, slots=True)
class Pictures:
    """PNGs for both grounds, or an SVG where those are empty."""

    light_png: bytes
    dark_png: bytes
    svg: str


def page(
    summary: Summary,
    audit: Audit,
    tables: Sequence[Table],
    pictures: Pictures,
    facts: Mapping[str, str],
) -> str:
    """The page. `facts` are lines about the run for its foot: what, and how much."""
    result = summary.result
    head = (
        f"{result['calls']:,} calls of <code>{escape(result['trace'])}</code>, replayed in"
        f" {result['replay_s']:.1f} s over three simulated providers, with failures switched on"
        f" on the way. Seed {result['seed']}."
    )
    return "\n".join(
        [
            '<!doctype html>\n<html lang="en">\n<head>\n<meta charset="utf-8">',
            '<meta name="viewport" content="width=device-width, initial-scale=1">',
            f"<title>Sluiceway demo: {result['calls']:,} calls</title>",
            f"<style>{_STYLE}</style>\n</head>\n<body>\n<main>",
            f'<h1>Sluiceway demo</h1>\n<p class="soft">{head}</p>',
            _verdict(summary, audit),
            _cards(summary),
            _figure(pictures),
            *(_table(table) for table in tables if table.title != "Cost by job"),
            _PROOF,
            *(_folded(table) for table in tables if table.title == "Cost by job"),
            _foot(facts),
            "</main>\n</body>\n</html>\n",
        ]
    )


_PROOF = """<h2>How this was proven</h2>
<p>The simulator is a process of its own with its own price table. It writes a line for every
request that reaches it, with the attempt's header <code>sluiceway-attempt: call/number</code>,
whether it was executed and what it charges. After the run these lines are compared with the
ledger's entries and with what each caller was told: a settled call was charged exactly that, to the
nano-dollar; a void one nothing; one in doubt not more than is held for it. Overshoot is reckoned
without the ledger, from the simulator's charges and the demo's own map of calls to budgets.</p>"""


def _verdict(summary: Summary, audit: Audit) -> str:
    if audit.ok and not summary.missing:
        return (
            '<p class="verdict" role="status">'
            "<strong>The books agree and nothing overshot.</strong>"
            f" {audit.settled_calls:,} settled calls equal the provider's charges to the"
            f" nano-dollar, {audit.void_calls:,} void calls were charged nothing,"
            f" {audit.in_doubt_calls:,} calls in doubt were charged"
            f" {dollars(audit.provider_in_doubt_nanousd)} of the"
            f" {dollars(audit.in_doubt_nanousd)} that is held for them.</p>"
        )
    lines = [*audit.problems[:PROBLEMS_SHOWN_MAX]]
    lines += [
        f"{scope} was charged {dollars(amount, 9)} above its limit"
        for scope, amount in audit.overshoot_by_scope.items()
    ]
    lines += [f"there was not {what}" for what in summary.missing]
    more = len(audit.problems) - PROBLEMS_SHOWN_MAX
    if more > 0:
        lines.append(f"and {more:,} differences more, in result.json")
    items = "".join(f"<li>{escape(line)}</li>" for line in lines)
    title = "The books do not agree." if not audit.ok else "Something did not happen."
    return f'<div class="verdict bad" role="alert"><strong>{title}</strong><ul>{items}</ul></div>'


def _cards(summary: Summary) -> str:
    result = summary.result
    cards = (
        ("settled", dollars(result["ledger_nanousd"], 4)),
        ("overshoot", dollars(result["overshoot_nanousd"], 4)),
        ("completed", f"{result['completed']:,}"),
        ("refused by a budget", f"{result['refused_by_budget']:,}"),
        ("retries", f"{result['retries']:,}"),
        ("cache hits", f"{result['cache_hits']:,}"),
        ("streamed", f"{result['streamed']:,}"),
        ("in doubt", f"{result['in_doubt_calls']:,}"),
        ("breaker opened / closed", f"{result['breaker_opened']} / {result['breaker_closed']}"),
        ("executions per attempt, at most", f"{result['executions_per_attempt_max']}"),
        ("latency p50", f"{result['p50_ms']:,.0f} ms"),
        ("latency p99", f"{result['p99_ms']:,.0f} ms"),
    )
    cells = "".join(f"<div><dt>{name}</dt><dd>{value}</dd></div>" for name, value in cards)
    return f"<dl>{cells}</dl>"


def _figure(pictures: Pictures) -> str:
    if not pictures.light_png:
        caption = "How calls ended over time; what each job was charged, and its budget."
        return f"<figure>{pictures.svg}<figcaption>{caption}</figcaption></figure>"
    caption = (
        "Over time: how calls ended, with the phases of failures; latencies. Below: cost by model,"
        " and what each job was charged against its budget. The tables hold the same figures."
    )
    light, dark = (
        "data:image/png;base64," + base64.b64encode(png).decode("ascii")
        for png in (pictures.light_png, pictures.dark_png)
    )
    alt = "Four charts: calls ended per second, latencies, cost by model, charge and budget by job"
    return (
        f'<figure><picture><source media="(prefers-color-scheme: dark)" srcset="{dark}">'
        f'<img src="{light}" width="1600" height="1000" alt="{alt}"></picture>'
        f"<figcaption>{caption}</figcaption></figure>"
    )


def _body(table: Table) -> str:
    header = "".join(
        f'<th scope="col">{escape(name)}</th>' if name else "<td></td>" for name in table.header
    )
    rows = "".join(
        f'<tr><th scope="row">{escape(row[0])}</th>'
        + "".join(f"<td>{escape(cell)}</td>" for cell in row[1:])
        + "</tr>"
        for row in table.rows
    )
    caption = escape(table.note or table.title)
    return (
        f'<div class="scroll" tabindex="0" role="region" aria-label="{escape(table.title)}">'
        f"<table><caption>{caption}</caption><thead><tr>{header}</tr></thead>"
        f"<tbody>{rows}</tbody></table></div>"
    )


def _table(table: Table) -> str:
    return f"<h2>{escape(table.title)}</h2>{_body(table)}"


def _folded(table: Table) -> str:
    return f"<details open><summary>{escape(table.title)}</summary>{_body(table)}</details>"


def _foot(facts: Mapping[str, str]) -> str:
    rows = "<br>".join(f"{escape(name)}: {escape(value)}" for name, value in facts.items())
    return f"<footer>{rows}</footer>"
