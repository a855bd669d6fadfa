"""Sizes, words and forms that the house asks for, as functions that name every breach.

Each function takes a file's name and text and returns one sentence per breach; an empty list is
good news. What a reader or a compiler checks better (names, formatting) is left to clang-tidy and
ruff.

Bounds: linear in the text, one pass per rule. The words that are searched for are written here in
two halves, so that this file does not find itself.
"""

from __future__ import annotations

import ast
import re

LINES_MAX = 600
COLUMNS_MAX = 100
FUNCTION_LINES_MAX = 70

_UNFINISHED = re.compile(r"\b(TO" r"DO|FIX" r"ME|XX" r"X|HA" r"CK)\b")
_MACHINE = re.compile(
    r"(?<![\w.])/(work|farm)/\w"  # the folders of one machine
    r"|(?<![\w.])/(home|Users)/\w"
    r"|/tmp/(b-|venv)"
    r"|\bCLAU"
    r"DE\b|farm-(studio|bench)"
)
_REGISTRY = re.compile(
    r"\bpypi\.org|pythonhosted\.org|deb\.debian\.org|archive\.ubuntu\.com|conda\.anaconda\.org"
    r"|registry\.npmjs\.org|proxy\.golang\.org",
)


def without_cpp_comments(text: str) -> str:
    """The code alone: comments and the insides of string literals become spaces, lines stay."""
    pattern = re.compile(
        r'R"(?P<tag>[^(\s]*)\((?:.|\n)*?\)(?P=tag)"'
        r'|//[^\n]*|/\*(?:.|\n)*?\*/|"(?:\\.|[^"\\\n])*"|(?<![0-9a-zA-Z])\'(?:\\.|[^\'\\\n])+\''
    )
    return pattern.sub(lambda m: re.sub(r"[^\n]", " ", m.group()), text)


def _found(pattern: str, text: str, message: str) -> list[str]:
    return [
        f"line {number}: {message} ({match.group().strip()})"
        for number, line in enumerate(text.splitlines(), start=1)
        for match in [re.search(pattern, line)]
        if match
    ]


def size_breaches(text: str) -> list[str]:
    """More lines than a file has, or a line wider than the house is."""
    lines = text.splitlines()
    breaches = [
        f"line {number} has {len(line)} columns; {COLUMNS_MAX} is the end"
        for number, line in enumerate(lines, start=1)
        if len(line) > COLUMNS_MAX
    ]
    if len(lines) > LINES_MAX:
        breaches.append(f"{len(lines)} lines: there are two files in it")
    return breaches


def long_functions(text: str) -> list[str]:
    """Python functions of more than 70 lines; docstrings do not count. clang-tidy has the C++."""
    breaches = []
    for node in ast.walk(ast.parse(text)):
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef):
            lines = (node.end_lineno or node.lineno) - node.lineno + 1
            if ast.get_docstring(node, clean=False) is not None:
                lines -= (node.body[0].end_lineno or 0) - node.body[0].lineno + 1
            if lines > FUNCTION_LINES_MAX:
                breaches.append(f"line {node.lineno}: {node.name} has {lines} lines")
    return breaches


def unfinished(text: str) -> list[str]:
    """Marks of work left over."""
    return _found(_UNFINISHED.pattern, text, "unfinished")


def foreign_names(text: str) -> list[str]:
    """Paths of one machine, and hosts of package registries, which are the user's to choose."""
    return _found(_MACHINE.pattern, text, "a path or name of one machine") + _found(
        _REGISTRY.pattern, text, "a registry host"
    )


def missing_header(suffix: str, text: str) -> list[str]:
    """A source file opens with a comment that says what it is for."""
    body = re.sub(r"\A#!.*\n(# -\*-.*\n)?", "", text)
    if suffix == ".py":
        try:
            opening = ast.get_docstring(ast.parse(text)) or ""
        except SyntaxError:
            opening = ""
        opening = opening or (body if body.startswith("# ") else "")
    elif suffix in {".cc", ".h"}:
        opening = body if body.startswith(("// ", "/* ")) else ""
    else:
        opening = body if body.startswith("# ") else ""
    first = opening.partition("\n")[0]
    return [] if len(first) >= 15 else ["the file does not open by saying what it is for"]


def floating_point(text: str) -> list[str]:
    """Floating point in a room that adds up money."""
    code = without_cpp_comments(text)
    return _found(r"\b(long\s+double|double|float|strtod|stod|atof)\b", code, "floating point")


def clock_reads(text: str) -> list[str]:
    """A clock that is read in a room to which time is handed as a parameter."""
    pattern = (
        r"_clock\s*::\s*now\b|\b(clock_gettime|gettimeofday|timespec_get|localtime|gmtime)\b"
        r"|(?<![\w.>:])(std::|::)?time\s*\(\s*(NULL|nullptr|0|&)|\bClock::now|absl::Now\b"
    )
    return _found(pattern, without_cpp_comments(text), "a clock is read")


def exceptions_and_locks(text: str) -> list[str]:
    """Exceptions outside bindings/, and locks that do not survive a fork."""
    code = without_cpp_comments(text)
    return _found(r"\b(throw|catch)\b|\btry\s*\{", code, "an exception") + _found(
        r"\babsl::(Mutex|CondVar)\b|absl/synchronization", text, "use std::mutex"
    )


def generated_breaches(name: str, text: str, tests: str) -> list[str]:
    """The rule of generated files: the name says so, and a test regenerates and compares.

    `tests` is the text of all tests; `_core.pyi` is the one file whose name is not ours to choose.
    """
    head = "\n".join(text.splitlines()[:5])
    says_so = re.search(r"(?i)\bgenerated\b.*\bdo not edit\b|\bdo not edit\b.*\bgenerated\b", head)
    breaches = []
    if says_so and "_generated" not in name and name != "_core.pyi":
        breaches.append("a generated file carries _generated in its name")
    if ("_generated" in name or name == "_core.pyi") and name not in tests:
        breaches.append(f"no test regenerates {name} and compares")
    return breaches


def decision_breaches(names: list[str], texts: list[str]) -> list[str]:
    """docs/decisions: NNNN-title.md from 0001 without a gap, each with what was refused."""
    breaches = []
    for number, (name, text) in enumerate(sorted(zip(names, texts, strict=True)), start=1):
        if not re.fullmatch(r"\d{4}-[a-z0-9]+(-[a-z0-9]+)*\.md", name):
            breaches.append(f"{name}: a decision is called NNNN-title.md")
        elif int(name[:4]) != number:
            breaches.append(f"{name}: {number:04d} would be the next number")
        if not text.startswith("# "):
            breaches.append(f"{name}: a page opens with its title")
        if "refused" not in text.lower():
            breaches.append(f"{name}: it does not say what was refused")
    return breaches
