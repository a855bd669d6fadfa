"""Price files into plain rows for the core, and the hash that names a table of them.

Model: a file is one provider. It may name windows of the week, tariffs for long prompts and
service tiers once, and its rows refer to them; loading writes each combination out as a row of its
own, in integers, so that the core needs no rule but "which row holds". Money is exact: decimal
strings in dollars become integer nano-dollars per 1,000,000 units, and floats are refused.

    provider = "deepseek"
    [windows.peak]                       # hours of the UTC week, minus whole days
    hours = [{ days = "Mon-Fri", from = "01:00", to = "04:00" }]
    except_days = ["2026-10-01..2026-10-07"]
    [long_prompts.over_272k]             # "above" is exclusive; the whole request is priced so
    above = 272000
    input_factor = "2"
    output_factor = "1.5"
    [tiers.batch]
    service_tier = "batch"               # as the provider's answer names it
    factor = "1/2"
    [[models]]
    model = "deepseek-flash"
    [[models.rows]]                      # from, to: dates or times, half-open; absent: unbounded
    during = "peak"                      # or outside = "peak"
    usd_per_million = { input = "0.30", output = "1.20" }
    source = "https://..."               # and `checked`, the day on which it was seen to say so

A row may also have a `plan` (another price list of the same model, which an account names), and a
`size` or `quality` of an image or a video, each a text or a list of them. Prices per second are
written as published, per minute or hour too: `usd_per_minute = { seconds = "0.017" }`. Ranges of
prompts are `prompt_above`/`prompt_up_to` or, inclusive the other way, `prompt_from`/`prompt_below`.

Every table above with a price or a factor in it carries `source` and `checked`. A row says what it
is not sure of in `note`. Bounds: a few hundred rows, some 20 ms. Threads: pure functions; nothing
is read at import. Errors: ConfigError, which names the file, the model and the row.

Example: `load_prices()[0]["rows"][0]["rates"]["input"]`.
Source: docs/internals/call.md, "Money".
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterable
from pathlib import Path
from typing import Any

from sluiceway.prices import schema
from sluiceway.prices.coverage import check_coverage
from sluiceway.prices.expand import Tables, expand_row, read_tables

KINDS = (
    *("chat", "embedding", "image", "speech", "transcription", "audio", "realtime", "moderation"),
    *("video", "search", "other"),
)
_FILE_KEYS = ("provider", "windows", "long_prompts", "tiers", "models")
_MODEL_KEYS = (
    "model",
    "kind",
    "aliases",
    "context_tokens",
    "max_output_tokens",
    "retires",
    "note",
    "rows",
)


def shipped_files() -> list[Path]:
    """The price files that come with the package, by name."""
    return sorted(Path(__file__).parent.glob("*.toml"))


def load_prices(paths: Iterable[Path | str] | None = None) -> list[dict[str, Any]]:
    """One plain dict a model, in file order; without `paths`, the shipped files.

    Keys: provider, model, kind (one of KINDS), aliases, context_tokens, max_output_tokens (0: not
    known), retires ("2027-01-14" or ""), note, rows. A row: version, effective_from_ns,
    effective_to_ns, windows [(weekday mask, from_s, to_s)], excluded_days (since 1970-01-01),
    windows_inverted, prompt_from, prompt_to, rates {bucket: nano-dollars per million}, rate_dens
    {bucket: what to divide its rate by, where not 1}, factor (n, d), service_tier, plan, size,
    quality, source, checked, note. Ranges are half-open. Raises ConfigError.
    """
    chosen = shipped_files() if paths is None else [Path(path) for path in paths]
    sheets: list[dict[str, Any]] = []
    owner: dict[tuple[str, str], str] = {}
    for path in chosen:
        for sheet in _read_sheets(path):
            place = f"{path.name}: {sheet['model']}"
            for name in (sheet["model"], *sheet["aliases"]):
                key = (sheet["provider"], name)
                if key in owner:
                    schema.fail(place, f"the name '{name}' is taken by {owner[key]}")
                owner[key] = place
            sheets.append(sheet)
    return sheets


def price_table_version(sheets: list[dict[str, Any]] | None = None) -> str:
    """ "sha256:" and the hash of what the rows say; comments and layout of the files do not count.

    The ledger names it beside each row's version. Without `sheets`, of the shipped files.
    """
    content = load_prices() if sheets is None else sheets
    plain = json.dumps(content, sort_keys=True, separators=(",", ":"), ensure_ascii=True)
    return "sha256:" + hashlib.sha256(plain.encode("ascii")).hexdigest()


def _read_sheets(path: Path) -> list[dict[str, Any]]:
    file = schema.read_file(path)
    schema.check_keys(file, _FILE_KEYS, path.name)
    provider = schema.text(file, "provider", path.name)
    tables = read_tables(file, path.name)
    return [
        _read_sheet(model, provider, tables, path.name)
        for model in schema.tables(file, "models", path.name)
    ]


def _read_sheet(
    table: dict[str, Any], provider: str, tables: Tables, file_name: str
) -> dict[str, Any]:
    model = schema.text(table, "model", file_name)
    place = f"{file_name}: {model}"
    schema.check_keys(table, _MODEL_KEYS, place)
    rows: list[dict[str, Any]] = []
    for number, row in enumerate(schema.tables(table, "rows", place), start=1):
        rows += expand_row(row, f"{provider}/{model}", tables, f"{place}, row {number}")
    versions = [row["version"] for row in rows]
    for version in versions:
        if versions.count(version) > 1:
            schema.fail(place, f"two rows are named '{version}'; give one of them a `label`")
    check_coverage(rows, place)
    kind = schema.text(table, "kind", place, "chat")
    if kind not in KINDS:
        schema.fail(place, f"'kind' is one of {', '.join(KINDS)}, not '{kind}'")
    return {
        "provider": provider,
        "model": model,
        "kind": kind,
        "aliases": schema.texts(table, "aliases", place),
        "context_tokens": schema.count(table, "context_tokens", place, 0),
        "max_output_tokens": schema.count(table, "max_output_tokens", place, 0),
        "retires": schema.day(table, "retires", place),
        "note": schema.text(table, "note", place, ""),
        "rows": rows,
    }
