"""Prints an apt source for the backports suite of a Debian release.

    apt-get indextargets 'Identifier: Packages' \\
        --format '$(CODENAME)|$(ORIGIN)|$(COMPONENT)|$(SOURCESENTRY)' |
        python3 scripts/backports_source.py bookworm

Model: apt names, for each index it knows, the file and the entry that it comes from. The entry of
the release itself is read from there and written again with another suite, so the mirror and every
option (the key above all) stay as the machine's owner set them; no host is known to this project.
Both forms of apt sources are read: the one-line form, where the number behind the colon is a line,
and deb822 stanzas, where it is the stanza's place. The output is always a deb822 stanza.

Bounds: reads the named source file once. Standard library only, since it runs before anything is
installed.
Source: sources.list(5) of apt 2.6 and 3.0, read 2026-11-22.
"""

from __future__ import annotations

import re
import sys
from collections.abc import Iterable
from pathlib import Path

# Options of the one-line form whose deb822 field is not the option's name with capitals.
_FIELD_OF_OPTION = {
    "arch": "Architectures",
    "lang": "Languages",
    "target": "Targets",
    "pdiffs": "PDiffs",
}


def find_entry(targets: Iterable[str], codename: str) -> tuple[Path, int] | None:
    """File and entry number of Debian's own `main` of the release, or None.

    `targets` are lines `CODENAME|ORIGIN|COMPONENT|FILE:N`. The codename is the one in the signed
    Release file, so sources that say `stable` are found too; the origin keeps other vendors' suites
    of the same name out.
    """
    for line in targets:
        fields = line.strip().split("|")
        if len(fields) != 4 or fields[:3] != [codename, "Debian", "main"]:
            continue
        path, _, number = fields[3].rpartition(":")
        if path and number.isdigit():
            return Path(path), int(number)
    return None


def stanza_from_deb822(text: str, number: int, suite: str) -> str:
    """The `number`-th stanza (from 1) for `suite` and `main`; continuation lines are kept.

    Raises ValueError where there is no such stanza.
    """
    without_comments = "\n".join(line for line in text.splitlines() if not line.startswith("#"))
    stanzas = [part.strip("\n") for part in re.split(r"\n\s*\n", without_comments) if part.strip()]
    if not 1 <= number <= len(stanzas):
        raise ValueError(f"there is no stanza {number}")
    kept: list[str] = []
    skipping = False
    for line in stanzas[number - 1].splitlines():
        if not line[:1].isspace():
            field = line.partition(":")[0].strip().lower()
            skipping = field in {"types", "suites", "components"}
        if not skipping:
            kept.append(line)
    return "\n".join(["Types: deb", *kept, f"Suites: {suite}", "Components: main", ""])


def stanza_from_line(line: str, suite: str) -> str:
    """The one-line entry `deb [options] URI suite components` as a stanza for `suite` and `main`.

    URI and options are kept. Raises ValueError where the line is no such entry.
    """
    match = re.match(r"\s*deb\s+(?:\[(?P<options>[^\]]*)\]\s+)?(?P<uri>\S+)\s+\S+", line)
    if not match:
        raise ValueError(f"not a deb entry: {line.strip()!r}")
    fields = ["Types: deb", f"URIs: {match['uri']}", f"Suites: {suite}", "Components: main"]
    for option in (match["options"] or "").split():
        name, _, value = option.partition("=")
        field = _FIELD_OF_OPTION.get(name, "-".join(part.capitalize() for part in name.split("-")))
        fields.append(f"{field}: {value.replace(',', ' ')}")
    return "\n".join([*fields, ""])


def main(arguments: list[str], targets: Iterable[str]) -> int:
    codename = arguments[0]
    entry = find_entry(targets, codename)
    if entry is None:
        print(f"no apt source of the release {codename!r} was found", file=sys.stderr)
        return 1
    path, number = entry
    text = path.read_text(encoding="utf-8")
    suite = f"{codename}-backports"
    if path.suffix == ".sources":
        sys.stdout.write(stanza_from_deb822(text, number, suite))
    else:
        sys.stdout.write(stanza_from_line(text.splitlines()[number - 1], suite))
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:], sys.stdin))
