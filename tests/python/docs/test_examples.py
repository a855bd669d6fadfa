"""Every file in examples/ runs against the simulator and says what it should.

Expected figures come from the simulator's rules: 16 output tokens an answer, and a prompt of
ceil(bytes / 4) + 3 tokens; prices from the providers' pages (simulator/tariff.py has the links).
"""

from __future__ import annotations

import runpy
from decimal import Decimal

import pytest

from sluiceway.simulator import Simulator
from tests.python.docs.pages import ROOT

EXAMPLES = {path.stem: path for path in sorted((ROOT / "examples").glob("*.py"))}
Out = pytest.CaptureFixture[str]


def _run(name: str, capsys: Out) -> str:
    runpy.run_path(str(EXAMPLES[name]), run_name="__main__")
    return capsys.readouterr().out


def test_every_example_has_its_test() -> None:
    here = set(globals())
    assert [name for name in EXAMPLES if f"test_{name}" not in here] == []


def test_first_call(reader: Simulator, capsys: Out) -> None:
    said = _run("first_call", capsys)
    assert "served by openai/gpt-6-luna in" in said
    assert "8 tokens in, 16 out" in said  # 17 bytes: 5, and 3 for the message
    assert reader.executions()["total"] == 1
    billed = Decimal(reader.bill()["total_nanousd"]).scaleb(-9)
    assert f"cost ${billed:f} (by the table)" in said


def test_first_call_falls_back(reader: Simulator, capsys: Out) -> None:
    down = {"fault": "status", "status": 503, "retry_after_s": 600}
    reader.script([{"match": {"provider": "openai"}, "action": down}])
    said = _run("first_call", capsys)
    assert "served by anthropic/claude-haiku-5-5" in said


def test_budget(reader: Simulator, capsys: Out) -> None:
    # 4,000 tokens at $0.50 a million are $0.0020 an answer, and 4,096 a ceiling of some $0.0021.
    reader.script([{"match": {}, "action": {"output_tokens": 4000}}])
    said = _run("budget", capsys)
    assert "line 4: $0.0020" in said
    assert "line 5: refused, it could cost $0.002" in said
    assert reader.executions()["total"] == 4
    billed = Decimal(reader.bill()["total_nanousd"]).scaleb(-9)
    assert f"spent ${billed:f} of $0.010000000" in said
    assert billed <= Decimal("0.01")


def test_stream(reader: Simulator, capsys: Out) -> None:
    said = _run("stream", capsys)
    assert said.startswith("the river runs slowly past old mills")
    assert "\n16 tokens, $" in said
    assert [line["stream"] for line in reader.log()] == [True]


def test_async_fan_out(reader: Simulator, capsys: Out) -> None:
    said = _run("async_fan_out", capsys)
    assert "100 answers, 0 errors, $" in said
    assert reader.executions()["total"] == 100


def test_guarded_function(reader: Simulator, capsys: Out) -> None:
    assert _run("guarded_function", capsys) == "The title of /rivers\nthe breaker is closed\n"
    assert reader.executions()["total"] == 0


def test_video_components(reader: Simulator, capsys: Out) -> None:
    # 4,000 tokens at $0.50 a million are $0.0020 an answer; the voice's $0.004 has room for one,
    # for the second could cost some $0.0021. With $0.009 for rendering it is $0.0130 of $0.0200.
    reader.script([{"match": {}, "action": {"output_tokens": 4000}}])
    said = _run("video_components", capsys)
    assert "video:42#voice is full; $0.0020" in said
    assert "warn: video:42 has spent $0.0130" in said
    assert "script: $0.0020" in said
    assert ", 15%, good" in said
    assert "processing: $0.009000000, 69%, excellent" in said
    assert "video:42: $0.0130" in said
    assert reader.executions()["total"] == 2


def test_wallets(reader: Simulator, capsys: Out) -> None:
    # As in test_budget: four answers of $0.0020 fit into $0.01, the fifth's ceiling does not.
    reader.script([{"match": {}, "action": {"output_tokens": 4000}}])
    said = _run("wallets", capsys)
    assert "topped up once: $0.010000000" in said
    assert "call 5 could cost $0.002" in said
    billed = Decimal(reader.bill()["total_nanousd"]).scaleb(-9)
    assert f"left: ${Decimal('0.01') - billed:f}" in said
    assert "another video needs 50 credits" in said
    # 105 of 100 and 20 are taken from the month first; 10 come back, 5 of them topped up.
    assert "spend: -100.000 monthly (a long video)" in said
    assert "spend: -5.000 topped_up (a long video)" in said
    assert "refund: +5.000 topped_up (the last scene was missing)" in said
    assert "this month: 95.000 used, 5.000 of 100.000 left" in said
    assert "balance: 25.000 credits" in said


def test_thousand_videos(reader: Simulator, capsys: Out) -> None:
    said = _run("thousand_videos", capsys)  # against a simulator of its own
    assert "videos over $3.00: 0" in said
    assert "over the day: False" in said
    dearest = Decimal(said.partition("dearest video cost $")[2].partition(";")[0])
    assert Decimal("2.75") < dearest <= 3  # some came to their own limit, $0.24 a scene
    billed = Decimal(said.partition("billed $")[2].partition(" ")[0].replace(",", ""))
    assert Decimal(145) < billed <= Decimal(150)  # almost all of it could be used
    shares = {
        line.split(":")[0].strip(): Decimal(line.split(":")[1].strip().rstrip("%"))
        for line in said.splitlines()[-5:]
    }
    assert sum(shares.values()) == pytest.approx(100, abs=1)  # five rounded figures
    assert shares["exceeded"] == 0
    assert all(shares[status] > 0 for status in ("excellent", "good", "warning", "critical"))
    assert reader.executions()["total"] == 0
