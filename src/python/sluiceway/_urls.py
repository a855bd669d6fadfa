"""URLs: joined, checked, how absolute ones are reached, and where a redirect leads.

Model: a call to an absolute URL has ELSEWHERE in place of a provider, and neither a key nor the
headers of an account. It still goes out as an account says. At the account's own origin that is all
of it. At any other origin it is the way out of this machine (`_WAY_OUT`: the proxy and the
certificates to trust) and nothing that proves who we are or is meant for one server: no client
certificate, no socket, no HTTP version, and no `verify = false`. Whose settings these are:

    [accounts.url]          where it is there, for every URL that is not at an account's own origin
    the named provider's    of download(provider=...), or of the call that was redirected
    what all accounts say   for a URL of nobody: of the accounts with the name in force ("default",
                            or account=...), the proxy and the certificates that they agree on

Errors: InvalidRequest for what is no URL, ConfigError for settings. Time: microseconds; only where
a route is made. Any thread.

Source: RFC 6454, 4 (origins); RFC 9110, 10.2.2 (Location); RFC 3986, 5.2 (references).
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Any
from urllib.parse import SplitResult, urljoin, urlsplit

from sluiceway._accounts import settings_of, transport_of
from sluiceway.config import DEFAULT_ACCOUNT, ELSEWHERE, nearest
from sluiceway.errors import ConfigError, InvalidRequest, UnknownAccount

if TYPE_CHECKING:
    from sluiceway._hub import Hub
    from sluiceway.providers.registry import Provider

_UNQUOTED = re.compile("[\\x00-\\x20\\x7f\\ud800-\\udfff]")
_PORTS = {"http": 80, "https": 443}
_WAY_OUT = (("proxy", "no_proxy"), ("ca_file", "ca_dir"))  # what belongs together


def join_url(base_url: str, path: str) -> str:
    """`base_url` and `path` as one URL; an overlap of whole segments counts once."""
    base = base_url.rstrip("/")
    parts = path.lstrip("/").split("/")
    origin_end = base.find("/", base.find("://") + 3)
    prefix = base[origin_end + 1 :].split("/") if origin_end >= 0 else []
    for length in range(min(len(prefix), len(parts)), 0, -1):
        if prefix[-length:] == parts[:length]:
            parts = parts[length:]
            break
    return base + "/" + "/".join(parts)


def origin_of(url: SplitResult) -> tuple[str, str, int | None]:
    """Scheme, host and port; ValueError where the port is none."""
    scheme = url.scheme.lower()
    return scheme, (url.hostname or "").lower(), url.port or _PORTS.get(scheme)


def same_origin(one: str, other: str) -> bool:
    """Whether two URLs are of one origin; an unreadable one is of none."""
    try:
        return origin_of(urlsplit(one)) == origin_of(urlsplit(other))
    except ValueError:
        return False


def path_below(base_url: str, url: str) -> str:
    """`url` as a path of the API at `base_url`, query included; "" where it is not below it."""
    if not same_origin(base_url, url):
        return ""
    path = below_origin(urlsplit(url))
    return path if below_origin(urlsplit(join_url(base_url, path))) == path else ""


def below_origin(url: SplitResult) -> str:
    """The path and the query."""
    return url.path + (f"?{url.query}" if url.query else "")


def check_characters(url: str) -> None:
    """InvalidRequest for a URL or a path that has to be quoted first."""
    if _UNQUOTED.search(url):
        raise InvalidRequest(
            "the path has a space or a character that no URL holds; quote it first"
            " (urllib.parse.quote)"
        )


def check_url(url: str) -> None:
    """InvalidRequest for what is no absolute http or https URL; the core looks closer."""
    check_characters(url)
    if not url.lower().startswith(("http://", "https://")):
        raise InvalidRequest(
            f"{shown(url)} is no http or https URL; for a path of a provider's API name the"
            " provider"
        )
    try:
        parts = urlsplit(url)
        host, _ = parts.hostname, parts.port
    except ValueError:  # its own words may hold what stands for a password
        raise InvalidRequest(
            f"{shown(url)} is not valid: its host or its port cannot be read"
        ) from None
    if not host:
        raise InvalidRequest(f"{shown(url)} has no host")
    if "@" in parts.netloc:
        raise InvalidRequest(f"{shown(url)} holds credentials; send them in a header")


def wrong_url(hub: Hub, url: str) -> str:
    """What the core says against a URL by itself; "": nothing."""
    try:
        hub.engine.add_route({"provider": ELSEWHERE, "operation": "raw", "url": url})
    except ConfigError as error:
        return error.message
    return ""


def reach_of(hub: Hub, provider: Provider | None, account: str | None, url: str) -> dict[str, Any]:
    """The settings of a route to the absolute `url`; see the top of the file."""
    own: dict[str, Any] = {}
    if provider is not None:
        own = transport_of(hub, provider, account)
        if same_origin(hub.base_url(provider, account) or provider.base_url, url):
            return own
    name = account or DEFAULT_ACCOUNT
    accounts = hub.config.accounts
    for one in (name, DEFAULT_ACCOUNT):
        if (ELSEWHERE, one) in accounts:
            return settings_of(hub, ELSEWHERE, one)
    if provider is not None:
        return {key: own[key] for pair in _WAY_OUT for key in pair if key in own}
    named = [owner for owner, one in accounts if one == name]
    if not named and name != DEFAULT_ACCOUNT:
        known = sorted({one for _, one in accounts})
        raise UnknownAccount(
            f"no provider has an account {name!r}{nearest(name, known)}; name it in"
            f" [accounts.{ELSEWHERE}.{name}]"
        )
    stated = [settings_of(hub, owner, name) for owner in named]
    out: dict[str, Any] = {}
    for pair in _WAY_OUT:
        ways = [{key: one[key] for key in pair if key in one} for one in stated]
        if ways and all(one == ways[0] for one in ways):
            out.update(ways[0])
    return out


def target_of(here: str, location: str) -> tuple[str, str]:
    """The URL that a Location leads to from `here`, and what is wrong with it ("": nothing)."""
    if not location:
        return "", "is missing or empty"
    if any(char <= " " or char == "\x7f" for char in location):
        return "", "has a space or a control character"
    try:
        url = urljoin(here, location).partition("#")[0]
        parts = urlsplit(url)
        _ = parts.port  # raises where it is no port
    except ValueError:  # its own words may hold what stands for a password
        return "", "is not a valid URL"
    if parts.scheme not in ("http", "https"):
        return "", "is no http or https URL"
    if "@" in parts.netloc:
        return "", "holds credentials"
    return url, ""


def shown(location: str) -> str:
    """A URL for people: without credentials, and without its query, which may be signed."""
    head, at, tail = location.rpartition("@")  # a password may hold any other delimiter
    if at:
        scheme = re.match(r"([A-Za-z][A-Za-z0-9+.-]*:)?/*", head)
        location = f"{scheme[0] if scheme else ''}***@{tail}"
    return repr(re.split(r"[?#]", location, maxsplit=1)[0][:200])
