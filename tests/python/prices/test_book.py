"""The table that a gateway works with: a base and a user's own files on top of it."""

from __future__ import annotations

from pathlib import Path

import pytest

from sluiceway.errors import ConfigError
from sluiceway.prices.book import make_table, plain_sheets, plain_version, shipped_table
from sluiceway.prices.load import load_prices, price_table_version
from sluiceway.prices.snapshot import read_snapshot, write_snapshot

ROW = """
[[models.rows]]
source = "our contract"
checked = 2026-11-20
usd_per_million = { input = "%s", output = "1" }
"""
OWN = 'provider = "openai"\n[[models]]\nmodel = "gpt-4o"\n' + ROW
NEW = 'provider = "acme"\n[[models]]\nmodel = "rocket"\naliases = ["rocket-1"]\n' + ROW


def test_the_shipped_table() -> None:
    table = make_table()
    assert table is shipped_table()
    assert plain_sheets(table) == load_prices()
    assert table.version == price_table_version()
    assert table.of("openai")["gpt-4o-2024-08-06"] is table.of("openai")["gpt-4o"]
    assert table.of("nobody") == {}
    assert {sheet["layer"] for sheet in table.sheets} == {"shipped"}


def test_an_own_file_replaces_and_adds(tmp_path: Path) -> None:
    for name, text in (("my.toml", OWN % "2"), ("new.toml", NEW % "3")):
        (tmp_path / name).write_text(text, encoding="utf-8")
    table = make_table(files=[tmp_path / "my.toml", tmp_path / "new.toml"])
    own = table.of("openai")["gpt-4o"]
    assert own["layer"] == "my.toml"
    assert own["rows"][0]["rates"]["input"] == 2_000_000_000
    assert own["rows"][0]["version"].startswith("my.toml:openai/gpt-4o@2026-11-20#")
    # Names of the replaced model go on meaning it; other models are as they were.
    assert table.of("openai")["gpt-4o-2024-11-20"] is own
    assert table.of("openai")["gpt-4o-mini"]["layer"] == "shipped"
    assert table.of("acme")["rocket-1"]["rows"][0]["rates"]["input"] == 3_000_000_000
    assert table.layers == ("shipped", "my.toml", "new.toml")
    assert table.version != price_table_version()
    assert shipped_table().of("openai")["gpt-4o"]["layer"] == "shipped"


def test_an_own_file_takes_an_alias_away(tmp_path: Path) -> None:
    own = OWN.replace("gpt-4o", "gpt-4o-2024-11-20") % "2"
    (tmp_path / "my.toml").write_text(own, encoding="utf-8")
    names = make_table(files=[tmp_path / "my.toml"]).of("openai")
    assert names["gpt-4o-2024-11-20"]["layer"] == "my.toml"
    assert names["gpt-4o"]["layer"] == "shipped"
    assert names["gpt-4o"]["aliases"] == ["gpt-4o-2024-08-06"]


def test_two_own_files_may_not_price_one_name(tmp_path: Path) -> None:
    for name in ("a.toml", "b.toml"):
        (tmp_path / name).write_text(OWN % "2", encoding="utf-8")
    with pytest.raises(ConfigError, match=r"a\.toml: another own price file prices 'gpt-4o' too"):
        make_table(files=[tmp_path / "a.toml", tmp_path / "b.toml"])


def test_one_name_never_stands_for_two_prices(tmp_path: Path) -> None:
    """The ledger keeps a row's name: the same file with another price gives another one."""
    versions = []
    for price in ("2", "2.00", "3"):
        (tmp_path / "my.toml").write_text(OWN % price, encoding="utf-8")
        table = make_table(files=[tmp_path / "my.toml"])
        versions.append(table.of("openai")["gpt-4o"]["rows"][0]["version"])
    assert versions[0] == versions[1] != versions[2]
    assert {plain_version(version) for version in versions} == {"openai/gpt-4o@2026-11-20"}


def test_a_snapshot_is_the_base(tmp_path: Path) -> None:
    path = tmp_path / "prices.json"
    sheets = [sheet for sheet in load_prices() if sheet["provider"] == "deepseek"]
    digest = write_snapshot(path, sheets)
    (tmp_path / "my.toml").write_text(OWN % "2", encoding="utf-8")
    table = make_table(path, digest)
    assert table.version == price_table_version(sheets)
    assert table.layers == ("prices.json",)
    assert table.of("openai") == {}
    (row, *_) = table.of("deepseek")["deepseek-v4-flash"]["rows"]
    assert plain_version(row["version"]) == "deepseek/deepseek-flash@2026-07-24"
    assert "#" in row["version"]
    both = make_table(path, digest, [tmp_path / "my.toml"])
    assert both.layers == ("prices.json", "my.toml")
    assert set(both.of("openai")) == {"gpt-4o"}
    # And a snapshot of both is one of plain rows again.
    again = write_snapshot(tmp_path / "both.json", plain_sheets(both))
    assert len(read_snapshot(tmp_path / "both.json", again)) == len(sheets) + 1


def test_a_snapshot_needs_its_hash(tmp_path: Path) -> None:
    path = tmp_path / "prices.json"
    write_snapshot(path, load_prices())
    with pytest.raises(ConfigError, match="needs its sha256"):
        make_table(path)
    with pytest.raises(ConfigError, match="name the snapshot too"):
        make_table(sha256="0" * 64)
    with pytest.raises(ConfigError, match="not used"):
        make_table(path, "0" * 64)
