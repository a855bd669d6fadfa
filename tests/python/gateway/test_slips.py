"""Slips of the pen that would cost money or time, and what the messages say of them."""

from __future__ import annotations

from pathlib import Path

import pytest

from sluiceway import ConfigError, Gateway, InvalidRequest
from sluiceway._budget import is_slip_of
from tests.python.gateway.conftest import MakeGateway

MODEL = "openai/gpt-4o-mini"
BUDGETS = {"video": {"limit": "3.00"}, "day": {"limit": "9.00", "period": "day"}}


@pytest.mark.parametrize("name", ["vidoe:42", "vide:42", "videos:42", "vidro:42", "Video:42"])
def test_a_misspelt_kind_is_no_budget_without_a_limit(make_gateway: MakeGateway, name: str) -> None:
    gw = make_gateway(budgets=BUDGETS)
    with pytest.raises(InvalidRequest, match="did you mean 'video:42'"):
        gw.budget(name)
    with pytest.raises(InvalidRequest, match="did you mean"):
        gw.budget(name + "#voice")
    assert not [scope for scope in gw.ledger.scopes() if scope["name"].startswith("v")]
    assert gw.budget(name, usd="1").limit == 1  # said so: meant so
    assert gw.budget(name).limit == 1
    assert gw.budget(name.replace("42", "43"), period="day").limit is None
    assert gw.budget("video:42").limit == 3


@pytest.mark.parametrize("name", ["job:1", "key:1", "dax:1", "voice:1", "wide:1", "radio:1"])
def test_words_of_ones_own_pass(make_gateway: MakeGateway, name: str) -> None:
    assert make_gateway(budgets=BUDGETS).budget(name).limit is None


def test_a_scope_that_is_in_the_file_passes(make_gateway: MakeGateway, tmp_path: Path) -> None:
    ledger = {"path": str(tmp_path / "books.db"), "durability": "process"}
    make_gateway(ledger=ledger).budget("vidoe:42", usd="1")
    assert make_gateway(ledger=ledger, budgets=BUDGETS).budget("vidoe:42").limit == 1


def test_what_a_slip_is() -> None:
    for word in ("vidoe", "vide", "vvideo", "vidio"):
        assert is_slip_of(word, "video")
    for word, known in (("video", "video"), ("vdieos", "video"), ("dya", "day"), ("role", "rota")):
        assert not is_slip_of(word, known)
    assert is_slip_of("renderring", "rendering")
    assert is_slip_of("redneribg", "rendering")  # two letters swapped, and a wrong one
    assert not is_slip_of("redneribh", "rendering")


def test_a_bad_url_names_where_it_was_set(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("OPENAI_API_KEY", "not-a-real-key")
    ledger = {"path": ":memory:", "durability": "memory"}
    account = {"openai": {"work": {"base_url": "ftp://x"}, "default": {"base_url": "x:80"}}}

    def refused(source: str) -> None:
        with Gateway({"ledger": ledger, "accounts": account}) as gw:
            for ask in (
                lambda: gw.chat(MODEL, "x"),
                lambda: gw.chat(MODEL, "x", max_cost_usd="1", extra={"web_search_options": {}}),
                lambda: gw.estimate.chat(MODEL, "x"),
                lambda: gw.stream(MODEL, "x").result(),
                lambda: gw.raw.get("openai", "/v1/models", free=True),
            ):
                with pytest.raises(ConfigError, match=source):
                    ask()

    refused(r"base_url of \[accounts.openai.default\]")
    with (
        Gateway({"ledger": ledger, "accounts": account}) as gw,
        pytest.raises(ConfigError, match=r"base_url of \[accounts.openai.work\]"),
    ):
        gw.chat(MODEL, "x", account="work")
    monkeypatch.setenv("SLUICEWAY_SIMULATOR_URL", "localhost:8000")
    refused("SLUICEWAY_SIMULATOR_URL")
    monkeypatch.setenv("SLUICEWAY_OPENAI_BASE_URL", "ftp://x")
    refused("SLUICEWAY_OPENAI_BASE_URL")
