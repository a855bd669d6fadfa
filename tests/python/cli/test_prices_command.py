"""`sluiceway prices show|diff|check|candidates|snapshot`, on price files made here."""

from __future__ import annotations

import json
import re
from pathlib import Path

from tests.python.cli.conftest import Command

OWN = """\
provider = "openai"
[[models]]
model = "gpt-6-luna"
[[models.rows]]
source = "our contract"
checked = 2026-11-20
usd_per_million = { input = "0.08", output = "0.40" }
[[models.rows]]
plan = "night"
source = "our contract"
checked = 2026-11-20
usd_per_million = { input = "0.04", output = "0.20" }
"""
LITELLM = {
    "gpt-6-luna": {
        "litellm_provider": "openai",
        "mode": "chat",
        "input_cost_per_token": 1e-07,
        "output_cost_per_token": 6e-07,
        "output_cost_per_token_batches": 2.5e-07,
    },
    "gpt-9-nova": {
        "litellm_provider": "openai",
        "mode": "chat",
        "input_cost_per_token": 1.5e-06,
        "input_cost_per_token_above_200k_tokens": 3e-06,
        "output_cost_per_token": 2e-06,
        "output_cost_per_token_above_200k_tokens": 4e-06,
    },
    "someone/else": {"litellm_provider": "else", "input_cost_per_token": 1},
}


def test_show_filters(command: Command) -> None:
    status, out, _ = command("prices", "show", "--provider", "openai", "--kind", "video")
    assert status == 0
    assert {line.split()[0] for line in out.splitlines() if line.startswith("openai")} == {
        "openai/sora-2",
        "openai/sora-2-pro",
    }
    # gpt-5.6-luna cost 1 / 6 until 2026-07-30, and its row ended then.
    _, out, _ = command("prices", "show", "gpt-5.6-luna", "--on", "2026-07-29", "--tier", "default")
    assert re.search(r"up to 272,000 .*input 1, cache_read 0\.10, .*output 6 ", out)
    assert "output 1.20" not in out
    _, out, _ = command("prices", "show", "gpt-5.6-luna", "--tier", "default")
    assert "output 1.20" in out
    assert "output 6 " not in out
    _, out, _ = command("prices", "show", "gpt-5.6-luna", "--all", "--sources")
    assert re.search(r"until 2026-07-30 .*output 6 ", out)
    assert "https://developers.openai.com/api/docs/models/gpt-5.6-luna" in out
    _, out, _ = command("prices", "show", "gpt-realtime-whisper")
    assert "seconds 0.017 each minute" in out


def test_own_files_are_seen(command: Command, tmp_path: Path) -> None:
    (tmp_path / "my.toml").write_text(OWN, encoding="utf-8")
    status, out, _ = command("prices", "show", "gpt-6-luna", "--file", "my.toml")
    assert status == 0
    assert re.search(r"openai/gpt-6-luna \(my\.toml\) .*input 0\.08, output 0\.40 ", out)
    assert "night" not in out
    assert "(shipped + my.toml)" in out
    _, out, _ = command("prices", "show", "luna", "--file", "my.toml", "--plan", "night")
    assert "input 0.04, output 0.20" in out


def test_a_snapshot_of_the_shipped_table_differs_in_nothing(
    command: Command, tmp_path: Path
) -> None:
    status, out, _ = command("prices", "snapshot", "all.json")
    assert status == 0
    assert re.search(r'snapshot = "all\.json"\nsha256 = "[0-9a-f]{64}"\n', out)
    assert command("prices", "diff", "shipped", "all.json")[1] == "no changes\n"
    (tmp_path / "my.toml").write_text(OWN, encoding="utf-8")
    command("prices", "snapshot", "mine.json", "--file", "my.toml")
    _, out, _ = command("prices", "diff", "shipped", "mine.json")
    assert "added openai/gpt-6-luna openai/gpt-6-luna@2026-11-20/night" in out
    assert re.search(r"removed openai/gpt-6-luna openai/gpt-6-luna@2026-11-22/batch", out)


def test_diff_of_two_days(command: Command) -> None:
    _, out, _ = command("prices", "diff", "2026-10-06", "2026-10-07")
    # Sonnet 5.5's cache reads were halved, in each of its three tiers; Haiku 5.5 has one price.
    assert "changed anthropic/claude-sonnet-5-5 standard\n" in out
    assert "cache_read 0.20, cache_write_5m 2.50, cache_write_1h 4, output 10 -> input 2, " in out
    assert out.endswith("3 changes\n")
    status, _, err = command("prices", "diff", "2026-10-06", "shipped")
    assert status == 2
    assert "two dates or two tables" in err
    status, _, err = command("prices", "diff", "2026-10-06", "2026-13-01")
    assert (status, err) == (
        2,
        "sluiceway: prices diff: '2026-13-01' is no day; write 2026-11-22\n",
    )


def test_what_is_no_file(command: Command) -> None:
    for words in (("show", "--file", "\0"), ("snapshot", "s.json", "--file", "a\ud800")):
        status, _, err = command("prices", *words)
        assert status == 2
        assert "cannot be read" in err
    for out in ("", "\0"):
        assert command("prices", "snapshot", out)[0] == 2


def test_check(command: Command) -> None:
    status, out, _ = command("prices", "check", "--on", "2026-11-22", "--arithmetic", "sora-2-pro")
    assert status == 0
    assert re.search(r"^\d+ models, \d+ rows: no overlap, no gap", out)
    assert "openai/gpt-4.1: ends on 2027-01-14, in 53 days" in out
    assert "openai/sora-2: ended on 2026-09-24" in out
    # 0.30 dollars a second: 300,000 nano-dollars for a thousandth of one.
    assert "a thousandth of seconds: 300000 nano-dollars; x 1,000,000 = $300 " in out
    status, _, _ = command("prices", "check", "--on", "2027-12-01", "--strict")
    assert status == 1


def test_candidates(command: Command, tmp_path: Path) -> None:
    (tmp_path / "table.json").write_text(json.dumps(LITELLM), encoding="utf-8")
    status, out, _ = command(
        "prices", "candidates", "--from", "table.json", "--on", "2026-11-22", "--out", "new.toml"
    )
    assert status == 0
    assert re.search(r"openai/gpt-6-luna +standard +output +0\.6 +0\.50\n", out)
    # Input 0.10 and the batch output 0.25 agree; one figure does not.
    assert "1 of our models compared, 2 figures agree, 1 do not" in out
    assert "openai/gpt-9-nova" in out
    written = (tmp_path / "new.toml").read_text(encoding="utf-8")
    assert 'source = "table.json"\nchecked = 2026-11-22' in written
    _, out, _ = command("prices", "show", "gpt-9-nova", "--file", "new.toml")
    assert re.search(r"up to 200,000 .*input 1\.50, output 2 ", out)
    assert re.search(r"above 200,000 .*input 3, output 4 ", out)


def test_what_cannot_be_read_is_said(command: Command, tmp_path: Path) -> None:
    (tmp_path / "broken.json").write_text("{", encoding="utf-8")
    for arguments, words in (
        (("candidates", "--from", "none.json"), "cannot be read"),
        (("candidates", "--from", "broken.json"), "not a JSON file"),
        (("diff", "shipped", "broken.json"), "not a price snapshot"),
        (("show", "--snapshot", "none.json"), "cannot be read"),
        (("show", "--file", "none.toml"), "cannot be read"),
    ):
        status, _, err = command("prices", *arguments)
        assert status == 2, arguments
        assert words in err
