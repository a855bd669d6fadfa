"""On which line of a TOML text each key stands, which `tomllib` does not tell.

Model: one pass over a text that `tomllib` has already accepted, so that the walk may rely on its
syntax: it tracks table headers, dotted and quoted keys, inline tables, and skips strings (all four
kinds), arrays and comments. A key path is a tuple of its parts; a table's own path maps to its
header. Elements of arrays of tables share one path, and the first line wins. Time: linear. No
state, any thread.

    key_lines('[a."b/c"]\\nd = 1')       # {("a",): 1, ("a", "b/c"): 1, ("a", "b/c", "d"): 2}

Source: TOML 1.0.0, toml.io.
"""

from __future__ import annotations

KeyPath = tuple[str, ...]

_BARE_END = " \t=.]},\n\r#"


def key_lines(text: str) -> dict[KeyPath, int]:
    """Every key path and its line, counted from 1."""
    return _Walk(text).run()


class _Walk:
    def __init__(self, text: str) -> None:
        self.text = text
        self.at = 0
        self.lines: dict[KeyPath, int] = {}

    def run(self) -> dict[KeyPath, int]:
        table: KeyPath = ()
        while self._skip_blank():
            if self.text[self.at] == "[":
                double = self.text.startswith("[[", self.at)
                start = self.at
                self.at += 2 if double else 1
                table = self._key_path()
                self._record((), table, start)
                self.at = self.text.index("]", self.at) + (2 if double else 1)
            else:
                self._pair(table)
        return self.lines

    def _record(self, prefix: KeyPath, path: KeyPath, start: int) -> None:
        line = self.text.count("\n", 0, start) + 1
        for length in range(1, len(path) + 1):
            self.lines.setdefault(prefix + path[:length], line)

    def _skip_blank(self, stop: str = "") -> bool:
        """Moves past white space, line ends and comments; False at the end of the text."""
        while self.at < len(self.text):
            char = self.text[self.at]
            if char == "#":
                end = self.text.find("\n", self.at)
                self.at = len(self.text) if end < 0 else end
            elif char in " \t\r\n" or (stop and char in stop):
                self.at += 1
            else:
                return True
        return False

    def _spaces(self) -> None:
        while self.at < len(self.text) and self.text[self.at] in " \t":
            self.at += 1

    def _key_path(self) -> KeyPath:
        """A dotted key; stands behind it (and behind spaces) afterwards."""
        parts = []
        while True:
            self._spaces()
            parts.append(self._key())
            self._spaces()
            if self.text[self.at] != ".":
                return tuple(parts)
            self.at += 1

    def _key(self) -> str:
        start = self.at
        if self.text[start] in "\"'":
            self._string()
            return _unquote(self.text[start : self.at])
        while self.text[self.at] not in _BARE_END:
            self.at += 1
        return self.text[start : self.at]

    def _pair(self, table: KeyPath) -> None:
        start = self.at
        path = self._key_path()
        self._record(table, path, start)
        self.at += 1  # the equals sign
        self._spaces()
        self._value(table + path)

    def _value(self, path: KeyPath) -> None:
        char = self.text[self.at]
        if char in "\"'":
            self._string()
        elif char == "[":
            self.at += 1
            while self._skip_blank(",") and self.text[self.at] != "]":
                self._value(path)
            self.at += 1
        elif char == "{":
            self.at += 1
            while self._skip_blank(",") and self.text[self.at] != "}":
                self._pair(path)
            self.at += 1
        else:
            while self.at < len(self.text) and self.text[self.at] not in ",]}#\n\r":
                self.at += 1

    def _string(self) -> None:
        quote = self.text[self.at]
        long = self.text.startswith(quote * 3, self.at)
        mark = quote * 3 if long else quote
        self.at += len(mark)
        while not self.text.startswith(mark, self.at):
            self.at += 2 if quote == '"' and self.text[self.at] == "\\" else 1
        self.at += len(mark)
        # Up to two quotes may stand directly before the closing mark of a long string.
        while long and self.text.startswith(quote, self.at):
            self.at += 1


def _unquote(key: str) -> str:
    if key[0] == "'" or "\\" not in key:
        return key[1:-1]
    import tomllib

    return next(iter(tomllib.loads(f"{key} = 0")))
