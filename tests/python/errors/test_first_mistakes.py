"""What goes wrong on a first day: the error names the mistake and what to do, and nothing else."""

from __future__ import annotations

import copy
import pickle
from collections.abc import Callable, Iterator
from typing import Any

import pytest

from sluiceway import (
    AuthenticationFailed,
    BreakerOpen,
    Cost,
    Gateway,
    InDoubt,
    InvalidRequest,
    InvalidType,
    MissingKey,
    UnknownModel,
)
from sluiceway.money import usd_of
from sluiceway.simulator import Simulator
from sluiceway.types import Attempt, Estimate, Hop
from tests.fixtures import clean_environment as clean_environment
from tests.fixtures import running_simulator as running_simulator
from tests.fixtures import sim as sim

MODEL = "openai/gpt-6-luna"


@pytest.fixture
def gw(monkeypatch: pytest.MonkeyPatch) -> Iterator[Gateway]:
    """A gateway whose provider is never reached."""
    monkeypatch.setenv("SLUICEWAY_SIMULATOR_URL", "http://127.0.0.1:9")
    with Gateway({"ledger": {"path": ":memory:"}}) as gateway:
        yield gateway


def test_a_missing_key_shows_one_error_and_not_a_failed_look_up() -> None:
    with Gateway({"ledger": {"path": ":memory:"}}) as keyless, pytest.raises(MissingKey) as caught:
        keyless.chat(MODEL, "Name three rivers")
    assert caught.value.__context__ is None


@pytest.mark.parametrize(
    ("model", "said"),
    [
        ("openai/", "'openai/' is not of the form \"provider/model\""),
        ("/gpt-6-luna", "did you mean 'openai/gpt-6-luna'?"),
        ("OpenAI/gpt-6-luna", "did you mean 'openai'?"),
        ("openai/no-such-thing-x", "no price is known for 'openai/no-such-thing-x'. If"),
        ("Name three rivers", 'such as gw.chat("openai/gpt-6-luna", prompt)'),
    ],
)
def test_a_model_s_name(gw: Gateway, model: str, said: str) -> None:
    with pytest.raises(UnknownModel) as caught:
        gw.chat(model, "Name three rivers")
    assert said in caught.value.message
    assert caught.value.__context__ is None


@pytest.mark.parametrize(
    ("model", "kind"), [(None, "None"), (5, "an int"), (["openai/gpt-6-luna"], "a list")]
)
def test_what_is_no_model(gw: Gateway, model: Any, kind: str) -> None:
    with pytest.raises(InvalidType, match=f"the model is {kind}, not"):
        gw.chat(model, "Name three rivers")


@pytest.mark.parametrize(
    ("option", "said"),
    [
        ({"reasoning_effort": "low"}, r'extra=\{"reasoning_effort": \.\.\.\}'),
        ({"service_tier": "flex"}, r'extra=\{"service_tier": \.\.\.\}'),
        ({"api_key": "sk-obviously-fake"}, "OPENAI_API_KEY"),
        ({"max_output_tokens": 2**31}, "max_output_tokens is not at most 2147483647"),
        ({"max_output_tokens": 0}, "is not at least 1"),
        ({"tenant": 5}, "tenant is an int"),
    ],
)
def test_an_option(gw: Gateway, option: dict[str, Any], said: str) -> None:
    with pytest.raises(InvalidRequest, match=said) as caught:
        gw.chat(MODEL, "Name three rivers", **option)
    assert "obviously-fake" not in str(caught.value)


@pytest.mark.parametrize("name", ["video:", "video:a\nb", "video:\0", "vi\tdeo:1"])
def test_a_budget_whose_key_was_lost_or_holds_a_line_end(gw: Gateway, name: str) -> None:
    """`f"video:{key}"` with an empty key would put every such video into one scope."""
    with pytest.raises(InvalidRequest, match="budget"):
        gw.budget(name, usd="1.00")


def test_a_file_s_name_in_place_of_a_configuration() -> None:
    with pytest.raises(InvalidType, match=r"Gateway\.from_file"):
        Gateway("sluiceway.toml")  # type: ignore[arg-type]
    with pytest.raises(InvalidType, match="path"):
        Gateway.from_file(None)  # type: ignore[arg-type]


BELONGS: list[Callable[[Gateway], object]] = [
    lambda gw: gw,
    lambda gw: gw.aio,
    lambda gw: gw.budget("video:1", usd="1.00"),
    lambda gw: gw.wallet("account:1"),
    lambda gw: gw.ledger,
    lambda gw: gw.estimate,
    lambda gw: gw.stream(MODEL, "Name three rivers"),
]


@pytest.mark.parametrize("made", BELONGS)
def test_what_belongs_to_its_process_says_so(
    gw: Gateway, made: Callable[[Gateway], object]
) -> None:
    """Celery and multiprocessing pickle arguments."""
    with pytest.raises(InvalidType, match="in each process"):
        pickle.dumps(made(gw))
    with pytest.raises(InvalidType, match="in each process"):
        copy.deepcopy(made(gw))


def test_a_shallow_copy_is_a_view_of_the_same(gw: Gateway) -> None:
    assert copy.copy(gw)._hub is gw._hub


def test_an_estimate_is_pickled(gw: Gateway) -> None:
    found = gw.estimate.chat(MODEL, "Name three rivers")
    for again in (pickle.loads(pickle.dumps(found)), copy.copy(found), copy.deepcopy(found)):
        assert all(getattr(again, name) == getattr(found, name) for name in Estimate.__slots__)
        assert again == found


def test_records_of_the_same_are_equal() -> None:
    cost = Cost(8_800, "table", "v1", usd_of(9_000), usd_of(0))
    assert cost == Cost(8_800, "table", "v1", usd_of(9_000), usd_of(0))
    assert cost != Cost(8_801, "table", "v1", usd_of(9_000), usd_of(0))
    assert cost != 8_800
    assert len({cost, Cost(8_800, "table", "v1", usd_of(9_000), usd_of(0))}) == 1
    assert Attempt(MODEL, {"number": 1}) == Attempt(MODEL, {"number": 1})
    assert Attempt(MODEL, {"number": 1}) != Attempt(MODEL, {"number": 2})
    hop = (MODEL, "c-1", "none", "done", "", usd_of(0))
    assert Hop(*hop) == Hop(*hop)


def test_money_that_is_held_is_told_with_the_call_that_holds_it() -> None:
    """`sluiceway ledger resolve` asks for the call, not for the intent."""
    error = InDoubt("cut", outcome="in_doubt", held=usd_of(2_066_875), call_id="c-1")
    assert str(error) == "cut [held $0.002066875 by call c-1]"


def test_a_breaker_says_why_it_opened_and_until_when(
    sim: Simulator, monkeypatch: pytest.MonkeyPatch
) -> None:
    """After a wrong key the second call is what most people look at."""
    monkeypatch.setenv("SLUICEWAY_SIMULATOR_URL", sim.http_url)
    sim.script([{"match": {}, "action": {"fault": "status", "status": 401}}])
    with Gateway({"ledger": {"path": ":memory:"}}) as gateway:
        with pytest.raises(AuthenticationFailed):
            gateway.chat(MODEL, "Name three rivers")
        with pytest.raises(BreakerOpen, match="refused its key, its rights or its money") as caught:
            gateway.chat(MODEL, "Name three rivers")
    assert caught.value.retry_after_s is not None
    assert f"asked again in {caught.value.retry_after_s:.0f} s" in caught.value.message
