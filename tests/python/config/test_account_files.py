"""How an account reaches its servers: files that are not there, and settings that cannot be meant.

What the text alone shows is refused when it is read, with its line; what the disk shows when the
first call is made, before anything is sent.
"""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from sluiceway import Gateway
from sluiceway.config import parse_config
from sluiceway.errors import ConfigError
from tests.fixtures import empty_environment

MODEL = "openai/gpt-6-luna"
NOWHERE = "http://127.0.0.1:9/v1"  # nothing is to be sent


@pytest.fixture(autouse=True)
def clean_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    empty_environment(monkeypatch)
    monkeypatch.setenv("OPENAI_API_KEY", "not-a-key")


@pytest.mark.parametrize(
    ("text", "line", "said"),
    [
        ("client_key = 'k.pem'", 2, "a client_key without a client_cert"),
        ("unix_socket = ''", 2, "a path (leave the key out for none), not an empty text"),
        ("unix_socket = 3", 2, "a path"),
        ("unix_socket = '/" + "s" * 107 + "'", 2, "at most 107 bytes"),
        ('unix_socket = "/a\\u0000b"', 2, "a path"),
        ("ca_dir = ''", 2, "a path (leave the key out for none), not an empty text"),
        ('ca_file = "/a\\u0000b"', 2, "a path"),
        ("client_cert = ['a']", 2, "a path"),
        ("headers = { 'a b' = 'c' }", 2, "'a b' is no name of one"),
        ("headers = { '' = 'c' }", 2, "'' is no name of one"),
        ('headers = { a = "b\\r\\nc" }', 2, "'a' has a line end"),
        ("headers = { a = 3 }", 2, "a table of texts"),
        ("headers = { A = '1', a = '2' }", 2, "'a' is there twice"),
        ("headers = { Content-Length = '1' }", 2, "'Content-Length' is set by the transport"),
        ("headers = 'a: b'", 2, "a table of texts"),
        ("verify = 'no'", 2, "true or false"),
        ("http_version = '3'", 2, '"auto", "1.1", "2"'),
        ("idle_reuse_s = nan", 2, "a number of seconds"),
        ("idle_reuse_s = -1", 2, "a number of seconds"),
        ("idle_reuse_s = true", 2, "a number of seconds"),
    ],
)
@pytest.mark.parametrize("table", ["accounts.openai", "accounts.openai.second"])
def test_what_the_text_shows(table: str, text: str, line: int, said: str) -> None:
    with pytest.raises(ConfigError) as failed:
        parse_config(f"[{table}]\n{text}\n", "my.toml")
    assert failed.value.message.startswith(f"my.toml, line {line}: "), failed.value.message
    assert said in failed.value.message
    assert table in failed.value.message


def test_a_certificate_may_hold_its_key() -> None:
    config = parse_config("[accounts.openai]\nclient_cert = 'both.pem'\n")
    assert config.accounts["openai", "default"] == {"client_cert": "both.pem"}


def verbs(gw: Gateway, folder: Path) -> dict[str, Callable[[], object]]:
    return {
        "chat": lambda: gw.chat(MODEL, "hi"),
        "stream": lambda: gw.stream(MODEL, "hi").result(),
        "raw": lambda: gw.raw.get("openai", "/v1/models", free=True),
        "download": lambda: gw.raw.download("/v1/x", folder / "v", provider="openai"),
        "elsewhere": lambda: gw.raw.download("http://127.0.0.1:9/x", folder / "v"),
    }


@pytest.mark.parametrize(
    ("key", "name", "said"),
    [
        ("ca_file", "missing.pem", "does not exist"),
        ("ca_dir", "missing", "does not exist"),
        ("client_cert", "missing.pem", "does not exist"),
        ("client_key", "missing.pem", "does not exist"),
        ("ca_file", "folder", "is a folder"),
        ("client_cert", "folder", "is a folder"),
        ("ca_dir", "file.pem", "is no folder"),
    ],
)
def test_what_the_disk_shows(key: str, name: str, said: str, tmp_path: Path) -> None:
    (tmp_path / "folder").mkdir()
    (tmp_path / "file.pem").touch()
    path = str(tmp_path / name)
    account: dict[str, Any] = {"base_url": NOWHERE, key: path}
    if key == "client_key":
        account["client_cert"] = str(tmp_path / "file.pem")
    config = {"ledger": {"durability": "memory"}, "accounts": {"openai": account}}
    with Gateway(config) as gw:
        for verb, run in verbs(gw, tmp_path).items():
            if verb == "elsewhere" and key.startswith("client"):
                continue  # a credential: not used there
            with pytest.raises(ConfigError) as failed:
                run()
            message = str(failed.value)
            assert f"{key} of [accounts.openai.default]: {path!r} {said}; give" in message, verb
            assert failed.value.outcome == "never_sent"
        assert gw.stats().get("submitted", 0) == 0
        assert not (tmp_path / "v").exists()


@pytest.mark.parametrize("key", ["ca_file", "ca_dir", "client_cert"])
def test_what_this_user_may_not_read(
    key: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Asked of the system, since whoever runs the tests may be allowed everything."""
    real = os.access
    monkeypatch.setattr(
        os, "access", lambda path, mode, **k: str(tmp_path) not in str(path) and real(path, mode)
    )
    path = tmp_path / "x"
    if key == "ca_dir":
        path.mkdir()
    else:
        path.touch()
    accounts = {"openai": {"base_url": NOWHERE, key: str(path)}}
    with (
        Gateway({"ledger": {"durability": "memory"}, "accounts": accounts}) as gw,
        pytest.raises(ConfigError, match="cannot be read by this user"),
    ):
        gw.chat(MODEL, "hi")


def test_a_relative_path_says_where_it_was_looked_for(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    accounts = {"openai": {"base_url": NOWHERE, "ca_file": "ca.pem"}}
    with Gateway({"ledger": {"durability": "memory"}, "accounts": accounts}) as gw:
        with pytest.raises(ConfigError) as failed:
            gw.chat(MODEL, "hi")
        assert f"'ca.pem' does not exist (looked for in {str(tmp_path)!r})" in str(failed.value)
        (tmp_path / "ca.pem").touch()  # it may come later
        with pytest.raises(Exception, match=r"(?i)connect|refused|port 9"):
            gw.chat(MODEL, "hi", timeout_s=5)


@pytest.mark.parametrize(
    ("url", "said"),
    [
        ("http://", "no host"),
        ("http:///v1", "no host"),  # libcurl would take "v1" for the host, and send it the key
        ("https://api.example/v1?version=2", "a query"),
        ("https://api.example/v1#here", "a fragment"),
        ("https://a b/v1", "a space"),
        ("https://me:hunter2@api.example/v1", "credentials"),
        ("api.example/v1", "valid"),
        ("ftp://api.example/v1", "neither http nor https"),
    ],
)
@pytest.mark.parametrize("source", ["base_url of [accounts.openai.default]", "OPENAI_BASE_URL"])
def test_base_urls(
    source: str, url: str, said: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    account = {}
    if source.startswith("base_url"):
        account["base_url"] = url
    else:
        monkeypatch.setenv("SLUICEWAY_OPENAI_BASE_URL", url)
    config = {"ledger": {"durability": "memory"}, "accounts": {"openai": account}}
    with Gateway(config) as gw:
        for verb, run in verbs(gw, tmp_path).items():
            if verb == "elsewhere":
                continue
            with pytest.raises(ConfigError) as failed:
                run()
            message = str(failed.value)
            assert said in message, (verb, message)
            assert f'{source}, and looks like "https://host/path"' in message, (verb, message)
            assert "hunter2" not in message
        assert gw.stats().get("submitted", 0) == 0


def test_half_a_character(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """What the environment holds that is no UTF-8, and what a dict may hold."""
    monkeypatch.setenv("SLUICEWAY_OPENAI_BASE_URL", "https://api.\udcff/v1")
    said = "no UTF-8 text; it was set by SLUICEWAY_OPENAI_BASE_URL"
    with (
        Gateway({"ledger": {"durability": "memory"}}) as gw,
        pytest.raises(ConfigError, match=said),
    ):
        gw.raw.get("openai", "/v1/models", free=True)
    for key in ("base_url", "key_env", "plan", "no_proxy"):
        with pytest.raises(ConfigError, match="whole characters"):
            Gateway({"accounts": {"openai": {key: "https://api.\ud800/v1"}}})
