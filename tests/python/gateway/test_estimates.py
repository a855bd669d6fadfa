"""Estimates of every operation, by hand, and the one promise: no bill passes a ceiling."""

from __future__ import annotations

from collections.abc import Callable
from decimal import Decimal
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from sluiceway import (
    Gateway,
    InvalidRequest,
    InvalidType,
    UnboundedOperation,
    UnknownModel,
    UnpricedModel,
    UnpricedOperation,
)
from sluiceway.simulator import Simulator

USD = Decimal


def test_speech_by_characters(gw: Gateway) -> None:
    # tts-1: $15 a million characters. 7 code points; bytes: G, r, ü 2, ß 2, e, space, 🌍 4.
    e = gw.estimate.speech("openai/tts-1", "Grüße 🌍")
    assert (e.low, e.expected) == (USD("0.000105"), USD("0.000105"))
    assert e.ceiling == USD("0.000180")  # 12 bytes
    assert e.units == {"characters": 12}
    combining = gw.estimate.speech("openai/tts-1", "e\u0301")  # two code points, three bytes
    assert (combining.expected, combining.ceiling) == (USD("0.000030"), USD("0.000045"))


def test_speech_by_audio_tokens(gw: Gateway) -> None:
    with pytest.raises(UnboundedOperation, match="seconds_max"):
        gw.estimate.speech("openai/gpt-4o-mini-tts", "hello")
    # $0.60 a million in, $12 out: 5 bytes and 64 around them; 10 s at 25 tokens.
    e = gw.estimate.speech("openai/gpt-4o-mini-tts", "hello", seconds_max=10, expected_s=2)
    assert e.max_output_tokens == 250
    assert USD(0) <= e.ceiling - (69 * USD("0.0000006") + 250 * USD("0.000012")) <= USD("1e-9")
    assert e.expected == 2 * USD("0.0000006") + 50 * USD("0.000012")
    assert e.prompt_tokens_max == 69


def test_transcription(gw: Gateway) -> None:
    # whisper-1: $0.006 a minute, $0.0001 a second; the next whole second at most.
    e = gw.estimate.transcription("openai/whisper-1", seconds=12.4)
    assert (e.expected, e.ceiling) == (USD("0.00124"), USD("0.0013"))
    assert e.units == {"seconds": USD(13)}
    assert gw.estimate.transcription("openai/whisper-1", seconds=60).ceiling == USD("0.006")
    with pytest.raises(UnboundedOperation, match="max_output_tokens"):
        gw.estimate.transcription("openai/gpt-4o-transcribe", seconds=60)
    # $6 a million audio in (the dearest input), $10 out.
    e = gw.estimate.transcription("openai/gpt-4o-transcribe", seconds=60, max_output_tokens=500)
    assert e.ceiling == (60 * 25 + 64) * USD("0.000006") + 500 * USD("0.00001")


def test_images(gw: Gateway) -> None:
    e = gw.estimate.image("openai/dall-e-3", size="1024x1024", quality="hd", n=2)
    assert (e.low, e.ceiling) == (USD("0.16"), USD("0.16"))
    anything = gw.estimate.image("openai/dall-e-3")
    assert (anything.low, anything.ceiling) == (USD("0.04"), USD("0.12"))
    with pytest.raises(UnpricedOperation, match="1792x1024"):
        gw.estimate.image("openai/dall-e-3", size="2x2")
    # gpt-image-1, high, portrait: 6,240 tokens at $40 a million, 5 bytes and 64 at $5.
    e = gw.estimate.image("openai/gpt-image-1", "a cat", size="1024x1536", quality="high", n=3)
    assert e.ceiling == 3 * 6240 * USD("0.00004") + 69 * USD("0.000005")
    open_size = gw.estimate.image("openai/gpt-image-1", quality="low")
    assert open_size.max_output_tokens == 408
    with pytest.raises(UnboundedOperation, match="max_output_tokens"):
        gw.estimate.image("openai/gpt-image-2", "a cat")
    e = gw.estimate.image("openai/gpt-image-2", "a cat", max_output_tokens=1000)
    assert e.ceiling == 1000 * USD("0.00003") + 69 * USD("0.000005")
    with pytest.raises(InvalidRequest, match="qualities"):
        gw.estimate.image("openai/gpt-image-1", quality="best")


def test_images_by_the_megapixel(make_gateway: Callable[..., Gateway], tmp_path: Any) -> None:
    file = tmp_path / "fal.toml"
    file.write_text(
        'provider = "openai"\n[[models]]\nmodel = "pixels"\nkind = "image"\n[[models.rows]]\n'
        'usd_per_unit = { megapixels = "0.025" }\nsource = "here"\nchecked = 2026-11-22\n'
    )
    gw = make_gateway(prices={"files": [str(file)]})
    e = gw.estimate.image("openai/pixels", size="1920x1080", n=2)
    # 4.1472 megapixels, counted in thousandths, rounded up: 4.148.
    assert e.ceiling == USD("0.1037")
    assert e.units == {"megapixels": USD("4.148")}
    with pytest.raises(UnboundedOperation, match="size"):
        gw.estimate.image("openai/pixels")


def test_video(gw: Gateway) -> None:
    e = gw.estimate.video("openai/sora-2-pro", seconds=8, size="1280x720")
    assert (e.expected, e.ceiling) == (USD("2.4"), USD("2.4"))
    assert gw.estimate.video("openai/sora-2-pro", seconds=7.2, n=2).ceiling > USD("4.8")
    with pytest.raises(UnpricedOperation, match="1280x720"):
        gw.estimate.video("openai/sora-2", seconds=8, size="1x1")


def test_embeddings(gw: Gateway) -> None:
    # $0.02 a million: 3 and 6 bytes and 8 around each.
    e = gw.estimate.embeddings("openai/text-embedding-3-small", ["abc", "日本"])
    assert (e.prompt_tokens_max, e.ceiling) == (25, USD("0.0000005"))
    assert gw.estimate.embeddings("openai/text-embedding-3-small", "abc").prompt_tokens_max == 11


def test_a_job_costs_half(gw: Gateway) -> None:
    one = gw.estimate.chat("openai/gpt-4o-mini", "hi", max_output_tokens=100)
    job = gw.estimate.job("openai/gpt-4o-mini", ["hi", "hi", "hi"], max_output_tokens=100)
    assert job.max_output_tokens == 300
    assert abs(job.ceiling - one.ceiling * 3 / 2) <= USD("1e-8")
    assert abs(job.expected - one.expected * 3 / 2) <= USD("1e-8")
    with pytest.raises(UnpricedOperation, match="batch"):
        gw.estimate.job("deepseek/deepseek-flash", ["hi"])
    with pytest.raises(InvalidRequest, match="service tier"):
        gw.estimate.job("openai/gpt-4o-mini", ["hi"], extra={"service_tier": "flex"})
    with pytest.raises(InvalidType):
        gw.estimate.job("openai/gpt-4o-mini", "hi")


def test_what_has_no_price_says_what_it_is_sold_by(gw: Gateway) -> None:
    with pytest.raises(UnpricedOperation, match=r"sold by cache_read, input, output.*seconds"):
        gw.estimate.video("openai/gpt-4o", seconds=1)
    with pytest.raises(UnpricedOperation, match="characters"):
        gw.estimate.speech("openai/gpt-4o", "x")
    with pytest.raises(UnpricedOperation, match="images"):
        gw.estimate.image("openai/tts-1")
    with pytest.raises(UnpricedModel, match="'tts-1'"):
        gw.estimate.speech("openai/tts-11", "x")
    with pytest.raises(UnknownModel):
        gw.estimate.speech("tts-1", "x")


@pytest.mark.parametrize(
    "ask",
    [
        lambda e: e.speech("openai/tts-1", b"x"),
        lambda e: e.transcription("openai/whisper-1", seconds="1"),
        lambda e: e.transcription("openai/whisper-1", seconds=0),
        lambda e: e.transcription("openai/whisper-1", seconds=float("nan")),
        lambda e: e.transcription("openai/whisper-1", seconds=float("inf")),
        lambda e: e.video("openai/sora-2", seconds=True),
        lambda e: e.image("openai/dall-e-3", n=0),
        lambda e: e.image("openai/dall-e-3", size=1024),
        lambda e: e.embeddings("openai/text-embedding-3-small", []),
        lambda e: e.embeddings("openai/text-embedding-3-small", [b"x"]),
        lambda e: e.job("openai/gpt-4o-mini", []),
        lambda e: e.chat("openai/gpt-4o-mini", "x", expected_output_tokens=1.5),
        lambda e: e.chat("openai/gpt-4o-mini", "x", count_tokens=1),
    ],
)
def test_arguments_that_are_none(gw: Gateway, ask: Callable[[Any], Any]) -> None:
    with pytest.raises((InvalidType, InvalidRequest)):
        ask(gw.estimate)


def test_a_priority_call_that_was_served_as_ordinary_is_billed_as_ordinary(
    gw: Gateway, sim: Simulator
) -> None:
    # The simulator serves every request as "default" and bills it so.
    e = gw.estimate.chat("openai/gpt-4o-mini", "hi", extra={"service_tier": "priority"})
    ordinary = gw.estimate.chat("openai/gpt-4o-mini", "hi")
    assert e.ceiling > ordinary.ceiling * Decimal("1.6")
    r = gw.chat("openai/gpt-4o-mini", "hi", extra={"service_tier": "priority"})
    assert r.cost.ceiling == e.ceiling
    assert r.cost.nanousd == sim.bill()["total_nanousd"]
    assert "priority" not in r.cost.price_version


def test_an_unbounded_chat_has_its_stated_cap_as_ceiling(gw: Gateway) -> None:
    tools = [{"type": "web_search_20250305", "name": "web_search"}]
    model = "anthropic/claude-haiku-4-5"
    with pytest.raises(UnboundedOperation):
        gw.estimate.chat(model, "hi", tools=tools)
    e = gw.estimate.chat(model, "hi", tools=tools, max_cost_usd="0.50")
    assert e.ceiling == USD("0.50")
    assert e.low <= e.expected <= e.ceiling


def test_a_tokenizers_bound_is_what_the_call_reserves(
    gw: Gateway, sim: Simulator, monkeypatch: pytest.MonkeyPatch
) -> None:
    # The vocabulary stands in for one where each character is a token.
    monkeypatch.setattr("sluiceway.tokenizers.count_text", lambda provider, model, text: len(text))
    prompt = '"' * 400  # escaped in JSON: 800 bytes
    loose = gw.estimate.chat("openai/gpt-4o-mini", prompt, max_output_tokens=10)
    e = gw.estimate.chat("openai/gpt-4o-mini", prompt, max_output_tokens=10, count_tokens=True)
    # 400 and 4 of "user", 3 and 3 for markers; 16 and 16 stated on top.
    assert e.prompt_tokens_max == 442
    assert (e.expected_prompt_tokens, e.basis) == (410, "o200k_base")
    assert e.ceiling < loose.ceiling / 2
    counting = gw.with_options(count_tokens=True)
    assert (
        counting.chat("openai/gpt-4o-mini", prompt, max_output_tokens=10).cost.ceiling == e.ceiling
    )
    with counting.stream("openai/gpt-4o-mini", prompt, max_output_tokens=10) as s:
        assert "".join(str(delta) for delta in s)
        assert s.result().cost.ceiling == e.ceiling
    # Not proven for others: the bytes bound them.
    other = gw.estimate.chat("deepseek/deepseek-flash", prompt, count_tokens=True)
    assert other.prompt_tokens_max > 800
    assert other.basis == "bytes"


# ------------------------------------------------------------------------- no bill passes a ceiling

_IMAGES = {
    "openai": {
        "type": "image_url",
        "image_url": {"url": "data:image/png;base64,AA", "detail": "low"},
    },
    "anthropic": {
        "type": "image",
        "source": {"type": "base64", "media_type": "image/png", "data": "AA"},
    },
}
_NAMES = st.text(alphabet="abcxyz_", min_size=1, max_size=12)


@st.composite
def requests(draw: st.DrawFn) -> tuple[str, Any, dict[str, Any]]:
    model = draw(
        st.sampled_from(
            ["openai/gpt-4o-mini", "deepseek/deepseek-flash", "anthropic/claude-haiku-4-5"]
        )
    )
    provider = model.partition("/")[0]
    text = st.text(min_size=1, max_size=200)
    prompt: Any = draw(text)
    if draw(st.booleans()):
        parts: list[Any] = [
            {"type": "text", "text": draw(text)} for _ in range(draw(st.integers(1, 3)))
        ]
        if provider in _IMAGES and draw(st.booleans()):
            parts.append(_IMAGES[provider])
        prompt = [{"role": "user", "content": parts}, {"role": "assistant", "content": draw(text)}]
        prompt.append({"role": "user", "content": draw(text)})
    options: dict[str, Any] = {"max_output_tokens": draw(st.integers(1, 400))}
    if draw(st.booleans()):
        options["system"] = draw(text)
    names = draw(st.lists(_NAMES, max_size=3, unique=True))
    if names:
        schema = {"type": "object", "properties": {draw(text): {"type": "string"}}}
        options["tools"] = [
            {"name": name, "description": draw(text), "input_schema": schema} for name in names
        ]
    return model, prompt, options


@settings(
    max_examples=150,
    deadline=None,
    suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow],
)
@given(request=requests())
def test_no_bill_of_the_simulator_passes_a_ceiling(
    gw: Gateway, sim: Simulator, request: tuple[str, Any, dict[str, Any]]
) -> None:
    model, prompt, options = request
    sim.reset()
    sim.script([{"action": {"output_tokens": 5000}}])  # as much as the request allows
    e = gw.estimate.chat(model, prompt, **options)
    r = gw.chat(model, prompt, **options)
    assert sim.executions()["total"] == 1
    assert r.cost.ceiling == e.ceiling
    assert sim.bill()["total_nanousd"] <= e.ceiling * 10**9
    assert (r.usage.input_tokens or 0) <= e.prompt_tokens_max
    assert r.usage.output_tokens == options["max_output_tokens"]
    assert e.low <= e.expected <= e.ceiling


@pytest.mark.parametrize("prompt", ["\ud800", "a\udfffb"])
def test_a_lone_surrogate_is_refused_before_it_is_priced(gw: Gateway, prompt: str) -> None:
    with pytest.raises(InvalidRequest, match="Unicode"):
        gw.estimate.chat("openai/gpt-4o-mini", prompt)
