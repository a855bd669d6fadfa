"""`sluiceway prices`: what calls cost, where that is from, and how a newer table gets here.

    sluiceway prices show gpt --on 2026-08-01        rows that held then; --sources, --all, --json
    sluiceway prices diff 2026-09-01 2026-11-22      or two files: price files (.toml), snapshots
    sluiceway prices check --older-than 120          proofs, old dates, ends; --arithmetic NAME
    sluiceway prices candidates --from data.json     a community table against ours; --out my.toml
    sluiceway prices snapshot prices.json            one file with its hash, for running gateways

Every command takes `--file MY.toml` and `--snapshot FILE` to look at another table than the shipped
one. A row is one price of one model: its tier, when it holds, dollars (per million where nothing
else is said), the day on which the source was seen to say so.
"""

from __future__ import annotations

import argparse
import datetime
import json
import re
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any

from sluiceway.errors import ConfigError, UnknownModel

Sheet = dict[str, Any]
OLD_DAYS = 120
_NS = 1_000_000_000


def add(subparsers: Any) -> None:
    """Adds the command."""
    prices = subparsers.add_parser("prices", help="what calls cost, and where that is from")
    actions = prices.add_subparsers(required=True, metavar="ACTION")
    show = actions.add_parser("show", help="a table of models, rates and source dates")
    show.add_argument("names", nargs="*", metavar="NAME", help="parts of provider/model names")
    show.add_argument("--provider", help="only this provider")
    show.add_argument("--kind", help="only this kind: chat, image, speech, transcription ...")
    show.add_argument("--on", metavar="DATE", type=_day, help="what holds on this day")
    show.add_argument("--tier", help='only this service tier; "default" for the standard one')
    show.add_argument("--plan", default="", help="of this plan")
    show.add_argument("--all", action="store_true", help="also rows that have ended")
    show.add_argument("--sources", action="store_true", help="also the source of each row")
    show.add_argument("--json", action="store_true", help="everything, as JSON")
    show.set_defaults(run=_show)
    diff = actions.add_parser("diff", help="what changed between two days or two tables")
    diff.add_argument("before", help='a date, a price file, a snapshot, or "shipped"')
    diff.add_argument("after", help="the same")
    diff.set_defaults(run=_diff)
    check = actions.add_parser("check", help="proves the table, and lists what is old or gone")
    check.add_argument("--older-than", type=int, default=OLD_DAYS, metavar="DAYS")
    check.add_argument("--on", metavar="DATE", type=_day, help="as if today were this day")
    check.add_argument("--arithmetic", metavar="NAME", help="each rate of these models, spelt out")
    check.add_argument("--strict", action="store_true", help="exit 1 for old rows too")
    check.set_defaults(run=_check)
    candidates = actions.add_parser("candidates", help="a community table against ours")
    candidates.add_argument("--from", dest="table", required=True, metavar="FILE", type=Path)
    candidates.add_argument("--format", choices=("genai", "litellm"), default="")
    candidates.add_argument("--on", metavar="DATE", type=_day, help="compared on this day")
    candidates.add_argument("--source", help="what rows in --out name as their source")
    candidates.add_argument("--out", metavar="FILE", type=Path, help="models we lack, as TOML")
    candidates.set_defaults(run=_candidates)
    snapshot = actions.add_parser("snapshot", help="writes a table as one file with its hash")
    snapshot.add_argument("out", metavar="OUT", type=Path)
    snapshot.set_defaults(run=_snapshot)
    for action in (show, check, candidates, snapshot):
        action.add_argument("--file", action="append", default=[], metavar="MY.toml")
        action.add_argument("--snapshot", metavar="FILE", type=Path)


def _day(text: str) -> str:
    try:
        return datetime.date.fromisoformat(text).isoformat()
    except ValueError:
        raise argparse.ArgumentTypeError(f"{text!r} is no day; write 2026-11-22") from None


def _today() -> str:
    return datetime.datetime.now(datetime.UTC).date().isoformat()


def _table(options: argparse.Namespace) -> Any:
    """The table that the options name. A snapshot is only looked at here: any hash will do."""
    from sluiceway.prices.book import make_table

    snapshot = options.snapshot
    return make_table(snapshot, _hash_of(snapshot) if snapshot else None, options.file)


def _hash_of(path: Path) -> str:
    import hashlib

    try:
        return hashlib.sha256(path.read_bytes()).hexdigest()
    except OSError as error:
        raise ConfigError(f"{path}: cannot be read: {error.strerror}") from error


def _show(options: argparse.Namespace) -> int:
    table = _table(options)
    sheets = [sheet for sheet in table.sheets if _wanted(sheet, options)]
    rows = [row for sheet in sheets for row in _rows(sheet, options)]
    if not sheets or not (rows or options.json):
        asked = [" or ".join(options.names)]
        named = {one: getattr(options, one) for one in ("provider", "kind", "tier", "plan")}
        asked += [f"the {one} {value!r}" for one, value in named.items() if value]
        asked += [f"a row on {options.on}"] * (options.on is not None)
        told = " and ".join(filter(None, asked)) or "a row that holds"
        ended = "; --all shows rows that have ended" * bool(sheets and not options.all)
        raise UnknownModel(f"no model in the price files has {told}{ended}")
    if options.json:
        print(json.dumps(sheets, indent=2, ensure_ascii=False))
        return 0
    header = ("model", "tier", "prompt", "when", "USD (a million, if not said)", "checked")
    for line in columns([header, *rows]):
        print(line)
    print(f"\nprice table {table.version} ({' + '.join(table.layers)})")
    return 0


def _wanted(sheet: Sheet, options: argparse.Namespace) -> bool:
    known = [f"{sheet['provider']}/{one}" for one in (sheet["model"], *sheet["aliases"])]
    return (
        (not options.names or any(p.lower() in name for p in options.names for name in known))
        and options.provider in (None, sheet["provider"])
        and options.kind in (None, sheet["kind"])
    )


def _rows(sheet: Sheet, options: argparse.Namespace) -> Iterable[tuple[str, ...]]:
    from sluiceway.prices.candidates import day_ns
    from sluiceway.prices.changes import prompt_text, rates_text

    name = f"{sheet['provider']}/{sheet['model']}"
    if sheet["layer"] != "shipped":
        name += f" ({sheet['layer']})"
    now = day_ns(options.on or _today())
    for row in sheet["rows"]:
        ended = row["effective_to_ns"] <= now
        begins = row["effective_from_ns"] > now
        if (ended and not options.all) or (begins and options.on is not None):
            continue
        tier = row["service_tier"] or "default"
        if options.tier not in (None, tier) or row["plan"] != options.plan:
            continue
        look = [tier, row["size"], row["quality"]]
        checked = str(row["checked"])
        text = " ".join(part for part in look if part)
        yield (
            name,
            text,
            prompt_text(row) or "any",
            _when(row, begins, ended),
            rates_text(row),
            (checked),
        )
        if options.sources:
            yield "", "", "", "", row["source"], ""


def _when(row: dict[str, Any], begins: bool, ended: bool) -> str:
    parts = []
    if begins:
        parts.append(f"from {_date(row['effective_from_ns'])}")
    if ended:
        parts.append(f"until {_date(row['effective_to_ns'])}")
    if row["windows"]:
        parts.append("off-peak" if row["windows_inverted"] else "peak")
    return " ".join(parts) or "always"


def _date(instant_ns: int) -> str:
    return f"{datetime.datetime.fromtimestamp(instant_ns // _NS, datetime.UTC):%Y-%m-%d}"


def _diff(options: argparse.Namespace) -> int:
    from sluiceway.prices.changes import between_days, between_tables

    days = [re.fullmatch(r"\d{4}-\d\d-\d\d", text) for text in (options.before, options.after)]
    if all(days):
        from sluiceway.prices.load import load_prices

        try:
            before, after = _day(options.before), _day(options.after)
        except argparse.ArgumentTypeError as error:
            raise ConfigError(f"prices diff: {error}") from None
        changes = between_days(load_prices(), before, after)
    elif any(days):
        raise ConfigError("prices diff compares two dates or two tables, not one of each")
    else:
        changes = between_tables(_sheets(options.before), _sheets(options.after))
    for change in changes:
        values = " -> ".join(text for text in (change.before, change.after) if text)
        print(" ".join(part for part in (change.kind, change.model, change.what) if part))
        if values:
            print(f"    {values}")
    print(f"{len(changes)} changes" if changes else "no changes")
    return 0


def _sheets(name: str) -> list[Sheet]:
    """The sheets of "shipped", of a price file or of a snapshot."""
    from sluiceway.prices.load import load_prices
    from sluiceway.prices.snapshot import read_snapshot

    if name == "shipped":
        return load_prices()
    path = Path(name)
    return load_prices([path]) if path.suffix == ".toml" else read_snapshot(path)


def _check(options: argparse.Namespace) -> int:
    from sluiceway.prices.audit import arithmetic, audit

    day = options.on or _today()
    table = _table(options)  # raises where a row overlaps, leaves a gap, lacks a source or a date
    rows = sum(len(sheet["rows"]) for sheet in table.sheets)
    print(f"{len(table.sheets)} models, {rows} rows: no overlap, no gap, every row has a source")
    notes = audit(table.sheets, day, options.older_than)
    titles = {
        "old": f"not checked for more than {options.older_than} days",
        "ends": "end soon",
        "ended": "have ended; their rows price old records",
        "second-hand": "rest on a third party or a community table",
    }
    for kind, title in titles.items():
        found = [note for note in notes if note.kind == kind]
        print(f"\n{len(found)} {title}")
        for note in found:
            print(f"  {note.model}: {note.text}")
    if options.arithmetic:
        print()
        for sheet in table.sheets:
            if options.arithmetic in f"{sheet['provider']}/{sheet['model']}":
                print("\n".join(arithmetic(sheet, day)))
    return 1 if options.strict and any(note.kind == "old" for note in notes) else 0


def _candidates(options: argparse.Namespace) -> int:
    from sluiceway.prices.candidates import as_toml, compare
    from sluiceway.prices.changes import decimal_text
    from sluiceway.prices.community import read_table

    day = options.on or _today()
    found = compare(read_table(options.table, options.format, day), _table(options).sheets, day)
    header = ("model", "as", "where", "bucket", "theirs", "ours")
    rows = [
        (
            f"{one.provider}/{one.model}",
            one.name if one.name != one.model else "",
            one.where,
            one.bucket,
            f"{one.theirs.normalize():f}",
            "no rate" if one.ours is None else decimal_text(one.ours),
        )
        for one in found.disagreements
    ]
    for line in columns([header, *rows]):
        print(line)
    lacking = list(dict.fromkeys(f"{one.provider}/{one.model}" for one in found.lacking))
    print(
        f"\non {day}: {len(found.models)} of our models compared, {found.equal} figures agree,"
        f" {len(rows)} do not; {len(lacking)} models that we lack: {', '.join(lacking) or 'none'}"
    )
    for words in found.left_out:
        print(f"left out: {words}")
    if options.out is not None:
        source = options.source or options.table.name
        options.out.write_text(as_toml(found.lacking, source, day), encoding="utf-8")
        print(f"written for you to check: {options.out}")
    return 0


def _snapshot(options: argparse.Namespace) -> int:
    from sluiceway.prices.book import plain_sheets
    from sluiceway.prices.snapshot import write_snapshot

    digest = write_snapshot(options.out, plain_sheets(_table(options)))
    print(f'[prices]\nsnapshot = "{options.out}"\nsha256 = "{digest}"')
    return 0


def columns(rows: Sequence[tuple[str, ...]]) -> list[str]:
    """Rows of text in columns, two blanks apart; the first row gets a line under it."""
    widths = [max(len(row[place]) for row in rows) for place in range(len(rows[0]))]
    lines = [
        "  ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)).rstrip()
        for row in rows
    ]
    return [lines[0], "  ".join("-" * width for width in widths).rstrip(), *lines[1:]]
