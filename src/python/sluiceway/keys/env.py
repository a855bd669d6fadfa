"""Keys from the environment, and from a `.env` file when, and only when, the caller names one.

Model: a mapping of variable names to values: the process environment, over which nothing is laid,
or the named file under it (the environment wins). `.env` is never looked for. A key is checked to
be something a header can carry; its value is never shown, not in a repr and not in a message.

A `.env` line is `NAME=value`, `export NAME=value`, with quotes or without; `#` starts a comment at
the start of a line or after white space. Inside double quotes \\n, \\t, \\", \\\\ are read. No
interpolation, no line continuation, no shell. Time: linear in the file.

    keys = EnvKeys.from_environment(".env")
    keys.get("OPENAI_API_KEY")
"""

from __future__ import annotations

import os
from collections.abc import Mapping

from sluiceway.errors import ConfigError, MissingKey

_ESCAPES = {"n": "\n", "t": "\t", '"': '"', "\\": "\\", "r": "\r"}


class EnvKeys:
    """Named values. `get` gives one or None; `key` checks that it can be a header's value."""

    __slots__ = ("_values",)

    def __init__(self, values: Mapping[str, str]) -> None:
        self._values = values

    @classmethod
    def from_environment(cls, env_file: str | os.PathLike[str] | None = None) -> EnvKeys:
        """The process environment now; `env_file` fills in what it lacks."""
        if env_file is None:
            return cls(os.environ)
        return cls({**read_env_file(os.fspath(env_file)), **os.environ})

    def get(self, name: str) -> str | None:
        """A variable, stripped; None when it is not set or blank."""
        value = self._values.get(name)
        return (value.strip() or None) if value is not None else None

    def key(self, name: str) -> str | None:
        """A key; MissingKey when it cannot be sent in a header."""
        value = self.get(name)
        if value is not None and not (value.isascii() and value.isprintable()):
            raise MissingKey(
                f"the value of {name} holds characters that no key has (line ends or letters"
                " outside ASCII); set it again"
            )
        return value

    def __repr__(self) -> str:
        return "EnvKeys(...)"


def read_env_file(path: str) -> dict[str, str]:
    """The variables of a `.env` file. ConfigError names the line that is not one."""
    try:
        with open(path, encoding="utf-8-sig") as file:
            lines = file.read().splitlines()
    except OSError as error:
        raise ConfigError(f"cannot read {path}: {error.strerror}") from error
    except UnicodeDecodeError:
        raise ConfigError(f"{path} is not UTF-8") from None
    values = {}
    for number, line in enumerate(lines, 1):
        text = line.strip()
        if not text or text.startswith("#"):
            continue
        name, equals, value = text.removeprefix("export ").partition("=")
        name = name.strip()
        if not equals or not name.replace("_", "a").isalnum() or name[0].isdigit():
            raise ConfigError(f"{path}, line {number}: is not NAME=value")
        values[name] = _value(value.strip(), path, number)
    return values


def _value(text: str, path: str, line: int) -> str:
    if text[:1] not in ("'", '"'):
        for position, char in enumerate(text):
            if char == "#" and (position == 0 or text[position - 1] in " \t"):
                return text[:position].rstrip()
        return text
    quote, out, at = text[0], [], 1
    while at < len(text) and text[at] != quote:
        if quote == '"' and text[at] == "\\" and at + 1 < len(text):
            at += 1
            out.append(_ESCAPES.get(text[at], "\\" + text[at]))
        else:
            out.append(text[at])
        at += 1
    rest = text[at + 1 :].strip()
    if at >= len(text) or (rest and not rest.startswith("#")):
        raise ConfigError(f"{path}, line {line}: the quotes do not close")
    return "".join(out)
