"""Decides which HTTP version a fresh connection speaks, then hands it over.

On TLS the decision is ALPN's. In the clear the first bytes decide: the preface of RFC 9113 section
3.4 means HTTP/2 with prior knowledge, everything else is HTTP/1.1.
"""

from __future__ import annotations

import asyncio
from typing import cast

from sluiceway.simulator.extras import has_h2
from sluiceway.simulator.server_h1 import Connection, H1Connection, Handler

_PREFACE = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n"


class Listener(Connection):
    """The first protocol of every connection; it replaces itself."""

    def __init__(
        self, handler: Handler, connections: set[Connection], streams_max: int = 0
    ) -> None:
        """`streams_max` above 0 is HTTP/2's limit of streams, see server_h2.py."""
        self._handler = handler
        self._connections = connections
        self._streams_max = streams_max
        self._transport: asyncio.Transport | None = None
        self._seen = b""

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Asks ALPN, where there is TLS."""
        self._transport = cast(asyncio.Transport, transport)
        self._connections.add(self)
        tls = transport.get_extra_info("ssl_object")
        if tls is not None:
            self._hand_over(tls.selected_alpn_protocol() == "h2")

    def connection_lost(self, exc: Exception | None) -> None:
        """The client left before it said anything."""
        self._connections.discard(self)

    def data_received(self, data: bytes) -> None:
        """Looks at the first bytes of a connection in the clear."""
        self._seen += data
        start = self._seen[: len(_PREFACE)]
        if start == _PREFACE[: len(start)] and len(start) < len(_PREFACE):
            return
        self._hand_over(start == _PREFACE)

    def _hand_over(self, is_h2: bool) -> None:
        assert self._transport is not None
        self._connections.discard(self)
        if is_h2 and not has_h2():
            self._transport.close()
            return
        successor: Connection
        if is_h2:
            from sluiceway.simulator.server_h2 import H2Connection

            more = (self._streams_max,) if self._streams_max > 0 else ()
            successor = H2Connection(self._handler, self._connections, *more)
        else:
            successor = H1Connection(self._handler, self._connections)
        self._transport.set_protocol(successor)
        successor.connection_made(self._transport)
        if self._seen:
            successor.data_received(self._seen)

    def abort(self) -> None:
        """Closes at once."""
        if self._transport is not None:
            self._transport.abort()
