"""`read_timeout_s` is the longest silence: an answer's head breaks it as its body does."""

from __future__ import annotations

import socket
import threading
import time
from collections.abc import Sequence

import pytest

from sluiceway import TimedOutInDoubt
from tests.python.http.conftest import MODEL, MakeGateway

PAUSE_S = 0.5
TIMEOUT_S = 0.9  # longer than a pause, shorter than two
HEAD = (b"HTTP/1.1 200 OK\r\n", b"transfer-encoding: chunked\r\n", b"\r\n")
EVENTS = b'data: {"choices":[{"delta":{"content":"x"}}]}\n\ndata: [DONE]\n\n'
BODY = b"%x\r\n%s\r\n0\r\n\r\n" % (len(EVENTS), EVENTS)


class Slow:
    """Answers its one request in pieces, with a pause before each."""

    def __init__(self, pieces: Sequence[bytes]) -> None:
        self._pieces = pieces
        self._listener = socket.create_server(("127.0.0.1", 0))
        self.url = f"http://127.0.0.1:{self._listener.getsockname()[1]}"
        self._left = threading.Event()
        self._thread = threading.Thread(target=self._serve)

    def __enter__(self) -> Slow:
        self._thread.start()
        return self

    def __exit__(self, *exc: object) -> None:
        self._left.set()
        self._thread.join(20)
        self._listener.close()

    def _serve(self) -> None:
        client, _ = self._listener.accept()
        with client:
            client.recv(65_536)
            for piece in self._pieces:
                time.sleep(PAUSE_S)
                try:
                    client.sendall(piece)
                except OSError:
                    return  # the client has left
            self._left.wait(20)


@pytest.mark.parametrize(
    "pieces",
    [(b"".join(HEAD), BODY), (HEAD[0], HEAD[1], HEAD[2] + BODY)],
    ids=["head and body", "line by line"],
)
def test_a_head_is_no_silence(reach_url: MakeGateway, pieces: Sequence[bytes]) -> None:
    with Slow(pieces) as server:
        gw = reach_url(server.url)
        assert gw.stream(MODEL, "hi", read_timeout_s=TIMEOUT_S).result().text == "x"
        gw.close()


def test_silence_after_a_head(reach_url: MakeGateway) -> None:
    with Slow([b"".join(HEAD)]) as server:
        gw = reach_url(server.url)
        begun_s = time.monotonic()
        with pytest.raises(TimedOutInDoubt, match="read_timeout_s") as failed:
            gw.stream(MODEL, "hi", read_timeout_s=TIMEOUT_S).result()
        assert time.monotonic() - begun_s >= PAUSE_S + TIMEOUT_S
        assert failed.value.status_code == 200
        gw.close()
