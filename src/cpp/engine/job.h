// A call under way inside the engine: where it stands, what it holds, and who waits for it.
//
// A Job is one transfer with one reservation. Without a cache it serves one Call. With one it is a
// flight: every Call with the same key joins it, `call` is the one that pays, and `waiters` are
// those still interested (the payer among them). Engine thread only.
//
//   kQueued -> kReserving -> kInFlight -> done        (a call that needs no limit or no money skips
//   a stage)
//      ^            kParked <-'    |
//      `---- kBackoff <------------'                  (never sent or refused, and attempts are
//      left)
#pragma once

#include <cstdint>
#include <memory>
#include <string>
#include <vector>

#include "base/block_pool.h"
#include "engine/call.h"
#include "engine/decode.h"
#include "engine/timer_heap.h"
#include "http/transport.h"
#include "limits/circuit_breaker.h"

namespace sluiceway::engine {

class Dispatcher;

// kDecided: the ledger has answered, and what follows from it is under way.
enum class Stage : std::uint8_t { kQueued, kReserving, kDecided, kParked, kInFlight, kBackoff };

struct Waiter {
  std::shared_ptr<Call> call;
  Timer timer;  // this caller's own deadline
};

struct Job final : http::Sink, Pooled {
  Job(Dispatcher& owner, std::shared_ptr<Call> first) : dispatcher(owner), call(std::move(first)) {}

  void on_head(int code, const http::HeaderSource& found) override;
  void on_body(std::string_view data) override;
  void on_end(const http::TransferEnd& end) override;

  const CallRequest& asked() const { return call->request; }
  const Route& route() const { return *call->request.route; }

  Dispatcher& dispatcher;
  std::shared_ptr<Call> call;
  std::vector<std::unique_ptr<Waiter>> waiters;  // flights only
  bool flight = false;
  bool reads_files = false;  // its body may come from a disk
  Stage stage = Stage::kQueued;
  Timer timer;
  std::int64_t deadline_ns = 0;  // of a flight: the latest of its waiters
  std::int64_t resume_ns = 0;    // end of a backoff
  std::int64_t stage_ns = 0;     // since when it stands here

  // What it holds.
  bool has_permit = false;
  std::int64_t permit_ns = 0;
  bool has_breaker = false;
  limits::BreakerPermit breaker, account_breaker;
  bool reserved = false;

  // The attempt under way.
  int attempt = 0;
  http::Request wire;
  std::int64_t sent_ns = 0;
  std::int64_t sent_wall_ns = 0;
  std::int64_t activity_ns = 0;
  std::int64_t waited_ns = 0;
  int status = 0;
  std::string request_id;
  std::int64_t retry_after_ns = -1;
  std::string body;
  std::vector<std::pair<std::string, std::string>> headers;
  std::unique_ptr<StreamDecoder> stream;  // null, too, when a whole body comes instead of events
  bool first_seen = false;                // of that stream: whether it is one was decided
  std::int64_t over_ns = 0;               // since when nothing that comes counts
  bool passes_bytes = false;              // a byte stream whose answer is a success
  bool passed_any = false;
  std::vector<Delta> deltas;
  bool paused = false;
  bool sending = false;  // as the last look at the timer saw it

  std::vector<Attempt> attempts;
  std::int64_t queue_ns = 0;  // all waits for limits and ledger
};

}  // namespace sluiceway::engine
