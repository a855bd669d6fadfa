"""pycurl as a measured client: what a good user of it writes; see common.py.

One thread, one CurlMulti, a handle for each call in flight that is set up once and used again,
`perform` and `select` in a loop, `json.loads` of each answer. `socket_action` with a Python
callback for each change of a socket was measured too and is slower (33 to 50 us a call beside 27):
at this load one `perform` finds many sockets ready. No limits, no budget, no ledger.

    python -m benchmarks.python.clients.pycurl_client pycurl --url http://127.0.0.1:8080/v1
"""

from __future__ import annotations

import json
import time
from typing import Any

from benchmarks.python.clients import common
from benchmarks.python.clients.common import Meter, require

with common.or_absent():
    import pycurl  # type: ignore[import-untyped, import-not-found, unused-ignore]

HEADERS = (
    "Content-Type: application/json",
    f"Authorization: Bearer {common.KEY}",
    "Expect:",
)


class Slot:
    """One handle and the call that it carries at the moment."""

    __slots__ = ("began_s", "chunks", "easy")

    def __init__(self, url: str, post: bytes, cacert: str, http2: bool) -> None:
        self.easy = easy = pycurl.Curl()
        self.chunks: list[bytes] = []
        self.began_s = 0.0
        easy.setopt(pycurl.URL, url)
        easy.setopt(pycurl.HTTPHEADER, HEADERS)
        easy.setopt(pycurl.POSTFIELDS, post)
        easy.setopt(pycurl.NOSIGNAL, 1)
        version = pycurl.CURL_HTTP_VERSION_2TLS if http2 else pycurl.CURL_HTTP_VERSION_1_1
        easy.setopt(pycurl.HTTP_VERSION, version)
        easy.setopt(pycurl.PIPEWAIT, int(http2))
        if cacert:
            easy.setopt(pycurl.CAINFO, cacert)
        easy.setopt(pycurl.WRITEFUNCTION, self.chunks.append)


class Run:
    """The multi, its slots and the meter."""

    def __init__(self) -> None:
        self.args = args = common.arguments(("pycurl",))
        url, post = args.url + "/chat/completions", common.post_bytes(args.post_bytes)
        self.multi = pycurl.CurlMulti()
        self.multi.setopt(pycurl.M_MAXCONNECTS, args.in_flight)
        slots = [Slot(url, post, args.cacert, args.http2) for _ in range(args.in_flight)]
        self.slots: dict[Any, Slot] = {slot.easy: slot for slot in slots}
        self.meter = Meter()
        self.left = self.done = 0

    def launch(self, slot: Slot) -> None:
        """The next call of a slot, if one is left."""
        if self.left > 0:
            self.left -= 1
            slot.began_s = time.perf_counter()
            self.multi.add_handle(slot.easy)

    def end(self, slot: Slot) -> None:
        """Parses and checks an answer that is whole."""
        self.multi.remove_handle(slot.easy)
        answer = json.loads(b"".join(slot.chunks))
        slot.chunks.clear()
        ok = slot.easy.getinfo(pycurl.RESPONSE_CODE) == 200
        self.meter.bad += not ok or answer["usage"]["total_tokens"] != common.TOTAL_TOKENS
        self.meter.latencies_s.append(time.perf_counter() - slot.began_s)
        self.done += 1
        self.launch(slot)

    def calls(self, count: int) -> None:
        """Makes `count` calls with all slots busy."""
        multi, slots = self.multi, self.slots
        self.left, self.done = count, 0
        for slot in slots.values():
            self.launch(slot)
        while self.done < count:
            multi.perform()
            queued = 1
            while queued:
                queued, ended, failed = multi.info_read()
                require(not failed, f"pycurl: {failed}")
                for easy in ended:
                    self.end(slots[easy])
            if self.done < count:
                multi.select(1.0)

    def main(self) -> None:
        """The run, from the check to the line."""
        args, meter = self.args, self.meter
        self.calls(1)
        require(meter.bad == 0, "the first call")
        self.calls(args.warm)
        meter.start()
        self.calls(args.calls)
        meter.lap()
        meter.stop()
        meter.report(args.calls, f"pycurl {pycurl.version.split()[0].removeprefix('PycURL/')}")


if __name__ == "__main__":
    Run().main()
