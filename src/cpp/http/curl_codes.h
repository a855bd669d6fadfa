// The one place where the library's result codes become TransferError.
#pragma once

#include "http/transport.h"

namespace sluiceway::http {

// `curl_code` is a CURLcode. `request_started`: the request may have left, which tells a broken
// handshake from a broken answer. `resolved`: the name lookup was over (for time-outs).
TransferError transfer_error_of(int curl_code, bool request_started, bool resolved);

}  // namespace sluiceway::http
