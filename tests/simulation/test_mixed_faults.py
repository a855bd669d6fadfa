"""A seeded storm: calls with random faults over all providers, from threads and asyncio at once.

One gateway, eight threads and an event loop, whole answers and streams, some of them left early or
cancelled. Each prompt carries its own fault as a directive, so that a call meets the same fate
whatever the schedule. Afterwards the books must equal the simulator's bill to the nano-dollar:
settled calls exactly, void calls at 0, calls in doubt between 0 and their hold.
"""

from __future__ import annotations

import asyncio
import random
import threading
from collections import Counter
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from sluiceway import Gateway, SluicewayError, simulator
from sluiceway.money import nanousd_of
from tests.simulation import plans
from tests.simulation.books import Line, prove, read_books, shown
from tests.simulation.worker import gateway_config

CALLS = 3000 if plans.PROOF else 500
THREADS = 8
TASKS = 24
MAX_OUTPUT_TOKENS = 200
READ_TIMEOUT_S = 0.4
FAULTS = (
    "fault=drop_before",
    "fault=drop_after",
    "fault=drop_after reset=true",
    "fault=stall_before",
    "fault=stall_after",
    "fault=cut_body",
    "fault=cut_chunked",
    "fault=cut_stream after_events=3",
    "fault=cut_stream after_events=4 clean=true",
    "fault=stall_stream after_events=3",
    "fault=error_in_stream",
    "fault=error_in_stream after_deltas=4 stream_error=server",
    "fault=slow_drip drip_bytes=64 drip_ms=1",
    "fault=bad_json",
    "fault=html_error",
    "fault=html_error status=503 executed=false",
    "fault=status status=429 on_attempt=1-2 retry_after_form=ms retry_after_s=0.005",
    "fault=status status=429 flavour=insufficient_quota",
    "fault=status status=400",
    "fault=status status=500",
    "fault=status status=502 executed=false",
    "fault=status status=503 on_attempt=1 retry_after_form=none",
    "fault=status status=529 on_attempt=1-3 retry_after_form=none",
    "close_after=true",
    "fault=cut_stream after_events=3 bill=partial",
)


@dataclass(frozen=True)
class Call:
    """One planned call. `leave` is what its caller does: stay, leave the stream, or cancel."""

    model: str
    prompt: str
    stream: bool
    leave: str


def draw(rng: random.Random, count: int) -> list[Call]:
    """`count` calls, half of them with a fault."""
    calls = []
    for _ in range(count):
        stream = rng.random() < 0.4
        words = [f"output_tokens={rng.randint(1, MAX_OUTPUT_TOKENS)}", "latency_ms=uniform:0:15"]
        leave = "stay"
        if rng.random() < 0.5:
            words.append(rng.choice(FAULTS))
        elif rng.random() < 0.2:
            leave = rng.choice(("leave", "cancel"))
            words += ["latency_ms=50", "token_ms=1", f"bill={rng.choice(('full', 'partial'))}"]
        prompt = f"{'rivers ' * rng.randint(1, 6)}[[simulator: {' '.join(words)}]]"
        calls.append(Call(rng.choice(list(plans.MODELS.values())), prompt, stream, leave))
    return calls


class Storm:
    """The calls under way: what each was told, by call id."""

    def __init__(self, gateway: Gateway) -> None:
        self.gateway = gateway.with_options(
            max_output_tokens=MAX_OUTPUT_TOKENS, read_timeout_s=READ_TIMEOUT_S, timeout_s=30
        )
        self.told: dict[str, tuple[str, int]] = {}
        self.unheard = 0  # cancelled or left: no call id was given
        self.counts: Counter[str] = Counter()
        self._lock = threading.Lock()

    def note(self, call_id: str, told: str, amount: int, name: str) -> None:
        """Keeps what a caller was told."""
        with self._lock:
            self.told[call_id] = (told, amount)
            self.counts[name] += 1

    def failed(self, error: SluicewayError) -> None:
        """An error says what it holds, or what was charged all the same; else it cost nothing."""
        held, charged = nanousd_of(error.held), nanousd_of(error.charged)
        assert not (held and charged)
        kind = "in_doubt" if held else "settled" if charged else "no_charge"
        assert held or error.outcome != "in_doubt"
        self.note(error.call_id, kind, held or charged, type(error).__name__)

    def done(self, result: Any) -> None:
        """An answer has a cost, or is in doubt where it carried no usage."""
        cost = result.cost
        if cost.nanousd is None:
            self.note(result.call_id, "in_doubt", nanousd_of(cost.held), "no usage")
        else:
            self.note(result.call_id, "settled", cost.nanousd, "settled")

    def left(self, name: str) -> None:
        """Counts a call that its caller gave up."""
        with self._lock:
            self.unheard += 1
            self.counts[name] += 1

    def blocking(self, call: Call) -> None:
        """A call from a thread."""
        try:
            if not call.stream:
                self.done(self.gateway.chat(call.model, call.prompt))
                return
            with self.gateway.stream(call.model, call.prompt) as stream:
                for _ in stream:
                    if call.leave != "stay":
                        self.left("left early")
                        return
                self.done(stream.result())
        except SluicewayError as error:
            self.failed(error)

    async def awaited(self, call: Call) -> None:
        """A call from the event loop."""
        try:
            if not call.stream:
                self.done(await self.gateway.aio.chat(call.model, call.prompt))
                return
            async with self.gateway.aio.stream(call.model, call.prompt) as stream:
                async for _ in stream:
                    if call.leave == "leave":
                        self.left("left early")
                        return
                self.done(await stream.result())
        except SluicewayError as error:
            self.failed(error)

    async def consume(self, calls: Iterator[Call]) -> None:
        """One of the tasks of the loop; cancels the calls that are to be cancelled."""
        for call in calls:
            task = asyncio.create_task(self.awaited(call))
            if call.leave == "cancel":
                await asyncio.sleep(0.02)
                task.cancel()
            try:
                await task
            except asyncio.CancelledError:
                self.left("cancelled")

    async def loop(self, calls: list[Call]) -> None:
        """All tasks of the loop."""
        iterator = iter(calls)
        await asyncio.gather(*(self.consume(iterator) for _ in range(TASKS)))

    def run(self, calls: list[Call]) -> None:
        """Half of the calls from threads, half from a loop, at once."""
        half = len(calls) // 2
        with ThreadPoolExecutor(THREADS + 1) as pool:
            loop = pool.submit(asyncio.run, self.loop(calls[:half]))
            list(pool.map(self.blocking, calls[half:]))
            loop.result()


def no_scopes(_: Line) -> tuple[str, ...]:
    """The storm runs outside of every budget."""
    return ()


@pytest.mark.parametrize("seed", plans.seeds(8))
@pytest.mark.parametrize("tls", [False, True], ids=["http", "h2"])
def test_the_books_equal_the_bill(
    tls: bool, seed: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    print(f"seed {seed}")
    calls = draw(random.Random(f"storm {seed} {tls}"), CALLS)
    with simulator.spawn(seed=seed, tls=tls) as sim:
        monkeypatch.setenv("SLUICEWAY_SIMULATOR_URL", sim.https_url if tls else sim.http_url)
        if tls:
            monkeypatch.setenv("SLUICEWAY_SIMULATOR_CA", sim.ca_file)
        config = gateway_config(str(tmp_path / "books.db"), "process")
        with Gateway(config) as gateway:
            storm = Storm(gateway)
            storm.run(calls)
            assert gateway.flush()
            books = read_books(gateway)
        lines = sim.log()
    print(storm.counts)
    problems = prove(books, lines, {}, no_scopes)
    state_of = {"settled": {"settle"}, "in_doubt": {"in_doubt"}, "no_charge": {"void", "absent"}}
    for call_id, (told, amount) in storm.told.items():
        call = books.calls.get(call_id)
        state = call.state if call is not None else "absent"
        if state not in state_of[told]:
            problems.append(f"call {call_id}: told {told}, the ledger says {state}")
        elif call is not None and told == "settled" and call.ends[0][1] != amount:
            problems.append(f"call {call_id}: told {amount}, settled at {call.ends[0][1]}")
        elif call is not None and told == "in_doubt" and call.hold_nanousd != amount:
            problems.append(f"call {call_id}: told {amount}, held are {call.hold_nanousd}")
    assert not problems, shown(problems)
    # Every call is accounted for, and each kind of end was met.
    assert len(storm.told) + storm.unheard == len(calls)
    assert len(books.calls.keys() - storm.told.keys()) <= storm.unheard
    ends = Counter(call.state for call in books.calls.values())
    assert ends["settle"] > len(calls) // 4
    assert ends["void"] > 10
    assert ends["in_doubt"] > 10
    assert {line["protocol"] for line in lines} == ({"h2"} if tls else {"h1"})
    for word in ("cancelled", "left early", "StreamBroken", "TimedOutInDoubt", "InvalidResponse"):
        assert storm.counts[word], f"the storm had no call that ended as {word}"
