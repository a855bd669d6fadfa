"""sluiceway.toml: what is taken, and that every mistake names its line and the nearest key."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from sluiceway import Gateway
from sluiceway.config import Config, config_of, load_config, parse_config
from sluiceway.errors import ConfigError

FULL = """\
[ledger]
path = "books.db"
durability = "process"

[defaults]
timeout_s = 20
max_output_tokens = 1000
tenant = "acme"

[engine]
send_attempt_header = "always"

[accounts.openai]
key_env = "MY_KEY"
base_url = "https://gateway.example/v1"
headers = { x-team = "ads" }
[accounts.openai.batch]
key_env = "BATCH_KEY"
[accounts.deepseek.second]
key_env = "SECOND_KEY"

[limits."openai/gpt-x"]
requests_per_minute = 3500
llm_tokens_per_minute = 90000
concurrency = 10

[breakers.openai]
failure_threshold = 3
recovery_timeout_s = 30

[retries.openai]
attempts = 2

[budgets.video]
limit = "3.00"
warn = ["2.50", "2.00"]
on_exceed = "refuse"
[budgets.day]
limit = "150.00"
period = "day"
time_zone = "UTC"

[cache.chat]
ttl_s = 3600
"""


def test_everything_is_read() -> None:
    config = parse_config(FULL)
    assert config.ledger == {"path": "books.db", "durability": "process"}
    assert config.defaults == {"timeout_s": 20.0, "max_output_tokens": 1000, "tenant": "acme"}
    assert config.engine == {"send_attempt_header": "always"}
    assert config.accounts == {
        ("openai", "default"): {
            "key_env": "MY_KEY",
            "base_url": "https://gateway.example/v1",
            "headers": {"x-team": "ads"},
        },
        ("openai", "batch"): {"key_env": "BATCH_KEY"},
        ("deepseek", "second"): {"key_env": "SECOND_KEY"},
    }
    assert config.limits["openai/gpt-x"]["concurrency"] == 10
    assert config.breakers["openai"] == {"failure_threshold": 3, "recovery_timeout_s": 30.0}
    assert config.retries == {"openai": {"attempts": 2}}
    assert config.budgets["video"] == {
        "limit": 3_000_000_000,
        "warn": (2_000_000_000, 2_500_000_000),
        "on_exceed": "refuse",
    }
    assert config.budgets["day"]["period"] == "day"
    assert config.cache == {"chat": {"ttl_s": 3600.0}}


def test_all_of_it_is_optional() -> None:
    assert parse_config("").accounts == {}
    assert Config().ledger == {}


@pytest.mark.parametrize(
    ("text", "line", "said"),
    [
        ("[ledger]\npaht = 'x'", 2, "did you mean 'path'"),
        ("\n[ledgr]\npath = 'x'", 2, "did you mean 'ledger'"),
        ("[defaults]\ntimeout_s = '20'", 2, "timeout_s in [defaults] must be a number of seconds"),
        ("[defaults]\n\n# c\ntimeout_s = true", 4, "not True"),
        ("[defaults]\ntimeout_s = -1", 2, "at least 0.001"),
        ("[defaults]\ntimeout_s = nan", 2, "must be a number of seconds"),
        ("[defaults]\nmax_output_tokens = 1.5", 2, "a whole number"),
        ("defaults.tenant = ''", 1, "a text that is not empty"),
        ('[limits."openai/gpt-x"]\nrequests_per_minut = 1', 2, "'requests_per_minute'"),
        ('[limits]\n"openai/gpt-x" = { concurrency = 0 }', 2, "at least 1"),
        ("[limits]\nconcurrency = 3", 2, "a table of its own"),
        ("[budgets.video]\nlimit = 3.00", 2, 'such as "3.00"'),
        ("[budgets.video]\nlimit = '-3'", 2, "below zero"),
        ("[budgets.video]\nwarn = ['1']", 1, "needs a limit"),
        ("[budgets.day]\nlimit = '1'\nperiod = 'daily'", 3, '"day"'),
        ("[budgets.day]\nlimit = '1'\nperiod = 'day'\nrolling_s = 60", 4, "rolling_s"),
        ("[budgets.day]\nlimit = '1'\ntime_zone = 'Mars/Phobos'", 3, "name of a time zone"),
        ("[wallets.user]\ntime_zone = ''", 2, "a text that is not empty"),
        ('[budgets."a:b"]\nlimit = "1"', 1, "no ':'"),
        ("[accounts.openai]\nkey = 'sk-obviously-fake'", 2, "did you mean 'key_env'"),
        ("[accounts.openai.batch]\nbase_ur = 'x'", 2, "did you mean 'base_url'"),
        ("[accounts]\nopenai = 'sk-obviously-fake'", 2, "must be a table"),
        ("[ledger]\r\ndurability = 'maximal'\r\n", 2, '"power", "process", "memory"'),
        ("ledger = 3", 1, "must be a table"),
        ("[cache.chat]\nttl_s = 0", 2, "at least 0.001"),
        ("[cache.images]\nttl_s = 60", 1, "did you mean [cache.chat]"),
        ("[accounts.openai]\napi_key = 'sk-obviously-fake'", 2, "from the environment"),
        ("[accounts.openai]\nkey_env = 'sk-obviously-fake'", 2, "the name of a variable"),
        ("[ledger]\npath = 'a\\u0000b'".replace("'", '"'), 2, "a path"),
    ],
)
def test_mistakes_name_their_line(text: str, line: int, said: str) -> None:
    with pytest.raises(ConfigError) as caught:
        parse_config(text, "my.toml")
    assert caught.value.message.startswith(f"my.toml, line {line}: "), caught.value.message
    assert said in caught.value.message
    assert "obviously-fake" not in str(caught.value)  # a secret in a wrong place is not repeated


def test_not_toml_and_not_utf8_and_not_there(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="line 2"):
        parse_config("[ledger]\npath = \n", "my.toml")
    file = tmp_path / "sluiceway.toml"
    file.write_bytes(b"[ledger]\n# fine\npath = '\xff'\n")
    with pytest.raises(ConfigError, match=r"line 3: is not UTF-8"):
        load_config(str(file))
    with pytest.raises(ConfigError, match="cannot read the configuration"):
        load_config(str(tmp_path / "missing.toml"))


def test_plain_dicts_are_checked_the_same() -> None:
    assert config_of({"defaults": {"timeout_s": 5}}).defaults == {"timeout_s": 5.0}
    with pytest.raises(ConfigError, match=r"config: unknown key 'timeout'.*'timeout_s'"):
        config_of({"defaults": {"timeout": 5}})


def test_the_repr_shows_no_secrets() -> None:
    text = "[accounts.openai]\nheaders = { authorization = 'Bearer obviously-fake' }"
    assert "obviously" not in repr(parse_config(text))


def test_a_cache_without_a_time_caches_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SLUICEWAY_SIMULATOR_URL", "http://127.0.0.1:9")
    with Gateway({"cache": {"chat": {}}, "ledger": {"path": ":memory:"}}) as gateway:
        assert "cache_ttl_s" not in gateway._plan.submit


def test_a_byte_order_mark_is_no_part_of_the_text(tmp_path: Path) -> None:
    """As editors on Windows write it (RFC 3629, 6)."""
    file = tmp_path / "sluiceway.toml"
    file.write_bytes(b"\xef\xbb\xbf[ledger]\npath = 'x.db'\n")
    assert load_config(str(file)).ledger["path"] == "x.db"
    file.write_bytes(b"\xef\xbb\xbf[ledger]\npaht = 'x.db'\n")
    with pytest.raises(ConfigError, match="line 2: unknown key 'paht'"):
        load_config(str(file))


def test_a_path_may_be_a_path(tmp_path: Path) -> None:
    """In tables; `tmp_path / "ledger.db"` is what a pytest fixture hands over."""
    assert config_of({"ledger": {"path": tmp_path / "l.db"}}).ledger["path"] == f"{tmp_path}/l.db"


@pytest.mark.parametrize("tables", [{1: {}}, {"ledger": {1: 2}}, {"limits": {None: {}}}])
def test_names_in_tables_are_texts(tables: Any) -> None:
    with pytest.raises(ConfigError, match="is no name: write a str"):
        config_of(tables)


def test_a_mistake_shows_one_error(tmp_path: Path) -> None:
    with pytest.raises(ConfigError) as caught:
        config_of({"ledger": {"path": 5}})
    assert caught.value.__cause__ is None
    assert caught.value.__context__ is None
