"""The fault server by itself: raw sockets and a standard client see what each fault promises."""

from __future__ import annotations

import http.client
import json
import os
import signal
import socket
import ssl
import subprocess
import sys
import urllib.request
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path
from urllib.parse import urlsplit

import pytest

from sluiceway import _core
from sluiceway.simulator import ScriptError
from sluiceway.simulator.faults import FAULTS, PROTOCOLS, FaultServer
from sluiceway.simulator.faults.exchange import PERFORMANCES

_WAIT_S = 10.0


def post(server: FaultServer, path: str = "/any") -> tuple[int, bytes]:
    """One POST on a connection of its own: status and body."""
    parts = urlsplit(server.url)
    connection = http.client.HTTPConnection(str(parts.hostname), parts.port, timeout=_WAIT_S)
    with closing(connection):
        connection.request("POST", path, body=b"{}", headers={"sluiceway-attempt": "c/1"})
        with connection.getresponse() as answer:
            return answer.status, answer.read()


def raw(server: FaultServer, until_s: float = _WAIT_S) -> bytes:
    """Everything that the server says to one POST until it closes, resets or says nothing more."""
    parts = urlsplit(server.url)
    said = b""
    with socket.create_connection((parts.hostname, parts.port), timeout=until_s) as sock:
        sock.sendall(b"POST /any HTTP/1.1\r\nHost: x\r\nContent-Length: 2\r\n\r\n{}")
        try:
            while data := sock.recv(65536):
                said += data
        except ConnectionResetError:
            said += b"<reset>"
        except TimeoutError:
            said += b"<silence>"
    return said


def test_the_table_is_whole() -> None:
    exchange = {fault.name for fault in FAULTS.values() if fault.layer == "exchange"}
    assert exchange == set(PERFORMANCES)
    assert [row["fault"] for row in _core.fault_rows()] == list(FAULTS)
    assert all(set(fault.over) <= set(PROTOCOLS) and fault.text for fault in FAULTS.values())


def test_a_whole_answer_and_what_was_seen() -> None:
    with FaultServer() as server:
        status, body = post(server)
        assert (status, json.loads(body)["ok"]) == (200, True)
        seen = server.seen[0]
        assert (seen.method, seen.path, seen.protocol) == ("POST", "/any", "h1")
        assert (seen.attempt, seen.fault, seen.executed, seen.body) == ("c/1", "none", True, b"{}")
        assert (server.executions, server.requests, server.connections) == (1, 1, 1)


def test_faults_are_used_up_and_the_last_one_stays() -> None:
    with FaultServer("reset_at_accept", "redirect", "drop_before", "none") as server:
        with pytest.raises(ConnectionError):
            post(server)
        assert post(server)[0] == 307
        with pytest.raises(http.client.RemoteDisconnected):
            post(server)
        assert [post(server)[0] for _ in range(2)] == [200, 200]
        assert (server.executions, server.requests, server.connections) == (2, 4, 5)
        server.set({"fault": "status", "status": 503})
        assert post(server)[0] == 503
        server.set()
        assert post(server)[0] == 200


@pytest.mark.parametrize(
    ("fault", "begins", "ends"),
    [
        ("drop_after", b"", b""),
        ("reset_after", b"", b"<reset>"),
        ("stall_after", b"", b"<silence>"),
        ("cut_no_length", b"HTTP/1.1 200 OK\r\n", b""),
        ("no_length", b"HTTP/1.1 200 OK\r\n", b"}"),
        ("reset_body", b"HTTP/1.1 200 OK\r\n", b"<reset>"),
        ("stall_body", b"HTTP/1.1 200 OK\r\n", b"<silence>"),
        ("bad_chunk", b"HTTP/1.1 200 OK\r\n", b"zz\r\n{}\r\n0\r\n\r\n<silence>"),
        ("not_http", b"SSH-2.0", b"\r\n"),
        ("extra_answer", b"HTTP/1.1 200 OK\r\n", b'{"stale": "answer"}<silence>'),
        ("interim", b"HTTP/1.1 103 Early Hints\r\n", b"}<silence>"),
    ],
)
def test_on_the_wire(fault: str, begins: bytes, ends: bytes) -> None:
    with FaultServer(fault) as server:
        said = raw(server, 0.3 if ends.endswith(b"<silence>") else _WAIT_S)
        assert said.startswith(begins)
        assert said.endswith(ends)
        assert (server.executions, server.requests) == (1, 1)


def test_cut_bodies_are_short() -> None:
    with FaultServer("cut_body") as server:
        head, _, body = raw(server).partition(b"\r\n\r\n")
        length = int(head.lower().partition(b"content-length: ")[2].split()[0])
        assert 0 < len(body) < length
    with FaultServer("cut_chunked") as server:
        assert not raw(server).endswith(b"0\r\n\r\n")


def test_nobody_listens_and_nobody_accepts() -> None:
    for fault in ("connect_refused", "connect_hang"):
        with FaultServer(fault) as server:
            parts = urlsplit(server.url)
            expected = TimeoutError if fault == "connect_hang" else ConnectionRefusedError
            with pytest.raises(expected):
                socket.create_connection((parts.hostname, parts.port), timeout=0.2)
            with pytest.raises(ScriptError, match="how the server listens"):
                server.set(fault)


@pytest.mark.parametrize(
    ("fault", "message"),
    [
        ("tls_expired", "certificate has expired"),
        ("tls_wrong_host", "IP address mismatch"),
        ("tls_untrusted", "unable to get local issuer|self.signed"),
        ("tls_not_tls", "(?i)wrong.version.number"),
        ("tls_cut", "(?i)eof"),
        ("tls_reset", "reset"),
    ],
)
def test_tls(fault: str, message: str) -> None:
    with FaultServer(fault, "none", tls=True) as server:
        context = ssl.create_default_context(cafile=server.ca_file)
        opener = urllib.request.build_opener(
            urllib.request.ProxyHandler({}), urllib.request.HTTPSHandler(context=context)
        )
        with pytest.raises(OSError, match=message):
            opener.open(server.url + "/x", timeout=_WAIT_S)
        with opener.open(server.url + "/x", timeout=_WAIT_S) as answer:
            assert answer.status == 200
        assert (server.connections, server.requests) == (2, 1)


def test_a_unix_socket(tmp_path: Path) -> None:
    path = str(tmp_path / "s")
    with FaultServer(unix_socket=path) as server, socket.socket(socket.AF_UNIX) as sock:
        sock.connect(path)
        sock.sendall(b"GET / HTTP/1.1\r\nHost: x\r\n\r\n")
        assert sock.recv(64).startswith(b"HTTP/1.1 200")
        assert server.url == "http://localhost"


def test_unknown_faults_name_the_known_ones() -> None:
    with pytest.raises(ScriptError, match="drop_after"):
        FaultServer("drop_aftr")
    with pytest.raises(ScriptError, match="known"):
        FaultServer({"falt": "status"})


def test_providers_answer_below_their_paths() -> None:
    with FaultServer() as server:
        assert server.base_url("openai").endswith("/openai/v1")
        status, _ = post(server, "/openai/v1/chat/completions")
        assert status == 401  # the simulation's own refusal: no key was sent
        assert server.executions == 0
        with pytest.raises(Exception, match="known: openai"):
            server.base_url("nobody")


@pytest.fixture
def program() -> Iterator[subprocess.Popen[str]]:
    command = [sys.executable, "-P", "-m", "sluiceway.simulator.faults", "drop_after"]
    process = subprocess.Popen(command, stdout=subprocess.PIPE, text=True, env=dict(os.environ))
    yield process
    process.kill()
    process.communicate()


def test_from_a_shell(program: subprocess.Popen[str]) -> None:
    assert program.stdout is not None
    ready = json.loads(program.stdout.readline())
    parts = urlsplit(ready["url"])
    with socket.create_connection((parts.hostname, parts.port), timeout=_WAIT_S) as sock:
        sock.sendall(b"POST / HTTP/1.1\r\nHost: x\r\nContent-Length: 0\r\n\r\n")
        assert sock.recv(64) == b""
    program.send_signal(signal.SIGINT)
    counted = json.loads(program.stdout.readline())
    assert counted == {"connections": 1, "requests": 1, "executions": 1}
    assert program.wait(_WAIT_S) == 0
