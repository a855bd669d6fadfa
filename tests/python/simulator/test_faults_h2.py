"""HTTP/2: ALPN, multiplexing, flow control, and faults as frames.

"hi" counts 4 tokens; with gpt-4o-mini and 10 output tokens a full answer costs 6,600 nano-dollars.
"""

from __future__ import annotations

import json
import time

import pytest

from sluiceway.simulator import Simulator
from tests.python.simulator.wire import H2, STALL_S

INTERNAL_ERROR, REFUSED_STREAM, CANCEL = 2, 7, 8
FULL = 6_600


def steer(words: str) -> dict[str, str]:
    return {"sluiceway-simulator": f"output_tokens=10 {words}"}


@pytest.mark.parametrize("tls", [True, False])
def test_answers_over_tls_and_with_prior_knowledge(simulator: Simulator, tls: bool) -> None:
    with H2(simulator, tls) as connection:
        for provider in ("openai", "deepseek", "anthropic"):
            whole = connection.chat(provider, "hi", steer(""))
            assert (whole.status, whole.ended) == (200, True)
            assert whole.json["usage"]
            stream = connection.chat(provider, "hi", steer(""), stream=True)
            assert stream.headers["content-type"] == "text/event-stream; charset=utf-8"
            assert stream.ended
    lines = simulator.log()
    assert [line["protocol"] for line in lines] == ["h2"] * 6
    assert lines[0]["billed_nanousd"] == lines[1]["billed_nanousd"] == FULL


@pytest.mark.parametrize(
    ("fault", "code", "executed"),
    [
        ("drop_before", INTERNAL_ERROR, False),
        ("drop_after", INTERNAL_ERROR, True),
        ("refused_stream", REFUSED_STREAM, False),
        ("drop_after h2_error=cancel", CANCEL, True),
    ],
)
def test_resets(simulator: Simulator, fault: str, code: int, executed: bool) -> None:
    with H2(simulator) as connection:
        stream = connection.chat("openai", "hi", steer(f"fault={fault}"))
        assert (stream.status, stream.body, stream.reset) == (0, b"", code)
        # The connection lives on.
        assert connection.chat("openai").status == 200
    line = simulator.log()[0]
    assert (line["executed"], line["status"]) == (executed, None)
    assert line["billed_nanousd"] == (FULL if executed else 0)


def test_cuts(simulator: Simulator) -> None:
    with H2(simulator) as connection:
        stream = connection.chat("openai", "hi", steer("fault=cut_stream"), stream=True)
        assert (stream.status, stream.reset, stream.ended) == (200, INTERNAL_ERROR, False)
        assert stream.body.count(b"data: ") == 6  # the head and half of ten deltas
        chunked = connection.chat("openai", "hi", steer("fault=cut_chunked"))
        assert (chunked.reset, chunked.ended) == (INTERNAL_ERROR, False)
        assert chunked.body
    assert simulator.bill()["total_nanousd"] == 2 * FULL


def test_cut_body_ends_early_and_cleanly(simulator: Simulator) -> None:
    """Content-Length promises more than comes before END_STREAM: malformed (RFC 9113, 8.1.1)."""
    with H2(simulator) as connection:
        sent = connection.send_cut_body(steer("fault=cut_body after_bytes=10"))
    assert sent.declared > 10
    assert sent.received == 10
    assert sent.end_stream


@pytest.mark.parametrize(("fault", "executed"), [("stall_before", False), ("stall_after", True)])
def test_stalls(simulator: Simulator, fault: str, executed: bool) -> None:
    with H2(simulator) as connection:
        stalled = connection.streams[connection.send_chat("openai", "hi", steer(f"fault={fault}"))]
        assert connection.chat("openai").status == 200  # the other stream is answered
        with pytest.raises(TimeoutError):
            connection.run(lambda: stalled.ended or stalled.reset is not None, STALL_S)
    assert simulator.log()[0]["executed"] is executed


def test_streams_are_multiplexed(simulator: Simulator) -> None:
    with H2(simulator) as connection:
        slow = connection.streams[connection.send_chat("openai", "hi", steer("latency_ms=150"))]
        fast = connection.streams[connection.send_chat("openai", "hi", steer(""))]
        connection.run(lambda: fast.ended)
        assert not slow.ended
        connection.run(lambda: slow.ended)


def test_goaway_refuses_what_was_not_executed(simulator: Simulator) -> None:
    with H2(simulator) as connection:
        first = connection.send_chat("openai", "hi", steer("latency_ms=100"))
        second = connection.send_chat("openai", "hi", steer("fault=goaway"))
        connection.run(lambda: connection.goaway_last is not None)
        assert connection.goaway_last == first
        # The valid stream is still answered, then the connection closes.
        connection.run(lambda: connection.closed)
        assert connection.streams[first].ended
        assert not connection.streams[second].ended
    assert [line["executed"] for line in simulator.log()] == [True, False]


def test_goaway_after_the_request_still_answers_it(simulator: Simulator) -> None:
    with H2(simulator) as connection:
        stream_id = connection.send_chat("openai", "hi", steer("fault=goaway executed=true"))
        connection.run(lambda: connection.closed)
        assert connection.goaway_last == stream_id
        assert connection.streams[stream_id].ended
        assert connection.streams[stream_id].json["object"] == "chat.completion"
    assert simulator.log()[0]["billed_nanousd"] == FULL


def test_goaway_on_the_first_stream_covers_nothing(simulator: Simulator) -> None:
    with H2(simulator) as connection:
        connection.send_chat("openai", "hi", steer("fault=goaway"))
        connection.run(lambda: connection.closed)
        assert connection.goaway_last == 0


def test_goaway_never_disowns_an_executed_stream(simulator: Simulator) -> None:
    """A later stream is executed first; the earlier one is refused by itself."""
    with H2(simulator) as connection:
        late = connection.send_chat("openai", "hi", steer("fault=goaway latency_ms=100"))
        done = connection.send_chat("openai", "hi", steer(""))
        connection.run(lambda: connection.closed)
        assert connection.streams[done].ended
        assert connection.goaway_last == done
        assert connection.streams[late].reset == REFUSED_STREAM


def test_large_streams_obey_flow_control(simulator: Simulator) -> None:
    with H2(simulator) as connection:
        words = {"sluiceway-simulator": "output_tokens=16000"}
        stream = connection.chat("openai", "hi", words, stream=True)
        assert stream.ended
        assert len(stream.body) > 65_535 * 10
        assert stream.body.endswith(b"data: [DONE]\n\n")
        long = connection.chat("deepseek", "x" * 500_000, steer(""))
        assert long.json["usage"]["prompt_tokens"] == 125_003


def test_a_reset_by_the_client_stops_the_answer(simulator: Simulator) -> None:
    with H2(simulator) as connection:
        words = steer("token_ms=50 bill=partial")
        stream_id = connection.send_chat("openai", "hi", words, stream=True)
        stream = connection.streams[stream_id]
        connection.run(lambda: stream.body.count(b'"content":"') >= 3)
        connection.h2.reset_stream(stream_id, CANCEL)
        connection.sock.sendall(connection.h2.data_to_send())
        deadline = time.monotonic() + 5
        while len(simulator.log()) < 2 and time.monotonic() < deadline:
            time.sleep(0.01)
        assert connection.chat("openai").status == 200
    lines = simulator.log()
    assert lines[1]["correction"] is True
    assert lines[1]["billed_nanousd"] == 600 * lines[1]["usage"]["output"] < 0


def test_nonsense_closes_the_connection(simulator: Simulator) -> None:
    with H2(simulator) as connection:
        connection.sock.sendall(b"\x00\x00\x01\x06\x00\x00\x00\x00\x00x")  # a PING of one byte
        connection.run(lambda: connection.closed)


def test_bodies_are_json_over_h2_too(simulator: Simulator) -> None:
    with H2(simulator) as connection:
        stream = connection.chat("anthropic", "hi", steer("fault=status status=529"))
        assert stream.status == 529
        assert json.loads(stream.body)["error"]["type"] == "overloaded_error"
        assert stream.headers["x-should-retry"] == "true"
