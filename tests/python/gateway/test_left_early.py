"""What a caller who leaves early leaves behind: nothing that runs on, however long he remembers it.

Every test keeps the exception, whose traceback holds the frames and with them the calls: who relies
on their being dropped leaves them running.
"""

from __future__ import annotations

import asyncio
import contextlib
import signal
import threading
import time
from collections.abc import Callable, Iterator
from typing import Any

import pytest

import sluiceway._hops
import sluiceway._many
import sluiceway._steps
from sluiceway import Cancelled, Gateway, GatewayClosed, InvalidRequest, Retry
from sluiceway.simulator import Simulator
from tests.python.gateway.conftest import MakeGateway

MODEL = "openai/gpt-4o-mini"
SECOND = "anthropic/claude-haiku-4-5"
COUNT = 5
NEVER = {"latency_ms": 60_000}
RAW: dict[str, Any] = {
    "json": {
        "model": "gpt-4o-mini",
        "stream": True,
        "messages": [{"role": "user", "content": "hi"}],
    },
    "max_cost_usd": "0.01",
    "timeout_s": 60,
}
CHAINS = pytest.mark.parametrize("options", [{}, {"fallbacks": [SECOND]}], ids=["", "chains"])


class Left(BaseException):
    """What Ctrl-C is to pytest itself."""


@pytest.fixture
def left_by_signal() -> Iterator[Callable[[], None]]:
    """What another thread calls to make the main thread raise Left."""

    def handler(number: int, frame: object) -> None:
        raise Left

    before = signal.signal(signal.SIGUSR1, handler)
    yield lambda: signal.pthread_kill(threading.main_thread().ident or 0, signal.SIGUSR1)
    signal.signal(signal.SIGUSR1, before)


def _wait(condition: Callable[[], bool]) -> None:
    deadline_s = time.monotonic() + 20
    while not condition():
        assert time.monotonic() < deadline_s, "waited in vain"
        time.sleep(0.002)


async def _await(condition: Callable[[], bool]) -> None:
    await asyncio.to_thread(_wait, condition)


def _all_ended(gw: Gateway, count: int, sent: int | None = None) -> None:
    """`count` calls have ended, of which those that were sent are in doubt, and nothing is held."""
    _wait(lambda: gw.stats()["completed"] == count)
    assert gw.flush()
    in_doubt = [hold["in_doubt"] for hold in gw.ledger.holds()]
    assert in_doubt == [True] * (len(in_doubt) if sent is None else sent)
    _wait(lambda: gw.stats()["transfers_in_flight"] == 0)


# --- chat_many


@CHAINS
def test_many_cancelled(gw: Gateway, sim: Simulator, options: dict[str, Any]) -> None:
    sim.script([{"action": NEVER}])

    async def main() -> None:
        many = gw.aio.chat_many(MODEL, ["hi"] * COUNT, timeout_s=60, **options)
        task = asyncio.create_task(many)
        await _await(lambda: sim.executions()["total"] == COUNT)
        task.cancel()
        with pytest.raises(asyncio.CancelledError) as caught:
            await task
        await asyncio.to_thread(_all_ended, gw, COUNT, COUNT)
        assert caught.value.__traceback__ is not None

    asyncio.run(main())


@CHAINS
def test_many_left_by_a_signal(
    gw: Gateway, sim: Simulator, options: dict[str, Any], left_by_signal: Callable[[], None]
) -> None:
    sim.script([{"action": NEVER}])

    def leave() -> None:
        _wait(lambda: sim.executions()["total"] == COUNT)
        left_by_signal()

    leaver = threading.Thread(target=leave)
    leaver.start()
    with pytest.raises(Left) as caught:
        gw.chat_many(MODEL, ["hi"] * COUNT, timeout_s=60, **options)
    leaver.join()
    _all_ended(gw, COUNT, COUNT)
    assert caught.value.__traceback__ is not None


def test_those_that_wait_for_their_turn_are_never_sent(
    make_gateway: MakeGateway, sim: Simulator
) -> None:
    gw = make_gateway(limits={MODEL: {"concurrency": 1}})
    sim.script([{"action": NEVER}])

    async def main() -> None:
        task = asyncio.create_task(gw.aio.chat_many(MODEL, ["hi"] * COUNT, timeout_s=60))
        await _await(lambda: sim.executions()["total"] == 1)
        task.cancel()
        with pytest.raises(asyncio.CancelledError) as caught:
            await task
        await asyncio.to_thread(_all_ended, gw, COUNT, 1)
        assert caught.value.__traceback__ is not None

    asyncio.run(main())
    assert sim.executions()["total"] == 1


@pytest.mark.parametrize(
    ("function", "options"),
    [
        ("start_ready", {}),
        ("start_encoded", {"max_cost_usd": "0.01"}),
        ("submit", {"fallbacks": [SECOND]}),
    ],
)
def test_left_while_they_are_handed_over(
    gw: Gateway,
    sim: Simulator,
    monkeypatch: pytest.MonkeyPatch,
    function: str,
    options: dict[str, Any],
) -> None:
    """Those before it do not run on."""
    sim.script([{"action": NEVER}])
    module = sluiceway._hops if function == "submit" else sluiceway._many
    original = getattr(module, function)
    begun: list[object] = []

    def start(*args: Any, **named: Any) -> Any:
        begun.append(None)
        if len(begun) == 3:
            raise Left
        return original(*args, **named)

    monkeypatch.setattr(module, function, start)
    with pytest.raises(Left) as caught:
        gw.chat_many(MODEL, ["hi"] * COUNT, timeout_s=60, **options)
    assert len(begun) == 3
    _all_ended(gw, 2)
    assert caught.value.__traceback__ is not None


# --- streams before their first delta


def _stream(gw: Gateway, kind: str) -> Any:
    if kind == "chat":
        return gw.aio.stream(MODEL, "hi", timeout_s=60)
    if kind == "chain":
        return gw.aio.stream(MODEL, "hi", timeout_s=60, fallbacks=[SECOND])
    return gw.aio.raw.stream("POST", "openai", "/v1/chat/completions", **RAW)


async def _read(stream: Any, how: str) -> None:
    if how == "result":
        await stream.result()
    else:
        async with stream:
            pytest.fail("nothing has come")


@pytest.mark.parametrize("how", ["entered", "result"])
@pytest.mark.parametrize("kind", ["chat", "chain", "raw"])
def test_a_stream_cancelled_before_its_first_delta(
    gw: Gateway, sim: Simulator, kind: str, how: str
) -> None:
    sim.script([{"action": NEVER}])

    async def main() -> None:
        stream = _stream(gw, kind)
        task = asyncio.create_task(_read(stream, how))
        await _await(lambda: sim.executions()["total"] == 1)
        task.cancel()
        with pytest.raises(asyncio.CancelledError) as caught:
            await task
        await asyncio.to_thread(_all_ended, gw, 1, 1)
        assert caught.value.__traceback__ is not None
        with pytest.raises(Cancelled) as ended:
            await stream.result()
        assert ended.value.outcome == "in_doubt"
        assert [piece async for piece in stream] == []

    asyncio.run(main())


def test_its_place_is_free(make_gateway: MakeGateway, sim: Simulator) -> None:
    """As after a chat: who falls back inside `except` is not kept waiting by what he left."""
    gw = make_gateway(limits={MODEL: {"concurrency": 1}})
    sim.script([{"match": {"stream": True}, "action": NEVER}])

    async def main() -> None:
        stream = _stream(gw, "chat")
        task = asyncio.create_task(_read(stream, "entered"))
        await _await(lambda: sim.executions()["total"] == 1)
        task.cancel()
        try:
            await task
        except asyncio.CancelledError:
            assert (await gw.aio.chat(MODEL, "hi", timeout_s=20)).text

    asyncio.run(main())


@pytest.mark.parametrize("kind", ["chat", "chain"])
def test_a_cancelled_next_can_be_asked_again(gw: Gateway, sim: Simulator, kind: str) -> None:
    """`asyncio.wait_for(anext(s), 1)` gives up waiting, not the stream; its chain goes on too."""
    late: dict[str, Any] = {"latency_ms": 300}
    if kind == "chain":
        late |= {"fault": "status", "status": 429, "retry_after_s": 60}
    sim.script([{"match": {"provider": "openai"}, "action": late}])

    async def main() -> tuple[Any, str]:
        stream = _stream(gw, kind)
        task = asyncio.create_task(anext(stream))
        await _await(lambda: len(sim.log()) + sim.executions()["total"] > 0)
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task
        text = "".join([delta.text async for delta in stream])
        return await stream.result(), text

    result, text = asyncio.run(main())
    assert len(text.split()) == 16
    assert result.text == text
    assert result.model == (SECOND if kind == "chain" else MODEL)
    assert [hop.model for hop in result.hops] == ([MODEL, SECOND] if kind == "chain" else [MODEL])


def test_a_stream_left_between_two_hops(
    gw: Gateway, sim: Simulator, monkeypatch: pytest.MonkeyPatch
) -> None:
    """By another thread, when the first hop has ended and the next is just being submitted."""
    refusal: dict[str, Any] = {"fault": "status", "status": 429, "retry_after_s": 60}
    never: dict[str, Any] = {"match": {"provider": "anthropic"}, "action": NEVER}
    sim.script([{"match": {"provider": "openai"}, "action": refusal}, never])
    stream = gw.stream(MODEL, "hi", timeout_s=60, fallbacks=[SECOND], retry=Retry(attempts=1))
    original = sluiceway._steps.submit
    begun: list[object] = []

    def submit(*args: Any, **named: Any) -> Any:
        begun.append(None)
        if len(begun) == 2:
            stream.close()
        return original(*args, **named)

    monkeypatch.setattr(sluiceway._hops, "submit", submit)
    assert list(stream) == []
    assert len(begun) == 2
    _wait(lambda: gw.stats()["completed"] == 2)
    with pytest.raises(Cancelled):
        stream.result()


# --- two readers


def test_a_second_reader_is_refused_and_the_first_reads_on(gw: Gateway) -> None:
    async def main() -> None:
        stream = _stream(gw, "chat")

        async def read() -> str:
            return "".join([delta.text async for delta in stream])

        first = asyncio.create_task(read())
        await asyncio.sleep(0)  # it waits for its first delta now
        with pytest.raises(InvalidRequest, match="one reader"):
            await anext(stream)
        with pytest.raises(InvalidRequest, match="one reader"):
            await stream.result()
        with pytest.raises(InvalidRequest, match="one reader"):
            async with stream:
                pytest.fail("another reads it")
        text = await first
        assert len(text.split()) == 16
        assert (await stream.result()).text == text

    asyncio.run(main())
    assert gw.ledger.holds() == []


# --- close and aclose


def test_closing(gw: Gateway, sim: Simulator) -> None:
    sim.script([{"action": {"output_tokens": 2000, "token_ms": 20}}])
    with contextlib.closing(gw.stream(MODEL, "hi", timeout_s=60)) as stream:
        assert next(stream).text
    assert gw.stats()["completed"] == 1
    stream.close()
    assert list(stream) == []
    with pytest.raises(Cancelled) as ended:
        stream.result()
    assert ended.value.outcome == "in_doubt"
    assert ended.value.text.startswith(stream.text)


@pytest.mark.parametrize("kind", ["chat", "raw"])
def test_aclosing(gw: Gateway, sim: Simulator, kind: str) -> None:
    sim.script([{"action": {"output_tokens": 2000, "token_ms": 20}}])

    async def main() -> None:
        async with contextlib.aclosing(_stream(gw, kind)) as stream:
            await anext(stream)
        assert gw.stats()["completed"] == 1
        await stream.aclose()
        assert [piece async for piece in stream] == []
        with pytest.raises(Cancelled) as ended:
            await stream.result()
        assert ended.value.outcome == "in_doubt"

    asyncio.run(main())


def test_closing_what_was_read_to_its_end(gw: Gateway) -> None:
    with contextlib.closing(gw.stream(MODEL, "hi")) as stream:
        text = "".join(delta.text for delta in stream)
    assert stream.result().text == text


def test_closing_what_never_started(gw: Gateway, sim: Simulator) -> None:
    stream = gw.stream(MODEL, "hi")
    stream.close()
    twin = gw.aio.stream(MODEL, "hi")
    asyncio.run(twin.aclose())
    assert list(stream) == []
    with pytest.raises(Cancelled):
        stream.result()
    assert sim.log() == []


def test_closing_the_gateway(make_gateway: MakeGateway, sim: Simulator) -> None:
    gw = make_gateway(limits={MODEL: {"concurrency": 1}})
    sim.script([{"action": {"output_tokens": 2000, "token_ms": 20}}])
    stream = gw.stream(MODEL, "hi", timeout_s=60)
    assert next(stream).text
    behind = gw.stream(MODEL, "hi", timeout_s=60)  # waits for the permit
    gw.close()
    for left, outcome in ((stream, "in_doubt"), (behind, "never_sent")):
        with pytest.raises(GatewayClosed) as ended:
            left.result()
        assert ended.value.outcome == outcome
        assert (ended.value.held > 0) == (outcome == "in_doubt")
    assert len(sim.log()) == 1
