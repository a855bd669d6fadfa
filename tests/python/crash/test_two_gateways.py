"""Two gateways of one process: forks while one comes and goes, one that closes beside another.

The scripts run for as long as they are told and print how far they came; what is looked for is a
process that hangs or dies.
"""

from __future__ import annotations

from pathlib import Path

import pytest

from sluiceway import _core
from sluiceway.simulator import Simulator
from tests.python.core.kit import Bench
from tests.python.crash.conftest import Scripts

# The writer gives verdicts to an engine, and a fork stops both; the other thread waits for the
# writer inside the lock of all ledgers. Hung before the 20th fork.
_FORKS = """
import os, threading
import sluiceway as sw

gw = sw.Gateway.from_env()
over = threading.Event()

def calls():
    while not over.is_set():
        list(gw.chat_many("openai/gpt-4o-mini", ["abcdefgh"] * 8))

def opens():
    while not over.is_set():
        with sw.Gateway.from_env() as other:
            other.budget("job:2", usd="1.00").balance

threads = [threading.Thread(target=work) for work in (calls, calls, opens)]
for thread in threads:
    thread.start()
for _ in range(150):
    child = os.fork()
    if child == 0:
        os._exit(0)
    os.waitpid(child, 0)
over.set()
for thread in threads:
    thread.join()
gw.close()
print("done")
"""

# One gateway keeps the loop's port taking turns; the other is closed with a call on the wire, just
# after it was given to the loop, and its results are kept. Crashed within seconds.
_CLOSES = """
import asyncio
import sluiceway as sw

MODEL = "openai/gpt-4o-mini"
memory = {"ledger": {"durability": "memory"}}
kept = []

async def main():
    gw = sw.Gateway(memory)
    over = False

    async def busy():
        while not over:
            await gw.aio.chat(MODEL, "abcdefgh")

    tasks = [asyncio.create_task(busy()) for _ in range(2)]
    for number in range(200):
        other = sw.Gateway(memory)
        for _ in range(number % 12 + 1):
            kept.append(await other.aio.chat(MODEL, "abcdefgh"))
        hanging = asyncio.create_task(other.aio.chat(MODEL, "abcdefgh"))
        await asyncio.sleep(0)
        other.close(0)
        kept.append(await asyncio.gather(hanging, return_exceptions=True))
    over = True
    await asyncio.gather(*tasks)
    gw.close()

asyncio.run(main())
print(len(kept))
"""


def test_forks_while_another_gateway_comes_and_goes(scripts: Scripts) -> None:
    assert scripts.run(_FORKS) == "done\n"


def test_a_gateway_that_closes_beside_another_on_the_loop(scripts: Scripts) -> None:
    assert int(scripts.run(_CLOSES)) > 200


@pytest.mark.parametrize("cancel", [True, False])
def test_what_was_reserved_and_never_sent_is_given_back(
    running_simulator: Simulator, tmp_path: Path, cancel: bool
) -> None:
    """The reservation's commit is under way when the call leaves and the engine closes."""
    options = {"ledger_path": str(tmp_path / "books.db"), "durability": "power"}
    for number in range(5):
        engine = _core.Engine(options)
        bench = Bench(running_simulator, engine)
        call = bench.submit(bench.route(), scopes=(engine.open_scope("job", str(number), 10**12),))
        if cancel:
            call.cancel()
        engine.close(0.0)
        assert call.done
        engine = _core.Engine(options)
        rows = engine.ledger_entries()
        kinds = [row["kind"] for row in rows if row["call_id"] == call.call_id]
        in_doubt = engine.open_scope("job", str(number), 10**12).balance()["in_doubt"]
        engine.close(1.0)
        if call.outcome == "never_sent":
            assert (in_doubt, kinds[1:]) == (0, ["void"] if kinds else []), kinds
