"""A server that fails on command, for tests: it drops, resets, stalls, lies, and counts.

    from sluiceway.simulator.faults import FaultServer

    with FaultServer("drop_after") as s:                 # every request
        gw = Gateway({"accounts": {"openai": {"default": {"base_url": s.base_url("openai")}}}})
        ...
        assert s.executions == 1

    FaultServer("tls_cut", "none", tls=True)             # the first connection, then all goes well
    FaultServer({"fault": "status", "status": 503})      # the simulator's own settings
    s.set("reset_body", "none")                          # at any time

It serves on loopback, HTTP/1.1 and (by ALPN or prior knowledge) HTTP/2, any path: a simulated
provider's below `s.base_url(provider)`, a small JSON body elsewhere. `FAULTS` lists what it can do;
what a gateway makes of each is in docs/reference/outcomes.md. A fault is used up by the connection
or request that it meets, and the last one stays. One that the server cannot play is a ScriptError
when it is planned. One that does not fit the request that it meets (a server with TLS speaks
HTTP/1.1 and HTTP/2) is answered with status 400 and the reason. Slow name look-ups cannot be had on
loopback. TLS and HTTP/2 need `pip install 'sluiceway[simulator]'`.

From a shell: `python -m sluiceway.simulator.faults drop_after none`. One thread of its own; closing
is idempotent. Memory: 200 bytes and the body for each request seen.
"""

from __future__ import annotations

import asyncio
from types import TracebackType
from typing import Self

from sluiceway.simulator.app import BASE_PATHS
from sluiceway.simulator.errors import SimulatorError
from sluiceway.simulator.faults.plan import FaultLike
from sluiceway.simulator.faults.server import FaultCore, Seen
from sluiceway.simulator.faults.table import FAULTS, PROTOCOLS, Fault
from sluiceway.simulator.loop_thread import LoopThread

__all__ = ["FAULTS", "PROTOCOLS", "Fault", "FaultServer", "Seen"]


class FaultServer:
    """A running fault server; a context manager."""

    def __init__(
        self,
        *faults: FaultLike,
        tls: bool = False,
        http_version: str = "auto",
        port: int = 0,
        unix_socket: str = "",
        streams_max: int = 0,
        asks_client: bool = False,
        delay_s: float = 0.02,
        seed: int = 0,
    ) -> None:
        """Starts, and returns when it listens.

        `http_version`: "auto" is HTTP/1.1 in the clear, and with TLS what the client takes; "1.1"
        and "2" offer that one only ("2" in the clear: clients need prior knowledge), so that a plan
        for the other is refused. `unix_socket` is a path to listen on instead of a port; the URL is
        then http://localhost. `streams_max` is what HTTP/2 announces (0: 1,000); streams beyond it
        are refused. `asks_client`: with TLS, clients need the certificate in `client_file`.
        `delay_s` is the pause inside a fault, and how long "slow_accept" waits. Raises ScriptError
        for a fault that is not known or cannot be played here, StartError, MissingExtraError.
        """
        self._core = FaultCore(
            faults,
            tls=tls,
            http_version=http_version,
            port=port,
            unix_socket=unix_socket,
            streams_max=streams_max,
            asks_client=asks_client,
            delay_s=delay_s,
            seed=seed,
        )
        self._thread = LoopThread("sluiceway-faults", "fault server", self._start, self._core.stop)

    async def _start(self) -> None:
        # Connections that break under our hands are this server's business, not news.
        asyncio.get_running_loop().set_exception_handler(lambda loop, context: None)
        await self._core.start()

    @property
    def url(self) -> str:
        """Where it listens, without a path."""
        return self._core.url

    def base_url(self, provider: str) -> str:
        """The base URL of a simulated provider ("openai", "deepseek", "anthropic")."""
        if provider not in BASE_PATHS:
            known = ", ".join(BASE_PATHS)
            raise SimulatorError(f"no simulated provider {provider!r}; known: {known}")
        return self.url + BASE_PATHS[provider]

    @property
    def ca_file(self) -> str:
        """What clients trust, PEM; empty without TLS."""
        return self._core.ca_file

    @property
    def client_file(self) -> str:
        """With `asks_client`, a client's certificate and key in one PEM file."""
        return self._core.client_file

    @property
    def executions(self) -> int:
        """How many requests were executed: what a provider would charge for."""
        return sum(seen.executed for seen in self.seen)

    @property
    def billed_nanousd(self) -> int:
        """What the simulated providers charge for it, in nano-dollars."""
        return self._core.billed_nanousd

    @property
    def requests(self) -> int:
        """How many requests were read whole."""
        return len(self._core.seen)

    @property
    def connections(self) -> int:
        """How many TCP connections were accepted."""
        return self._core.connections

    @property
    def seen(self) -> list[Seen]:
        """Every request that was read whole, in order."""
        return list(self._core.seen)

    def set(self, *faults: FaultLike) -> None:
        """What happens from now on; no fault means none. ScriptError for what cannot be played."""
        self._core.set(faults)

    def close(self) -> None:
        """Stops the server. Safe to call twice."""
        self._thread.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.close()
