"""The request that lacks only its prompt: it is what the encoder writes, and it is used in time."""

from __future__ import annotations

import json
from decimal import Decimal
from typing import Any

import pytest
from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st

from sluiceway import BudgetExceeded, ChatResult, Gateway, InvalidRequest, _core
from sluiceway._steps import _MARKER, ready_for
from sluiceway.simulator import Simulator
from tests.python.gateway.conftest import MakeGateway

MODELS = ["openai/gpt-4o-mini", "deepseek/deepseek-flash", "anthropic/claude-haiku-4-5"]
TEXTS = st.text(st.characters(codec="ascii"), min_size=1)
OPTIONS: list[dict[str, Any]] = [
    {},
    {"system": "Be brief.", "temperature": 0.5, "max_output_tokens": 7},
    {"seed": 3, "timeout_s": 5.0, "tenant": "acme", "priority": "high"},
]


@pytest.mark.parametrize("stream", [False, True])
@pytest.mark.parametrize("options", OPTIONS, ids=["plain", "system", "seed"])
@pytest.mark.parametrize("model", MODELS)
@settings(max_examples=25, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(text=TEXTS)
@example(text='a "quoted" line\n\\ \x00 \x7f')
@example(text=_MARKER)
def test_it_is_what_the_encoder_writes(
    gw: Gateway, model: str, options: dict[str, Any], stream: bool, text: str
) -> None:
    if "seed" in options and model.startswith("anthropic"):
        options = {name: value for name, value in options.items() if name != "seed"}
    hub, plan = gw._hub, gw.with_options(**options)._plan
    target = hub.target(model, plan)
    ready = ready_for(hub, plan, target, stream, at_once=True)
    encoded = target.encode(target.facts, text, plan.body, stream)
    assert ready is not None
    assert ready.body(text) == _core.json_bytes(encoded.body)
    marked = target.encode(target.facts, _MARKER, plan.body, stream)
    assert marked[1:] == encoded[1:]


def ready_of(gw: Gateway, model: str = MODELS[0]) -> _core.Ready | None:
    """What the gateway keeps for calls to this model."""
    known = gw._plan.ready[False].get(model)
    return known[1] if known else None


def test_the_third_call_makes_it_and_all_cost_the_same(gw: Gateway, sim: Simulator) -> None:
    results = []
    for number in range(4):
        results.append(gw.chat(MODELS[0], "abcdefgh"))
        assert (ready_of(gw) is not None) == (number > 1)
    assert {r.cost.nanousd for r in results} == {750 + 9_600}  # test_chat.py's arithmetic
    assert {r.cost.ceiling for r in results} == {results[0].cost.ceiling}
    assert sim.bill()["total_nanousd"] == 4 * (750 + 9_600)


def test_budgets_hold_for_it(gw: Gateway) -> None:
    for _ in range(3):
        gw.chat(MODELS[0], "abcdefgh")
    ceiling = gw.estimate.chat(MODELS[0], "abcdefgh").ceiling
    with gw.budget("job:ready", usd=str(ceiling + Decimal("0.000010350"))) as budget:
        for _ in range(2):  # the second fits to the nano-dollar
            gw.chat(MODELS[0], "abcdefgh")
        assert budget.spent == Decimal("0.000020700")
        with pytest.raises(BudgetExceeded):
            gw.chat(MODELS[0], "abcdefgh")


def test_a_text_that_grows_when_it_is_normalised_has_its_own_bound(gw: Gateway) -> None:
    # Anthropic normalises (NFKC): one character of 3 bytes becomes 33, and the bound is in bytes.
    model, text = MODELS[2], "\N{ARABIC LIGATURE SALLALLAHOU ALAYHE WASALLAM}"
    ceilings = {gw.chat(model, text).cost.ceiling for _ in range(4)}
    plain = {gw.chat(model, "abc").cost.ceiling for _ in range(4)}
    # claude-haiku-4-5: $1 a million tokens in. 30 bytes more than the text itself.
    assert len(ceilings) == len(plain) == 1
    assert ceilings.pop() - plain.pop() == 30 * Decimal("0.000001")


def test_a_surrogate_is_refused_as_on_the_first_call(gw: Gateway, sim: Simulator) -> None:
    messages = set()
    for _ in range(4):
        with pytest.raises(InvalidRequest, match="surrogate") as refused:
            gw.chat(MODELS[0], "a lone \ud800")
        messages.add(str(refused.value))
        gw.chat(MODELS[0], "abcdefgh")
    assert len(messages) == 1
    assert sim.executions()["total"] == 4


def test_an_object_that_may_change_is_read_at_every_call(gw: Gateway) -> None:
    stops = ["END"]
    other = gw.with_options(stop=stops)
    for _ in range(3):
        other.chat(MODELS[0], "abcdefgh")
    assert other._plan.ready[False][MODELS[0]][1] is None
    stops.append(3)  # type: ignore[arg-type]
    with pytest.raises(InvalidRequest, match="stop"):
        other.chat(MODELS[0], "abcdefgh")


@pytest.mark.parametrize(
    "options", [{"max_cost_usd": "0.50"}, {"cache": 60.0}, {"count_tokens": True}]
)
def test_what_needs_the_whole_request_goes_the_long_way(
    gw: Gateway, options: dict[str, Any]
) -> None:
    other = gw.with_options(**options)
    for _ in range(3):
        assert isinstance(other.chat(MODELS[0], "abcdefgh"), ChatResult)
    known = other._plan.ready[False].get(MODELS[0])
    assert known is None or known[1] is None


def test_new_prices_make_it_anew(gw: Gateway) -> None:
    for _ in range(3):
        gw.chat(MODELS[0], "abcdefgh")
    first = ready_of(gw)
    for targets in gw._hub.variants.values():  # what update_prices does
        targets.clear()
    gw.chat(MODELS[0], "abcdefgh")
    assert first is not None
    assert ready_of(gw) not in (None, first)


def test_the_marker_in_another_place_is_no_place_for_a_prompt(make_gateway: MakeGateway) -> None:
    other = make_gateway().with_options(system=_MARKER)
    for _ in range(3):
        assert other.chat(MODELS[0], "abcdefgh").text
    assert other._plan.ready[False][MODELS[0]][1] is None


@pytest.mark.parametrize(
    ("body", "named", "error"),
    [
        ({"a": 1}, {}, ValueError),
        ({"a": "m", "b": "m"}, {}, ValueError),
        ({"a": "m"}, {"idempotency_key": "x"}, TypeError),
        ({"a": "m"}, {"cache_ttl_s": 1.0}, TypeError),
        ({"a": "m"}, {"no_such": 1}, TypeError),
        ({"a": object()}, {}, TypeError),
    ],
)
def test_wrong_arguments(
    gw: Gateway, body: dict[str, Any], named: dict[str, Any], error: type[Exception]
) -> None:
    gw.chat(MODELS[0], "abcdefgh")
    route = gw._hub.target(MODELS[0], gw._plan).route
    assert route is not None
    with pytest.raises(error):
        _core.Ready(route, body, "m", **named)
    with pytest.raises(TypeError):
        _core.Ready(object(), {"a": "m"}, "m")  # type: ignore[arg-type]
    ready = _core.Ready(route, {"a": "m"}, "m", timeout_s=1.0)
    for wrong in (None, 3, object()):
        with pytest.raises(TypeError):
            gw._hub.engine.submit_ready(ready, wrong, ())  # type: ignore[arg-type]
    assert json.loads(ready.body("x")) == {"a": "x"}
