"""The steps of `gw.raw.download`: a resource into a file, gone on with where it broke off.

Model: a GET whose bytes are written as they come (the road of _raw_stream.py: a slow disk holds
the transfer back, nothing is kept in memory). When the transfer breaks, the next one asks for the
rest with `Range`, and with `If-Range` for the same version only: a server that has another one, or
no ranges, answers with all of it, and the file starts again at 0. The same holds for what an
earlier process has left in `path.part` (_partial_file.py).

What is a file: a 200 or 203, or the 206 of just what was asked for. A 206 whose range, own length,
version or whole does not fit is never joined to what is there: all of it is asked for again. One
that ends early is a slice of a server that caps its ranges: the next bytes are asked for, until the
whole is there. A whole that no answer told ("*") is told by the 416 beyond its end, and then its
last byte is asked for again. Every other 2xx is no file: 202 says that it is not ready yet.

Who asks again: a free download by itself, at most `resumes` times and within `timeout_s`, after
what was never sent, was refused for now, broke, or did not fit, each time after a growing pause;
the next slice is no such try, since each of them has brought bytes. A paid one is never sent again
after doubt: it raises, keeps the .part, and calling `download` again is the user's decision.
Redirects of a free download are followed, at most 5, never from https to http; another origin gets
neither the key nor the caller's headers, and is reached as _urls.py says. One that is not followed
stays the error of its status and says why; a Location that cannot be asked for is an
`InvalidResponse`. An absolute URL is reached in the same way; where the caller names the provider
and it lies below its base URL, it is a path of that API and gets the key.

    done = gw.raw.download("https://cdn.example/v.mp4", "v.mp4", on_progress=print)
    done.path, done.size, done.resumes

`steps` is a generator, which _download.py drives: it yields a call (it is sent its next pieces), a
function of files, or seconds to sleep, as a float; what goes wrong there is raised at the yield.
`on_progress(size, total)` runs after each write; `total` is None where the server does not say.
Errors: the typed ones of any call; `FileError`; `InvalidResponse` for an answer that is no file,
does not fit, has a wrong length, or leads nowhere.

Source: RFC 9110, 8.8.2.2 and 8.8.3 (strong validators), 10.2.2 (Location), 13.1.5 (If-Range), 14.4
(Content-Range), 15.3 (2xx), 15.3.7 (206, and how parts are joined), 15.4 (redirects), 15.5.17
(416); the 60 seconds are those of RFC 7232, 2.2.2.
"""

from __future__ import annotations

import os
import random
import re
import time
from collections.abc import Callable, Generator, Mapping, Sequence
from functools import partial
from typing import TYPE_CHECKING, Any, NamedTuple

from sluiceway._config_checks import is_path
from sluiceway._failures import charged_nanousd, error_of
from sluiceway._partial_file import PartialFile
from sluiceway._raw_steps import Ask, Headers, provider_of, submit_raw
from sluiceway._urls import (
    check_characters,
    check_url,
    join_url,
    path_below,
    same_origin,
    shown,
    target_of,
)
from sluiceway.config import ELSEWHERE
from sluiceway.errors import (
    BreakerOpen,
    ConfigError,
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

_WHOLE = (200, 203)  # 203: the same, changed by a proxy that says so
_REDIRECTS = (301, 302, 303, 307, 308)
_REDIRECTS_MAX = 5
_OWN_HEADERS = ("range", "if-range", "accept-encoding")
_PASSING = (BreakerOpen, ConnectionFailed, InDoubt, Overloaded, RateLimited, StreamBroken)
_OLD_ENOUGH_S = 60  # between Last-Modified and Date, for a strong validator
_PAUSE_S, _PAUSE_MAX_S = 0.2, 10.0
# Names of range units have no case (RFC 9110, 14.1).
_CONTENT_RANGE = re.compile(r"(?i:bytes) (\d{1,18})-(\d{1,18})/(\d{1,18}|\*)", re.ASCII)
_BEYOND = re.compile(r"(?i:bytes) \*/(\d{1,18})", re.ASCII)  # the Content-Range of a 416


class Body(NamedTuple):
    """What `begin` makes of an answer: why its body is not taken, or where it is to end."""

    wrong: str = ""
    end: int | None = None  # in the file; None: the answer does not say

    def passed_by(self, part: PartialFile, pieces: Sequence[bytes]) -> bool:
        """Whether these bytes are more than the answer has announced."""
        return self.end is not None and part.size + sum(map(len, pieces)) > self.end


class DownloadSteps:
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
                kind = type(given).__name__
                raise InvalidType(f"download takes a URL and the path of a file, not a {kind}")
        self._hub = hub
        self._plan = plan
        self._ask = _ask_of(hub, plan, url, provider, headers, free)
        self._path = os.fsdecode(path)
        if not is_path(self._path):
            raise InvalidRequest(f"{self._path!r} is no path: it holds a NUL or half a character")
        told: object = on_progress
        if told is not None and not callable(told):
            kind = type(told).__name__
            raise InvalidType(f"on_progress is a {kind}, not a function of (size, total)")
        self._resumes_max = whole(resumes, "resumes", 0, 1000)
        self._on_progress = on_progress
        self._deadline_s = time.monotonic() + plan.submit["timeout_s"]
        self._resumes = self._redirects = 0
        self._moved: tuple[SluicewayError, str] | None = None  # the redirect that is followed now

    def steps(self) -> Steps:
        """To be driven once."""
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
        call, name = self._submit(tuple(extra))
        body: Body | None = None
        try:
            while pieces := (yield call):
                body = body or (yield partial(begin, part, call, start))
                if body.wrong or body.passed_by(part, pieces):
                    return (yield from self._unfit(part, call, name, body))
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
        body = body or (yield partial(begin, part, call, start))  # of an empty body
        if body.wrong or (body.end is not None and part.size != body.end):
            return (yield from self._unfit(part, call, name, body))
        if call.status_code == 206 and part.size != part.total:
            self._check_slice(part, call, name)
            return None
        return DownloadResult(call, name, self._path, part.size, self._resumes)

    def _submit(self, extra: tuple[tuple[str, str], ...]) -> tuple[Any, str]:
        moved, self._moved = self._moved, None
        try:
            return submit_raw(self._hub, self._plan_now(), self._ask._replace(extra=extra))
        except (ConfigError, InvalidRequest) as error:
            if moved is None:
                raise
            # What the server led us to is not the caller's mistake.
            message = f"the redirect to {shown(moved[1])} cannot be followed: {error.message}"
            raise _recast(moved[0], InvalidResponse, message) from None

    def _plan_now(self) -> Plan:
        left_s = self._deadline_s - time.monotonic()
        if left_s < 0.001:
            raise DeadlineExceeded(f"the download into {self._path!r} took longer than timeout_s")
        return self._plan.with_options({"timeout_s": left_s}, self._hub.variants)

    def _check_slice(self, part: PartialFile, call: Any, name: str) -> None:
        """A fitting 206 that ends before the whole, or does not tell it: may the next be asked for?

        That is no resume: a range that fits has at least one byte, so there was progress.
        """
        if not self._ask.free:  # each answer may be billed
            of = "an unknown whole" if part.total is None else str(part.total)
            message = f"the server sent a slice: {part.size} bytes of {of} are there"
            raise _recast(error_of(call, name, ()), InvalidResponse, message)

    def _unfit(
        self, part: PartialFile, call: Any, name: str, body: Body
    ) -> Generator[Any, Any, DownloadResult | None]:
        """An answer that is no file, or a part that does not fit: all of it has to come again."""
        call.cancel()
        while (yield call):
            pass
        self._hub.ended()
        status = call.head[0]
        wrong = body.wrong or "its body has another length than it says"
        error = _recast(error_of(call, name, ()), InvalidResponse, wrong)
        error.status_code = status
        if status != 206 and status not in _WHOLE:
            raise error  # what is there may still be gone on with
        yield partial(part.begin, "", None)
        if not self._ask.free:
            raise error
        yield from self._pause(error)
        return None

    def _pause(self, error: SluicewayError) -> Generator[Any, Any, None]:
        """Waits before the next try, or raises the error: out of tries, or of time."""
        if self._resumes >= self._resumes_max:
            raise error
        pause_s = min(_PAUSE_MAX_S, _PAUSE_S * 2.0**self._resumes) * random.uniform(0.5, 1.0)
        pause_s = max(pause_s, error.retry_after_s or 0.0)
        if time.monotonic() + pause_s >= self._deadline_s:
            raise error
        self._resumes += 1
        yield pause_s

    def _failed(
        self, part: PartialFile, call: Any, error: SluicewayError, start: int
    ) -> Generator[Any, Any, DownloadResult | None]:
        """What follows a call that failed: None to ask again, or the error is raised."""
        beyond = error.status_code == 416 and start > 0
        whole = _whole_told(call) if beyond and part.total is None else None
        if whole is not None and whole == part.size:
            # All of it is there. Noted, and so its last byte is asked for again, as a check.
            yield partial(part.resume, whole, whole)
            if self._ask.free:
                return None
            raise error
        if beyond:
            yield partial(part.begin, "", None)  # the next one starts at 0
        if not self._ask.free:
            raise error
        if error.status_code in _REDIRECTS:
            self._follow(call, error)
            return None
        if not beyond and not isinstance(error, _PASSING):
            raise error
        yield from self._pause(error)
        return None

    def _follow(self, call: Any, error: SluicewayError) -> None:
        """Makes the redirect's target what is asked for. Raises why it is not followed."""
        location = next((value for key, value in call.headers if key.lower() == "location"), "")
        here, base, reach = self._ask.path, "", self._ask.reach
        provider = self._hub.registry.get(self._ask.provider)
        if provider is not None:
            reach = provider.id
            base = self._hub.base_url(provider, self._plan.account) or provider.base_url
            here = join_url(base, here)
        url, wrong = target_of(here, location)
        if wrong:
            message = f"the redirect cannot be followed: its Location {shown(location)} {wrong}"
            raise _recast(error, InvalidResponse, message)
        refused = ""
        if here.lower().startswith("https:") and url.startswith("http:"):
            refused = "it leads from https to http, where anyone could read and change the file"
        elif self._redirects >= _REDIRECTS_MAX:
            refused = f"{_REDIRECTS_MAX} were followed before it"
        if refused:
            message = f"{error.message}; the redirect to {shown(location)} was not followed:"
            raise _recast(error, type(error), f"{message} {refused}")
        self._redirects += 1
        self._moved = (error, location)
        headers = self._ask.headers if same_origin(here, url) else None
        if base and (path := path_below(base, url)):
            self._ask = self._ask._replace(path=path)
        else:
            self._ask = self._ask._replace(
                provider=ELSEWHERE, path=url, headers=headers, reach=reach
            )


def _ask_of(
    hub: Hub, plan: Plan, url: str, provider: str | None, headers: Headers | None, free: bool
) -> Ask:
    """What is asked for: a path of an API, with its key, or an absolute URL, without one."""
    given: Any = headers
    for name in given if isinstance(given, Mapping) else ():
        if isinstance(name, str) and name.lower() in _OWN_HEADERS:
            raise InvalidRequest(f"the header {name!r} is set by the download itself")
    whole = Ask("GET", ELSEWHERE, url, None, headers, free, byte_stream=True)
    if provider is None:
        check_url(url)
        return whole
    found = provider_of(hub, provider)
    if "://" not in url.partition("?")[0]:
        check_characters(url)
        return whole._replace(provider=provider)
    check_url(url)
    base = hub.base_url(found, plan.account) or found.base_url
    if path := path_below(base, url):
        return whole._replace(provider=provider, path=path)
    return whole._replace(reach=provider)


def begin(part: PartialFile, call: Any, start: int) -> Body:
    """Prepares the file for an answer's body; with a reason in `Body.wrong` nothing is changed."""
    status, pairs = call.head
    headers = {name.lower(): value for name, value in pairs}
    plain = headers.get("content-encoding", "identity") in ("", "identity")
    told = headers.get("content-length", "") if plain else ""
    length = int(told) if told.isdecimal() else None
    if status == 206:
        return _begin_range(part, headers, start, plain, length)
    if status not in _WHOLE:
        why = "it is not ready yet; ask again later" if status == 202 else "that is not the file"
        return Body(f"the server answered with status {status}: {why}")
    part.begin(validator_of(headers) if plain else "", length)
    return Body(end=length)


def _begin_range(
    part: PartialFile, headers: Mapping[str, str], start: int, plain: bool, length: int | None
) -> Body:
    """`begin` for a 206: whatever of it does not fit says that it is of something else."""
    sent = headers.get("content-range", "")
    match = _CONTENT_RANGE.fullmatch(sent)
    if start == 0 or match is None:
        return Body("the server sent a range that was not asked for, or without a Content-Range")
    first, last = int(match[1]), int(match[2])
    total = part.total if match[3] == "*" else int(match[3])
    # RFC 9110, 14.4: last < first, and total <= last, are invalid and must not be recombined.
    if first != start or last < first or (total is not None and total <= last):
        return Body(f"the server sent {sent!r} where the bytes from {start} on were asked for")
    if part.total not in (None, total):
        return Body(f"the server sent {sent!r} of what had {part.total} bytes before")
    if not plain or length not in (None, last + 1 - first):
        return Body(f"the server sent {sent!r} with a body of another length")
    # It may leave out what If-Range has named. Where it does not, it must be the same: some servers
    # ignore If-Range and send a part of their new version.
    name = "etag" if part.validator.startswith('"') else "last-modified"
    if headers.get(name, part.validator) != part.validator:
        return Body("the server sent a range of another version")
    part.resume(start, total)
    return Body(end=last + 1)


def _whole_told(call: Any) -> int | None:
    """The length of the whole that a 416 tells."""
    for key, value in call.headers:
        if key.lower() == "content-range" and (match := _BEYOND.fullmatch(value)):
            return int(match[1])
    return None


def _recast(error: SluicewayError, kind: type[SluicewayError], message: str) -> SluicewayError:
    """The same failure as another class, in other words."""
    made = kind(message)
    vars(made).update({**vars(error), "message": made.message})
    return made


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
