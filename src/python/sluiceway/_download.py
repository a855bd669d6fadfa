"""`gw.raw.download`: a resource into a file, gone on with where it broke off.

Model: a GET whose bytes are written as they come (the road of _raw_stream.py: a slow disk holds
the transfer back, nothing is kept in memory). When the transfer breaks, the next one asks for the
rest with `Range`, and with `If-Range` for the same version only: a server that has another one, or
no ranges, answers with all of it, and the file starts again at 0. The same holds for what an
earlier process has left in `path.part` (_partial_file.py).

Who asks again: a free download by itself, at most `resumes` times and within `timeout_s`, after
what was never sent, was refused for now, or broke. A paid one is never sent again after doubt: it
raises, keeps the .part, and calling `download` again is the user's decision. Redirects of a free
download are followed, at most 5, never from https to http; another origin gets neither the key nor
the caller's headers.

    done = gw.raw.download("https://cdn.example/v.mp4", "v.mp4", on_progress=print)
    done.path, done.size, done.resumes

`_steps` is a generator that both drivers run: it yields a call (the answer is its next pieces), a
function of files (run in a thread under asyncio and trio), or seconds to sleep. `on_progress(size,
total)` runs on the caller's thread or loop after each write; `total` is None where the server does
not say. Errors: the typed ones of any call; `FileError`; `InvalidResponse` for a wrong length.

Source: RFC 9110, 8.8.2.2 and 8.8.3 (strong validators), 13.1.5 (If-Range), 14 (ranges), 15.4
(redirects); the 60 seconds are those of RFC 7232, 2.2.2.
"""

from __future__ import annotations

import os
import random
import re
import sys
import time
from collections.abc import Callable, Generator, Mapping
from functools import partial
from typing import TYPE_CHECKING, Any

from sluiceway._failures import charged_nanousd, error_of
from sluiceway._partial_file import PartialFile
from sluiceway._raw_steps import ELSEWHERE, Ask, Headers, join_url, submit_raw
from sluiceway._threads import in_thread
from sluiceway.errors import (
    BreakerOpen,
    ConnectionFailed,
    DeadlineExceeded,
    FileError,
    InDoubt,
    InvalidRequest,
    InvalidResponse,
    InvalidType,
    Overloaded,
    RateLimited,
    SluicewayError,
    StreamBroken,
)
from sluiceway.money import usd_of
from sluiceway.options import Plan, whole
from sluiceway.types import DownloadResult

if TYPE_CHECKING:
    from sluiceway._hub import Hub

Progress = Callable[[int, int | None], object]
Steps = Generator[Any, Any, DownloadResult]

_REDIRECTS = (301, 302, 303, 307, 308)
_REDIRECTS_MAX = 5
_PASSING = (BreakerOpen, ConnectionFailed, InDoubt, Overloaded, RateLimited, StreamBroken)
_OLD_ENOUGH_S = 60  # between Last-Modified and Date, for a strong validator
_PAUSE_S, _PAUSE_MAX_S = 0.2, 10.0
_CONTENT_RANGE = re.compile(r"bytes (\d{1,18})-(\d{1,18})/(\d{1,18}|\*)")


class RawDownload:
    """One download; see the top of the file."""

    TIMEOUT_S = 3600.0
    READ_TIMEOUT_S = 30.0
    RESUMES = 5

    def __init__(
        self,
        hub: Hub,
        plan: Plan,
        url: str,
        path: str | os.PathLike[str],
        provider: str | None,
        free: bool,
        headers: Headers | None,
        resumes: int,
        on_progress: Progress | None,
    ) -> None:
        for given, kinds in ((url, str), (path, str | os.PathLike)):
            if not isinstance(given, kinds):
                raise InvalidType("download takes a URL and the path of a file")
        if provider is None and not url.startswith(("http://", "https://")):
            raise InvalidRequest(
                f"{url!r} is no http or https URL; for a path of a provider's API name the provider"
            )
        self._hub = hub
        self._plan = plan
        self._ask = Ask("GET", provider or ELSEWHERE, url, None, headers, free, byte_stream=True)
        self._path = os.fspath(path)
        self._resumes_max = whole(resumes, "resumes", 0, 1000)
        self._on_progress = on_progress
        self._deadline_s = time.monotonic() + plan.submit["timeout_s"]
        self._resumes = self._redirects = 0

    def run(self) -> DownloadResult:
        """Blocks; Ctrl-C cancels the transfer and keeps the .part."""
        steps = self._steps()
        try:
            item = next(steps)
            while True:
                try:
                    got = _do(item)
                except BaseException as error:  # noqa: BLE001 (the steps raise it again)
                    item = steps.throw(error)
                else:
                    item = steps.send(got)
        except StopIteration as stop:
            return stop.value  # type: ignore[no-any-return]

    async def run_async(self) -> DownloadResult:
        """The same on the running loop; cancelling the task cancels the transfer."""
        steps = self._steps()
        try:
            item = next(steps)
            while True:
                try:
                    got = await _do_async(item)
                except BaseException as error:  # noqa: BLE001 (the steps raise it again)
                    item = steps.throw(error)
                else:
                    item = steps.send(got)
        except StopIteration as stop:
            return stop.value  # type: ignore[no-any-return]

    def _steps(self) -> Steps:
        part = yield partial(PartialFile.open, self._path, self._ask.path)
        try:
            while True:
                result = yield from self._transfer(part)
                if result is not None:
                    yield part.finish
                    return result
        finally:
            part.close()

    def _transfer(self, part: PartialFile) -> Generator[Any, Any, DownloadResult | None]:
        """One call. None: ask again. Raises what the download ends with."""
        start = part.resume_at()
        extra = [("accept-encoding", "identity")]  # ranges are of what is sent
        if start > 0:
            extra += [("range", f"bytes={start}-"), ("if-range", part.validator)]
        call, name = submit_raw(self._hub, self._plan_now(), self._ask._replace(extra=tuple(extra)))
        fits = False
        try:
            while pieces := (yield call):
                fits = fits or (yield partial(begin, part, call, start))
                if not fits:
                    return (yield from self._other_version(part, call))
                yield partial(part.write, pieces)
                if self._on_progress is not None:
                    self._on_progress(part.size, part.total)
        except BaseException as error:
            call.cancel()
            if isinstance(error, FileError):
                while (yield call):
                    pass
                error.outcome, error.held = call.outcome, usd_of(call.held_nanousd)
                error.charged = usd_of(charged_nanousd(call))
                error.call_id, error.intent_id = call.call_id, call.intent_id
            raise
        self._hub.ended()
        if not call.ok:
            return (yield from self._failed(part, call, error_of(call, name, ()), start))
        if not fits and not (yield partial(begin, part, call, start)):  # an empty body
            return (yield from self._other_version(part, call))
        if part.total is not None and part.size != part.total:
            raise InvalidResponse(
                f"{part.size} bytes came of {part.total} that were announced",
                outcome=call.outcome,
                status_code=call.status_code,
                call_id=call.call_id,
            )
        return DownloadResult(call, name, self._path, part.size, self._resumes)

    def _plan_now(self) -> Plan:
        left_s = self._deadline_s - time.monotonic()
        if left_s < 0.001:
            raise DeadlineExceeded(f"the download into {self._path!r} took longer than timeout_s")
        return self._plan.with_options({"timeout_s": left_s}, self._hub.variants)

    def _other_version(
        self, part: PartialFile, call: Any
    ) -> Generator[Any, Any, DownloadResult | None]:
        """A part of something else than what is here: all of it has to come again."""
        call.cancel()
        while (yield call):
            pass
        self._hub.ended()
        error = InvalidResponse(
            "the server sent a range that does not fit what is there",
            outcome=call.outcome,
            held=usd_of(call.held_nanousd),
            charged=usd_of(charged_nanousd(call)),
            status_code=206,
            call_id=call.call_id,
        )
        yield partial(part.begin, "", None)
        if not self._ask.free or self._resumes >= self._resumes_max:
            raise error
        self._resumes += 1
        return None

    def _failed(
        self, part: PartialFile, call: Any, error: SluicewayError, start: int
    ) -> Generator[Any, Any, DownloadResult | None]:
        """What follows a call that failed: None to ask again, or the error is raised."""
        if not self._ask.free:
            if error.status_code == 416 and start > 0:
                yield partial(part.begin, "", None)  # the next download starts at 0
            raise error
        if error.status_code in _REDIRECTS and self._follow(call):
            return None
        if error.status_code == 416 and start > 0:
            yield partial(part.begin, "", None)
        elif not isinstance(error, _PASSING):
            raise error
        if self._resumes >= self._resumes_max:
            raise error
        pause_s = min(_PAUSE_MAX_S, _PAUSE_S * 2.0**self._resumes) * random.uniform(0.5, 1.0)
        pause_s = max(pause_s, error.retry_after_s or 0.0)
        if time.monotonic() + pause_s >= self._deadline_s:
            raise error
        self._resumes += 1
        yield pause_s
        return None

    def _follow(self, call: Any) -> bool:
        from urllib.parse import urljoin, urlsplit

        target = next((value for key, value in call.headers if key.lower() == "location"), "")
        here, base = self._ask.path, ""
        provider = self._hub.registry.get(self._ask.provider)
        if provider is not None:
            base = self._hub.base_url(provider, self._plan.account) or provider.base_url
            here = join_url(base, here)
        url = urljoin(here, target).partition("#")[0]
        old, new = urlsplit(here), urlsplit(url)
        sound = new.scheme in ("http", "https") and (old.scheme, new.scheme) != ("https", "http")
        if not target or not sound or self._redirects >= _REDIRECTS_MAX:
            return False
        self._redirects += 1
        same = (old.scheme, old.netloc) == (new.scheme, new.netloc)
        headers = self._ask.headers if same else None
        path = new.path + (f"?{new.query}" if new.query else "")
        if same and base and join_url(base, path) == url:
            self._ask = self._ask._replace(path=path)
        else:
            self._ask = self._ask._replace(provider=ELSEWHERE, path=url, headers=headers)
        return True


def begin(part: PartialFile, call: Any, start: int) -> bool:
    """Prepares the file for an answer's body. False: the body does not fit what is there."""
    status, pairs = call.head
    headers = {name.lower(): value for name, value in pairs}
    if status != 206:
        plain = headers.get("content-encoding", "identity") in ("", "identity")
        length = headers.get("content-length", "") if plain else ""
        part.begin(
            validator_of(headers) if plain else "", int(length) if length.isdigit() else None
        )
        return True
    match = _CONTENT_RANGE.fullmatch(headers.get("content-range", ""))
    if start == 0 or match is None or int(match[1]) != start:
        return False
    total = None if match[3] == "*" else int(match[3])
    if None not in (total, part.total) and total != part.total:
        return False
    if part.validator.startswith('"') and headers.get("etag", part.validator) != part.validator:
        return False
    part.resume(start, total)
    return True


def validator_of(headers: Mapping[str, str]) -> str:
    """A strong ETag, else a Last-Modified that no second change can share; "" for neither."""
    etag = headers.get("etag", "")
    if len(etag) >= 2 and etag[0] == etag[-1] == '"':
        return etag
    from email.utils import parsedate_to_datetime

    modified = headers.get("last-modified", "")
    try:
        age = parsedate_to_datetime(headers.get("date", "")) - parsedate_to_datetime(modified)
    except (ValueError, TypeError):
        return ""
    return modified if age.total_seconds() >= _OLD_ENOUGH_S else ""


def _do(item: Any) -> Any:
    """What a step asks for, blocking."""
    if isinstance(item, float):
        time.sleep(item)
        return None
    return item() if callable(item) else item.next_bytes_wait()


async def _do_async(item: Any) -> Any:
    if isinstance(item, float):
        await _sleep(item)
        return None
    return await (in_thread(item) if callable(item) else item.next_bytes())


async def _sleep(seconds: float) -> None:
    trio = sys.modules.get("trio")
    if trio is not None and trio.lowlevel.in_trio_task():
        await trio.sleep(seconds)
        return
    import asyncio

    await asyncio.sleep(seconds)
