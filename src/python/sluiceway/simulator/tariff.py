"""What the simulated providers charge: the price table and the arithmetic, on integers only.

Deliberately a second, independent copy of the facts: it shares nothing with `sluiceway.prices`, so
that a wrong price or a wrong rounding there shows up as a difference between two books.

Model: a model has one or more tiers by the length of the whole prompt, and perhaps a peak tariff
by the time of day. A rate is nano-dollars for 1,000,000 tokens. A line is (bucket, rate):
`units * rate / 1,000,000`, rounded half to even to a whole nano-dollar; a bill is the sum of its
lines. Time: constant. No state, any thread, no clock: the arrival time is a parameter.

Sources, read 2026-11-22: the providers' price pages and copies of them, named on the rows below.

Example: 1,000 input tokens of gpt-4o-mini at $0.15 per million are 150,000 nano-dollars.
"""

from __future__ import annotations

import datetime
from dataclasses import dataclass, fields
from decimal import Decimal

PER_MILLION = 1_000_000
NANOUSD_PER_USD = 1_000_000_000


@dataclass(frozen=True, slots=True)
class Usage:
    """Disjoint buckets of one execution, in tokens; `input` is what no cache bucket holds.

    OpenAI's single kind of cache write is `cache_write_5m`. Reasoning tokens lie in `output`.
    """

    input: int = 0
    cache_read: int = 0
    cache_write_5m: int = 0
    cache_write_1h: int = 0
    output: int = 0

    @property
    def prompt(self) -> int:
        """All input tokens, cached or not: what the tiers are chosen by."""
        return self.input + self.cache_read + self.cache_write_5m + self.cache_write_1h

    def minus(self, other: Usage) -> Usage:
        """Bucket-wise difference."""
        return Usage(*(getattr(self, name) - getattr(other, name) for name in BUCKETS))

    def as_dict(self) -> dict[str, int]:
        """The buckets by name, in a fixed order."""
        return {name: getattr(self, name) for name in BUCKETS}


BUCKETS = tuple(field.name for field in fields(Usage))


@dataclass(frozen=True, slots=True)
class Rates:
    """Nano-dollars per 1,000,000 tokens, by bucket."""

    input: int
    cache_read: int
    cache_write_5m: int
    cache_write_1h: int
    output: int

    def scaled(self, input_factor: str, output_factor: str) -> Rates:
        """All input-side rates times one factor, the output rate times another; exact."""
        names = BUCKETS[:-1]
        factors = dict.fromkeys(names, Decimal(input_factor)) | {"output": Decimal(output_factor)}
        return Rates(**{name: _exact(getattr(self, name) * factors[name]) for name in BUCKETS})


@dataclass(frozen=True, slots=True)
class Tariff:
    """The rates of one model. `above` replaces `base` when the prompt passes `above_tokens`."""

    base: Rates
    above: Rates | None = None
    above_tokens: int = 0
    peak: Rates | None = None

    def rates(self, prompt_tokens: int, arrived_unix_s: float) -> Rates:
        """The rates of a request with this prompt that arrived at this time."""
        if self.above is not None and prompt_tokens > self.above_tokens:
            return self.above
        if self.peak is not None and is_deepseek_peak(arrived_unix_s):
            return self.peak
        return self.base


def _exact(value: Decimal) -> int:
    whole = int(value)
    if value != whole:
        raise ValueError(f"{value} nano-dollars per million is not a whole number")
    return whole


def _rates(text: str) -> Rates:
    """Rates from "input / read / write 5m / write 1h / output" in dollars per million tokens.

    A dash means that the provider has no such line; such tokens cost as fresh input.
    """
    parts = [part.strip() for part in text.split("/")]
    fresh = _exact(Decimal(parts[0]) * NANOUSD_PER_USD)
    return Rates(
        *(fresh if part == "-" else _exact(Decimal(part) * NANOUSD_PER_USD) for part in parts)
    )


def _openai_long(text: str) -> Tariff:
    """OpenAI's models with 1.05M context: above 272K input the whole request costs double on the
    input side and 1.5 times on the output side (OpenAI model pages)."""
    base = _rates(text)
    return Tariff(base, above=base.scaled("2", "1.5"), above_tokens=272_000)


# input / cache read / cache write (5 m) / cache write (1 h) / output, dollars per million tokens.
TARIFFS: dict[str, Tariff] = {
    # OpenAI model pages, November 2026 (6.1-sol: a copy of the page; 5.6-terra: a report of the
    # price since 2026-07-30).
    "gpt-6.2-sol": _openai_long("2 / 0.10 / 2.50 / - / 10"),
    "gpt-6.1-terra": _openai_long("1 / 0.05 / 1.25 / - / 5"),
    "gpt-6.1-sol": _openai_long("2 / 0.10 / 2.50 / - / 10"),
    "gpt-6-luna": _openai_long("0.10 / 0.01 / 0.125 / - / 0.50"),
    "gpt-5.6-terra": _openai_long("2 / 0.20 / 2.50 / - / 12"),
    "gpt-5.6-luna": _openai_long("0.20 / 0.02 / 0.25 / - / 1.20"),
    # genai-prices, checked 2026-08-02: no cache writes, no second tier.
    "gpt-4o": Tariff(_rates("2.50 / 1.25 / - / - / 10")),
    "gpt-4o-mini": Tariff(_rates("0.15 / 0.075 / - / - / 0.60")),
    # platform.claude.com pricing and model pages, October and November 2026; fable-5-2 from two
    # third parties.
    "claude-fable-5-2": Tariff(_rates("8 / 0.20 / 10 / 16 / 40")),
    "claude-opus-5-5": Tariff(_rates("4 / 0.20 / 5 / 8 / 20")),
    "claude-opus-5": Tariff(_rates("5 / 0.50 / 6.25 / 10 / 25")),
    "claude-sonnet-5-5": Tariff(_rates("2 / 0.10 / 2.50 / 4 / 10")),
    # kurofune/claudit v1.9.2: above 100K the whole request has the second tariff.
    "claude-haiku-5-5": Tariff(
        _rates("0.10 / 0.01 / 0.125 / 0.20 / 0.50"),
        above=_rates("0.50 / 0.05 / 0.625 / 1.00 / 2.50"),
        above_tokens=100_000,
    ),
    "claude-haiku-4-5": Tariff(_rates("1 / 0.10 / 1.25 / 2 / 5")),
    # api-docs.deepseek.com/quick_start/pricing, 2026-11-15: off-peak, then peak.
    "deepseek-flash": Tariff(
        _rates("0.15 / 0.003 / - / - / 0.60"), peak=_rates("0.30 / 0.006 / - / - / 1.20")
    ),
    "deepseek-v4-pro": Tariff(
        _rates("0.66 / 0.022 / - / - / 1.98"), peak=_rates("1.32 / 0.044 / - / - / 3.96")
    ),
}

# 2026 holidays on which DeepSeek has no peak (first day, last day), as published in several
# third-party copies of the State Council's list; make-up workdays at weekends stay off-peak.
# The list for 2027 was not out on 2026-11-22.
_HOLIDAYS = tuple(
    (datetime.date.fromisoformat(first), datetime.date.fromisoformat(last))
    for first, last in (
        ("2026-01-01", "2026-01-03"),
        ("2026-02-15", "2026-02-23"),
        ("2026-04-04", "2026-04-06"),
        ("2026-05-01", "2026-05-05"),
        ("2026-06-19", "2026-06-21"),
        ("2026-09-25", "2026-09-27"),
        ("2026-10-01", "2026-10-07"),
    )
)


def is_deepseek_peak(unix_s: float) -> bool:
    """Whether DeepSeek's peak price holds: 01:00-04:00 and 06:00-10:00 UTC (09-12 and 14-18 in
    Beijing, the same calendar day), Monday to Friday, not on a Chinese public holiday."""
    moment = datetime.datetime.fromtimestamp(unix_s, datetime.UTC)
    if moment.weekday() >= 5 or not (1 <= moment.hour < 4 or 6 <= moment.hour < 10):
        return False
    day = moment.date()
    return not any(first <= day <= last for first, last in _HOLIDAYS)


def line_nanousd(units: int, rate_nanousd: int) -> int:
    """One line of a bill: `units * rate / 1,000,000`, rounded half to even."""
    quotient, remainder = divmod(units * rate_nanousd, PER_MILLION)
    twice = 2 * remainder
    if twice > PER_MILLION or (twice == PER_MILLION and quotient % 2 == 1):
        quotient += 1
    return quotient


def bill_nanousd(model: str, usage: Usage, arrived_unix_s: float, batch: bool = False) -> int:
    """What this usage costs, in nano-dollars; in a batch, half of every rate (both providers that
    have batches say so on their price pages). KeyError for a model without a tariff."""
    rates = TARIFFS[model].rates(usage.prompt, arrived_unix_s)
    if batch:
        rates = rates.scaled("0.5", "0.5")
    return sum(line_nanousd(getattr(usage, name), getattr(rates, name)) for name in BUCKETS)
