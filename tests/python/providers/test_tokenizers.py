"""Token counts against published vectors and against what providers reported of real requests."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from sluiceway import SluicewayError, _core, tokenizers
from sluiceway.providers.dialects import anthropic_messages, openai_chat
from sluiceway.providers.dialects.encoding import ChatFacts, Encoded
from sluiceway.providers.registry import load_registry
from tests.python.providers.kit import NOT_HERE, SHARED

RANKS = SHARED / "data/tokenizers"
PLANS = SHARED / "data/vectors/tiktoken/TestPlans.txt"
REPORTED = SHARED / "data/vectors/tokens/provider_reported_input_tokens.jsonl"
# What tiktoken calls the files in its cache: SOURCES.md beside them.
CACHED = {
    "cl100k_base.tiktoken": "9b5ad71b2ce5302211f9c61530b329a4922fc6a4",
    "o200k_base.tiktoken": "fb374d419588a4632f3f557e76b4b70aebbca790",
}
needs_ranks = pytest.mark.skipif(not RANKS.is_dir(), reason=NOT_HERE)


@pytest.fixture(autouse=True)
def no_vocabulary(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Iterator[None]:
    """An empty cache directory: no vocabulary of whoever runs the tests."""
    monkeypatch.setenv("TIKTOKEN_CACHE_DIR", str(tmp_path))
    tokenizers.load_vocabulary.cache_clear()
    yield
    tokenizers.load_vocabulary.cache_clear()


@pytest.fixture
def vocabularies(tmp_path: Path) -> None:
    """OpenAI's rank files where tiktoken looks for them."""
    pytest.importorskip("tiktoken")
    for name, cached in CACHED.items():
        (tmp_path / cached).symlink_to(RANKS / name)


def test_without_a_file_nothing_is_loaded(tmp_path: Path) -> None:
    assert tokenizers.count_text("openai", "gpt-4o", "hello") is None
    # A file with another content is not trusted, and not replaced by a download.
    (tmp_path / CACHED["o200k_base.tiktoken"]).write_bytes(b"aGVsbG8= 0\n")
    tokenizers.load_vocabulary.cache_clear()
    assert tokenizers.count_text("openai", "gpt-4o", "hello") is None
    assert (tmp_path / CACHED["o200k_base.tiktoken"]).read_bytes() == b"aGVsbG8= 0\n"


def test_which_model_has_which_vocabulary() -> None:
    of = tokenizers.vocabulary_of
    assert of("openai", "gpt-4o-mini") == ("o200k_base", True)
    assert of("openai", "gpt-4.1") == ("o200k_base", True)
    assert of("openai", "gpt-4-turbo") == ("cl100k_base", True)
    assert of("openai", "text-embedding-3-small") == ("cl100k_base", True)
    assert of("openai", "gpt-6-luna") == ("o200k_base", False)
    assert of("deepseek", "deepseek-flash") == of("anthropic", "gpt-4o") == ("", False)


@needs_ranks
@pytest.mark.usefixtures("vocabularies")
def test_the_published_vectors() -> None:
    """TestPlans.txt: name of the encoding, a sample, its tokens."""
    models = {"cl100k_base": "gpt-4", "o200k_base": "gpt-4o"}
    checked: Counter[str] = Counter()
    for block in PLANS.read_text(encoding="utf-8").split("EncodingName: ")[1:]:
        name, _, rest = block.partition("\nSample: ")
        sample, _, encoded = rest.rpartition("\nEncoded: ")
        if name.strip() not in models:
            continue
        tokens = json.loads(encoded)
        assert tokenizers.count_text("openai", models[name.strip()], sample) == len(tokens), sample
        checked[name.strip()] += 1
    print(dict(checked))
    assert all(checked[name] >= 20 for name in models)


@needs_ranks
@pytest.mark.usefixtures("vocabularies")
def test_texts_that_are_not_plain() -> None:
    count = tokenizers.count_text
    assert count("openai", "gpt-4o", "<|endoftext|>") == 7  # ordinary text, not one token
    assert count("openai", "gpt-4o", "") == 0
    assert count("openai", "gpt-4o", "\ud800") == 1  # "?"
    assert count("openai", "gpt-4o", " " * tokenizers.TEXT_MAX) is not None
    assert count("openai", "gpt-4o", " " * (tokenizers.TEXT_MAX + 1)) is None


def _facts(provider: str, model: str) -> ChatFacts:
    row = load_registry()[provider]
    dialect = row.dialect
    return ChatFacts(
        provider, model, dialect.max_output_field, 4096, dialect.allowances, row.service_tiers
    )


def _encoded(provider: str, record: dict[str, Any]) -> Encoded:
    encode = anthropic_messages.encode_chat if provider == "anthropic" else openai_chat.encode_chat
    options = {key: record[key] for key in ("system", "tools") if record.get(key)}
    return encode(_facts(provider, record["model"]), record["messages"], options, False)


def _records(*kinds: str) -> list[dict[str, Any]]:
    lines = REPORTED.read_text(encoding="utf-8").splitlines()
    return [record for record in map(json.loads, lines) if record["kind"] in kinds]


# Exactly as the provider counts: markers of 3 around each message and 3 once.
EXACT = ("gpt-4o", "gpt-4o-mini", "gpt-4.1", "gpt-4.1-nano")


@needs_ranks
@pytest.mark.skipif(not REPORTED.is_file(), reason=NOT_HERE)
@pytest.mark.usefixtures("vocabularies")
def test_what_openai_reported_of_real_requests() -> None:
    exact: Counter[bool] = Counter()
    bounded = 0
    for record in _records("chat"):
        model = record["model"]
        if record["provider"] not in ("openai", "azure") or not record.get("messages"):
            continue
        if not tokenizers.vocabulary_of("openai", model)[1]:
            continue
        encoded = _encoded("openai", record)
        bound = tokenizers.prompt_bound("openai", model, encoded)
        if bound is None:
            continue
        reported = record["reported_input_tokens"]
        counted = tokenizers.count_request("openai", model, encoded.body)
        assert reported <= bound, (model, reported, bound)
        assert bound <= len(_core.json_bytes(encoded.body)) + encoded.prompt_allowance
        bounded += 1
        if model in EXACT:
            exact[counted == reported] += 1
    print("bounded", bounded, "exact", dict(exact))
    assert bounded >= 15
    assert exact[True] >= 8
    assert exact[False] == 0


@pytest.mark.skipif(not REPORTED.is_file(), reason=NOT_HERE)
def test_bytes_and_allowances_bound_what_was_reported() -> None:
    bounded: Counter[str] = Counter()
    for record in _records("chat", "messages"):
        provider = record["provider"]
        if provider == "azure":
            provider = "openai"
        if provider not in load_registry() or not record.get("messages"):
            continue
        try:
            encoded = _encoded(provider, record)
        except SluicewayError:  # a shape that we would refuse to send
            continue
        if encoded.unbounded:
            continue
        bound = len(_core.json_bytes(encoded.body)) + encoded.prompt_allowance
        assert record["reported_input_tokens"] <= bound, (record["model"], record["source"])
        bounded[provider] += 1
    print(dict(bounded))
    assert bounded.total() >= 25


@needs_ranks
@pytest.mark.usefixtures("vocabularies")
@pytest.mark.parametrize(
    "more",
    [
        {"tools": [{"type": "function", "function": {"name": "f"}}]},
        {"response_format": {"type": "json_object"}},
        {"reasoning_effort": "low"},
    ],
)
def test_what_is_not_proven_has_no_tokenizers_bound(more: dict[str, Any]) -> None:
    facts = _facts("openai", "gpt-4o")
    plain = openai_chat.encode_chat(facts, "hello", {}, False)
    # 1 token of text, 1 of "user", 3 and 3 for markers; 16 and 16 stated on top.
    assert tokenizers.prompt_bound("openai", "gpt-4o", plain) == 8 + 32
    with_more = plain._replace(body={**plain.body, **more})
    assert tokenizers.prompt_bound("openai", "gpt-4o", with_more) is None
    newer = openai_chat.encode_chat(_facts("openai", "gpt-6-luna"), "hello", {}, False)
    assert tokenizers.prompt_bound("openai", "gpt-6-luna", newer) is None
    assert tokenizers.count_request("openai", "gpt-6-luna", newer.body) == 8
    picture = {"type": "image_url", "image_url": {"url": "data:,", "detail": "low"}}
    shown = openai_chat.encode_chat(facts, [{"role": "user", "content": [picture]}], {}, False)
    assert shown.unbounded == ""
    assert tokenizers.prompt_bound("openai", "gpt-4o", shown) is None
