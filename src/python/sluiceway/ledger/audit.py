"""An auditor: the books worked out anew from an export, in plain Python.

    python -m sluiceway.ledger.audit books.jsonl
    sluiceway ledger audit --ledger sluiceway.db

Model: it reads the JSON Lines of `sluiceway ledger export` and nothing else, and shares no code
with the ledger or its `verify`. Checked are the invariants of docs/internals/call.md:

    1  at every instant settled + held + in doubt <= limit in every scope, unless overruns explain
       the excess; limits move by grants, and back from today's
    3  an entry is there once; a call ends at most once; what is void is nothing
    4  every entry belongs to a reservation; balances and holds follow from the entries
    prices: a settled call costs what its named price row and its usage come to, where the row is
       known (the shipped price files, and --prices FILE), nothing was estimated and nobody resolved
       it; where the provider reported a cost, that

A limit that was replaced (not granted) is known by its last value only. Rolling windows are checked
in their sums. Bounds: all entries in memory, about 100,000 a second. Exit status 1 when something
is found.
"""

from __future__ import annotations

import argparse
import itertools
import json
import sys
from collections import Counter, defaultdict
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from fractions import Fraction
from typing import Any

Entry = dict[str, Any]
ENDS = ("settle", "void", "post_full")
LIMITS = ("grant", "replace")  # kinds of entries that change a scope's limit
SHOWN_MAX = 100


@dataclass(frozen=True, slots=True)
class Finding:
    """Something that must not be. `subject` is a call, a scope or the file."""

    kind: str
    subject: str
    text: str


@dataclass(slots=True)
class Call:
    """What the entries of one call say together."""

    reserve: Entry | None = None
    hold: int = 0
    cost: int = 0
    refunded: int = 0
    apart: list[Entry] = field(default_factory=list)  # refunds in some of the scopes
    forced: bool = False
    state: str = "open"
    ends: int = 0
    entries: list[Entry] = field(default_factory=list)

    def add(self, entry: Entry) -> None:
        """One entry more, in the order of time."""
        kind, amount = entry["kind"], entry["amount"]
        self.entries.append(entry)
        if kind == "reserve":
            self.reserve, self.hold = entry, amount
        elif kind == "shrink":
            self.hold = amount
        elif kind == "refund":
            self.cost -= amount
            self.refunded += amount
            if entry.get("scopes"):
                self.apart.append(entry)
        elif kind in ("settle", "post_full", "correct"):
            self.cost += amount
        if kind in ENDS:
            self.ends += 1
            self.state = "void" if kind == "void" else "settled"
            # Booked although it did not fit: all of it is beyond the limit, not a part.
            self.forced = bool(entry["overrun"]) and amount <= self.hold
        elif kind == "in_doubt" and not self.ends:
            self.state = "in_doubt"

    def cost_in(self, scope: str) -> int:
        """What it costs one of its scopes (by name, with the window)."""
        kept: int = sum(one["amount"] for one in self.apart if scope not in one["scopes"])
        return self.cost + kept

    def counts(self, scope: str) -> tuple[int, int, int]:
        """Its part of settled, held and in doubt in one of its scopes."""
        if self.state == "settled":
            return self.cost_in(scope), 0, 0
        open_, doubt = self.state == "open", self.state == "in_doubt"
        return 0, self.hold * open_, self.hold * doubt

    def excess(self, scope: str) -> int:
        """How much of its cost may lie above a scope's limit, because it was recorded as it was
        billed."""
        if self.state != "settled":
            return 0
        cost = self.cost_in(scope)
        return max(cost, 0) if self.forced else max(cost - self.hold, 0)


def in_time(entries: Iterable[Entry]) -> list[Entry]:
    """By time; what one commit wrote at once: reservations first."""
    return sorted(entries, key=lambda entry: (entry["at_ns"], entry["kind"] != "reserve"))


def fold(entries: Iterable[Entry]) -> dict[str, Call]:
    """The calls, by id. Changes of limits are no calls."""
    calls: dict[str, Call] = defaultdict(Call)
    for entry in in_time(entries):
        if entry["kind"] not in LIMITS:
            calls[entry["call_id"]].add(entry)
    return dict(calls)


def balances_of(calls: Iterable[Call]) -> dict[str, list[int]]:
    """settled, held and in doubt of every scope that a call was reserved in."""
    sums: dict[str, list[int]] = defaultdict(lambda: [0, 0, 0])
    for call in calls:
        for scope in call.reserve["scopes"] if call.reserve else ():
            counts = call.counts(scope)
            sums[scope] = [had + more for had, more in zip(sums[scope], counts, strict=True)]
    return dict(sums)


def check_calls(entries: Iterable[Entry], calls: dict[str, Call]) -> Iterable[Finding]:
    """Invariant 3, and that every entry has its reservation."""
    keys = Counter((entry["call_id"], entry["attempts"], entry["kind"]) for entry in entries)
    for (call_id, attempts, kind), times in keys.items():
        if times > 1:
            yield Finding("twice", call_id, f"{kind} {attempts} is there {times} times")
    for call_id, call in calls.items():
        kinds = Counter(entry["kind"] for entry in call.entries)
        if call.reserve is None:
            yield Finding("no_reserve", call_id, f"{', '.join(kinds)} without a reservation")
        elif call.entries[0]["kind"] != "reserve":
            yield Finding("order", call_id, "an entry is older than the reservation")
        if call.ends > 1:
            ends = [entry["kind"] for entry in call.entries if entry["kind"] in ENDS]
            yield Finding("ended_twice", call_id, f"it ended {call.ends} times: {', '.join(ends)}")
        if kinds["correct"] and not kinds["post_full"]:
            yield Finding("correct", call_id, "corrected, but never posted in full")
        if call.cost < 0 or (kinds["refund"] and call.state != "settled"):
            yield Finding("refund", call_id, f"{call.refunded} was refunded of a cost that is less")
        for entry in call.entries:
            amount = entry["amount"]
            if entry["kind"] == "void" and amount:
                yield Finding("void", call_id, f"it is void, but has an amount of {amount}")
            if entry["kind"] == "settle" and amount > call.hold and not entry["overrun"]:
                yield Finding(
                    "overrun", call_id, f"{amount} was settled of {call.hold}: no overrun row"
                )


def check_books(books: Entry, calls: dict[str, Call]) -> Iterable[Finding]:
    """Invariant 4: balances and holds follow from the entries."""
    stated: dict[str, list[int]] = defaultdict(lambda: [0, 0, 0])
    for scope in books["scopes"]:
        stated[scope["name"]] = [scope[name] for name in ("settled", "held", "in_doubt")]
    sums = balances_of(calls.values())
    for name in sorted(stated.keys() | sums.keys()):
        said, found = stated.get(name, [0, 0, 0]), sums.get(name, [0, 0, 0])
        if said != found:
            words = "settled, held, in doubt"
            hint = " (were months archived? name the archives)" if said[0] > found[0] else ""
            yield Finding("balance", name, f"{words} are {said}; the entries say {found}{hint}")
    holds = {hold["call_id"]: hold for hold in books["holds"]}
    for call_id, call in calls.items():
        hold = holds.pop(call_id, None)
        if call.state not in ("open", "in_doubt"):
            if hold:
                yield Finding("hold", call_id, "it ended, but its hold is there")
        elif hold is None:
            yield Finding("hold", call_id, f"it is {call.state}, but has no hold")
        elif (hold["amount_nanousd"], hold["in_doubt"]) != (call.hold, call.state == "in_doubt"):
            yield Finding("hold", call_id, f"its hold is not the {call.hold} of its entries")
    for call_id in holds:
        yield Finding("hold", call_id, "a hold without a reservation")


def check_limits(entries: Sequence[Entry], books: Entry) -> Iterable[Finding]:
    """Invariant 1, instant by instant."""
    # How much of a rolling scope counts at an instant, the entries do not say.
    limited = [s for s in books["scopes"] if s["limit"] is not None and not s["rolling"]]
    limits = {scope["name"]: scope["limit"] for scope in limited}
    closed: dict[str, int] = {}  # windows that are over keep the limit of their time
    changes = [entry for entry in entries if entry["kind"] in LIMITS]
    for scope in {name for change in changes for name in change["scopes"]}:
        windows = _windows(limits, [scope])
        newest = limits[max(windows)] if windows else 0
        for name in windows:
            if name != scope:
                closed[name] = limits[name]
            limits[name] = newest
    for change in changes:
        for name in _windows(limits, change["scopes"]):
            limits[name] -= change["amount"]
    used: Counter[str] = Counter()
    excused: Counter[str] = Counter()
    calls: dict[str, Call] = defaultdict(Call)
    worst: dict[str, tuple[int, int]] = {}
    for at_ns, group in itertools.groupby(in_time(entries), key=lambda entry: entry["at_ns"]):
        touched: set[str] = set()
        for entry in group:
            if entry["kind"] in LIMITS:
                for name in _windows(limits, entry["scopes"]):
                    limits[name] += entry["amount"]
                continue
            call = calls[entry["call_id"]]
            scopes = (entry if entry["kind"] == "reserve" else call.reserve or {}).get("scopes", ())
            if call.reserve:
                for name in scopes:
                    used[name] -= sum(call.counts(name))
                    excused[name] -= call.excess(name)
            call.add(entry)
            for name in scopes if call.reserve else ():
                used[name] += sum(call.counts(name))
                excused[name] += call.excess(name)
            touched.update(scopes)
        for name in touched & limits.keys():
            limit = max(limits[name], closed.get(name, limits[name]))
            above = used[name] - limit - excused[name]
            if above > worst.get(name, (0, 0))[0]:
                worst[name] = above, at_ns
    for name, (above, at_ns) in worst.items():
        text = f"{above} above its limit at {at_ns} ns, and no overrun explains it"
        yield Finding("over_limit", name, f"{text} (was the limit lowered since?)")


def _windows(names: Iterable[str], scopes: Sequence[str]) -> list[str]:
    """The scopes of these names with all their windows."""
    starts = tuple(scope + ("@" if ":" in scope else ":") for scope in scopes)
    return [name for name in names if name in scopes or name.startswith(starts)]


def cost_of(row: dict[str, Any], usage: dict[str, int]) -> int | None:
    """Nano-dollars of a usage at a price row, each line rounded half to even; None: not sold."""
    rates, (numerator, denominator) = row["rates"], row["factor"]
    divisors = row.get("rate_dens", {})
    lines = dict(usage)
    if "reasoning" in lines and "reasoning" not in rates:
        lines["output"] = lines.get("output", 0) + lines.pop("reasoning")
    total = 0
    for bucket, units in lines.items():
        if units and bucket not in rates:
            return None
        million = 1_000_000 * denominator * divisors.get(bucket, 1)
        total += round(Fraction(units * rates.get(bucket, 0) * numerator, million))  # half to even
    return total


def check_prices(entries: Iterable[Entry], rows: dict[str, dict[str, Any]]) -> Iterable[Finding]:
    """Every settlement that its usage and its price row explain."""
    for entry in entries:
        if entry["kind"] != "settle" or entry["unit"] != "nanousd" or entry["evidence"]:
            continue
        wanted, why = entry["reported_cost_nanousd"], "the provider reported"
        if wanted is None:
            row = rows.get(entry["price_version"])
            if row is None or entry["estimated"] or not entry["usage"]:
                continue
            wanted, why = cost_of(row, entry["usage"]), f"{entry['price_version']} says"
        if wanted is not None and wanted != entry["amount"]:
            text = f"settled at {entry['amount']}, but {why} {wanted}"
            yield Finding("price", entry["call_id"], text)


def audit(lines: Iterable[str], rows: dict[str, dict[str, Any]]) -> tuple[list[Finding], int]:
    """Every finding in an export, and how many entries there were. `rows`: prices by version."""
    head: Entry = {}
    books: Entry | None = None
    entries: list[Entry] = []
    for number, line in enumerate(lines, start=1):
        try:
            record = json.loads(line)
            kind = record["record"]
        except (ValueError, TypeError, KeyError):
            return [Finding("file", f"line {number}", "no record of an export")], len(entries)
        if kind == "entry":
            entries.append(record)
        elif kind == "export":
            head = record
        else:
            books = record
    if head.get("version") != 1:
        return [Finding("file", "line 1", "not an export of a version that is known")], len(entries)
    calls = fold(entries)
    found = list(check_prices(entries, rows))
    if head["from_ns"] is not None or head["to_ns"] is not None:
        found.append(Finding("file", "export", "it is of a part of the time: export all of it"))
    elif books is None or books["entries"] != len(entries):
        found.append(Finding("file", "export", "it is cut off, or entries were taken out"))
    found += check_calls(entries, calls)
    if books is not None:
        found += check_limits(entries, books)
        if books["still"]:
            found += check_books(books, calls)
        else:
            found.append(Finding("file", "export", "calls were running: export again when quiet"))
    return found, len(entries)


def price_rows(paths: Sequence[str] = ()) -> dict[str, dict[str, Any]]:
    """The shipped price rows and those of `paths`, by version."""
    from sluiceway.prices.load import load_prices

    sheets = [*load_prices(), *(load_prices(paths) if paths else ())]
    return {row["version"]: row for sheet in sheets for row in sheet["rows"]}


def report(found: Sequence[Finding], count: int, as_json: bool) -> int:
    """Prints the findings; the exit status."""
    if as_json:
        plain = [{"kind": f.kind, "subject": f.subject, "text": f.text} for f in found]
        out = json.dumps({"ok": not found, "entries": count, "findings": plain}, indent=2)
    else:
        lines = [f"  {f.kind}: {f.subject}: {f.text}" for f in found[:SHOWN_MAX]]
        if len(found) > SHOWN_MAX:
            lines.append(f"  and {len(found) - SHOWN_MAX} more")
        words = f"{len(found)} findings" if found else "nothing found"
        out = "\n".join([f"{count:,} entries: {words}", *lines])
    sys.stdout.write(out + "\n")
    return 1 if found else 0


def main(arguments: Sequence[str] | None = None) -> int:
    """The command line."""
    parser = argparse.ArgumentParser(prog="sluiceway.ledger.audit", description=__doc__)
    parser.formatter_class = argparse.RawDescriptionHelpFormatter
    parser.add_argument("file", help="an export in JSON Lines")
    parser.add_argument("--prices", action="append", default=[], metavar="FILE")
    parser.add_argument("--json", action="store_true")
    options = parser.parse_args(arguments)
    try:
        with open(options.file, encoding="utf-8") as lines:
            found, count = audit(lines, price_rows(options.prices))
    except OSError as error:
        parser.error(str(error))
    return report(found, count, options.json)


if __name__ == "__main__":
    raise SystemExit(main())
