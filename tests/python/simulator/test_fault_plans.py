"""A fault server plays what was planned or says why not; and HEAD is answered without a body."""

from __future__ import annotations

import http.client
import json
import os
import socket
import subprocess
import sys
from contextlib import closing
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import h2.config
import h2.connection
import h2.events
import pytest

from sluiceway.simulator import ScriptError, Simulator
from sluiceway.simulator.faults import FAULTS, FaultServer

_WAIT_S = 10.0


def ask(server: FaultServer, method: str = "POST", path: str = "/any") -> tuple[int, bytes]:
    parts = urlsplit(server.url)
    connection = http.client.HTTPConnection(str(parts.hostname), parts.port, timeout=_WAIT_S)
    with closing(connection):
        connection.request(method, path)
        with connection.getresponse() as answer:
            return answer.status, answer.read()


H2_ONLY = [
    *("rst_internal", "rst_cancel", "rst_no_error", "rst_calm", "rst_http11", "rst_refused"),
    *("rst_body", "goaway_below", "goaway_above", "goaway_drop", "bad_frame"),
]
H1_ONLY = [
    *("cut_head", "reset_head", "cut_no_length", "no_length", "bad_chunk", "huge_chunk"),
    *("bad_length", "two_lengths", "not_http", "nul_header", "endless_interim", "endless_body"),
    "extra_answer",
]
TLS_ONLY = [
    *("tls_expired", "tls_wrong_host", "tls_untrusted", "tls_not_tls", "tls_cut", "tls_reset"),
    "tls_stall",
]


@pytest.mark.parametrize(
    ("faults", "options", "said"),
    [
        *((name, {}, "HTTP/2 only: give tls=True") for name in H2_ONLY),
        *((name, {"tls": True, "http_version": "1.1"}, "HTTP/2 only") for name in H2_ONLY),
        *((name, {"tls": True, "http_version": "2"}, "HTTP/1.1 only") for name in H1_ONLY),
        *((name, {"http_version": "2"}, "HTTP/1.1 only") for name in H1_ONLY),
        *((name, {}, "give tls=True") for name in TLS_ONLY),
        ("close_at_accept", {"tls": True}, "tls_cut"),
        ("reset_at_accept", {"tls": True}, "tls_reset"),
        ({"fault": "goaway"}, {}, "HTTP/2 only"),
        ({"fault": "refused_stream"}, {"tls": True, "http_version": "1.1"}, "HTTP/2 only"),
        (3, {}, "known: connect_refused"),
        (["none"], {}, "known: connect_refused"),
    ],
)
def test_what_cannot_be_played_is_not_planned(
    faults: Any, options: dict[str, Any], said: str
) -> None:
    with pytest.raises(ScriptError, match=said):
        FaultServer("none", faults, **options)
    with FaultServer("none", **options) as server, pytest.raises(ScriptError, match=said):
        server.set(faults)


def test_the_tables_of_this_test_are_whole() -> None:
    told = {name: fault.over for name, fault in FAULTS.items()}
    assert {name for name, over in told.items() if over == ("h2-tls",)} == set(H2_ONLY)
    assert {name for name, over in told.items() if over == ("h1", "h1-tls")} == set(H1_ONLY)
    assert {name for name, fault in FAULTS.items() if fault.layer == "tls"} == set(TLS_ONLY)


@pytest.mark.parametrize(
    ("options", "said"),
    [
        ({"http_version": "3"}, "'auto', '1.1', '2'"),
        ({"asks_client": True}, "tls=True"),
        ({"delay_s": -1}, "delay_s"),
        ({"delay_s": float("nan")}, "delay_s"),
        ({"streams_max": -1}, "streams_max"),
    ],
)
def test_options_that_contradict(options: dict[str, Any], said: str) -> None:
    with pytest.raises(ScriptError, match=said):
        FaultServer("none", **options)


def test_how_it_listens_is_decided_at_the_start(tmp_path: Path) -> None:
    for name in ("connect_refused", "connect_hang"):
        with pytest.raises(ScriptError, match="how the server listens"):
            FaultServer("none", name)
        with pytest.raises(ScriptError, match="how the server listens"):
            FaultServer(name, unix_socket=str(tmp_path / "s"))


def test_a_request_that_the_fault_does_not_fit_is_told_so() -> None:
    with FaultServer("none", {"fault": "stall_after"}, "none") as server:
        assert ask(server)[0] == 200
        status, body = ask(server)
        assert status == 400
        assert "needs a path below" in json.loads(body)["error"]
        assert ask(server)[0] == 200
        assert [seen.executed for seen in server.seen] == [True, False, True]
    with FaultServer("bad_chunk", "none", http_version="auto") as server:
        stream = H2Stream(server, [(":method", "POST")])
        assert stream.status == 400
        assert b"this request came over HTTP/2" in stream.body
        assert [(seen.fault, seen.executed) for seen in server.seen] == [("bad_chunk", False)]
    with FaultServer("rst_cancel", http_version="2") as server:
        assert H2Stream(server, [(":method", "POST")]).reset == 8  # CANCEL: RFC 9113, 7
        status, body = ask(server)
        assert (status, b"HTTP/1.1" in body) == (400, True)


class H2Stream:
    """One request over HTTP/2 in the clear, by prior knowledge, read to its end."""

    def __init__(self, server: FaultServer | Simulator, fields: list[tuple[str, str]]) -> None:
        parts = urlsplit(server.url if isinstance(server, FaultServer) else server.http_url)
        self.status, self.body, self.reset, self.length = 0, b"", -1, ""
        connection = h2.connection.H2Connection(
            h2.config.H2Configuration(client_side=True, header_encoding="utf-8")
        )
        connection.initiate_connection()
        head = [(":scheme", "http"), (":authority", "x"), (":path", "/any")]
        connection.send_headers(1, [*fields, *head], end_stream=True)
        with socket.create_connection((parts.hostname, parts.port), timeout=_WAIT_S) as sock:
            sock.sendall(connection.data_to_send())
            while True:
                data = sock.recv(65536)
                assert data, "closed before the end of the stream"
                if any(self._ends(event) for event in connection.receive_data(data)):
                    return
                sock.sendall(connection.data_to_send())

    def _ends(self, event: h2.events.Event) -> bool:
        if isinstance(event, h2.events.ResponseReceived):
            headers = {str(name): str(value) for name, value in event.headers}
            self.status, self.length = int(headers[":status"]), headers.get("content-length", "")
        elif isinstance(event, h2.events.DataReceived):
            self.body += event.data or b""
        elif isinstance(event, h2.events.StreamReset):
            self.reset = int(event.error_code)
        return isinstance(event, h2.events.StreamEnded | h2.events.StreamReset)


HEAD = b"HEAD %s HTTP/1.1\r\nHost: x\r\n\r\n"
GET = b"GET %s HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n"


def told(server: FaultServer, *requests: bytes) -> bytes:
    """Everything that is said to these requests on one connection, until it closes."""
    parts, said = urlsplit(server.url), b""
    with socket.create_connection((parts.hostname, parts.port), timeout=_WAIT_S) as sock:
        sock.sendall(b"".join(requests))
        while data := sock.recv(65536):
            said += data
    return said


@pytest.mark.parametrize("fault", ["none", "drip", "not_json", "status"])
def test_an_answer_to_head_is_that_to_get_without_the_body(fault: str) -> None:
    """RFC 9110, 9.3.2: the same fields, and nothing behind them."""
    planned: Any = {"fault": "status", "status": 503} if fault == "status" else fault
    with FaultServer(planned) as server:
        body = ask(server, "GET")[1]
        said = told(server, HEAD % b"/any", GET % b"/any")  # the second must follow at once
        head, again = said.split(b"connection: keep-alive\r\n\r\n")
        assert again.startswith(b"HTTP/1.1 ")
        assert again.endswith(body)
        assert head.endswith(b"content-length: %d\r\n" % len(body))
        status = b"503" if fault == "status" else b"200"
        assert b"HTTP/1.1 " + status in head
        assert [seen.method for seen in server.seen] == ["GET", "HEAD", "GET"]
        over_h2 = H2Stream(server, [(":method", "HEAD")])
        assert (over_h2.status, over_h2.body) == (int(status), b"")
        assert over_h2.length == str(len(body))
    with FaultServer() as server:
        assert ask(server, "HEAD", "/openai/v1/models")[1] == b""
        chunked = told(server, HEAD % b"/openai/v1/chat/completions", GET % b"/any")
        assert chunked.count(b"HTTP/1.1 ") == 2


def test_head_of_the_simulator_itself(simulator: Simulator) -> None:
    parts = urlsplit(simulator.http_url)
    with closing(http.client.HTTPConnection(str(parts.hostname), parts.port)) as connection:
        for method in ("HEAD", "GET", "HEAD"):
            connection.request(method, "/nowhere")
            with connection.getresponse() as answer:
                assert answer.status == 404
                assert (answer.read() == b"") == (method == "HEAD")
    assert H2Stream(simulator, [(":method", "HEAD")]).status == 404


def test_a_plan_from_a_shell() -> None:
    command = [sys.executable, "-P", "-m", "sluiceway.simulator.faults", "--tls"]
    done = subprocess.run(
        [*command, "--http-version", "1.1", "rst_cancel"],
        capture_output=True, text=True, env=dict(os.environ), timeout=60, check=False,
    )  # fmt: skip
    assert (done.returncode, done.stdout) == (2, "")
    assert "'rst_cancel' exists on HTTP/2 only" in done.stderr
