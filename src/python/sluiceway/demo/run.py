"""The main job from end to end: `sluiceway demo --trace FILE --seed N --calls N --out DIR`.

Model: read or draw the trace; plan; start the simulator as a process of its own; replay; close the
gateway and the simulator; read the simulator's log and the ledger; audit; write result.json,
report.html, report.png (report.svg without matplotlib). Bad input ends it before anything starts.
The files of an earlier run in DIR are replaced; other files there are left alone.

Exit status: 0 when the books agree, nothing overshot and, from 5,000 calls on, everything that
should happen did; 1 otherwise, saying what; errors are the caller's to report.

The gateway knows nothing of the environment: no key, no base URL and no ledger of the user's can
get into the demo, and no call of it can reach a real provider.
"""

from __future__ import annotations

import asyncio
import json
import sys
import time
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from sluiceway import simulator
from sluiceway._accounts import SIMULATOR_URL
from sluiceway._hub import Hub
from sluiceway.config import config_of
from sluiceway.demo import tables
from sluiceway.demo.books import PROBLEMS_SHOWN_MAX, Audit, audit, ledger_calls, provider_books
from sluiceway.demo.faults import HEALTHY
from sluiceway.demo.limits import demo_config, quoted_rates, size_budgets
from sluiceway.demo.page import Pictures, page
from sluiceway.demo.progress import make_progress
from sluiceway.demo.replay import Replay
from sluiceway.demo.series import series_of
from sluiceway.demo.summary import Summary, dollars, summarise
from sluiceway.demo.synthetic import draw_trace, load_facts
from sluiceway.demo.trace import Trace, TraceError, read_trace
from sluiceway.demo.workload import Plan, plan_calls
from sluiceway.errors import InvalidRequest
from sluiceway.gateway import Gateway
from sluiceway.keys.env import EnvKeys

CALLS_MAX = 1_000_000
JOBS_SHOWN_MAX = 12
_LEDGER = "ledger.db"
_LOG = "provider.jsonl"
_FILES = (
    *(_LEDGER + suffix for suffix in ("", "-wal", "-shm", "-lock")),
    _LOG,
    "result.json",
    "report.html",
    "report.png",
    "report.svg",
)


@dataclass(frozen=True, slots=True)
class Options:
    """What the command line says. `trace` None: drawn from the figures in the package."""

    trace: Path | None = None
    seed: int = 1
    calls: int = 6000
    out: Path = Path("build/demo")
    durability: str = "power"


def run_demo(options: Options) -> int:
    """Runs the job and returns the exit status. SluicewayError or OSError for what cannot start."""
    began_s = time.monotonic()
    if not 1 <= options.calls <= CALLS_MAX:
        raise InvalidRequest(f"--calls {options.calls} is not from 1 to {CALLS_MAX:,}")
    trace = _trace(options)
    plan = plan_calls(trace, options.calls, options.seed)
    _clear(options.out)
    replay, ledger_problems, entries = _replayed(plan, options)
    found = audit(
        ledger_calls(entries),
        provider_books(_log_lines(options.out / _LOG)),
        replay.notes,
        {**replay.budgets.jobs, "hour": replay.budgets.hour},
    )
    found.problems += ledger_problems
    summary = summarise(replay, found)
    pictures = _pictures(replay, summary, options.out)
    summary.result["wall_s"] = round(time.monotonic() - began_s, 3)
    _write(options, replay, summary, found, pictures)
    return _say(options, summary, found)


def _trace(options: Options) -> Trace:
    if options.trace is None:
        return draw_trace(options.calls, options.seed)
    if options.trace.is_dir():
        raise TraceError(str(options.trace), 0, "", "is a folder, not a CSV file")
    return read_trace(options.trace)


def _clear(out: Path) -> None:
    out.mkdir(parents=True, exist_ok=True)
    for name in _FILES:
        (out / name).unlink(missing_ok=True)


def _gateway(config: dict[str, Any], url: str) -> Gateway:
    hub = Hub(config_of(config), EnvKeys({SIMULATOR_URL: url}))
    return Gateway._of(hub, hub.plan)


def _replayed(plan: Plan, options: Options) -> tuple[Replay, list[str], list[dict[str, Any]]]:
    """The finished replay, what the ledger's own check found, and the ledger's entries."""
    log = options.out / _LOG
    with simulator.spawn(HEALTHY, seed=options.seed, tls=False, log=log) as running:
        with _gateway({"ledger": {"path": ":memory:"}}, running.http_url) as dry:
            budgets = size_budgets(plan, quoted_rates(dry))
        ledger = options.out / _LEDGER
        config = demo_config(plan, ledger, options.durability, budgets.hour)
        with _gateway(config, running.http_url) as gateway:
            with make_progress(len(plan.calls)) as progress:
                replay = Replay(plan, gateway, running, budgets, progress.update)
                asyncio.run(replay.run())
            problems = []
            if not gateway.flush(30.0):
                problems.append("the ledger did not write everything within 30 s")
            checked = gateway.ledger.verify()
            problems += [f"the ledger's own check: {what}" for what in checked["problems"]]
            problems += [
                f"the ledger's own check: over its limit: {what}" for what in checked["over_limit"]
            ]
            entries = gateway.ledger.entries(limit=10 * CALLS_MAX)
    return replay, problems, entries


def _log_lines(path: Path) -> Iterator[dict[str, Any]]:
    """The simulator's log. Its process has ended, so it is whole."""
    with open(path, encoding="utf-8") as file:
        for line in file:
            yield json.loads(line)


def _pictures(replay: Replay, summary: Summary, out: Path) -> Pictures:
    from sluiceway.demo import picture, svg

    series = series_of(replay)
    try:
        light = picture.paint(series, summary, dark=False)
        dark = picture.paint(series, summary, dark=True)
    except ImportError:
        drawn = svg.paint_svg(series, summary)
        (out / "report.svg").write_text(drawn, encoding="utf-8")
        return Pictures(b"", b"", drawn)
    (out / "report.png").write_bytes(light)
    return Pictures(light, dark, "")


def _write(
    options: Options, replay: Replay, summary: Summary, found: Audit, pictures: Pictures
) -> None:
    plan = replay.plan
    facts = {
        "Wall time of the job": f"{summary.result['wall_s']:.1f} s",
        "Compression": f"{plan.span_s:,.0f} s of the trace in {plan.duration_s:.1f} s",
        "The hour's budget": dollars(replay.budgets.hour, 4),
        "Ledger": f"{options.out / _LEDGER}, durability {options.durability}",
    }
    if plan.clamped:
        facts["Rows longer than the demo sends, shortened"] = f"{plan.clamped:,}"
    if options.trace is None:
        carried = load_facts()
        facts["Arrivals and lengths"] = (
            "drawn from figures of the Azure LLM inference trace 2023 (code), Patel et al., ISCA"
            f" 2024, {carried.licence}, {carried.source}"
        )
    shown = tables.tables_of(summary, found)
    html = page(summary, found, shown, pictures, facts)
    (options.out / "report.html").write_text(html, encoding="utf-8")
    text = json.dumps(summary.result, indent=2, ensure_ascii=False)
    (options.out / "result.json").write_text(text + "\n", encoding="utf-8")


def _say(options: Options, summary: Summary, found: Audit) -> int:
    """The tables and the verdict; the exit status."""
    tables.show(tables.tables_of(summary, found, JOBS_SHOWN_MAX), sys.stdout)
    lines: Iterable[str] = [
        *found.problems[:PROBLEMS_SHOWN_MAX],
        *(
            f"{scope}: {amount} nano-dollars above its limit"
            for scope, amount in found.overshoot_by_scope.items()
        ),
        *(f"there was not {what}" for what in summary.missing),
    ]
    hidden = len(found.problems) - PROBLEMS_SHOWN_MAX
    sys.stdout.write(f"\nreport: {options.out / 'report.html'}\n")
    if found.ok and not summary.missing:
        sys.stdout.write("the books agree and nothing overshot\n")
        return 0
    sys.stdout.flush()
    for line in lines:
        sys.stderr.write(f"demo: {line}\n")
    if hidden > 0:
        sys.stderr.write(f"demo: and {hidden:,} differences more, in result.json\n")
    return 1
