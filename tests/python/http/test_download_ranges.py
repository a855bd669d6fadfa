"""Answers to a download that are no file, or not the part that was asked for: never a wrong file.

The server of a test is a function from the request's number and first byte (None: no Range) to an
answer, which may lie. Nothing here comes from the code under test. RFC 9110, 14.4, 15.3, 15.4.
"""

from __future__ import annotations

import itertools
import os
import re
import threading
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import pytest

from sluiceway import BadRequest, Gateway, InvalidResponse, SluicewayError
from sluiceway._urls import target_of
from tests.python.http.conftest import MakeGateway

A = bytes(range(256)) * 40  # 10,240 bytes
B = A[::-1]  # another version, as long
HERE = 4_000  # where the first transfer breaks off
OLD = {
    "last-modified": "Sun, 09 Sep 2001 01:46:40 GMT",
    "date": "Sun, 22 Nov 2026 01:46:40 GMT",
}
NEW = {**OLD, "last-modified": "Sat, 21 Nov 2026 10:00:00 GMT"}
V1 = {"etag": '"v1"'}


@dataclass
class Answer:
    status: int
    body: bytes = b""
    headers: dict[str, str] = field(default_factory=dict)
    cut: int | None = None  # break off after so many bytes
    length: bool = True  # else chunked


Script = Callable[[int, int | None], Answer]


class ScriptServer:
    """Answers by a script; `starts` has the first byte of each request, `times_s` when it came."""

    def __init__(self) -> None:
        self.script: Script = lambda number, start: Answer(404)
        self.starts: list[int | None] = []
        self.times_s: list[float] = []
        outer = self

        class Handler(BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"

            def log_message(self, format: str, *args: object) -> None:
                """Silent."""

            def send_response(self, code: int, message: str | None = None) -> None:
                self.send_response_only(code, message)  # a Date of the script's own

            def do_GET(self) -> None:
                match = re.fullmatch(r"bytes=(\d+)-", self.headers.get("range", ""))
                start = int(match[1]) if match else None
                outer.times_s.append(time.monotonic())
                outer.starts.append(start)
                _send(self, outer.script(len(outer.starts), start))

        self._server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self._server.daemon_threads = True
        self._thread = threading.Thread(target=self._server.serve_forever, args=(0.05,))
        self._thread.start()
        self.url = f"http://127.0.0.1:{self._server.server_address[1]}"

    def close(self) -> None:
        self._server.shutdown()
        self._server.server_close()
        self._thread.join()


def _send(handler: BaseHTTPRequestHandler, answer: Answer) -> None:
    handler.send_response(answer.status)
    for name, value in answer.headers.items():
        handler.send_header(name, value)
    if not answer.length:
        handler.send_header("transfer-encoding", "chunked")
    elif answer.status != 204:
        handler.send_header("content-length", str(len(answer.body)))
    handler.end_headers()
    body = answer.body[: answer.cut]
    handler.wfile.write(body if answer.length else b"%x\r\n%s\r\n" % (len(body), body))
    if answer.cut is not None:
        handler.close_connection = True
    elif not answer.length and body:
        handler.wfile.write(b"0\r\n\r\n")


@pytest.fixture
def server() -> Iterator[ScriptServer]:
    running = ScriptServer()
    yield running
    running.close()


@pytest.fixture
def gw(server: ScriptServer, reach_url: MakeGateway) -> Gateway:
    return reach_url(server.url)


def part_of(body: bytes, start: int, said: str, **more: Any) -> Answer:
    return Answer(206, body, {**V1, "content-range": f"bytes {said}"}, **more)


def resumed(rest: Script, whole: Answer, length: bool = True) -> Script:
    """The first answer is A and breaks off at HERE; requests for all of it get `whole`."""

    def script(number: int, start: int | None) -> Answer:
        if number == 1:
            return Answer(200, A, whole.headers if whole.body == A else V1, HERE, length)
        return whole if start is None else rest(number, start)

    return script


def left(folder: Path) -> list[str]:
    return sorted(os.listdir(folder))


def test_a_part_of_another_last_modified_is_not_joined(
    gw: Gateway, server: ScriptServer, tmp_path: Path
) -> None:
    """The server ignores If-Range, and its 206 says so: as with an ETag, it starts again at 0."""

    def script(number: int, start: int | None) -> Answer:
        if number == 1:
            return Answer(200, A, OLD, HERE)
        if start is None:
            return Answer(200, B, NEW)
        return Answer(206, B[start:], {**NEW, "content-range": f"bytes {start}-10239/10240"})

    server.script = script
    done = gw.raw.download(server.url + "/v", tmp_path / "v")
    assert (tmp_path / "v").read_bytes() == B
    assert server.starts == [None, HERE, None]
    assert done.resumes == 2


def test_the_same_last_modified_is_gone_on_with(
    gw: Gateway, server: ScriptServer, tmp_path: Path
) -> None:
    def rest(number: int, start: int | None) -> Answer:
        return Answer(206, A[start:], {**OLD, "content-range": f"bytes {start}-10239/10240"})

    server.script = resumed(rest, Answer(200, A, OLD))
    gw.raw.download(server.url + "/v", tmp_path / "v")
    assert (tmp_path / "v").read_bytes() == A
    assert server.starts == [None, HERE]


MISFITS = {
    # What the 206 says, its body, and whether it is chunked.
    "shorter than its own range": ("4000-10239/*", A[HERE:5_000], True),
    "shorter than its own range, chunked": ("4000-10239/*", A[HERE:5_000], False),
    "longer than its own range": ("4000-4000/10240", B[HERE:], True),
    "longer than its own range, chunked": ("4000-4000/10240", B[HERE:], False),
    "empty": ("4000-10239/10240", b"", True),
    "last before first": ("4000-3990/10240", B[HERE:], True),
    "last before first, chunked": ("4000-3990/*", B[HERE:], False),
    "from another byte": ("3999-10239/10240", B[HERE - 1 :], True),
    "beyond its whole": ("4000-10240/10240", B[HERE:] + b"x", True),
    "beyond the whole that was told": ("4000-10240/*", B[HERE:] + b"x", True),
    "of another whole": ("4000-10240/10241", B[HERE:] + b"x", True),
    "no range": ("nonsense", B[HERE:], True),
}


@pytest.mark.parametrize("how", MISFITS)
def test_a_part_that_does_not_fit_is_never_joined(
    how: str, gw: Gateway, server: ScriptServer, tmp_path: Path
) -> None:
    said, body, length = MISFITS[how]
    unknown = "shorter" in how or "chunked" in how  # no answer has told the whole
    server.script = resumed(
        lambda number, start: part_of(body, HERE, said, length=length),
        Answer(200, A, V1),
        length=not unknown,
    )
    with pytest.raises(InvalidResponse) as failed:
        gw.raw.download(server.url + "/v", tmp_path / "v", resumes=1)
    assert failed.value.status_code == 206
    assert failed.value.held == 0
    assert left(tmp_path) == []  # nor is it gone on with later
    server.starts.clear()
    done = gw.raw.download(server.url + "/v", tmp_path / "v", resumes=2)
    assert (tmp_path / "v").read_bytes() == A
    assert (server.starts, done.resumes) == ([None, HERE, None], 2)


def capped(size: int, whole: str, beyond: dict[str, str] | None) -> Script:
    def rest(number: int, start: int | None) -> Answer:
        assert start is not None
        if start >= len(A):
            return Answer(416, b"", beyond or {})
        end = min(start + size, len(A))
        return part_of(A[start:end], start, f"{start}-{end - 1}/{whole}")

    return rest


def test_a_server_that_caps_its_ranges_is_asked_for_the_rest(
    gw: Gateway, server: ScriptServer, tmp_path: Path
) -> None:
    """Each slice brings bytes, so none of them is a resume."""
    server.script = resumed(capped(800, "10240", None), Answer(200, A, V1))
    begun_s = time.monotonic()
    done = gw.raw.download(server.url + "/v", tmp_path / "v", resumes=1)
    assert (tmp_path / "v").read_bytes() == A
    assert (done.size, done.resumes) == (10_240, 1)
    assert server.starts == [None, *range(HERE, 10_240, 800)]
    assert time.monotonic() - begun_s < 2


def test_a_slice_of_an_unknown_whole_is_not_the_whole(
    gw: Gateway, server: ScriptServer, tmp_path: Path
) -> None:
    """The 416 beyond the end tells the length; the last byte says that it is still that version."""
    beyond = {"content-range": "bytes */10240"}
    server.script = resumed(capped(3_000, "*", beyond), Answer(200, A, V1), length=False)
    done = gw.raw.download(server.url + "/v", tmp_path / "v", resumes=1)
    assert (tmp_path / "v").read_bytes() == A
    assert server.starts == [None, 4_000, 7_000, 10_000, 10_240, 10_239]
    assert done.resumes == 1


@pytest.mark.parametrize("beyond", [{}, {"content-range": "bytes */9999"}])
def test_an_unknown_whole_that_is_never_told_starts_again_at_0(
    beyond: dict[str, str], gw: Gateway, server: ScriptServer, tmp_path: Path
) -> None:
    server.script = resumed(capped(9_000, "*", beyond), Answer(200, A, V1), length=False)
    done = gw.raw.download(server.url + "/v", tmp_path / "v")
    assert (tmp_path / "v").read_bytes() == A
    assert server.starts == [None, HERE, 10_240, None]
    assert done.resumes == 2


def test_a_paid_slice_is_kept_and_not_asked_on_for(
    gw: Gateway, server: ScriptServer, tmp_path: Path
) -> None:
    server.script = resumed(capped(4_000, "10240", None), Answer(200, A, V1))
    paid: dict[str, Any] = {"provider": "openai", "max_cost_usd": "0.10"}
    with pytest.raises(SluicewayError):
        gw.raw.download("/v", tmp_path / "v", **paid)
    with pytest.raises(InvalidResponse, match="a slice: 8000 bytes of 10240") as failed:
        gw.raw.download("/v", tmp_path / "v", **paid)
    assert str(failed.value.held) == "0.100000000"
    assert (tmp_path / "v.part").read_bytes() == A[:8_000]
    gw.raw.download("/v", tmp_path / "v", **paid)
    assert (tmp_path / "v").read_bytes() == A
    assert server.starts == [None, HERE, 8_000]


def test_a_paid_416_at_the_end_keeps_what_is_whole(
    gw: Gateway, server: ScriptServer, tmp_path: Path
) -> None:
    """No answer has told the length before; the next call asks for the last byte, and has all."""
    beyond = {"content-range": "bytes */10240"}
    server.script = resumed(capped(9_000, "*", beyond), Answer(200, A, V1), length=False)
    paid: dict[str, Any] = {"provider": "openai", "max_cost_usd": "0.10"}
    for _ in range(3):
        with pytest.raises(SluicewayError):
            gw.raw.download("/v", tmp_path / "v", **paid)
    assert (tmp_path / "v.part").read_bytes() == A
    gw.raw.download("/v", tmp_path / "v", **paid)
    assert (tmp_path / "v").read_bytes() == A
    assert server.starts == [None, HERE, 10_240, 10_239]


@pytest.mark.parametrize("status", [201, 202, 204, 205, 226])
def test_what_is_no_file_is_an_error_of_its_status(
    status: int, gw: Gateway, server: ScriptServer, tmp_path: Path
) -> None:
    body = b"" if status in (204, 205) else b'{"status":"processing"}'
    server.script = lambda number, start: Answer(status, body, {"retry-after": "7"})
    (tmp_path / "v").write_text("of yesterday")
    with pytest.raises(InvalidResponse, match=f"status {status}") as failed:
        gw.raw.download(server.url + "/v", tmp_path / "v")
    assert failed.value.status_code == status
    assert ("not ready yet" in str(failed.value)) == (status == 202)
    assert left(tmp_path) == ["v"]
    assert (tmp_path / "v").read_text() == "of yesterday"
    assert server.starts == [None]


def test_a_203_is_a_file(gw: Gateway, server: ScriptServer, tmp_path: Path) -> None:
    server.script = lambda number, start: Answer(203, A)
    assert gw.raw.download(server.url + "/v", tmp_path / "v").size == len(A)


def test_not_ready_keeps_what_is_there(gw: Gateway, server: ScriptServer, tmp_path: Path) -> None:
    server.script = resumed(lambda number, start: Answer(202), Answer(200, A, V1))
    with pytest.raises(InvalidResponse, match="not ready yet"):
        gw.raw.download(server.url + "/v", tmp_path / "v")
    assert (tmp_path / "v.part").read_bytes() == A[:HERE]
    server.script = resumed(capped(9_000, "10240", None), Answer(200, A, V1))
    gw.raw.download(server.url + "/v", tmp_path / "v")
    assert (tmp_path / "v").read_bytes() == A
    assert server.starts == [None, HERE, HERE]


BAD_LOCATIONS = {
    "http://[bad": "http://[bad",
    "http://user:pw@127.0.0.1:1/x": "http://***@127.0.0.1:1/x",
    "//user:p?w/@127.0.0.1/x?signature=s": "//***@127.0.0.1/x",
    "http://user:p/w@127.0.0.1/x": "http://***@127.0.0.1/x",
    "/a b?signature=s": "/a b",
    "http://127.0.0.1:99999/?signature=s": "http://127.0.0.1:99999/",
    "http://a{b/": "http://a{b/",  # only the core's own parser refuses it
    "ftp://127.0.0.1/x": "ftp://127.0.0.1/x",
    "": "''",
}


@pytest.mark.parametrize("location", BAD_LOCATIONS)
@pytest.mark.parametrize("provider", [None, "openai"])
def test_a_bad_location_is_the_answers_fault(
    provider: str | None, location: str, gw: Gateway, server: ScriptServer, tmp_path: Path
) -> None:
    server.script = lambda number, start: Answer(307, b"", {"location": location})
    url = "/v" if provider else server.url + "/v"
    with pytest.raises(InvalidResponse, match="the redirect") as failed:
        gw.raw.download(url, tmp_path / "v", provider=provider)
    assert BAD_LOCATIONS[location] in str(failed.value)
    assert not re.search(r"user|pw|p\?w|p/w|signature", str(failed.value))
    assert failed.value.status_code == 307
    assert failed.value.outcome == "refused"
    assert server.starts == [None]
    assert left(tmp_path) == []


def test_a_redirect_that_is_not_followed_says_why(
    gw: Gateway, server: ScriptServer, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    server.script = lambda number, start: Answer(307, b"", {"location": "/loop?signature=s"})
    with pytest.raises(BadRequest, match=r"'/loop' was not followed: 5 were followed") as failed:
        gw.raw.download(server.url + "/loop", tmp_path / "v")
    assert failed.value.status_code == 307
    assert len(server.starts) == 6
    # As if it had come over TLS: `here` is what a Location is read against.
    monkeypatch.setattr(
        "sluiceway._download_steps.join_url", lambda base, path: "https://127.0.0.1" + path
    )
    server.script = lambda number, start: Answer(307, b"", {"location": "http://127.0.0.1/x"})
    with pytest.raises(BadRequest, match=r"'http://127.0.0.1/x' was not .* https to http"):
        gw.raw.download("/v", tmp_path / "v", provider="openai")


@pytest.mark.parametrize(
    ("location", "url"),
    [
        ("/b?x=1#y", "https://h/b?x=1"),
        ("b", "https://h/a/b"),
        ("//other/b", "https://other/b"),
        ("http://h:65535/@", "http://h:65535/@"),
    ],
)
def test_where_a_location_leads(location: str, url: str) -> None:
    """RFC 9110, 10.2.2; RFC 3986, 5.2."""
    assert target_of("https://h/a/v", location) == (url, "")


def test_a_part_that_never_fits_is_asked_for_with_pauses(
    gw: Gateway, server: ScriptServer, tmp_path: Path
) -> None:
    """A 206 without a Range, each time: at most `resumes` more requests, each later than before."""
    server.script = lambda number, start: part_of(A, 0, "0-10239/10240")
    with pytest.raises(InvalidResponse, match="was not asked for"):
        gw.raw.download(server.url + "/v", tmp_path / "v", resumes=2)
    assert server.starts == [None, None, None]
    pauses_s = [later - sooner for sooner, later in itertools.pairwise(server.times_s)]
    assert pauses_s[0] >= 0.1  # half of the first pause, which doubles
    assert pauses_s[1] >= 0.2


def test_no_pause_beyond_the_deadline(gw: Gateway, server: ScriptServer, tmp_path: Path) -> None:
    server.script = lambda number, start: part_of(A, 0, "0-10239/10240")
    with pytest.raises(InvalidResponse):
        gw.raw.download(server.url + "/v", tmp_path / "v", timeout_s=0.5, resumes=1_000)
    assert len(server.starts) <= 4
