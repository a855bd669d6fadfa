"""Keys from the environment and from a `.env` file that was asked for."""

from __future__ import annotations

from pathlib import Path

import pytest

from sluiceway.errors import ConfigError, MissingKey
from sluiceway.keys.env import EnvKeys, read_env_file

ENV_FILE = """\
# a comment
OPENAI_API_KEY=sk-obviously-fake
export DEEPSEEK_API_KEY = "sk-also-fake" # a comment
SINGLE='a # b \\n'
DOUBLE="line\\nnext \\"q\\" \\\\"
PLAIN=a#b # c
EMPTY=
"""


def test_a_file_by_hand(tmp_path: Path) -> None:
    file = tmp_path / "keys.env"
    file.write_text(ENV_FILE)
    assert read_env_file(str(file)) == {
        "OPENAI_API_KEY": "sk-obviously-fake",
        "DEEPSEEK_API_KEY": "sk-also-fake",
        "SINGLE": "a # b \\n",
        "DOUBLE": 'line\nnext "q" \\',
        "PLAIN": "a#b",
        "EMPTY": "",
    }


@pytest.mark.parametrize(
    ("line", "said"),
    [
        ("just words", "line 1: is not NAME=value"),
        ("=value", "is not NAME=value"),
        ("1A=x", "is not NAME=value"),
        ("A='open", "do not close"),
        ("A='x' y", "do not close"),
    ],
)
def test_lines_that_are_none(tmp_path: Path, line: str, said: str) -> None:
    file = tmp_path / ".env"
    file.write_text(line)
    with pytest.raises(ConfigError, match=said):
        read_env_file(str(file))


def test_the_environment_wins_over_the_file(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    file = tmp_path / ".env"
    file.write_text("A_KEY=from-file\nB_KEY=from-file\n")
    monkeypatch.setenv("A_KEY", "from-environment")
    monkeypatch.delenv("B_KEY", raising=False)
    keys = EnvKeys.from_environment(file)
    assert keys.get("A_KEY") == "from-environment"
    assert keys.get("B_KEY") == "from-file"


def test_no_env_file_is_looked_for(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / ".env").write_text("LONELY_KEY=x\n")
    monkeypatch.chdir(tmp_path)
    assert EnvKeys.from_environment().get("LONELY_KEY") is None


def test_blank_is_not_set_and_values_are_stripped() -> None:
    keys = EnvKeys({"A": "  ", "B": " sk-fake\n"})
    assert keys.key("A") is None
    assert keys.key("B") == "sk-fake"
    assert "sk-fake" not in repr(keys)


@pytest.mark.parametrize("value", ["sk\nfake", "sk-füke", "sk\x00fake"])
def test_what_no_header_can_carry(value: str) -> None:
    with pytest.raises(MissingKey) as caught:
        EnvKeys({"A": value}).key("A")
    assert "fake" not in str(caught.value)
