"""Faults on HTTP/1.1, seen as bytes, and what the books say about each.

"hi" counts 1 + 3 = 4 tokens. gpt-4o-mini: 150 nano-dollars an input token, 600 an output token, so
a full answer of 10 tokens costs 4 * 150 + 10 * 600 = 6,600.
"""

from __future__ import annotations

import json
import time
from typing import Any

import pytest

from sluiceway.simulator import Simulator
from tests.python.simulator.wire import H1, STALL_S, Answer

FULL = 6_600
PROVIDERS = ["openai", "deepseek", "anthropic"]


def steer(words: str) -> dict[str, str]:
    return {"sluiceway-simulator": f"output_tokens=10 {words}"}


def only_line(simulator: Simulator) -> dict[str, Any]:
    (line,) = simulator.log()
    return line


def chat(simulator: Simulator, words: str, tls: bool = False, **more: object) -> Answer:
    with H1(simulator, tls) as connection:
        return connection.chat("openai", "hi", steer(words), **more)


@pytest.mark.parametrize("tls", [False, True])
@pytest.mark.parametrize(
    ("fault", "executed", "billed"),
    [
        ("drop_before", False, 0),
        ("drop_after", True, FULL),
        ("goaway", False, 0),
        ("refused_stream", False, 0),
    ],
)
@pytest.mark.parametrize("stream", [False, True])
def test_drops(
    simulator: Simulator, tls: bool, fault: str, executed: bool, billed: int, stream: bool
) -> None:
    with H1(simulator, tls) as connection:
        connection.send_chat("openai", "hi", steer(f"fault={fault}"), stream=stream)
        assert connection.closed()
    line = only_line(simulator)
    assert (line["executed"], line["billed_nanousd"]) == (executed, billed)
    assert (line["status"], line["fault"], line["stream"]) == (None, fault, stream)


def test_a_drop_with_reset(simulator: Simulator) -> None:
    with H1(simulator) as connection:
        connection.send_chat("openai", "hi", steer("fault=drop_after reset=true"))
        with pytest.raises(ConnectionResetError):
            connection.sock.recv(1)


@pytest.mark.parametrize(
    ("fault", "executed", "billed"), [("stall_before", False, 0), ("stall_after", True, FULL)]
)
def test_stalls(simulator: Simulator, fault: str, executed: bool, billed: int) -> None:
    with H1(simulator) as connection:
        connection.send_chat("openai", "hi", steer(f"fault={fault}"))
        assert not connection.closed(STALL_S)
        # The bill is there although nothing was answered.
        line = only_line(simulator)
    assert (line["executed"], line["billed_nanousd"]) == (executed, billed)


def test_cut_body(simulator: Simulator) -> None:
    whole = chat(simulator, "")
    cut = chat(simulator, "fault=cut_body")
    assert (cut.status, cut.whole) == (200, False)
    assert int(cut.headers["content-length"]) == len(whole.body)
    assert len(cut.body) == len(whole.body) // 2
    assert len(chat(simulator, "fault=cut_body after_bytes=7").body) == 7
    nearly = chat(simulator, "fault=cut_body after_bytes=1000000")
    assert (nearly.whole, len(nearly.body)) == (False, len(whole.body) - 1)
    assert [line["billed_nanousd"] for line in simulator.log()] == [FULL] * 4


def test_cut_chunked(simulator: Simulator) -> None:
    cut = chat(simulator, "fault=cut_chunked")
    assert cut.headers["transfer-encoding"] == "chunked"
    assert not cut.whole
    assert cut.body
    with pytest.raises(json.JSONDecodeError):
        json.loads(cut.body)


@pytest.mark.parametrize("provider", PROVIDERS)
def test_cut_stream(simulator: Simulator, provider: str) -> None:
    with H1(simulator) as connection:
        words = steer("fault=cut_stream after_events=5")
        answer = connection.chat(provider, "hi", words, stream=True)
    assert not answer.whole
    assert len(answer.events) == 5
    line = only_line(simulator)
    assert line["usage"]["output"] == 10  # the worst case: billed in full
    assert line["executed"]


def test_cut_stream_that_looks_whole(simulator: Simulator) -> None:
    answer = chat(simulator, "fault=cut_stream clean=true after_events=3", stream=True)
    assert answer.whole
    assert len(answer.events) == 3
    assert "[DONE]" not in answer.events[-1]


def test_partial_bills_what_was_produced(simulator: Simulator) -> None:
    # one event before the deltas, then three deltas: 4 * 150 + 3 * 600
    chat(simulator, "fault=cut_stream after_events=4 bill=partial", stream=True)
    line = only_line(simulator)
    assert (line["billed_nanousd"], line["usage"]["output"]) == (2_400, 3)
    chat(simulator, "fault=cut_stream after_events=4 bill=none", stream=True)
    assert simulator.log()[1]["billed_nanousd"] == 0


def test_stall_in_a_stream(simulator: Simulator) -> None:
    with H1(simulator) as connection:
        words = steer("fault=stall_stream after_events=2")
        connection.send_chat("openai", "hi", words, stream=True)
        connection.sock.settimeout(STALL_S)
        received = b""
        while received.count(b"\n\n") < 2:
            received += connection.sock.recv(65536)
        with pytest.raises(TimeoutError):
            connection.sock.recv(65536)
    assert received.count(b"data: ") == 2
    assert only_line(simulator)["billed_nanousd"] == FULL


@pytest.mark.parametrize("provider", PROVIDERS)
@pytest.mark.parametrize("deltas", [0, 2])
def test_error_in_a_stream(simulator: Simulator, provider: str, deltas: int) -> None:
    with H1(simulator) as connection:
        words = steer(f"fault=error_in_stream after_deltas={deltas}")
        answer = connection.chat(provider, "hi", words, stream=True)
    assert (answer.status, answer.whole) == (200, True)
    *before, error = answer.data
    if provider == "anthropic":
        assert answer.events[-1].startswith("event: error\n")
        assert error["type"] == "error"
        assert error["error"] == {
            "details": None,
            "type": "overloaded_error",
            "message": "Overloaded",
        }
        found = [event for event in before if event["type"] == "content_block_delta"]
        assert before[0]["type"] == "message_start"
    else:
        assert error["error"]["type"] == "service_unavailable_error"
        found = [event for event in before if event["choices"][0]["delta"].get("content")]
    assert len(found) == deltas
    assert "[DONE]" not in answer.body.decode()
    line = only_line(simulator)
    assert (line["executed"], line["usage"]["output"]) == (True, 10)


def test_errors_in_streams_by_kind(simulator: Simulator) -> None:
    words = "fault=error_in_stream stream_error=rate_limit after_events=0"
    answer = chat(simulator, words, stream=True)
    (only,) = answer.data
    assert only["error"]["code"] == "rate_limit_exceeded"
    whole = chat(simulator, "fault=error_in_stream")
    assert whole.status == 500


def test_slow_drip(simulator: Simulator) -> None:
    started = time.monotonic()
    answer = chat(simulator, "fault=slow_drip drip_bytes=100 drip_ms=10")
    assert answer.json["object"] == "chat.completion"
    pieces = -(-len(answer.body) // 100)
    assert time.monotonic() - started >= (pieces - 1) * 0.010
    stream = chat(simulator, "fault=slow_drip drip_bytes=1000 drip_ms=1", stream=True)
    assert stream.events[-1] == "data: [DONE]"


def test_bad_json(simulator: Simulator) -> None:
    answer = chat(simulator, "fault=bad_json")
    assert (answer.status, answer.whole) == (200, True)
    with pytest.raises(json.JSONDecodeError):
        json.loads(answer.body)
    assert only_line(simulator)["billed_nanousd"] == FULL
    stream = chat(simulator, "fault=bad_json", stream=True)
    with pytest.raises(json.JSONDecodeError):
        _ = stream.data


def test_latency_and_time_per_token(simulator: Simulator) -> None:
    started = time.monotonic()
    chat(simulator, "latency_ms=80")
    assert time.monotonic() - started >= 0.080
    started = time.monotonic()
    answer = chat(simulator, "token_ms=10", stream=True)
    assert time.monotonic() - started >= 0.100  # ten tokens
    assert len(answer.events) == 13
    assert len(simulator.log()) == 2


def test_faults_on_one_attempt_only(simulator: Simulator) -> None:
    words = {"sluiceway-simulator": "fault=status status=503 on_attempt=1"}
    with H1(simulator) as connection:
        for number, status in ((1, 503), (2, 200)):
            headers = {**words, "sluiceway-attempt": f"call/{number}"}
            assert connection.chat("openai", "hi", headers).status == status


def test_a_client_that_leaves_pays_in_full_or_for_its_part(simulator: Simulator) -> None:
    found: list[dict[str, Any]] = []
    for bill, lines in (("full", 1), ("partial", 2)):
        simulator.reset()
        with H1(simulator) as connection:
            words = steer(f"token_ms=50 bill={bill}")
            connection.send_chat("openai", "hi", words, stream=True)
            seen = b""
            while seen.count(b'"content":"') < 4:  # the head and three deltas
                seen += connection.sock.recv(65536)
        deadline = time.monotonic() + 5
        while len(simulator.log()) < lines and time.monotonic() < deadline:
            time.sleep(0.01)
        found = simulator.log()
        assert len(found) == lines
        assert found[0]["billed_nanousd"] == FULL
    correction = found[1]
    assert correction["correction"] is True
    assert not correction["executed"]
    given_back = -correction["usage"]["output"]
    assert 1 <= given_back <= 7
    assert correction["billed_nanousd"] == -600 * given_back
    assert simulator.bill()["total_nanousd"] == FULL - 600 * given_back
    assert simulator.executions()["total"] == 1


def test_connections_are_kept_and_closed(simulator: Simulator) -> None:
    with H1(simulator) as connection:
        for _ in range(3):
            assert connection.chat("openai", "hi").headers["connection"] == "keep-alive"
        connection.send_chat("openai", "hi", {"connection": "close"})
        assert connection.read().headers["connection"] == "close"
        assert connection.closed()
    with H1(simulator) as connection:
        answer = connection.chat("openai", "hi", steer("close_after=true"))
        assert (answer.status, answer.headers["connection"]) == (200, "keep-alive")
        assert connection.closed()


def test_pipelined_requests_are_answered_in_order(simulator: Simulator) -> None:
    with H1(simulator) as connection:
        for tokens, latency in ((3, 50), (2, 0), (1, 0)):
            words = {"sluiceway-simulator": f"output_tokens={tokens} latency_ms={latency}"}
            connection.send_chat("openai", "hi", words)
        counts = [connection.read().json["usage"]["completion_tokens"] for _ in range(3)]
    assert counts == [3, 2, 1]


def test_expect_continue_and_malformed_requests(simulator: Simulator) -> None:
    with H1(simulator) as connection:
        head = "POST /openai/v1/chat/completions HTTP/1.1\r\nhost: h\r\nexpect: 100-continue\r\n"
        connection.sock.sendall(f"{head}content-length: 2\r\n\r\n".encode())
        assert connection.read_interim() == b"HTTP/1.1 100 Continue"
        connection.sock.sendall(b"{}")
        assert connection.read().status == 401
    with H1(simulator) as connection:
        connection.sock.sendall(b"NONSENSE\r\n\r\n")
        assert connection.read().status == 400
        assert connection.closed()


def test_a_slow_reader_gets_everything(simulator: Simulator) -> None:
    with H1(simulator) as connection:
        words = {"sluiceway-simulator": "output_tokens=20000"}
        connection.send_chat("openai", "hi", words, stream=True, max_tokens=16_000)
        # Five megabytes do not fit into the socket's buffers; others are served meanwhile.
        with H1(simulator) as other:
            for _ in range(20):
                assert other.chat("openai").status == 200
        answer = connection.read()
    assert answer.whole
    assert answer.data[-1]["choices"][0]["finish_reason"] == "length"
    assert len(answer.data) == 16_002
