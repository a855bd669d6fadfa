"""What a raw call puts on the wire: one header of each name, methods, and no body with HEAD."""

from __future__ import annotations

import asyncio
import socket
import threading
from collections.abc import Callable, Iterator
from contextlib import closing
from typing import Any

import pytest

from sluiceway import AuthenticationFailed, BreakerOpen, Gateway, MissingKey, SluicewayError
from sluiceway.errors import InvalidRequest, InvalidType, UnknownModel
from sluiceway.simulator.faults import FaultServer
from tests.python.http.conftest import MakeGateway

PATH = "/v1/x"
JSON = b'{"ok": true}'
Told = list[tuple[str, str]]


class HeadServer:
    """Keeps the head of each request as it came, and answers what it is told to."""

    def __init__(self, answer: bytes = b"") -> None:
        self.answer = answer or b"HTTP/1.1 200 OK\r\ncontent-length: %d\r\n\r\n%s" % (
            len(JSON),
            JSON,
        )
        self.heads: list[tuple[str, Told]] = []
        self._listener = socket.create_server(("127.0.0.1", 0))
        self.url = f"http://127.0.0.1:{self._listener.getsockname()[1]}"
        threading.Thread(target=self._accept, daemon=True).start()

    def _accept(self) -> None:
        while True:
            try:
                client, _ = self._listener.accept()
            except OSError:
                return
            threading.Thread(target=self._serve, args=(client,), daemon=True).start()

    def _serve(self, client: socket.socket) -> None:
        buffer = b""
        with closing(client):
            while True:
                while b"\r\n\r\n" not in buffer:
                    data = client.recv(65536)
                    if not data:
                        return
                    buffer += data
                head, _, buffer = buffer.partition(b"\r\n\r\n")
                first, *lines = head.decode().split("\r\n")
                fields = [(name.lower(), value.strip()) for name, _, value in
                          (line.partition(":") for line in lines)]  # fmt: skip
                length = int(dict(fields).get("content-length", "0"))
                while len(buffer) < length:
                    buffer += client.recv(65536)
                buffer = buffer[length:]
                self.heads.append((first, fields))
                client.sendall(self.answer)

    def values(self, name: str) -> list[str]:
        """What the last request has under a name."""
        return [value for key, value in self.heads[-1][1] if key == name]

    def close(self) -> None:
        self._listener.close()


@pytest.fixture
def server() -> Iterator[HeadServer]:
    with closing(HeadServer()) as running:
        yield running


@pytest.fixture
def gw(server: HeadServer, reach_url: MakeGateway) -> Gateway:
    return reach_url(server.url + "/v1")


def posts(gw: Gateway, provider: str, headers: dict[str, str]) -> dict[str, Callable[[], Any]]:
    """The same POST by each verb that takes headers."""
    given: dict[str, Any] = {"json": {"a": 1}, "free": True, "headers": headers}
    return {
        "post": lambda: gw.raw.post(provider, PATH, **given),
        "aio": lambda: asyncio.run(_awaited(gw.aio.raw.post(provider, PATH, **given))),
        "stream": lambda: gw.raw.stream("POST", provider, PATH, **given).result(),
    }


async def _awaited(awaitable: Any) -> Any:
    return await awaitable


@pytest.mark.parametrize("verb", ["post", "aio", "stream"])
@pytest.mark.parametrize("name", ["Authorization", "authorization", "AUTHORIZATION"])
def test_a_calls_own_key_replaces_ours(
    name: str, verb: str, gw: Gateway, server: HeadServer
) -> None:
    posts(gw, "openai", {name: "Bearer mine"})[verb]()
    assert server.values("authorization") == ["Bearer mine"]
    posts(gw, "openai", {})[verb]()  # and of this call only
    assert server.values("authorization") == ["Bearer not-a-key"]


def test_a_wrong_key_of_a_calls_own_stops_nobody_else(
    reach_url: MakeGateway, server: HeadServer
) -> None:
    gw = reach_url(server.url + "/v1", breakers_on=True)
    good, server.answer = server.answer, b"HTTP/1.1 401 No\r\ncontent-length: 0\r\n\r\n"
    for _ in range(3):
        with pytest.raises(AuthenticationFailed):
            posts(gw, "openai", {"authorization": "Bearer wrong"})["post"]()
    server.answer = good
    posts(gw, "openai", {})["post"]()
    server.answer = b"HTTP/1.1 401 No\r\ncontent-length: 0\r\n\r\n"
    with pytest.raises(AuthenticationFailed):
        posts(gw, "openai", {})["post"]()
    with pytest.raises(BreakerOpen):  # the account's own: everybody's
        posts(gw, "openai", {})["post"]()


@pytest.mark.parametrize("name", ["x-api-key", "anthropic-version", "x-team", "content-type"])
def test_each_header_of_an_account_can_be_replaced(
    name: str, server: HeadServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("ANTHROPIC_API_KEY", "not-a-key")
    account = {"base_url": server.url, "headers": {"X-Team": "ads"}}
    config = {"ledger": {"durability": "memory"}, "accounts": {"anthropic": account}}
    with Gateway(config) as gw:
        ours = {
            "x-api-key": "not-a-key",
            "anthropic-version": "2023-06-01",  # of Anthropic's documentation
            "x-team": "ads",
            "content-type": "application/json",
        }
        posts(gw, "anthropic", {name.title(): "mine"})["post"]()
        told = {key: server.values(key) for key in ours}
        assert told == {key: ["mine" if key == name else ours[key]] for key in ours}
        gw.raw.post("anthropic", PATH, content=b"x", headers={name: "mine"}, free=True)
        assert server.values(name) == ["mine"]
        assert len(server.values("content-type")) == (name == "content-type")


def test_an_accounts_own_headers_replace_the_providers(
    server: HeadServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("OPENAI_API_KEY")
    headers = {"Authorization": "Basic bWU6eA==", "Content-Type": "application/json; charset=utf-8"}
    account = {"base_url": server.url + "/v1", "headers": headers}
    with Gateway({"ledger": {"durability": "memory"}, "accounts": {"openai": account}}) as gw:
        gw.raw.get("openai", "/v1/models", free=True)  # no key is needed
        assert server.values("authorization") == ["Basic bWU6eA=="]
        assert server.values("content-type") == ["application/json; charset=utf-8"]
        gw.raw.get("openai", "/v1/models", free=True, headers={"authorization": "Bearer mine"})
        assert server.values("authorization") == ["Bearer mine"]
    del account["headers"]
    with Gateway({"ledger": {"durability": "memory"}, "accounts": {"openai": account}}) as gw:
        with pytest.raises(MissingKey):
            gw.raw.get("openai", "/v1/models", free=True)
        gw.raw.get("openai", "/v1/models", free=True, headers={"authorization": "Bearer mine"})
        assert server.values("authorization") == ["Bearer mine"]


BAD_HEADERS: list[tuple[Any, type[SluicewayError], str]] = [
    ({"a": "b\r\nc: d"}, InvalidRequest, "line end"),
    ({"a": "b\nc"}, InvalidRequest, "line end"),
    ({"a": "b\0"}, InvalidRequest, "character"),
    ({"a": "\ud800"}, InvalidRequest, "character"),
    ({"a b": "c"}, InvalidRequest, "'a b' is no name"),
    ({"a\r\nb": "c"}, InvalidRequest, "no name"),
    ({"": "c"}, InvalidRequest, "no name"),
    ({"ü": "c"}, InvalidRequest, "no name"),
    ({"a:": "c"}, InvalidRequest, "no name"),
    ({"a": 1}, InvalidType, "dict of strs"),
    ({"a": None}, InvalidType, "dict of strs"),
    ({b"a": b"b"}, InvalidType, "dict of strs"),
    ([("a", "b")], InvalidType, "headers is a list"),
    ("a: b", InvalidType, "headers is a str"),
    ({"X-A": "1", "x-a": "2"}, InvalidRequest, "twice"),
    ({"Authorization": "1", "authorization": "2"}, InvalidRequest, "twice"),
    ({"Content-Length": "3"}, InvalidRequest, "set by the transport"),
    ({"Transfer-Encoding": "chunked"}, InvalidRequest, "set by the transport"),
    ({"connection": "close"}, InvalidRequest, "set by the transport"),
    ({"Sluiceway-Attempt": "x/1"}, InvalidRequest, "set by the engine"),
]


@pytest.mark.parametrize(("headers", "kind", "said"), BAD_HEADERS)
def test_headers_that_cannot_be_sent(
    headers: Any, kind: type[SluicewayError], said: str, gw: Gateway, server: HeadServer
) -> None:
    for run in posts(gw, "openai", headers).values():
        with pytest.raises(kind, match=said) as failed:
            run()
        assert failed.value.outcome == "never_sent"
    with pytest.raises(kind, match=said):
        gw.raw.download("/v1/x", "/tmp/never", provider="openai", headers=headers)
    assert server.heads == []


@pytest.mark.parametrize("name", ["Range", "If-Range", "Accept-Encoding"])
def test_a_download_sets_its_ranges_itself(name: str, gw: Gateway, server: HeadServer) -> None:
    with pytest.raises(InvalidRequest, match="by the download itself"):
        gw.raw.download("/v1/x", "/tmp/never", provider="openai", headers={name: "x"})
    assert server.heads == []


BAD_CALLS: list[tuple[tuple[Any, Any, Any], dict[str, Any], type[SluicewayError], str]] = [
    (("GET X", "openai", PATH), {}, InvalidRequest, "'GET X' is no method"),
    (("GET\r\n", "openai", PATH), {}, InvalidRequest, "no method"),
    (("", "openai", PATH), {}, InvalidRequest, "no method"),
    (("GÉT", "openai", PATH), {}, InvalidRequest, "no method"),
    ((b"GET", "openai", PATH), {}, InvalidType, "the method is a bytes"),
    ((None, "openai", PATH), {}, InvalidType, "the method is a NoneType"),
    (("CONNECT", "openai", PATH), {}, InvalidRequest, "proxy"),
    (("GET", ["openai"], PATH), {}, InvalidType, "the provider is a list"),
    (("GET", None, PATH), {}, InvalidType, "the provider is a NoneType"),
    (("GET", "opanai", PATH), {}, UnknownModel, "did you mean 'openai'"),
    (("GET", "url", PATH), {}, UnknownModel, "no provider 'url'"),
    (("GET", "openai", b"/v1/x"), {}, InvalidType, "the path is a bytes"),
    (("GET", "openai", None), {}, InvalidType, "the path is a NoneType"),
    (("GET", "openai", "v1/x"), {}, InvalidRequest, 'one "/"'),
    (("GET", "openai", "//evil.example/x"), {}, InvalidRequest, 'one "/"'),
    (("GET", "openai", ""), {}, InvalidRequest, 'one "/"'),
    (("GET", "openai", "http://127.0.0.1/x?key=s3cret"), {}, InvalidRequest, 'one "/"'),
    (("GET", "openai", "/v1/a b"), {}, InvalidRequest, "quote"),
    (("GET", "openai", "/v1/a\tb"), {}, InvalidRequest, "quote"),
    (("GET", "openai", "/v1/a\0b"), {}, InvalidRequest, "quote"),
    (("GET", "openai", "/v1/a\x7f"), {}, InvalidRequest, "quote"),
    (("GET", "openai", "/v1/\ud800"), {}, InvalidRequest, "quote"),
    (("POST", "openai", PATH), {"json": {1, 2}}, InvalidType, "json is a set"),
    (("POST", "openai", PATH), {"json": {"a": {1}}}, InvalidRequest, "JSON"),
    (("POST", "openai", PATH), {"json": {"a": float("nan")}}, InvalidRequest, "JSON"),
    (("POST", "openai", PATH), {"json": {1: 2}}, InvalidRequest, "JSON"),
    (("POST", "openai", PATH), {"json": {"a": "\ud800"}}, InvalidRequest, "JSON"),
    (("POST", "openai", PATH), {"json": "text"}, InvalidType, "json is a str"),
    (("POST", "openai", PATH), {"free": "yes"}, InvalidType, "free is a str"),
    (("POST", "openai", PATH), {"free": 0.0}, InvalidType, "free is a float"),
    (("POST", "openai", PATH), {"timeout_s": float("nan")}, InvalidRequest, "timeout_s"),
    (("POST", "openai", PATH), {"timeout_s": True}, InvalidType, "timeout_s"),
    (("POST", "openai", PATH), {"timeout_s": -1}, InvalidRequest, "timeout_s"),
    (("POST", "openai", PATH), {"timeout_s": 10**400}, InvalidRequest, "timeout_s"),
    (("POST", "openai", PATH), {"connect_timeout_s": 0}, InvalidRequest, "connect_timeout_s"),
    (("POST", "openai", PATH), {"read_timeout_s": float("inf")}, InvalidRequest, "read_timeout_s"),
    (("POST", "openai", PATH), {"write_timeout_s": "1"}, InvalidType, "write_timeout_s"),
    (("POST", "openai", PATH), {"max_cost_usd": True}, InvalidType, "max_cost_usd"),
    (("POST", "openai", PATH), {"max_cost_usd": float("nan")}, InvalidType, "max_cost_usd"),
    (("POST", "openai", PATH), {"account": 3}, InvalidType, "account"),
    (("POST", "openai", PATH), {"tenant": "\ud800"}, InvalidRequest, "tenant"),
    (("POST", "openai", PATH), {"idempotency_key": "\ud800"}, InvalidRequest, "idempotency_key"),
    (("POST", "openai", PATH), {"priority": [1]}, InvalidRequest, "priority"),
    (("POST", "openai", PATH), {"retry": 3}, InvalidType, "Retry"),
    (("HEAD", "openai", PATH), {"json": {}}, InvalidRequest, "HEAD request has no body"),
    (("head", "openai", PATH), {"json": {"a": 1}}, InvalidRequest, "HEAD request has no body"),
    (("HEAD", "openai", PATH), {"content": b""}, InvalidRequest, "HEAD request has no body"),
    (("HEAD", "openai", PATH), {"data": {"a": "b"}}, InvalidRequest, "HEAD request has no body"),
]


@pytest.mark.parametrize(("call", "options", "kind", "said"), BAD_CALLS)
def test_calls_that_cannot_be_sent(
    call: tuple[Any, Any, Any],
    options: dict[str, Any],
    kind: type[SluicewayError],
    said: str,
    gw: Gateway,
    server: HeadServer,
) -> None:
    if "free" not in options and "max_cost_usd" not in options:
        options = {**options, "free": True}
    for run in (
        lambda: gw.raw.request(*call, **options),
        lambda: asyncio.run(_awaited(gw.aio.raw.request(*call, **options))),
        lambda: gw.raw.stream(*call, **options).result(),
    ):
        with pytest.raises(kind) as failed:
            run()
        assert said in str(failed.value)
        assert "s3cret" not in str(failed.value)
        assert failed.value.outcome == "never_sent"
    assert server.heads == []
    assert gw.stats().get("submitted", 0) == 0


def test_methods_are_sent_in_upper_case(gw: Gateway, server: HeadServer) -> None:
    for method in ("get", "Post", "pAtCh", "propfind", "M-SEARCH"):
        gw.raw.request(method, "openai", PATH, free=True)
    words = [first.split()[0] for first, _ in server.heads]
    assert words == ["GET", "POST", "PATCH", "PROPFIND", "M-SEARCH"]


@pytest.mark.parametrize(
    "framing",
    [
        b"content-length: 1000000\r\n",
        b"transfer-encoding: chunked\r\n",
        b"",
        b"content-length: 3\r\ncontent-encoding: gzip\r\n",
    ],
)
@pytest.mark.parametrize("method", ["HEAD", "head"])
def test_an_answer_to_head_ends_with_its_head(
    method: str, framing: bytes, gw: Gateway, server: HeadServer
) -> None:
    whole = server.answer
    for _ in range(2):
        server.answer = b"HTTP/1.1 200 OK\r\nx-a: b\r\n" + framing + b"\r\n"
        for cost in ({"free": True}, {"max_cost_usd": "0.01"}):
            answer = gw.raw.request(method, "openai", PATH, timeout_s=5, **cost)
            assert (answer.status_code, answer.raw, answer.headers["x-a"]) == (200, b"", "b")
        stream = gw.raw.stream(method, "openai", PATH, timeout_s=5, free=True)
        assert list(stream) == []
        assert stream.result().status_code == 200
        server.answer = whole  # the handle that was used for it serves other methods after it
        assert gw.raw.get("openai", PATH, free=True, timeout_s=5).raw == JSON
        assert gw.raw.post("openai", PATH, json={}, free=True, timeout_s=5).raw == JSON


@pytest.mark.parametrize("version", ["1.1", "2"])
def test_head_of_the_fault_server(version: str, reach: MakeGateway) -> None:
    with FaultServer(tls=True) as server:
        gw = reach(server, http_version=version, base_url=server.url)
        size = len(gw.raw.get("openai", "/any", free=True).raw)
        answer = gw.raw.request("HEAD", "openai", "/any", free=True, timeout_s=5)
        assert (answer.status_code, answer.raw) == (200, b"")
        assert answer.headers["content-length"] == str(size)
        assert gw.raw.get("openai", "/any", free=True).raw
        assert [seen.method for seen in server.seen] == ["GET", "HEAD", "GET"]
        assert server.connections == 1
