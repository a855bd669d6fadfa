"""Rules, settings and directives: what they match, what they refuse."""

from __future__ import annotations

import random

import pytest

from sluiceway.simulator.errors import ScriptError
from sluiceway.simulator.latency import parse_draw
from sluiceway.simulator.script import Script, Subject, parse_script
from sluiceway.simulator.settings import (
    combine,
    executes_by_default,
    read_directives,
    read_range,
    read_settings,
    read_words,
)


def subject(
    provider: str = "openai",
    model: str = "gpt-4o",
    stream: bool = False,
    protocol: str = "h1",
    attempt_number: int = 1,
) -> Subject:
    path = "/openai/v1/chat/completions"
    return Subject(provider, model, path, stream, protocol, attempt_number)


def one_rule(match: dict[str, object]) -> Script:
    return parse_script([{"match": match, "action": {"fault": "drop_after"}}], 7, 100.0)


def hits(script: Script, subjects: list[Subject], now_s: float = 100.0) -> list[bool]:
    return [bool(script.decide(each, now_s)) for each in subjects]


@pytest.mark.parametrize(
    ("match", "fits"),
    [
        ({}, True),
        ({"provider": "openai"}, True),
        ({"provider": "deepseek"}, False),
        ({"model": "gpt-*"}, True),
        ({"model": "claude-*"}, False),
        ({"path": "*/chat/completions"}, True),
        ({"stream": True}, False),
        ({"stream": False, "protocol": "h1"}, True),
        ({"protocol": "h2"}, False),
        ({"attempt": 1}, True),
        ({"attempt": [2, None]}, False),
    ],
)
def test_static_matching(match: dict[str, object], fits: bool) -> None:
    assert hits(one_rule(match), [subject()]) == [fits]


def test_nth_counts_only_what_else_matches() -> None:
    script = one_rule({"provider": "openai", "nth": "2-3"})
    other, own = subject("deepseek"), subject()
    assert hits(script, [own, other, own, other, own, own]) == [
        False,
        False,
        True,
        False,
        True,
        False,
    ]


def test_times_count_from_the_installation() -> None:
    script = one_rule({"after_s": 2, "until_s": 5})
    assert [hits(script, [subject()], now)[0] for now in (100, 101.9, 102, 104.9, 105)] == [
        False,
        False,
        True,
        True,
        False,
    ]


def test_probability_repeats_with_the_seed_and_is_about_right() -> None:
    first = hits(one_rule({"probability": 0.25}), [subject()] * 4000)
    assert first == hits(one_rule({"probability": 0.25}), [subject()] * 4000)
    assert 900 < sum(first) < 1100  # 1000 expected, sigma 27
    assert not any(hits(one_rule({"probability": 0}), [subject()] * 100))
    assert all(hits(one_rule({"probability": 1}), [subject()] * 100))


def test_a_restart_begins_again() -> None:
    script = one_rule({"nth": 1})
    assert hits(script, [subject(), subject()]) == [True, False]
    assert hits(script.restarted(100.0), [subject(), subject()]) == [True, False]


def test_later_rules_win_key_by_key() -> None:
    rules = [
        {"action": {"latency_ms": 5, "output_tokens": 3}},
        {"action": {"output_tokens": 4}},
    ]
    merged = combine(parse_script(rules, 0, 0.0).decide(subject(), 0.0))
    assert merged.output_tokens == 4
    assert merged.latency_ms == parse_draw(5)


@pytest.mark.parametrize(
    ("rules", "message"),
    [
        ("text", "a script is a list"),
        ([{"match": {}}], "rule 0: action is not an object"),
        ([{"action": {}}, {"action": {}, "extra": 1}], "rule 1: a rule is an object"),
        ([{"match": {"modle": "x"}, "action": {}}], "unknown match key 'modle'"),
        ([{"match": {"provider": "x"}, "action": {}}], "match.provider"),
        ([{"match": {"stream": 1}, "action": {}}], "match.stream"),
        ([{"match": {"probability": 1.5}, "action": {}}], "match.probability"),
        ([{"match": {"nth": 0}, "action": {}}], "match.nth"),
        ([{"match": {"nth": [5, 2]}, "action": {}}], "match.nth"),
        ([{"action": {"fault": "explode"}}], "'explode' is not one of status"),
        ([{"action": {"outptu_tokens": 1}}], "unknown setting 'outptu_tokens'"),
        ([{"action": {"status": 200}}], "status"),
        ([{"action": {"latency_ms": "uniform:9:1"}}], "latency_ms"),
        ([{"action": {"clean": "maybe"}}], "clean"),
        ([{"action": {"output_tokens": -1}}], "output_tokens"),
        ([{"action": {"output_tokens": True}}], "output_tokens"),
    ],
)
def test_malformed_scripts_say_what_is_wrong(rules: object, message: str) -> None:
    with pytest.raises(ScriptError) as caught:
        parse_script(rules, 0, 0.0)
    assert message in str(caught.value)


def test_directives() -> None:
    prompt = (
        "Tell me. [[simulator: output_tokens=128 fault=drop_after]] Now. [[simulator:status=500]]"
    )
    settings = combine(read_directives(prompt))
    assert (settings.output_tokens, settings.fault, settings.status) == (128, "drop_after", 500)
    assert read_directives("nothing here") == {}
    with pytest.raises(ScriptError, match="not key=value"):
        read_directives("[[simulator: loud]]")
    assert read_words("a=1".replace("a", "output_tokens") + ",status=503") == {
        "output_tokens": 1,
        "status": 503,
    }


def test_ranges() -> None:
    assert read_range(3) == (3, 3)
    assert read_range("3") == (3, 3)
    assert read_range("2-5") == (2, 5)
    assert read_range([2, 5]) == (2, 5)
    low, high = read_range("4-")
    assert low == 4
    assert high > 10**9


def test_latency_draws() -> None:
    rng = random.Random(5)
    assert parse_draw("20").seconds(rng) == 0.02
    assert parse_draw(20).seconds(rng) == 0.02
    uniform = [parse_draw("uniform:10:50").seconds(rng) for _ in range(1000)]
    assert min(uniform) >= 0.010
    assert max(uniform) <= 0.050
    assert 0.028 < sum(uniform) / 1000 < 0.032  # mean 0.030, sigma of the mean 0.0004
    lognormal = sorted(parse_draw("lognormal:200:0.5").seconds(rng) for _ in range(2001))
    assert 0.190 < lognormal[1000] < 0.211  # median 0.2, sigma about 0.003
    for wrong in ("fast", "uniform:1", "uniform:a:b", "lognormal:1:2:3", -1, True, None, "inf"):
        with pytest.raises(ScriptError):
            parse_draw(wrong)


@pytest.mark.parametrize(
    ("raw", "executes"),
    [
        ({}, True),
        ({"fault": "drop_before"}, False),
        ({"fault": "stall_before"}, False),
        ({"fault": "goaway"}, False),
        ({"fault": "refused_stream"}, False),
        ({"fault": "drop_after"}, True),
        ({"fault": "cut_stream"}, True),
        ({"fault": "html_error"}, True),
        ({"fault": "status"}, True),  # 500
        ({"fault": "status", "flavour": "requests"}, False),  # 429
        ({"fault": "status", "status": 400}, False),
        ({"fault": "status", "status": 503}, False),
        ({"fault": "status", "status": 529}, False),
        ({"fault": "status", "status": 502}, True),
    ],
)
def test_what_executes_by_default(raw: dict[str, object], executes: bool) -> None:
    assert executes_by_default(combine(read_settings(raw))) is executes
