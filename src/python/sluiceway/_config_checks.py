"""The checks of a configuration's values: what each key may hold, and the words when it does not.

Model: a check takes what TOML gave, and returns it in the form that the rest of the package uses,
or raises `Wrong` with what it expected; `config.py` says where. The keys of [budgets] and [wallets]
are here too, beside the checks that only they need. Only `check_files` looks at the disk, when a
route is made. No state, any thread.

    seconds(60)(90)         # 90.0
"""

from __future__ import annotations

import os
import string
from collections.abc import Callable, Mapping
from fractions import Fraction

from sluiceway._terms import ON_EXCEED, PERIODS, Mark, mark_of, unit_name
from sluiceway.errors import ConfigError, InvalidRequest
from sluiceway.money import USD_DECIMALS, amount_of, nanousd_of

Check = Callable[[object], object]
# RFC 9110, 5.6.2: what names of headers and methods are made of.
TOKEN = frozenset("!#$%&'*+-.^_`|~0123456789" + string.ascii_letters)
SOCKET_PATH_BYTES = 107  # sun_path without its NUL: unix(7)
# Headers that frame the message or belong to the connection; the core refuses them (request.cc).
_FRAMING = frozenset(
    (
        *("content-length", "transfer-encoding", "connection", "keep-alive", "proxy-connection"),
        *("upgrade", "te", "trailer", "expect"),
    )
)
_FILES = {
    "ca_file": "a PEM file of the certificates to trust",
    "ca_dir": "a folder of certificates, as `openssl rehash` leaves it",
    "client_cert": "a PEM file",
    "client_key": "a PEM file",
}


class Wrong(Exception):
    """What a check expected."""


def text(value: object) -> str:
    if not isinstance(value, str) or not value:
        raise Wrong("a text that is not empty")
    if any("\ud800" <= char < "\ue000" for char in value):
        raise Wrong("a text of whole characters, not half a one (a lone surrogate)")
    return value


def any_text(value: object) -> str:
    if not isinstance(value, str):
        raise Wrong("a text")
    return value


def flag(value: object) -> bool:
    if not isinstance(value, bool):
        raise Wrong("true or false")
    return value


def whole(low: int, high: int = 2**53) -> Check:
    def check(value: object) -> int:
        if isinstance(value, bool) or not isinstance(value, int) or not low <= value <= high:
            raise Wrong(
                f"a whole number of at least {low}" + (f", at most {high}" * (high < 2**53))
            )
        return value

    return check


def seconds(low: float) -> Check:
    def check(value: object) -> float:
        fits = isinstance(value, int | float) and not isinstance(value, bool)
        if not fits or not low <= value <= 1e9:  # type: ignore[operator]
            raise Wrong(f"a number of seconds, at least {low:g}")
        return float(value)  # type: ignore[arg-type]

    return check


def one_of(*choices: str) -> Check:
    def check(value: object) -> object:
        if value not in choices:
            raise Wrong("one of " + ", ".join(f'"{choice}"' for choice in choices))
        return value

    return check


def money(value: object) -> int:
    if not isinstance(value, str):
        raise Wrong('an amount in dollars as a text, such as "3.00"')
    try:
        return nanousd_of(value)
    except InvalidRequest as error:
        raise Wrong(f"an amount in dollars ({error.message})") from None


def mark(value: object) -> Mark:
    """A share as a Fraction, an amount in dollars as an int of nano-dollars."""
    try:
        found = mark_of(value, "value")
        return found if isinstance(found, Fraction) else amount_of(found, USD_DECIMALS, "value")
    except InvalidRequest as error:
        raise Wrong(
            f'an amount or a share of the limit, such as "2.00" or "80%" ({error.message})'
        ) from None


def share(value: object) -> Mark:
    found = mark(value)
    if not isinstance(found, Fraction):
        raise Wrong('a share of the limit, such as "80%"')
    return found


def several(check: Callable[[object], Mark], example: str) -> Check:
    def marks(value: object) -> tuple[Mark, ...]:
        if not isinstance(value, list):
            raise Wrong(f"a list such as {example}")
        found = tuple(check(one) for one in value)
        same = len({isinstance(one, Fraction) for one in found}) < 2
        return tuple(sorted(found)) if same else found

    return marks


marks = several(mark, '["2.00", "2.50"] or ["80%"]')
shares = several(share, '["80%"]')


def statuses(value: object) -> object:
    found = marks(value)
    if not isinstance(found, tuple) or len(found) != 3:
        raise Wrong("the three upper ends of excellent, good and warning")
    return found


def amounts_by_name(value: object) -> dict[str, int]:
    if not isinstance(value, Mapping):
        raise Wrong('a table of names and amounts, such as voice = "0.50"')
    for name in value:
        if not name or set(name) & set(":@#"):
            raise Wrong(f"a table of names without ':', '@' and '#', which {name!r} is not")
    return {name: money(amount) for name, amount in value.items()}


def models(value: object) -> tuple[str, ...]:
    if not isinstance(value, list) or not all(isinstance(one, str) and "/" in one for one in value):
        raise Wrong('a list of "provider/model" texts')
    return tuple(value)


def quantity(value: object) -> str:
    if not isinstance(value, str):
        raise Wrong('an amount as a text, such as "100"')
    try:
        amount_of(value, 3, "value")
    except InvalidRequest as error:
        raise Wrong(f"an amount ({error.message})") from None
    return value


def unit(value: object) -> str:
    try:
        return unit_name(value)
    except InvalidRequest as error:
        raise Wrong(f"the name of a unit ({error.message})") from None


def paths(value: object) -> tuple[str, ...]:
    if not isinstance(value, list) or not all(isinstance(one, str) and one for one in value):
        raise Wrong('a list of paths, such as ["my_prices.toml"]')
    return tuple(value)


def header_table(value: object) -> dict[str, str]:
    if not isinstance(value, Mapping):
        raise Wrong('a table of texts, such as x-team = "ads"')
    names: set[str] = set()
    for name, one in value.items():
        if not isinstance(name, str) or not isinstance(one, str):
            raise Wrong('a table of texts, such as x-team = "ads"')
        if not (name and TOKEN.issuperset(name)):
            raise Wrong(f"a table of headers, and {name!r} is no name of one")
        if not one.replace("\t", " ").isprintable():
            raise Wrong(f"a table of headers, and {name!r} has a line end or another character")
        if name.lower() in _FRAMING:
            raise Wrong(f"a table of headers, and {name!r} is set by the transport")
        if name.lower() in names:
            raise Wrong(f"a table of headers, and {name!r} is there twice: names have no case")
        names.add(name.lower())
    return dict(value)


def base_url_fault(url: str) -> str:
    """What of a base URL would be lost, or read as something else, in front of a path; "": nothing.

    The rest is the core's to say, which parses the whole URL.
    """
    _, slashes, rest = url.partition("://")
    if slashes and not rest.partition("/")[0]:
        return "the base URL has no host"
    if "?" in url or "#" in url:
        return "the base URL has a query or a fragment, behind which no path can stand"
    if any("\ud800" <= char < "\ue000" for char in url):
        return "the base URL is no UTF-8 text"
    return ""


def variable(value: object) -> str:
    name = text(value)
    if not name.isidentifier() or not name.isascii():
        raise Wrong("the name of a variable, such as OPENAI_API_KEY, and not the key itself")
    return name


def path(value: object) -> str:
    if isinstance(value, os.PathLike):
        value = os.fspath(value)
    if not isinstance(value, str) or not value or not is_path(value):
        raise Wrong("a path (leave the key out for none)")
    return value


def is_path(text: str) -> bool:
    """Whether the system can hold it: no NUL, and what is no UTF-8 only as os.fsdecode gives it."""
    try:
        return b"\0" not in os.fsencode(text)
    except UnicodeEncodeError:
        return False


def socket_path(value: object) -> str:
    found = path(value)
    if len(os.fsencode(found)) > SOCKET_PATH_BYTES:
        raise Wrong(f"a path of at most {SOCKET_PATH_BYTES} bytes, as sockets have")
    return found


def check_files(settings: Mapping[str, object], table: str) -> None:
    """ConfigError for a file or a folder of `settings` that is not there or cannot be read."""
    for key, what in _FILES.items():
        given = settings.get(key)
        if not isinstance(given, str):
            continue
        wrong = _unreadable(given, folder=key == "ca_dir")
        if wrong:
            hint = "" if os.path.isabs(given) else f" (looked for in {os.getcwd()!r})"
            raise ConfigError(f"{key} of {table}: {given!r} {wrong}{hint}; give the path of {what}")


def _unreadable(given: str, *, folder: bool) -> str:
    if not os.path.exists(given):
        return "does not exist"
    if folder != os.path.isdir(given):
        return "is no folder" if folder else "is a folder"
    if not os.access(given, os.R_OK | os.X_OK if folder else os.R_OK):
        return "cannot be read by this user"
    return ""


def zone(value: object) -> str:
    """A time zone that the core, which cuts the windows, finds in the system's tables."""
    from sluiceway._core import window_key

    name = text(value)
    try:
        window_key("day", 0.0, name)
    except ConfigError:
        raise Wrong("the IANA name of a time zone that this system knows (tzdata)") from None
    return name


ON_EXCEED_KEYS: dict[str, Check] = {
    "warn": marks,
    "critical": mark,
    "statuses": statuses,
    "on_exceed": one_of(*ON_EXCEED),
    "fallbacks": models,
    "time_zone": zone,
}
BUDGET_KEYS: dict[str, Check] = {
    **ON_EXCEED_KEYS,
    "limit": money,
    "components": amounts_by_name,
    "period": one_of(*PERIODS),
    "rolling_s": seconds(60),
    "every_call": flag,
    "replace": flag,
}
WALLET_KEYS: dict[str, Check] = {
    **ON_EXCEED_KEYS,
    "warn": shares,
    "critical": share,
    "statuses": shares,
    "unit": unit,
    "monthly": quantity,
    "replace": flag,
}
