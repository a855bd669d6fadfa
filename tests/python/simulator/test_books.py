"""The books: executions by key and attempt, bills, the log's file, tariffs by time of arrival."""

from __future__ import annotations

import datetime
import json
from pathlib import Path

import pytest

import sluiceway.simulator
from sluiceway.simulator import ScriptError, Simulator, SimulatorError
from sluiceway.simulator.books import Books, Entry
from tests.python.simulator.wire import H1

PEAK = datetime.datetime(2026, 11, 18, 2, 30, tzinfo=datetime.UTC).timestamp()


def attempt(call: str, number: int, words: str = "") -> dict[str, str]:
    headers = {"sluiceway-attempt": f"{call}/{number}", "idempotency-key": f"key-{call}"}
    return headers | ({"sluiceway-simulator": words} if words else {})


def test_executions_are_counted_by_key_attempt_and_call(simulator: Simulator) -> None:
    with H1(simulator) as connection:
        connection.chat("openai", "hi", attempt("a", 1, "fault=status status=503"))
        connection.chat("openai", "hi", attempt("a", 2))
        connection.chat("openai", "hi", attempt("b", 1))
        connection.chat("openai", "hi", attempt("b", 1))
        connection.chat("openai", "hi")
    assert simulator.executions() == {
        "total": 4,
        "by_idempotency_key": {"key-a": 1, "key-b": 2},
        "by_attempt": {"a/2": 1, "b/1": 2},
        "by_call": {"a": 1, "b": 2},
    }
    # "hi" counts 4 tokens: 4 * 150 + 16 * 600
    bill = simulator.bill()
    assert bill["by_attempt"] == {"a/1": 0, "a/2": 10_200, "b/1": 20_400}
    assert bill["by_provider"] == {"openai": 40_800}
    assert bill["by_model"] == {"openai/gpt-4o-mini": 40_800}
    assert bill["total_nanousd"] == 40_800
    assert sum(line["billed_nanousd"] for line in simulator.log()) == 40_800
    simulator.reset()
    assert simulator.log() == []
    assert simulator.bill()["total_nanousd"] == 0
    assert simulator.executions()["total"] == 0


def test_a_line_has_everything(simulator: Simulator) -> None:
    with H1(simulator) as connection:
        answer = connection.chat("openai", "hi", attempt("a", 1, "cached_tokens=3"), stream=True)
    (line,) = simulator.log()
    assert {key: line[key] for key in line if key not in ("t", "wall")} == {
        "provider": "openai",
        "model": "gpt-4o-mini",
        "path": "/openai/v1/chat/completions",
        "protocol": "h1",
        "request_id": answer.headers["x-request-id"],
        "attempt": "a/1",
        "idempotency_key": "key-a",
        "executed": True,
        "status": 200,
        "fault": None,
        "stream": True,
        "usage": {
            "input": 1,
            "cache_read": 3,
            "cache_write_5m": 0,
            "cache_write_1h": 0,
            "output": 16,
        },
        "billed_nanousd": 150 + 3 * 75 + 16 * 600,
    }
    assert abs(line["wall"] - datetime.datetime.now().timestamp()) < 60


def test_the_time_of_arrival_sets_deepseeks_tariff() -> None:
    with sluiceway.simulator.start(tls=False, wall_clock=lambda: PEAK) as simulator:
        with H1(simulator) as connection:
            answer = connection.chat("deepseek")
        assert answer.headers["date"] == "Wed, 18 Nov 2026 02:30:00 GMT"
        # 4 * 300 + 16 * 1200 at the peak price
        assert simulator.bill()["total_nanousd"] == 20_400
        assert simulator.log()[0]["wall"] == PEAK
    with sluiceway.simulator.start(tls=False, wall_clock=lambda: PEAK + 3 * 3600) as simulator:
        with H1(simulator) as connection:
            connection.chat("deepseek")
        assert simulator.bill()["total_nanousd"] == 10_200


def test_the_log_file_has_the_line_before_the_answer(tmp_path: Path) -> None:
    path = tmp_path / "log.jsonl"
    with sluiceway.simulator.start(tls=False, log=path) as simulator:
        with H1(simulator) as connection:
            connection.send_chat("openai", "hi", attempt("a", 1, "fault=drop_after"))
            assert connection.closed()
            (line,) = [json.loads(text) for text in path.read_text().splitlines()]
            assert line["billed_nanousd"] == 10_200
        assert simulator.log() == [line]
        simulator.reset()
        assert len(path.read_text().splitlines()) == 1


def test_reading_the_log_from_a_line(simulator: Simulator) -> None:
    with H1(simulator) as connection:
        for number in range(1, 4):
            connection.chat("openai", "hi", attempt("a", number))
        connection.send("/_simulator/log?since=2")
        assert json.loads(connection.read().body)["attempt"] == "a/3"
        connection.send("/_simulator/log?since=x")
        assert connection.read().status == 400
    assert [line["attempt"] for line in simulator.log(1)] == ["a/2", "a/3"]
    assert simulator.log(99) == []


def test_totals_outlive_the_lines_that_are_kept(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("sluiceway.simulator.books.LINES_MAX", 2)
    books = Books(None, lambda: 0.0, lambda: 0.0)
    for amount in (1, 2, 4):
        entry = Entry("openai", "m", "/p", "h1", "r", executed=True, billed_nanousd=amount)
        books.write(entry)
    assert books.total_nanousd == 7
    amounts = [json.loads(line)["billed_nanousd"] for line in books.lines().splitlines()]
    assert amounts == [2, 4]
    assert json.loads(books.lines(2))["billed_nanousd"] == 4


def test_the_admin_endpoints(simulator: Simulator) -> None:
    rules = [{"match": {"nth": 1}, "action": {"fault": "status", "status": 503}}]
    with H1(simulator, tls=True) as connection:
        connection.send("/_simulator/health")
        assert connection.read().json == {"ok": True}
        connection.send("/_simulator/script", rules)
        assert connection.read().json == {"rules": 1}
        assert connection.chat("openai").status == 503
        assert connection.chat("openai").status == 200
        connection.send("/_simulator/script")
        assert connection.read().json == {"matched": [2]}
        connection.send("/_simulator/script", [{"action": {"fault": "x"}}])
        answer = connection.read()
        assert (answer.status, "rule 0" in answer.json["error"]) == (400, True)
        connection.send("/_simulator/bill")
        assert connection.read().json == simulator.bill()
        connection.send("/_simulator/executions")
        assert connection.read().json == simulator.executions()
        connection.send("/_simulator/reset", {})
        assert connection.read().status == 200
        assert connection.chat("openai").status == 503  # the script began again
        connection.send("/_simulator/nothing")
        assert connection.read().status == 404


def test_the_face_says_what_is_wrong(simulator: Simulator) -> None:
    with pytest.raises(ScriptError):
        simulator.script("nonsense")
    with pytest.raises(SimulatorError, match="known: openai, deepseek, anthropic"):
        simulator.base_url("gemini")
    with sluiceway.simulator.start(tls=False) as plain:
        assert (plain.https_url, plain.ca_file) == ("", "")
        with pytest.raises(SimulatorError, match="without TLS"):
            plain.base_url("openai", tls=True)
    plain.close()


def test_the_same_seed_gives_the_same_ids() -> None:
    found = []
    for _ in range(2):
        with (
            sluiceway.simulator.start(tls=False, seed=5) as simulator,
            H1(simulator) as connection,
        ):
            found.append(connection.chat("openai").json["id"])
    assert found[0] == found[1]
