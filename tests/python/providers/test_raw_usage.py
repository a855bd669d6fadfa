"""Raw calls to operations without a verb: usage is read by the operation's own dialect."""

from __future__ import annotations

from collections.abc import Iterator
from decimal import Decimal
from typing import Any

import pytest

from sluiceway import Gateway
from tests.python.providers.kit import Wire


@pytest.fixture
def gw(wire: Wire, monkeypatch: pytest.MonkeyPatch) -> Iterator[Gateway]:
    """A gateway whose OpenAI is that server."""
    monkeypatch.setenv("SLUICEWAY_OPENAI_BASE_URL", wire.url)
    monkeypatch.setenv("OPENAI_API_KEY", "not-a-real-key")
    with Gateway({"ledger": {"path": ":memory:", "durability": "memory"}}) as made:
        yield made


def _post(gw: Gateway, wire: Wire, path: str, request: dict[str, Any], answer: Any) -> Any:
    return gw.raw.post(
        "openai",
        path,
        json=request,
        max_cost_usd="1.00",
        headers={"x-body": wire.serve(answer)},
    )


def test_embeddings_settle_by_their_input(gw: Gateway, wire: Wire) -> None:
    answer = {"data": [{"embedding": [0.5]}], "usage": {"prompt_tokens": 8, "total_tokens": 8}}
    request = {"model": "text-embedding-3-small", "input": "eight"}
    r = _post(gw, wire, "/v1/embeddings", request, answer)
    # $0.02 a million: 20 nano-dollars a token.
    assert (r.cost.nanousd, r.cost.source, r.cost.held) == (160, "table", 0)


def test_responses_settle_by_their_usage(gw: Gateway, wire: Wire) -> None:
    answer = {
        "status": "completed",
        "output": [{"type": "message", "content": [{"type": "output_text", "text": "x"}]}],
        "usage": {
            "input_tokens": 100,
            "input_tokens_details": {"cached_tokens": 40},
            "output_tokens": 10,
        },
    }
    r = _post(gw, wire, "/v1/responses", {"model": "gpt-4o-mini", "input": "x"}, answer)
    # $0.15, 0.075 and 0.60 a million.
    assert (r.cost.nanousd, r.cost.source) == (60 * 150 + 40 * 75 + 10 * 600, "table")
    assert r.usage.cached_tokens == 40


def test_speech_settles_by_what_was_counted_before(gw: Gateway, wire: Wire) -> None:
    request = {"model": "tts-1", "input": "Gr\u00fc\u00dfe \U0001f30d", "voice": "alloy"}
    with gw.budget("voice:1", usd="2.00") as b:
        r = _post(gw, wire, "/v1/audio/speech", request, b"\xff\xf3 sound")
        # 7 code points at $15 a million, marked: the provider said nothing.
        assert (r.cost.nanousd, r.cost.source) == (105_000, "estimated")
        assert r.usage.buckets == {"characters": 7}
        assert (b.spent, b.in_doubt) == (Decimal("0.000105"), Decimal(0))
    assert gw.estimate.speech("openai/tts-1", request["input"]).expected == Decimal("0.000105")


def test_an_operation_that_we_do_not_know_is_read_as_a_chat(gw: Gateway, wire: Wire) -> None:
    answer = {"usage": {"prompt_tokens": 100, "completion_tokens": 10}}
    r = _post(gw, wire, "/v1/completions", {"model": "gpt-4o-mini", "prompt": "x"}, answer)
    assert (r.cost.nanousd, r.cost.source) == (100 * 150 + 10 * 600, "table")
    silent = _post(gw, wire, "/v1/completions", {"model": "gpt-4o-mini"}, {"id": "1"})
    assert (silent.cost.nanousd, silent.cost.held) == (None, Decimal("1.00"))
