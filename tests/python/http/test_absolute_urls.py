"""How absolute URLs and redirects to other origins are reached: as the account says, without its
credentials."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from sluiceway import ConnectionFailed, Gateway, SluicewayError
from sluiceway.errors import ConfigError, InvalidRequest, InvalidType, UnknownAccount, UnknownModel
from sluiceway.simulator.faults import FaultServer
from tests.python.http.conftest import MakeGateway
from tests.python.http.file_server import FileServer, Resource
from tests.python.http.proxy_server import Proxy
from tests.python.http.test_proxies import netloc

NAME = "/files/v.mp4"
BODY = bytes(range(256)) * 10


def gateway(accounts: dict[str, Any]) -> Gateway:
    return Gateway({"ledger": {"path": ":memory:", "durability": "memory"}, "accounts": accounts})


def test_a_proxy_of_the_account_is_used_for_absolute_urls(
    reach_url: MakeGateway, tmp_path: Path
) -> None:
    with FileServer() as server, Proxy() as proxy:
        server.files[NAME] = Resource(BODY)
        gw = reach_url("http://127.0.0.1:9/v1", proxy=proxy.url)
        gw.raw.download(server.url + NAME, tmp_path / "a")
        gw.raw.download(server.url + NAME, tmp_path / "b", provider="openai")
        assert [(tmp_path / name).read_bytes() for name in "ab"] == [BODY] * 2
        assert len(proxy.targets) == 2
        assert all("uthorization" not in head for head in proxy.heads)
        gw = reach_url("http://127.0.0.1:9/v1", proxy=proxy.url, no_proxy="127.0.0.1")
        gw.raw.download(server.url + NAME, tmp_path / "c")
        assert len(proxy.targets) == 2


def test_a_proxy_and_a_redirect_to_another_origin(reach_url: MakeGateway, tmp_path: Path) -> None:
    with FileServer() as server, FileServer() as elsewhere, Proxy() as proxy:
        server.files["/v1/a"] = Resource(b"", statuses=[302], location=elsewhere.url + NAME)
        elsewhere.files[NAME] = Resource(BODY)
        headers = {"x-team": "secret"}
        gw = reach_url(server.url + "/v1", proxy=proxy.url, headers=headers)
        gw.raw.download("/v1/a", tmp_path / "v", provider="openai", headers={"x-mine": "m"})
        assert (tmp_path / "v").read_bytes() == BODY
        assert len(proxy.targets) == 2
        first, second = server.seen[0].headers, elsewhere.seen[0].headers
        assert {"authorization", "x-team", "x-mine"} <= first.keys()
        assert not {"authorization", "x-team", "x-mine"} & second.keys()


def test_certificates_of_the_account(reach_url: MakeGateway, tmp_path: Path) -> None:
    with FaultServer(tls=True) as server, FileServer() as api:
        api.files["/v1/a"] = Resource(b"", statuses=[302] * 9, location=server.url + "/v.mp4")
        gw = reach_url(api.url + "/v1", ca_file=server.ca_file)
        gw.raw.download(server.url + "/v.mp4", tmp_path / "a")
        gw.raw.download("/v1/a", tmp_path / "b", provider="openai")
        assert (tmp_path / "a").read_bytes() == (tmp_path / "b").read_bytes() != b""
        # What goes unchecked at the account's own origin is checked elsewhere.
        gw = reach_url(api.url + "/v1", verify=False)
        for url, provider in ((server.url + "/v", None), ("/v1/a", "openai")):
            with pytest.raises(ConnectionFailed, match="certificate"):
                gw.raw.download(url, tmp_path / "c", provider=provider, resumes=0)
        assert server.requests == 2


def test_a_client_certificate_is_a_credential(reach_url: MakeGateway, tmp_path: Path) -> None:
    with FaultServer(tls=True, asks_client=True) as server, FileServer() as api:
        tls = {"ca_file": server.ca_file, "client_cert": server.client_file}
        gw = reach_url(api.url + "/v1", **tls)
        with pytest.raises(SluicewayError):
            gw.raw.download(server.url + "/v", tmp_path / "v", provider="openai", resumes=0)
        assert server.requests == 0
        gw = reach_url(server.url + "/v1", **tls)  # its own origin
        gw.raw.download(server.url + "/v", tmp_path / "v", provider="openai")
        assert server.requests == 1


def test_a_socket_is_of_its_own_origin(reach_url: MakeGateway, tmp_path: Path) -> None:
    path = str(tmp_path / "s")
    with FaultServer(unix_socket=path) as server, FileServer() as elsewhere:
        elsewhere.files[NAME] = Resource(BODY)
        gw = reach_url("http://localhost/v1", unix_socket=path)
        gw.raw.download("http://localhost/other", tmp_path / "a", provider="openai")
        gw.raw.download("http://localhost:80/v1/b", tmp_path / "b", provider="openai")
        gw.raw.download(elsewhere.url + NAME, tmp_path / "c", provider="openai")
        assert [seen.path for seen in server.seen] == ["/other", "/v1/b"]
        assert (tmp_path / "c").read_bytes() == BODY


def test_the_key_goes_below_the_base_url_and_nowhere_else(
    reach_url: MakeGateway, tmp_path: Path
) -> None:
    with FileServer() as server, FileServer() as other:
        for path in ("/v1/files/7", "/files/7", "/v12/files/7"):
            server.files[path] = other.files[path] = Resource(BODY)
        gw = reach_url(server.url + "/v1")
        told = []
        for url in (
            server.url + "/v1/files/7",
            server.url.replace("http:", "HTTP:") + "/v1/files/7",
            server.url + "/files/7",
            server.url + "/v12/files/7",
            other.url + "/v1/files/7",
        ):
            gw.raw.download(url, tmp_path / "v", provider="openai")
            last = other.seen[-1] if url.startswith(other.url) else server.seen[-1]
            told.append(last.headers.get("authorization"))
        assert told == ["Bearer not-a-key", "Bearer not-a-key", None, None, None]


def test_what_all_accounts_say_holds_for_a_url_of_nobody(tmp_path: Path) -> None:
    with FileServer() as server, Proxy() as proxy:
        server.files[NAME] = Resource(BODY)
        url, same = server.url + NAME, {"proxy": proxy.url}
        with gateway({"openai": same, "anthropic": same}) as gw:
            gw.raw.download(url, tmp_path / "v")
            assert len(proxy.targets) == 1
        with gateway({"openai": same, "anthropic": {}}) as gw:  # they do not agree: none
            gw.raw.download(url, tmp_path / "v")
            assert len(proxy.targets) == 1
            gw.raw.download(url, tmp_path / "v", provider="openai")  # the one that is named
            assert len(proxy.targets) == 2
        named = {"openai": {"default": {}, "out": same}, "anthropic": {}}
        with gateway(named) as gw:
            gw.raw.download(url, tmp_path / "v", account="out")
            assert len(proxy.targets) == 3
            with pytest.raises(UnknownAccount, match="did you mean 'out'"):
                gw.raw.download(url, tmp_path / "v", account="ou")


def test_settings_for_absolute_urls_come_first(tmp_path: Path) -> None:
    with FileServer() as server, FileServer() as api, Proxy() as proxy, Proxy() as wrong:
        server.files[NAME] = Resource(BODY)
        api.files["/v1/a"] = Resource(b"", statuses=[302], location=server.url + NAME)
        accounts = {
            "url": {"proxy": proxy.url},
            "openai": {"base_url": api.url + "/v1", "proxy": wrong.url},
        }
        with gateway(accounts) as gw:
            gw.raw.download(server.url + NAME, tmp_path / "v")
            gw.raw.download(server.url + NAME, tmp_path / "v", provider="openai")
            gw.raw.download("/v1/a", tmp_path / "v", provider="openai")
        assert proxy.targets == [server.url[7:]] * 3
        assert wrong.targets == [api.url[7:]]
    for settings in ({"key_env": "X"}, {"headers": {"a": "b"}}, {"base_url": "http://x"}):
        with pytest.raises(ConfigError, match=r"in \[accounts.url\].*ca_dir, ca_file, no_proxy"):
            gateway({"url": settings})


def test_a_slow_connect_is_the_gateways_own(reach_url: MakeGateway, tmp_path: Path) -> None:
    with FaultServer("connect_hang") as server:
        gw = reach_url("http://127.0.0.1:9/v1").with_options(connect_timeout_s=0.05)
        with pytest.raises(ConnectionFailed):
            gw.raw.download(server.url + "/v", tmp_path / "v", resumes=0)


def test_mistakes_of_absolute_urls(reach_url: MakeGateway, tmp_path: Path) -> None:
    gw: Any = reach_url("http://127.0.0.1:9/v1")
    for url, kind, said in (
        ("http://", InvalidRequest, "no host"),
        ("http://127.0.0.1:99999/", InvalidRequest, "port"),
        ("http://user:hunter2@127.0.0.1/", InvalidRequest, "header"),
        ("http://a b/", InvalidRequest, "quote"),
        ("http://[::1/", InvalidRequest, "not valid"),
        ("http://a{b/", InvalidRequest, "not valid"),
        ("http://127.0.0.1/\x7f", InvalidRequest, "quote"),
        ("http://127.0.0.1/\ud800", InvalidRequest, "quote"),
        ("", InvalidRequest, "no http or https URL"),
        (b"http://127.0.0.1/", InvalidType, "bytes"),
    ):
        for provider in (None, "openai"):
            with pytest.raises(kind) as failed:
                gw.raw.download(url, tmp_path / "v", provider=provider)
            assert said in str(failed.value) or (provider and url == ""), (url, failed.value)
            assert "hunter2" not in str(failed.value)
            assert failed.value.outcome == "never_sent"
    for name, error in ((["openai"], InvalidType), ("opanai", UnknownModel), ("", UnknownModel)):
        for url in ("/v", "http://127.0.0.1:9/v"):
            with pytest.raises(error):
                gw.raw.download(url, tmp_path / "v", provider=name)
    assert gw.stats().get("submitted", 0) == 0


def test_netloc_is_what_the_proxy_sees(reach_url: MakeGateway, tmp_path: Path) -> None:
    """A tunnel to another origin: nothing of the account is in the CONNECT."""
    with FaultServer(tls=True) as server, Proxy() as proxy:
        gw = reach_url("http://127.0.0.1:9/v1", ca_file=server.ca_file, proxy=proxy.url)
        gw.raw.download(server.url + "/v", tmp_path / "v")
        assert proxy.targets == [netloc(server)]
        assert "uthorization" not in proxy.heads[0]


def test_mistakes_of_downloads(reach_url: MakeGateway, tmp_path: Path) -> None:
    gw: Any = reach_url("http://127.0.0.1:9/v1")
    url = "http://127.0.0.1:9/v"
    for path, options, kind, said in (
        (tmp_path / "v", {"on_progress": 3}, InvalidType, "on_progress is a int"),
        (tmp_path / "v", {"resumes": True}, InvalidType, "resumes"),
        (tmp_path / "v", {"resumes": -1}, InvalidRequest, "resumes"),
        (tmp_path / "v", {"timeout_s": float("nan")}, InvalidRequest, "timeout_s"),
        (tmp_path / "v", {"read_timeout_s": False}, InvalidType, "read_timeout_s"),
        (tmp_path / "v", {"max_cost_usd": 1.5}, InvalidType, "max_cost_usd"),
        ("a\0b", {}, InvalidRequest, "NUL"),
        (b"v", {}, InvalidType, "bytes"),
        (None, {}, InvalidType, "NoneType"),
    ):
        with pytest.raises(kind) as failed:
            gw.raw.download(url, path, **options)
        assert said in str(failed.value)
    assert gw.stats().get("submitted", 0) == 0


@pytest.mark.parametrize("option", ["timeout_s", "read_timeout_s"])
def test_none_is_the_default_of_downloads(
    option: str, reach_url: MakeGateway, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    """An hour in all, and 30 s of silence unless the gateway says otherwise."""
    told: list[dict[str, Any]] = []
    monkeypatch.setattr(
        "sluiceway._raw.RawDownload.run", lambda self: told.append(self._plan.submit)
    )
    gw: Any = reach_url("http://127.0.0.1:9/v1")
    gw.raw.download("http://127.0.0.1:9/v", tmp_path / "v", **{option: None})
    assert (told[0]["timeout_s"], told[0]["read_timeout_s"]) == (3600.0, 30.0)
    quick = gw.with_options(read_timeout_s=3)
    quick.raw.download("http://127.0.0.1:9/v", tmp_path / "v")
    assert (told[1]["timeout_s"], told[1]["read_timeout_s"]) == (3600.0, 3.0)
