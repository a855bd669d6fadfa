// One ledger in one process: the queue, the writer thread, and the engines attached to it.
//
// Model. reserve() and finish() append to the queue; the writer takes all that is pending, hands it
// to BatchWriter in batches, and gives the verdicts to each engine's sink. A reservation wakes it
// at once; finishes alone wait `write_behind_ns` for company. Everything else that touches the
// books (open_scope, resolve ...) is a command that the writer runs between two batches. When idle
// it looks once a second for dead owners and for what a failed commit left, and copies the log.
//
// Bounds: `queue_max` reservations wait; finishes are never refused. After a failure finishes are
// tried again every 50 ms, and with each reservation. Threads: lock order commit_mutex_,
// queue_mutex_; the sink is called with neither held.
#pragma once

#include <atomic>
#include <condition_variable>
#include <cstdint>
#include <functional>
#include <memory>
#include <mutex>
#include <thread>
#include <vector>

#include "store/batch.h"

namespace sluiceway::store {

class LedgerCore {
 public:
  // An attached engine.
  struct Client {
    VerdictSink* sink = nullptr;
    std::int64_t owner = 0;
    bool closed = false;         // under queue_mutex_
    std::vector<Verdict> ready;  // the writer's
  };

  LedgerCore(const LedgerOptions& options, std::unique_ptr<Backend> backend);
  ~LedgerCore();
  LedgerCore(const LedgerCore&) = delete;
  LedgerCore& operator=(const LedgerCore&) = delete;

  StatusOr<Client*> attach(VerdictSink* sink);
  void detach(Client* client);
  std::size_t clients();  // engines that are attached

  void reserve(Client& client, Reservation&& reservation);
  void finish(Client& client, Finish&& finish);
  Status flush(std::int64_t timeout_ns);
  bool pump();
  LedgerStats stats();
  int live_engines() const { return live_.load(std::memory_order_relaxed); }
  std::int64_t ledger_time_ns();

  // Runs `work` between two batches, and waits for it. FailedPrecondition in a forked child.
  Status run(std::function<Status(BatchWriter&)> work);

  Backend& backend() { return *backend_; }
  const LedgerOptions& options() const { return options_; }
  const Clock& clock() const { return *clock_; }
  bool forked() const { return forked_.load(std::memory_order_acquire); }
  // Also finds a fork that no hook told of (see fork_before()): asks for the process's id, so it is
  // for commands and turns, not for each call.
  bool in_child();

  void fork_lock();
  void fork_unlock();
  void abandon_in_child();

 private:
  std::unique_lock<std::mutex> own_turn();
  std::mutex turn_mutex_;  // without a writer thread: taken before every other

  struct Command {
    std::function<Status(BatchWriter&)> run;
    Status status;
    bool done = false;
  };
  struct Refused {  // the queue was full
    Client* client = nullptr;
    std::uint64_t token = 0;
    Nanousd amount = 0;
  };

  // The writer's (core_writer.cc).
  void loop();
  // True where there is work; false: stop.
  bool wait_for_work();
  bool handed_in() const;  // anything that no writer has taken
  bool work_waiting() const;
  std::int64_t wake_at_ns() const;
  bool next_turn();
  bool turn();
  bool take(std::vector<Command*>& commands);
  bool write_batch(bool with_finishes);
  void answer_refused();
  void drain_finishes();
  void drop_client(Client* client);
  void housekeeping(bool idle);
  void deliver();
  std::int64_t mono() const;
  // Waiting is in real time, whatever clock the ledger was given.
  static std::int64_t real_ns() { return SystemClock::instance().monotonic_ns(); }

  const LedgerOptions options_;
  const Clock* const clock_;
  const std::unique_ptr<Backend> backend_;
  LedgerStats stats_;  // the writer's
  BatchWriter batch_;
  std::atomic<int> live_{1};
  std::atomic<bool> forked_{false};
  const std::uint32_t born_;  // forks_behind() then

  std::mutex commit_mutex_;               // held while the backend is in use
  std::vector<PendingReserve> reserves_;  // taken, not decided; from reserves_at_ on
  std::size_t reserves_at_ = 0;
  std::vector<PendingFinish> finishes_;  // taken, not written; from finishes_at_ on
  std::size_t finishes_at_ = 0;
  std::vector<PendingReserve> chunk_, deferred_;
  std::vector<Answer> answers_;
  std::vector<Refused> refused_taken_;
  std::int64_t scanned_ns_ = 0, posted_ns_ = 0;

  mutable std::mutex queue_mutex_;
  std::condition_variable work_, done_;
  std::vector<std::unique_ptr<Client>> clients_;
  std::vector<PendingReserve> in_reserves_;
  std::vector<PendingFinish> in_finishes_;
  std::vector<Refused> in_refused_;
  std::vector<Command*> in_commands_;
  std::uint64_t reserves_in_ = 0, reserves_done_ = 0, finishes_in_ = 0, finishes_done_ = 0;
  std::uint64_t reserves_waiting_ = 0;  // in the queue or taken
  bool leftover_ = false;               // the writer has taken more than one batch
  bool finishes_left_ = false;          // taken and not written
  int flush_waiters_ = 0;
  std::int64_t finish_since_ns_ = 0;  // real time of the oldest unwritten finish
  std::int64_t retry_ns_ = 0;         // real time before which finishes alone are not tried again
  std::int64_t next_look_ns_ = 0;     // real time of the next housekeeping
  std::int64_t look_again_ns_ = 0;    // when idle work is due, by the ledger's clock; in memory
  bool stop_ = false;
  LedgerStats stats_shown_;

  std::thread thread_;
};

}  // namespace sluiceway::store
