"""What faults may be planned: only those that a server can play on what it speaks.

A fault that is played as another one, or not at all, makes a test pass that has tested nothing. So
a plan is checked when it is made; and what only the request can tell (a server with TLS speaks
HTTP/1.1 and HTTP/2) is checked when it comes: `misfit` is then answered with 400 and the reason.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence

from sluiceway.simulator.errors import ScriptError
from sluiceway.simulator.faults.exchange import bomb
from sluiceway.simulator.faults.table import FAULTS, H1, H1_TLS, H2_TLS, STANDING
from sluiceway.simulator.settings import combine, read_settings

FaultLike = str | Mapping[str, object]
HTTP_VERSIONS = ("auto", "1.1", "2")
_H2_SETTINGS = ("goaway", "refused_stream")  # the simulator's own faults that HTTP/1.1 has not
_ANYWHERE = (None, "status", "html_error")  # ... and those that need no provider's path


def spoken_over(tls: bool, http_version: str) -> tuple[str, ...]:
    """The protocols of table.py that clients may speak with such a server.

    In the clear "auto" is HTTP/1.1 for a plan, although prior knowledge is answered as well.
    """
    if http_version not in HTTP_VERSIONS:
        known = ", ".join(repr(one) for one in HTTP_VERSIONS)
        raise ScriptError(f"http_version={http_version!r} is none of {known}")
    if http_version == "2":
        return (H2_TLS,)  # in the clear, too: the same faults by prior knowledge
    if not tls:
        return (H1,)
    return (H1_TLS,) if http_version == "1.1" else (H1_TLS, H2_TLS)


def check_options(tls: bool, asks_client: bool, delay_s: float, streams_max: int) -> None:
    """ScriptError for options that contradict each other."""
    if asks_client and not tls:
        raise ScriptError("asks_client needs tls=True: certificates are shown in the handshake")
    if not (math.isfinite(delay_s) and delay_s >= 0):
        raise ScriptError(f"delay_s={delay_s!r} is no number of seconds, 0 or more")
    if streams_max < 0:
        raise ScriptError(f"streams_max={streams_max!r} is less than 0")


def checked(
    faults: Sequence[FaultLike], tls: bool, http_version: str, *, at_start: bool, has_port: bool
) -> list[FaultLike]:
    """The faults, or a ScriptError that names the one that cannot be played and says why."""
    over = spoken_over(tls, http_version)
    for place, fault in enumerate(faults):
        if isinstance(fault, Mapping):
            settings = combine(read_settings(fault))
            if settings.fault in _H2_SETTINGS and over in ((H1,), (H1_TLS,)):
                raise ScriptError(_needs_h2(str(settings.fault), tls))
            continue
        name: object = fault
        if not isinstance(name, str) or name not in FAULTS:
            raise ScriptError(f"no fault {fault!r}; known: {', '.join(FAULTS)}")
        if fault in STANDING and not (at_start and has_port and place == 0):
            raise ScriptError(
                f"{', '.join(STANDING)} decide how the server listens: only on a port, and as the"
                " first fault when it starts"
            )
        if why := _unplayable(fault, over, tls):
            raise ScriptError(why)
        if fault == "zip_bomb":
            bomb()  # now, not while somebody waits for it
    return list(faults) or ["none"]


def _unplayable(fault: str, over: tuple[str, ...], tls: bool) -> str:
    """Why none of the protocols plays the fault; "" where one does."""
    row = FAULTS[fault]
    if row.layer == "tls":
        return "" if tls else f"the fault {fault!r} is one of the TLS handshake: give tls=True"
    if row.layer == "connect" and row.over == (H1,):
        told = f"{fault!r} acts before a handshake; with TLS take 'tls_cut' or 'tls_reset'"
        return told if tls else ""
    if row.layer == "connect" or set(row.over) & set(over):
        return ""
    if H2_TLS in row.over:
        return _needs_h2(fault, tls)
    return f"the fault {fault!r} exists on HTTP/1.1 only: give http_version='1.1' or leave it out"


def _needs_h2(fault: str, tls: bool) -> str:
    if tls:
        return f"the fault {fault!r} exists on HTTP/2 only: leave http_version out, or give '2'"
    return (
        f"the fault {fault!r} exists on HTTP/2 only: give tls=True, or http_version='2' for clients"
        " with prior knowledge"
    )


def misfit(fault: FaultLike, protocol: str, tls: bool, of_provider: bool) -> str:
    """Why a fault cannot be played for a request that has come; "" where it can.

    `protocol` is "h1" or "h2", `of_provider` whether the path is a simulated provider's.
    """
    if isinstance(fault, Mapping):
        name = combine(read_settings(fault)).fault
        if name in _H2_SETTINGS and protocol == "h1":
            return f"the fault {name!r} exists on HTTP/2 only; this request came over HTTP/1.1"
        if not of_provider and name not in _ANYWHERE:
            return (
                f"the setting fault={name!r} is the simulation's: it needs a path below"
                f" base_url(...), or take {name!r} from FAULTS"
            )
        return ""
    here = H2_TLS if protocol == "h2" else H1_TLS if tls else H1
    if here in FAULTS[fault].over:
        return ""
    spoken, needed = ("HTTP/2", "HTTP/1.1") if protocol == "h2" else ("HTTP/1.1", "HTTP/2")
    return f"the fault {fault!r} exists on {needed} only; this request came over {spoken}"
