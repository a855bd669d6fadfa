"""Money at the Python border: `Decimal` dollars for people, int nano-dollars for the core.

Model: an amount is a whole number of nano-dollars, 0 to 2**63 - 1 (about 9.2 billion dollars).
Floats are refused, because 0.1 + 0.2 is not 0.3 and a budget must be. No state, any thread.

    nanousd_of("3.00")        # 3_000_000_000
    usd_of(123_000)           # Decimal("0.000123000")
"""

from __future__ import annotations

from decimal import Context, Decimal, InvalidOperation

from sluiceway.errors import InvalidRequest, InvalidType

NANOUSD_MAX = 2**63 - 1
# Of our own, so that a narrow context of the user's cannot round an amount.
_EXACT = Context(prec=60, Emax=999_999, Emin=-999_999)
_SCALE = Decimal(-9)


def usd_of(nanousd: int) -> Decimal:
    """Dollars, exact, with nine decimals."""
    return _EXACT.scaleb(Decimal(nanousd), _SCALE)


def nanousd_of(usd: str | int | Decimal, name: str = "usd") -> int:
    """Nano-dollars of a stated amount. InvalidType for a float, InvalidRequest for nonsense."""
    if isinstance(usd, bool) or not isinstance(usd, str | int | Decimal):
        hint = f'; write it as a string, {name}="{usd}"' if isinstance(usd, float) else ""
        raise InvalidType(
            f"{name} is a {type(usd).__name__}, but money is a str, an int or a Decimal{hint}"
        )
    try:
        amount = _EXACT.create_decimal(usd.strip() if isinstance(usd, str) else usd)
    except InvalidOperation:
        raise InvalidRequest(f'{name}={usd!r} is not an amount; write dollars as "3.00"') from None
    if not amount.is_finite():
        raise InvalidRequest(f"{name}={usd!s} is not an amount of money")
    if amount < 0:
        raise InvalidRequest(f"{name}={usd!s} is below zero")
    nanousd = _EXACT.scaleb(amount, 9)
    whole = nanousd.to_integral_value()
    if whole != nanousd:
        raise InvalidRequest(f"{name}={usd!s} is finer than a nano-dollar (nine decimals)")
    if whole > NANOUSD_MAX:
        raise InvalidRequest(f"{name}={usd!s} is more than {usd_of(NANOUSD_MAX)} dollars")
    return int(whole)
