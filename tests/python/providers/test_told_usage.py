"""Calls that only a cap let through: priced where the usage tells the bill, in doubt where not.

A million tokens, in the shipped prices: gpt-6.1-sol $2 in and $10 out, "ultrafast" six times of it;
claude-opus-5-5 $4 and $20, fast mode twice; gpt-6-luna $0.10 and $0.50, a 12-hour cache write
$0.20; claude-haiku-4-5 $1 and $5, a search $0.01.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from decimal import Decimal
from typing import Any

import pytest

from sluiceway import Gateway, InvalidRequest, UnboundedOperation, UnpricedOperation
from tests.python.providers.kit import Wire

CAP = Decimal("0.50")
Ask = Callable[..., Any]
IN_DOUBT = None


@pytest.fixture
def ask(wire: Wire, monkeypatch: pytest.MonkeyPatch) -> Iterator[Ask]:
    """Asks by gw.chat (or with `raw`, a path, by gw.raw.post) in a budget, for an answer; returns
    the call's cost and what is in doubt."""
    made: list[Gateway] = []
    for provider in ("OPENAI", "ANTHROPIC", "DEEPSEEK"):
        monkeypatch.setenv(f"SLUICEWAY_{provider}_BASE_URL", wire.url)
        monkeypatch.setenv(f"{provider}_API_KEY", "not-a-real-key")

    def ask(
        model: str,
        answer: Mapping[str, Any] | str,
        raw: str = "",
        stream: bool = False,
        cap: Any = CAP,
        **options: Any,
    ) -> tuple[Decimal | None, Decimal]:
        kind = "text/event-stream" if isinstance(answer, str) else "application/json"
        headers = {"x-body": wire.serve(answer, kind)}
        provider, _, name = model.partition("/")
        ledger = {"path": ":memory:", "durability": "memory"}
        gateway = Gateway(
            {"ledger": ledger, "accounts": {provider: {"default": {"headers": headers}}}}
        )
        made.append(gateway)
        with gateway.budget("job:1", usd="9.00") as b:
            if raw:
                body = {"model": name, **options}
                cost = gateway.raw.post(provider, raw, json=body, max_cost_usd=cap).cost
            elif stream:
                cost = gateway.stream(model, "x", max_cost_usd=cap, **options).result().cost
            else:
                cost = gateway.chat(model, "x", max_cost_usd=cap, **options).cost
            assert gateway.ledger.verify()["ok"]
            settled = cost.usd if cost.source in ("table", "provider") else None
            assert b.spent == (settled or 0)
            return settled, b.in_doubt

    yield ask
    for gateway in made:
        gateway.close()


def chat(prompt: int = 1000, output: int = 100, **rest: Any) -> dict[str, Any]:
    """An answer of OpenAI's chat."""
    usage = {"prompt_tokens": prompt, "completion_tokens": output, **rest.pop("usage", {})}
    choice = {"message": {"role": "assistant", "content": "hi"}, "finish_reason": "stop"}
    return {"model": "m", "choices": [choice], "usage": usage, **rest}


def message(**usage: Any) -> dict[str, Any]:
    """An answer of Anthropic's: 1,000 tokens in, 100 out."""
    content = [{"type": "text", "text": "hi"}]
    usage = {"input_tokens": 1000, "output_tokens": 100, **usage}
    return {"type": "message", "content": content, "stop_reason": "end_turn", "usage": usage}


SOL, LUNA = "openai/gpt-6.1-sol", "openai/gpt-6-luna"
OPUS, HAIKU = "anthropic/claude-opus-5-5", "anthropic/claude-haiku-4-5"
WRITES = {"prompt_tokens_details": {"cache_write_tokens": 900}}
FAST = {"extra": {"speed": "fast"}}
SEARCH = {"tools": [{"type": "web_search_20250305", "name": "web_search"}]}
CODE = {"tools": [{"type": "code_execution_20250825", "name": "code_execution"}]}
PICTURE = {
    "role": "user",
    "content": [{"type": "image_url", "image_url": {"url": "https://x.test/a.png"}}],
}
SOL_COST = Decimal("0.003")  # 1,000 at $2 and 100 at $10 a million
LUNA_COST = Decimal("0.00015")

CHATS: dict[str, tuple[str, dict[str, Any], dict[str, Any], str | None]] = {
    # Opus: 0.004 + 0.002, and twice.
    "fast, said": (OPUS, FAST, message(speed="fast"), "0.012"),
    "fast, not said": (OPUS, FAST, message(), "0.012"),
    "fast was not to be had": (OPUS, FAST, message(speed="standard"), "0.006"),
    "fast, no such price": (HAIKU, FAST, message(speed="fast"), IN_DOUBT),
    "fast and us": (
        OPUS,
        {"extra": {"speed": "fast", "inference_geo": "us"}},
        message(speed="fast"),
        IN_DOUBT,
    ),
    "a speed that nobody knows": (OPUS, {"extra": {"speed": "warp"}}, message(), IN_DOUBT),
    "a place that nobody knows": (OPUS, {"extra": {"inference_geo": "mars"}}, message(), IN_DOUBT),
    "a tier that nobody knows": (SOL, {"extra": {"service_tier": "scale"}}, chat(), IN_DOUBT),
    "auto, not said": (SOL, {"extra": {"service_tier": "auto"}}, chat(), IN_DOUBT),
    "auto, said": (
        SOL,
        {"extra": {"service_tier": "auto"}},
        chat(service_tier="priority"),
        "0.006",
    ),
    # 100 at $0.10, 900 at $0.20, 5 at $0.50 a million.
    "kept for 24 hours": (
        LUNA,
        {"extra": {"prompt_cache_retention": "24h"}},
        chat(output=5, usage=WRITES),
        "0.0001925",
    ),
    "kept for 24 hours, nothing written": (
        LUNA,
        {"extra": {"prompt_cache_retention": "24h"}},
        chat(),
        "0.00015",
    ),
    "kept, nobody knows how long": (
        LUNA,
        {"extra": {"prompt_cache_retention": "1y"}},
        chat(),
        IN_DOUBT,
    ),
    "searches that are not counted": (
        LUNA,
        {"extra": {"web_search_options": {}}},
        chat(),
        IN_DOUBT,
    ),
    "a field that nobody knows": (LUNA, {"extra": {"moonshine": 1}}, chat(), IN_DOUBT),
    "a tool of the provider's": (LUNA, {"tools": [{"type": "web_search"}]}, chat(), IN_DOUBT),
    "code in a container": (HAIKU, CODE, message(), IN_DOUBT),
    # 0.001 + 0.0005, and two searches.
    "searches that are counted": (
        HAIKU,
        SEARCH,
        message(server_tool_use={"web_search_requests": 2}),
        "0.0215",
    ),
    "an answer in sound": (
        LUNA,
        {"extra": {"modalities": ["text"], "prediction": {"type": "content", "content": "x"}}},
        chat(),
        "0.00015",
    ),
}


@pytest.mark.parametrize("case", CHATS)
def test_a_chat_settles_at_its_price_or_stays_in_doubt_at_its_cap(ask: Ask, case: str) -> None:
    model, options, answer, usd = CHATS[case]
    wanted = (Decimal(usd), Decimal(0)) if usd else (None, CAP)
    assert ask(model, answer, **options) == wanted


def test_a_picture_is_told_by_its_tokens(ask: Ask) -> None:
    assert ask(LUNA, chat(), raw="/v1/chat/completions", messages=[PICTURE]) == (LUNA_COST, 0)


def test_ultrafast_has_a_price(ask: Ask) -> None:
    """Six times $0.003, and by the tier that served; with a price there is a ceiling, too."""
    wanted = {"extra": {"service_tier": "ultrafast"}}
    for answer in (chat(), chat(service_tier="ultrafast")):
        assert ask(SOL, answer, **wanted) == (6 * SOL_COST, 0)
        assert ask(SOL, answer, cap=None, **wanted) == (6 * SOL_COST, 0)
    assert ask(SOL, chat(service_tier="default"), **wanted) == (SOL_COST, 0)
    with pytest.raises(UnpricedOperation, match="ultrafast"):
        ask(LUNA, chat(), cap=None, **wanted)
    assert ask(LUNA, chat(), **wanted) == (None, CAP)


def test_a_stream_stays_in_doubt_as_well(ask: Ask) -> None:
    chunks = (
        'data: {"choices":[{"delta":{"content":"hi"}}],"usage":null}\n\n'
        'data: {"choices":[{"delta":{},"finish_reason":"stop"}],"usage":null}\n\n'
        'data: {"choices":[],"usage":{"prompt_tokens":1000,"completion_tokens":100}}\n\n'
        "data: [DONE]\n\n"
    )
    assert ask(LUNA, chunks, stream=True, cap=None) == (LUNA_COST, 0)
    options: dict[str, Any] = {"extra": {"web_search_options": {}}}
    assert ask(LUNA, chunks, stream=True, **options) == (None, CAP)


@pytest.mark.parametrize(
    "item",
    [
        "file_search_call",
        "code_interpreter_call",
        "image_generation_call",
        "shell_call",
        "web_search_call",
    ],
)
def test_what_a_response_used_beside_tokens_is_in_doubt(ask: Ask, item: str) -> None:
    usage = {"input_tokens": 1000, "output_tokens": 100}
    text = {"type": "message", "content": [{"type": "output_text", "text": "x"}]}
    answer = {"status": "completed", "output": [{"type": item}, text], "usage": usage}
    assert ask(LUNA, answer, raw="/v1/responses") == (None, CAP)
    for ours in ("function_call", "custom_tool_call", "local_shell_call", "reasoning"):
        answer["output"] = [{"type": ours}, text]
        assert ask(LUNA, answer, raw="/v1/responses") == (LUNA_COST, 0)


def test_raw_reads_the_request_as_chat_does(ask: Ask) -> None:
    path, messages = "/v1/chat/completions", [{"role": "user", "content": "x"}]
    asked: dict[str, Any] = {"raw": path, "messages": messages}
    assert ask(LUNA, chat(), **asked) == (LUNA_COST, 0)
    assert ask(LUNA, chat(), web_search_options={}, **asked) == (None, CAP)
    assert ask(SOL, chat(), service_tier="ultrafast", **asked) == (6 * SOL_COST, 0)
    assert ask(SOL, chat(), service_tier="scale", **asked) == (None, CAP)
    kept = {"prompt_cache_retention": "24h", **asked}
    assert ask(LUNA, chat(output=5, usage=WRITES), **kept) == (Decimal("0.0001925"), 0)
    message_path: dict[str, Any] = {"raw": "/v1/messages", "messages": messages}
    assert ask(OPUS, message(), speed="fast", **message_path) == (Decimal("0.012"), 0)
    assert ask(HAIKU, message(), **CODE, **message_path) == (None, CAP)


def test_a_cap_of_nothing_sends_nothing(ask: Ask, wire: Wire) -> None:
    """What has no price or no bound would count as nothing, whatever it costs."""
    cases: list[tuple[str, dict[str, Any]]] = [
        ("openai/no-such-model", {}),
        (LUNA, {"extra": {"web_search_options": {}}}),
        (LUNA, {"raw": "/v1/videos"}),
    ]
    for model, options in cases:
        for cap in ("0", 0, Decimal("0.00")):
            with pytest.raises(InvalidRequest, match="free=True"):
                ask(model, chat(), cap=cap, **options)
    with pytest.raises(InvalidRequest, match="may cost up to"):
        ask(LUNA, chat(), cap="0")
    with pytest.raises(UnboundedOperation):
        ask(LUNA, chat(), cap=None, extra={"web_search_options": {}})


def test_free_and_a_cap_contradict_each_other(wire: Wire, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SLUICEWAY_OPENAI_BASE_URL", wire.url)
    monkeypatch.setenv("OPENAI_API_KEY", "not-a-real-key")
    headers = {"x-body": wire.serve({"ok": True})}
    with Gateway({"ledger": {"path": ":memory:", "durability": "memory"}}) as gateway:
        asked: dict[str, Any] = {"json": {}, "headers": headers, "free": True}
        for cap in ("5", "0"):
            with pytest.raises(InvalidRequest, match="free=True and max_cost_usd"):
                gateway.raw.post("openai", "/x", max_cost_usd=cap, **asked)
            with pytest.raises(InvalidRequest, match="free=True and max_cost_usd"):
                gateway.raw.stream("POST", "openai", "/x", max_cost_usd=cap, **asked)
        # A cap that a gateway has by default is for what is not free; nothing is held.
        capped = gateway.with_options(max_cost_usd="5")
        with gateway.budget("job:1", usd="0"):
            assert capped.raw.post("openai", "/x", **asked).cost.usd == 0
