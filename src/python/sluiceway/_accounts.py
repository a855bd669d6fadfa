"""What an account says of its calls: the headers they carry, and how its servers are reached.

Model: an account is a table [accounts.<provider>.<name>]; what it leaves out is the provider's. Of
headers with one name, in any case, one is sent: the call's own, else the account's, else the
provider's and the key. Files and folders are looked at here, when a route is made, so that a call
that cannot be made as it was meant is a ConfigError before anything is sent.

    headers_of(hub, hub.registry["openai"], "batch", frozenset())

Time: microseconds, once a route. Any thread.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from sluiceway._config_checks import check_files
from sluiceway.config import DEFAULT_ACCOUNT

if TYPE_CHECKING:
    from sluiceway._hub import Hub
    from sluiceway.providers.registry import Provider

SIMULATOR_URL = "SLUICEWAY_SIMULATOR_URL"
SIMULATOR_CA = "SLUICEWAY_SIMULATOR_CA"
_TRANSPORT = (
    "http_version",
    "ca_file",
    "ca_dir",
    "client_cert",
    "client_key",
    "verify",
    "proxy",
    "no_proxy",
    "unix_socket",
)


def header_names(hub: Hub, provider: Provider, account: str | None) -> frozenset[str]:
    """The headers that an account's calls carry by themselves, in lower case."""
    own = hub.account(provider, account).get("headers", {})
    auth = dict(provider.auth_headers(""))
    names = {*provider.headers, *own, *auth, "content-type", provider.idempotent_key_header}
    return frozenset(name.lower() for name in names if name)


def headers_of(
    hub: Hub, provider: Provider, account: str | None, replaced: frozenset[str]
) -> list[tuple[str, str]]:
    """The headers of an account, without `replaced`, which the call brings itself (lower case).

    No key is needed where another header stands in its place; else MissingKey.
    """
    own = hub.account(provider, account).get("headers", {})
    taken = replaced | {name.lower() for name in own}
    ours = [*provider.headers.items(), ("content-type", "application/json")]
    if any(name.lower() not in taken for name, _ in provider.auth_headers("")):
        ours += provider.auth_headers(hub.key_of(provider, account))
    headers = [pair for pair in ours if pair[0].lower() not in taken]
    return [*headers, *(pair for pair in own.items() if pair[0].lower() not in replaced)]


def settings_of(hub: Hub, owner: str, account: str) -> dict[str, Any]:
    """How the servers of [accounts.`owner`.`account`] are reached. ConfigError for a file."""
    table = hub.config.accounts.get((owner, account), {})
    settings = {field: table[field] for field in _TRANSPORT if field in table}
    check_files(settings, f"[accounts.{owner}.{account}]")
    return settings


def transport_of(hub: Hub, provider: Provider, account: str | None) -> dict[str, Any]:
    """How a provider's servers are reached. UnknownAccount, ConfigError."""
    hub.account(provider, account)  # UnknownAccount
    settings = settings_of(hub, provider.id, account or DEFAULT_ACCOUNT)
    if hub.keys.get(SIMULATOR_URL) and hub.keys.get(SIMULATOR_CA):
        settings["ca_file"] = hub.keys.get(SIMULATOR_CA)
    return settings


def said_by(hub: Hub, wrong: str, provider: Provider, account: str | None) -> str:
    """What is wrong with a base URL, where it was set, and what one looks like."""
    if hub.keys.get(provider.base_url_env):
        source = provider.base_url_env
    elif hub.keys.get(SIMULATOR_URL):
        source = SIMULATOR_URL
    else:
        source = f"base_url of [accounts.{provider.id}.{account or DEFAULT_ACCOUNT}]"
    return f'{wrong}; it was set by {source}, and looks like "https://host/path"'
