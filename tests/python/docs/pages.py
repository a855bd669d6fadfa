"""The code in our pages: finds it, and runs it as a reader would, from the top of a page down.

Model: a page is Markdown. Its blocks fenced as `python` run in order and share one namespace; a
block fenced as `toml` is read as a sluiceway.toml and, when it is the page's last so far, stands
as that file in the working folder. HTML comments, which no reader sees, carry what a page must not
show:

    <!-- run ... -->              Python of its own: a set-up, or a check of what was just shown
    <!-- compile only: why -->    the next python block is compiled, not run (it needs a real key)

Every other language is text. Bounds: linear in the page. Source: CommonMark 0.31, "Fenced code
blocks".

    for block in blocks_of(Path("README.md")): print(block.language, block.line)
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from pathlib import Path

ROOT = Path(__file__).resolve().parents[3]

_FENCE = re.compile(r"^```(?P<language>\w*)[^\n]*\n(?P<code>.*?)^```[ \t]*$", re.M | re.S)
_RUN = re.compile(r"^<!-- run\n(?P<code>.*?)^-->[ \t]*$", re.M | re.S)
_COMPILE_ONLY = re.compile(r"<!-- compile only: [^\n]+ -->\s*\Z")


@dataclass(frozen=True, slots=True)
class Block:
    """A piece of code of a page. `line` is the line of its first line of code, from 1."""

    language: str  # "python" or "toml"
    code: str
    line: int
    compile_only: bool = False


def pages() -> list[Path]:
    """Every page that people read, in a fixed order."""
    top = [ROOT / name for name in ("README.md", "CONTRIBUTING.md", "src/cpp/README.md")]
    return [page for page in top if page.exists()] + sorted((ROOT / "docs").rglob("*.md"))


def blocks_of(page: Path) -> list[Block]:
    """The runnable pieces of a page, in their order."""
    text = page.read_text(encoding="utf-8")
    found = []
    for match in _FENCE.finditer(text):
        language = match["language"]
        if language in ("python", "toml"):
            only = bool(_COMPILE_ONLY.search(text[: match.start()]))
            found.append((match.start("code"), language, match["code"], only))
    found += [(m.start("code"), "python", m["code"], False) for m in _RUN.finditer(text)]
    return [
        Block(language, code, text.count("\n", 0, start) + 1, only)
        for start, language, code, only in sorted(found)
    ]
