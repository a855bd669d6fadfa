"""`gw.raw`: what we have not modelled, through the same pipeline.

Model: a method, a provider and a path. The call passes limits, breaker, budget and ledger like any
other. Its cost has no ceiling that we could know, so it needs `max_cost_usd` (which is reserved) or
`free=True` (an operation that costs nothing and may be executed twice, such as a poll). Where the
body names a model with a known price and the answer reports usage, the true cost is settled; where
the usage does not hold all that is billed (_told.py), the call stays in doubt at its cap. A cap of
0 and both words at once are an InvalidRequest.

    gw.raw.post("openai", "/v1/embeddings", json={...}, max_cost_usd="0.01")
    gw.raw.get("openai", "/v1/models", free=True)
    gw.raw.post("openai", "/v1/audio/transcriptions", data={"model": "whisper-1"},
                files={"file": Path("talk.wav")}, max_cost_usd="0.20")
    with gw.raw.stream("POST", "openai", "/v1/audio/speech", json={...}, max_cost_usd="0.10") as s:
        for chunk in s: play(chunk)
    gw.raw.download("https://cdn.example/v.mp4", "v.mp4", on_progress=print)

A body is one of `json` (a dict, a list, or ready bytes), `content` (bytes, a text, a path or an
open file), `data` (a form's fields) and `files` (multipart, with the fields of `data`). Files are
read while they are sent, whatever their size; see _upload.py. The path is joined to the provider's
base URL; a leading part that both have, such as "/v1", counts once. Answers of the plain verbs are
held in memory, at most 64 MiB. Errors are the same as for chat.
"""

from __future__ import annotations

import os
from typing import TYPE_CHECKING, Any

from sluiceway._download import RawDownload
from sluiceway._download_steps import Progress
from sluiceway._raw_steps import Ask, Headers, raw_steps
from sluiceway._raw_stream import AsyncRawStream, RawStream
from sluiceway._steps import run, run_async
from sluiceway.config import nearest
from sluiceway.errors import InvalidRequest, InvalidType
from sluiceway.options import Money, Plan
from sluiceway.providers.dialects.encoding import words
from sluiceway.types import DownloadResult, RawResult

if TYPE_CHECKING:
    from sluiceway._hub import Hub
    from sluiceway._upload import Upload

_OPTIONS = words(
    "timeout_s pool_timeout_s connect_timeout_s read_timeout_s write_timeout_s tenant account"
    " idempotency_key priority retry"
)


class _Raw:
    __slots__ = ("_hub", "_plan")

    def __init__(self, hub: Hub, plan: Plan) -> None:
        self._hub = hub
        self._plan = plan

    def _plan_of(
        self, options: dict[str, Any], max_cost_usd: Money | None, free: bool = False
    ) -> Plan:
        if free and max_cost_usd is not None:
            raise InvalidRequest(
                "free=True and max_cost_usd are both given: an operation that costs nothing has no"
                " cap; give one"
            )
        for name in options:
            if name not in _OPTIONS:
                raise InvalidType(f"there is no option {name!r}{nearest(name, _OPTIONS)}")
        if max_cost_usd is not None:
            options["max_cost_usd"] = max_cost_usd
        return self._plan.with_options(options, self._hub.variants) if options else self._plan

    def _download(
        self,
        url: str,
        path: str | os.PathLike[str],
        provider: str | None,
        max_cost_usd: Money | None,
        headers: Headers | None,
        resumes: int,
        on_progress: Progress | None,
        options: dict[str, Any],
    ) -> RawDownload:
        if options.get("timeout_s") is None:
            options["timeout_s"] = RawDownload.TIMEOUT_S
        if options.get("read_timeout_s") is None and "read_timeout_s" not in self._plan.submit:
            options["read_timeout_s"] = RawDownload.READ_TIMEOUT_S
        plan = self._plan_of(options, max_cost_usd)
        return RawDownload(
            self._hub,
            plan,
            url,
            path,
            provider,
            max_cost_usd is None,
            headers,
            resumes,
            on_progress,
        )


def ask_of(method: Any, provider: str, path: str, given: dict[str, Any]) -> Ask:
    """Takes what is the request's out of the keywords; the options stay."""
    method = method.upper() if isinstance(method, str) else method
    json, headers = given.pop("json", None), given.pop("headers", None)
    free = given.pop("free", False)
    content, data, files = (given.pop(name, None) for name in ("content", "data", "files"))
    if content is None and data is None and files is None:
        return Ask(method, provider, path, json, headers, free)

    def upload() -> Upload | None:
        from sluiceway._upload import upload_of

        return upload_of(content, data, files)

    fields = data if isinstance(data, dict) else None
    return Ask(method, provider, path, json, headers, free, upload, fields)


class RawCalls(_Raw):
    """The blocking twin of `gw.raw`."""

    __slots__ = ()

    def request(
        self,
        method: str,
        provider: str,
        path: str,
        *,
        json: Any = None,
        content: Any = None,
        data: Any = None,
        files: Any = None,
        max_cost_usd: Money | None = None,
        free: bool = False,
        headers: Headers | None = None,
        **options: Any,
    ) -> RawResult:
        """Any method. Options: timeouts, tenant, account, idempotency_key, priority, retry."""
        body = {"json": json, "content": content, "data": data, "files": files}
        ask = ask_of(method, provider, path, {**body, "free": free, "headers": headers})
        return run(raw_steps(self._hub, self._plan_of(options, max_cost_usd, free), ask))

    def get(self, provider: str, path: str, **options: Any) -> RawResult:
        """GET; most are `free=True`."""
        return self.request("GET", provider, path, **options)

    def post(self, provider: str, path: str, **options: Any) -> RawResult:
        """POST."""
        return self.request("POST", provider, path, **options)

    def put(self, provider: str, path: str, **options: Any) -> RawResult:
        """PUT."""
        return self.request("PUT", provider, path, **options)

    def patch(self, provider: str, path: str, **options: Any) -> RawResult:
        """PATCH."""
        return self.request("PATCH", provider, path, **options)

    def delete(self, provider: str, path: str, **options: Any) -> RawResult:
        """DELETE."""
        return self.request("DELETE", provider, path, **options)

    def stream(
        self,
        method: str,
        provider: str,
        path: str,
        *,
        max_cost_usd: Money | None = None,
        **options: Any,
    ) -> RawStream:
        """The answer's bytes as they come: an iterator and a context manager. Takes what `request`
        takes; a slow reader holds the transfer back, leaving early cancels it."""
        ask = ask_of(method, provider, path, options)
        return RawStream(self._hub, self._plan_of(options, max_cost_usd, ask.free), ask)

    def download(
        self,
        url: str,
        path: str | os.PathLike[str],
        *,
        provider: str | None = None,
        max_cost_usd: Money | None = None,
        headers: Headers | None = None,
        resumes: int = RawDownload.RESUMES,
        on_progress: Progress | None = None,
        **options: Any,
    ) -> DownloadResult:
        """Gets `url` into the file `path`, piece by piece, and goes on where it broke off.

        `url` is absolute, or with `provider` a path of its API, which gets the key. An absolute URL
        is reached as the provider's account says, without its key, or with [accounts.url]; it gets
        the key only with `provider` and below its base URL. What is there
        before the end is in `path` + ".part". Free unless `max_cost_usd` is stated; only what is
        free is asked for again by itself, at most `resumes` times. Default timeouts: an hour, and
        30 s of silence. Raises InvalidResponse for an answer that is no file (202: not ready yet),
        does not fit or leads nowhere, FileError, and the errors of any call.
        """
        return self._download(
            url, path, provider, max_cost_usd, headers, resumes, on_progress, options
        ).run()


class AsyncRawCalls(_Raw):
    """The asyncio twin of `gw.raw`."""

    __slots__ = ()

    async def request(
        self,
        method: str,
        provider: str,
        path: str,
        *,
        json: Any = None,
        content: Any = None,
        data: Any = None,
        files: Any = None,
        max_cost_usd: Money | None = None,
        free: bool = False,
        headers: Headers | None = None,
        **options: Any,
    ) -> RawResult:
        """Any method. Options: timeouts, tenant, account, idempotency_key, priority, retry."""
        body = {"json": json, "content": content, "data": data, "files": files}
        ask = ask_of(method, provider, path, {**body, "free": free, "headers": headers})
        return await run_async(
            raw_steps(self._hub, self._plan_of(options, max_cost_usd, free), ask)
        )

    async def get(self, provider: str, path: str, **options: Any) -> RawResult:
        """GET; most are `free=True`."""
        return await self.request("GET", provider, path, **options)

    async def post(self, provider: str, path: str, **options: Any) -> RawResult:
        """POST."""
        return await self.request("POST", provider, path, **options)

    async def put(self, provider: str, path: str, **options: Any) -> RawResult:
        """PUT."""
        return await self.request("PUT", provider, path, **options)

    async def patch(self, provider: str, path: str, **options: Any) -> RawResult:
        """PATCH."""
        return await self.request("PATCH", provider, path, **options)

    async def delete(self, provider: str, path: str, **options: Any) -> RawResult:
        """DELETE."""
        return await self.request("DELETE", provider, path, **options)

    def stream(
        self,
        method: str,
        provider: str,
        path: str,
        *,
        max_cost_usd: Money | None = None,
        **options: Any,
    ) -> AsyncRawStream:
        """See `RawCalls.stream`; `async with`, `async for`, `await s.result()`."""
        ask = ask_of(method, provider, path, options)
        return AsyncRawStream(self._hub, self._plan_of(options, max_cost_usd, ask.free), ask)

    async def download(
        self,
        url: str,
        path: str | os.PathLike[str],
        *,
        provider: str | None = None,
        max_cost_usd: Money | None = None,
        headers: Headers | None = None,
        resumes: int = RawDownload.RESUMES,
        on_progress: Progress | None = None,
        **options: Any,
    ) -> DownloadResult:
        """See `RawCalls.download`; the file is written in a thread."""
        return await self._download(
            url, path, provider, max_cost_usd, headers, resumes, on_progress, options
        ).run_async()
