"""The console command: what it prints, its errors and its exit status."""

from __future__ import annotations

import json
import re
import subprocess
import sys
from pathlib import Path

import pytest

import sluiceway
from tests.python.cli.conftest import Command

FAKE_KEY = "sk-fake-0123456789-not-a-key"


def test_the_version(command: Command) -> None:
    assert command("--version") == (0, f"sluiceway {sluiceway.__version__}\n", "")


def test_as_a_module() -> None:
    """Where the script is not on the path."""
    shown = subprocess.run(
        [sys.executable, "-m", "sluiceway", "--version"],
        capture_output=True,
        text=True,
        check=True,
        timeout=60,
    )
    assert shown.stdout == f"sluiceway {sluiceway.__version__}\n"


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        ((), "required"),
        (("dmeo",), "dmeo"),
        (("demo", "--calls", "many"), "many"),
        (("demo", "--calls", "0"), "--calls 0"),
        (("demo", "--trace", "nothing.csv"), "nothing.csv: cannot be read"),
        (("prices", "show", "no-such-model"), "no-such-model"),
        (("estimate", "openai/gpt-6-lune", "hi"), "gpt-6-luna"),
        (("estimate", "gpt-6-luna", "hi"), "provider/model"),
        (("estimate", "openai/gpt-6-luna", "hi", "--max-output-tokens", "0"), "max_output_tokens"),
        (("ledger", "verify"), "there is no ledger sluiceway.db"),
        (("ledger", "verify", "--ledger", ":memory:"), "name a file"),
        (("ledger", "verify", "--config", "nothing.toml"), "nothing.toml"),
        (("ledger", "resolve", "x"), "--usd"),
    ],
)
def test_bad_input_is_one_line_and_status_2(
    command: Command, arguments: tuple[str, ...], said: str
) -> None:
    status, out, err = command(*arguments)
    assert status == 2
    assert out == ""
    assert err.count("\n") == 1
    assert err.startswith("sluiceway")
    assert said in err


def test_a_file_that_is_no_ledger_is_left_alone(command: Command, tmp_path: Path) -> None:
    (tmp_path / "notes.txt").write_text("these are notes")
    status, _, err = command("ledger", "verify", "--ledger", "notes.txt")
    assert status == 2
    assert "is not a ledger file" in err
    assert [path.name for path in tmp_path.iterdir()] == ["notes.txt"]


def test_prices_show_rates_and_dates(command: Command) -> None:
    status, out, _ = command("prices", "show", "deepseek-flash")
    assert status == 0
    # The page of 2026-11-15: 0.15 and 0.60 off-peak, 0.30 and 1.20 at peak.
    assert re.search(r"deepseek/deepseek-flash .*off-peak .*input 0\.15, .*output 0\.60 ", out)
    assert re.search(r"deepseek/deepseek-flash .* peak .*input 0\.30, .*output 1\.20 ", out)
    assert "2026-11-15" in out
    status, out, _ = command("prices", "show", "--json", "deepseek-flash")
    assert [sheet["model"] for sheet in json.loads(out)] == ["deepseek-flash"]


def test_an_estimate(command: Command) -> None:
    status, out, _ = command(
        "estimate", "openai/gpt-6-luna", "Hello", "--max-output-tokens", "1000", "--json"
    )
    assert status == 0
    facts = json.loads(out)
    # $0.50 a million output tokens: at most 1,000 of them cost $0.0005, and the prompt is short.
    assert "0.0005" < facts["ceiling_usd"] < "0.0006"
    assert facts["max_output_tokens"] == 1000
    assert command("estimate", "openai/gpt-6-luna", "Hello")[1].startswith("model ")


def test_the_doctor_reads_only(
    command: Command, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("OPENAI_API_KEY", FAKE_KEY)
    status, out, _ = command("doctor", "--json")
    report = json.loads(out)
    assert status == 0
    assert report["ok"] is True
    found = {finding["check"]: finding for finding in report["findings"]}
    assert "OPENAI_API_KEY" in found["keys"]["text"]
    assert "ANTHROPIC_API_KEY" in found["keys"]["text"]
    assert "not there yet" in found["ledger"]["text"]
    assert "libcurl 8." in found["libraries"]["text"]
    assert FAKE_KEY not in out
    assert list(tmp_path.iterdir()) == []


def test_the_doctor_finds_what_is_wrong(command: Command, tmp_path: Path) -> None:
    (tmp_path / "sluiceway.toml").write_text("[limtis]\n")
    status, out, _ = command("doctor")
    assert status == 1
    assert re.search(r"bad +configuration +.*line 1.*limits", out)
    (tmp_path / "sluiceway.toml").write_text('[limits."opnai/x"]\nconcurrency = 1\n')
    assert "no provider 'opnai'" in command("doctor")[1]
    (tmp_path / "sluiceway.toml").write_text('[accounts.url]\nproxy = "http://127.0.0.1:9"\n')
    assert "sluiceway.toml is valid" in command("doctor")[1]
    (tmp_path / "sluiceway.toml").write_text("")
    status, out, _ = command("doctor", "--ledger", "no/such/folder/l.db")
    assert status == 1
    assert "there is no folder" in out


def test_the_simulator_s_own_command_line(command: Command) -> None:
    status, out, _ = command("simulator", "--help")
    assert status == 0
    assert "--tls-port" in out


def test_importing_the_command_loads_nothing_of_a_third_party() -> None:
    code = (
        "import sys, sluiceway.cli\n"
        "print([n for n in ('rich', 'matplotlib', 'h2', 'h11', 'sluiceway._core',"
        " 'sluiceway.simulator', 'asyncio') if n in sys.modules])"
    )
    done = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, check=True, timeout=60
    )
    assert done.stdout.strip() == "[]"


def started(
    *arguments: str, after: str = "", **environment: str
) -> subprocess.CompletedProcess[str]:
    """The command as a shell starts it; `after` is what the shell adds, such as a redirection."""
    quoted = " ".join(f"'{word}'" for word in (sys.executable, "-m", "sluiceway", *arguments))
    return subprocess.run(
        ["/bin/sh", "-c", f"{quoted} {after}"],
        capture_output=True,
        text=True,
        encoding="utf-8",
        timeout=60,
        env={"PATH": "/usr/bin:/bin", **environment},
    )


ASCII = {"LC_ALL": "C", "PYTHONUTF8": "0", "PYTHONCOERCECLOCALE": "0"}


@pytest.fixture
def foreign_ledger(tmp_path: Path) -> str:
    """A ledger whose budget has a name outside ASCII."""
    path = str(tmp_path / "l.db")
    with sluiceway.Gateway({"ledger": {"path": path}}) as gateway:
        gateway.budget("video:été", usd="1.00").book("render", usd="0.25")
    return path


def test_a_terminal_of_ascii_shows_other_letters_as_escapes(foreign_ledger: str) -> None:
    shown = started("ledger", "report", "--ledger", foreign_ledger, **ASCII)
    assert (shown.returncode, shown.stderr) == (0, "")
    assert r"video:\xe9t\xe9" in shown.stdout


def test_a_word_in_the_locale_of_c(foreign_ledger: str) -> None:
    asked = ("ledger", "report", "--ledger", foreign_ledger, "--scope", "video:été")
    shown = started(*asked, LC_ALL="C")
    assert (shown.returncode, shown.stderr) == (0, "")
    assert "0.250000000" in shown.stdout.partition("scope")[0]


def test_a_word_that_is_no_text_is_one_line(command: Command, foreign_ledger: str) -> None:
    for words in (
        ("estimate", "openai/gpt-6-luna", "\udcff"),
        ("ledger", "report", "--ledger", foreign_ledger, "--scope", "video:\udcff"),
    ):
        status, _, err = command(*words)
        assert status == 2
        assert err.count("\n") == 1
        assert "lone surrogate" in err


def test_a_closed_standard_output_is_one_line_at_most() -> None:
    shown = started("prices", "show", "gpt-6-luna", after=">&-")
    assert "Traceback" not in shown.stderr
    assert shown.stderr.count("\n") <= 1


def test_a_full_disk_is_told_in_words() -> None:
    shown = started("prices", "show", "gpt-6-luna", after=">/dev/full")
    assert shown.returncode == 2
    assert shown.stderr == "sluiceway: No space left on device\n"


def test_a_scope_that_is_not_there_is_no_empty_report(
    command: Command, foreign_ledger: str
) -> None:
    status, out, err = command("ledger", "report", "--ledger", foreign_ledger, "--scope", "vidoe:1")
    assert (status, out) == (2, "")
    assert "the ledger has no scope 'vidoe:1'" in err


def test_a_span_that_ends_before_it_begins(command: Command, foreign_ledger: str) -> None:
    span = ("--from", "2026-12-01", "--to", "2026-01-01")
    status, out, err = command("ledger", "report", "--ledger", foreign_ledger, *span)
    assert (status, out) == (2, "")
    assert "--from is after --to" in err


@pytest.mark.parametrize(
    ("filters", "said"),
    [
        (("--provider", "opnai"), "no model in the price files has the provider 'opnai'"),
        (("--kind", "chatt"), "the kind 'chatt'"),
        (("--tier", "nope"), "the tier 'nope'"),
        (("gpt-6-luna", "--kind", "image"), "gpt-6-luna and the kind 'image'"),
    ],
)
def test_prices_that_are_not_there(command: Command, filters: tuple[str, ...], said: str) -> None:
    status, out, err = command("prices", "show", *filters)
    assert (status, out) == (2, "")
    assert said in err
