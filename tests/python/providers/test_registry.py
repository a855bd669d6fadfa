"""The registry: rows complete, mistakes found, every dialect compiled by the core."""

from __future__ import annotations

from pathlib import Path

import pytest

from sluiceway import _core
from sluiceway.errors import ConfigError
from sluiceway.providers import registry
from sluiceway.providers.registry import load_dialects, load_registry, parse_registry

TEXT = Path(registry.__file__).with_name("registry.toml").read_text()


def test_the_rows() -> None:
    rows = load_registry()
    assert set(rows) == {"openai", "deepseek", "anthropic"}
    assert rows["openai"].url("chat", None) == "https://api.openai.com/v1/chat/completions"
    assert rows["deepseek"].url("chat", None) == "https://api.deepseek.com/chat/completions"
    assert rows["anthropic"].url("chat", None) == "https://api.anthropic.com/v1/messages"
    local = rows["anthropic"].url("chat", "http://127.0.0.1:1/anthropic/")
    assert local == "http://127.0.0.1:1/anthropic/v1/messages"
    assert rows["openai"].auth_headers("k") == [("authorization", "Bearer k")]
    assert rows["anthropic"].auth_headers("k") == [("x-api-key", "k")]
    assert rows["anthropic"].headers == {"anthropic-version": "2023-06-01"}


def test_a_dialect_takes_whole_keys_from_what_it_extends() -> None:
    rows = load_registry()
    openai, deepseek = rows["openai"].dialect, rows["deepseek"].dialect
    assert deepseek.core["text"] == openai.core["text"]
    assert deepseek.core["usage"] != openai.core["usage"]
    assert "cache_write_5m" not in deepseek.core["usage"]
    assert deepseek.core["rate_headers"] == []
    assert deepseek.max_output_field == "max_tokens"
    assert {**deepseek.allowances, "per_image": 50_000} == openai.allowances


@pytest.mark.parametrize(
    ("old", "new", "said"),
    [
        ('auth = "bearer"', 'auth = "basic"', "unknown auth"),
        ('dialect = "openai_chat"', 'dialect = "nope"', "no dialect 'nope'"),
        ('key_env = "OPENAI_API_KEY"', 'key_envv = "X"', "unknown key 'key_envv'"),
        ('extends = "openai_chat"', 'extends = "openai_responses"', "cannot extend"),
        ('path = "/embeddings", dialect = "openai', 'path = "/e", dialect = "nope', "no dialect"),
        ('path = "/embeddings"', 'paths = "/embeddings"', "unknown key 'paths'"),
        ('error_at = "/error"\n', 'error_at = "/error"\n[dialects.x]\ntexxt = ""\n', "'texxt'"),
    ],
)
def test_mistakes_name_the_row(old: str, new: str, said: str) -> None:
    assert old in TEXT
    with pytest.raises(ConfigError, match=said):
        parse_registry(TEXT.replace(old, new, 1))


def test_an_operation_is_found_by_its_path() -> None:
    openai = load_registry()["openai"]

    def dialect_at(path: str) -> str:
        operation = openai.operation_at(path)
        assert operation is not None, path
        return operation.dialect.name

    assert dialect_at("/v1/embeddings") == "openai_embeddings"
    assert dialect_at("/v1/responses?x=1") == "openai_responses"
    assert dialect_at("/v1/chat/completions") == "openai_chat"
    assert openai.operation_at("/v1/models") is None
    speech = openai.operation_at("/v1/audio/speech")
    assert speech is not None
    assert speech.counted({"model": "tts-1", "input": "Grüße 🌍"}) == {"characters": 7}
    assert speech.counted({"model": "tts-1"}) == speech.counted(b"bytes") == {}


@pytest.mark.parametrize("name", sorted(load_dialects()))
def test_the_core_compiles_dialects_that_no_row_speaks(name: str) -> None:
    engine = _core.Engine({"ledger_path": ":memory:"})
    core = load_dialects()[name].core
    spec = {"provider": "p", "model": "m", "url": "http://127.0.0.1:1/"}
    engine.add_route({**spec, "dialect": core})
    for wrong in (
        {"served_tier": [{"at": "x", "tiers": {"a": "b"}}]},
        {"served_tier": [{"at": "/x", "tiers": {}}]},
        {"served_tier": [{"at": "/x", "tiers": {"a": "b"}, "to": ""}]},
        {"served_tier": [{"at": "/x", "tiers": {"a": "b"}}] * 5},
        {"usage_cost_usd": ["cost"]},
        {"usage": {"input": "- /a"}},
        {"usage": {"input": "#a"}},
        {"usage": {"moons": "/a"}},
        {"usage": {"input": "request + /a"}},
    ):
        with pytest.raises(ConfigError):
            engine.add_route({**spec, "dialect": {**core, **wrong}})
    engine.close()


@pytest.mark.parametrize("provider", sorted(load_registry()))
def test_the_core_compiles_every_dialect(provider: str) -> None:
    row = load_registry()[provider]
    engine = _core.Engine({"ledger_path": ":memory:"})
    spec = {
        "provider": provider,
        "model": "m",
        "url": row.url("chat", None),
        "dialect": row.dialect.core,
    }
    engine.add_route(spec)
    broken = {**row.dialect.core, "usage": {"input": "/a -"}}
    with pytest.raises(ConfigError):
        engine.add_route({**spec, "dialect": broken})
    engine.close()
