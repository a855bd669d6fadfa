"""Bad input gets a typed error that says what to do, before anything is sent or started."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from sluiceway import (
    Gateway,
    InvalidRequest,
    InvalidType,
    MissingKey,
    SluicewayError,
    UnboundedOperation,
    UnknownAccount,
    UnknownModel,
    UnpricedModel,
    UnpricedOperation,
)
from sluiceway.errors import ConfigError, GatewayClosed
from sluiceway.simulator import Simulator

MODEL = "openai/gpt-4o-mini"
CASES: list[tuple[tuple[Any, Any, dict[str, Any]], type[SluicewayError], str]] = [
    (("opanai/gpt-4o-mini", "hi", {}), UnknownModel, "did you mean 'openai'"),
    (("gpt-4o-mini", "hi", {}), UnknownModel, "did you mean 'openai/gpt-4o-mini'"),
    (("openai/", "hi", {}), UnknownModel, ""),
    (("", "hi", {}), UnknownModel, "provider/model"),
    ((None, "hi", {}), InvalidType, "provider/model"),
    ((["openai/x"], "hi", {}), InvalidType, "provider/model"),
    (("openai/gpt-4o-mni", "hi", {}), UnpricedModel, "did you mean 'gpt-4o-mini'"),
    ((MODEL, None, {}), InvalidType, "None"),
    ((MODEL, b"hi", {}), InvalidType, "decode"),
    ((MODEL, [], {}), InvalidRequest, "empty"),
    ((MODEL, "", {}), InvalidRequest, "empty"),
    ((MODEL, [{"role": "boss", "content": "x"}], {}), InvalidRequest, "'boss'"),
    ((MODEL, "\ud800", {}), InvalidRequest, ""),
    ((MODEL, [{"role": "user", "content": "hi", "name": object()}], {}), InvalidRequest, "JSON"),
    ((MODEL, "hi", {"timeout_s": -1}), InvalidRequest, "timeout_s"),
    ((MODEL, "hi", {"timeout_s": float("nan")}), InvalidRequest, "timeout_s"),
    ((MODEL, "hi", {"timeout_s": "5"}), InvalidType, "timeout_s"),
    ((MODEL, "hi", {"connect_timeout_s": 0}), InvalidRequest, "connect_timeout_s"),
    ((MODEL, "hi", {"timeout": 5}), InvalidType, "did you mean 'timeout_s'"),
    ((MODEL, "hi", {"temperature": 9}), InvalidRequest, "temperature"),
    ((MODEL, "hi", {"max_output_tokens": 0}), InvalidRequest, "max_output_tokens"),
    ((MODEL, "hi", {"max_cost_usd": 0.5}), InvalidType, 'max_cost_usd="0.5"'),
    ((MODEL, "hi", {"max_cost_usd": "-1"}), InvalidRequest, "below zero"),
    ((MODEL, "hi", {"cache": -1}), InvalidRequest, "cache"),
    ((MODEL, "hi", {"cache": "yes"}), InvalidType, "cache"),
    ((MODEL, "hi", {"tenant": ""}), InvalidRequest, "tenant"),
    ((MODEL, "hi", {"idempotency_key": 7}), InvalidType, "idempotency_key"),
    ((MODEL, "hi", {"priority": "urgent"}), InvalidRequest, "high"),
    ((MODEL, "hi", {"account": "second"}), UnknownAccount, "[accounts.openai.second]"),
    ((MODEL, "hi", {"retry": 3}), InvalidType, "Retry"),
    ((MODEL, "hi", {"fallback_in_doubt": 1}), InvalidType, "True or False"),
    ((MODEL, "hi", {"extra": {"web_search_options": {}}}), UnboundedOperation, "max_cost_usd"),
    ((MODEL, "hi", {"extra": {"service_tier": "flex"}}), UnpricedOperation, "flex"),
    (
        (MODEL, [{"role": "user", "content": [{"type": "image_url"}]}], {}),
        UnboundedOperation,
        "image_url",
    ),
]


@pytest.mark.parametrize(("call", "kind", "said"), CASES)
@pytest.mark.parametrize("twin", ["chat", "aio.chat", "stream", "estimate"])
def test_bad_calls(
    gw: Gateway,
    sim: Simulator,
    call: tuple[Any, Any, dict[str, Any]],
    kind: type[SluicewayError],
    said: str,
    twin: str,
) -> None:
    model, prompt, options = call
    run: dict[str, Callable[[], object]] = {
        "chat": lambda: gw.chat(model, prompt, **options),
        "aio.chat": lambda: asyncio.run(gw.aio.chat(model, prompt, **options)),
        "stream": lambda: gw.stream(model, prompt, **options).result(),
        "estimate": lambda: gw.estimate.chat(model, prompt, **options),
    }
    with pytest.raises(kind) as caught:
        run[twin]()
    assert said in str(caught.value)
    assert caught.value.outcome == "never_sent"
    assert not caught.value.retryable
    assert sim.executions()["total"] == 0
    assert gw.stats().get("submitted", 0) == 0


def test_no_keys_at_all(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.chdir(tmp_path)
    gw = Gateway.from_env()  # no error yet: nothing was asked for
    with pytest.raises(MissingKey) as caught:
        gw.chat("openai/gpt-x", "hi")
    said = str(caught.value)
    for word in ("OPENAI_API_KEY", "python -m sluiceway.simulator", "SLUICEWAY_SIMULATOR_URL"):
        assert word in said
    monkeypatch.setenv("DEEPSEEK_API_KEY", "sk-obviously-fake")
    with pytest.raises(MissingKey) as caught:
        gw.chat("openai/gpt-x", "hi")
    assert "OPENAI_API_KEY" in str(caught.value)
    assert "simulator" not in str(caught.value)
    assert list(tmp_path.iterdir()) == []  # no ledger was made for it


def test_a_real_key_never_goes_to_a_simulator(
    gw: Gateway, sim: Simulator, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("OPENAI_API_KEY", "sk-obviously-fake-but-not-for-simulators")
    provider = gw._hub.registry["openai"]
    assert gw._hub.key_of(provider, None) == "simulator-key-not-a-secret"
    assert gw.chat(MODEL, "hi").text


def test_base_urls_and_accounts(sim: Simulator, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SLUICEWAY_OPENAI_BASE_URL", sim.base_url("openai"))
    monkeypatch.setenv("OPENAI_API_KEY", "fake")
    monkeypatch.setenv("SECOND_KEY", "bad-fake")  # the simulator refuses keys that start so
    accounts = {"openai": {"second": {"key_env": "SECOND_KEY"}}}
    with Gateway({"ledger": {"path": ":memory:"}, "accounts": accounts}) as gw:
        assert gw.chat(MODEL, "hi").text
        with pytest.raises(SluicewayError) as caught:
            gw.chat(MODEL, "hi", account="second")
        assert type(caught.value).__name__ == "AuthenticationFailed"
        assert "bad-fake" not in str(caught.value)


def test_configurations_that_are_none(tmp_path: Path) -> None:
    with pytest.raises(InvalidType):
        Gateway("sluiceway.toml")  # type: ignore[arg-type]
    with pytest.raises(ConfigError, match="no provider 'opanai'"):
        Gateway({"accounts": {"opanai": {}}})
    with pytest.raises(ConfigError, match="no provider 'opanai'"):
        Gateway({"limits": {"opanai/gpt-x": {"concurrency": 1}}})
    file = tmp_path / "sluiceway.toml"
    file.write_text("[ledger]\npaht = 'x'\n")
    with pytest.raises(ConfigError, match=r"line 2: .*'path'"):
        Gateway.from_file(file)


def test_a_closed_gateway_says_so(gw: Gateway) -> None:
    gw.chat(MODEL, "hi")
    gw.close()
    with pytest.raises(GatewayClosed):
        gw.chat(MODEL, "hi")
    with pytest.raises(GatewayClosed):
        asyncio.run(gw.aio.chat(MODEL, "hi"))
    gw.close()  # twice is fine


def test_reprs_show_no_keys(gw: Gateway, monkeypatch: pytest.MonkeyPatch) -> None:
    gw.chat(MODEL, "hi")
    for thing in (gw, gw.aio, gw._hub.config, gw._hub.keys, gw._plan, gw.budget("a:1", usd="1")):
        assert "not-a-secret" not in repr(thing)
