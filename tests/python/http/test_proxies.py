"""Through proxies: who is asked for what, what a proxy gets to see, and no second send."""

from __future__ import annotations

from base64 import b64encode
from pathlib import Path
from urllib.parse import urlsplit

import pytest

from sluiceway import ConfigError, ConnectionFailed, Gateway, InDoubt, SluicewayError
from sluiceway.simulator.faults import FaultServer
from sluiceway.simulator.tls import Authority
from tests.python.http.conftest import MODEL, MakeGateway
from tests.python.http.proxy_server import Proxy


def netloc(server: FaultServer) -> str:
    return urlsplit(server.url).netloc


@pytest.mark.parametrize("version", ["1.1", "2"])
def test_a_tunnel_and_what_the_proxy_sees_of_it(version: str, reach: MakeGateway) -> None:
    with FaultServer(tls=True) as server, Proxy() as proxy:
        gw = reach(server, proxy=proxy.url, http_version=version)
        for _ in range(2):
            assert gw.chat(MODEL, "hello").text
        assert proxy.targets == [netloc(server)]  # one tunnel, used twice
        assert proxy.heads[0].startswith(f"CONNECT {netloc(server)} HTTP/1.1")
        assert "uthorization" not in proxy.heads[0]  # the provider's key stays inside
        assert (server.executions, server.connections) == (2, 1)


@pytest.mark.parametrize(("version", "users"), [("1.1", 2), ("auto", 6)])
def test_each_user_of_a_proxy_has_tunnels_of_its_own(version: str, users: int) -> None:
    """A proxy's user name may choose the way out, the tenant and the bill."""
    names = ["default", *(f"user{n}" for n in range(1, users))]
    with FaultServer(tls=True) as server, Proxy() as proxy:
        accounts = {
            name: {
                "base_url": server.base_url("openai"),
                "ca_file": server.ca_file,
                "http_version": version,
                "proxy": f"http://{name}:pw@127.0.0.1:{proxy.port}",
            }
            for name in names
        }
        config = {"ledger": {"durability": "memory"}, "accounts": {"openai": accounts}}
        with Gateway(config) as gw:
            for name in [*names, *names]:
                assert gw.chat(MODEL, "hello", account=name).text
        words = [b64encode(f"{name}:pw".encode()).decode() for name in names]
        told = [head.partition("Basic ")[2].split()[0] for head in proxy.heads]
        assert told == words  # one tunnel each, used twice
        assert server.connections == users


def test_absolute_form_in_the_clear(reach: MakeGateway) -> None:
    with FaultServer() as server, Proxy() as proxy:
        assert reach(server, proxy=proxy.url).chat(MODEL, "hello").text
        assert proxy.targets == [netloc(server)]
        assert proxy.heads[0].startswith(f"POST {server.base_url('openai')}/chat/completions ")


def test_a_proxy_inside_tls(reach: MakeGateway, tmp_path: Path) -> None:
    authority = Authority(tmp_path)
    context = authority.server()
    context.set_alpn_protocols(["http/1.1"])
    with FaultServer(tls=True) as server, Proxy("https", context=context) as proxy:
        with pytest.raises(ConnectionFailed):  # its authority is not known
            reach(server, proxy=proxy.url).chat(MODEL, "hello")
        bundle = tmp_path / "both.pem"
        bundle.write_bytes(authority.ca_file.read_bytes() + Path(server.ca_file).read_bytes())
        assert reach(server, proxy=proxy.url, ca_file=str(bundle)).chat(MODEL, "hello").text
        assert proxy.targets == [netloc(server)]
        assert server.executions == 1


@pytest.mark.parametrize(("scheme", "host"), [("socks5h", "localhost"), ("socks5", "127.0.0.1")])
def test_socks(scheme: str, host: str, reach: MakeGateway) -> None:
    with FaultServer(tls=True) as server, Proxy("socks5") as proxy:
        port = urlsplit(server.url).port
        gw = reach(
            server,
            proxy=f"{scheme}://127.0.0.1:{proxy.port}",
            base_url=server.base_url("openai").replace("127.0.0.1", host),
        )
        assert gw.chat(MODEL, "hello").text
        assert proxy.targets == [f"{host}:{port}"]  # socks5h lets the proxy look the name up
        assert server.executions == 1


def test_hosts_that_need_none(reach: MakeGateway) -> None:
    with FaultServer(tls=True) as server, Proxy() as proxy:
        gw = reach(server, proxy=proxy.url, no_proxy="example.com, 127.0.0.0/8")
        assert gw.chat(MODEL, "hello").text
        assert proxy.targets == []


def test_the_environment_only_when_asked(
    reach: MakeGateway, monkeypatch: pytest.MonkeyPatch
) -> None:
    with FaultServer(tls=True) as server, Proxy() as proxy:
        monkeypatch.setenv("HTTPS_PROXY", proxy.url)
        assert reach(server).chat(MODEL, "hello").text
        assert proxy.targets == []
        assert reach(server, proxy="environment").chat(MODEL, "hello").text
        assert proxy.targets == [netloc(server)]
        monkeypatch.setenv("NO_PROXY", "127.0.0.1")
        assert reach(server, proxy="environment").chat(MODEL, "hello").text
        assert len(proxy.targets) == 1


@pytest.mark.parametrize(("kind", "refuse"), [("http", 407), ("http", 502), ("socks5", 5)])
def test_a_proxy_that_refuses(kind: str, refuse: int, reach: MakeGateway) -> None:
    with FaultServer(tls=True) as server, Proxy(kind, refuse=refuse) as proxy:
        with pytest.raises(ConnectionFailed) as failed:
            reach(server, proxy=proxy.url).chat(MODEL, "hello")
        assert failed.value.outcome == "never_sent"
        assert (server.requests, server.connections) == (0, 0)


def test_nobody_listens_at_the_proxy(reach: MakeGateway) -> None:
    with FaultServer(tls=True) as server:
        with Proxy() as gone:
            url = gone.url
        with pytest.raises(ConnectionFailed) as failed:
            reach(server, proxy=url).chat(MODEL, "hello")
        assert failed.value.outcome == "never_sent"


@pytest.mark.parametrize("kind", ["http", "socks5"])
@pytest.mark.parametrize(
    ("version", "fault"),
    [
        *(("1.1", fault) for fault in ("reset_after", "drop_after")),
        *(("2", fault) for fault in ("reset_after", "drop_after", "rst_http11")),
    ],
)
def test_nothing_is_sent_twice_through_a_proxy(
    kind: str, fault: str, version: str, reach: MakeGateway
) -> None:
    with FaultServer("none", fault, "none", tls=True) as server, Proxy(kind) as proxy:
        gw = reach(server, proxy=proxy.url, http_version=version)
        assert gw.chat(MODEL, "hello").text
        with pytest.raises(InDoubt) as doubt:  # on the tunnel that was used before
            gw.chat(MODEL, "hello")
        assert len(doubt.value.attempts) == 1
        assert server.executions == 2
        assert gw.chat(MODEL, "hello").text
        assert server.executions == 3


def test_what_is_no_proxy_is_refused_without_its_password(reach: MakeGateway) -> None:
    with FaultServer() as server:
        for url in ("ftp://me:secret@127.0.0.1:1", "127.0.0.1:8080"):
            with pytest.raises((ConfigError, SluicewayError)) as failed:
                reach(server, proxy=url).chat(MODEL, "hello")
            assert "socks5h://" in str(failed.value)
            assert "secret" not in str(failed.value)
        assert server.connections == 0
