"""docs/reference/outcomes.md says what the table in the core says."""

from __future__ import annotations

import importlib.util
import re
from types import ModuleType

import pytest

import sluiceway
from sluiceway import _core
from sluiceway.config import NAMED_TABLES, TABLES
from tests.python.docs.pages import ROOT

MAKER = ROOT / "docs" / "reference" / "make_outcomes.py"


@pytest.fixture(scope="module")
def maker() -> ModuleType:
    """The script that writes the table, loaded from its file."""
    spec = importlib.util.spec_from_file_location("make_outcomes", MAKER)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def test_the_page_is_up_to_date(maker: ModuleType) -> None:
    assert maker.main(["--check"]) == 0, "run: python docs/reference/make_outcomes.py"


def test_a_row_reads_as_people_write_it(maker: ModuleType) -> None:
    row = {
        "failure": "overloaded",
        "error_kind": "overloaded",
        "outcome": "refused",
        "books": "void",
        "resend": True,
        "throttled": True,
        "breaker": "failure",
    }
    assert maker.row_text(row) == (
        "| `overloaded` | refused | yes, as after a throttle | given back | failure"
        " | `Overloaded` |\n"
    )


def test_what_is_in_doubt_is_never_sent_again_and_never_given_back() -> None:
    doubted = [row for row in _core.outcome_rows() if row["outcome"] == "in_doubt"]
    assert len(doubted) == 7
    assert not any(row["resend"] or row["books"] == "void" for row in doubted)


def test_a_page_without_marks_is_an_error(maker: ModuleType) -> None:
    with pytest.raises(ValueError, match="marks"):
        maker.with_table("# A page\n")


def test_every_key_of_the_configuration_is_explained() -> None:
    page = (ROOT / "docs" / "reference" / "configuration.md").read_text(encoding="utf-8")
    sections = {
        head.split("]")[0].split(".")[0]: body
        for head, _, body in (part.partition("\n") for part in page.split("\n## [")[1:])
    }
    tables = {**TABLES, **NAMED_TABLES}
    assert sorted(sections) == sorted(tables)
    lost = [
        f"[{table}] {key}"
        for table, keys in tables.items()
        for key in keys
        if f"`{key}`" not in sections[table]
    ]
    assert lost == []


def test_nothing_is_explained_that_is_not_there() -> None:
    page = (ROOT / "docs" / "reference" / "configuration.md").read_text(encoding="utf-8")
    tables, _, _ = page.partition("\n## Environment")
    known = {key for keys in (*TABLES.values(), *NAMED_TABLES.values()) for key in keys}
    first_cells = [line.split("|")[1] for line in tables.splitlines() if line.startswith("| `")]
    named = {word for cell in first_cells for word in re.findall(r"`(\w+)`", cell)}
    assert named - known == set()


def test_every_public_name_is_explained() -> None:
    """The exceptions are drawn in errors.py, which has a test of its own."""
    page = (ROOT / "docs" / "reference" / "names.md").read_text(encoding="utf-8")
    named = set(re.findall(r"`(\w+)`", page))
    lost = [
        name
        for name in sluiceway.__all__
        if name not in named and not issubclass(getattr(sluiceway, name), sluiceway.SluicewayError)
    ]
    assert lost == []


def test_what_the_names_are_said_to_have() -> None:
    page = (ROOT / "docs" / "reference" / "names.md").read_text(encoding="utf-8")
    rows = re.findall(r"^\| `(Gateway|Budget|ChatResult|Estimate)` \| ([^\n]+)", page, re.M)
    assert len(rows) == 4
    for name, said in rows:
        words = re.findall(r"`(\w+)(?:\(\))?`", said)
        assert len(words) >= 3
        for word in words:
            known = getattr(sluiceway, word, None) or getattr(getattr(sluiceway, name), word, None)
            assert known is not None, f"{name}.{word}"
