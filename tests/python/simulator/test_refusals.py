"""What the providers refuse by themselves, and scripted errors: bodies, headers, no bill."""

from __future__ import annotations

import json
import re
from email.utils import parsedate_to_datetime
from typing import Any

import pytest

from sluiceway.simulator import Simulator
from tests.python.simulator.wire import H1, PATHS, Answer, chat_body, key_headers

ALL = ["openai", "deepseek", "anthropic"]


def post(simulator: Simulator, provider: str, body: object, headers: dict[str, str]) -> Answer:
    with H1(simulator) as connection:
        connection.send(PATHS[provider], body, headers)
        return connection.read()


def scripted(simulator: Simulator, provider: str, words: str) -> Answer:
    headers = {**key_headers(provider), "sluiceway-simulator": words}
    return post(simulator, provider, chat_body(provider), headers)


def error_type(provider: str, answer: Answer) -> str:
    body = answer.json
    if provider == "anthropic":
        assert body["type"] == "error"
        assert body["request_id"] == answer.headers["request-id"]
    else:
        assert set(body["error"]) == {"message", "type", "param", "code"}
    kind = body["error"]["type"]
    assert isinstance(kind, str)
    return kind


@pytest.mark.parametrize("provider", ALL)
@pytest.mark.parametrize("key", ["bad-key", ""])
def test_keys(simulator: Simulator, provider: str, key: str) -> None:
    answer = post(simulator, provider, chat_body(provider), key_headers(provider, key))
    assert answer.status == 401
    expected = {"openai": "invalid_request_error"}.get(provider, "authentication_error")
    assert error_type(provider, answer) == expected
    (line,) = simulator.log()
    assert (line["executed"], line["billed_nanousd"], line["status"]) == (False, 0, 401)


def test_openai_shows_a_masked_key(simulator: Simulator) -> None:
    headers = key_headers("openai", "bad-simulated-secret-1234")
    answer = post(simulator, "openai", chat_body("openai"), headers)
    assert b"simulated-secret" not in answer.body
    assert answer.json["error"]["code"] == "invalid_api_key"
    log = json.dumps(simulator.log())
    assert "secret" not in log


def test_anthropic_wants_a_version(simulator: Simulator) -> None:
    answer = post(simulator, "anthropic", chat_body("anthropic"), {"x-api-key": "k"})
    assert (answer.status, error_type("anthropic", answer)) == (400, "invalid_request_error")
    bearer = {"authorization": "Bearer k", "anthropic-version": "2023-06-01"}
    assert post(simulator, "anthropic", chat_body("anthropic"), bearer).status == 200


@pytest.mark.parametrize(
    ("provider", "status", "kind"),
    [
        ("openai", 404, "invalid_request_error"),
        ("deepseek", 400, "invalid_request_error"),
        ("anthropic", 404, "not_found_error"),
    ],
)
def test_unknown_models(simulator: Simulator, provider: str, status: int, kind: str) -> None:
    body = chat_body(provider, model="nonexistent")
    answer = post(simulator, provider, body, key_headers(provider))
    assert (answer.status, error_type(provider, answer)) == (status, kind)
    if provider == "openai":
        assert answer.json["error"]["code"] == "model_not_found"


@pytest.mark.parametrize("provider", ALL)
@pytest.mark.parametrize(
    "change",
    [
        {"model": None},
        {"model": 5},
        {"messages": None},
        {"messages": "hi"},
        {"messages": []},
        {"messages": ["hi"]},
        {"messages": [{"content": "hi"}]},
        {"messages": [{"role": "wizard", "content": "hi"}]},
        {"messages": [{"role": "user", "content": 5}]},
        {"max_tokens": "many"},
        {"max_tokens": -1},
        {"max_tokens": 10_000_000},
        {"stream": "yes"},
        {"temperature": 3},
    ],
)
def test_invalid_requests(simulator: Simulator, provider: str, change: dict[str, object]) -> None:
    answer = post(simulator, provider, chat_body(provider) | change, key_headers(provider))
    assert answer.status == 400, answer.body
    assert error_type(provider, answer) == "invalid_request_error"
    assert simulator.bill()["total_nanousd"] == 0


def test_what_each_provider_minds(simulator: Simulator) -> None:
    def refused(provider: str, **change: Any) -> Any:
        answer = post(simulator, provider, chat_body(provider, **change), key_headers(provider))
        assert answer.status == 400
        return answer.json["error"]

    error = refused("openai", model="gpt-6-luna", max_tokens=5)
    assert (error["code"], error["param"]) == ("unsupported_parameter", "max_tokens")
    assert refused("openai", shiny=True)["code"] == "unknown_parameter"
    assert "stream_options" in refused("openai", stream_options={})["message"]
    assert refused("anthropic", shiny=True)["message"] == "shiny: Extra inputs are not permitted"
    without = chat_body("anthropic")
    del without["max_tokens"]
    answer = post(simulator, "anthropic", without, key_headers("anthropic"))
    assert answer.json["error"]["message"] == "max_tokens: Field required"
    media = [{"role": "user", "content": [{"type": "image_url"}]}]
    assert "deserialize" in refused("deepseek", messages=media)["message"]


@pytest.mark.parametrize("provider", ALL)
def test_broken_json_and_wrong_paths(simulator: Simulator, provider: str) -> None:
    with H1(simulator) as connection:
        raw = b'{"model": '
        head = f"POST {PATHS[provider]} HTTP/1.1\r\nhost: h\r\ncontent-length: {len(raw)}\r\n"
        lines = "".join(f"{name}: {value}\r\n" for name, value in key_headers(provider).items())
        connection.sock.sendall((head + lines + "\r\n").encode() + raw)
        assert connection.read().status == 400
        connection.send(PATHS[provider], headers=key_headers(provider))
        assert connection.read().status == 405
        connection.send(PATHS[provider] + "/more", {}, key_headers(provider))
        assert connection.read().status == 404
        connection.send("/elsewhere")
        assert connection.read().status == 404
        nested = b"[" * 200_000
        head = f"POST {PATHS[provider]} HTTP/1.1\r\nhost: h\r\ncontent-length: {len(nested)}\r\n"
        connection.sock.sendall((head + lines + "\r\n").encode() + nested)
        assert connection.read().status == 400


def test_too_long_a_prompt(simulator: Simulator) -> None:
    # 4 * 128,000 bytes are 128,000 tokens, and 3 for the message.
    long = "a" * 512_000
    openai = post(simulator, "openai", chat_body("openai", long), key_headers("openai"))
    assert openai.json["error"]["code"] == "context_length_exceeded"
    body = chat_body("anthropic", "a" * 800_000, model="claude-haiku-4-5")
    anthropic = post(simulator, "anthropic", body, key_headers("anthropic"))
    message = anthropic.json["error"]["message"]
    assert message == "prompt is too long: 200003 tokens > 200000 maximum"
    body = chat_body("deepseek", "a" * 4_000_000)
    deepseek = post(simulator, "deepseek", body, key_headers("deepseek"))
    assert (deepseek.status, deepseek.headers["content-type"]) == (400, "application/octet-stream")


@pytest.mark.parametrize(
    ("provider", "words", "status", "kind", "code"),
    [
        ("openai", "status=429", 429, "requests", "rate_limit_exceeded"),
        ("openai", "flavour=requests", 429, "requests", "rate_limit_exceeded"),
        ("openai", "flavour=tokens", 429, "tokens", "rate_limit_exceeded"),
        ("openai", "flavour=too_large", 429, "tokens", "rate_limit_exceeded"),
        ("openai", "flavour=insufficient_quota", 429, "insufficient_quota", "insufficient_quota"),
        (
            "openai",
            "flavour=spend_limit",
            429,
            "insufficient_quota",
            "organization_spend_limit_exceeded",
        ),
        ("openai", "status=403", 403, "request_forbidden", "unsupported_country_region_territory"),
        ("openai", "status=500", 500, "server_error", None),
        ("openai", "status=503", 503, "service_unavailable_error", "server_is_overloaded"),
        ("openai", "status=418", 418, "invalid_request_error", None),
        ("deepseek", "status=402", 402, "unknown_error", "invalid_request_error"),
        ("deepseek", "flavour=insufficient_quota", 402, "unknown_error", "invalid_request_error"),
        ("deepseek", "status=429", 429, "rate_limit_error", "invalid_request_error"),
        (
            "deepseek",
            "status=503",
            503,
            "service_unavailable_error",
            "service_unavailable_error",
        ),
        ("anthropic", "status=429", 429, "rate_limit_error", None),
        ("anthropic", "flavour=insufficient_quota", 400, "invalid_request_error", None),
        ("anthropic", "flavour=spend_limit status=400", 400, "invalid_request_error", None),
        ("anthropic", "status=402", 402, "billing_error", None),
        ("anthropic", "status=500", 500, "api_error", None),
        ("anthropic", "status=504", 504, "timeout_error", None),
        ("anthropic", "status=529", 529, "overloaded_error", None),
    ],
)
def test_scripted_errors_have_the_real_bodies(
    simulator: Simulator, provider: str, words: str, status: int, kind: str, code: str | None
) -> None:
    answer = scripted(simulator, provider, f"fault=status {words}")
    assert (answer.status, error_type(provider, answer)) == (status, kind)
    assert answer.json["error"].get("code") == code
    (line,) = simulator.log()
    executed = status in (500, 502, 504)
    assert (line["executed"], line["status"], line["fault"]) == (executed, status, "status")
    assert (line["billed_nanousd"] > 0) is executed


def test_flavours_that_must_not_be_retried_say_so(simulator: Simulator) -> None:
    too_large = scripted(simulator, "openai", "fault=status flavour=too_large").json["error"]
    assert too_large["message"].startswith("Request too large for gpt-4o-mini")
    spend = scripted(simulator, "anthropic", "fault=status flavour=spend_limit")
    assert spend.status == 429
    details = spend.json["error"]["details"]
    assert details == {"error_code": "enforced_spend_limit_reached"}
    assert "retry-after" not in spend.headers
    edge = scripted(simulator, "anthropic", "fault=status status=413").json
    assert set(edge) == {"error"}


def test_retry_after_in_every_form(simulator: Simulator) -> None:
    def header(words: str, name: str = "retry-after", provider: str = "openai") -> str | None:
        answer = scripted(simulator, provider, f"fault=status status=429 retry_after_s=20 {words}")
        stated = answer.headers.get(name)
        if stated is not None and "GMT" in answer.headers["date"]:
            sent_s = parsedate_to_datetime(answer.headers["date"]).timestamp()
            if not stated.isdigit() and "retry_after_form=asctime" not in words:
                ahead_s = parsedate_to_datetime(stated).timestamp() - sent_s
                assert 20 <= ahead_s <= 21
        return stated

    assert header("") == "20"
    assert header("retry_after_form=none") is None
    assert header("retry_after_form=ms", "retry-after-ms") == "20000"
    assert header("retry_after_form=ms") is None
    imf = header("retry_after_form=date")
    assert imf is not None
    assert re.fullmatch(r"\w{3}, \d\d \w{3} \d{4} \d\d:\d\d:\d\d GMT", imf)
    rfc850 = header("retry_after_form=rfc850")
    assert rfc850 is not None
    assert re.fullmatch(r"\w+day, \d\d-\w{3}-\d\d \d\d:\d\d:\d\d GMT", rfc850)
    asctime = header("retry_after_form=asctime")
    assert asctime is not None
    assert re.fullmatch(r"\w{3} \w{3} [ \d]\d \d\d:\d\d:\d\d \d{4}", asctime)
    assert header("", provider="anthropic") == "20"


def test_rate_limit_headers_on_errors(simulator: Simulator) -> None:
    openai = scripted(simulator, "openai", "fault=status status=429 reset_s=360").headers
    assert openai["x-ratelimit-remaining-requests"] == "0"
    assert openai["x-ratelimit-reset-requests"] == "6m0s"
    tokens = scripted(simulator, "openai", "fault=status flavour=tokens reset_s=0.012").headers
    assert tokens["x-ratelimit-remaining-tokens"] == "0"
    assert tokens["x-ratelimit-reset-tokens"] == "12ms"
    bare = scripted(simulator, "openai", "fault=status status=429 rate_headers=false").headers
    assert not [name for name in bare if name.startswith(("x-ratelimit", "retry-after"))]
    claude = scripted(simulator, "anthropic", "fault=status status=429 reset_s=37").headers
    assert claude["x-should-retry"] == "true"
    assert claude["anthropic-ratelimit-input-tokens-remaining"] == "0"
    reset = claude["anthropic-ratelimit-requests-reset"]
    assert re.fullmatch(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\dZ", reset)
    deepseek = scripted(simulator, "deepseek", "fault=status status=429").headers
    assert not [name for name in deepseek if "ratelimit" in name or "retry" in name]


def test_retry_after_on_a_200(simulator: Simulator) -> None:
    answer = scripted(simulator, "anthropic", "retry_after_s=58")
    assert (answer.status, answer.headers["retry-after"]) == (200, "58")


def test_html_instead_of_json(simulator: Simulator) -> None:
    answer = scripted(simulator, "deepseek", "fault=html_error status=503 bill=none")
    assert (answer.status, answer.headers["content-type"]) == (503, "text/html")
    assert answer.body.startswith(b"<html>")
    (line,) = simulator.log()
    assert (line["executed"], line["billed_nanousd"]) == (True, 0)
    assert scripted(simulator, "openai", "fault=html_error").status == 502
    assert simulator.log()[1]["billed_nanousd"] > 0


def test_a_directive_that_nobody_knows_is_refused(simulator: Simulator) -> None:
    answer = scripted(simulator, "openai", "fault=explode")
    assert answer.status == 400
    assert "explode" in answer.json["error"]["message"]


def test_executed_and_bill_can_be_set(simulator: Simulator) -> None:
    def line(words: str) -> tuple[bool, int]:
        simulator.reset()
        scripted(simulator, "openai", f"fault=status output_tokens=10 {words}")
        (entry,) = simulator.log()
        return entry["executed"], entry["billed_nanousd"]

    # "hi" counts 1 + 3 = 4 tokens: 4 * 150 + 10 * 600 nano-dollars
    assert line("status=500") == (True, 6_600)
    assert line("status=500 bill=none") == (True, 0)
    assert line("status=500 bill=partial") == (True, 600)
    assert line("status=500 executed=false") == (False, 0)
    assert line("status=429") == (False, 0)
    assert line("status=429 executed=true") == (True, 6_600)
