"""What can be uploaded from, and what is refused with a word on what to do instead."""

from __future__ import annotations

import contextlib
import os
import socket
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from sluiceway import Gateway, SluicewayError
from sluiceway._upload import upload_of
from sluiceway.errors import InvalidRequest, InvalidType
from tests.python.http.conftest import MakeGateway
from tests.python.http.file_server import FileServer

PATH = "/v1/x"


@pytest.fixture
def server() -> Iterator[FileServer]:
    with FileServer() as running:
        yield running


@pytest.fixture
def gw(server: FileServer, reach_url: MakeGateway) -> Gateway:
    return reach_url(server.url)


def refused(gw: Gateway, kind: type[SluicewayError], said: str, **body: Any) -> None:
    """The same by path and as a file of a form; nothing stays open."""
    gw.stats()
    before = len(os.listdir("/proc/self/fd"))
    for given in (body, {"files": {"f": body["content"]}}) if "content" in body else (body,):
        with pytest.raises(kind) as failed:
            upload_of(**given)
        assert said in str(failed.value), failed.value
        with pytest.raises(kind) as failed:
            gw.raw.post("openai", PATH, free=True, **given)
        assert said in str(failed.value), failed.value
        assert failed.value.outcome == "never_sent"
    assert len(os.listdir("/proc/self/fd")) == before


@pytest.mark.parametrize("how", ["path", "open", "unbuffered"])
def test_files_whose_size_is_a_lie(how: str, gw: Gateway, server: FileServer) -> None:
    """/proc files say 0, files of /sys say a page: stat(2) of proc(5) and sysfs."""
    gw.raw.post("openai", PATH, content=b"warm", free=True)
    server.seen.clear()
    names = [Path("/proc/self/status")]
    names += [one for one in (Path("/sys/kernel/mm/transparent_hugepage/enabled"),) if one.exists()]
    for path in names:
        with contextlib.ExitStack() as stack:
            content: Any = path
            if how != "path":
                content = stack.enter_context(open(path, "rb", 0 if how == "unbuffered" else -1))
            refused(gw, InvalidRequest, "read it and give the bytes", content=content)
            if how == "path":
                refused(gw, InvalidRequest, repr(str(path)), content=content)
        gw.raw.post("openai", PATH, content=path.read_bytes(), free=True)  # what it says to do
        assert server.seen[-1].body
    assert len(server.seen) == len(names)


def test_what_is_no_regular_file(gw: Gateway, server: FileServer, tmp_path: Path) -> None:
    gw.raw.post("openai", PATH, content=b"warm", free=True)
    server.seen.clear()
    os.mkfifo(tmp_path / "pipe")
    refused(gw, InvalidRequest, "a folder: give the files in it", content=tmp_path)
    refused(gw, InvalidRequest, "a pipe: read it and give the bytes", content=tmp_path / "pipe")
    refused(gw, InvalidRequest, "a device: read it and", content=Path("/dev/null"))
    refused(gw, InvalidRequest, "a device: read it and", content=Path("/dev/zero"))
    with socket.socket(socket.AF_UNIX) as listener:
        listener.bind(str(tmp_path / "s"))
        refused(gw, InvalidRequest, "cannot be read", content=tmp_path / "s")
    ends = os.pipe()
    with os.fdopen(ends[0], "rb") as reading, os.fdopen(ends[1], "wb") as writing:
        refused(gw, InvalidRequest, "a pipe: read it and give the bytes", content=reading)
        refused(gw, InvalidRequest, "not open for reading", content=writing)
    with open("/dev/null", "rb") as device:
        refused(gw, InvalidRequest, "a device: read it", content=device)
    with open(tmp_path / "out", "wb") as out:
        refused(gw, InvalidRequest, "not open for reading", content=out)
    with open(tmp_path / "out", "rb") as closed:
        pass
    refused(gw, InvalidRequest, "closed", content=closed)
    assert server.seen == []


def test_a_file_that_is_empty_is_sent(gw: Gateway, server: FileServer, tmp_path: Path) -> None:
    (tmp_path / "empty").touch()
    gw.raw.post("openai", PATH, content=tmp_path / "empty", free=True)
    (tmp_path / "ten").write_bytes(b"0123456789")
    with open(tmp_path / "ten", "rb") as file:
        file.seek(10)
        gw.raw.post("openai", PATH, content=file, free=True)
        file.seek(11)
        refused(gw, InvalidRequest, "position", content=file)
    assert [one.body for one in server.seen] == [b"", b""]


def test_a_file_that_is_being_written_is_no_lie(tmp_path: Path) -> None:
    """It grows between two looks at it: what is there at the second is what is sent."""
    path = tmp_path / "log"
    path.write_bytes(b"")
    grown: list[int] = []
    real = os.fstat

    def fstat(fd: int) -> os.stat_result:
        seen = real(fd)
        if not grown:
            grown.append(1)
            with open(path, "ab") as file:
                file.write(b"more")
        return seen

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(os, "fstat", fstat)
        upload = upload_of(content=path)
    assert upload is not None
    assert grown
    assert upload.size == 4
    upload.close()


SURROGATE = "\udcff"


@pytest.mark.parametrize(
    ("body", "kind", "said"),
    [
        ({"content": Path("a\0b")}, InvalidRequest, "NUL"),
        ({"content": "x\ud800"}, InvalidRequest, "UTF-8"),
        ({"data": {"a": "\ud800"}}, InvalidRequest, "UTF-8"),
        ({"data": {"\ud800": "a"}}, InvalidRequest, "UTF-8"),
        ({"data": {"\ud800": "a"}, "files": {"f": b""}}, InvalidRequest, "UTF-8"),
        ({"files": {"\ud800": b""}}, InvalidRequest, "UTF-8"),
        ({"files": {"f": ("\ud800", b"")}}, InvalidRequest, "UTF-8"),
        ({"files": {"f": ("a", b"", "text/\ud800")}}, InvalidRequest, "UTF-8"),
        ({"files": {"f": ("a", b"", "text/plain", {"x": 1})}}, InvalidType, "headers"),
        ({"files": {"f": ("a", b"", "text/plain", {1: "x"})}}, InvalidType, "headers"),
        ({"files": {"f": ("a", b"", "text/plain", [("x", "y")])}}, InvalidType, "headers"),
        ({"data": {1: "x"}}, InvalidType, "pair"),
        ({"data": 3}, InvalidType, "data is a int"),
        ({"data": b"a=b"}, InvalidType, "data is a bytes"),
        ({"data": ["ab"]}, InvalidType, "pair"),
        ({"files": [("f",)]}, InvalidType, "pair"),
        ({"content": {"a": 1}}, InvalidType, "json="),
        ({"content": ["a"]}, InvalidType, "json="),
        ({"content": 3}, InvalidType, "content is a int"),
    ],
)
def test_bodies_that_cannot_be_made(
    body: dict[str, Any], kind: type[SluicewayError], said: str, gw: Gateway, server: FileServer
) -> None:
    for run in (gw.raw.post, lambda *a, **k: list(gw.raw.stream("POST", *a, **k))):
        with pytest.raises(kind) as failed:
            run("openai", PATH, free=True, **body)
        assert said in str(failed.value), failed.value
        assert failed.value.outcome == "never_sent"
    assert server.seen == []


class Reader:
    """Reads what it is told to."""

    def __init__(self, told: object) -> None:
        self.told = told

    def read(self) -> object:
        if isinstance(self.told, BaseException):
            raise self.told
        return self.told


def test_objects_that_can_be_read(gw: Gateway, server: FileServer) -> None:
    gw.raw.post("openai", PATH, content=Reader(b"abc"), free=True)
    gw.raw.post("openai", PATH, content=Reader(bytearray(b"abc")), free=True)
    assert [one.body for one in server.seen] == [b"abc", b"abc"]
    refused(gw, InvalidType, "open as text", content=Reader("abc"))
    refused(gw, InvalidType, "read() gave a int", content=Reader(3))
    refused(gw, InvalidType, "read() gave a NoneType", content=Reader(None))
    refused(gw, InvalidRequest, "cannot be read", content=Reader(OSError("broken")))
    assert len(server.seen) == 2


def test_a_name_that_is_no_utf_8(gw: Gateway, server: FileServer, tmp_path: Path) -> None:
    path = tmp_path / (os.fsdecode(b"\xff") + ".wav")
    path.write_bytes(b"abc")
    gw.raw.post("openai", PATH, content=path, free=True)  # its name is not sent
    with pytest.raises(InvalidRequest, match=r"UTF-8.*\(name, file\)"):
        gw.raw.post("openai", PATH, files={"f": path}, free=True)
    gw.raw.post("openai", PATH, files={"f": ("a.wav", path)}, free=True)
    assert server.seen[0].body == b"abc"
    assert b"abc" in server.seen[1].body


def test_json_that_has_no_end(gw: Gateway, server: FileServer) -> None:
    circle: list[Any] = []
    circle.append(circle)
    deep: Any = []
    for _ in range(sys.getrecursionlimit() * 100):
        deep = [deep]
    for body in (circle, deep):
        with pytest.raises(InvalidRequest):
            gw.raw.post("openai", PATH, json=body, free=True)
    assert server.seen == []
