"""The public face: every name is there, the twins agree, and importing is cheap."""

from __future__ import annotations

import ast
import inspect
import logging
import subprocess
import sys
from pathlib import Path

import pytest

import sluiceway
from sluiceway import errors
from sluiceway._raw import AsyncRawCalls, RawCalls
from sluiceway._raw_stream import AsyncRawStream, RawStream
from sluiceway._stream import AsyncChatStream, ChatStream
from sluiceway.gateway import AsyncGateway, Gateway
from sluiceway.options import _ALL, _BODY, _SUBMIT, ChatOptions


def test_names_for_type_checkers_are_the_names_at_run_time() -> None:
    tree = ast.parse(Path(sluiceway.__file__).read_text())
    block = next(node for node in tree.body if isinstance(node, ast.If))
    declared = {
        alias.asname or "": f"{node.module}.{alias.name}"
        for node in block.body
        if isinstance(node, ast.ImportFrom)
        for alias in node.names
    }
    assert set(declared) == set(sluiceway.__all__)
    for name, home in declared.items():
        found = getattr(sluiceway, name)
        assert home == f"{sluiceway._HOME_OF[name]}.{name}"
        assert name in dir(sluiceway)
        assert found is not None
    with pytest.raises(AttributeError, match="no attribute 'Gatway'"):
        sluiceway.Gatway  # noqa: B018


def test_every_exception_is_public() -> None:
    tree = {
        name
        for name, cls in inspect.getmembers(errors, inspect.isclass)
        if issubclass(cls, errors.SluicewayError)
    }
    assert tree <= set(sluiceway.__all__)


def _public(cls: type) -> set[str]:
    return {name for name in dir(cls) if not name.startswith("_")}


def test_the_twins_have_the_same_names() -> None:
    only_blocking = {"aio", "from_env", "from_file"}
    assert _public(Gateway) - only_blocking == _public(AsyncGateway)
    assert _public(RawCalls) == _public(AsyncRawCalls)
    # By these names contextlib's closing and aclosing call them.
    assert _public(ChatStream) - {"close"} == _public(AsyncChatStream) - {"aclose"}
    assert _public(RawStream) - {"close"} == _public(AsyncRawStream) - {"aclose"}


def test_every_option_is_read_somewhere() -> None:
    rest = {"fallbacks", "fallback_in_doubt", "max_cost_usd", "account", "retry", "count_tokens"}
    assert set(ChatOptions.__annotations__) == _BODY | set(_SUBMIT) | rest == _ALL


def test_everything_public_has_a_docstring() -> None:
    for cls in (Gateway, AsyncGateway, ChatStream, AsyncChatStream, RawCalls, AsyncRawCalls):
        for name in _public(cls):
            if inspect.ismemberdescriptor(getattr(cls, name)):
                continue  # a slot; the class tells what it holds
            assert inspect.getdoc(getattr(cls, name)), f"{cls.__name__}.{name}"


def test_the_logger_is_silent_by_default() -> None:
    handlers = logging.getLogger("sluiceway").handlers
    assert any(isinstance(handler, logging.NullHandler) for handler in handlers)


def test_catching_errors_does_not_load_the_core() -> None:
    script = (
        "import sys, sluiceway\n"
        "try: pass\n"
        "except sluiceway.SluicewayError: pass\n"
        "sluiceway.SluicewayError\n"
        "assert 'sluiceway._core' not in sys.modules\n"
    )
    subprocess.run([sys.executable, "-c", script], check=True, timeout=60)
