"""The HTTP/1.1 request reader: every cut of the bytes, and what it refuses."""

from __future__ import annotations

import pytest

from sluiceway.simulator.h1_reader import BadRequest, H1Reader
from sluiceway.simulator.message import Request

PLAIN = (
    b"POST /a?b=c HTTP/1.1\r\nHost: h\r\nX-One: 1\r\nx-one:  2 \r\nContent-Length: 5\r\n\r\nhello"
)
CHUNKED = (
    b"POST /a HTTP/1.1\r\nHost: h\r\nTransfer-Encoding: chunked\r\n\r\n"
    b"2;x=y\r\nhe\r\n3\r\nllo\r\n0\r\nTrailer: t\r\n\r\n"
)


def read_all(reader: H1Reader) -> list[Request]:
    found = []
    while (request := reader.next_request()) is not None:
        found.append(request)
    return found


@pytest.mark.parametrize("raw", [PLAIN, CHUNKED])
def test_every_cut_gives_the_same_request(raw: bytes) -> None:
    for cut in range(1, len(raw)):
        reader = H1Reader()
        reader.feed(raw[:cut])
        assert read_all(reader) == []
        reader.feed(raw[cut:])
        (request,) = read_all(reader)
        assert (request.method, request.path, request.body) == ("POST", "/a", b"hello")
        assert reader.buffered == 0


def test_fields_and_query() -> None:
    reader = H1Reader()
    reader.feed(PLAIN)
    (request,) = read_all(reader)
    assert request.query == "b=c"
    assert request.headers == {"host": "h", "x-one": "1, 2", "content-length": "5"}
    assert reader.keep_alive


def test_byte_by_byte_and_pipelined() -> None:
    reader = H1Reader()
    found = []
    for index in range(3 * len(CHUNKED)):
        reader.feed((CHUNKED * 3)[index : index + 1])
        found += read_all(reader)
    assert [request.body for request in found] == [b"hello"] * 3
    reader.feed(PLAIN + CHUNKED + PLAIN)
    assert len(read_all(reader)) == 3


@pytest.mark.parametrize(
    ("head", "keep_alive"),
    [
        (b"GET / HTTP/1.1\r\nHost: h\r\nConnection: close\r\n\r\n", False),
        (b"GET / HTTP/1.1\r\nHost: h\r\n\r\n", True),
        (b"GET / HTTP/1.0\r\n\r\n", False),
        (b"GET / HTTP/1.0\r\nConnection: keep-alive\r\n\r\n", True),
        (b"\r\n\r\nGET / HTTP/1.1\r\nHost: h\r\n\r\n", True),
    ],
)
def test_keep_alive(head: bytes, keep_alive: bool) -> None:
    reader = H1Reader()
    reader.feed(head)
    assert len(read_all(reader)) == 1
    assert reader.keep_alive is keep_alive


def test_expect_is_reported_once_the_head_is_there() -> None:
    reader = H1Reader()
    reader.feed(b"POST / HTTP/1.1\r\nHost: h\r\nExpect: 100-continue\r\nContent-Length: 2\r\n\r\n")
    assert reader.next_request() is None
    assert reader.wants_continue
    reader.wants_continue = False
    reader.feed(b"o")
    assert reader.next_request() is None
    assert not reader.wants_continue
    reader.feed(b"k")
    assert reader.next_request() is not None


@pytest.mark.parametrize(
    ("raw", "status"),
    [
        (b"NONSENSE\r\n\r\n", 400),
        (b"FETCH / HTTP/1.1\r\nHost: h\r\n\r\n", 400),
        (b"GET / HTTP/2.0\r\nHost: h\r\n\r\n", 400),
        (b"GET / HTTP/1.1\r\n\r\n", 400),
        (b"GET / HTTP/1.1\r\nHost: h\r\n folded\r\n\r\n", 400),
        (b"GET / HTTP/1.1\r\nHost : h\r\n\r\n", 400),
        (b"GET / HTTP/1.1\r\nHost: h\r\nContent-Length: +5\r\n\r\n", 400),
        (b"GET / HTTP/1.1\r\nHost: h\r\nContent-Length: 5\r\nContent-Length: 5\r\n\r\n", 400),
        (
            b"GET / HTTP/1.1\r\nHost: h\r\nContent-Length: 5\r\nTransfer-Encoding: chunked\r\n\r\n",
            400,
        ),
        (b"GET / HTTP/1.1\r\nHost: h\r\nTransfer-Encoding: gzip\r\n\r\n", 400),
        (b"GET / HTTP/1.1\r\nHost: h\r\nContent-Length: 99999999999\r\n\r\n", 413),
        (b"GET / HTTP/1.1\r\nHost: h\r\nTransfer-Encoding: chunked\r\n\r\n-1\r\n", 400),
        (b"GET / HTTP/1.1\r\nHost: h\r\nTransfer-Encoding: chunked\r\n\r\n2\r\nabcd", 400),
        (b"GET / HTTP/1.1\r\nX: " + b"a" * 70_000, 431),
    ],
)
def test_refusals(raw: bytes, status: int) -> None:
    reader = H1Reader()
    reader.feed(raw)
    with pytest.raises(BadRequest) as caught:
        read_all(reader)
    assert caught.value.status == status
