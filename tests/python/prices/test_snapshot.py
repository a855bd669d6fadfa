"""Snapshots: what is written comes back, and anything that is wrong refuses the whole file."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from sluiceway.errors import ConfigError
from sluiceway.prices.load import load_prices, price_table_version
from sluiceway.prices.snapshot import SCHEMA, read_snapshot, snapshot_bytes, write_snapshot

Edit = Callable[[dict[str, Any]], object]


def small() -> list[dict[str, Any]]:
    """Two shipped sheets: one with hours, one by the minute."""
    wanted = {"deepseek-flash", "gpt-realtime-whisper"}
    return [sheet for sheet in load_prices() if sheet["model"] in wanted]


def edited(path: Path, edit: Edit) -> str:
    """Writes a snapshot in which one thing is different, well hashed; its sha256."""
    document = json.loads(snapshot_bytes(small()))
    edit(document)
    if isinstance(document.get("sheets"), list) and "table" in document:
        document["table"] = price_table_version(document["sheets"])
    data = json.dumps(document, sort_keys=True, separators=(",", ":")).encode() + b"\n"
    path.write_bytes(data)
    return hashlib.sha256(data).hexdigest()


def test_what_is_written_comes_back(tmp_path: Path) -> None:
    path = tmp_path / "prices.json"
    digest = write_snapshot(path, load_prices())
    assert hashlib.sha256(path.read_bytes()).hexdigest() == digest
    assert read_snapshot(path, digest) == load_prices()
    assert read_snapshot(path, "sha256:" + digest.upper()) == load_prices()
    assert [one.name for one in tmp_path.iterdir()] == ["prices.json"]


def test_equal_tables_are_equal_bytes(tmp_path: Path) -> None:
    """Whatever the order of keys, and whether it was read from files or from a snapshot."""
    path = tmp_path / "prices.json"
    digest = write_snapshot(path, small())
    turned = [dict(reversed(sheet.items())) | {"layer": "x"} for sheet in small()]
    assert snapshot_bytes(turned) == path.read_bytes()
    assert write_snapshot(path, read_snapshot(path)) == digest


def test_a_changed_byte_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "prices.json"
    digest = write_snapshot(path, small())
    path.write_bytes(path.read_bytes().replace(b'"input":150000000', b'"input":150000001', 1))
    with pytest.raises(ConfigError, match=f"not {digest}: not used"):
        read_snapshot(path, digest)
    # Without the pin the file is still not what it says that it is.
    with pytest.raises(ConfigError, match="edited by hand"):
        read_snapshot(path)


@pytest.mark.parametrize("digest", ["", "abc", "g" * 64, "sha1:" + "0" * 64])
def test_a_hash_that_is_none(tmp_path: Path, digest: str) -> None:
    write_snapshot(tmp_path / "prices.json", small())
    with pytest.raises(ConfigError, match="64 hex digits"):
        read_snapshot(tmp_path / "prices.json", digest)


def _row(document: dict[str, Any]) -> Any:
    return document["sheets"][0]["rows"][0]


@pytest.mark.parametrize(
    ("edit", "words"),
    [
        (lambda d: d.update(schema=SCHEMA - 1), "written in schema 0, this version reads 1"),
        (lambda d: d.update(schema=SCHEMA + 1), "written in schema 2"),
        (lambda d: d.update(format="other"), '"format" is not'),
        (lambda d: d.update(more=1), "other keys than it should"),
        (lambda d: d.update(sheets=[]), "no sheets"),
        (lambda d: d["sheets"].append(d["sheets"][0]), "is empty or taken"),
        (lambda d: d["sheets"][0].pop("kind"), "needs exactly the keys"),
        (lambda d: d["sheets"][0].update(kind="painting"), "a known kind"),
        (lambda d: d["sheets"][0].update(context_tokens=-1), "below zero"),
        (lambda d: d["sheets"][0].update(context_tokens=True), "is a bool, not a int"),
        (lambda d: d["sheets"][0].update(rows=[]), "has no rows"),
        (lambda d: _row(d).pop("plan"), "needs exactly the keys"),
        (lambda d: _row(d).update(source=""), "needs a version, a source and the day"),
        (lambda d: _row(d).update(prompt_from=-1), "below zero"),
        (lambda d: _row(d).update(effective_to_ns=2**63), "no range in 64 bits"),
        (lambda d: _row(d).update(effective_to_ns=-(2**63)), "no range in 64 bits"),
        (lambda d: _row(d)["rates"].update(input=-1), "no whole number of nano-dollars"),
        (lambda d: _row(d)["rates"].update(input="1"), "no whole number of nano-dollars"),
        (lambda d: _row(d)["rates"].update(ouput=1), "'ouput' is no whole number"),
        (lambda d: _row(d).update(rates={}), "has no rates"),
        (lambda d: _row(d)["rate_dens"].update(input=60), "cannot be divided"),
        (lambda d: _row(d).update(factor=[1, 0]), "divides by less than 1"),
        (lambda d: _row(d).update(factor=[1]), "not two whole numbers"),
        (lambda d: _row(d).update(windows=[[128, 0, 60]]), "no window of the week"),
        (lambda d: _row(d).update(windows=[[1, 60, 60]]), "no window of the week"),
        (lambda d: _row(d).update(excluded_days=["1"]), "no number of a day"),
        (lambda d: _row(d).update(windows_inverted=True), "does not have"),
        (lambda d: d["sheets"][0]["rows"].pop(1), "no row holds"),
        (lambda d: d["sheets"][0]["rows"].pop(0), ""),  # the history may be cut off at its start
    ],
)
def test_one_wrong_thing_refuses_the_file(tmp_path: Path, edit: Edit, words: str) -> None:
    path = tmp_path / "prices.json"
    digest = edited(path, edit)
    if not words:
        assert len(read_snapshot(path, digest)) == 2
        return
    with pytest.raises(ConfigError) as caught:
        read_snapshot(path, digest)
    assert words in str(caught.value)
    assert str(caught.value).startswith("prices.json")


@pytest.mark.parametrize(
    "data", [b"", b"{", b"[]", b"\xff", b'{"a":1.5}', b'{"a":NaN}', b'{"a":1,"a":1}', b"[" * 99999]
)
def test_files_that_are_no_snapshots(tmp_path: Path, data: bytes) -> None:
    path = tmp_path / "prices.json"
    path.write_bytes(data)
    with pytest.raises(ConfigError, match="not a price snapshot"):
        read_snapshot(path, hashlib.sha256(data).hexdigest())
    with pytest.raises(ConfigError, match="cannot be read"):
        read_snapshot(tmp_path / "none.json")
