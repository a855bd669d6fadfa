"""A provider's bill, set against the books, and what follows from it.

Model: a bill is a CSV file with a header. Its columns are `amount` (dollars, exact), `call_id` or
`provider_request_id` or both, and `currency` (USD, which is also meant where the column is absent);
others are ignored. Lines of one call are added up. What a call has in the books decides:

    in doubt               resolved at the billed amount
    posted in full         corrected to it, where it differs
    settled, voided        nothing is changed: it agrees, or it is refused into a list
    open, unknown          refused into a list

A file with a line that cannot be read changes nothing. Applying is idempotent: a call that was
resolved agrees the next time. Bounds: one scan of the entries; memory for the bill's calls. Errors:
InvalidRequest, which names the lines.

    result = gw.ledger.import_bill("openai-2026-11.csv")      # a dry run
    result.changes, result.refused
"""

from __future__ import annotations

import csv
import os
from collections import defaultdict
from collections.abc import Iterator
from dataclasses import dataclass, field
from decimal import Decimal
from typing import TYPE_CHECKING, Any

from sluiceway.errors import FileError, InvalidRequest
from sluiceway.money import nanousd_of, usd_of

if TYPE_CHECKING:
    from sluiceway.ledger.view import LedgerView

ERRORS_MAX = 20


@dataclass(frozen=True, slots=True)
class BillChange:
    """What the import does to one call. `action` is "resolve" or "correct"."""

    call_id: str
    action: str
    before: Decimal
    after: Decimal
    lines: tuple[int, ...]


@dataclass(frozen=True, slots=True)
class BillRefusal:
    """Lines that change nothing, and why. `id` is as the bill has it."""

    id: str
    billed: Decimal
    reason: str
    lines: tuple[int, ...]


@dataclass(frozen=True, slots=True)
class BillResult:
    """What a bill says and what became of it. `agreed` counts calls."""

    path: str
    lines: int
    agreed: int
    changes: tuple[BillChange, ...]
    refused: tuple[BillRefusal, ...]
    applied: bool


@dataclass(slots=True)
class _Billed:
    """A call as the bill has it."""

    amount: int = 0
    lines: list[int] = field(default_factory=list)


@dataclass(slots=True)
class _Call:
    """A call as the books have it."""

    call_id: str
    state: str = "open"
    unit: str = ""
    cost: int = 0
    hold: int = 0
    requests: set[str] = field(default_factory=set)

    def add(self, entry: dict[str, Any]) -> None:
        kind, amount = entry["kind"], entry["amount_nanousd"]
        if entry["provider_request_id"]:
            self.requests.add(entry["provider_request_id"])
        if kind == "reserve":
            self.hold, self.unit = amount, entry["unit"]
        elif kind in ("settle", "post_full", "correct"):
            self.cost += amount
        elif kind == "refund":
            self.cost -= amount
        if kind in ("settle", "void", "post_full") or (kind == "in_doubt" and self.state == "open"):
            self.state = kind


def import_bill(view: LedgerView, path: str, *, apply: bool) -> BillResult:
    """See the top of the file."""
    by_call, by_request, lines = read_bill(path)
    found = _find(view, by_call, by_request)
    billed: dict[str, _Billed] = defaultdict(_Billed)
    refused: list[BillRefusal] = []
    for ids, place in ((by_call, "call"), (by_request, "request")):
        for name, amount in ids.items():
            calls = found[place].get(name, [])
            if len(calls) == 1:
                whole = billed[calls[0].call_id]
                whole.amount += amount.amount
                whole.lines += amount.lines
            else:
                reason = f"{len(calls)} calls have this id" if calls else "no such call here"
                refused.append(_refusal(name, amount, reason))
    known = {one.call_id: one for ids in found.values() for group in ids.values() for one in group}
    changes: list[BillChange] = []
    agreed = 0
    for call_id, whole in billed.items():
        verdict = _judge(known[call_id], whole.amount)
        if verdict == "agrees":
            agreed += 1
        elif verdict in ("resolve", "correct"):
            call = known[call_id]
            before = usd_of(call.hold if verdict == "resolve" else call.cost)
            changes.append(
                BillChange(call_id, verdict, before, usd_of(whole.amount), tuple(whole.lines))
            )
        else:
            refused.append(_refusal(call_id, whole, verdict))
    if apply:
        name = os.path.basename(path)
        for change in changes:
            where = ", ".join(str(line) for line in change.lines[:5])
            view.resolve(change.call_id, usd=change.after, evidence=f"bill {name}, line {where}")
    return BillResult(path, lines, agreed, tuple(changes), tuple(refused), apply)


def _refusal(name: str, billed: _Billed, reason: str) -> BillRefusal:
    return BillRefusal(name, usd_of(billed.amount), reason, tuple(billed.lines))


def _judge(call: _Call, amount: int) -> str:
    """ "agrees", "resolve", "correct", or why nothing is changed."""
    if call.unit != "nanousd":
        return f"it is counted in {call.unit}, not in dollars"
    if amount < 0:
        return "the lines of this call add up to less than nothing"
    if call.state == "in_doubt":
        return "resolve"
    if call.state == "open":
        return "it is still under way"
    if call.cost == amount:
        return "agrees"
    if call.state == "post_full":
        return "correct"
    return f"it is settled at {usd_of(call.cost):f} USD" if call.state == "settle" else "it is void"


def _find(
    view: LedgerView, by_call: dict[str, _Billed], by_request: dict[str, _Billed]
) -> dict[str, dict[str, list[_Call]]]:
    """The calls that the bill names, by both kinds of names."""
    found: dict[str, dict[str, list[_Call]]] = {"call": {}, "request": {}}

    def keep(call: _Call) -> None:
        if call.call_id in by_call:
            found["call"].setdefault(call.call_id, []).append(call)
        for request in call.requests & by_request.keys():
            found["request"].setdefault(request, []).append(call)

    current = _Call("")

    def take(entry: dict[str, Any]) -> None:
        nonlocal current
        if entry["call_id"] != current.call_id:  # a call's entries come one after the other
            keep(current)
            current = _Call(entry["call_id"])
        current.add(entry)

    view._scan(take)
    keep(current)
    return found


def read_bill(path: str) -> tuple[dict[str, _Billed], dict[str, _Billed], int]:
    """The lines by call id and by request id, added up, and how many lines there are."""
    by_call: dict[str, _Billed] = defaultdict(_Billed)
    by_request: dict[str, _Billed] = defaultdict(_Billed)
    problems: list[str] = []
    count = 0
    for line, row in _rows(path):
        count += 1
        call, request = row.get("call_id") or "", row.get("provider_request_id") or ""
        currency = row.get("currency", "USD")
        try:
            if not call and not request:
                raise InvalidRequest("call_id and provider_request_id are both empty")
            if currency.upper() != "USD":
                raise InvalidRequest(f"the currency is {currency!r}; convert it to USD first")
            amount = _amount(row.get("amount") or "")
        except InvalidRequest as error:
            problems.append(f"line {line}: {error}")
            continue
        billed = by_call[call.lower()] if call else by_request[request]
        billed.amount += amount
        billed.lines.append(line)
    if problems:
        more = len(problems) - ERRORS_MAX
        tail = f"; and {more} more lines" if more > 0 else ""
        raise InvalidRequest(f"{path}: {'; '.join(problems[:ERRORS_MAX])}{tail}")
    return dict(by_call), dict(by_request), count


def _amount(text: str) -> int:
    """Nano-dollars; a credit note is below zero."""
    text = text.strip()
    if text.startswith("-"):
        return -nanousd_of(text[1:], "amount")
    return nanousd_of(text, "amount")


def _rows(path: str) -> Iterator[tuple[int, dict[str, str]]]:
    """Every row with the number of its line."""
    line = 1
    try:
        with open(path, encoding="utf-8-sig", newline="") as file:
            reader = csv.reader(file, strict=True)
            header = [name.strip().lower() for name in next(reader, [])]
            _check_header(path, header)
            for cells in reader:
                line = reader.line_num
                if not any(cell.strip() for cell in cells):
                    continue
                if len(cells) != len(header):
                    raise InvalidRequest(
                        f"{path}: line {line} has {len(cells)} columns, the header has"
                        f" {len(header)}"
                    )
                yield line, dict(zip(header, map(str.strip, cells), strict=True))
    except csv.Error as error:
        raise InvalidRequest(f"{path}: line {line + 1}: {error}") from None
    except UnicodeDecodeError:
        raise InvalidRequest(f"{path} is not a text file in UTF-8") from None
    except OSError as error:
        raise FileError(f"{path} cannot be read: {error.strerror}") from None


def _check_header(path: str, header: list[str]) -> None:
    if len(header) == 1 and ";" in header[0]:
        raise InvalidRequest(f"{path}: line 1: columns are separated by commas, not by semicolons")
    if len(set(header)) != len(header):
        raise InvalidRequest(f"{path}: line 1 names a column twice")
    if "amount" not in header or not {"call_id", "provider_request_id"} & set(header):
        raise InvalidRequest(
            f"{path}: line 1 must name the columns amount, call_id or provider_request_id, and"
            " currency (USD where it is absent)"
        )
