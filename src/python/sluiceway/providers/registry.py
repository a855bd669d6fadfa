"""registry.toml as objects: which providers there are, and how each one's wire format is read.

Model: `load_registry()` reads the file once a process, checks every key against the vocabulary
below, resolves `extends`, and gives `Provider` rows. A dialect stays a plain dict in the form that
the core takes. Errors are `ConfigError`s that name the row: they can only come from an edited file,
never from a caller.

    registry = load_registry()
    registry["openai"].url("chat", None)       # "https://api.openai.com/v1/chat/completions"

Time: a few milliseconds, on the first gateway. Immutable: any thread.
"""

from __future__ import annotations

import functools
import os
from collections.abc import Mapping
from typing import Any

from sluiceway.errors import ConfigError
from sluiceway.providers.dialects.encoding import words

PROVIDER_KEYS = words(
    "dialect base_url key_env base_url_env auth headers simulator_path idle_reuse_s docs checked "
    "service_tiers operations idempotent_key_header regional"
)
# What the core reads of a dialect, and what only the encoders read.
CORE_KEYS = words(
    "text reasoning_text finish_reason finish_cut model created_s id request_id_headers request_id "
    "error_type error_code error_message error_detail_code usage usage_cost_usd "
    "usage_cost_ticks usage_beyond served_tier rate_headers classes stream"
)
ENCODER_KEYS = words("encoder max_output_field allowances extends")
OPERATION_KEYS = words("path dialect counts")
AUTH_SCHEMES = ("bearer", "x-api-key", "none")


class Dialect:
    """A wire format: `core` goes to the engine, the rest to the encoder."""

    __slots__ = ("allowances", "core", "encoder", "max_output_field", "name")

    def __init__(self, name: str, table: Mapping[str, Any]) -> None:
        self.name = name
        self.encoder: str = table["encoder"]
        self.max_output_field: str = table["max_output_field"]
        self.allowances: dict[str, int] = dict(table["allowances"])
        self.core: dict[str, Any] = {key: table[key] for key in CORE_KEYS if key in table}
        self.core["name"] = name


class Operation:
    """One operation of a provider: where it is, how it is read, what is counted before sending."""

    __slots__ = ("counts", "dialect", "path")

    def __init__(self, table: Mapping[str, Any], dialect: Dialect) -> None:
        self.path: str = table["path"]
        self.dialect = dialect
        self.counts: dict[str, str] = dict(table.get("counts", {}))  # bucket: field of the request

    def counted(self, body: object) -> dict[str, int]:
        """Units of a request that its answer does not report, by bucket: Unicode code points."""
        if not isinstance(body, Mapping):
            return {}
        fields = {bucket: body.get(field) for bucket, field in self.counts.items()}
        return {bucket: len(text) for bucket, text in fields.items() if isinstance(text, str)}


class Provider:
    """One row of the registry."""

    __slots__ = (
        "auth",
        "base_url",
        "base_url_env",
        "dialect",
        "headers",
        "id",
        "idempotent_key_header",
        "idle_reuse_s",
        "key_env",
        "operations",
        "regional",
        "service_tiers",
        "simulator_path",
    )

    def __init__(
        self, name: str, table: Mapping[str, Any], dialects: Mapping[str, Dialect]
    ) -> None:
        self.id = name
        self.dialect = dialect = dialects[table["dialect"]]
        self.base_url: str = table["base_url"]
        self.base_url_env: str = table["base_url_env"]
        self.key_env: str = table["key_env"]
        self.auth: str = table["auth"]
        self.headers: dict[str, str] = dict(table.get("headers", {}))
        self.simulator_path: str = table["simulator_path"]
        self.idle_reuse_s: float = table["idle_reuse_s"]
        self.idempotent_key_header: str = table.get("idempotent_key_header", "")
        self.service_tiers: dict[str, str] = dict(table.get("service_tiers", {}))
        self.regional: dict[str, str] = dict(table.get("regional", {}))
        self.operations: dict[str, Operation] = {
            operation: Operation(entry, dialects.get(entry.get("dialect", ""), dialect))
            for operation, entry in table["operations"].items()
        }

    def url(self, operation: str, base_url: str | None) -> str:
        """Where an operation lives, below `base_url` or the provider's own."""
        return (base_url or self.base_url).rstrip("/") + self.operations[operation].path

    def tier_at(self, base_url: str | None) -> str:
        """The tier of the price rows that an endpoint of a region has; "" elsewhere."""
        netloc = (base_url or self.base_url).partition("://")[2].partition("/")[0]
        host = netloc.rpartition("@")[2].partition(":")[0].lower().rstrip(".")
        return (
            self.regional["tier"] if self.regional and host.endswith(self.regional["below"]) else ""
        )

    def operation_at(self, path: str) -> Operation | None:
        """The operation that lives at a path such as "/v1/embeddings", if we know one."""
        path = path.partition("?")[0]
        for operation in self.operations.values():
            if path.endswith(operation.path):
                return operation
        return None

    def auth_headers(self, key: str) -> list[tuple[str, str]]:
        """The headers that carry the key."""
        if self.auth == "none":
            return []
        if self.auth == "bearer":
            return [("authorization", f"Bearer {key}")]
        return [(self.auth, key)]

    def __repr__(self) -> str:
        return f"Provider({self.id}, {self.dialect.name})"


@functools.cache
def load_registry() -> dict[str, Provider]:
    """The shipped registry, by provider id."""
    path = os.path.join(os.path.dirname(__file__), "registry.toml")  # pathlib costs an import
    with open(path, encoding="utf-8") as file:
        return parse_registry(file.read())


def load_dialects() -> dict[str, Dialect]:
    """Every wire format of the shipped registry, by name; also those that no row speaks yet."""
    import tomllib

    path = os.path.join(os.path.dirname(__file__), "registry.toml")
    with open(path, encoding="utf-8") as file:
        return _dialects(tomllib.loads(file.read())["dialects"])


def _dialects(tables: Mapping[str, Mapping[str, Any]]) -> dict[str, Dialect]:
    return {name: Dialect(name, _resolve(name, tables)) for name in tables}


def parse_registry(text: str) -> dict[str, Provider]:
    """Providers from registry text; ConfigError names the row that is wrong."""
    import tomllib

    document = tomllib.loads(text)
    dialects = _dialects(document["dialects"])
    providers = {}
    for name, table in document["providers"].items():
        _check(f"providers.{name}", table, PROVIDER_KEYS)
        if table["dialect"] not in dialects:
            raise ConfigError(f"registry: providers.{name}: no dialect {table['dialect']!r}")
        if table["auth"] not in AUTH_SCHEMES:
            raise ConfigError(f"registry: providers.{name}: unknown auth {table['auth']!r}")
        for operation, entry in table["operations"].items():
            place = f"providers.{name}.operations.{operation}"
            _check(place, entry, OPERATION_KEYS)
            if entry.get("dialect", table["dialect"]) not in dialects:
                raise ConfigError(f"registry: {place}: no dialect {entry['dialect']!r}")
        providers[name] = Provider(name, table, dialects)
    return providers


def _resolve(name: str, tables: Mapping[str, Mapping[str, Any]]) -> dict[str, Any]:
    """The dialect's own keys over those of what it extends; whole keys replace, nothing merges."""
    merged: dict[str, Any] = {}
    chain = []
    current: str | None = name
    while current is not None:
        if current in chain or current not in tables:
            raise ConfigError(f"registry: dialects.{name}: cannot extend {current!r}")
        _check(f"dialects.{current}", tables[current], CORE_KEYS | ENCODER_KEYS)
        chain.append(current)
        current = tables[current].get("extends")
    for one in reversed(chain):
        merged.update(tables[one])
    return merged


def _check(place: str, table: Mapping[str, Any], known: frozenset[str]) -> None:
    for key in table:
        if key not in known:
            raise ConfigError(f"registry: {place}: unknown key {key!r}")
