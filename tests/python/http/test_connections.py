"""Connections: trust, client certificates, Unix sockets, stream limits, GOAWAY, stray answers."""

from __future__ import annotations

import asyncio
import socket
import subprocess
import sys
import threading
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from sluiceway import ConnectionFailed, Gateway, InDoubt, InvalidRequest, SluicewayError
from sluiceway.simulator.faults import FaultServer
from tests.python.http.conftest import MODEL, MakeGateway

_PROGRAM = """
import sys
from sluiceway import Gateway
gw = Gateway({"ledger": {"path": ":memory:", "durability": "memory"},
              "accounts": {"openai": {"default": {"base_url": sys.argv[1]}}}})
print(gw.chat("openai/gpt-6-luna", "hello").text[:4])
"""


def test_ssl_cert_file_is_trusted_and_nothing_else() -> None:
    with FaultServer(tls=True) as server:
        command = [sys.executable, "-c", _PROGRAM, server.base_url("openai")]
        environment = {"OPENAI_API_KEY": "not-a-key", "PYTHONPATH": ":".join(sys.path)}
        trusted = subprocess.run(
            command,
            env={**environment, "SSL_CERT_FILE": server.ca_file},
            capture_output=True,
            text=True,
            check=False,
        )
        assert trusted.returncode == 0, trusted.stderr
        assert trusted.stdout.strip()
        plain = subprocess.run(
            command, env=environment, capture_output=True, text=True, check=False
        )
        assert plain.returncode != 0
        assert "ConnectionFailed" in plain.stderr
        assert server.executions == 1


def test_client_certificates(reach: MakeGateway) -> None:
    with FaultServer(tls=True, asks_client=True) as server:
        assert reach(server, client_cert=server.client_file).chat(MODEL, "hello").text
        with pytest.raises(SluicewayError) as failed:
            reach(server).chat(MODEL, "hello")
        # TLS 1.3 asks for it after the client has begun to send, so this may be in doubt.
        assert failed.value.outcome in ("never_sent", "in_doubt")
        assert server.executions == 1


def test_a_client_certificate_that_is_not_there(reach: MakeGateway, tmp_path: Path) -> None:
    with FaultServer(tls=True) as server:
        with pytest.raises(SluicewayError) as failed:
            reach(server, client_cert=str(tmp_path / "none.pem")).chat(MODEL, "hello")
        assert failed.value.outcome == "never_sent"
        assert server.requests == 0


def test_a_socket_by_its_path(reach: MakeGateway, tmp_path: Path) -> None:
    path = str(tmp_path / "s")
    with FaultServer(unix_socket=path) as server:
        assert reach(server, unix_socket=path).chat(MODEL, "hello").text
        assert server.executions == 1
        with pytest.raises(ConnectionFailed):
            reach(server, unix_socket=path + "no").chat(MODEL, "hello")


async def _burst(gw: Gateway, count: int) -> Counter[str]:
    async def one() -> str:
        try:
            await gw.aio.chat(MODEL, "hello", timeout_s=60)
        except SluicewayError as error:
            return f"{error.outcome}: {error}"
        return "done"

    return Counter(await asyncio.gather(*(one() for _ in range(count))))


@pytest.mark.parametrize("streams_max", [1, 3, 10, 100])
def test_a_burst_to_a_fresh_origin_keeps_its_stream_limit(
    streams_max: int, reach: MakeGateway
) -> None:
    with FaultServer(tls=True, streams_max=streams_max) as server:
        gw = reach(server)
        assert asyncio.run(_burst(gw, 250)) == {"done": 250}
        # 8 connections at most, and as many executions as calls: nothing was refused or repeated.
        assert (server.executions, server.requests) == (250, 250)
        assert server.connections <= 8
        attempts = [seen.attempt for seen in server.seen]
        assert len(set(attempts)) == 250


def test_after_goaway_the_next_call_has_another_connection(reach: MakeGateway) -> None:
    with FaultServer("none", "goaway_above", "none", tls=True) as server:
        gw = reach(server, http_version="2")
        for _ in range(3):
            assert gw.chat(MODEL, "hello").text
        assert (server.executions, server.connections) == (3, 2)


def test_a_burst_survives_goaway(reach: MakeGateway) -> None:
    """What GOAWAY has not processed is sent again, what it covers is answered."""
    with FaultServer("none", "none", "goaway_below", "none", tls=True) as server:
        gw = reach(server, http_version="2")
        assert asyncio.run(_burst(gw, 40)) == {"done": 40}
        assert server.executions == 40


def test_a_stray_answer_is_nobodys(reach: MakeGateway) -> None:
    """A second answer behind the first must not be taken for the next call's."""
    with FaultServer("extra_answer", "none") as server:
        gw = reach(server)
        first, second = gw.chat(MODEL, "hello"), gw.chat(MODEL, "hello")
        assert first.text
        assert second.text
        assert (server.executions, server.connections) == (2, 2)


def test_a_redirect_is_not_followed_and_costs_nothing(reach: MakeGateway) -> None:
    with FaultServer("redirect") as server:
        with pytest.raises(SluicewayError) as failed:
            reach(server).chat(MODEL, "hello")
        assert (failed.value.outcome, failed.value.status_code) == ("refused", 307)
        assert server.requests == 1


@contextmanager
def answering(*answers: bytes) -> Iterator[str]:
    """The URL of a server that gives each connection the next answer, and closes it."""
    with socket.create_server(("127.0.0.1", 0)) as listener:

        def serve() -> None:
            for answer in answers:
                client, _ = listener.accept()
                with client:
                    client.settimeout(20)
                    client.recv(65_536)
                    client.sendall(answer)

        thread = threading.Thread(target=serve, daemon=True)
        thread.start()
        yield f"http://127.0.0.1:{listener.getsockname()[1]}"
        thread.join(20)


@pytest.mark.parametrize("status", [302, 303])
def test_a_redirect_to_a_result_is_no_proof_that_nothing_was_done(
    reach_url: MakeGateway, status: int
) -> None:
    """RFC 9110, 15.4.4: 303 is how a POST that was executed points at what it made."""
    answer = b"HTTP/1.1 %d X\r\nLocation: /results/42\r\nContent-Length: 0\r\n\r\n" % status
    with answering(answer) as url, pytest.raises(SluicewayError) as failed:
        reach_url(url).chat(MODEL, "hello")
    assert (failed.value.outcome, failed.value.status_code) == ("in_doubt", status)
    assert failed.value.held > 0


def test_header_bytes_that_are_no_utf_8(reach_url: MakeGateway) -> None:
    """RFC 9110, 5.5: a value may hold any byte from 0x80 on. Nothing is lost over it."""
    broken = b"HTTP/1.1 500 X\r\nx-request-id: \xe9\r\nContent-Length: 0\r\n\r\n"
    whole = (
        b'HTTP/1.1 200 OK\r\nx-request-id: \xe9\xff\r\nDisposition: "caf\xe9.mp3"\r\n'
        b"Plain: caf\xc3\xa9\r\nContent-Length: 2\r\nConnection: close\r\n\r\n{}"
    )
    with answering(broken, whole) as url:
        gw = reach_url(url)
        with pytest.raises(InDoubt) as failed:
            gw.chat(MODEL, "hello")
        assert failed.value.provider_request_id == "\xe9"
        result = gw.raw.post("openai", "/x", json={}, max_cost_usd="0.1")
    assert result.headers["disposition"] == '"caf\xe9.mp3"'
    assert result.headers["plain"] == "caf\xe9"
    assert result.provider_request_id == "\xe9\xff"
    ids = {entry["provider_request_id"] for entry in gw.ledger.entries()}
    assert ids >= {"\xe9", "\xe9\xff"}


def test_a_request_that_cannot_be_made_is_no_failure_of_the_provider(
    reach: MakeGateway,
) -> None:
    with FaultServer("none") as server:
        gw = reach(server)
        with pytest.raises(InvalidRequest) as failed:
            gw.raw.request("a b", "openai", "/x", json={}, max_cost_usd="0.1")
        assert failed.value.outcome == "never_sent"
        assert failed.value.attempts == ()
        assert server.requests == 0


def test_a_closed_gateway_has_no_connections_though_its_results_are_kept(
    reach_url: MakeGateway,
) -> None:
    seen: list[bytes] = []
    with socket.create_server(("127.0.0.1", 0)) as listener:

        def serve() -> None:
            client, _ = listener.accept()
            with client:
                client.settimeout(20)
                seen.append(client.recv(65_536))
                client.sendall(b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\n{}")
                seen.append(client.recv(65_536))

        thread = threading.Thread(target=serve)
        thread.start()
        gw = reach_url(f"http://127.0.0.1:{listener.getsockname()[1]}")
        kept = gw.raw.get("openai", "/x", free=True)
        assert gw.stats()["connections_open"] == 1
        gw.close()
        thread.join(20)
    assert seen[0].startswith(b"GET /x ")
    assert seen[1] == b""  # the end of the connection
    assert kept.json() == {}
