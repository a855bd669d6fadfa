"""Downloads to a file: whole or not there, gone on with only in the same version, flat memory."""

from __future__ import annotations

import asyncio
import json
import os
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from decimal import Decimal
from pathlib import Path
from typing import Any

import pytest

from sluiceway import (
    BadRequest,
    FileError,
    Gateway,
    InDoubt,
    InvalidRequest,
    InvalidResponse,
    InvalidType,
    SluicewayError,
    StreamBroken,
)
from sluiceway._download_steps import validator_of
from sluiceway.simulator.faults import FaultServer
from tests.python.http.conftest import MakeGateway
from tests.python.http.file_server import OLD_S, FileServer, Resource
from tests.python.http.test_uploads import peak_memory

NAME = "/files/v.mp4"
BODY = bytes(range(256)) * 1_000  # 256,000 bytes


@pytest.fixture
def server() -> Iterator[FileServer]:
    with FileServer() as running:
        yield running


@pytest.fixture
def gw(server: FileServer, reach_url: MakeGateway) -> Gateway:
    return reach_url(server.url)


def asked(server: FileServer) -> list[tuple[str | None, str | None]]:
    """(Range, If-Range) of each request for the resource."""
    return [(one.headers.get("range"), one.headers.get("if-range")) for one in server.seen]


def left(folder: Path) -> list[str]:
    return sorted(os.listdir(folder))


def test_all_of_it(gw: Gateway, server: FileServer, tmp_path: Path) -> None:
    server.files[NAME] = Resource(BODY)
    path, seen = tmp_path / "v.mp4", list[tuple[int, int | None]]()
    done = gw.raw.download(server.url + NAME, path, on_progress=lambda *now: seen.append(now))
    assert path.read_bytes() == BODY
    assert (done.path, done.size, done.resumes, done.status_code) == (str(path), 256_000, 0, 200)
    assert done.headers["etag"] == '"v1"'
    assert done.cost.nanousd == 0
    assert seen[-1] == (256_000, 256_000)
    assert [size for size, _ in seen] == sorted(size for size, _ in seen)
    assert left(tmp_path) == ["v.mp4"]
    # Nobody's key went to a URL that is no provider's.
    assert "authorization" not in server.seen[0].headers
    assert server.seen[0].headers["accept-encoding"] == "identity"


def test_of_a_provider_with_its_key(gw: Gateway, server: FileServer, tmp_path: Path) -> None:
    server.files[NAME] = Resource(BODY, length=False)
    done = gw.raw.download(NAME, tmp_path / "v", provider="openai", headers={"x-a": "b"})
    assert done.size == 256_000
    assert server.seen[0].headers["authorization"] == "Bearer not-a-key"
    assert server.seen[0].headers["x-a"] == "b"


def test_an_empty_file(gw: Gateway, server: FileServer, tmp_path: Path) -> None:
    server.files[NAME] = Resource(b"")
    (tmp_path / "v").write_text("of yesterday")
    assert gw.raw.download(server.url + NAME, tmp_path / "v").size == 0
    assert (tmp_path / "v").read_bytes() == b""
    assert left(tmp_path) == ["v"]


@pytest.mark.parametrize("twin", ["blocking", "aio"])
def test_a_broken_transfer_goes_on_where_it_broke(
    twin: str, gw: Gateway, server: FileServer, tmp_path: Path
) -> None:
    server.files[NAME] = Resource(BODY, cuts=[100_000, 50_000])
    path = tmp_path / "v.mp4"
    if twin == "blocking":
        done = gw.raw.download(server.url + NAME, path)
    else:
        done = asyncio.run(_await(gw.aio.raw.download(server.url + NAME, path)))
    assert path.read_bytes() == BODY
    assert (done.resumes, done.size) == (2, 256_000)
    assert asked(server) == [
        (None, None),
        ("bytes=100000-", '"v1"'),
        ("bytes=150000-", '"v1"'),
    ]
    assert server.files[NAME].sent == 256_000  # nothing came twice
    assert left(tmp_path) == ["v.mp4"]


async def _await(awaitable: Any) -> Any:
    return await awaitable


def test_another_version_starts_again_at_0(gw: Gateway, server: FileServer, tmp_path: Path) -> None:
    other = BODY[::-1] + b"more"
    server.files[NAME] = Resource(BODY, cuts=[100_000], next_body=other)
    done = gw.raw.download(server.url + NAME, tmp_path / "v")
    assert (tmp_path / "v").read_bytes() == other
    assert done.resumes == 1
    assert asked(server) == [(None, None), ("bytes=100000-", '"v1"')]


def test_a_server_that_ignores_if_range_is_noticed(
    gw: Gateway, server: FileServer, tmp_path: Path
) -> None:
    """Its 206 is of another version: the ETag, or the length, says so."""
    for next_etag, other in (('"v2"', BODY[::-1]), ('"v1"', BODY + b"longer")):
        server.seen.clear()
        server.files[NAME] = Resource(
            BODY, cuts=[100_000], next_body=other, next_etag=next_etag, ignore_if_range=True
        )
        done = gw.raw.download(server.url + NAME, tmp_path / "v")
        assert (tmp_path / "v").read_bytes() == other
        assert done.resumes == 2
        assert [one for one, _ in asked(server)] == [None, "bytes=100000-", None]


def test_without_ranges_it_starts_again_at_0(
    gw: Gateway, server: FileServer, tmp_path: Path
) -> None:
    server.files[NAME] = Resource(BODY, cuts=[100_000], ranges=False)
    done = gw.raw.download(server.url + NAME, tmp_path / "v")
    assert (tmp_path / "v").read_bytes() == BODY
    assert done.resumes == 1
    assert server.files[NAME].sent == 100_000 + 256_000


def test_without_a_strong_validator_nothing_is_gone_on_with(
    gw: Gateway, server: FileServer, tmp_path: Path
) -> None:
    server.files[NAME] = Resource(BODY, etag='W/"v1"', cuts=[100_000])
    gw.raw.download(server.url + NAME, tmp_path / "v")
    assert (tmp_path / "v").read_bytes() == BODY
    assert asked(server) == [(None, None), (None, None)]
    server.seen.clear()
    server.files[NAME] = Resource(BODY, etag="", modified_s=OLD_S, cuts=[100_000])
    gw.raw.download(server.url + NAME, tmp_path / "v")
    # 1,000,000,000 s after 1970, as RFC 9110 writes it.
    assert asked(server)[1] == ("bytes=100000-", "Sun, 09 Sep 2001 01:46:40 GMT")


@pytest.mark.parametrize(
    ("headers", "validator"),
    [
        ({"etag": '"a"'}, '"a"'),
        ({"etag": 'W/"a"'}, ""),
        ({"etag": '"'}, ""),
        ({"last-modified": "Sun, 09 Sep 2001 01:46:40 GMT"}, ""),  # no Date to compare with
        (
            {
                "last-modified": "Sun, 09 Sep 2001 01:46:40 GMT",
                "date": "Sun, 09 Sep 2001 01:47:39 GMT",
            },
            "",
        ),
        (
            {
                "last-modified": "Sun, 09 Sep 2001 01:46:40 GMT",
                "date": "Sun, 09 Sep 2001 01:47:40 GMT",
            },
            "Sun, 09 Sep 2001 01:46:40 GMT",
        ),
        ({"last-modified": "nonsense", "date": "nonsense"}, ""),
        ({}, ""),
    ],
)
def test_what_names_a_version(headers: dict[str, str], validator: str) -> None:
    """RFC 9110, 8.8.1 to 8.8.3; a minute between Last-Modified and Date: RFC 7232, 2.2.2."""
    assert validator_of(headers) == validator


def test_resumes_are_bounded_and_the_part_is_kept(
    gw: Gateway, server: FileServer, tmp_path: Path
) -> None:
    server.files[NAME] = Resource(BODY, cuts=[10_000, 10_000, 10_000, 10_000])
    with pytest.raises(StreamBroken) as failed:
        gw.raw.download(server.url + NAME, tmp_path / "v", resumes=2)
    assert failed.value.outcome == "in_doubt"
    assert failed.value.held == 0
    assert left(tmp_path) == ["v.part", "v.part.json"]
    assert (tmp_path / "v.part").read_bytes() == BODY[:30_000]
    # The next call goes on with it.
    done = gw.raw.download(server.url + NAME, tmp_path / "v", resumes=1)
    assert (tmp_path / "v").read_bytes() == BODY
    assert [one for one, _ in asked(server)] == [
        None, "bytes=10000-", "bytes=20000-", "bytes=30000-", "bytes=40000-",
    ]  # fmt: skip
    assert done.resumes == 1


def test_what_a_killed_process_left_is_gone_on_with(
    gw: Gateway, server: FileServer, tmp_path: Path
) -> None:
    gate = threading.Event()
    server.files[NAME] = Resource(BODY, gate=gate)  # stands still after 65,536 bytes
    program = (
        "import sys; from sluiceway import Gateway\n"
        "Gateway({'ledger': {'path': ':memory:', 'durability': 'memory'}})"
        ".raw.download(*sys.argv[1:])"
    )
    path = tmp_path / "v"
    environment = {**os.environ, "PYTHONPATH": ":".join(sys.path)}
    child = subprocess.Popen(
        [sys.executable, "-c", program, server.url + NAME, str(path)], env=environment
    )
    part = tmp_path / "v.part"
    _wait(lambda: part.exists() and part.stat().st_size == 65_536)
    # While it runs nobody else writes there.
    with pytest.raises(InvalidRequest, match=r"another download"):
        gw.raw.download(server.url + NAME, path)
    child.kill()
    child.wait()
    server.files[NAME] = Resource(BODY)
    server.seen.clear()
    done = gw.raw.download(server.url + NAME, path)
    assert path.read_bytes() == BODY
    assert asked(server) == [("bytes=65536-", '"v1"')]
    assert done.resumes == 0
    assert left(tmp_path) == ["v"]


def _wait(condition: Any) -> None:
    deadline_s = time.monotonic() + 20
    while not condition():
        assert time.monotonic() < deadline_s, "waited in vain"
        time.sleep(0.002)


@pytest.mark.parametrize(
    "how", ["another URL", "another boot", "not JSON", "longer than it can be"]
)
def test_what_is_left_of_something_else_is_not_used(
    how: str, gw: Gateway, server: FileServer, tmp_path: Path
) -> None:
    server.files[NAME] = Resource(BODY, cuts=[10_000])
    with pytest.raises(StreamBroken):
        gw.raw.download(server.url + NAME, tmp_path / "v", resumes=0)
    sidecar, url = tmp_path / "v.part.json", server.url + NAME
    known = json.loads(sidecar.read_text())
    assert server.url not in sidecar.read_text()  # a URL may hold a signature
    if how == "another URL":
        server.files[NAME + "?2"] = server.files[NAME]
        url += "?2"
    elif how == "another boot":
        sidecar.write_text(json.dumps({**known, "boot": "0"}))
    elif how == "not JSON":
        sidecar.write_text("[")
    else:
        os.truncate(tmp_path / "v.part", 256_001)
    server.seen.clear()
    gw.raw.download(url, tmp_path / "v")
    assert (tmp_path / "v").read_bytes() == BODY
    assert asked(server) == [(None, None)]


def test_a_whole_part_is_checked_before_it_counts(
    gw: Gateway, server: FileServer, tmp_path: Path
) -> None:
    """All bytes came, and the process ended before the rename: its last byte is asked for again."""
    server.files[NAME] = Resource(BODY, cuts=[10_000])
    with pytest.raises(StreamBroken):
        gw.raw.download(server.url + NAME, tmp_path / "v", resumes=0)
    (tmp_path / "v.part").write_bytes(BODY)
    server.seen.clear()
    gw.raw.download(server.url + NAME, tmp_path / "v")
    assert (tmp_path / "v").read_bytes() == BODY
    assert asked(server) == [("bytes=255999-", '"v1"')]


def test_416_starts_again_at_0(gw: Gateway, server: FileServer, tmp_path: Path) -> None:
    server.files[NAME] = Resource(BODY, cuts=[100_000], statuses=[])
    server.files[NAME].next_body = BODY[:50]
    server.files[NAME].ignore_if_range = True
    server.files[NAME].next_etag = '"v1"'
    done = gw.raw.download(server.url + NAME, tmp_path / "v")
    assert (tmp_path / "v").read_bytes() == BODY[:50]
    assert [one for one, _ in asked(server)] == [None, "bytes=100000-", None]
    assert done.resumes == 2


def test_a_refusal_for_now_is_waited_for_and_others_are_told(
    gw: Gateway, server: FileServer, tmp_path: Path
) -> None:
    server.files[NAME] = Resource(BODY, statuses=[502, 429])
    assert gw.raw.download(server.url + NAME, tmp_path / "v").size == 256_000
    server.files[NAME].statuses = [404]
    with pytest.raises(BadRequest) as failed:
        gw.raw.download(server.url + NAME, tmp_path / "w")
    assert (failed.value.status_code, failed.value.outcome) == (404, "refused")
    assert left(tmp_path) == ["v"]


def test_a_paid_download_is_never_asked_for_again_by_itself(
    gw: Gateway, server: FileServer, tmp_path: Path
) -> None:
    server.files[NAME] = Resource(BODY, cuts=[100_000])
    with gw.budget("video:1", usd="1.00") as budget:
        with pytest.raises(StreamBroken) as failed:
            gw.raw.download(NAME, tmp_path / "v", provider="openai", max_cost_usd="0.10")
        assert len(server.seen) == 1
        assert str(failed.value.held) == "0.100000000"
        assert (tmp_path / "v.part").stat().st_size == 100_000
        # Only the user may go on.
        done = gw.raw.download(NAME, tmp_path / "v", provider="openai", max_cost_usd="0.10")
        assert asked(server)[1] == ("bytes=100000-", '"v1"')
        assert (tmp_path / "v").read_bytes() == BODY
        assert done.resumes == 0
        gw.flush()
        assert budget.in_doubt > 0


def test_a_free_download_leaves_no_trace_in_the_books(
    gw: Gateway, server: FileServer, tmp_path: Path
) -> None:
    server.files[NAME] = Resource(BODY, cuts=[100_000])
    with gw.budget("video:1", usd="1.00") as budget:
        gw.raw.download(server.url + NAME, tmp_path / "v")
        gw.flush()
        assert [budget.spent, budget.held, budget.in_doubt] == [Decimal(0)] * 3


def test_redirects(gw: Gateway, server: FileServer, tmp_path: Path) -> None:
    """Within the origin with the key, to another without it; never more than five."""
    with FileServer() as elsewhere:
        server.files["/a"] = Resource(b"", statuses=[302] * 9, location="/b?x=1")
        server.files["/b?x=1"] = Resource(b"", statuses=[307] * 9, location=elsewhere.url + NAME)
        elsewhere.files[NAME] = Resource(BODY)
        done = gw.raw.download("/a", tmp_path / "v", provider="openai", headers={"x-secret": "s"})
        assert (tmp_path / "v").read_bytes() == BODY
        assert done.resumes == 0
        keys = [one.headers.get("authorization") for one in server.seen + elsewhere.seen]
        assert keys == ["Bearer not-a-key", "Bearer not-a-key", None]
        secrets = [one.headers.get("x-secret") for one in server.seen + elsewhere.seen]
        assert secrets == ["s", "s", None]
        server.files["/a"].statuses = [302] * 9
        with pytest.raises(BadRequest):  # a paid one is not followed
            gw.raw.download("/a", tmp_path / "w", provider="openai", max_cost_usd="0.01")
    server.files["/loop"] = Resource(b"", statuses=[302] * 99, location="/loop")
    server.seen.clear()
    with pytest.raises(BadRequest) as failed:
        gw.raw.download(server.url + "/loop", tmp_path / "w")
    assert failed.value.status_code == 302
    assert len(server.seen) == 6


def test_mistakes_ask_for_nothing(gw: Gateway, server: FileServer, tmp_path: Path) -> None:
    server.files[NAME] = Resource(BODY)
    url = server.url + NAME
    with pytest.raises(FileError, match=r"cannot be written: No such file") as failed:
        gw.raw.download(url, tmp_path / "no" / "v")
    assert isinstance(failed.value, OSError)
    assert failed.value.outcome == "never_sent"
    for arguments, error in (
        ((url, tmp_path), InvalidRequest),
        (("ftp://x/y", tmp_path / "v"), InvalidRequest),
        (("/files/v.mp4", tmp_path / "v"), InvalidRequest),
        ((3, tmp_path / "v"), InvalidType),
        ((url, 3), InvalidType),
    ):
        with pytest.raises(error):
            gw.raw.download(*arguments)
    with pytest.raises(InvalidType, match="timeout_s"):
        gw.raw.download(url, tmp_path / "v", timeout=3)
    assert server.seen == []
    assert left(tmp_path) == []


def test_a_full_disk(gw: Gateway, server: FileServer, tmp_path: Path) -> None:
    server.files[NAME] = Resource(BODY)
    (tmp_path / "v.part").symlink_to("/dev/full")
    with pytest.raises(FileError) as failed:
        gw.raw.download(server.url + NAME, tmp_path / "v")
    assert not (tmp_path / "v").exists()
    assert failed.value.filename


def test_a_callback_that_raises_ends_it_and_keeps_the_part(
    gw: Gateway, server: FileServer, tmp_path: Path
) -> None:
    gate = threading.Event()
    server.files[NAME] = Resource(BODY, gate=gate)

    def stop(size: int, total: int | None) -> None:
        raise KeyError((size, total))

    with pytest.raises(KeyError, match="65536, 256000"):
        gw.raw.download(server.url + NAME, tmp_path / "v", on_progress=stop)
    gate.set()
    assert (tmp_path / "v.part").stat().st_size == 65_536
    gw.raw.download(server.url + NAME, tmp_path / "v")
    assert (tmp_path / "v").read_bytes() == BODY


def test_cancelling_the_task_cancels_the_transfer(
    gw: Gateway, server: FileServer, tmp_path: Path
) -> None:
    server.files[NAME] = Resource(BODY, gate=threading.Event())

    async def run() -> None:
        started = asyncio.Event()
        download = gw.aio.raw.download(
            server.url + NAME, tmp_path / "v", on_progress=lambda *_: started.set()
        )
        task = asyncio.ensure_future(download)
        await started.wait()
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task

    asyncio.run(run())
    _wait(lambda: gw.stats()["transfers_in_flight"] == 0)
    assert left(tmp_path) == ["v.part", "v.part.json"]
    assert (tmp_path / "v.part").read_bytes() == BODY[:65_536]


@pytest.mark.parametrize("twin", ["blocking", "aio"])
def test_memory_is_flat(twin: str, gw: Gateway, server: FileServer, tmp_path: Path) -> None:
    size = 100_000_000
    server.files[NAME] = Resource(bytes(size))
    server.files["/small"] = Resource(b"x")
    url = server.url + NAME
    gw.raw.download(server.url + "/small", tmp_path / "w")
    with peak_memory() as rise:
        if twin == "blocking":
            done = gw.raw.download(url, tmp_path / "v")
        else:
            done = asyncio.run(_await(gw.aio.raw.download(url, tmp_path / "v")))
    assert done.size == os.path.getsize(tmp_path / "v") == size
    assert rise[0] < 16_000_000, rise


@pytest.mark.parametrize("fault", ["cut_body", "cut_chunked", "reset_body", "cut_no_length"])
def test_faults_of_a_server(fault: str, reach_url: MakeGateway, tmp_path: Path) -> None:
    """Never a file that is not whole."""
    with FaultServer(fault) as faulty:
        gw = reach_url(faulty.url)
        with pytest.raises((InDoubt, StreamBroken, InvalidResponse)):
            gw.raw.download(faulty.url + "/v", tmp_path / "v", resumes=0)
        assert not (tmp_path / "v").exists()
        faulty.set("none")
        gw.raw.download(faulty.url + "/v", tmp_path / "v")
        assert json.loads((tmp_path / "v").read_bytes())["ok"] is True


def test_a_deadline_covers_all_of_it(gw: Gateway, server: FileServer, tmp_path: Path) -> None:
    server.files[NAME] = Resource(BODY, gate=threading.Event())
    begun_s = time.monotonic()
    with pytest.raises(SluicewayError):
        gw.raw.download(server.url + NAME, tmp_path / "v", timeout_s=0.6, read_timeout_s=0.1)
    assert 0.1 <= time.monotonic() - begun_s < 5
    assert len(server.seen) >= 2  # silence is a break: it was asked for the rest
