"""Times drawn for an answer: a fixed number of milliseconds, uniform, or lognormal.

Grammar, the same in rules, headers and prompts:

    20                     always 20 ms
    uniform:10:50          anywhere between 10 and 50 ms
    lognormal:200:0.5      median 200 ms, sigma 0.5 (natural logarithm)

A draw is constant time and takes its randomness as a parameter, so that a seed repeats a run.
"""

from __future__ import annotations

import math
import random
from dataclasses import dataclass

from sluiceway.simulator.errors import ScriptError

_MILLISECONDS_MAX = 24 * 3600 * 1000.0


@dataclass(frozen=True, slots=True)
class Draw:
    """A distribution of milliseconds: its kind and one or two parameters."""

    kind: str
    first: float
    second: float = 0.0

    def seconds(self, rng: random.Random) -> float:
        """One draw, in seconds, never negative and at most a day."""
        if self.kind == "fixed":
            milliseconds = self.first
        elif self.kind == "uniform":
            milliseconds = rng.uniform(self.first, self.second)
        else:
            milliseconds = self.first * math.exp(rng.gauss(0.0, self.second))
        return min(max(milliseconds, 0.0), _MILLISECONDS_MAX) / 1000.0


ZERO = Draw("fixed", 0.0)


def parse_draw(value: object) -> Draw:
    """Reads a number of milliseconds or one of the forms above. Raises ScriptError."""
    if isinstance(value, int | float) and not isinstance(value, bool):
        numbers, kind = [float(value)], "fixed"
    elif isinstance(value, str):
        kind, _, rest = value.partition(":")
        try:
            if rest:
                numbers = [float(part) for part in rest.split(":")]
            else:
                numbers, kind = [float(kind)], "fixed"
        except ValueError:
            raise ScriptError(f"not a time: {value!r}; {_HELP}") from None
    else:
        raise ScriptError(f"not a time: {value!r}; {_HELP}")
    expected = {"fixed": 1, "uniform": 2, "lognormal": 2}.get(kind)
    if len(numbers) != expected or not all(math.isfinite(n) and n >= 0 for n in numbers):
        raise ScriptError(f"not a time: {value!r}; {_HELP}")
    if kind == "uniform" and numbers[0] > numbers[1]:
        raise ScriptError(f"not a time: {value!r}: the first bound is above the second")
    return Draw(kind, *numbers)


_HELP = "write milliseconds (20), uniform:10:50 or lognormal:MEDIAN:SIGMA"
