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
    (row,) = report["rows"]
    assert (row["provider"], row["model"]) == ("openai", "gpt-6-luna")
    assert (row["cost"], row["usd"], row["settled"]) == (8_400, "0.000008400", 1)
    assert (row["in_doubt"], row["held_in_doubt"]) == (1, hold["amount_nanousd"])
    assert report["total"][0]["cost"] == 8_400
    assert report["scopes"][0]["name"] == "job:1"

    # What the provider really charged is the same again; the hold is more than that.
    resolve = ("ledger", "resolve", hold["call_id"], "--usd", "0.0000084", "--ledger", ledger)
    assert command(*resolve, "--evidence", " ")[0] == 2
    assert command(*resolve, "--evidence", "invoice 7")[0] == 0
    assert command("ledger", "holds", "--ledger", ledger)[1] == "nothing is held\n"
    assert "0.000016800" in command("ledger", "report", "--ledger", ledger)[1]
    assert command(*resolve, "--evidence", "invoice 7 again")[0] == 2
    assert command("ledger", "verify", "--ledger", ledger)[0] == 0
    history = command("ledger", "history", hold["call_id"], "--ledger", ledger)[1]
    assert "in_doubt" in history
    assert "invoice 7" in history


def test_report_by_other_names(command: Command, ledger: str) -> None:
    words = ("ledger", "report", "--ledger", ledger)
    status, out, _ = command(*words, "--by", "provider,service_month", "--scope", "job:1")
    assert status == 0
    assert out.splitlines()[0].startswith("provider  service_month  calls")
    assert "total" in out
    assert "0.000008400" in out
    rows = json.loads(command(*words, "--tag", "team=films", "--json")[1])["rows"]
    assert rows == []
    rows = json.loads(command(*words, "--where", "provider=openai", "--by", "", "--json")[1])
    assert rows["rows"][0]["calls"] == 2
    status, _, err = command(*words, "--by", "modle")
    assert status == 2
    assert "'modle'" in err
    assert command(*words, "--tag", "films")[0] == 2
    assert command(*words, "--from", "yesterday")[0] == 2


def test_replay_and_audit(command: Command, ledger: str) -> None:
    status, out, _ = command("ledger", "replay", "--ledger", ledger)
    assert status == 0
    assert "4 entries: the balances follow from them" in out
    status, out, _ = command("ledger", "replay", "--json", "--ledger", ledger)
    (scope,) = json.loads(out)["scopes"]
    assert (scope["scope"], scope["settled"], scope["agrees"]) == ("job:1", 8_400, True)
    status, out, _ = command("ledger", "audit", "--ledger", ledger)
    assert (status, out) == (0, "4 entries: nothing found\n")
    assert json.loads(command("ledger", "audit", "--json", "--ledger", ledger)[1])["ok"] is True


@pytest.mark.parametrize("name", ["out.jsonl", "out.csv", "out.arrow", "out.parquet"])
def test_export(command: Command, ledger: str, tmp_path: Path, name: str) -> None:
    if name.endswith(("arrow", "parquet")):
        pytest.importorskip("pyarrow")
    status, out, err = command("ledger", "export", name, "--ledger", ledger)
    assert (status, err) == (0, "")
    assert out == f"4 entries are in {name}\n"
    assert [path.name for path in tmp_path.glob("out*")] == [name]
    status, out, _ = command("ledger", "export", name, "--json", "--ledger", ledger)
    assert json.loads(out) == {"entries": 4, "out": name}


def test_what_pyarrow_wrote_is_read_back(command: Command, ledger: str) -> None:
    pa = pytest.importorskip("pyarrow")
    pq = pytest.importorskip("pyarrow.parquet")
    command("ledger", "export", "a.parquet", "--ledger", ledger)
    command("ledger", "export", "a.feather", "--format", "arrow", "--ledger", ledger)
    table = pq.read_table("a.parquet")
    assert sorted(table.column("kind").to_pylist()) == ["in_doubt", "reserve", "reserve", "settle"]
    with pa.ipc.open_file("a.feather") as file:
        assert file.read_all().column("amount").to_pylist() == table.column("amount").to_pylist()


def test_export_to_standard_output(command: Command, ledger: str) -> None:
    status, out, _ = command("ledger", "export", "-", "--ledger", ledger)
    assert status == 0
    assert [json.loads(line)["record"] for line in out.splitlines()] == [
        "export",
        *["entry"] * 4,
        "books",
    ]
    csv_text = command("ledger", "export", "-", "--format", "csv", "--ledger", ledger)[1]
    assert csv_text.startswith("call_id,kind,")
    assert command("ledger", "export", "-", "--json", "--ledger", ledger)[0] == 2
    assert command("ledger", "export", "out", "--ledger", ledger)[0] == 2


def test_import_of_a_bill(command: Command, ledger: str, tmp_path: Path) -> None:
    call = json.loads(command("ledger", "holds", "--json", "--ledger", ledger)[1])[0]["call_id"]
    bill = tmp_path / "bill.csv"
    bill.write_text(f"call_id,amount,currency\n{call},0.000009,USD\n")
    words = ("ledger", "import", "bill.csv", "--ledger", ledger)
    status, out, _ = command(*words)
    assert status == 0
    assert "1 to change (run again with --apply)" in out
    assert json.loads(command(*words, "--json")[1])["changes"][0]["after"] == "0.000009000"
    assert command("ledger", "holds", "--ledger", ledger)[1] != "nothing is held\n"
    assert "1 changed" in command(*words, "--apply")[1]
    assert "1 calls agree, 0 changed" in command(*words, "--apply")[1]
    bill.write_text("call_id,amount\nnobody,1\n")
    status, out, _ = command(*words)
    assert status == 1
    assert "no such call here" in out
    bill.write_text("call_id,amount\nnobody,much\n")
    status, _, err = command(*words)
    assert status == 2
    assert "line 2" in err


def test_post_and_grant(command: Command, ledger: str) -> None:
    assert command("ledger", "post", "--ledger", ledger)[1].startswith("0 calls")
    _, out, _ = command("ledger", "post", "--older-than-days", "0", "--json", "--ledger", ledger)
    assert json.loads(out)["posted"] == 1
    words = ("ledger", "grant", "--evidence", "order 9", "--ledger", ledger)
    assert command(*words, "job:1", "--usd", "0.50")[1] == (
        "the limit of job:1 is 1.500000000 USD now\n"
    )
    _, out, _ = command(*words, "job:1", "--usd=-0.25", "--json")
    assert json.loads(out)["limit"] == "1.250000000"
    assert command(*words, "job:2", "--usd", "1")[0] == 2
    assert command(*words, "job:1", "--usd=-2")[0] == 2
    assert command("ledger", "verify", "--ledger", ledger)[0] == 0
    assert command("ledger", "audit", "--ledger", ledger)[0] == 0


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
        assert command("ledger", "history", call, "--ledger", ledger)[0] == 2
