// The real transport: libcurl (8.5 or newer) driven by our own epoll, on the caller's thread.
//
// Model. Transfers of an origin wait in our own queue for a place (a connection with HTTP/1.1, a
// stream with HTTP/2); libcurl never queues. They are spread over several multi handles ("shards")
// of a few connections each, because libcurl searches a connection linearly; an HTTP/2 origin stays
// on one. Descriptors stay in the epoll set until libcurl closes them. A body goes through a read
// callback whose seek fails, and a second pass of libcurl's send state is refused: a paid request
// is never sent twice.
//
// Bounds: connections and streams per origin as in the options; about 8 kB a transfer, 20 kB a
// shard, 16 kB of received data held while paused. poll() costs O(ready descriptors + shards in
// use). Threads: one, see transport.h. Example:
//   auto transport = make_curl_transport({});
//   transport->start(1, &request, &sink);
//   while (!sink.ended) transport->poll(-1);
// Source: libcurl-multi(3), curl_multi_socket_action(3); measurements in docs/internals/http.md.
#pragma once

#include <cstddef>
#include <cstdint>
#include <memory>
#include <string>

#include "http/transport.h"

namespace sluiceway::http {

struct CurlTransportOptions {
  int connections_per_origin_max = 1024;  // HTTP/1.1
  int h2_connections_per_origin_max = 8;
  int streams_per_connection_max =
      100;                    // HTTP/2; the server's own lower limit is obeyed by libcurl
  int shards_max = 32;        // multi handles, 1 to 64; made when needed
  int shard_connections = 8;  // fill a shard so far before the next is taken
};

// Null only where epoll or an eventfd cannot be made (no descriptors left).
std::unique_ptr<Transport> make_curl_transport(const CurlTransportOptions& options = {});

// "libcurl/8.14.1 OpenSSL/3.5.1 ... nghttp2/1.64.0"; for reports.
std::string curl_version_text();

}  // namespace sluiceway::http
