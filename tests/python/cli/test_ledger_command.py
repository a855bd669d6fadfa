"""`sluiceway ledger` over a real file: one call settled, one in doubt, which is then resolved."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from sluiceway import Gateway, InDoubt, simulator
from tests.python.cli.conftest import Command


@pytest.fixture
def ledger(tmp_path: Path, command: Command, monkeypatch: pytest.MonkeyPatch) -> str:
    """A ledger with a settled call (8,400 nano-dollars) and one in doubt, both in job:1."""
    path = str(tmp_path / "books.db")
    with simulator.start(tls=False) as running:
        monkeypatch.setenv("SLUICEWAY_SIMULATOR_URL", running.http_url)
        with Gateway({"ledger": {"path": path}}) as gateway, gateway.budget("job:1", usd="1.00"):
            # "hi" is 1 token and 3 of the message, the answer 16: 4 * 100 + 16 * 500 nano-dollars.
            gateway.chat("openai/gpt-6-luna", "hi", max_output_tokens=100)
            running.script([{"match": {}, "action": {"fault": "drop_after"}}])
            with pytest.raises(InDoubt):
                gateway.chat("openai/gpt-6-luna", "hi", max_output_tokens=100)
    return path


def test_verify_holds_report_and_resolve(command: Command, ledger: str) -> None:
    status, out, _ = command("ledger", "verify", "--ledger", ledger)
    assert status == 0
    assert "the books agree" in out
    assert "1 in doubt" in out

    status, out, _ = command("ledger", "holds", "--in-doubt", "--json", "--ledger", ledger)
    (hold,) = json.loads(out)
    assert hold["in_doubt"] is True
    assert "job:1" in hold["scopes"]
    assert hold["call_id"] in command("ledger", "holds", "--ledger", ledger)[1]

    status, out, _ = command("ledger", "report", "--json", "--ledger", ledger)
    report = json.loads(out)
    assert report["settled_nanousd"] == 8_400
    assert report["by_model"] == {"openai/gpt-6-luna": {"calls": 1, "settled_nanousd": 8_400}}

    # What the provider really charged is the same again; the hold is more than that.
    resolve = ("ledger", "resolve", hold["call_id"], "--usd", "0.0000084", "--ledger", ledger)
    assert command(*resolve, "--evidence", " ")[0] == 2
    assert command(*resolve, "--evidence", "invoice 7")[0] == 0
    assert command("ledger", "holds", "--ledger", ledger)[1] == "nothing is held\n"
    assert "0.000016800" in command("ledger", "report", "--ledger", ledger)[1]
    assert command(*resolve, "--evidence", "invoice 7 again")[0] == 2
    assert command("ledger", "verify", "--ledger", ledger)[0] == 0


def test_the_path_comes_from_the_configuration_or_the_environment(
    command: Command, ledger: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "other.toml").write_text('[ledger]\npath = "books.db"\n')
    assert command("ledger", "verify", "--config", "other.toml")[0] == 0
    monkeypatch.setenv("SLUICEWAY_LEDGER", ledger)
    assert command("ledger", "verify")[0] == 0


@pytest.mark.parametrize("usd", ["-1", "free", "0.0000000001"])
def test_an_amount_that_is_none(command: Command, ledger: str, usd: str) -> None:
    call = "01a2021f-be70-7001-89a1-211e55170465"
    status, _, err = command(
        "ledger", "resolve", call, f"--usd={usd}", "--evidence", "x", "--ledger", ledger
    )
    assert status == 2
    assert "usd" in err


def test_a_call_that_is_not_there(command: Command, ledger: str) -> None:
    for call in ("nonsense", "01a2021f-be70-7001-89a1-211e55170465"):
        status, _, err = command(
            "ledger", "resolve", call, "--usd", "1", "--evidence", "x", "--ledger", ledger
        )
        assert status == 2
        assert err.count("\n") == 1
