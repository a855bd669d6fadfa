"""Prices that change under a running gateway: snapshots, own files, plans.

The simulator's answer to PROMPT is 5 tokens in and 16 out; gpt-4o-mini's shipped price is 150 and
600 nano-dollars a token: 750 + 9,600. The other tables are made here from the shipped one.
"""

from __future__ import annotations

import asyncio
import threading
from pathlib import Path
from typing import Any

import pytest

from sluiceway import Gateway
from sluiceway._hub import Hub
from sluiceway.errors import ConfigError, LimitExceeded, UnpricedModel
from sluiceway.prices.load import load_prices, price_table_version
from sluiceway.prices.snapshot import write_snapshot
from sluiceway.simulator import Simulator
from tests.python.gateway.conftest import MakeGateway

MODEL = "openai/gpt-4o-mini"
PROMPT = "abcdefgh"
SHIPPED_NANOUSD = 5 * 150 + 16 * 600
OWN = """\
provider = "openai"
[[models]]
model = "gpt-4o-mini"
[[models.rows]]
source = "our contract"
checked = 2026-11-20
usd_per_million = { input = "1", output = "2" }
[[models.rows]]
plan = "night"
source = "our contract"
checked = 2026-11-20
usd_per_million = { input = "0.01", output = "0.02" }
"""


def snapshot(path: Path, times: int) -> str:
    """The shipped table with every rate so many times as high; its sha256."""
    sheets: list[dict[str, Any]] = load_prices()
    for sheet in sheets:
        for row in sheet["rows"]:
            row["rates"] = {bucket: rate * times for bucket, rate in row["rates"].items()}
    return write_snapshot(path, sheets)


def test_an_update_prices_the_next_call(gw: Gateway, tmp_path: Path) -> None:
    first = gw.chat(MODEL, PROMPT)
    assert first.cost.nanousd == SHIPPED_NANOUSD
    assert first.cost.price_version == "openai/gpt-4o-mini@2025-07-04"
    digest = snapshot(tmp_path / "double.json", 2)
    version = gw.update_prices(tmp_path / "double.json", sha256=digest)
    assert version == gw.prices.version != price_table_version()
    second = gw.chat(MODEL, PROMPT)
    assert second.cost.nanousd == 2 * SHIPPED_NANOUSD
    assert second.cost.price_version.startswith("openai/gpt-4o-mini@2025-07-04#")
    assert second.cost.ceiling == 2 * first.cost.ceiling
    gw.flush()
    settled = [entry for entry in gw.ledger.entries() if entry["kind"] == "settle"]
    assert {entry["price_version"] for entry in settled} == {
        first.cost.price_version,
        second.cost.price_version,
    }


def test_a_call_keeps_the_prices_that_it_was_quoted_from(
    gw: Gateway, sim: Simulator, tmp_path: Path
) -> None:
    """The update comes between the first and the last delta of a stream."""
    sim.script([{"action": {"token_ms": 20}}])
    digest = snapshot(tmp_path / "triple.json", 3)
    with gw.stream(MODEL, PROMPT) as stream:
        next(iter(stream))
        gw.update_prices(tmp_path / "triple.json", sha256=digest)
        result = stream.result()
    assert result.cost.nanousd == SHIPPED_NANOUSD
    assert gw.chat(MODEL, PROMPT).cost.nanousd == 3 * SHIPPED_NANOUSD


def test_a_route_made_during_an_update_is_not_kept(
    gw: Gateway, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The update comes after the first call looked up its sheet and before its route is stored."""
    digest = snapshot(tmp_path / "double.json", 2)
    original = Hub.route_spec
    updates: list[str] = []

    def update_first(hub: Hub, *arguments: Any) -> dict[str, Any]:
        if not updates:
            updates.append(gw.update_prices(tmp_path / "double.json", sha256=digest))
        return original(hub, *arguments)

    monkeypatch.setattr(Hub, "route_spec", update_first)
    assert gw.chat(MODEL, PROMPT).cost.nanousd == SHIPPED_NANOUSD
    assert gw.chat(MODEL, PROMPT).cost.nanousd == 2 * SHIPPED_NANOUSD


@pytest.mark.parametrize("kind", ["hash", "row", "missing"])
def test_a_bad_update_changes_nothing(gw: Gateway, tmp_path: Path, kind: str) -> None:
    before = gw.prices
    path = tmp_path / "prices.json"
    digest = snapshot(path, 2)
    if kind == "hash":
        path.write_bytes(path.read_bytes().replace(b"0.15", b"0.16") + b" ")
    elif kind == "row":
        sheets = load_prices()
        sheets[0]["rows"][0]["rates"]["input"] = -1
        digest = write_snapshot(path, sheets)
    else:
        path.unlink()
    with pytest.raises(ConfigError):
        gw.update_prices(path, sha256=digest)
    assert gw.prices is before
    assert gw.chat(MODEL, PROMPT).cost.nanousd == SHIPPED_NANOUSD


def test_views_of_one_gateway_change_together(gw: Gateway, tmp_path: Path) -> None:
    view = gw.with_options(timeout_s=20)
    view.chat(MODEL, PROMPT)
    digest = snapshot(tmp_path / "double.json", 2)
    asyncio.run(gw.aio.update_prices(tmp_path / "double.json", sha256=digest))
    assert view.chat(MODEL, PROMPT).cost.nanousd == 2 * SHIPPED_NANOUSD
    body = {"model": "gpt-4o-mini", "messages": [{"role": "user", "content": PROMPT}]}
    raw = gw.raw.post("openai", "/v1/chat/completions", json=body, max_cost_usd="1")
    assert raw.cost.nanousd == 2 * SHIPPED_NANOUSD


def test_limits_outlive_an_update(make_gateway: MakeGateway, tmp_path: Path) -> None:
    """The new route joins the group that is there: four a minute stay four."""
    gw = make_gateway(limits={MODEL: {"requests_per_minute": 4, "burst_requests": 4}})
    for _ in range(3):
        gw.chat(MODEL, PROMPT)
    gw.update_prices(tmp_path / "p.json", sha256=snapshot(tmp_path / "p.json", 2))
    gw.chat(MODEL, PROMPT)
    with pytest.raises(LimitExceeded):
        gw.chat(MODEL, PROMPT, timeout_s=0.2)


def test_calls_and_updates_at_once(gw: Gateway, tmp_path: Path) -> None:
    """Every cost is that of one table or of the other, and the last update holds afterwards."""
    digests = {n: snapshot(tmp_path / f"{n}.json", n) for n in (2, 3)}
    costs: list[int | None] = []

    def call() -> None:
        costs.extend(gw.chat(MODEL, PROMPT).cost.nanousd for _ in range(30))

    threads = [threading.Thread(target=call) for _ in range(3)]
    for thread in threads:
        thread.start()
    for n in (2, 3, 2, 3, 2):
        gw.update_prices(tmp_path / f"{n}.json", sha256=digests[n])
    for thread in threads:
        thread.join()
    assert len(costs) == 90
    assert set(costs) <= {SHIPPED_NANOUSD, 2 * SHIPPED_NANOUSD, 3 * SHIPPED_NANOUSD}
    assert gw.chat(MODEL, PROMPT).cost.nanousd == 2 * SHIPPED_NANOUSD


def test_the_configuration_names_a_snapshot(make_gateway: MakeGateway, tmp_path: Path) -> None:
    path = tmp_path / "double.json"
    digest = snapshot(path, 2)
    gw = make_gateway(prices={"snapshot": str(path), "sha256": digest})
    assert gw.chat(MODEL, PROMPT).cost.nanousd == 2 * SHIPPED_NANOUSD
    with pytest.raises(ConfigError, match="not used"):
        make_gateway(prices={"snapshot": str(path), "sha256": "0" * 64})
    with pytest.raises(ConfigError, match="needs its sha256"):
        make_gateway(prices={"snapshot": str(path)})
    with pytest.raises(ConfigError, match="a list of paths"):
        make_gateway(prices={"files": "my.toml"})


def test_own_files_stay_on_top(make_gateway: MakeGateway, tmp_path: Path) -> None:
    own = tmp_path / "my.toml"
    own.write_text(OWN, encoding="utf-8")
    gw = make_gateway(prices={"files": [str(own)]})
    result = gw.chat(MODEL, PROMPT)
    assert result.cost.nanousd == 5 * 1_000 + 16 * 2_000
    assert result.cost.price_version.startswith("my.toml:openai/gpt-4o-mini@2026-11-20#")
    digest = snapshot(tmp_path / "double.json", 2)
    gw.update_prices(tmp_path / "double.json", sha256=digest)
    assert gw.chat(MODEL, PROMPT).cost.nanousd == 5 * 1_000 + 16 * 2_000
    # gpt-6-luna: 0.10 and 0.50 a million, doubled.
    luna = gw.chat("openai/gpt-6-luna", PROMPT)
    assert luna.cost.nanousd == 2 * (5 * 100 + 16 * 500)
    assert gw.prices.layers == ("double.json", "my.toml")


def test_an_account_is_on_a_plan(make_gateway: MakeGateway, tmp_path: Path) -> None:
    own = tmp_path / "my.toml"
    own.write_text(OWN, encoding="utf-8")
    accounts = {"openai": {"night": {"plan": "night"}}}
    gw = make_gateway(prices={"files": [str(own)]}, accounts=accounts)
    assert gw.chat(MODEL, PROMPT).cost.nanousd == 5 * 1_000 + 16 * 2_000
    night = gw.chat(MODEL, PROMPT, account="night")
    assert night.cost.nanousd == 5 * 10 + 16 * 20
    assert "/night#" in night.cost.price_version
    with pytest.raises(UnpricedModel, match="on the plan 'night'"):
        gw.chat("openai/gpt-6-luna", PROMPT, account="night")
