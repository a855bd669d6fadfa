// The wire as an interface: transfers go in, answers come out through sinks, on one thread.
//
// curl_transport.h is the real one, fake_transport.h its scripted twin for the seeded simulation. A
// transfer is started with an id of the caller's and ends with exactly one on_end, unless it is
// cancelled. All deadlines but the pool's and the connect's are the caller's: it cancels. The
// transport never sends a paid request twice (docs/internals/call.md, "Wire").
//
// Threads: everything on the engine thread, but wake(); or, with open_while_waiting(), on whichever
// thread holds that mutex. Sink callbacks run inside poll() and visit(), where start, cancel, pause
// and resume may be called for any id; poll() and visit() themselves may not.
#pragma once

#include <cstdint>
#include <functional>
#include <mutex>
#include <optional>
#include <string>
#include <string_view>

#include "http/request.h"

namespace sluiceway::http {

enum class TransferError : std::uint8_t {
  kNone = 0,
  kInvalidRequest,  // the order itself: no URL, a header with a line break, a CA file that is not
                    // there
  kPoolTimeout,     // no place at the origin within pool_timeout_ns
  kResolve,         // DNS
  kConnect,         // TCP, or the whole connect took longer than connect_timeout_ns
  kTls,             // handshake or certificate
  kProxy,           // the proxy's name, handshake or refusal
  kSendOrReceive,   // the connection broke
  kNotRewindable,   // a reused connection died under a request that must not be sent again
  kPartialBody,     // the answer ended before its declared end
  kProtocol,        // not HTTP, bad chunking, an HTTP/2 error, RST_STREAM, GOAWAY
  kRefusedStream,   // HTTP/2's REFUSED_STREAM, or above a GOAWAY's last stream: not processed
  kTooLarge,        // response_bytes_max or header_bytes_max
  kBodyChanged,     // a file of the request's body is not as it was: it was not sent whole
  kInternal,        // out of memory or descriptors, a bug
};

std::string_view transfer_error_name(TransferError error);

// The answer's header fields. Valid during on_head only, and so are the views; names are compared
// without case. Interim answers (1xx) and trailers are left out.
class HeaderSource {
 public:
  virtual ~HeaderSource() = default;
  // The first field of that name.
  virtual std::optional<std::string_view> find(std::string_view name) const = 0;
  // The body's declared length in bytes, as it comes over the wire; below zero: not declared.
  virtual std::int64_t content_length() const { return -1; }
  // All fields in the order received.
  virtual void for_each(
      const std::function<void(std::string_view name, std::string_view value)>& visit) const = 0;
};

struct TransferEnd {
  TransferError error = TransferError::kNone;
  // False is a proof: no byte of the request left this machine. True says only that one may have.
  bool request_started = false;
  bool response_started = false;  // a final status line was read
  // The end of the answer was seen: Content-Length, last chunk, END_STREAM, or a status that has no
  // body. An HTTP/1.1 body that is ended by closing the connection is never complete.
  bool complete = false;
  bool connection_reused = false;
  int status = 0;        // 0: none read
  int http_version = 0;  // 10, 11, 20; 0: unknown
  std::string detail;    // for people; holds neither headers nor body
  // Since start(): until it was handed to a connection's search, until the connection stood (0 when
  // it was reused), until the first byte of the answer (0: none came), until the end.
  std::int64_t queued_ns = 0, connected_ns = 0, first_byte_ns = 0, total_ns = 0;
  std::uint64_t response_bytes = 0;  // of the body
};

class Sink {
 public:
  virtual ~Sink() = default;
  // At most once, before the first on_body and before an on_end with response_started.
  virtual void on_head(int status, const HeaderSource& headers) = 0;
  virtual void on_body(std::string_view data) = 0;  // valid during the call only
  virtual void on_end(const TransferEnd& end) = 0;
};

// Where a transfer stands with the bytes of its request.
struct Sending {
  bool started = false;  // the first byte may have left
  bool ended = false;    // the connection has taken all of them
  // When it last took one (CLOCK_MONOTONIC): since start(), or since it stood; 0: none yet. With
  // head_at_once also when the last line of the answer's head came.
  std::int64_t last_ns = 0;
};

template <typename Number>
struct TransportNumbers {
  Number transfers_started{};  // handed to the wire, not only queued
  Number transfers_ended{};
  Number transfers_cancelled{};
  Number connections_opened{};
  Number connections_reused{};  // transfers that ended on a connection opened earlier
  Number connections_open{};    // sockets now
  Number in_flight{};           // transfers handed to the wire and not ended
  Number queued{};              // transfers waiting for a place at their origin
  Number epoll_ctl_calls{};
  Number epoll_wait_calls{};
  Number resends_stopped{};  // the library wanted to send a paid request again
  Number streams_refused{};  // transfers that ended with kRefusedStream
  Number watchdog_runs{};
  Number watchdog_progress{};  // runs that moved something: a lost event, to be looked into
};
using TransportStats = TransportNumbers<std::uint64_t>;

class Transport {
 public:
  virtual ~Transport() = default;
  // `id` is not in use; request and sink outlive on_end or cancel(). Errors come through on_end,
  // from a later poll(), never from inside start().
  virtual void start(std::uint64_t id, Request* request, Sink* sink) = 0;
  // No sink call for `id` comes after it returns; unknown ids are ignored. Returns whether a byte
  // of the request may have been sent (false is a proof). The upstream transfer is stopped by the
  // next poll(): HTTP/1.1 closes the connection, HTTP/2 resets the stream.
  virtual bool cancel(std::uint64_t id) = 0;
  // Stops and continues the delivery of the body. Up to one read buffer (16 kB) may be held back
  // and is delivered after resume(). A paused transfer may still end with an error.
  virtual void pause(std::uint64_t id) = 0;
  virtual void resume(std::uint64_t id) = 0;
  // Waits at most `timeout_ns` (below zero: until something happens), runs I/O, calls sinks.
  // Returns early after wake(), also when that came before the call.
  virtual void poll(std::int64_t timeout_ns) = 0;
  // The mutex that whoever calls poll() holds: it is let go while poll() waits, so that another
  // thread may visit. False: this transport is never visited.
  virtual bool open_while_waiting(std::mutex*) { return false; }
  // On a thread that holds that mutex while another one waits in poll(): puts on the wire what was
  // started and runs what is due; never waits. True: something is due (here, or the caller's
  // `due_ns`, monotonic) before the other thread comes back, so it has to be woken.
  virtual bool visit(std::int64_t /*due_ns*/) { return true; }
  // A descriptor that is readable when something has happened for poll(); below zero: there is
  // none.
  virtual int fd() const { return -1; }
  // From any thread or signal handler.
  virtual void wake() = 0;
  // Ends every transfer, telling nobody, and closes every connection. With the mutex of
  // open_while_waiting(); afterwards only stats() and wake() may be called.
  virtual void close() {}
  // In the child of a fork: closes what was inherited and frees nothing. Afterwards the object may
  // only be leaked; its destructor must not run.
  virtual void close_inherited() = 0;
  // What the connection has taken so far; of an unknown id: ended. What lies in buffers of the
  // library (64 kB with HTTP/2) and of the socket counts as taken.
  virtual Sending sending(std::uint64_t) const { return {true, true, 0}; }
  // From any thread; exact once the engine thread has come to rest.
  virtual TransportStats stats() const = 0;
};

}  // namespace sluiceway::http
