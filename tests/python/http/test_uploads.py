"""Uploads from files: what arrives, what is refused before anything is sent, and flat memory."""

from __future__ import annotations

import asyncio
import contextlib
import email
import email.policy
import hashlib
import io
import os
import tempfile
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from sluiceway import BadRequest, Gateway, InDoubt, InvalidRequest, InvalidType, SluicewayError
from sluiceway._upload import upload_of
from sluiceway.simulator.faults import FaultServer
from tests.python.http.conftest import MakeGateway
from tests.python.http.file_server import FileServer

BIG = 200_000_000
# A file of zeros of that size: `head -c 200000000 /dev/zero | sha256sum`.
PATH = "/v1/x"


@pytest.fixture
def server() -> Iterator[FileServer]:
    with FileServer() as running:
        yield running


@pytest.fixture
def gw(server: FileServer, reach_url: Any) -> Gateway:
    return reach_url(server.url)  # type: ignore[no-any-return]


def _resident() -> int:
    """This process's resident memory, bytes."""
    return int(Path("/proc/self/statm").read_text().split()[1]) * os.sysconf("SC_PAGE_SIZE")


@contextlib.contextmanager
def peak_memory() -> Iterator[list[int]]:
    """By how much memory rose at most meanwhile, looked at every 5 ms by a thread."""
    before, rise, over = _resident(), [0], threading.Event()

    def watch() -> None:
        while not over.wait(0.005):
            rise[0] = max(rise[0], _resident() - before)

    thread = threading.Thread(target=watch)
    thread.start()
    try:
        yield rise
    finally:
        over.set()
        thread.join()


def parts_of(content_type: str, body: bytes) -> list[tuple[dict[str, str], str, bytes]]:
    """(disposition's parameters, content type, content) of each part, as the standard library
    reads them."""
    head = f"content-type: {content_type}\r\n\r\n".encode()
    message = email.message_from_bytes(head + body, policy=email.policy.HTTP)
    out = []
    for part in message.iter_parts():
        disposition = dict(part["content-disposition"].params)
        typed = part.get_content_type() if part["content-type"] else ""
        content = part.get_payload(decode=True)
        assert isinstance(content, bytes)
        out.append((disposition, typed, content))
    return out


def test_a_form_with_files(gw: Gateway, server: FileServer, tmp_path: Path) -> None:
    path = tmp_path / "a.wav"
    path.write_bytes(b"RIFF\r\n--x\r\n\0\xff")
    with open(path, "rb") as opened:
        opened.read(2)
        gw.raw.post(
            "openai",
            PATH,
            data={"model": "whisper-1", "n": 2, "tags": ["a", "b"]},
            files=[
                ("file", ("talk.wav", path, "audio/wav")),
                ("file", opened),  # what follows its position
                ("note", (None, b"plain")),
                ("mem", io.BytesIO(b"memory")),
            ],
            free=True,
        )
        assert opened.tell() == 2
    (asked,) = server.seen
    assert int(asked.headers["content-length"]) == len(asked.body)
    assert parts_of(asked.headers["content-type"], asked.body) == [
        ({"name": "model"}, "", b"whisper-1"),
        ({"name": "n"}, "", b"2"),
        ({"name": "tags"}, "", b"a"),
        ({"name": "tags"}, "", b"b"),
        ({"name": "file", "filename": "talk.wav"}, "audio/wav", b"RIFF\r\n--x\r\n\0\xff"),
        ({"name": "file", "filename": "a.wav"}, "audio/x-wav", b"FF\r\n--x\r\n\0\xff"),
        ({"name": "note"}, "", b"plain"),
        ({"name": "mem", "filename": "upload"}, "application/octet-stream", b"memory"),
    ]
    assert asked.headers["authorization"] == "Bearer not-a-key"
    assert "expect" not in asked.headers


def test_names_are_escaped() -> None:
    """RFC 7578, 4.2 and WHATWG: quote, CR and LF in percent form, all else as it is in UTF-8."""
    upload = upload_of(data={'a"b\r\nx: y': "1"}, files={"ü": ('q"\r\n.txt', b"2", "text/plain")})
    assert upload is not None
    (body,) = upload.parts
    assert isinstance(body, bytes)
    lines = body.decode().split("\r\n")
    assert lines[1] == 'Content-Disposition: form-data; name="a%22b%0D%0Ax: y"'
    assert lines[5] == 'Content-Disposition: form-data; name="ü"; filename="q%22%0D%0A.txt"'
    assert lines[6] == "Content-Type: text/plain"
    boundary = upload.content_type.partition("boundary=")[2]
    assert lines[0] == lines[4] == f"--{boundary}"
    assert lines[-2:] == [f"--{boundary}--", ""]
    with pytest.raises(InvalidRequest, match="line end"):
        upload_of(files={"f": ("a", b"", "text/plain\r\nx: y")})
    with pytest.raises(InvalidRequest, match="line end"):
        upload_of(files={"f": ("a", b"", "text/plain", {"x": "y\nz"})})


def test_one_file_as_the_body(gw: Gateway, server: FileServer, tmp_path: Path) -> None:
    path = tmp_path / "body.bin"
    path.write_bytes(b"0123456789")
    headers = {"content-type": "audio/wav"}
    answer = gw.raw.put("openai", PATH, content=path, headers=headers, free=True)
    assert answer.json() == {"size": 10, "sha256": hashlib.sha256(b"0123456789").hexdigest()}
    with tempfile.NamedTemporaryFile() as temporary, tempfile.SpooledTemporaryFile() as spooled:
        for file in (temporary, spooled):
            file.write(b"abc")
            file.seek(1)
            gw.raw.post("openai", PATH, content=file, free=True)
    gw.raw.post("openai", PATH, content="tëxt", free=True)
    gw.raw.post("openai", PATH, data={"a": "1 2", "b": ["x", "y"]}, free=True)
    assert [asked.body for asked in server.seen] == [
        b"0123456789", b"bc", b"bc", "tëxt".encode(), b"a=1+2&b=x&b=y",
    ]  # fmt: skip
    types = [asked.headers.get("content-type") for asked in server.seen]
    assert types == ["audio/wav", None, None, None, "application/x-www-form-urlencoded"]
    assert server.seen[0].headers["content-length"] == "10"


def test_an_empty_file(gw: Gateway, server: FileServer, tmp_path: Path) -> None:
    path = tmp_path / "empty"
    path.touch()
    answer = gw.raw.post("openai", PATH, content=path, free=True)
    assert answer.json()["size"] == 0
    gw.raw.post("openai", PATH, files={"f": path}, free=True)
    assert parts_of(server.seen[1].headers["content-type"], server.seen[1].body)[0][2] == b""


def test_mistakes_send_nothing(gw: Gateway, server: FileServer, tmp_path: Path) -> None:
    missing = tmp_path / "missing.wav"
    gw.raw.post("openai", PATH, content=b"warm", free=True)  # the engine has its descriptors
    server.seen.clear()
    before = os.listdir("/proc/self/fd")
    fifo = tmp_path / "pipe"
    os.mkfifo(fifo)
    for body, error, words in (
        ({"files": {"file": missing}}, InvalidRequest, "missing.wav"),
        ({"content": missing}, InvalidRequest, "missing.wav"),
        ({"content": tmp_path}, InvalidRequest, "not a regular file"),
        ({"content": fifo}, InvalidRequest, "not a regular file"),
        ({"files": {"file": "a.wav"}}, InvalidType, "pathlib.Path"),
        ({"files": {"file": io.StringIO("x")}}, InvalidType, "rb"),
        ({"files": {"file": 3}}, InvalidType, "files['file'] is a int"),
        ({"files": {"file": ("a",)}}, InvalidType, "filename, content"),
        ({"files": "x"}, InvalidType, "files is a str"),
        ({"data": {"a": object()}}, InvalidType, "data['a']"),
        ({"content": b"x", "data": {}}, InvalidRequest, "neither"),
        ({"json": {}, "content": b"x"}, InvalidRequest, "json"),
    ):
        with pytest.raises(error) as failed:
            gw.raw.post("openai", PATH, free=True, **body)
        assert words in str(failed.value), body
        assert failed.value.outcome == "never_sent"
    with pytest.raises(SluicewayError):
        gw.raw.post("openai", PATH, content=tmp_path / "missing", max_cost_usd="nonsense")
    assert server.seen == []
    assert len(os.listdir("/proc/self/fd")) == len(before)


@pytest.mark.parametrize("how", ["content", "files", "aio"])
def test_memory_is_flat_whatever_the_size(
    how: str, gw: Gateway, server: FileServer, tmp_path: Path
) -> None:
    path = tmp_path / "big.bin"
    path.touch()
    os.truncate(path, BIG)
    zeros = hashlib.sha256()
    for _ in range(BIG // 1_000_000):
        zeros.update(bytes(1_000_000))
    gw.raw.post("openai", PATH, content=b"warm", free=True)  # threads, sockets, imports
    with peak_memory() as rise:
        if how == "content":
            answer = gw.raw.post("openai", PATH, content=path, free=True, timeout_s=60)
            assert answer.json() == {"size": BIG, "sha256": zeros.hexdigest()}
        elif how == "files":
            answer = gw.raw.post("openai", PATH, files={"file": path}, free=True, timeout_s=60)
            assert BIG < answer.json()["size"] < BIG + 1_000
        else:
            call = gw.aio.raw.post("openai", PATH, content=path, free=True, timeout_s=60)
            assert asyncio.run(_result(call)).json()["sha256"] == zeros.hexdigest()
    assert rise[0] < 16_000_000, rise


async def _result(awaitable: Any) -> Any:
    return await awaitable


def test_a_file_that_changes_while_it_is_sent(
    gw: Gateway, server: FileServer, tmp_path: Path
) -> None:
    path = tmp_path / "growing.log"
    path.touch()
    os.truncate(path, 50_000_000)
    server.read_gate = threading.Event()
    failed: list[SluicewayError] = []

    def send() -> None:
        try:
            gw.raw.post("openai", PATH, content=path, max_cost_usd="0.01")
        except SluicewayError as error:
            failed.append(error)

    sender = threading.Thread(target=send)
    sender.start()
    _wait(lambda: gw.stats().get("transfers_in_flight") == 1)
    with open(path, "ab") as log:
        log.write(b"one more line\n")
    server.read_gate.set()
    sender.join()
    (error,) = failed
    assert isinstance(error, InDoubt)
    assert "growing.log" in str(error)
    assert error.attempts[0].outcome == "in_doubt"
    assert error.held > 0
    assert server.seen == []  # the server never had a whole request


def test_the_result_does_not_hold_the_file(gw: Gateway, server: FileServer, tmp_path: Path) -> None:
    path = tmp_path / "a"
    path.write_bytes(b"x")
    answer = gw.raw.post("openai", PATH, content=path, free=True)

    def held() -> bool:
        for fd in os.listdir("/proc/self/fd"):
            with contextlib.suppress(OSError):  # one is that of the folder itself
                if os.readlink(f"/proc/self/fd/{fd}") == str(path):
                    return True
        return False

    _wait(lambda: not held())
    assert answer.status_code == 200


def _wait(condition: Any) -> None:
    deadline_s = time.monotonic() + 20
    while not condition():
        assert time.monotonic() < deadline_s, "waited in vain"
        time.sleep(0.002)


@pytest.mark.parametrize("fault", ["drop_after", "reset_after", "drop_before"])
def test_an_upload_in_doubt_is_sent_once(
    fault: str, reach_url: MakeGateway, tmp_path: Path
) -> None:
    path = tmp_path / "a.bin"
    path.write_bytes(bytes(200_000))
    with FaultServer("none", fault) as faulty:
        gw = reach_url(faulty.url)
        body: dict[str, Any] = {"files": {"file": path}, "max_cost_usd": "0.01"}
        gw.raw.post("openai", "/x", **body)  # leaves a connection behind
        with pytest.raises(InDoubt) as failed:
            gw.raw.post("openai", "/x", **body)
        assert len(failed.value.attempts) == 1
        assert faulty.requests == 2
        assert failed.value.held > 0


def test_a_refused_upload_is_read_again_from_the_start(
    gw: Gateway, server: FileServer, tmp_path: Path
) -> None:
    path = tmp_path / "a.bin"
    path.write_bytes(os.urandom(60_000))
    server.statuses = [429]
    answer = gw.raw.post("openai", PATH, content=path, max_cost_usd="0.01")
    assert [attempt.status_code for attempt in answer.attempts] == [429, 200]
    assert [asked.body for asked in server.seen] == [path.read_bytes()] * 2


def test_an_answer_before_the_end_of_the_upload(
    gw: Gateway, server: FileServer, tmp_path: Path
) -> None:
    """Refused is a proof, also while the body is still being sent."""
    path = tmp_path / "a.bin"
    path.touch()
    os.truncate(path, 50_000_000)
    server.early = 413
    with pytest.raises(BadRequest) as failed:
        gw.raw.post("openai", PATH, content=path, max_cost_usd="0.01")
    assert (failed.value.status_code, failed.value.outcome) == (413, "refused")
    assert failed.value.held == 0


def test_over_http_2(reach_url: MakeGateway, tmp_path: Path) -> None:
    path = tmp_path / "a.bin"
    path.write_bytes(os.urandom(3_000_000))
    with FaultServer("none", tls=True) as faulty:
        gw = reach_url(faulty.url, ca_file=faulty.ca_file, http_version="2")
        waits = {"write_timeout_s": 10, "read_timeout_s": 10}
        gw.raw.post("openai", "/x", content=path, max_cost_usd="0.01", **waits)
        (seen,) = faulty.seen
        assert (seen.protocol, seen.body) == ("h2", path.read_bytes())
