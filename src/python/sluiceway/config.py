"""sluiceway.toml: what a gateway is told, checked key by key before anything starts.

Model: `TABLES` and `NAMED_TABLES` below are the whole vocabulary: tables, keys and the type of
each. A file is read by `tomllib`, checked against them, and becomes a `Config`. An unknown key, a
wrong type or a value out of range is a `ConfigError` that names the file, the line and the nearest
known key. Keys (secrets) are not part of it; they come from the environment or a key store. All of
it is optional.

    [accounts.openai]
    key_env = "OPENAI_API_KEY"
    [limits."openai/gpt-6-luna"]
    requests_per_minute = 3500
    [budgets.day]
    limit = "150.00"
    period = "day"

Time and memory: linear in the file, once. Reads a file only in `load_config`. Immutable afterwards.
Source: design page "How it should feel in the hand"; the words are those of docs/internals/call.md.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any, NoReturn

from sluiceway._config_checks import (
    BUDGET_KEYS,
    WALLET_KEYS,
    Check,
    Wrong,
    any_text,
    flag,
    header_table,
    one_of,
    path,
    paths,
    seconds,
    socket_path,
    text,
    variable,
    whole,
)
from sluiceway._terms import DOLLAR
from sluiceway._toml_lines import KeyPath, key_lines
from sluiceway.errors import ConfigError

_ACCOUNT: dict[str, Check] = {
    "key_env": variable,
    "base_url": text,
    "headers": header_table,
    "proxy": any_text,
    "no_proxy": text,
    "ca_file": path,
    "ca_dir": path,
    "client_cert": path,
    "client_key": path,
    "verify": flag,
    "http_version": one_of("auto", "1.1", "2"),
    "unix_socket": socket_path,
    "idle_reuse_s": seconds(0),
    "plan": text,
}
# [accounts.url]: how absolute URLs are reached; there is no key to send and no API.
_URL_ACCOUNT = {key: _ACCOUNT[key] for key in ("proxy", "no_proxy", "ca_file", "ca_dir", "verify")}
_LIMITS: dict[str, Check] = {
    "requests_per_minute": whole(1),
    "input_tokens_per_minute": whole(1),
    "output_tokens_per_minute": whole(1),
    "llm_tokens_per_minute": whole(1),
    "characters_per_minute": whole(1),
    "quota_units_per_minute": whole(1),
    "concurrency": whole(1),
    "burst_requests": whole(1),
    "burst_input_tokens": whole(1),
    "burst_output_tokens": whole(1),
    "burst_llm_tokens": whole(1),
    "burst_characters": whole(1),
    "burst_quota_units": whole(1),
    "queue_max": whole(1),
    "window_s": seconds(0.001),
    "strict": flag,
}
_BREAKER: dict[str, Check] = {
    "enabled": flag,
    "failure_threshold": whole(1),
    "failure_percent": whole(1, 100),
    "window_calls_min": whole(1),
    "window_s": seconds(1),
    "open_base_s": seconds(0.001),
    "open_max_s": seconds(0.001),
    "recovery_timeout_s": seconds(0.001),
}
_RETRY: dict[str, Check] = {
    "attempts": whole(1, 100),
    "base_s": seconds(0),
    "throttle_base_s": seconds(0),
    "cap_s": seconds(0),
    "budget_percent": whole(0, 1000),
}
# One table, a name: its keys.
TABLES: dict[str, dict[str, Check]] = {
    "ledger": {
        "path": path,
        "durability": one_of("power", "process", "memory"),
        "queue_max": whole(1),
        "post_in_doubt_after_s": seconds(0),
    },
    "defaults": {
        "timeout_s": seconds(0.001),
        "pool_timeout_s": seconds(0),
        "connect_timeout_s": seconds(0.001),
        "read_timeout_s": seconds(0),
        "write_timeout_s": seconds(0),
        "max_output_tokens": whole(1),
        "tenant": text,
    },
    "engine": {
        "connections_max": whole(1, 100_000),
        "cache_bytes_max": whole(0),
        "send_attempt_header": one_of("auto", "always", "never"),
    },
    "prices": {"snapshot": text, "sha256": text, "files": paths},
}
# A table a name of the user's (a provider, a model, a kind of scope, an operation).
NAMED_TABLES: dict[str, dict[str, Check]] = {
    "accounts": _ACCOUNT,
    "limits": _LIMITS,
    "breakers": _BREAKER,
    "retries": _RETRY,
    "budgets": BUDGET_KEYS,
    "wallets": WALLET_KEYS,
    "cache": {"ttl_s": seconds(0.001)},
}
DEFAULT_ACCOUNT = "default"
CACHED = ("chat",)
_KEYS_STAND_ELSEWHERE = (
    "; keys come from the environment: set the provider's variable, or name another one with"
    ' key_env = "..."'
)
ELSEWHERE = "url"  # what a call to an absolute URL has in place of a provider


class Config:
    """A checked configuration. `accounts` is keyed (provider, account); the rest by plain names."""

    __slots__ = (
        "accounts",
        "breakers",
        "budgets",
        "cache",
        "defaults",
        "engine",
        "ledger",
        "limits",
        "prices",
        "retries",
        "source",
        "wallets",
    )
    accounts: dict[tuple[str, str], dict[str, Any]]

    def __init__(self, source: str = "") -> None:
        self.source = source
        self.accounts = {}
        self.ledger: dict[str, Any] = {}
        self.defaults: dict[str, Any] = {}
        self.engine: dict[str, Any] = {}
        self.prices: dict[str, Any] = {}
        self.limits: dict[str, dict[str, Any]] = {}
        self.breakers: dict[str, dict[str, Any]] = {}
        self.retries: dict[str, dict[str, Any]] = {}
        self.budgets: dict[str, dict[str, Any]] = {}
        self.wallets: dict[str, dict[str, Any]] = {}
        self.cache: dict[str, dict[str, Any]] = {}

    def __repr__(self) -> str:
        names = ", ".join(sorted(f"{provider}.{name}" for provider, name in self.accounts))
        return f"Config({self.source or 'defaults'}, accounts: {names or 'none'})"


def load_config(path: str) -> Config:
    """Reads a file. ConfigError when it cannot be read, is not TOML or says what is not known."""
    try:
        with open(path, "rb") as file:
            data = file.read()
    except OSError as error:
        raise ConfigError(f"cannot read the configuration {path}: {error.strerror}") from error
    except ValueError:  # a NUL, a lone surrogate
        raise ConfigError(f"{path!r} is no path of a configuration") from None
    try:
        return parse_config(data.decode("utf-8").removeprefix("\ufeff"), path)
    except UnicodeDecodeError as error:
        line = data.count(b"\n", 0, error.start) + 1
        raise ConfigError(f"{path}, line {line}: is not UTF-8") from None


def parse_config(text: str, source: str = "sluiceway.toml") -> Config:
    """A `Config` from TOML text; `source` is what messages call it."""
    import tomllib

    try:
        document = tomllib.loads(text)
    except tomllib.TOMLDecodeError as error:
        raise ConfigError(f"{source}: is not valid TOML: {error}") from None
    return _Reader(source, text).read(document)


def config_of(document: Mapping[str, Any]) -> Config:
    """A `Config` from plain dicts, as `Gateway(config={...})` takes them."""
    return _Reader("config", None).read(document)


class _Reader:
    def __init__(self, source: str, text: str | None) -> None:
        self.source = source
        self.text = text
        self.lines: dict[KeyPath, int] | None = None

    def fail(self, path: KeyPath, what: str) -> NoReturn:
        where = self.source
        if self.text is not None:
            if self.lines is None:  # found only when something is wrong
                self.lines = key_lines(self.text.replace("\r\n", "\n"))
            line = next(
                (self.lines[path[:n]] for n in range(len(path), 0, -1) if path[:n] in self.lines), 0
            )
            where = f"{self.source}, line {line}" if line else self.source
        raise ConfigError(f"{where}: {what}")

    def read(self, document: Mapping[str, Any]) -> Config:
        config = Config(self.source)
        known = [*TABLES, *NAMED_TABLES]
        for name, table in document.items():
            self.check_name((name,))
            if name not in known:
                self.fail((name,), f"unknown table [{name}]{nearest(name, known)}")
            if not isinstance(table, Mapping):
                self.fail((name,), f"{name} must be a table, [{name}]")
            if name in TABLES:
                setattr(config, name, self.table((name,), table, TABLES[name]))
            elif name == "accounts":
                self.accounts(table, config)
            else:
                getattr(config, name).update(self.named(name, table))
        self.check_budgets(config)
        for operation in config.cache:
            if operation not in CACHED:
                self.fail(
                    ("cache", operation),
                    f"[cache.{operation}]: only chat is cached; did you mean [cache.chat]?",
                )
        return config

    def table(
        self, path: KeyPath, table: Mapping[str, Any], schema: Mapping[str, Check]
    ) -> dict[str, Any]:
        checked = {}
        for key, value in table.items():
            self.check_name((*path, key))
            check = schema.get(key)
            if check is None:
                hint = _KEYS_STAND_ELSEWHERE if key == "api_key" else nearest(key, schema)
                self.fail((*path, key), f"unknown key {key!r} in [{show(path)}]{hint}")
            what = ""
            try:
                checked[key] = check(value)
            except Wrong as wrong:
                what = f"{key} in [{show(path)}] must be {wrong}, not {short(value)}"
            if what:
                self.fail((*path, key), what)
        return checked

    def check_name(self, path: tuple[object, ...]) -> None:
        """Tables of a program's may have anything for a name."""
        if not isinstance(path[-1], str):
            self.fail(tuple(map(str, path)), f"{path[-1]!r} is no name: write a str")

    def named(self, name: str, table: Mapping[str, Any]) -> dict[str, dict[str, Any]]:
        schema = NAMED_TABLES[name]
        out = {}
        for key, value in table.items():
            self.check_name((name, key))
            if not isinstance(value, Mapping):
                hint = f'; it belongs into a table of its own, [{name}."..."]' * (key in schema)
                self.fail((name, key), f"{key} in [{name}] must be a table{hint}")
            out[key] = self.table((name, key), value, schema)
        return out

    def accounts(self, table: Mapping[str, Any], config: Config) -> None:
        """[accounts.openai] is the default account; tables inside it are named accounts."""
        for provider, value in table.items():
            path = ("accounts", provider)
            self.check_name(path)
            if not isinstance(value, Mapping):
                self.fail(path, f"[accounts.{provider}] must be a table")
            keys = _URL_ACCOUNT if provider == ELSEWHERE else _ACCOUNT
            own = {k: v for k, v in value.items() if k == "headers" or not isinstance(v, Mapping)}
            named = {k: v for k, v in value.items() if k not in own}
            if own or not named:
                account = self.account(path, own, keys)
                config.accounts[(provider, DEFAULT_ACCOUNT)] = account
            for name, inner in named.items():
                account = self.account((*path, name), inner, keys)
                config.accounts[(provider, name)] = account

    def account(
        self, path: KeyPath, table: Mapping[str, Any], keys: Mapping[str, Check]
    ) -> dict[str, Any]:
        account = self.table(path, table, keys)
        if "client_key" in account and "client_cert" not in account:
            self.fail(
                (*path, "client_key"),
                f"[{show(path)}] has a client_key without a client_cert; a key is of use only with"
                " its certificate",
            )
        return account

    def check_budgets(self, config: Config) -> None:
        for kind, budget in config.budgets.items():
            path = ("budgets", kind)
            if ":" in kind or "@" in kind or not kind:
                self.fail(path, f"[budgets.{kind}]: a kind has no ':' and no '@'")
            if "limit" not in budget:
                self.fail(path, f'[budgets.{kind}] needs a limit, such as limit = "3.00"')
            if "rolling_s" in budget and budget.get("period", "none") != "none":
                self.fail((*path, "rolling_s"), f"[budgets.{kind}] has a period and rolling_s")
            if "fallbacks" in budget and budget.get("on_exceed") != "fallback":
                self.fail(
                    (*path, "fallbacks"),
                    f'[budgets.{kind}] has fallbacks without on_exceed = "fallback"',
                )
        for kind, wallet in config.wallets.items():
            path = ("wallets", kind)
            if "monthly" in wallet and wallet.get("unit", DOLLAR) == DOLLAR:
                self.fail(
                    (*path, "monthly"),
                    f"[wallets.{kind}] counts dollars; a monthly allowance in dollars is a budget"
                    ' with period = "month"',
                )


def show(path: Iterable[str]) -> str:
    """A path as a TOML header writes it."""
    return ".".join(
        part if part.replace("-", "").replace("_", "").isalnum() else f'"{part}"' for part in path
    )


def short(value: object) -> str:
    """A value for a message; texts may be secrets in a wrong place, so only their type."""
    if isinstance(value, str):
        return "a text" if value else "an empty text"
    if isinstance(value, Mapping):
        return "a table"
    return repr(value)[:40]


def nearest(name: str, known: Iterable[str], limit: int = 3) -> str:
    """ "; did you mean 'x'?" for a misspelt name, or the whole list when it is short."""
    import difflib

    names = list(known)
    close = difflib.get_close_matches(name, names, n=limit, cutoff=0.5)
    if close:
        return "; did you mean " + " or ".join(repr(one) for one in close) + "?"
    if 0 < len(names) <= 14:
        return "; known: " + ", ".join(sorted(names))
    return ""
