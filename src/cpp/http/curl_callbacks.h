// What libcurl calls during a transfer: the body out of the request, data to the sink, sockets into
// the poller, and the proof of what was sent. They run inside the library, on the engine thread (or
// on the one that has its turn), and never throw.
#pragma once

namespace sluiceway::http {

struct Transfer;

// For the life of its handle.
void set_callbacks(Transfer& transfer);
// Whether the sink hears of the head when it is whole, and not with the first bytes of the body.
void call_back_at_head(Transfer& transfer, bool at_once);

}  // namespace sluiceway::http
