"""Pages point at what is there: links between pages, and pages that sources name."""

from __future__ import annotations

import re
from pathlib import Path

from tests.python.docs.pages import ROOT, pages

_LINK = re.compile(r"\]\((?!https?:|mailto:|#)([^)#\s]+)(?:#[^)]*)?\)")
_NAMED = re.compile(r"\bdocs/(?:internals|decisions|reference|how-to)(?:/[\w-]+\.md)?")
_SOURCES = (".py", ".pyi", ".h", ".cc", ".toml", ".txt", ".sh", ".md")
# Made by the demo and put here by hand; a checkout may be without it for a while.
_PICTURES = {"docs/images/demo-report.png"}


def test_links_lead_somewhere() -> None:
    broken = []
    for page in [*pages(), ROOT / "CHANGELOG.md"]:
        for target in _LINK.findall(page.read_text(encoding="utf-8")):
            path = (page.parent / target).resolve()
            if not path.exists() and str(path.relative_to(ROOT)) not in _PICTURES:
                broken.append(f"{page.relative_to(ROOT)}: {target}")
    assert broken == []


def test_pages_named_in_sources_exist() -> None:
    missing = set()
    for top in ("src", "tests", "benchmarks", "scripts", "examples"):
        for path in (ROOT / top).rglob("*"):
            if path.suffix in _SOURCES and path != Path(__file__).resolve():
                for name in _NAMED.findall(path.read_text(encoding="utf-8")):
                    if not (ROOT / name).exists():
                        missing.add(f"{path.relative_to(ROOT)}: {name}")
    assert sorted(missing) == []


def test_every_internals_page_is_in_the_index() -> None:
    folder = ROOT / "docs" / "internals"
    index = (folder / "README.md").read_text(encoding="utf-8")
    lost = [page.name for page in folder.glob("*.md") if f"({page.name})" not in index]
    assert lost == ["README.md"]
