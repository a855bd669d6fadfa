"""`gw.aio` in tasks of trio, by itself, under anyio, and as a guest of asyncio's loop."""

from __future__ import annotations

from collections import Counter

import pytest

from sluiceway.simulator import Simulator
from tests.python.hosts.conftest import COST_NANOUSD, HEAD, Scripts, need

_SEVERAL = """
import trio

async def keep(results, call):
    results.append(await call)

async def read_stream(results):
    pieces = []
    async with gw.aio.stream(MODEL, STREAM) as stream:
        async for delta in stream:
            pieces.append(delta.text)
        result = await stream.result()
    assert "".join(pieces) == result.text and len(pieces) > 1
    results.append(result)

async def several(count=10):
    results = []
    async with trio.open_nursery() as nursery:
        for _ in range(count):
            nursery.start_soon(keep, results, gw.aio.chat(MODEL, PROMPT))
        nursery.start_soon(read_stream, results)
        models = gw.aio.raw.get("openai", "/v1/models", free=True)
        nursery.start_soon(keep, results, models)
    assert len(results) == count + 2
    assert all(result.status_code == 200 for result in results if hasattr(result, "status_code"))
"""


@pytest.mark.parametrize("how", ["runs in turn", "runs in threads", "with asyncio in turn"])
def test_chat_stream_and_raw(scripts: Scripts, how: str) -> None:
    need("trio")
    ways = {
        "runs in turn": "for _ in range(3):\n    trio.run(several)",
        "runs in threads": """
threads = [threading.Thread(target=trio.run, args=(several,)) for _ in range(3)]
for thread in threads:
    thread.start()
for thread in threads:
    thread.join()
""",
        "with asyncio in turn": """
trio.run(several)
asyncio.run(gw.aio.chat(MODEL, PROMPT))
gw.chat(MODEL, PROMPT)
trio.run(several)
async def main():
    await trio.to_thread.run_sync(asyncio.run, gw.aio.chat(MODEL, PROMPT))
    await several()
trio.run(main)
""",
    }
    scripts.run(HEAD + _SEVERAL + ways[how])
    ends, holds = scripts.books()
    chats = 30 + (3 if how.startswith("with") else 0)
    assert Counter(end["kind"] for end in ends)["settle"] == len(ends) >= chats + 3
    assert Counter(end["amount_nanousd"] for end in ends)[COST_NANOUSD] == chats
    assert holds == []


def test_a_run_gives_its_descriptor_back(scripts: Scripts) -> None:
    need("trio")
    check = """
trio.run(several, 3)
before = len(os.listdir("/proc/self/fd"))
for _ in range(20):
    trio.run(several, 3)
# Five calls at once may need five connections, where the first run needed fewer.
assert len(os.listdir("/proc/self/fd")) <= before + 5
"""
    scripts.run(HEAD + _SEVERAL + check)


_CANCELS = {
    "a chat": """
    with trio.CancelScope() as scope:
        async with trio.open_nursery() as nursery:
            nursery.start_soon(cancel_when_executed, scope)
            await gw.aio.chat(MODEL, SLOW)
    assert scope.cancelled_caught
""",
    "a chat whose nursery fails": """
    async def fail():
        await trio.to_thread.run_sync(wait_executed, 1)
        raise ValueError("mine")
    try:
        async with trio.open_nursery() as nursery:
            nursery.start_soon(gw.aio.chat, MODEL, SLOW)
            nursery.start_soon(fail)
    except* ValueError:
        pass
""",
    "a stream": """
    with trio.CancelScope() as scope:
        async with trio.open_nursery() as nursery:
            nursery.start_soon(cancel_when_executed, scope)
            async with gw.aio.stream(MODEL, SLOW_STREAM) as stream:
                async for _ in stream:
                    pass
    assert scope.cancelled_caught
""",
    "a stream that is left": """
    async with gw.aio.stream(MODEL, PROMPT + " [[simulator: token_ms=900]]") as stream:
        async for _ in stream:
            break
""",
    "a raw call": """
    with trio.CancelScope() as scope:
        async with trio.open_nursery() as nursery:
            nursery.start_soon(cancel_when_executed, scope)
            body = {"model": "gpt-4o-mini", "messages": [{"role": "user", "content": SLOW}]}
            await gw.aio.raw.post("openai", "/v1/chat/completions", json=body, max_cost_usd="0.01")
    assert scope.cancelled_caught
""",
}


@pytest.mark.parametrize("what", _CANCELS)
def test_a_cancelled_scope_cancels_the_call(scripts: Scripts, sim: Simulator, what: str) -> None:
    """At once, upstream too: no connection is left, and the money is in doubt."""
    need("trio")
    script = f"""
import trio

async def cancel_when_executed(scope):
    await trio.to_thread.run_sync(wait_executed, 1)
    scope.cancel()

async def main():
    begun = trio.current_time()
{_CANCELS[what]}
    assert trio.current_time() - begun < 20
    with trio.fail_after(20):
        while gw.stats()["completed"] < 1 or gw.stats()["connections_open"] > 0:
            await trio.sleep(0.01)
    await gw.aio.chat(MODEL, PROMPT)

trio.run(main)
"""
    scripts.run(HEAD + script)
    ends, holds = scripts.books()
    assert sorted(end["kind"] for end in ends) == ["in_doubt", "settle"]
    assert [hold["in_doubt"] for hold in holds] == [True]
    assert sim.executions()["total"] == 2


def test_a_scope_that_was_cancelled_before(scripts: Scripts, sim: Simulator) -> None:
    """A wait is a checkpoint, so the call is cancelled before or after it was sent."""
    need("trio")
    script = """
import trio

async def main():
    with trio.CancelScope() as scope:
        scope.cancel()
        await gw.aio.chat(MODEL, SLOW)
    assert scope.cancelled_caught
    assert gw.flush()

trio.run(main)
gw.close()
"""
    scripts.run(HEAD + script)
    ends, holds = scripts.books()
    assert {end["kind"] for end in ends} <= {"void", "in_doubt"}
    assert sim.executions()["total"] <= len(holds) <= 1


def test_control_c_and_the_end(scripts: Scripts) -> None:
    need("trio")
    script = """
import trio

async def main():
    async with trio.open_nursery() as nursery:
        nursery.start_soon(gw.aio.chat, MODEL, SLOW)
        await trio.to_thread.run_sync(wait_executed, 1)
        os.kill(os.getpid(), signal.SIGINT)
        await trio.sleep_forever()

try:
    trio.run(main)
except* KeyboardInterrupt:
    pass
else:
    raise SystemExit("it was not interrupted")
"""
    scripts.run(HEAD + script, timeout_s=30)
    ends, _ = scripts.books()
    assert [end["kind"] for end in ends] == ["in_doubt"]


def test_budgets_cache_and_close(scripts: Scripts) -> None:
    """A budget's context reaches the nursery's tasks; what waits in a thread does so in trio's."""
    need("trio")
    script = (
        _SEVERAL
        + """
async def main():
    async with sw.Gateway.from_env().aio as other:
        await other.chat(MODEL, PROMPT)
    with gw.budget("job:1", usd="1.00") as budget:
        await several(5)
    assert budget.spent > 0
    await gw.aio.close()

trio.run(main)
"""
    )
    scripts.run(HEAD + script)
    ends, holds = scripts.books()
    assert sum(end["scopes"] == ["job:1"] for end in ends) == 6 + (len(ends) - 7)
    assert holds == []


_ANYIO = """
import anyio

async def main():
    results = []
    async def one():
        results.append(await gw.aio.chat(MODEL, PROMPT))
    async with anyio.create_task_group() as group:
        for _ in range(20):
            group.start_soon(one)
    assert len(results) == 20
    with anyio.move_on_after(0.3) as scope:
        await gw.aio.chat(MODEL, SLOW)
    assert scope.cancelled_caught
    with anyio.CancelScope(shield=True):
        async with gw.aio.stream(MODEL, STREAM) as stream:
            async for _ in stream:
                pass
    try:
        with anyio.fail_after(0.3):
            async with gw.aio.stream(MODEL, SLOW_STREAM) as stream:
                async for _ in stream:
                    pass
    except TimeoutError:
        pass
    else:
        raise SystemExit("no timeout")
    results = []
    send, receive = anyio.create_memory_object_stream(5)
    async def produce():
        async with send:
            for _ in range(5):
                await send.send((await gw.aio.chat(MODEL, PROMPT)).text)
    async with anyio.create_task_group() as group:
        group.start_soon(produce)
        async with receive:
            async for text in receive:
                results.append(text)
    assert len(results) == 5
    await gw.aio.close()

anyio.run(main, backend=sys.argv[1] if len(sys.argv) > 1 else BACKEND, backend_options=OPTIONS)
"""


@pytest.mark.parametrize("backend", ["asyncio", "uvloop", "trio"])
def test_anyio(scripts: Scripts, backend: str) -> None:
    need("anyio", *([] if backend == "asyncio" else [backend]))
    name = "asyncio" if backend == "uvloop" else backend
    options = {"use_uvloop": True} if backend == "uvloop" else {}
    scripts.run(f"BACKEND, OPTIONS = {name!r}, {options!r}\n" + HEAD + _ANYIO)
    ends, holds = scripts.books()
    assert Counter(end["kind"] for end in ends) == {"settle": 26, "in_doubt": 2}
    assert len(holds) == 2


def test_trio_as_a_guest_of_asyncio(scripts: Scripts) -> None:
    """Both libraries on one thread at once: each task waits as its own library does."""
    need("trio")
    script = (
        _SEVERAL
        + """
async def host():
    loop = asyncio.get_running_loop()
    over = loop.create_future()
    trio.lowlevel.start_guest_run(
        several,
        run_sync_soon_threadsafe=loop.call_soon_threadsafe,
        done_callback=over.set_result,
    )
    await asyncio.gather(*(gw.aio.chat(MODEL, PROMPT) for _ in range(10)))
    (await over).unwrap()

asyncio.run(host())
"""
    )
    scripts.run(HEAD + script)
    ends, holds = scripts.books()
    assert Counter(end["amount_nanousd"] for end in ends)[COST_NANOUSD] == 20
    assert holds == []
