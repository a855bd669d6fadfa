"""Components: parts of a budget with limits of their own, counted in both."""

from __future__ import annotations

import pickle
from decimal import Decimal
from pathlib import Path

import pytest

from sluiceway import BudgetConflict, BudgetExceeded, Gateway, InvalidRequest, InvalidType
from sluiceway.simulator import Simulator
from tests.python.gateway.conftest import MakeGateway

MODEL = "openai/gpt-4o-mini"
COST = Decimal("0.000010350")  # 5 tokens in at $0.15, 16 out at $0.60 a million
PROMPT = "abcdefgh"


def test_a_call_in_a_component_counts_in_both(gw: Gateway) -> None:
    with gw.budget("video:42", usd="3.00") as b:
        with b.component("voice", usd="0.50") as voice:
            assert voice.name == "video:42#voice"
            gw.chat(MODEL, PROMPT)
        gw.chat(MODEL, PROMPT)
    assert voice.spent == COST
    assert b.spent == 2 * COST


def test_a_component_alone_still_counts_in_its_parent(gw: Gateway) -> None:
    b = gw.budget("video:42", usd="3.00")
    with b.component("script"):
        gw.chat(MODEL, PROMPT)
    with gw.budget("video:42#script"):  # the same by its whole name
        gw.chat(MODEL, PROMPT)
    assert b.spent == 2 * COST
    assert b.component("script").spent == 2 * COST


def test_the_smaller_limit_holds_and_leaves_no_trace_in_the_other(gw: Gateway) -> None:
    b = gw.budget("video:42", usd="3.00")
    voice = b.component("voice", usd="0.50")
    voice.book("tts", usd="0.50")
    with pytest.raises(BudgetExceeded) as caught:
        voice.book("tts", usd="0.000000001")
    assert caught.value.scope == "video:42#voice"
    assert b.spent == Decimal("0.50")
    big = b.component("images", usd="9.00")  # more than the parent has
    with pytest.raises(BudgetExceeded) as caught:
        big.book("image", usd="2.51")
    assert caught.value.scope == "video:42"
    assert big.spent == 0


def test_a_template_names_the_components(make_gateway: MakeGateway) -> None:
    gw = make_gateway(
        budgets={"video": {"limit": "3.00", "components": {"voice": "0.50", "music": "0.25"}}}
    )
    b = gw.budget("video:1")
    assert b.component("voice").limit == Decimal("0.50")
    assert b.component("music").limit == Decimal("0.25")
    assert b.component("anything").limit is None  # only counted
    b.component("voice").book("tts", usd="0.30")
    b.component("anything").book("x", usd="0.10")
    b.book("render", usd="0.60")
    report = b.report()
    assert list(report.components) == ["anything", "music", "voice"]
    voice = report.components["voice"]
    assert [voice.spent, voice.held, voice.limit] == [Decimal("0.30"), Decimal(0), Decimal("0.50")]
    assert voice.share == Decimal("0.30")  # of the dollar that the video spent
    assert voice.status == "good"  # 0.30 of 0.50 is 60 %
    assert report.components["anything"].share == Decimal("0.10")
    assert report.components["music"].share == 0
    assert report.rest == Decimal("0.60")
    assert report.balance.spent == 1
    assert b.components == ("anything", "music", "voice")
    lines = str(report).splitlines()
    assert lines[0].startswith("video:1 ")
    assert "$1.0000 spent" in lines[0]
    assert any("voice" in line and "30.0%" in line for line in lines)
    assert pickle.loads(pickle.dumps(report)).components["voice"].share == Decimal("0.30")


def test_components_nest_and_are_inherited_by_reports(gw: Gateway) -> None:
    b = gw.budget("video:1", usd="3.00")
    images = b.component("images", usd="1.00")
    images.component("thumbnail", usd="0.10").book("image", usd="0.04")
    assert [one.spent for one in (b, images)] == [Decimal("0.04")] * 2
    assert list(b.report().components) == ["images"]
    assert list(images.report().components) == ["thumbnail"]


def test_a_windowed_parent_has_windowed_components(gw: Gateway) -> None:
    b = gw.budget("user:7", usd="1.00", period="day", time_zone="Europe/Berlin")
    b.component("voice", usd="0.20").book("tts", usd="0.05")
    assert b.report().components["voice"].spent == Decimal("0.05")
    rolling = gw.budget("user:8", usd="1.00", rolling_s=3600)
    rolling.component("voice").book("tts", usd="0.05")
    assert rolling.report().components["voice"].spent == Decimal("0.05")
    with pytest.raises(InvalidRequest, match="window"):
        b.component("voice", usd="0.20", period="hour")


def test_another_process_sees_the_components(
    sim: Simulator, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("SLUICEWAY_LEDGER", str(tmp_path / "books.db"))
    monkeypatch.setenv("SLUICEWAY_SIMULATOR_URL", sim.http_url)
    with Gateway.from_env() as one, Gateway.from_env() as other:
        one.budget("video:1", usd="3.00").component("voice", usd="0.50").book("tts", usd="0.20")
        assert other.budget("video:1").report().components["voice"].limit == Decimal("0.50")
        with pytest.raises(BudgetConflict):
            other.budget("video:1").component("voice", usd="0.60")
        other.budget("video:1").component("voice", usd="0.60", replace=True)
        assert one.budget("video:1#voice").limit == Decimal("0.60")


def test_names_that_are_none(gw: Gateway) -> None:
    b = gw.budget("video:1", usd="3.00")
    for name in ("", "a:b", "a@b", "a#b"):
        with pytest.raises(InvalidRequest):
            b.component(name)
    with pytest.raises(InvalidType):
        b.component(7)  # type: ignore[arg-type]
    with pytest.raises(InvalidRequest):
        gw.budget("video:1#")
