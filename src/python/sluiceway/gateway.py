"""The gateway: verbs on one object, and an async twin with the same names.

    gw = Gateway.from_env()                              # or Gateway.from_file("sluiceway.toml")
    r = gw.chat("openai/gpt-6-luna", "Name three rivers", timeout_s=20)
    r = await gw.aio.chat("openai/gpt-6-luna", "Name three rivers")

Model: a gateway is a view (its default options) of a `Hub`, which holds the engine, the routes and
the ledger. `with_options` makes another view of the same hub; `aio` is the view whose verbs are
coroutines. Both twins drive the same generator of steps (see _hops.py). Constructing one starts no
thread and opens no file; the first call or budget does. A gateway works in any number of threads
and event loops at once, and in a forked child with an engine of the child's own.

`close()`, or leaving a `with` block, drains and flushes; the books are right without it.
"""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

from sluiceway import _aio
from sluiceway._hops import chat_steps, failed
from sluiceway._hub import Hub
from sluiceway._job_steps import batch_steps, row_of
from sluiceway._many import chat_many, chat_many_async
from sluiceway._money_verbs import MoneyVerbs
from sluiceway._raw import AsyncRawCalls, RawCalls
from sluiceway._steps import run, run_async, start
from sluiceway._stream import AsyncChatStream, ChatStream
from sluiceway._threads import in_thread
from sluiceway._values import path as path_of
from sluiceway.config import Config, config_of, load_config
from sluiceway.errors import InvalidType, SluicewayError, kind_of
from sluiceway.estimate import Estimator
from sluiceway.jobs import AsyncJob, Job, rows
from sluiceway.keys.env import EnvKeys
from sluiceway.ledger.view import LedgerView
from sluiceway.options import Plan
from sluiceway.types import ChatResult

if TYPE_CHECKING:
    from typing import Unpack

    from sluiceway.ledger.aio import AsyncLedgerView
    from sluiceway.options import ChatOptions
    from sluiceway.prices.book import PriceTable
    from sluiceway.providers.dialects.encoding import Prompt


class _View(MoneyVerbs):
    """What the twins share: everything that does not wait for a provider."""

    __slots__ = ()

    @property
    def estimate(self) -> Estimator:
        """Dry runs: `gw.estimate.chat(...)` prices a call and sends nothing."""
        return Estimator(self._hub, self._plan)

    @property
    def prices(self) -> PriceTable:
        """The price table in use: `.version`, `.layers`, `.sheets`."""
        return self._hub.price_table()

    def stats(self) -> dict[str, Any]:
        """Counters of the engine: calls, retries, connections; see docs/reference/stats.md."""
        return self._hub.engine.stats()

    def breaker(
        self, provider: str, model: str | None = None, account: str = "default"
    ) -> dict[str, Any]:
        """The state of a breaker: of a model, or without one of the provider's account."""
        return self._hub.engine.breaker(provider, account, model)

    def flush(self, timeout_s: float = 10.0) -> bool:
        """Waits until the ledger has written everything that was settled; False after the time."""
        written = self._hub.engine.flush(timeout_s)
        if self._hub.watch is not None:
            self._hub.watch.look_at_all()
        return written

    def _plan_of(self, options: Mapping[str, Any]) -> Plan:
        return self._plan.with_options(options, self._hub.variants)

    def __repr__(self) -> str:
        return f"{type(self).__name__}({self._hub.config.source or 'environment'})"


class Gateway(_View):
    """Paid API calls behind limits, breakers, budgets, a cache and a ledger, in this process."""

    __slots__ = ("__weakref__",)

    def __init__(
        self,
        config: Config | Mapping[str, Any] | None = None,
        *,
        env_file: str | os.PathLike[str] | None = None,
    ) -> None:
        """`config` is a `Config`, or its tables as plain dicts; keys come from the environment."""
        if config is None:
            config = Config()
        elif isinstance(config, Mapping):
            config = config_of(config)
        elif not isinstance(config, Config):
            raise InvalidType(
                f"config is {kind_of(config)}, not a Config or a dict; for a file there is"
                " Gateway.from_file"
            )
        hub = Hub(config, EnvKeys.from_environment(env_file))
        super().__init__(hub, hub.plan)

    @classmethod
    def from_env(cls, *, env_file: str | os.PathLike[str] | None = None) -> Gateway:
        """Keys, base URLs (SLUICEWAY_<PROVIDER>_BASE_URL, SLUICEWAY_SIMULATOR_URL) and the ledger's
        path (SLUICEWAY_LEDGER) from the environment; `.env` is read only when named here."""
        return cls(env_file=env_file)

    @classmethod
    def from_file(
        cls, path: str | os.PathLike[str], *, env_file: str | os.PathLike[str] | None = None
    ) -> Gateway:
        """Everything from sluiceway.toml but the keys, which still come from the environment."""
        return cls(load_config(path_of(path, "the path")), env_file=env_file)

    @classmethod
    def _of(cls, hub: Hub, plan: Plan) -> Gateway:
        view = cls.__new__(cls)
        _View.__init__(view, hub, plan)
        return view

    def with_options(self, **options: Unpack[ChatOptions]) -> Gateway:
        """A gateway with other defaults on the same engine, budgets and connections."""
        return self._of(self._hub, self._plan_of(options))

    @property
    def aio(self) -> AsyncGateway:
        """The async twin."""
        return AsyncGateway(self._hub, self._plan)

    @property
    def ledger(self) -> LedgerView:
        """The books: reports, entries, open holds, scopes, and how doubt is resolved."""
        return LedgerView(self._hub)

    @property
    def raw(self) -> RawCalls:
        """Calls that are not modelled, by method and path."""
        return RawCalls(self._hub, self._plan)

    def chat(self, model: str, prompt: Prompt, **options: Unpack[ChatOptions]) -> ChatResult:
        """Asks `model` ("provider/model") and waits for the whole answer.

        `prompt` is a text or a list of messages. Options: see `sluiceway.options.ChatOptions`.
        Raises a SluicewayError; its `outcome` says whether anything was sent.
        """
        plan = self._plan_of(options) if options else self._plan
        hub = self._hub
        if plan.fallbacks:
            return ChatResult(*run(chat_steps(hub, plan, model, prompt)))
        target = hub.target(model, plan)
        call = start(hub, plan, target, prompt, False)
        call.wait()
        if hub.watch is not None:
            hub.ended()
        if call.ok:
            return ChatResult(call, target.name, ())
        return ChatResult(*run(failed(hub, plan, target, prompt, False, call)))

    def chat_many(
        self, model: str, prompts: Sequence[Prompt], **options: Unpack[ChatOptions]
    ) -> list[ChatResult | SluicewayError]:
        """Asks all `prompts` at once and waits for all: a result or an error each, in their order.

        Each is a call of its own, as `chat` makes it. A mistake in any prompt or option raises
        before the first is sent; what happens to one call later never hides another's result.
        """
        plan = self._plan_of(options) if options else self._plan
        return chat_many(self._hub, plan, model, prompts)

    def stream(self, model: str, prompt: Prompt, **options: Unpack[ChatOptions]) -> ChatStream:
        """Like `chat`, delta by delta: an iterator and a context manager with `.result()`."""
        plan = self._plan_of(options) if options else self._plan
        return ChatStream(self._hub, plan, model, prompt)

    def update_prices(self, path: str | os.PathLike[str], *, sha256: str) -> str:
        """Takes the prices of a snapshot (`sluiceway prices snapshot`) for calls from now on.

        `sha256` is the file's hash as its publisher states it. Own price files of the configuration
        stay on top. Calls under way keep the prices that they were quoted from. Returns the new
        table's version; ConfigError leaves everything as it was. Some 100 ms.
        """
        return self._hub.update_prices(path, sha256).version

    def batch(self, model: str, prompts: Sequence[Prompt], **options: Unpack[ChatOptions]) -> Job:
        """Asks all `prompts` in one job of the provider's, at its batch price, and does not wait.

        What the job may cost at most is held until it has ended, also over restarts. Options are
        those of `chat`; fallbacks and cache do not apply.
        """
        plan = self._plan_of(options) if options else self._plan
        return Job(self._hub, plan, run(batch_steps(self._hub, plan, model, prompts)))

    def job(self, job: str) -> Job:
        """The job of this id, ours or the provider's, from any process. UnknownJob."""
        return Job(self._hub, self._plan, row_of(self._hub, job))

    def jobs(self, state: str | None = None) -> list[Job]:
        """All jobs of this ledger, oldest first; or those that are "running" or have "ended"."""
        return [Job(self._hub, self._plan, row) for row in rows(self._hub, state)]

    def close(self, timeout_s: float = 2.0) -> None:
        """Stops accepting calls, drains for at most `timeout_s`, flushes the ledger."""
        self._hub.close(timeout_s)

    def __enter__(self) -> Gateway:
        return self

    def __exit__(self, *exc: object) -> None:
        self.close()


class AsyncGateway(_View):
    """The asyncio twin of `Gateway`, on the same engine: the same names, to be awaited."""

    __slots__ = ()

    def with_options(self, **options: Unpack[ChatOptions]) -> AsyncGateway:
        """A gateway with other defaults on the same engine, budgets and connections."""
        return AsyncGateway(self._hub, self._plan_of(options))

    @property
    def ledger(self) -> AsyncLedgerView:
        """See `Gateway.ledger`; every method is to be awaited."""
        from sluiceway.ledger.aio import AsyncLedgerView

        return AsyncLedgerView(self._hub)

    @property
    def raw(self) -> AsyncRawCalls:
        """Calls that are not modelled, by method and path."""
        return AsyncRawCalls(self._hub, self._plan)

    async def chat(self, model: str, prompt: Prompt, **options: Unpack[ChatOptions]) -> ChatResult:
        """See `Gateway.chat`; cancelling the task cancels the call upstream."""
        if not _aio.tasks and _aio.running_loop() is None:
            _aio.check_host()
        plan = self._plan_of(options) if options else self._plan
        hub = self._hub
        if plan.fallbacks:
            return ChatResult(*await run_async(chat_steps(hub, plan, model, prompt)))
        target = hub.target(model, plan)
        call = start(hub, plan, target, prompt, False)
        try:
            await call
        except RuntimeError:  # no loop, though `tasks` has one of another thread
            call.cancel()
            raise
        if hub.watch is not None:
            hub.ended()
        if call.ok:
            return ChatResult(call, target.name, ())
        return ChatResult(*await run_async(failed(hub, plan, target, prompt, False, call)))

    async def chat_many(
        self, model: str, prompts: Sequence[Prompt], **options: Unpack[ChatOptions]
    ) -> list[ChatResult | SluicewayError]:
        """See `Gateway.chat_many`; cancelling the task cancels what is still in flight."""
        plan = self._plan_of(options) if options else self._plan
        return await chat_many_async(self._hub, plan, model, prompts)

    def stream(self, model: str, prompt: Prompt, **options: Unpack[ChatOptions]) -> AsyncChatStream:
        """See `Gateway.stream`; `async with`, `async for`, `await s.result()`."""
        plan = self._plan_of(options) if options else self._plan
        return AsyncChatStream(self._hub, plan, model, prompt)

    async def update_prices(self, path: str | os.PathLike[str], *, sha256: str) -> str:
        """See `Gateway.update_prices`; reads in a thread."""
        return (await in_thread(self._hub.update_prices, path, sha256)).version

    async def batch(
        self, model: str, prompts: Sequence[Prompt], **options: Unpack[ChatOptions]
    ) -> AsyncJob:
        """See `Gateway.batch`."""
        plan = self._plan_of(options) if options else self._plan
        steps = batch_steps(self._hub, plan, model, prompts)
        return AsyncJob(self._hub, plan, await run_async(steps))

    def job(self, job: str) -> AsyncJob:
        """See `Gateway.job`."""
        return AsyncJob(self._hub, self._plan, row_of(self._hub, job))

    def jobs(self, state: str | None = None) -> list[AsyncJob]:
        """See `Gateway.jobs`."""
        return [AsyncJob(self._hub, self._plan, row) for row in rows(self._hub, state)]

    async def close(self, timeout_s: float = 2.0) -> None:
        """See `Gateway.close`; waits in a thread."""
        await in_thread(self._hub.close, timeout_s)

    async def __aenter__(self) -> AsyncGateway:
        return self

    async def __aexit__(self, *exc: object) -> None:
        await self.close()
