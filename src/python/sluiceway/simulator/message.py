"""The request as a connection has read it, and the reply as a connection shall play it.

Both are free of any HTTP version. What a reply costs has been decided and logged before it is
played; what is left for the connection is its `wire_fault`:

    None            a whole answer
    "drop"          close without a byte (h2: RST_STREAM)
    "stall"         never a byte
    "cut"           what there is, then an unclean end (h1: close, h2: RST_STREAM)
    "short"         `declared_length` promises more than `body` has, then a clean end
    "hang"          what there is, then nothing more
    "drip"          in small pieces, slowly
    "goaway"        h2: GOAWAY that refuses this stream
    "goaway_after"  h2: GOAWAY, then the whole answer
    "refused"       h2: RST_STREAM(REFUSED_STREAM)

Bounds: a reply holds its body, or an iterator that makes its events as they are sent.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Iterator
from dataclasses import dataclass
from typing import TYPE_CHECKING

from sluiceway.simulator.settings import DEFAULTS, Settings

if TYPE_CHECKING:
    from sluiceway.simulator.player import Wire

Headers = list[tuple[str, str]]


@dataclass(slots=True)
class Request:
    """One whole request. Header names are lower case; a repeated header is joined by commas."""

    method: str
    path: str
    query: str
    headers: dict[str, str]
    body: bytes
    protocol: str  # "h1" | "h2"


@dataclass(slots=True)
class Reply:
    """One answer. `events` is None for a whole body; then `body` is it."""

    status: int
    headers: Headers
    body: bytes = b""
    events: Iterator[bytes] | None = None
    chunked: bool = False  # h1: a whole body without Content-Length
    declared_length: int | None = None
    wire_fault: str | None = None
    settings: Settings = DEFAULTS
    latency_s: float = 0.0
    event_s: Callable[[], float] | None = None  # draws the time before the next event
    head_events: int = 0  # events before the first delta; neither they nor the
    delta_events: int = 0  # events after the deltas wait for `event_s`
    keep_alive: bytes = b""  # what is sent while the answer is not ready yet
    # Called with the number of events sent when the client left before the end.
    abandoned: Callable[[int], None] | None = None
    # Plays the answer in place of the player: a fault of the fault server (see faults/).
    perform: Callable[[Wire], Awaitable[None]] | None = None

    @property
    def is_immediate(self) -> bool:
        """Whether the whole answer can be written at once, without waiting for anything."""
        return (
            self.wire_fault is None
            and self.perform is None
            and self.events is None
            and self.latency_s == 0.0
            and not self.settings.keep_alive
        )
