"""Rules that decide what happens to which request, changeable while the simulator runs.

A script is a list of rules, each `{"match": {...}, "action": {...}}`. All keys of `match` are
optional and all that are given must hold:

    provider      "openai" | "deepseek" | "anthropic"
    model, path   shell patterns ("gpt-*", "*/chat/completions")
    stream        true | false
    protocol      "h1" | "h2"
    attempt       range of attempt numbers, from the header `sluiceway-attempt: <call>/<n>`
    nth           range of the requests that match everything above, from 1: 3, "2-5", [2, null]
    probability   0 to 1, drawn from the seed
    after_s       seconds since the script was installed, from ...
    until_s       ... to (exclusive)

`action` holds settings (`settings.py`). Every matching rule applies, in order; a later one wins
where both set a key. Times are passed in; the random source is seeded, so the same requests in
the same order meet the same fate.

A Script belongs to the loop that serves requests; installing another one is a single assignment.
Time: linear in the number of rules. Memory: the rules.

Example: `parse_script([{"match": {"nth": 1}, "action": {"fault": "drop_after"}}], 7, now_s)`.
"""

from __future__ import annotations

import json
import random
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from fnmatch import fnmatchcase
from pathlib import Path
from typing import Any

from sluiceway.simulator.errors import ScriptError
from sluiceway.simulator.settings import read_range, read_settings

PROVIDERS = ("openai", "deepseek", "anthropic")


@dataclass(frozen=True, slots=True)
class Subject:
    """What the rules look at in a request."""

    provider: str
    model: str
    path: str
    stream: bool
    protocol: str
    attempt_number: int


@dataclass(slots=True)
class Rule:
    """One checked rule and how many requests it has matched so far."""

    match: Mapping[str, Any]
    action: Mapping[str, object]
    matched: int = field(default=0)

    def holds(self, subject: Subject, since_s: float, rng: random.Random) -> bool:
        """Whether this rule applies now. Counts the request where the static part matches."""
        match = self.match
        for key in ("provider", "stream", "protocol"):
            if key in match and match[key] != getattr(subject, key):
                return False
        for key in ("model", "path"):
            if key in match and not fnmatchcase(getattr(subject, key), match[key]):
                return False
        if "attempt" in match and not _within(match["attempt"], subject.attempt_number):
            return False
        if not match.get("after_s", 0.0) <= since_s < match.get("until_s", float("inf")):
            return False
        self.matched += 1
        if "nth" in match and not _within(match["nth"], self.matched):
            return False
        return "probability" not in match or rng.random() < match["probability"]


class Script:
    """Rules, the moment they were installed and their own random source."""

    def __init__(self, rules: list[Rule], seed: int, started_s: float) -> None:
        self.rules = rules
        self._seed = seed
        self._rng = random.Random(seed)
        self._started_s = started_s

    def decide(self, subject: Subject, now_s: float) -> dict[str, object]:
        """The settings that the matching rules ask for, merged in order."""
        merged: dict[str, object] = {}
        since_s = now_s - self._started_s
        for rule in self.rules:
            if rule.holds(subject, since_s, self._rng):
                merged.update(rule.action)
        return merged

    def restarted(self, now_s: float) -> Script:
        """The same rules with counters, clock and random source as at the start."""
        rules = [Rule(rule.match, rule.action) for rule in self.rules]
        return Script(rules, self._seed, now_s)


def _within(bounds: tuple[int, int], count: int) -> bool:
    return bounds[0] <= count <= bounds[1]


def _one_of(*choices: object) -> Callable[[object], object]:
    def read(value: object) -> object:
        # By type too: 1 is not True here.
        if not any(value == choice and type(value) is type(choice) for choice in choices):
            raise ScriptError(f"{value!r} is not one of {choices}")
        return value

    return read


def _pattern(value: object) -> str:
    if not isinstance(value, str):
        raise ScriptError(f"{value!r} is not a pattern")
    return value


def _number(high: float) -> Callable[[object], float]:
    def read(value: object) -> float:
        if isinstance(value, bool) or not isinstance(value, int | float) or not 0 <= value <= high:
            raise ScriptError(f"{value!r} is not a number from 0 to {high:g}")
        return float(value)

    return read


_MATCH_READERS: dict[object, Callable[[object], object]] = {
    "provider": _one_of(*PROVIDERS),
    "model": _pattern,
    "path": _pattern,
    "stream": _one_of(True, False),
    "protocol": _one_of("h1", "h2"),
    "attempt": read_range,
    "nth": read_range,
    "probability": _number(1.0),
    "after_s": _number(1e9),
    "until_s": _number(1e9),
}


def _read_match(raw: object) -> dict[str, Any]:
    if not isinstance(raw, Mapping):
        raise ScriptError("match is not an object")
    match: dict[str, Any] = {}
    for key, value in raw.items():
        reader = _MATCH_READERS.get(key)
        if reader is None:
            raise ScriptError(
                f"unknown match key {key!r}; known: {', '.join(map(str, _MATCH_READERS))}"
            )
        try:
            match[key] = reader(value)
        except ScriptError as error:
            raise ScriptError(f"match.{key}: {error}") from None
    return match


def parse_script(raw: object, seed: int, now_s: float) -> Script:
    """Checks a list of rules (or `{"rules": [...]}`). Raises ScriptError naming the rule."""
    if isinstance(raw, Mapping) and "rules" in raw:
        raw = raw["rules"]
    if not isinstance(raw, Sequence) or isinstance(raw, str | bytes):
        raise ScriptError("a script is a list of rules")
    rules: list[Rule] = []
    for index, entry in enumerate(raw):
        try:
            if not isinstance(entry, Mapping) or not set(entry) <= {"match", "action", "comment"}:
                raise ScriptError("a rule is an object with match and action")
            action = entry.get("action")
            if not isinstance(action, Mapping):
                raise ScriptError("action is not an object")
            rules.append(Rule(_read_match(entry.get("match", {})), read_settings(action)))
        except ScriptError as error:
            raise ScriptError(f"rule {index}: {error}") from None
    return Script(rules, seed, now_s)


def load_rules(path: str | Path) -> object:
    """The JSON of a script file. Raises ScriptError if it cannot be read or is not JSON."""
    try:
        return json.loads(Path(path).read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise ScriptError(f"script {path}: {error}") from None
