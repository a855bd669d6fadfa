"""Wrong arguments to every binding: a typed error that names them, never a crash or a hang.

The fuzz draws keyword arguments of submit and keys of a route's specification from values that are
right, nearly right and absurd. Whatever is accepted must end by itself.
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from sluiceway import _core
from sluiceway.errors import ConfigError, SluicewayError
from sluiceway.simulator import Simulator
from tests.python.core.kit import Bench, chat, spec

NAN, INF = math.nan, math.inf
# What an argument of the wrong kind may raise: nothing else, SystemError least of all.
TYPED = (TypeError, ValueError, OverflowError, SluicewayError)


class Rude:
    """Fails at whatever it is asked."""

    def __bool__(self) -> bool:
        raise LookupError("no truth here")

    def __float__(self) -> float:
        raise LookupError("no number here")

    def __index__(self) -> int:
        raise LookupError("no index here")

    def __iter__(self) -> Iterator[Any]:
        raise LookupError("no items here")


@pytest.fixture(scope="module")
def fuzzed(running_simulator: Simulator) -> Iterator[Bench]:
    """One engine for all examples of the fuzz."""
    engine = _core.Engine({"ledger_path": ":memory:", "durability": "memory"})
    yield Bench(running_simulator, engine)
    engine.close(0.2)


SUBMIT: list[tuple[str, object]] = [
    ("timeout_s", "1"),
    ("timeout_s", NAN),
    ("timeout_s", -1.0),
    ("connect_timeout_s", [1]),
    ("read_timeout_s", -INF),
    ("pool_timeout_s", b"1"),
    ("cache_ttl_s", NAN),
    ("scopes", 7),
    ("scopes", ["job:1"]),
    ("scopes", [None]),
    ("on_exceed", 1.5),
    ("tenant", 7),
    ("tenant", "\ud800"),
    ("intent_id", "not-an-id"),
    ("intent_id", 7),
    ("idempotency_key", b"k"),
    ("max_output_tokens", "9"),
    ("max_output_tokens", 1.5),
    ("max_output_tokens", 2**63),
    ("prompt_allowance", -(2**63) - 1),
    ("expected_prompt_tokens", {}),
    ("cap_nanousd", 2**63),
    ("cap_nanousd", 0.1),
    ("reachable_buckets", ["no such bucket"]),
    ("reachable_buckets", 3),
    ("reachable_buckets", [3]),
    ("extra_headers", [("a",)]),
    ("extra_headers", ["ab"]),
    ("extra_headers", 3),
    ("extra_headers", [("a b", "c")]),
    ("extra_headers", [("a", "b\r\nc: d")]),
    ("extra_headers", [("", "x")]),
    ("priority", "high"),
    ("attempts", "3"),
    ("no_such_argument", 1),
    ("stream_", True),
]


@pytest.mark.parametrize(("name", "value"), SUBMIT)
def test_submit(name: str, value: object, bench: Bench) -> None:
    route = bench.route()
    with pytest.raises(TYPED) as caught:
        bench.engine.submit(route, chat(), **{name: value})
    assert type(caught.value) is not Exception
    assert bench.run(route).ok
    assert bench.requests() == 1


@pytest.mark.parametrize("name", ["on_exceed"])
@pytest.mark.parametrize("value", ["waitt", "cut off", "REFUSE", ""])
def test_submit_words(name: str, value: str, bench: Bench) -> None:
    with pytest.raises(TYPED):
        bench.engine.submit(bench.route(), chat(), **{name: value})


@pytest.mark.parametrize("amount", [-1, -(10**9), -(2**63)])
@pytest.mark.parametrize("name", ["prompt_allowance", "max_output_tokens", "cap_nanousd"])
def test_a_negative_bound_never_lowers_the_ceiling(name: str, amount: int, bench: Bench) -> None:
    route = bench.route()
    plain = bench.run(route, max_output_tokens=0)
    try:
        call = bench.engine.submit(route, chat(), **{"max_output_tokens": 0, name: amount})
    except TYPED:
        return
    call.wait()
    assert call.ceiling_nanousd >= plain.ceiling_nanousd


@pytest.mark.parametrize(
    "name",
    [
        "stream",
        "timeout_s",
        "scopes",
        "tenant",
        "max_output_tokens",
        "extra_headers",
        "reachable_buckets",
        "priority",
        "cache_ttl_s",
    ],
)
def test_errors_of_the_argument_itself_come_through(name: str, bench: Bench) -> None:
    with pytest.raises((LookupError, TypeError)):
        bench.engine.submit(bench.route(), chat(), **{name: Rude()})


@pytest.mark.parametrize(
    "body", ["text", 1.5, NAN, {1: 2}, [object()], {"a": "\ud800"}, {"a": NAN}, {"a": {1, 2}}]
)
def test_bodies(body: object, bench: Bench) -> None:
    route = bench.route()
    if body in ("text", 1.5):  # JSON, if not what any provider takes
        call = bench.engine.submit(route, body)
        call.wait()
        assert call.error_kind == "bad_request"
        return
    with pytest.raises((TypeError, ValueError)):
        bench.engine.submit(route, body)
    with pytest.raises((TypeError, ValueError)):
        bench.engine.quote(route, body)


def test_positions(bench: Bench) -> None:
    route = bench.route()
    for arguments in ((), (route,), (route, chat(), True), ("route", chat()), (None, None)):
        with pytest.raises((TypeError, RuntimeError)):
            bench.engine.submit(*arguments)
    for many in ([1], [(route,)], [(route, chat(), 5)], [(route, chat(), {"x": 1})], 7, None):
        with pytest.raises((TypeError, RuntimeError)):
            bench.engine.submit_many(many)
    with pytest.raises(TypeError):
        bench.engine.submit_many([(route, chat(), {1: 2})])
    assert bench.engine.submit_many(()) == []


ROUTES: list[tuple[str, object]] = [
    ("provider", 1),
    ("url", ""),
    ("url", "ftp://127.0.0.1/"),
    ("url", "http://"),
    ("url", "http://127.0.0.1:99999/"),
    ("url", "http://127.0.0.1/a b"),
    ("url", "http://127.0.0.1/\r\nx: y"),
    ("url", 7),
    ("headers", [("a", "b\nc")]),
    ("headers", [("a:", "b")]),
    ("headers", [1]),
    ("headers", 1),
    ("http_version", "3"),
    ("http_version", 2),
    ("idle_reuse_s", -1),
    ("idle_reuse_s", NAN),
    ("idle_reuse_s", "4"),
    ("free", "yes"),
    ("free", 1),
    ("verify", 0),
    ("keep_headers", None.__class__),
    ("dialect", []),
    ("dialect", {"nonsense": 1}),
    ("dialect", {"name": "x", "text": "no-pointer"}),
    ("dialect", {"name": "x", "classes": [1]}),
    ("dialect", {"name": "x", "classes": [{"class": "no such class"}]}),
    ("dialect", {"name": "x", "classes": 3}),
    ("dialect", {"name": "x", "usage": {"no such bucket": "/a"}}),
    ("dialect", {"name": "x", "usage": {"input": "a - - b"}}),
    ("dialect", {"name": "x", "stream": {"format": "json"}}),
    ("dialect", {"name": "x", "rate_headers": [{"dimension": "apples"}]}),
    ("dialect", {"name": "x", "rate_headers": {"dimension": "requests"}}),
    ("sheet", {"provider": "p"}),
    ("sheet", {"provider": "p", "model": "m", "rows": [{}]}),
    ("sheet", {"provider": "p", "model": "m", "rows": 3}),
    ("sheet", 3),
    ("limits", {"requests_per_minute": 0}),
    ("limits", {"requests_per_minute": "many"}),
    ("limits", {"requests_per_minute": 2**70}),
    ("limits", {"requests_per_minute": 5, "burst_requests": 6}),
    ("limits", {"concurrency": -1}),
    ("limits", {"windows_s": 60}),
    ("breaker", {"failure_threshold": "5"}),
    ("breaker", {"open_base_s": NAN}),
    ("breaker", {"on": True}),
    ("retry", {"attempts": 0}),
    ("retry", {"base_s": INF}),
    ("retry", {"tries": 3}),
    ("schema_version", "1"),
    ("nonsense", 1),
]


@pytest.mark.parametrize(("key", "value"), ROUTES)
def test_routes(key: str, value: object, bench: Bench) -> None:
    with pytest.raises((*TYPED, RuntimeError, KeyError)):
        bench.engine.add_route(spec(bench.simulator) | {key: value})


RANGES: list[tuple[str, object]] = [
    ("limits", {"queue_max": -1}),
    ("limits", {"window_s": 0, "requests_per_minute": 6}),
    ("breaker", {"failure_threshold": -5}),
    ("breaker", {"failure_threshold": 2**40}),
    ("breaker", {"failure_percent": 200}),
    ("retry", {"attempts": 2**40}),
    ("retry", {"budget_percent": -1}),
    ("retry", {"attempts": 2**32 + 1}),
]


@pytest.mark.parametrize(("key", "value"), RANGES)
def test_ranges_of_routes(key: str, value: object, bench: Bench) -> None:
    with pytest.raises(ConfigError):
        bench.engine.add_route(spec(bench.simulator) | {key: value})


@pytest.mark.parametrize(
    ("key", "value"),
    [
        ("ledger_queue_max", -1),
        ("cache_bytes_max", -1),
        ("connections_max", -1),
        ("connections_max", 2**40),
        ("send_attempt_header", "perhaps"),
    ],
)
def test_ranges_of_engines(key: str, value: object) -> None:
    with pytest.raises(ConfigError):
        _core.Engine({key: value})


@pytest.mark.parametrize(
    ("key", "value"),
    [
        ("ledger_path", 3),
        ("durability", "sometimes"),
        ("ledger_queue_max", "x"),
        ("cache_bytes_max", 1.5),
        ("connections_max", True),
        ("post_in_doubt_after_s", NAN),
        ("send_attempt_header", 1),
        ("nonsense", 1),
    ],
)
def test_engines(key: str, value: object) -> None:
    with pytest.raises(TYPED):
        _core.Engine({key: value})


def test_scopes(bench: Bench) -> None:
    engine = bench.engine
    wrong: list[dict[str, Any]] = [
        {"kind": "", "key": "1"},
        {"kind": "job", "key": "1", "limit_nanousd": -1},
        {"kind": "job", "key": "1", "limit_nanousd": 2**63},
        {"kind": "job", "key": "1", "limit_nanousd": 1.5},
        {"kind": "job", "key": "1", "period": "fortnight"},
        {"kind": "job", "key": "1", "period": "day", "time_zone": "Nowhere/Land"},
        {"kind": "job", "key": "1", "period": "day", "time_zone": "../../etc/passwd"},
        {"kind": "job", "key": "1", "rolling_s": NAN},
        {"kind": "job", "key": "1", "rolling_s": -1.0},
        {"kind": "job", "key": "1", "rolling_s": INF},
        {"kind": 1, "key": "1"},
        {"kind": "job"},
        {"kind": "job", "key": "1", "nonsense": 1},
    ]
    for arguments in wrong:
        print(arguments)
        with pytest.raises(TYPED):
            engine.open_scope(**arguments)


def test_the_rest(bench: Bench) -> None:
    engine = bench.engine
    loose: Any = _core  # what a type checker would not let through
    assert bench.run(bench.route()).ok
    wrong: list[Any] = [
        lambda: engine.reset_breaker("nobody", "default", "m"),
        lambda: engine.reset_breaker("openai", "default", "gpt-6-luna", "ajar"),
        lambda: engine.ledger_resolve("nonsense", 1, "x"),
        lambda: engine.ledger_resolve(_core.new_id(), 1, "no such call"),
        lambda: engine.ledger_resolve(_core.new_id(), -1, "negative"),
        lambda: engine.ledger_resolve(1, 1, 1),
        lambda: engine.ledger_entries(limit=-1),
        lambda: engine.ledger_entries(from_s="x"),
        lambda: engine.breaker(1, 2, 3),
        lambda: engine.limits(1),
        lambda: engine.quote(1, 2),
        lambda: engine.quote(bench.route(), chat(), nonsense=1),
        lambda: engine.quote(bench.route(sheet=None), chat()),
        lambda: _core.window_key("fortnight", 0.0, "UTC"),
        lambda: _core.window_key("day", 0.0, "Nowhere/Land"),
        lambda: loose.window_key("day", "0", "UTC"),
        lambda: loose.Route(),
        lambda: loose.Scope(),
        lambda: loose.Engine(),
        lambda: loose.Engine([]),
    ]
    for use in wrong:
        with pytest.raises(TYPED):
            use()
    assert engine.limits("no such group") == {}
    assert engine.ledger_entries(limit=0) == []


@pytest.mark.parametrize("seconds", [NAN, INF, -INF, 1e300, -1e300])
def test_absurd_times_end(seconds: float, bench: Bench) -> None:
    """May raise, may answer; must come back."""
    engine = bench.engine
    route = bench.route()
    assert bench.run(route).ok
    for use in (
        lambda: _core.window_key("day", seconds, "UTC"),
        lambda: engine.flush(seconds),
        lambda: engine.quote(route, chat(), timeout_s=seconds),
        lambda: engine.ledger_entries(from_s=seconds, to_s=seconds),
        lambda: engine.close(seconds),
    ):
        try:
            use()
        except TYPED:
            continue
    assert engine.flush(0.0) in (True, False)


def test_a_callback_that_is_none(bench: Bench) -> None:
    bench.engine.set_event_callback(7)  # is called, fails, and is reported as unraisable
    bench.engine.set_event_callback(None)
    assert bench.run(bench.route(), "fault=drop_after").error_kind == "in_doubt"


NUMBERS = [True, 0, 1, -1, 2**31, 2**63 - 1, -(2**63), 2**64, 0.0, -0.5, 1e-9, NAN, INF, -INF]
TEXTS = ["", "x", "wait", "\ud800", "\x00", "a" * 5000, b"", b"x"]
ITEMS = [[], [1], (), ("input",), {}, {"a": 1}, [None], [("a", "b")], [("content-length", "1")]]
ABSURD = st.sampled_from([None, *NUMBERS, *TEXTS, *ITEMS, [("host", "x")], object(), Rude(), ...])
SUBMIT_NAMES = """
    stream connect_timeout_s read_timeout_s pool_timeout_s scopes on_exceed tenant intent_id
    idempotency_key max_output_tokens prompt_allowance reachable_buckets expected_prompt_tokens
    expected_output_tokens cap_nanousd cache_ttl_s extra_headers priority attempts nonsense
"""
ROUTE_KEYS = """
    provider account model operation method url headers ca_file ca_dir http_version proxy
    unix_socket idle_reuse_s service_tier idempotent_key_header free keep_headers lenient dialect
    sheet group limits breaker retry schema_version verify nonsense
"""
TABLE_KEYS = """
    requests_per_minute burst_requests concurrency window_s queue_max failure_threshold
    failure_percent window_calls_min open_base_s enabled attempts base_s cap_s name text classes
    usage stream rate_headers rows provider model
"""


def words_of(text: str) -> st.SearchStrategy[str]:
    return st.sampled_from(text.split())


ANY_ERROR = (*TYPED, LookupError)
FUZZ = settings(
    max_examples=150, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture]
)


@FUZZ
@given(words=st.dictionaries(words_of(SUBMIT_NAMES), ABSURD, max_size=4))
def test_fuzz_submit(fuzzed: Bench, words: dict[str, Any]) -> None:
    route = fuzzed.route()
    try:
        call = fuzzed.engine.submit(route, chat(), **{"timeout_s": 0.5} | words)
    except ANY_ERROR:
        return
    call.wait()
    assert call.done
    assert call.ok == (call.error_kind == "none")
    assert call.outcome in ("never_sent", "refused", "in_doubt", "done")
    assert call.ceiling_nanousd >= 0
    assert 0 <= call.held_nanousd <= call.ceiling_nanousd


TABLES = st.dictionaries(words_of(TABLE_KEYS), ABSURD, max_size=3)


@FUZZ
@given(changes=st.dictionaries(words_of(ROUTE_KEYS), ABSURD | TABLES, max_size=3))
def test_fuzz_routes(fuzzed: Bench, changes: dict[str, Any]) -> None:
    try:
        # A proxy or a path of somebody else's is not for a test to meet.
        route = fuzzed.engine.add_route(spec(fuzzed.simulator) | changes)
        call = fuzzed.engine.submit(route, chat(), timeout_s=0.5)
    except (*ANY_ERROR, RuntimeError):
        return
    call.wait()
    assert call.done
