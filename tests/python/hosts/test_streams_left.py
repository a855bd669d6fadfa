"""Streams on other hosts: left before their first delta, inherited by a fork, read by two."""

from __future__ import annotations

import pytest

from sluiceway.simulator import Simulator
from tests.python.hosts.conftest import HEAD, Scripts, need

_LEFT = {
    "a stream": """
        kept = gw.aio.stream(MODEL, SLOW)
        async with kept:
            pass
""",
    "a chain's": """
        kept = gw.aio.stream(MODEL, SLOW, fallbacks=["anthropic/claude-haiku-4-5"])
        async with kept:
            pass
""",
    "many": """
        kept = gw.aio.chat_many(MODEL, [SLOW] * 3)
        await kept
""",
}


@pytest.mark.parametrize("what", _LEFT)
def test_in_trio(scripts: Scripts, sim: Simulator, what: str) -> None:
    """Cancelled before anything came, and still referenced."""
    need("trio")
    count = 3 if what == "many" else 1
    script = f"""
import trio

async def cancel_when_executed(scope):
    await trio.to_thread.run_sync(wait_executed, {count})
    scope.cancel()

async def main():
    async with trio.open_nursery() as nursery:
        nursery.start_soon(cancel_when_executed, nursery.cancel_scope)
{_LEFT[what]}
    with trio.fail_after(20):
        while gw.stats()["completed"] < {count}:
            await trio.sleep(0.01)
    assert kept is not None

trio.run(main)
"""
    scripts.run(HEAD + script)
    _, holds = scripts.books()
    assert [hold["in_doubt"] for hold in holds] == [True] * count


def test_a_second_reader_in_trio(scripts: Scripts, sim: Simulator) -> None:
    need("trio")
    script = """
import trio

async def read(stream, texts):
    texts.append("".join([delta.text async for delta in stream]))

async def main():
    stream, texts = gw.aio.stream(MODEL, SHORT), []
    async with trio.open_nursery() as nursery:
        nursery.start_soon(read, stream, texts)
        await trio.testing.wait_all_tasks_blocked()
        try:
            await stream.result()
        except sw.InvalidRequest:
            texts.append("refused")
    assert texts == ["refused", (await stream.result()).text]

import trio.testing
trio.run(main)
"""
    scripts.run(HEAD + script)


@pytest.mark.parametrize("kind", ["chat", "raw"])
def test_an_inherited_stream_has_no_result(scripts: Scripts, sim: Simulator, kind: str) -> None:
    """However it was left in the child: the answer is the parent's."""
    script = f"""
BODY = {{"model": "gpt-4o-mini", "stream": True,
         "messages": [{{"role": "user", "content": STREAM.replace("=1]", "=20]")}}]}}
def begin(face):
    if {kind!r} == "chat":
        return face.stream(MODEL, STREAM.replace("=1]", "=20]"))
    path = "/v1/chat/completions"
    return face.raw.stream("POST", "openai", path, json=BODY, max_cost_usd="0.01")

def refused(work):
    try:
        work()
    except sw.ForkedError:
        return True
    return False

stream, twin = begin(gw), begin(gw.aio)
next(stream)
loop = asyncio.new_event_loop()
loop.run_until_complete(anext(twin))
pid = os.fork()
if pid == 0:
    good = refused(lambda: list(stream)) and refused(stream.result)
    good = good and refused(stream.close) and refused(stream.result)
    good = good and refused(lambda: asyncio.run(twin.result()))
    good = good and refused(lambda: asyncio.run(twin.aclose()))
    good = good and refused(lambda: asyncio.run(twin.result()))
    os._exit(0 if good else 1)
assert os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]) == 0
assert stream.result().cost and loop.run_until_complete(twin.result()).cost
"""
    scripts.run(HEAD + script)
