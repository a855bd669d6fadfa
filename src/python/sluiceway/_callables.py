"""What kind of callable something is, and work of every kind that runs inside of a span.

Model: `wrap(fn, span)` gives a callable of the same kind as `fn`. For each call it makes a `Span`,
which is told when the work runs (`resume`), when it does not (`pause`) and that it is over (`end`).
A coroutine runs in one go, pauses of its own included. A generator runs from step to step and not
in between, so that nothing of its span is seen by whoever takes what it yields. What a plain
callable returns is part of the work where that is a coroutine, another awaitable or a generator: a
lambda or a decorated function is then a span like what it calls. A future runs by itself; what is
left of its span is told to `follow`.

    run = wrap(fn, lambda: BudgetSpan(budget))

Refused: an awaitable that is also entered or iterated, since a wrapper would take that away.
Time: a microsecond or two a call. No state, any thread.
"""

from __future__ import annotations

import functools
from collections.abc import AsyncGenerator, Callable, Generator
from types import AsyncGeneratorType, GeneratorType
from typing import Any, Protocol, TypeVar, cast

from sluiceway.errors import InvalidType

F = TypeVar("F", bound=Callable[..., Any])

# The kinds; `inspect`, which has the flags below too, would cost an import.
PLAIN, COROUTINE, GENERATOR, ASYNC_GENERATOR = "plain", "coroutine", "generator", "async generator"
_CO_GENERATOR = 0x20
_CO_COROUTINE = 0x80 | 0x100  # a generator that types.coroutine marked is awaited, too
_CO_ASYNC_GENERATOR = 0x200


class Span(Protocol):
    """What surrounds one call's work. `resume` and `pause` come in turns, `end` once, last."""

    def resume(self) -> None:
        """The work runs from here on."""

    def pause(self) -> None:
        """It does not until the next `resume`."""

    def end(self) -> None:
        """It is over, well or not."""

    def follow(self, future: Any) -> None:
        """In place of `end`: the work is an asyncio.Future, which ends by itself."""


def kind_of(fn: object) -> str:
    """PLAIN, COROUTINE, GENERATOR or ASYNC_GENERATOR: what calling it gives.

    Looks through partials, methods and callable objects. What only a call can tell (a lambda that
    returns a coroutine) is PLAIN. InvalidType for what cannot be called.
    """
    if not callable(fn):
        raise InvalidType(f"a {type(fn).__name__} is no function and cannot be called")
    found: Any = fn
    while isinstance(found, functools.partial):
        found = found.func
    code = getattr(found, "__code__", None)
    if code is None:
        method: Any = type(found).__call__
        while isinstance(method, functools.partial):
            method = method.func
        code = getattr(method, "__code__", None)
    flags = getattr(code, "co_flags", 0)
    if flags & _CO_ASYNC_GENERATOR:
        return ASYNC_GENERATOR
    if flags & _CO_COROUTINE:
        return COROUTINE
    return GENERATOR if flags & _CO_GENERATOR else PLAIN


def wrap(fn: F, span: Callable[[], Span]) -> F:
    """`fn` with each call's work inside of a span of its own. InvalidType as in `kind_of`."""
    return cast(F, _WRAPPERS[kind_of(fn)](fn, span))


def _wrap_plain(fn: Callable[..., Any], span: Callable[[], Span]) -> Callable[..., Any]:
    @functools.wraps(fn)
    def run(*args: Any, **kwargs: Any) -> Any:
        inside = span()
        inside.resume()
        try:
            value = fn(*args, **kwargs)
        except BaseException:
            inside.pause()
            inside.end()
            raise
        inside.pause()
        return _rest(value, inside)

    return run


def _rest(value: Any, inside: Span) -> Any:
    """What a plain callable returned: the rest of its work, or its result."""
    kind = type(value)
    if isinstance(value, GeneratorType):
        if value.gi_code.co_flags & _CO_COROUTINE:
            return _awaited(value, inside)
        return _wrap_generator(lambda: value, lambda: inside)()
    if isinstance(value, AsyncGeneratorType):
        return _wrap_async_generator(lambda: value, lambda: inside)()
    if not hasattr(kind, "__await__"):
        inside.end()
    elif hasattr(kind, "_asyncio_future_blocking"):  # how asyncio.isfuture knows one
        inside.follow(value)
    elif hasattr(kind, "__aenter__") or hasattr(kind, "__aiter__"):
        inside.end()
        raise InvalidType(
            f"it returned a {kind.__name__}, which is awaited and entered or iterated, so it cannot"
            " be wrapped; wrap a coroutine function that does the whole work"
        )
    else:
        return _awaited(value, inside)
    return value


async def _awaited(value: Any, inside: Span) -> Any:
    inside.resume()
    try:
        return await value
    finally:
        inside.pause()
        inside.end()


def _wrap_coroutine(fn: Callable[..., Any], span: Callable[[], Span]) -> Callable[..., Any]:
    @functools.wraps(fn)
    async def run(*args: Any, **kwargs: Any) -> Any:
        inside = span()
        inside.resume()
        try:
            return await fn(*args, **kwargs)
        finally:
            inside.pause()
            inside.end()

    return run


def _wrap_generator(fn: Callable[..., Any], span: Callable[[], Span]) -> Callable[..., Any]:
    @functools.wraps(fn)
    def run(*args: Any, **kwargs: Any) -> Generator[Any, Any, Any]:
        steps, inside = fn(*args, **kwargs), span()
        sent: Any = None
        thrown: BaseException | None = None
        try:
            while True:
                inside.resume()
                try:
                    item = steps.send(sent) if thrown is None else steps.throw(thrown)
                except StopIteration as stop:
                    return stop.value
                finally:
                    inside.pause()
                sent = thrown = None
                try:
                    sent = yield item
                except GeneratorExit:
                    inside.resume()
                    try:
                        steps.close()
                    finally:
                        inside.pause()
                    raise
                except BaseException as error:  # noqa: BLE001 - thrown into the generator
                    thrown = error
        finally:
            inside.end()

    return run


def _wrap_async_generator(fn: Callable[..., Any], span: Callable[[], Span]) -> Callable[..., Any]:
    @functools.wraps(fn)
    async def run(*args: Any, **kwargs: Any) -> AsyncGenerator[Any, Any]:
        steps, inside = fn(*args, **kwargs), span()
        sent: Any = None
        thrown: BaseException | None = None
        try:
            while True:
                inside.resume()
                try:
                    item = await (steps.asend(sent) if thrown is None else steps.athrow(thrown))
                except StopAsyncIteration:
                    return
                finally:
                    inside.pause()
                sent = thrown = None
                try:
                    sent = yield item
                except GeneratorExit:
                    inside.resume()
                    try:
                        await steps.aclose()
                    finally:
                        inside.pause()
                    raise
                except BaseException as error:  # noqa: BLE001 - thrown into the generator
                    thrown = error
        finally:
            inside.end()

    return run


_WRAPPERS: dict[str, Callable[[Any, Callable[[], Span]], Any]] = {
    PLAIN: _wrap_plain,
    COROUTINE: _wrap_coroutine,
    GENERATOR: _wrap_generator,
    ASYNC_GENERATOR: _wrap_async_generator,
}
