"""What all views of one gateway share: the engine, the routes made so far, prices, keys, scopes.

Model: a `Gateway` and everything that `with_options` derives from it are thin views of one `Hub`. A
route (URL, headers with the key, dialect, price sheet, limit group) is made on the first call to a
model and found by one dict look-up afterwards. Nothing starts with the hub: the engine opens its
thread and its file on the first use. Two threads that meet on a new model may both make its route;
the second one wins and both work, so there is no lock here that a fork could break.

Keys are read from the environment when a route is made and live in the core from then on. With
SLUICEWAY_SIMULATOR_URL set, every provider is the simulator's, and only an obviously fake key is
sent.

Time: some 30 ms for the first route (registry and prices are read), tens of microseconds for the
next ones. Any thread.
"""

from __future__ import annotations

import atexit
import contextlib
import contextvars
import os
import weakref
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any, NoReturn

from sluiceway import _core, _log
from sluiceway._accounts import SIMULATOR_URL, headers_of, said_by, transport_of
from sluiceway._config_checks import base_url_fault
from sluiceway._target import Target
from sluiceway.config import DEFAULT_ACCOUNT, ELSEWHERE, Config, nearest
from sluiceway.errors import (
    ConfigError,
    InvalidType,
    MissingKey,
    UnknownAccount,
    UnknownModel,
    kind_of,
)
from sluiceway.keys.env import EnvKeys
from sluiceway.options import Plan, Variants
from sluiceway.prices.book import PriceTable, make_table, shipped_table
from sluiceway.providers.dialects.encoding import ChatFacts
from sluiceway.providers.registry import Provider, load_registry

if TYPE_CHECKING:
    from sluiceway._frames import Frame, Known
    from sluiceway._thresholds import Watcher

MAX_OUTPUT_TOKENS = 4096
SCHEMA_VERSION = 1  # part of every cache key; raised when what a request means changes
SIMULATOR_KEY = "simulator-key-not-a-secret"
LEDGER = "SLUICEWAY_LEDGER"
RAW_ROUTES_MAX = 1024
CLOSE_AT_EXIT_S = 2.0
SETTLED_WITHIN_S = 1.0


def limits_spec(table: Mapping[str, Any] | None) -> dict[str, Any] | None:
    """A [limits] table as the core takes it. `strict = false` is the classic bucket: the whole
    limit may go in one burst, so that a minute may see twice of it. For limits of one's own."""
    if table is None:
        return None
    spec = dict(table)
    if not spec.pop("strict", True):
        for name in table:
            if name.endswith("_per_minute"):
                burst = "burst_" + name.removesuffix("_per_minute")
                spec.setdefault(burst, table[name])
    return spec


class Hub:
    """The shared part of a gateway."""

    __slots__ = (
        "__weakref__",
        "closed",
        "config",
        "engine",
        "frame",
        "keys",
        "limits_checked",
        "plan",
        "prices",
        "raw_routes",
        "registry",
        "root",
        "scopes",
        "variants",
        "watch",
    )

    def __init__(self, config: Config, keys: EnvKeys) -> None:
        self.config = config
        self.keys = keys
        self.registry = load_registry()
        self.check_names()
        # None: the shipped table, read with the first route.
        self.prices = make_table(**config.prices) if config.prices else None
        self.variants: Variants = {}
        self.plan = Plan.of_config(config, self.variants)
        self.frame: contextvars.ContextVar[Frame | None] = contextvars.ContextVar(
            "sluiceway_budgets", default=None
        )
        self.root: Frame | None = None  # the periodic scopes, opened by the first call
        self.raw_routes: dict[object, _core.Route] = {}
        self.scopes: dict[str, Known] = {}  # by name; see _frames.py
        self.limits_checked = False
        self.watch: Watcher | None = None  # made by the first scope or callback that needs it
        self.closed = False
        self.engine = _core.Engine(self.engine_options())
        self.engine.set_event_callback(_log.log_events)
        _open_hubs.add(self)

    def check_names(self) -> None:
        """UnknownModel for a configured provider or model reference that does not exist."""
        names = {one for one, _ in self.config.accounts if one != ELSEWHERE}
        names |= set(self.config.breakers)
        names |= set(self.config.retries)
        names |= {name.partition("/")[0] for name in self.config.limits}
        for name in sorted(names):
            if name not in self.registry:
                hint = nearest(name, self.registry)
                raise UnknownModel(f"{self.config.source}: no provider {name!r}{hint}")

    def price_table(self) -> PriceTable:
        """The prices that the next route is made with."""
        table = self.prices
        if table is None:
            table = self.prices = shipped_table()
        if not self.limits_checked:
            self.limits_checked = True
            for name in self.config.limits:
                provider, _, model = name.partition("/")
                known = table.of(provider)
                if model and model not in known:
                    _log.log_unknown_limit(self.config.source, name, nearest(model, known))
        return table

    def update_prices(self, snapshot: str | os.PathLike[str], sha256: str) -> PriceTable:
        """Replaces the base of the price table; own files stay on top. All or nothing.

        Routes keep the sheet that they were made with, and calls keep their route: what is under
        way is settled by the prices that it was quoted from. The next call makes its route anew; it
        joins the limit groups and breakers that are there.
        """
        table = make_table(snapshot, sha256, self.config.prices.get("files", ()))
        self.prices = table
        for targets in list(self.variants.values()):
            targets.clear()
        self.raw_routes.clear()
        return table

    def engine_options(self) -> dict[str, Any]:
        """The options of the core's engine."""
        ledger = self.config.ledger
        path = self.keys.get(LEDGER) or ledger.get("path", "sluiceway.db")
        options: dict[str, Any] = {
            "ledger_path": path if path == ":memory:" else os.path.abspath(path),
            "durability": ledger.get("durability", "power"),
            **self.config.engine,
        }
        if "queue_max" in ledger:
            options["ledger_queue_max"] = ledger["queue_max"]
        if "post_in_doubt_after_s" in ledger:
            options["post_in_doubt_after_s"] = ledger["post_in_doubt_after_s"]
        return options

    def resolve(self, name: object, plan: Plan) -> Target:
        """The target of "provider/model", made and remembered; ConfigError for what is not."""
        if not isinstance(name, str):
            raise InvalidType(f'the model is {kind_of(name)}, not a "provider/model" str')
        provider_id, slash, model = name.partition("/")
        provider = self.registry.get(provider_id)
        if provider is None or not slash or not model:
            raise self.unknown_provider(name, provider_id, model)
        table = self.price_table()
        known = table.of(provider_id)
        sheet = known.get(model)
        maximum = self.config.defaults.get("max_output_tokens", MAX_OUTPUT_TOKENS)
        if sheet and sheet["max_output_tokens"]:
            maximum = min(maximum, sheet["max_output_tokens"])
        dialect = provider.dialect
        facts = ChatFacts(
            provider_id,
            model,
            dialect.max_output_field,
            maximum,
            dialect.allowances,
            provider.service_tiers,
        )
        spec = self.route_spec(provider, plan, model, "chat")
        base_url = self.base_url(provider, plan.account)
        spec["url"] = provider.url("chat", base_url)
        spec["sheet"] = sheet
        target = Target(name, provider, facts, spec, known, base_url)
        plan.targets[name] = target
        if self.prices is not table:  # changed meanwhile: this call was first, the next is not
            plan.targets.pop(name, None)
        return target

    def unknown_provider(self, name: str, provider: str, model: str) -> UnknownModel:
        """The error for a name that is not "provider/model" of a known provider."""
        if not model or not provider:  # "gpt-6-luna", "openai/", "/gpt-6-luna"
            bare = model or name
            owners = [one for one in self.registry if bare in self.price_table().of(one)]
            hint = '; it is such as gw.chat("openai/gpt-6-luna", prompt)'
            if owners:
                hint = f"; did you mean {owners[0] + '/' + bare!r}?"
            return UnknownModel(f'{name!r} is not of the form "provider/model"{hint}')
        return UnknownModel(
            f"no provider {provider!r} in {name!r}{nearest(provider.lower(), self.registry)}"
        )

    def __reduce__(self) -> NoReturn:
        raise InvalidType(
            "a gateway, its budgets, wallets and streams belong to one process and cannot be"
            " pickled or deep-copied; make a gateway in each process, from the same file, and hand"
            ' over names such as "video:42" instead'
        )

    def account(self, provider: Provider, account: str | None) -> dict[str, Any]:
        """The settings of an account; UnknownAccount for a name that is not configured."""
        if account is None or account == DEFAULT_ACCOUNT:
            return self.config.accounts.get((provider.id, DEFAULT_ACCOUNT), {})
        found = self.config.accounts.get((provider.id, account))
        if found is None:
            known = [name for owner, name in self.config.accounts if owner == provider.id]
            raise UnknownAccount(
                f"{provider.id} has no account {account!r}{nearest(account, known)}; name it in"
                f" [accounts.{provider.id}.{account}]"
            )
        return found

    def base_url(self, provider: Provider, account: str | None) -> str | None:
        """The base URL: an environment variable, else the simulator's, else the account's."""
        own = self.keys.get(provider.base_url_env)
        simulator = self.keys.get(SIMULATOR_URL)
        found = own or self.account(provider, account).get("base_url")
        if own is None and simulator is not None:
            found = simulator.rstrip("/") + provider.simulator_path
        if found is not None and (wrong := base_url_fault(found)):
            # Joined to a path it would be another URL, which may get the key.
            raise ConfigError(said_by(self, wrong, provider, account), provider=provider.id)
        return found

    def key_of(self, provider: Provider, account: str | None) -> str:
        """The key, or MissingKey with what to do."""
        settings = self.account(provider, account)
        if self.keys.get(SIMULATOR_URL) and not self.keys.get(provider.base_url_env):
            return SIMULATOR_KEY
        variable = settings.get("key_env", provider.key_env)
        key = self.keys.key(variable)
        if key is not None:
            return key
        some = any(self.keys.get(one.key_env) for one in self.registry.values())
        message = f"no key for {provider.id}: set {variable}."
        if not some:
            message = (
                f"no provider key is set (looked for {variable}). To try without one, start the"
                " simulator in another terminal, `python -m sluiceway.simulator`, and set"
                f" {SIMULATOR_URL} to the URL that it prints; with real money, set {variable}."
            )
        raise MissingKey(message, provider=provider.id)

    def route_spec(
        self,
        provider: Provider,
        plan: Plan,
        model: str,
        operation: str,
        replaced: frozenset[str] = frozenset(),
    ) -> dict[str, Any]:
        """What routes of every operation have in common; `url` and `sheet` are the caller's.

        `replaced` are the headers that the call brings itself, in lower case.
        """
        account = plan.account or DEFAULT_ACCOUNT
        settings = self.account(provider, plan.account)
        headers = headers_of(self, provider, plan.account, replaced)
        name = f"{provider.id}/{model}"
        retry = self.config.retries.get(provider.id, {})
        if plan.retry is not None:
            names = ("attempts", "base_s", "throttle_base_s", "cap_s")
            retry = {**retry, **dict(zip(names, plan.retry.key, strict=True))}
        spec: dict[str, Any] = {
            "provider": provider.id,
            "account": account,
            "model": model,
            "operation": operation,
            "method": "POST",
            "headers": headers,
            "dialect": provider.dialect.core,
            "service_tier": "",
            "plan": settings.get("plan", ""),
            "group": f"{provider.id}/{account}/{model}",
            "limits": limits_spec(
                self.config.limits.get(name, self.config.limits.get(provider.id))
            ),
            "breaker": self.config.breakers.get(provider.id, {}),
            "retry": retry,
            "idle_reuse_s": settings.get("idle_reuse_s", provider.idle_reuse_s),
            "idempotent_key_header": (
                ""  # a key of the caller's promises nothing about another attempt
                if provider.idempotent_key_header.lower() in replaced
                else provider.idempotent_key_header
            ),
            "schema_version": SCHEMA_VERSION,
        }
        if spec["limits"] is not None and name not in self.config.limits:
            spec["group"] = f"{provider.id}/{account}"  # limits of a provider count all its models
        spec.update(transport_of(self, provider, plan.account))
        return spec

    def watcher(self) -> Watcher:
        """What fires when budgets reach their levels; made on its first use."""
        if self.watch is None:
            from sluiceway._thresholds import Watcher

            self.watch = Watcher(self)
        return self.watch

    def ended(self) -> None:
        """To be called by whoever waited for a call, in its context, when the call has ended."""
        if self.watch is not None:
            self.watch.ended(self.frame.get() or self.root)

    def settled(self) -> None:
        """Waits until the ledger has what has ended: a report shall hold the last call."""
        self.engine.flush(SETTLED_WITHIN_S)

    def close(self, timeout_s: float) -> None:
        """Stops accepting, drains for at most `timeout_s`, flushes the ledger."""
        self.closed = True
        _open_hubs.discard(self)
        try:
            if self.watch is not None:
                self.watch.look_at_all()
        finally:  # a callback may want to leave (SystemExit, Ctrl-C); the books are written first
            self.engine.close(timeout_s)

    def target(self, name: str, plan: Plan) -> Target:
        """The target by one look-up, made when it is new."""
        try:
            return plan.targets[name]  # type: ignore[no-any-return]
        except (KeyError, TypeError):
            pass  # what resolve raises shall not show this look-up as its cause
        return self.resolve(name, plan)

    def raw_route(self, key: object, spec: Mapping[str, Any]) -> _core.Route:
        """A remembered route of `gw.raw`; the whole memory is dropped when it is full."""
        route = self.raw_routes.get(key)
        if route is None:
            if len(self.raw_routes) >= RAW_ROUTES_MAX:
                self.raw_routes.clear()
            route = self.engine.add_route(dict(spec))
            self.raw_routes[key] = route
        return route


# A script that ends without close() still writes what was settled; without this, its last calls
# would be found in doubt by the next start. Nothing is lost where this does not run.
_open_hubs: weakref.WeakSet[Hub] = weakref.WeakSet()


@atexit.register
def _close_all() -> None:
    with contextlib.ExitStack() as stack:  # what one of them raises leaves no other one open
        for hub in list(_open_hubs):
            stack.callback(hub.close, CLOSE_AT_EXIT_S)
