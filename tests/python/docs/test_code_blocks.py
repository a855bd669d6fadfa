"""Runs the code of every page against the simulator; see pages.py for what a page may say."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from sluiceway import AsyncGateway, Gateway
from sluiceway.config import parse_config
from sluiceway.simulator import Simulator
from tests.python.docs.pages import ROOT, Block, blocks_of, pages

PAGES = [page for page in pages() if blocks_of(page)]


def _run(page: Path, block: Block, namespace: dict[str, Any]) -> None:
    # Empty lines in front, so that a traceback names the line of the page.
    code = compile("\n" * (block.line - 1) + block.code, str(page), "exec", dont_inherit=True)
    if not block.compile_only:
        exec(code, namespace)


def _close_all(namespace: dict[str, Any]) -> None:
    for value in list(namespace.values()):
        if isinstance(value, AsyncGateway):
            value._hub.close(2.0)
        elif isinstance(value, Gateway | Simulator):
            value.close()


@pytest.mark.parametrize("page", PAGES, ids=lambda page: str(page.relative_to(ROOT)))
def test_code_of_the_page_runs(page: Path, reader: Simulator) -> None:
    namespace: dict[str, Any] = {"__name__": "__page__"}
    try:
        for block in blocks_of(page):
            if block.language == "toml":
                parse_config(block.code, f"{page.name}, block at line {block.line}")
                Path("sluiceway.toml").write_text(block.code, encoding="utf-8")
            else:
                _run(page, block, namespace)
    finally:
        _close_all(namespace)


def test_the_readme_has_code() -> None:
    languages = [block.language for block in blocks_of(ROOT / "README.md")]
    assert languages.count("python") >= 5
    assert "toml" in languages


def test_blocks_of_finds_each_kind(tmp_path: Path) -> None:
    page = tmp_path / "page.md"
    page.write_text(
        "# A page\n\n<!-- run\nx = 1\n-->\n\n```python\ny = x\n```\n\n```bash\nmake\n```\n\n"
        "<!-- compile only: needs a real key -->\n```python\nz = missing\n```\n\n"
        "```toml\n[ledger]\n```\n"
    )
    assert blocks_of(page) == [
        Block("python", "x = 1\n", 4),
        Block("python", "y = x\n", 8),
        Block("python", "z = missing\n", 17, compile_only=True),
        Block("toml", "[ledger]\n", 21),
    ]
