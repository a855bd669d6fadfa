"""Money at the Python border: `Decimal` dollars for people, int nano-dollars for the core.

Model: an amount is a whole number of nano-dollars, 0 to 2**63 - 1 (about 9.2 billion dollars); a
named credit is counted in thousandths. Floats are refused, because 0.1 + 0.2 is not 0.3 and a
budget must be. No state, any thread.

    nanousd_of("3.00")        # 3_000_000_000
    usd_of(123_000)           # Decimal("0.000123000")
    amount_of("1.5", 3, "credits")      # 1_500
"""

from __future__ import annotations

from decimal import Context, Decimal

from sluiceway.errors import InvalidRequest, InvalidType, kind_of

NANOUSD_MAX = 2**63 - 1
USD_DECIMALS = 9
CREDIT_DECIMALS = 3
# Of our own, so that a narrow context of the user's cannot round an amount.
_EXACT = Context(prec=60, Emax=999_999, Emin=-999_999)


def usd_of(nanousd: int) -> Decimal:
    """Dollars, exact, with nine decimals."""
    return _EXACT.scaleb(Decimal(nanousd), -USD_DECIMALS)


def units_of(amount: int, decimals: int) -> Decimal:
    """Whole units of an amount that is counted in tenths, hundredths ... of one, exact."""
    return _EXACT.scaleb(Decimal(amount), -decimals)


def nanousd_of(usd: str | int | Decimal, name: str = "usd") -> int:
    """Nano-dollars of a stated amount. InvalidType for a float, InvalidRequest for nonsense."""
    return amount_of(usd, USD_DECIMALS, name)


def amount_of(stated: str | int | Decimal, decimals: int, name: str) -> int:
    """A stated amount in its smallest parts, 10**-decimals of a unit; errors as above."""
    if isinstance(stated, bool) or not isinstance(stated, str | int | Decimal):
        hint = f'; write it as a string, {name}="{stated}"' if isinstance(stated, float) else ""
        raise InvalidType(
            f"{name} is {kind_of(stated)}, but money is a str, an int or a Decimal{hint}"
        )
    try:
        amount = _EXACT.create_decimal(stated.strip() if isinstance(stated, str) else stated)
    except ArithmeticError:
        raise InvalidRequest(
            f'{name}={_short(stated)} is not an amount; write dollars as "3.00"'
        ) from None
    if not amount.is_finite():
        raise InvalidRequest(f"{name}={_short(stated)} is not an amount of money")
    if amount < 0:
        raise InvalidRequest(f"{name}={_short(stated)} is below zero")
    try:
        parts = _EXACT.scaleb(amount, decimals)
    except ArithmeticError:  # an exponent of a million
        raise InvalidRequest(f"{name}={_short(stated)} is no amount that there is") from None
    whole = parts.to_integral_value()
    if whole != parts:
        what = "a nano-dollar (nine" if decimals == USD_DECIMALS else f"a unit has ({decimals}"
        raise InvalidRequest(f"{name}={_short(stated)} is finer than {what} decimals)")
    if whole > NANOUSD_MAX:
        top = units_of(NANOUSD_MAX, decimals)
        unit = "dollars" if decimals == USD_DECIMALS else "units"
        raise InvalidRequest(f"{name}={_short(stated)} is more than {top} {unit}")
    return int(whole)


def _short(stated: object) -> str:
    """What was stated, for a message: an amount of a thousand digits shows how it begins."""
    shown = repr(stated) if isinstance(stated, str) else str(stated)
    return shown if len(shown) <= 60 else f"{shown[:60]}..."
