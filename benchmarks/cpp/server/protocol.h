// HTTP of one connection of the benchmark server: bytes in, bytes out, no socket.
//
// Model: `receive` takes what the client sent and appends answers to `out`; whoever owns the socket
// sends `out` and says how much of it has gone. A stream whose events are spaced in time asks for
// ticks through `wants_ticks` and adds one event at each `tick`. No protocol of the two is a proof
// of anything but speed: HTTP/1.1 trusts Content-Length and knows no other framing. One thread.
// Memory: what does not fit into the socket, and 300 B (HTTP/1.1) or nghttp2's session (HTTP/2).
//
//   auto protocol = make_http1(answers, /*spaced=*/false);
//   if (!protocol->receive(bytes)) close(fd);
#pragma once

#include <memory>
#include <string>
#include <string_view>

#include "answers.h"

namespace sluiceway::bench {

class Protocol {
 public:
  virtual ~Protocol() = default;
  // False: the client broke the protocol, the connection has to go.
  virtual bool receive(std::string_view bytes) = 0;
  // The next event of a spaced stream; false when that was its last, or there is none.
  virtual bool tick() { return false; }

  std::string out;
  bool wants_ticks = false;  // a spaced stream has begun; whoever starts the timer clears it
};

// HTTP/1.1. `spaced`: the events of a stream come one by one with `tick`, else all at once.
std::unique_ptr<Protocol> make_http1(const Answers& answers, bool spaced);
// HTTP/2 through nghttp2, 100 streams at a time as large providers have it; events all at once.
std::unique_ptr<Protocol> make_http2(const Answers& answers);

}  // namespace sluiceway::bench
