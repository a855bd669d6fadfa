"""What a user would pick instead, as measured clients on the same work; see common.py.

Each sends the same bytes, or what its API makes of the same request, and parses the answer in its
own way. The streams read --events deltas a call, from a --url that has "stream" in it. Ours has
limits, a budget and a ledger under it and these have none; they are compared as they are.
"""

from __future__ import annotations

import importlib.metadata
import json
import os
import ssl
import sys
from typing import Any

from benchmarks.python.clients import common
from benchmarks.python.clients.common import Meter, One, require

CLIENTS = ("aiohttp", "httpx2", "pyreqwest", "openai", "litellm", "aiohttp_stream", "openai_stream")
HEADERS = {"Content-Type": "application/json", "Authorization": f"Bearer {common.KEY}"}
DELTA = " water"


def right(answer: Any) -> bool:
    """Looks at a parsed answer, as a user would for its cost."""
    return bool(answer["usage"]["total_tokens"] == common.TOTAL_TOKENS)


class Run:
    """One peer and its meter."""

    def __init__(self) -> None:
        self.args = common.arguments(CLIENTS)
        self.url = self.args.url + "/chat/completions"
        self.post = common.post_bytes(self.args.post_bytes)
        self.meter = Meter()
        self.version = ""

    def trust(self) -> ssl.SSLContext:
        """The clients' own default, with the server's certificate where there is one."""
        return ssl.create_default_context(cafile=self.args.cacert or None)

    async def measure(self, one: One) -> None:
        """One checked call, the warm-up, the metered calls."""
        args, meter = self.args, self.meter
        require(await one(), "the first call")
        await common.fan_out(one, args.warm, args.in_flight, meter)
        meter.start()
        await common.fan_out(one, args.calls, args.in_flight, meter)
        meter.lap()
        meter.stop()

    async def aiohttp(self) -> None:
        """aiohttp and the standard json."""
        import aiohttp

        self.version = f"aiohttp {aiohttp.__version__}"
        connector = aiohttp.TCPConnector(limit=0, ssl=self.trust())
        async with aiohttp.ClientSession(connector=connector) as session:

            async def one() -> bool:
                async with session.post(self.url, data=self.post, headers=HEADERS) as response:
                    return right(json.loads(await response.read()))

            await self.measure(one)

    async def aiohttp_stream(self) -> None:
        """Lines of an SSE stream split by hand, each read with json: no limits, no price."""
        import aiohttp

        self.version = f"aiohttp {aiohttp.__version__}"
        connector = aiohttp.TCPConnector(limit=0)
        body = json.dumps({**common.body_of(common.PROMPT), "stream": True}).encode()
        timeout = aiohttp.ClientTimeout(total=600)
        async with aiohttp.ClientSession(connector=connector, timeout=timeout) as session:

            async def one() -> bool:
                count = 0
                async with session.post(self.url, data=body, headers=HEADERS) as response:
                    async for line in response.content:
                        if line.startswith(b"data: ") and line != b"data: [DONE]\n":
                            choices = json.loads(line[6:])["choices"]
                            count += bool(choices) and choices[0]["delta"]["content"] == DELTA
                return bool(count == self.args.events)

            await self.measure(one)

    async def httpx2(self) -> None:
        """httpx2 with its own JSON; HTTP/2 with --http2."""
        import httpx2

        self.version = f"httpx2 {httpx2.__version__}"
        limits = httpx2.Limits(max_connections=None, max_keepalive_connections=None)
        http2: bool = self.args.http2
        async with httpx2.AsyncClient(
            limits=limits, timeout=60, http2=http2, http1=not http2, verify=self.trust()
        ) as client:

            async def one() -> bool:
                response = await client.post(self.url, content=self.post, headers=HEADERS)
                return right(response.json())

            await self.measure(one)

    async def pyreqwest(self) -> None:
        """pyreqwest, a Rust client."""
        from pyreqwest.client import ClientBuilder  # type: ignore[import-not-found, unused-ignore]

        self.version = f"pyreqwest {importlib.metadata.version('pyreqwest')}"
        async with ClientBuilder().error_for_status(True).build() as client:

            async def one() -> bool:
                request = client.post(self.url).headers(HEADERS).body_bytes(self.post).build()
                return right(await (await request.send()).json())

            await self.measure(one)

    def _openai(self) -> Any:
        import openai

        self.version = f"openai {openai.__version__}"
        return openai.AsyncOpenAI(api_key=common.KEY, base_url=self.args.url, max_retries=0)

    async def openai(self) -> None:
        """The openai SDK, typed answers."""
        client = self._openai()
        request = common.body_of(common.PROMPT)

        async def one() -> bool:
            answer = await client.chat.completions.create(**request)
            return bool(answer.usage.total_tokens == common.TOTAL_TOKENS)

        await self.measure(one)

    async def openai_stream(self) -> None:
        """The openai SDK's stream of typed chunks."""
        client = self._openai()
        request = {**common.body_of(common.PROMPT), "stream": True}

        async def one() -> bool:
            count = 0
            async for chunk in await client.chat.completions.create(**request):
                count += bool(chunk.choices) and chunk.choices[0].delta.content == DELTA
            return bool(count == self.args.events)

        await self.measure(one)

    async def litellm(self) -> None:
        """LiteLLM's acompletion, with its price look-up."""
        import litellm  # type: ignore[import-not-found, unused-ignore]

        litellm.suppress_debug_info = True
        self.version = f"litellm {importlib.metadata.version('litellm')}"
        request = {**common.body_of(common.PROMPT), "model": f"openai/{common.MODEL}"}

        async def one() -> bool:
            answer = await litellm.acompletion(
                **request, api_key=common.KEY, api_base=self.args.url
            )
            return bool(answer.usage.total_tokens == common.TOTAL_TOKENS)

        await self.measure(one)

    def main(self) -> None:
        """The run, from the check to the line."""
        with common.or_absent():
            common.run_loop(getattr(self, self.args.client), self.args.uvloop)
        self.meter.report(self.args.calls, self.version)
        sys.stdout.flush()
        os._exit(0)  # pyreqwest 0.15 aborts now and then while the interpreter ends


if __name__ == "__main__":
    Run().main()
