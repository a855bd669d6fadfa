"""The checks of a configuration's values: what each key may hold, and the words when it does not.

Model: a check takes what TOML gave, and returns it in the form that the rest of the package uses,
or raises `Wrong` with what it expected; `config.py` says where. The keys of [budgets] and [wallets]
are here too, beside the checks that only they need. No I/O, no state, any thread.

    seconds(60)(90)         # 90.0
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from fractions import Fraction

from sluiceway._terms import ON_EXCEED, PERIODS, Mark, mark_of, unit_name
from sluiceway.errors import InvalidRequest
from sluiceway.money import USD_DECIMALS, amount_of, nanousd_of

Check = Callable[[object], object]


class Wrong(Exception):
    """What a check expected."""


def text(value: object) -> str:
    if not isinstance(value, str) or not value:
        raise Wrong("a text that is not empty")
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


def texts(value: object) -> dict[str, str]:
    fits = isinstance(value, dict) and all(isinstance(one, str) for one in value.values())
    if not fits:
        raise Wrong("a table of texts")
    return dict(value)  # type: ignore[call-overload, no-any-return]


ON_EXCEED_KEYS: dict[str, Check] = {
    "warn": marks,
    "critical": mark,
    "statuses": statuses,
    "on_exceed": one_of(*ON_EXCEED),
    "fallbacks": models,
    "time_zone": text,
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
