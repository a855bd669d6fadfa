"""Sluiceway as a measured client: the public API, and the core under it.

Clients
    aio           `await gw.aio.chat(...)`, everything on: four limits, breaker, a day's budget and
                  one of the job, a ledger in --ledger (durable when that is a file)
    aio_off       the same without limits, breaker and budgets, ledger in memory; every call is
                  still priced, and parsed
    core          what aio does, submitted to `_core.Engine` directly: what the Python face costs is
                  the difference
    core_off      aio_off in the same way
    many          everything on, `await gw.aio.chat_many(...)`, --in-flight prompts at a time
    many_off      the same with everything off
    sync          everything on, `gw.chat(...)` from --in-flight threads
    stream        `gw.aio.stream(...)` everything off, --events deltas a stream, text read
See common.py for what is metered. The ledger's flush counts as CPU of the calls. After the run the
books must hold exactly the calls that were made.
"""

from __future__ import annotations

import os
import threading
import time
from typing import Any

from benchmarks.python.clients import common
from benchmarks.python.clients.common import Meter, One, require

MODEL = f"openai/{common.MODEL}"
DELTA = " water"
CLIENTS = ("aio", "aio_off", "core", "core_off", "many", "many_off", "sync", "stream")
PLENTY = 1_000_000_000_000
BUDGET = f"bench:run{os.getpid()}"  # in a ledger that other runs have used too, it is new


def gateway(
    url: str, ledger: str, everything: bool, *, cacert: str = "", http2: bool = False
) -> Any:
    """A gateway on the benchmark server, with everything on or off."""
    import sluiceway as sw

    os.environ["OPENAI_API_KEY"] = common.KEY
    for name in ("SLUICEWAY_SIMULATOR_URL", "SLUICEWAY_LEDGER", "SLUICEWAY_OPENAI_BASE_URL"):
        os.environ.pop(name, None)
    account = {"base_url": url, "http_version": "2" if http2 else "1.1"}
    if cacert:
        account["ca_file"] = cacert
    config: dict[str, Any] = {
        "accounts": {"openai": account},
        "defaults": {"max_output_tokens": common.MAX_OUTPUT_TOKENS},
        # As to a real provider; to loopback the header is a help for tests, and costs.
        "engine": {"send_attempt_header": "never"},
        "ledger": {"path": ledger, "durability": "memory" if ledger == ":memory:" else "power"},
    }
    if everything:
        config["limits"] = {
            MODEL: {
                "requests_per_minute": PLENTY,
                "input_tokens_per_minute": PLENTY,
                "output_tokens_per_minute": PLENTY,
                "concurrency": 100_000,
            }
        }
        config["budgets"] = {"day": {"limit": "1000000", "period": "day"}}
    else:
        config["breakers"] = {"openai": {"enabled": False}}
    return sw.Gateway(config)


def check(result: Any, text: str = common.TEXT) -> None:
    """The whole answer, once, before anything is timed."""
    require(result.text == text, "text")
    require(result.usage.input_tokens == common.INPUT_TOKENS, "input tokens")
    require(result.usage.output_tokens == common.OUTPUT_TOKENS, "output tokens")
    require(result.cost.nanousd == common.COST_NANOUSD, f"cost {result.cost}")


class Run:
    """One client, its gateway and its meter."""

    def __init__(self) -> None:
        self.args = args = common.arguments(CLIENTS)
        self.everything = not args.client.endswith("_off") and args.client != "stream"
        self.gw = gateway(
            args.url, args.ledger, self.everything, cacert=args.cacert, http2=args.http2
        )
        self.meter = Meter()
        self.prompt = common.prompt_of(args.post_bytes)
        self.text = common.text_of(args.text_bytes)
        self.text_length = len(self.text)
        self.budget: Any = None

    def one(self) -> One:
        """The coroutine function of one call."""
        length, prompt = self.text_length, self.prompt
        if self.args.client.startswith("aio"):
            chat = self.gw.aio.chat

            async def one() -> bool:
                return len((await chat(MODEL, prompt)).text) == length

            return one
        if self.args.client == "stream":
            return self.one_stream()
        submit, keywords = self.core_call()

        async def one_core() -> bool:
            call = submit(*keywords[0], **keywords[1])
            await call
            return len(call.text) == length

        return one_core

    def one_stream(self) -> One:
        stream = self.gw.aio.stream
        events: int = self.args.events

        async def one() -> bool:
            count = 0
            async with stream(MODEL, common.PROMPT) as deltas:
                async for delta in deltas:
                    count += delta.text == DELTA
            return count == events

        return one

    def core_call(self) -> tuple[Any, tuple[tuple[Any, Any], dict[str, Any]]]:
        """What `gw.aio.chat` hands to the engine for this prompt, taken apart.

        The face's own parts are used so that route, ceiling and options are the same.
        """
        from sluiceway._frames import current_frame

        hub, plan = self.gw._hub, self.gw._plan
        target = hub.resolve(MODEL, plan)
        encoded = target.encode(target.facts, self.prompt, plan.body, False)
        keywords = {
            "scopes": current_frame(hub).scopes,
            "max_output_tokens": encoded.max_output_tokens,
            "prompt_allowance": encoded.prompt_allowance,
            "reachable_buckets": encoded.reachable_buckets,
            **plan.submit,
        }
        return hub.engine.submit, ((target.route_for("", hub.engine), encoded.body), keywords)

    def check_bytes(self) -> None:
        """The engine sends what the others send."""
        from sluiceway import _core

        (_, body), _ = self.core_call()[1]
        sent = common.post_bytes(self.args.post_bytes)
        require(_core.json_bytes(body) == sent, "the body that is sent")

    def settled(self) -> None:
        """Everything that was caused is written."""
        require(self.gw.flush(60.0), "the ledger was not flushed")

    async def measure(self) -> None:
        """Warm-up, then the metered calls."""
        args, meter, one = self.args, self.meter, self.one()
        await common.fan_out(one, args.warm, args.in_flight, meter)
        self.settled()
        meter.start()
        await common.fan_out(one, args.calls, args.in_flight, meter)
        meter.lap()
        self.settled()
        meter.stop()

    async def measure_many(self) -> None:
        """Batches of in_flight prompts, the next when the last is answered."""
        args, meter, length = self.args, self.meter, self.text_length
        chat_many, prompts = self.gw.aio.chat_many, [self.prompt] * args.in_flight

        async def batches(count: int) -> None:
            for _ in range(count):
                began = time.perf_counter()
                for result in await chat_many(MODEL, prompts):
                    meter.bad += isinstance(result, Exception) or len(result.text) != length
                meter.latencies_s.append(time.perf_counter() - began)

        await batches(max(1, args.warm // args.in_flight))
        self.settled()
        meter.start()
        await batches(args.calls // args.in_flight)
        meter.lap()
        self.settled()
        meter.stop()
        args.calls = args.calls // args.in_flight * args.in_flight
        args.warm = max(1, args.warm // args.in_flight) * args.in_flight

    def measure_sync(self) -> None:
        """`in_flight` threads, each with its share of the calls."""
        args, meter, length = self.args, self.meter, self.text_length
        chat, now = self.gw.chat, time.perf_counter

        def work(calls: int) -> None:
            bad = 0
            latencies_s = []
            for _ in range(calls):
                began = now()
                bad += len(chat(MODEL, common.PROMPT).text) != length
                latencies_s.append(now() - began)
            meter.bad += bad
            meter.latencies_s += latencies_s

        def all_threads(calls: int) -> None:
            share = calls // args.in_flight
            bound = [self.budget.bind(work) for _ in range(args.in_flight)]
            threads = [threading.Thread(target=fn, args=(share,)) for fn in bound]
            for thread in threads:
                thread.start()
            for thread in threads:
                thread.join()

        args.calls -= args.calls % args.in_flight
        args.warm -= args.warm % args.in_flight
        all_threads(args.warm)
        self.settled()
        meter.start()
        all_threads(args.calls)
        meter.lap()
        self.settled()
        meter.stop()

    def check_books(self, before: int) -> None:
        """Every call that was made was settled at its price, and no other."""
        if not self.everything:
            return
        calls = before + self.args.warm + self.args.calls
        scopes = {one["name"]: one for one in self.gw._hub.engine.ledger_scopes()}
        settled = scopes[BUDGET]["settled"]
        require(settled == calls * common.COST_NANOUSD, f"{settled} settled for {calls} calls")

    def main(self) -> None:
        """The run, from the check to the line."""
        import sluiceway as sw

        args = self.args
        before = 0
        if self.everything:
            self.budget = self.gw.budget(BUDGET, usd="1000000")
            self.budget.__enter__()
        if args.client != "stream":
            check(self.gw.chat(MODEL, self.prompt), self.text)
            self.check_bytes()
            before = 1
        profiler = None
        if args.profile:
            import cProfile

            profiler = cProfile.Profile()
            profiler.enable()
        if args.client == "sync":
            self.measure_sync()
        elif args.client.startswith("many"):
            common.run_loop(self.measure_many, args.uvloop)
        else:
            common.run_loop(self.measure, args.uvloop)
        if profiler is not None:
            profiler.disable()
            profiler.dump_stats(args.profile)
        self.check_books(before)
        stats = self.gw.stats()
        if self.budget is not None:
            self.budget.__exit__(None, None, None)
        self.meter.report(args.calls, f"sluiceway {sw.__version__}", stats=stats)
        self.gw.close()


if __name__ == "__main__":
    Run().main()
