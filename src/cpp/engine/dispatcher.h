// The life of a call, as a state machine: limits, breaker, reservation, attempts, settlement.
//
// Model. One Dispatcher belongs to one engine thread, which tells it the time once a turn and feeds
// it: new calls, cancels, verdicts of the ledger, the transport's callbacks, timers. It never
// blocks and reads no clock, so the same code runs in the seeded simulation. The rules it keeps are
// docs/internals/call.md; who may be sent again and what is billed is read from outcomes.h and
// decided nowhere else.
//
// Bounds: a few hundred bytes a call besides its body; every step is O(log n) in the calls under
// way. Threads: the engine's only.
#pragma once

#include <absl/container/flat_hash_map.h>

#include <cstdint>
#include <deque>
#include <memory>
#include <span>
#include <string>
#include <vector>

#include "base/clock.h"
#include "base/random.h"
#include "cache/response_cache.h"
#include "engine/call.h"
#include "engine/counters.h"
#include "engine/decode.h"
#include "engine/events.h"
#include "engine/job.h"
#include "engine/timer_heap.h"
#include "http/transport.h"
#include "store/ledger.h"

namespace sluiceway::engine {

struct Parts {                   // what a dispatcher works with; all outlive it
  const Clock* clock = nullptr;  // read once a turn, and once after the transport has slept
  http::Transport* transport = nullptr;
  store::Ledger* ledger = nullptr;
  cache::ResponseCache* cache = nullptr;
  Random* random = nullptr;
  EventLog* events = nullptr;
  Counters* counters = nullptr;
};

class Dispatcher {
 public:
  explicit Dispatcher(Parts parts) : parts_(parts) {}

  // Reads the clock: everything until the next begin_turn() or slept() happens at that instant.
  void begin_turn() {
    now_ns_ = parts_.clock->monotonic_ns();
    wall_ns_ = parts_.clock->wall_ns();
    slept_ = false;
  }
  // The transport is about to wait: its first callback reads the clock again.
  void sleep() { slept_ = true; }
  std::int64_t now_ns() const { return now_ns_; }

  void submit(std::shared_ptr<Call> call);
  void cancel(std::uint64_t seq);
  void resume(std::uint64_t seq);  // the caller took its deltas
  void on_verdicts(std::span<store::Verdict> verdicts);
  // Timers and limit queues that are due.
  void run_due();
  // Monotonic time at which run_due() is needed again.
  std::int64_t next_due_ns() const;
  // The ports that have something to take and are to be rung: added to `out`.
  void take_ports(std::vector<std::shared_ptr<Port>>& out);
  // Ends every call: what was not sent is void, what was sent stays in doubt.
  void shut_down();
  void share_limits(int engines);

  bool idle() const { return jobs_.empty(); }
  // A turn may have to wait for a disk.
  bool reads_files() const { return reading_files_ > 0; }
  std::size_t active() const { return jobs_.size(); }

 private:
  friend struct Job;

  // dispatcher_admit.cc: up to the wire
  void start(std::unique_ptr<Job> owned);
  void enter_limits(Job& job);
  void enter_breaker(Job& job);
  void enter_ledger(Job& job);
  void admitted(Job& job);
  void refused_by_ledger(Job& job, store::Verdict& verdict);
  void park(Job& job, std::int64_t wait_ns);
  void unpark_one();
  void send(Job& job);
  void wait_in(Group& group);
  void pump_groups();
  void pump(Group& group);
  bool fits_hints(Job& job);

  // dispatcher_wire.cc: on the wire
  void on_head(Job& job, int status, const http::HeaderSource& headers);
  void on_body(Job& job, std::string_view data);
  void deliver(Job& job);
  void pass_bytes(Job& job, std::string_view data);
  void on_end(Job& job, const http::TransferEnd& end);
  Failure read_answer(Job& job, const http::TransferEnd& end, Answer& answer, ErrorInfo& error,
                      std::string& message);
  Failure read_stream(Job& job, const http::TransferEnd& end, Answer& answer, ErrorInfo& error,
                      std::string& message);
  void read_rate_headers(Job& job, const http::HeaderSource& headers);
  bool try_again(Job& job, Failure failure);
  std::int64_t silence_due_ns(Job& job);
  void on_timer(Job& job);
  void on_waiter_deadline(Job& job, std::uint32_t number);
  enum class Stop : std::uint8_t { kDeadline, kCancel, kMalformed };
  void stop(Job& job, Stop why);

  // dispatcher_finish.cc: the end
  void finish(Job& job, Failure failure, std::shared_ptr<Answer> answer, Ending ending);
  void fail_unsent(Job& job, Failure failure, ErrorKind kind, std::string message,
                   Ending ending = {});
  Books settle(Job& job, const OutcomeRow& row, Answer* answer, Ending& ending);
  void write_books(Job& job, Books books, const Answer* answer, Nanousd amount);
  void release_permit(Job& job, Failure failure, const Answer* answer);
  void report_breaker(Job& job, const OutcomeRow& row, std::int64_t retry_after_ns);
  void publish(Job& job, Ending ending);
  void complete(Call& call, Ending ending);
  void remove(Job& job);
  void leave(Job& job, std::uint32_t number, Ending ending);

  void note(EventKind kind, const Job& job, std::string detail);
  void note_breaker(const Job& job, limits::CircuitBreaker& breaker, std::string_view which);
  void schedule(Job& job);
  Job* find(std::uint64_t seq);

  Parts parts_;
  Decoder decoder_;
  TimerHeap timers_;
  void wake_up() {
    if (slept_) begin_turn();
  }
  std::int64_t now_ns_ = 0, wall_ns_ = 0;
  bool slept_ = false;
  absl::flat_hash_map<std::uint64_t, std::unique_ptr<Job>> jobs_;
  absl::flat_hash_map<std::uint64_t, std::uint64_t> joined_;  // a joiner's seq -> its flight's
  absl::flat_hash_map<cache::CacheKey, std::uint64_t, cache::CacheKeyHash> flights_;
  absl::flat_hash_map<Group*, std::shared_ptr<Group>> groups_;  // every group seen
  std::vector<Group*> waiting_groups_;                          // those with somebody in the queue
  std::deque<std::uint64_t> parked_;
  // Reservations whose callers left before the verdict came; void them when it does.
  absl::flat_hash_map<std::uint64_t, Id> abandoned_;
  std::vector<std::shared_ptr<Port>> ports_;
  std::vector<std::unique_ptr<Job>> removed_;  // destroyed between callbacks
  int share_ = 1;
  int reading_files_ = 0;  // jobs
  bool closing_ = false;   // shut_down(): nobody is started any more
};

}  // namespace sluiceway::engine
