// One call as its caller holds it: what was asked, and, once it is over, how it ended.
//
// Model. The caller's thread makes a Call, hands it to the engine and keeps a reference. The engine
// publishes the Ending exactly once, or a stream's deltas as they come. A caller waits in one of
// two ways: a thread blocks in wait() on a futex word; an event loop attaches a Port, which gets
// the call when there is something to take.
//
// Threads: everything before submit belongs to the caller. Afterwards `request` is the engine's,
// the delivery part is guarded by `mutex_`, and `ending` may be read by anybody once done() is true
// (release/acquire).
#pragma once

#include <absl/container/inlined_vector.h>

#include <atomic>
#include <cstdint>
#include <memory>
#include <mutex>
#include <optional>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "base/block_pool.h"
#include "base/ids.h"
#include "base/status.h"
#include "cache/cache_key.h"
#include "engine/answer.h"
#include "engine/decode.h"
#include "engine/route.h"
#include "store/ledger.h"

namespace sluiceway::engine {

enum class OnExceed : std::uint8_t { kRefuse, kWait };
enum class CacheWord : std::uint8_t { kOff, kMiss, kHit, kJoined };

// What many calls may share. Times in nanoseconds, here and below; durations unless the name says
// otherwise.
struct CallTerms {
  std::shared_ptr<const Usage> counted;  // units that were counted before sending; null: none
  std::int64_t connect_timeout_ns = 10'000'000'000;
  std::int64_t read_timeout_ns = 0;   // the longest silence; 0: only the deadline
  std::int64_t write_timeout_ns = 0;  // without a byte taken while sending; 0: the one above
  std::int64_t pool_timeout_ns = 0;
  std::int64_t cache_ttl_ns = 0;  // 0: not cached
  int attempts = 0;               // 0: the route's
  std::uint8_t priority = 1;
  bool stream = false;
  bool byte_stream = false;  // with `stream`: the body's bytes as they come, instead of deltas
};

// What the caller asked for.
struct CallRequest : CallTerms {
  std::shared_ptr<const Route> route;
  Id intent_id, call_id;
  std::string body;
  std::shared_ptr<const http::Body> parts;  // null: `body`; else sent in its place
  std::vector<http::Header> extra_headers;
  std::string tenant = "default";
  std::uint32_t tenant_number = 0;                  // for the fair queue
  std::shared_ptr<const store::CallLabels> labels;  // null: the route's
  std::vector<std::shared_ptr<store::Scope>> scopes;
  std::string idempotency_key;
  Nanousd ceiling = 0;
  std::string price_version;  // of the row that set the ceiling
  limits::Amounts amounts{};
  std::int64_t deadline_ns = 0;  // monotonic
  cache::CacheKey cache_key{};
  OnExceed on_exceed = OnExceed::kRefuse;
  std::uint32_t waiting_scopes = ~0u;  // kWait: bit i: a refusal by scopes[i] waits
  std::uint32_t exact_scopes = 0;      // bit i: scopes[i] refuses by the ledger, not by a hint
};

// How an answer begins, for those who read its bytes.
struct Head {
  int status = 0;
  std::vector<std::pair<std::string, std::string>> headers;
};

struct BudgetRefusal {
  std::string scope;
  ScopeBalance balance;
  Nanousd amount = 0;
};
struct LimitRefusal {
  limits::Dimension dimension{};
  std::int64_t wait_ns = 0;
};

// How it ended. Money in nano-dollars.
struct Ending {
  ErrorKind kind = ErrorKind::kNone;
  Outcome outcome = Outcome::kNeverSent;
  Failure failure = Failure::kNone;
  std::string message;  // for people; no secrets, no prompts
  int status = 0;
  ErrorInfo error;
  std::int64_t retry_after_ns = -1;
  std::string request_id;
  std::shared_ptr<const Answer> answer;  // null when nothing readable came
  Nanousd cost = -1;
  CostSource cost_source = CostSource::kNone;
  Nanousd held = 0;  // still held when the call had ended: in doubt
  std::string price_version;
  std::vector<Attempt> attempts;
  std::shared_ptr<const BudgetRefusal> budget;  // null: no budget refused it
  std::optional<LimitRefusal> limit;
  Id earlier_call;  // the idempotency key's first user
  CacheWord cache = CacheWord::kOff;
  std::int64_t queue_ns = 0, latency_ns = 0;
};

class Call;

// Where an event loop takes its calls. Called on the engine thread, or on the submitting one for a
// cache hit.
class Port {
 public:
  virtual ~Port() = default;
  // Something is there to take on this call. Must not block, must not call back into the engine.
  virtual void push(std::shared_ptr<Call> call) = 0;
  // The end of a batch of pushes: ring now if need be.
  virtual void flush() = 0;
};

class Call : public std::enable_shared_from_this<Call> {
 public:
  static constexpr std::size_t kHighWaterBytes = 256 * 1024, kJoinedBytesMax = 64 * 1024;

  explicit Call(CallRequest asked) : request(std::move(asked)) {}

  CallRequest request;
  std::uint64_t seq = 0;  // given by Engine::submit
  std::int64_t submitted_ns = 0;

  bool done() const { return done_.load(std::memory_order_acquire); }
  const Ending& ending() const { return ending_; }

  // --- The engine's side. Ports that got something are appended to `ports`, to be flushed.
  void finish(Ending ending, std::vector<std::shared_ptr<Port>>& ports);
  // Adds deltas (moved from). Sets `over` when the caller is behind by more than the high water.
  void deliver(std::vector<Delta>& deltas, bool* over, std::vector<std::shared_ptr<Port>>& ports);
  // The same for a piece of a byte stream; small pieces are joined.
  void deliver_bytes(std::string_view bytes, bool* over, std::vector<std::shared_ptr<Port>>& ports);
  void put_head(std::shared_ptr<const Head> head);

  // --- The caller's side.
  // Waits for the end, or for a delta if `for_deltas`, at most `timeout_ns`. False: not yet.
  bool wait(std::int64_t timeout_ns, bool for_deltas);
  // True: there is something to take now. Otherwise the port gets the call once there is; it may
  // get it although nobody waits any more. Several ports may wait, each for deltas, for the end, or
  // both.
  bool attach(const std::shared_ptr<Port>& port, bool for_deltas);
  // All deltas since the last take; sets `resume` when a paused stream should go on.
  std::vector<Delta> take(bool* resume);
  // Of a byte stream: there before its first bytes; null before that, and when it was no success.
  std::shared_ptr<const Head> head();

 private:
  struct Listener {
    std::shared_ptr<Port> port;
    bool for_deltas;
  };
  void announce(bool for_end, std::vector<std::shared_ptr<Port>>& ports);

  std::mutex mutex_;
  std::shared_ptr<const Head> head_;
  std::vector<Delta> deltas_;
  std::size_t delta_bytes_ = 0;
  bool paused_ = false;
  absl::InlinedVector<Listener, 1> listeners_;
  std::atomic<bool> done_{false};
  std::atomic<std::uint32_t> word_{0};  // changes with every event: the futex
  std::atomic<std::uint32_t> sleepers_{0};
  Ending ending_;
};

// In one block with its count.
inline std::shared_ptr<Call> make_call(CallRequest asked) {
  return std::allocate_shared<Call>(PoolAllocator<Call>(), std::move(asked));
}

}  // namespace sluiceway::engine
