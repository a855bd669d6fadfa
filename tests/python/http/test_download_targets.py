"""What lies at the path of a download, and what a cancelled one leaves there."""

from __future__ import annotations

import asyncio
import os
import socket
import stat
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest

from sluiceway import Gateway, InvalidRequest
from sluiceway._partial_file import PartialFile
from tests.python.http.conftest import MakeGateway
from tests.python.http.file_server import FileServer, Resource


@pytest.fixture
def server() -> Iterator[FileServer]:
    with FileServer() as running:
        running.files["/f"] = Resource(b"whole")
        yield running


@pytest.fixture
def gw(reach_url: MakeGateway, server: FileServer) -> Gateway:
    return reach_url(server.url)


@pytest.mark.parametrize("kind", ["pipe", "socket", "link to a pipe"])
def test_what_is_no_file_is_not_replaced(
    gw: Gateway, server: FileServer, tmp_path: Path, kind: str
) -> None:
    """`download(url, "/dev/null")` as root would put a file in the place of the device."""
    path = tmp_path / "there"
    if kind == "socket":
        with socket.socket(socket.AF_UNIX) as made:
            made.bind(str(path))
    else:
        os.mkfifo(tmp_path / "pipe" if "link" in kind else path)
        if "link" in kind:
            path.symlink_to(tmp_path / "pipe")
    with pytest.raises(InvalidRequest, match="device, a pipe or a socket"):
        gw.raw.download(server.url + "/f", path)
    assert not stat.S_ISREG(path.stat().st_mode)
    assert server.seen == []
    assert not path.with_name("there.part").exists()


def test_cancelled_while_its_file_is_opened(
    gw: Gateway, server: FileServer, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The next one finds the file free, and nothing is left of the first."""
    opening, gate = threading.Event(), threading.Event()
    opened = PartialFile.open

    def slow(path: str, url: str) -> PartialFile:
        part = opened(path, url)
        opening.set()
        gate.wait(20)
        return part

    async def run() -> None:
        with monkeypatch.context() as patched:
            patched.setattr(PartialFile, "open", slow)
            task = asyncio.create_task(gw.aio.raw.download(server.url + "/f", tmp_path / "v"))
            await asyncio.to_thread(opening.wait, 20)
        task.cancel()
        asyncio.get_running_loop().call_later(0.05, gate.set)
        with pytest.raises(asyncio.CancelledError):
            await task
        assert os.listdir(tmp_path) == []
        await gw.aio.raw.download(server.url + "/f", tmp_path / "v")

    asyncio.run(run())
    assert (tmp_path / "v").read_bytes() == b"whole"
