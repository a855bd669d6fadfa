"""What holds for a budget scope: limit, window, marks, and what happens when it is full.

Model: `Terms` is what the template of a kind says ([budgets.video]) with what the code says laid
over it. A mark is an amount ("2.00") or a share of the limit ("80%"). An amount is meant for the
limit that stands beside it: a scope with another limit gets it as the same share, so that a video
with $6.00 warns at twice the amount of one with $3.00. Without a limit it stays an amount.

A status says how much is gone: spent, or in doubt, which may have been billed. What running calls
hold may come back and does not count. At a $3.00 limit, and in the same shares at others:

    up to 1.00 excellent, up to 2.00 good, up to 2.50 warning, up to 3.00 critical, above exceeded

A level is a mark that fires once: "warn" and "critical" when what is gone reaches the stated mark
(without stated marks: when the status becomes warning, critical), "exceeded" above the limit.

All comparisons are of integers. Immutable; no clock, no I/O; any thread.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from decimal import Decimal
from fractions import Fraction
from typing import Any

from sluiceway.errors import Balance, InvalidRequest, InvalidType, kind_of
from sluiceway.money import CREDIT_DECIMALS, NANOUSD_MAX, USD_DECIMALS, amount_of, units_of

STATUSES = ("excellent", "good", "warning", "critical", "exceeded")
PERIODS = ("none", "hour", "day", "week", "month")
ON_EXCEED = ("refuse", "wait", "fallback", "cut")
DOLLAR = "usd"
UNIT_LENGTH_MAX = 40

Mark = int | Decimal | Fraction  # an amount in smallest parts, in units, or a share of the limit
_SHARES = (Fraction(1, 3), Fraction(2, 3), Fraction(5, 6))
# Kinds whose scopes are told apart by their keys even where the template has a window: a day of
# "user" is a day of each user. Every other kind with a window is one scope for all calls.
KEYED_KINDS = frozenset(
    (
        *("video", "job", "user", "account", "service", "tenant", "customer"),
        *("team", "project", "session", "agent", "key"),
    )
)


def mark_of(value: object, name: str) -> Mark:
    """ "80%" as a share, "2.00" as an amount. InvalidType for a float, InvalidRequest else."""
    if isinstance(value, str) and value.strip().endswith("%"):
        percent = value.strip()[:-1]
        try:
            share = Fraction(percent) / 100
        except (ValueError, ZeroDivisionError):
            raise InvalidRequest(f'{name}={value!r} is not a share; write it as "80%"') from None
        if not 0 <= share <= 1:
            raise InvalidRequest(f"{name}={value!r} is not between 0% and 100%")
        return share
    amount_of(value, USD_DECIMALS, name)  # type: ignore[arg-type]
    return Decimal(value.strip() if isinstance(value, str) else value)  # type: ignore[arg-type]


def unit_name(unit: object) -> str:
    """A unit to count in: "usd", or a credit's name of lower-case letters, digits and "_"."""
    if not isinstance(unit, str):
        raise InvalidType(f"the unit is {kind_of(unit)}, not a str")
    plain = unit.replace("_", "a")
    if not plain.isalnum() or not plain.isascii() or not plain.islower():
        raise InvalidRequest(f'the unit {unit!r} is not a name such as "credit" or "gpu_minute"')
    if len(unit) > UNIT_LENGTH_MAX or unit == "nanousd":
        raise InvalidRequest(f"the unit {unit!r} is too long, or the ledger's own")
    return unit


def balance_of(raw: Mapping[str, Any], decimals: int = USD_DECIMALS) -> Balance:
    """A `Balance` from the words of the core; no limit there is the largest amount."""
    limit = limit_of(raw)
    return Balance(
        None if limit is None else units_of(limit, decimals),
        units_of(raw["settled"], decimals),
        units_of(raw["held"], decimals),
        units_of(raw["in_doubt"], decimals),
        bool(raw["blocked"]),
    )


def limit_of(raw: Mapping[str, Any]) -> int | None:
    """The limit in the words of the core, or None."""
    limit: int | None = raw["limit"]
    return None if limit is None or limit >= NANOUSD_MAX else limit


def gone_of(raw: Mapping[str, Any]) -> int:
    """What is spent or in doubt."""
    return int(raw["settled"]) + int(raw["in_doubt"])


class Level:
    """A mark that fires: its name, and from where on it is reached."""

    __slots__ = ("above", "amount", "name", "share")

    def __init__(self, name: str, share: Fraction | None, amount: int, above: bool) -> None:
        self.name = name
        self.share = share  # of the limit; None: `amount` holds whatever the limit is
        self.amount = amount
        self.above = above  # only above the mark, not at it

    def mark(self, limit: int | None) -> int | None:
        """The mark as an amount, rounded up; None for a share of no limit."""
        if self.share is None:
            return self.amount
        return None if limit is None else -(-limit * self.share.numerator // self.share.denominator)

    def reached(self, gone: int, limit: int | None) -> bool:
        """Whether `gone` is at the mark (or above it, where only that counts)."""
        if self.share is None:
            have, mark = gone, self.amount
        elif limit is None:
            return False
        else:
            have, mark = gone * self.share.denominator, limit * self.share.numerator
        return have > mark if self.above else have >= mark


class Terms:
    """See the top of the file. `limit` is in the unit's smallest parts; None: only counted."""

    __slots__ = (
        "components",
        "decimals",
        "fallbacks",
        "levels",
        "limit",
        "on_exceed",
        "period",
        "rolling_s",
        "shares",
        "stated_limit",
        "time_zone",
        "unit",
        "watched",
    )

    def __init__(
        self,
        template: Mapping[str, Any],
        limit: int | None = None,
        *,
        unit: str = DOLLAR,
        period: str | None = None,
        time_zone: str | None = None,
        rolling_s: float | None = None,
        on_exceed: str | None = None,
        fallbacks: Sequence[str] | None = None,
        warn: Sequence[object] | None = None,
        critical: object = None,
        statuses: Sequence[object] | None = None,
    ) -> None:
        self.stated_limit = limit is not None
        self.limit: int | None = template.get("limit") if limit is None else limit
        self.unit = unit
        self.decimals = USD_DECIMALS if unit == DOLLAR else CREDIT_DECIMALS
        self.period = _word(period, "period", PERIODS) or template.get("period", "none")
        self.rolling_s: float = template.get("rolling_s", 0.0) if period is None else 0.0
        if rolling_s is not None:
            self.rolling_s, self.period = _rolling_s(rolling_s, period), "none"
        self.time_zone: str = time_zone or template.get("time_zone", "UTC")
        self.on_exceed = _word(on_exceed, "on_exceed", ON_EXCEED) or template.get(
            "on_exceed", "refuse"
        )
        self.fallbacks: tuple[str, ...] = tuple(fallbacks or template.get("fallbacks", ()))
        self.components: Mapping[str, int] = template.get("components", {})
        # Amounts of the template belong to the template's limit, those of the code to its own.
        base = template.get("limit", self.limit)
        self.shares: tuple[Fraction, ...] = _SHARES
        marks = self._marks(statuses, "statuses", template.get("statuses"), base)
        if marks:
            if len(marks) != 3 or any(share is None for share, _ in marks):
                raise InvalidRequest("statuses are the upper ends of excellent, good and warning")
            self.shares = tuple(share for share, _ in marks if share is not None)
            if list(self.shares) != sorted(self.shares) or self.shares[-1] > 1:
                raise InvalidRequest(f"statuses={statuses!r} do not go up to at most the limit")
        warns = self._marks(warn, "warn", template.get("warn"), base)
        one = None if critical is None else (critical,)
        known = template.get("critical")
        criticals = self._marks(one, "critical", None if known is None else (known,), base)
        self.watched = bool(warns or criticals)
        self.levels = _levels(warns, criticals, self.shares)

    def with_limit(self, limit: int | None) -> Terms:
        """The same with another limit, a stated one unless it is None."""
        other = Terms.__new__(Terms)
        for name in Terms.__slots__:
            setattr(other, name, getattr(self, name))
        other.limit, other.stated_limit = limit, limit is not None
        return other

    def of_component(self, known: int | None, limit: int | None, **own: Any) -> Terms:
        """What holds for a part of a scope with these terms: its window and shares, its own limit.

        `known` is the template's limit for the part, `limit` the code's, `own` what the code says
        beside it.
        """
        for word in ("period", "time_zone", "rolling_s"):
            if own.get(word) is not None:
                raise InvalidRequest(f"a component has its parent's window; leave {word} out")
        template: dict[str, Any] = {} if known is None else {"limit": known}
        terms = Terms(template, limit, **{"on_exceed": self.on_exceed, **own})
        terms.unit, terms.decimals = self.unit, self.decimals
        terms.period, terms.time_zone = self.period, self.time_zone
        terms.rolling_s = self.rolling_s
        terms.fallbacks = terms.fallbacks or self.fallbacks
        if own.get("statuses") is None:
            terms.shares = self.shares
        if own.get("warn") is None and own.get("critical") is None:
            terms.levels = tuple(level for level in self.levels if level.share is not None)
            terms.watched = self.watched and terms.limit is not None
        return terms

    def _marks(
        self,
        own: Sequence[object] | None,
        name: str,
        others: Sequence[Mark] | None,
        base: int | None,
    ) -> list[tuple[Fraction | None, int]]:
        """(share, amount) of each mark: the code's for its own limit, else the template's."""
        if own is not None:
            if isinstance(own, str) or not isinstance(own, Sequence):
                raise InvalidType(f'{name} is a list of marks, such as ["2.00", "80%"]')
            marks, limit = [mark_of(one, name) for one in own], self.limit
        else:
            marks, limit = list(others or ()), base
        out: list[tuple[Fraction | None, int]] = []
        for mark in marks:
            if isinstance(mark, Fraction):
                out.append((mark, 0))
                continue
            amount = mark if isinstance(mark, int) else amount_of(mark, self.decimals, name)
            out.append((Fraction(amount, limit) if limit else None, amount))
        return out

    def status_of(self, raw: Mapping[str, Any]) -> str:
        """The status of a balance in the words of the core."""
        return self.status(gone_of(raw), limit_of(raw), bool(raw["blocked"]))

    def status(self, gone: int, limit: int | None, blocked: bool) -> str:
        """The status of a scope with `gone` of `limit` spent or in doubt."""
        if blocked:
            return STATUSES[4]
        if limit is None:
            return STATUSES[0]
        if gone > limit:
            return STATUSES[4]
        if limit == 0:
            return STATUSES[3]  # nothing gone, and nothing there
        for status, share in zip(STATUSES, self.shares, strict=False):
            if gone * share.denominator <= limit * share.numerator:
                return status
        return STATUSES[3]

    def is_every_calls(self, kind: str, template: Mapping[str, Any]) -> bool:
        """Whether a template is one scope that every call is in."""
        windowed = self.period != "none" or self.rolling_s > 0
        return bool(template.get("every_call", windowed and kind not in KEYED_KINDS))


def _levels(
    warns: Sequence[tuple[Fraction | None, int]],
    criticals: Sequence[tuple[Fraction | None, int]],
    shares: Sequence[Fraction],
) -> tuple[Level, ...]:
    """All levels, the lowest first as they are named."""
    levels = [Level("warn", share, amount, False) for share, amount in warns]
    levels += [Level("critical", share, amount, False) for share, amount in criticals]
    if not warns:
        levels.append(Level("warn", shares[1], 0, True))
    if not criticals:
        levels.append(Level("critical", shares[2], 0, True))
    if all(level.share is not None for level in levels):
        levels.sort(key=lambda level: level.share or 0)
    else:
        levels.sort(key=lambda level: level.amount)
    levels.append(Level("exceeded", Fraction(1), 0, True))
    return tuple(levels)


def _word(value: object, name: str, known: Sequence[str]) -> str | None:
    if value is None or (isinstance(value, str) and value in known):
        return value
    words = ", ".join(f'"{one}"' for one in known)
    raise InvalidRequest(f"{name}={value!r} is not one of {words}")


def _rolling_s(value: object, period: str | None) -> float:
    if isinstance(value, bool) or not isinstance(value, int | float):
        raise InvalidType(f"rolling_s is {kind_of(value)}, not a number of seconds")
    if not 60 <= value <= 1e9:
        raise InvalidRequest(f"rolling_s={value} is not from 60 to 1e9 seconds")
    if period not in (None, "none"):
        raise InvalidRequest("a budget has a period or rolling_s, not both")
    return float(value)
