"""Notebooks: a kernel runs the cells inside of a loop that is running already."""

from __future__ import annotations

from typing import Any

import pytest

from sluiceway.simulator import Simulator
from tests.python.hosts.conftest import HEAD, Scripts, need

_CELLS = (
    HEAD,
    "print((await gw.aio.chat(MODEL, PROMPT)).cost.nanousd)",
    "print(gw.chat(MODEL, PROMPT).cost.nanousd)",  # blocks the kernel's loop, and works
    "results = await asyncio.gather(*(gw.aio.chat(MODEL, PROMPT) for _ in range(20)))\n"
    "print(len(results))",
    "async with gw.aio.stream(MODEL, STREAM) as stream:\n"
    "    pieces = [delta.text async for delta in stream]\n"
    'print("".join(pieces) == (await stream.result()).text)',
    "with gw.stream(MODEL, STREAM) as stream:\n"
    "    print(sum(1 for _ in stream) > 1, stream.result().cost.nanousd > 0)",
    'with gw.budget("cell:1", usd="1.00") as budget:\n'
    "    background = asyncio.create_task(gw.aio.chat(MODEL, SHORT))\n"
    "    result = gw.chat(MODEL, PROMPT)\n"
    'print("left running")',
    "print((await background).cost.usd + result.cost.usd == budget.spent)",
    "try:\n"
    "    await asyncio.wait_for(gw.aio.chat(MODEL, SLOW), 0.2)\n"
    "except TimeoutError:\n"
    '    print("timed out")',
    "gw.close()",
)
_PRINTED = [
    "",
    "10350\n",
    "10350\n",
    "20\n",
    "True\n",
    "True True\n",
    "left running\n",
    "True\n",
    "timed out\n",
    "",
]


def test_a_notebook(scripts: Scripts, sim: Simulator, monkeypatch: pytest.MonkeyPatch) -> None:
    """Cells of a real kernel, run by nbclient over loopback."""
    need("nbclient", "nbformat", "ipykernel")
    nbclient: Any = pytest.importorskip("nbclient")
    nbformat: Any = pytest.importorskip("nbformat")
    for name, value in scripts.environment.items():
        monkeypatch.setenv(name, value)
    monkeypatch.setenv("IPYTHONDIR", str(scripts.folder / "ipython"))
    monkeypatch.setenv("JUPYTER_RUNTIME_DIR", str(scripts.folder / "runtime"))
    book = nbformat.v4.new_notebook(cells=[nbformat.v4.new_code_cell(text) for text in _CELLS])
    client = nbclient.NotebookClient(book, timeout=60, kernel_name="python3", allow_errors=False)
    client.execute(cwd=str(scripts.folder))
    printed = ["".join(out["text"] for out in cell.outputs) for cell in book.cells]
    assert printed == _PRINTED
    assert sim.executions()["total"] == 1 + 1 + 20 + 1 + 1 + 2 + 1
    ends, holds = scripts.books()
    assert sum(end["kind"] == "settle" for end in ends) == 26
    assert len(holds) == 1
