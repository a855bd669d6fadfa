"""Work of every kind under `Budget.bind` and `gw.local_cost`: partials, objects, generators."""

from __future__ import annotations

import asyncio
import contextlib
import functools
import inspect
import threading
import types
from collections.abc import AsyncIterator, Callable, Generator, Iterator
from decimal import Decimal
from typing import Any

import pytest

from sluiceway import Budget, Gateway, InvalidRequest, InvalidType, _booking

MODEL = "openai/gpt-4o-mini"
COST = Decimal("0.000010350")  # 5 tokens in at $0.15, 16 out at $0.60 a million
PROMPT = "abcdefgh"
Work = Callable[..., Any]


class Clock:
    """The module `time` as _booking uses it: each reading is where the work has put it."""

    def __init__(self) -> None:
        self.s = 0

    def monotonic_ns(self) -> int:
        return self.s * 10**9


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> Clock:
    """A clock that stands still unless the work moves it."""
    clock = Clock()
    monkeypatch.setattr(_booking, "time", clock)
    return clock


class AsyncCallable:
    """An object whose `__call__` is a coroutine function; a subclass has it by inheritance."""

    def __init__(self, work: Work) -> None:
        self.work = work

    async def __call__(self) -> Any:
        await asyncio.sleep(0)
        return self.work()


class Heir(AsyncCallable):
    """Has no `__call__` of its own."""


def kinds(work: Work) -> dict[str, tuple[Work, Callable[[Work], Any]]]:
    """By name: a callable that does `work` once, and how its caller gets to its end."""

    async def coroutine() -> Any:
        await asyncio.sleep(0)
        return work()

    def generator() -> Iterator[Any]:
        yield None
        yield work()

    async def async_generator() -> AsyncIterator[Any]:
        yield None
        await asyncio.sleep(0)
        yield work()

    @types.coroutine
    def old_style() -> Generator[Any, Any, Any]:
        yield from asyncio.sleep(0).__await__()
        return work()

    class Awaitable:
        def __await__(self) -> Generator[Any, None, Any]:
            return coroutine().__await__()

    async def task() -> Any:
        return await asyncio.create_task(coroutine())

    async def listed(fn: Work) -> list[Any]:
        return [item async for item in fn()]

    def wait(fn: Work) -> Any:
        async def main() -> Any:
            return await fn()

        return asyncio.run(main())

    def last(fn: Work) -> Any:
        return list(fn())[-1]

    def async_last(fn: Work) -> Any:
        return asyncio.run(listed(fn))[-1]

    return {
        "function": (work, lambda fn: fn()),
        "coroutine": (coroutine, wait),
        "partial": (functools.partial(functools.partial(coroutine)), wait),
        "object": (AsyncCallable(work), wait),
        "heir": (Heir(work), wait),
        "method": (AsyncCallable(work).__call__, wait),
        "old style": (old_style, wait),
        "task": (task, wait),
        "lambda: coroutine": (lambda: coroutine(), wait),
        "lambda: old style": (lambda: old_style(), wait),
        "lambda: awaitable": (lambda: Awaitable(), wait),
        "lambda: task": (lambda: asyncio.get_running_loop().create_task(coroutine()), wait),
        "generator": (generator, last),
        "partial generator": (functools.partial(generator), last),
        "lambda: generator": (lambda: generator(), last),
        "async generator": (async_generator, async_last),
        "lambda: async generator": (lambda: async_generator(), async_last),
    }


KINDS = list(kinds(lambda: None))


@pytest.mark.parametrize("kind", KINDS)
def test_bound_work_of_every_kind_counts(gw: Gateway, kind: str) -> None:
    b = gw.budget("video:1", usd="1.00")
    fn, finish = kinds(lambda: gw.chat(MODEL, PROMPT).text)[kind]
    assert finish(b.bind(fn)) == gw.chat(MODEL, PROMPT).text  # the same, outside
    assert b.spent == COST


@pytest.mark.parametrize("kind", KINDS)
def test_timed_work_of_every_kind_is_booked(gw: Gateway, clock: Clock, kind: str) -> None:
    b = gw.budget("video:1", usd="10.00")

    def work() -> str:
        clock.s += 2
        return "done"

    fn, finish = kinds(work)[kind]
    timer = gw.local_cost("render", usd_per_s="1")
    with b:
        assert finish(timer(fn)) == "done"
    assert b.spent == 2  # 2 s at $1
    assert timer.booking is not None
    assert timer.booking.amount == 2


def test_a_wrapped_callable_stays_of_its_kind(gw: Gateway) -> None:
    b, timer = gw.budget("video:1", usd="1.00"), gw.local_cost("render", usd_per_s="1")
    for wrap in (b.bind, timer):
        found = {name: wrap(fn) for name, (fn, _) in kinds(lambda: None).items()}
        assert inspect.iscoroutinefunction(found["partial"])
        assert inspect.iscoroutinefunction(found["object"])
        assert inspect.isgeneratorfunction(found["generator"])
        assert inspect.isasyncgenfunction(found["async generator"])
        assert not inspect.iscoroutinefunction(found["function"])


def test_a_generators_budget_does_not_reach_its_consumer(gw: Gateway) -> None:
    """The consumer's own calls, between the steps, are not in the generator's budget; a budget
    that the generator holds over a `yield` is its own, too."""
    b, inner = gw.budget("video:1", usd="1.00"), gw.budget("scene:1", usd="1.00")
    around = gw.budget("account:7", usd="1.00")

    @b.bind
    def steps() -> Iterator[None]:
        gw.chat(MODEL, PROMPT)
        with inner:
            yield
            gw.chat(MODEL, PROMPT)
            yield

    with around:
        for _ in steps():
            gw.chat(MODEL, PROMPT)
    assert (b.spent, inner.spent, around.spent) == (2 * COST, COST, 4 * COST)

    async def main() -> None:
        @b.bind
        async def async_steps() -> AsyncIterator[None]:
            with inner:
                yield
                await gw.aio.chat(MODEL, PROMPT)
                yield

        async for _ in async_steps():
            await gw.aio.chat(MODEL, PROMPT)

    asyncio.run(main())
    assert (b.spent, inner.spent) == (3 * COST, 2 * COST)


def test_a_bound_generator_takes_and_gives_as_before(gw: Gateway) -> None:
    """send, throw, close and the returned value go through; its cleanup is inside, too."""
    b = gw.budget("video:1", usd="1.00")

    @b.bind
    def steps() -> Generator[str, str, str]:
        try:
            heard = yield "first"
            try:
                yield heard
            except KeyError:
                yield "caught"
            return "end"
        finally:
            gw.chat(MODEL, PROMPT)

    one = steps()
    assert [next(one), one.send("heard"), one.throw(KeyError())] == ["first", "heard", "caught"]
    with pytest.raises(StopIteration) as stop:
        next(one)
    assert stop.value.value == "end"
    assert b.spent == COST
    left = steps()
    next(left)
    left.close()
    assert b.spent == 2 * COST

    async def main() -> None:
        @b.bind
        async def async_steps() -> AsyncIterator[str]:
            try:
                yield "first"
                with contextlib.suppress(KeyError):
                    yield "second"
                yield "caught"
            finally:
                await gw.aio.chat(MODEL, PROMPT)

        one: Any = async_steps()
        assert [await anext(one), await one.asend(None)] == ["first", "second"]
        assert await one.athrow(KeyError()) == "caught"
        await one.aclose()

    asyncio.run(main())
    assert b.spent == 3 * COST


def test_a_generator_that_fails_leaves_the_budget(gw: Gateway) -> None:
    b = gw.budget("video:1", usd="1.00")

    @b.bind
    def steps() -> Iterator[None]:
        yield
        raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError):
        list(steps())
    gw.chat(MODEL, PROMPT)
    assert b.spent == 0


def test_what_cannot_be_wrapped_is_refused(gw: Gateway) -> None:
    class Session:
        """Awaited, or entered: a wrapper would take one of them away."""

        def __await__(self) -> Generator[Any, None, None]:
            yield

        async def __aenter__(self) -> None: ...

    wraps: list[Any] = [gw.budget("video:1", usd="1").bind, gw.local_cost("x", usd_per_s="1")]
    for wrap in wraps:
        with pytest.raises(InvalidType, match="cannot be called"):
            wrap("a text")
        with pytest.raises(InvalidType, match="returned a Session"):
            wrap(Session)()


def test_a_generators_time_is_its_steps_alone(gw: Gateway, clock: Clock) -> None:
    """Two steps of 2 s and 1 s; the consumer takes 100 s each. Left early, the first is booked,
    where the work began."""
    b, timer = gw.budget("video:1", usd="10.00"), gw.local_cost("render", usd_per_s="0.5")

    @timer
    def render() -> Generator[int, None, None]:
        clock.s += 2
        yield 1
        clock.s += 1

    with b:
        for _ in render():
            clock.s += 100
        assert b.spent == Decimal("1.5")  # 3 s at $0.50
        left = render()
        next(left)
        clock.s += 100
    left.close()
    assert b.spent == Decimal("2.5")  # and 2 s
    assert len([e for e in gw.ledger.entries() if e["kind"] == "settle"]) == 2


def test_one_local_cost_entered_by_two_tasks(gw: Gateway, clock: Clock) -> None:
    """Entered at 0 s and at 3 s, left at 4 s and at 5 s: 4 s and 2 s."""
    b, timer = gw.budget("video:1", usd="10.00"), gw.local_cost("render", usd_per_s="1")

    async def main() -> None:
        second_in, first_out = asyncio.Event(), asyncio.Event()

        async def first() -> None:
            async with b, timer:
                await second_in.wait()
                clock.s = 4
            first_out.set()

        async def second() -> None:
            clock.s = 3
            async with b, timer:
                second_in.set()
                await first_out.wait()
                clock.s = 5

        await asyncio.gather(first(), second())

    asyncio.run(main())
    assert b.spent == 6


def test_one_local_cost_in_threads_and_inside_of_itself(gw: Gateway, clock: Clock) -> None:
    timer = gw.local_cost("render", usd_per_s="1")
    b = gw.budget("video:1", usd="30.00")

    def inner() -> None:
        with timer:
            clock.s += 1

    with b, timer:  # 0 s to 7 s
        clock.s += 4
        thread = threading.Thread(target=b.bind(inner))  # 1 s
        thread.start()
        thread.join()
        with timer:  # 2 s
            clock.s += 2
    assert b.spent == 10


def test_a_local_cost_left_in_another_context(gw: Gateway, clock: Clock) -> None:
    """One entry is found wherever it is left; of two nobody knows which."""
    timer = gw.local_cost("render", usd_per_s="1")

    def in_thread(fn: Work) -> None:
        thread = threading.Thread(target=fn)
        thread.start()
        thread.join()

    in_thread(timer.__enter__)
    clock.s = 3
    timer.__exit__()
    assert timer.booking is not None
    assert timer.booking.amount == 3
    for _ in range(2):
        in_thread(timer.__enter__)
    with pytest.raises(RuntimeError, match="entered 2 times"):
        timer.__exit__()


@pytest.mark.parametrize("wrong", ["operation", "provider", "note", "model", "unit"])
def test_what_cannot_be_booked_is_refused_before_the_work(gw: Gateway, wrong: str) -> None:
    texts: dict[str, Any] = {wrong: b"bytes"}
    with pytest.raises(InvalidType, match=wrong):
        gw.local_cost(texts.pop("operation", "render"), usd_per_s="1", **texts)
    if wrong in ("operation", "provider"):
        with pytest.raises(InvalidRequest, match=wrong):
            gw.local_cost(**{"operation": "render", wrong: ""}, usd_per_s="1")
    with pytest.raises(InvalidRequest, match="Unicode"):
        gw.local_cost(**{"operation": "render", wrong: "\ud800"}, usd_per_s="1")


def test_a_bound_budget_is_a_budget(gw: Gateway) -> None:
    b: Budget = gw.budget("video:1", usd="1.00")
    assert b.bind(int)("7") == 7  # a class is called, too
