"""What the fault server can do wrong: one row a fault.

`layer` says when a fault acts: "connect" and "tls" take a whole connection, "exchange" one request
and its answer. `over` names the protocols on which it exists, `executed` whether the server has
executed (and would charge) the request by then. What a gateway is to make of each, and whether it
is billed, stands in the core's own table (`sluiceway._core.fault_rows()`,
docs/reference/outcomes.md); a test compares the names.
"""

from __future__ import annotations

from dataclasses import dataclass

H1, H1_TLS, H2_TLS = "h1", "h1-tls", "h2-tls"
PROTOCOLS = (H1, H1_TLS, H2_TLS)
_ANY_H1 = (H1, H1_TLS)
_TLS = (H1_TLS, H2_TLS)
_H2 = (H2_TLS,)


@dataclass(frozen=True, slots=True)
class Fault:
    """One fault."""

    name: str
    layer: str  # "connect" | "tls" | "exchange"
    over: tuple[str, ...]
    executed: bool
    text: str


def _rows() -> list[Fault]:
    connect = [
        ("connect_refused", PROTOCOLS, False, "nobody listens; only as the server's first fault"),
        ("connect_hang", PROTOCOLS, False, "the queue of connections is full; only as the first"),
        ("slow_accept", PROTOCOLS, True, "nothing is read for `delay_s`, then all goes well"),
        ("close_at_accept", (H1,), False, "closes with the request there, unread"),
        ("reset_at_accept", (H1,), False, "RST with the request there, unread"),
    ]
    tls = [
        ("tls_expired", _TLS, False, "the certificate ran out yesterday"),
        ("tls_wrong_host", _TLS, False, "the certificate is another host's"),
        ("tls_untrusted", _TLS, False, "the certificate is of an authority nobody knows"),
        ("tls_not_tls", _TLS, False, "answers the handshake in plain HTTP"),
        ("tls_cut", _TLS, False, "closes in the middle of the handshake"),
        ("tls_reset", _TLS, False, "RST in the middle of the handshake"),
        ("tls_stall", _TLS, False, "never answers the handshake"),
    ]
    exchange = [
        ("none", PROTOCOLS, True, "a whole answer"),
        ("drop_before", PROTOCOLS, False, "read, not executed, closed (h2: RST_STREAM)"),
        ("drop_after", PROTOCOLS, True, "executed, then closed without a byte (h2: RST_STREAM)"),
        ("reset_before", PROTOCOLS, False, "read, not executed, TCP RST"),
        ("reset_after", PROTOCOLS, True, "executed, then TCP RST without a byte"),
        ("stall_before", PROTOCOLS, False, "not executed and never answered"),
        ("stall_after", PROTOCOLS, True, "executed and never answered"),
        ("cut_head", _ANY_H1, True, "half the head, then closed"),
        ("reset_head", _ANY_H1, True, "half the head, then TCP RST"),
        ("cut_body", PROTOCOLS, True, "Content-Length, half the body, closed (h2: END_STREAM)"),
        ("cut_chunked", PROTOCOLS, True, "chunks, half the body, closed (h2: RST_STREAM)"),
        ("cut_no_length", _ANY_H1, True, "a body that ends by closing, closed half-way"),
        ("no_length", _ANY_H1, True, "a whole body that ends by closing (HTTP/1.0's way)"),
        ("reset_body", PROTOCOLS, True, "half the body, then TCP RST"),
        ("stall_body", PROTOCOLS, True, "half the body, then nothing more"),
        ("drip", PROTOCOLS, True, "a whole answer, a few bytes at a time"),
        ("bad_chunk", _ANY_H1, True, "a chunk whose size is no number"),
        ("huge_chunk", _ANY_H1, True, "a chunk whose size overflows"),
        ("bad_length", _ANY_H1, True, "a Content-Length that is no number"),
        ("two_lengths", _ANY_H1, True, "two Content-Lengths that contradict each other"),
        ("not_http", _ANY_H1, True, "the greeting of another protocol"),
        ("nul_header", _ANY_H1, True, "a NUL in a header"),
        ("huge_headers", PROTOCOLS, True, "400 kB of headers"),
        ("interim", PROTOCOLS, True, "103 Early Hints, then the answer"),
        ("endless_interim", _ANY_H1, True, "103 Early Hints for ever"),
        ("endless_body", _ANY_H1, True, "chunks for ever"),
        ("extra_answer", _ANY_H1, True, "a second answer that nobody asked for behind the first"),
        ("zip_bomb", PROTOCOLS, True, "100 MB in 100 kB of gzip"),
        ("not_json", PROTOCOLS, True, "a 200 whose body does not parse"),
        ("redirect", PROTOCOLS, False, "307 to another origin"),
        ("rst_internal", _H2, True, "RST_STREAM(INTERNAL_ERROR)"),
        ("rst_cancel", _H2, True, "RST_STREAM(CANCEL)"),
        ("rst_no_error", _H2, True, "RST_STREAM(NO_ERROR) without an answer"),
        ("rst_calm", _H2, True, "RST_STREAM(ENHANCE_YOUR_CALM)"),
        ("rst_http11", _H2, True, "RST_STREAM(HTTP_1_1_REQUIRED)"),
        ("rst_refused", _H2, False, "RST_STREAM(REFUSED_STREAM): not processed (RFC 9113, 8.7)"),
        ("rst_body", _H2, True, "half the body, then RST_STREAM"),
        ("goaway_below", _H2, False, "GOAWAY with a last stream id below: not processed (6.8)"),
        ("goaway_above", _H2, True, "GOAWAY with a last stream id that covers it, then the answer"),
        ("goaway_drop", _H2, True, "GOAWAY that covers it, then closed without the answer"),
        ("bad_frame", _H2, True, "DATA on stream 0 instead of an answer"),
    ]
    return [
        Fault(name, layer, over, executed, text)
        for layer, rows in (("connect", connect), ("tls", tls), ("exchange", exchange))
        for name, over, executed, text in rows
    ]


FAULTS: dict[str, Fault] = {fault.name: fault for fault in _rows()}
# These decide how the server listens, so they cannot be changed while it runs.
STANDING = ("connect_refused", "connect_hang")
