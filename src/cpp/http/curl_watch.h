// What libcurl tells only in its log: the server's stream limit, and a stream that was not
// processed.
//
// HTTP/2 has two facts that we need and that libcurl has no call for. How many streams a server
// takes (SETTINGS_MAX_CONCURRENT_STREAMS): what is sent beyond it is refused. And whether a request
// ended by REFUSED_STREAM, or lay above a GOAWAY's last stream (RFC 9113, sections 8.7 and 6.8):
// then it was not processed and may be sent again, while the same end of a transfer by a broken
// connection is in doubt. Both stand in the library's own log lines, which this reads; a line that
// is not understood changes nothing, and the transfer then counts as in doubt.
//
// Two depths. Lines: a transfer's own few, of which "OPENED stream" (the number, after which the
// log is muted for the rest of the turn, since it would repeat the request's headers) and "received
// GOAWAY" matter; they cost little, and every transfer of HTTP/2 has them. Frames: the trace of
// everything, some 50 lines and 120,000 instructions a call (callgrind), so only while a transfer
// may meet a connection whose settings were not read yet, until its answer begins, and for some
// minutes after a connection broke. The trace is switched for the whole process and heard only by
// transfers that are watched.
//
// Lines quote header fields, so only the beginning of a line counts, where no server's text can
// stand. Engine thread only, but trace_frames (any). Source: libcurl 8.14.1 lib/http2.c and
// lib/vtls/vtls.c, read and seen; other releases from 8.5 on write the same lines or are not
// understood.
#pragma once

#include <string_view>

#include "http/poller.h"

namespace sluiceway::http {

struct Transfer;

// Takes one line of the log, about this transfer or its connection.
void read_library_line(Transfer& transfer, std::string_view line);

// The server of this connection, which stands, takes so many streams.
void settings_read(Poller::Entry& entry, int streams);

// Counts who wants every frame; the trace is on while somebody does.
void trace_frames(bool wanted);
// In the child of a fork, whose transfers are all gone.
void forget_traces();

}  // namespace sluiceway::http
