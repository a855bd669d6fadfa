"""Answers in a content coding: whole, cut in the middle, and read slowly."""

from __future__ import annotations

import gzip
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from sluiceway import Gateway, InDoubt, InvalidResponse, StreamBroken
from tests.python.http.conftest import MakeGateway
from tests.python.http.file_server import FileServer, Resource

NAME = "/files/a.json"
TEXT = b"".join(b"%d times %d is %d\n" % (n, n, n * n) for n in range(20_000))
CODED = gzip.compress(TEXT, 6, mtime=0)
GZIP = {"content-encoding": "gzip"}


@pytest.fixture
def server() -> Iterator[FileServer]:
    with FileServer() as running:
        yield running


@pytest.fixture
def gw(server: FileServer, reach_url: MakeGateway) -> Gateway:
    return reach_url(server.url)


@pytest.mark.parametrize("length", [True, False])
def test_the_text_comes_out(gw: Gateway, server: FileServer, length: bool) -> None:
    server.files[NAME] = Resource(CODED, headers=GZIP, length=length)
    assert gw.raw.get("openai", NAME, free=True).raw == TEXT
    with gw.raw.stream("GET", "openai", NAME, free=True) as stream:
        assert b"".join(stream) == TEXT


@pytest.mark.parametrize("length", [True, False])
@pytest.mark.parametrize("kept", [20, len(CODED) // 2, len(CODED) - 1])
def test_what_is_cut_is_never_whole(
    gw: Gateway, server: FileServer, length: bool, kept: int
) -> None:
    server.files[NAME] = Resource(CODED[:kept], headers=GZIP, length=length)
    with pytest.raises((InDoubt, InvalidResponse)):
        gw.raw.get("openai", NAME, free=True)
    with (
        pytest.raises((StreamBroken, InDoubt)),
        gw.raw.stream("GET", "openai", NAME, free=True) as stream,
    ):
        b"".join(stream)


def test_a_download_that_is_cut_leaves_no_file(
    gw: Gateway, server: FileServer, tmp_path: Path
) -> None:
    server.files[NAME] = Resource(CODED[:-4], headers=GZIP)
    with pytest.raises((StreamBroken, InDoubt, InvalidResponse)):
        gw.raw.download(server.url + NAME, tmp_path / "a.json", resumes=0)
    assert not (tmp_path / "a.json").exists()


def test_a_slow_reader_gets_all_that_little_swells_to(gw: Gateway, server: FileServer) -> None:
    """100 MB in 100 kB: what is not read yet stays in its coding."""
    megabytes = 100
    server.files[NAME] = Resource(gzip.compress(bytes(megabytes << 20), 9), headers=GZIP)
    total = 0
    with gw.raw.stream("GET", "openai", NAME, free=True) as stream:
        for count, piece in enumerate(stream):
            total += len(piece)
            if count < 5:
                time.sleep(0.02)  # the transfer runs into its bound and is paused
    assert total == megabytes << 20
