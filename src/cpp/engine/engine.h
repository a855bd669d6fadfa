// The engine: one thread that runs every call of a gateway, and the doors into it.
//
// Model. Callers' threads put commands (submit, cancel, resume) into an inbox; the ledger's writer
// puts verdicts there; the engine thread takes all of it once a turn, tells the dispatcher the
// time, runs what is due and sleeps in the transport's poll. A sleeping thread is woken by the
// transport's eventfd, and only then: what arrives while it works costs no system call.
//
// Who puts something in while the engine thread sleeps does a turn's work there and then, on its
// own thread (visit()): that saves two hand-overs between threads, and most of what a lone call
// would wait for. A thread that finds the engine at work, or has a lot, rings instead.
//
// An event loop whose calls end one after the other becomes the engine thread's deputy: it watches
// the transport's descriptor and takes the turns on its own thread, and the engine thread stands
// back and only looks, every 2 ms, whether it does. A deputy that took none since the last look (it
// waits for something long, or it is busy) is dismissed.
//
// Threads: submit, cancel, resume, the scopes and the reads may be called from any thread. Nothing
// is started before start(). The engine thread never calls into Python and never takes its lock;
// `turn_mutex_` guards the dispatcher, the transport and the deputy, and is free while the engine
// thread waits.
//
// Simulation: with EngineOptions.threaded = false there is no thread; turn() runs one turn on the
// caller's, with a fake transport and a manual clock.
//
//   auto engine = Engine::start({.ledger = {.path = ":memory:"}});
//   auto call = std::make_shared<Call>(request);
//   (*engine)->submit(call);
//   while (!call->wait(100'000'000, false)) {}
#pragma once

#include <atomic>
#include <condition_variable>
#include <cstdint>
#include <functional>
#include <memory>
#include <mutex>
#include <thread>
#include <vector>

#include "base/clock.h"
#include "base/ids.h"
#include "base/random.h"
#include "cache/response_cache.h"
#include "engine/call.h"
#include "engine/counters.h"
#include "engine/dispatcher.h"
#include "engine/events.h"
#include "http/transport.h"
#include "store/ledger.h"

namespace sluiceway::engine {

struct EngineOptions {
  store::LedgerOptions ledger;  // admit and clock are filled in
  std::size_t cache_bytes_max = std::size_t{64} << 20;
  int connections_per_origin_max = 1024;
  bool threaded = true;
  // The twins of a simulation; null: the real ones.
  Clock* clock = nullptr;
  Random* random = nullptr;
  std::unique_ptr<http::Transport> transport;
  std::function<StatusOr<std::shared_ptr<store::Ledger>>(const store::LedgerOptions&,
                                                         store::VerdictSink*)>
      open_ledger;
};

// An event loop that can take turns.
class Deputy {
 public:
  virtual ~Deputy() = default;
  // From any thread, with the turn: from here on it calls Engine::turn_as_deputy() on its own
  // thread whenever `fd` is readable, and no more.
  virtual void watch(int fd) = 0;
  virtual void ignore(int fd) = 0;
};

class Engine final : public store::VerdictSink, public std::enable_shared_from_this<Engine> {
 public:
  // Opens the ledger, starts the thread. The ledger's errors, or ResourceExhausted without
  // descriptors.
  static StatusOr<std::shared_ptr<Engine>> start(EngineOptions options);
  ~Engine() override;

  // Hands a call over. It ends exactly once, with kClosed if the engine is closing.
  void submit(const std::shared_ptr<Call>& call);
  void cancel(const Call& call);
  void resume(const Call& call);
  // Answers from the cache on the calling thread; null when it is not there.
  std::shared_ptr<const Answer> look_up(const cache::CacheKey& key);

  // A loop that is busy with this engine's calls asks to take its turns; cheap while it does.
  // False: not now, another one does, or bodies are read from files: no loop is to wait for a disk.
  bool deputize(const std::shared_ptr<Deputy>& deputy);
  // On the deputy's thread; never waits for the network. Nothing happens when it was dismissed.
  void turn_as_deputy(const Deputy& deputy);

  // While corked, a submitting thread rings no bell; uncork() rings once if anything was put in.
  void uncork();

  // Stops accepting, lets calls under way end for at most `timeout_ns`, ends the rest (what was
  // sent stays in doubt), writes the books.
  void close(std::int64_t timeout_ns);
  bool closed() const { return closed_.load(); }
  // This process came by fork and the engine belongs to its parent: nothing of it may be touched.
  bool forked() const { return forked_.load(); }

  store::Ledger& ledger() { return *ledger_; }
  std::shared_ptr<store::Ledger> shared_ledger() { return ledger_; }
  cache::ResponseCache& cache() { return cache_; }
  EventLog& events() { return events_; }
  Counters& counters() { return counters_; }
  const Clock& clock() const { return *clock_; }
  Random& random() { return *random_; }
  Id new_id() { return ids_.next(clock_->wall_ns()); }
  http::TransportStats transport_stats() const { return transport_->stats(); }

  void on_verdicts(std::span<store::Verdict> verdicts) override;
  // One turn without a thread. Waits at most `timeout_ns` inside the transport.
  void turn(std::int64_t timeout_ns);
  bool idle() const { return dispatcher_->idle(); }

  // Fork hooks, in this order around fork(); see bindings/.
  void lock_for_fork();
  void unlock_in_parent();
  // In the child: closes descriptors; the object may only be leaked afterwards.
  void abandon_in_child();

 private:
  struct Command {
    enum Kind : std::uint8_t { kSubmit, kCancel, kResume } kind;
    std::uint64_t seq;
    std::shared_ptr<Call> call;
  };
  explicit Engine(EngineOptions options);
  void run();
  bool take_inbox();
  bool inbox_waits();
  bool pump_ledger();         // true: verdicts came
  bool put(Command command);  // false: closing
  void wake_if_asleep();
  bool visit();
  void take_turn(std::unique_lock<std::mutex>& turn, std::int64_t timeout_ns);
  void stand_back(std::unique_lock<std::mutex>& turn);
  void dismiss(std::unique_lock<std::mutex>& turn);
  void end_calls(std::unique_lock<std::mutex>& turn);
  void ring_ports(std::unique_lock<std::mutex>& turn);

  Clock* clock_;
  bool pumps_ledger_ = false;  // the ledger has no thread: this one writes it
  bool visits_ = false;        // the transport lets other threads in while it waits
  std::unique_ptr<Random> own_random_;
  Random* random_;
  SystemRandom id_random_;
  IdGenerator ids_;
  cache::ResponseCache cache_;
  EventLog events_;
  Counters counters_;
  std::shared_ptr<store::Ledger> ledger_;
  std::unique_ptr<http::Transport> transport_;
  std::unique_ptr<Dispatcher> dispatcher_;

  std::mutex turn_mutex_;  // taken before every other one
  std::shared_ptr<Deputy> deputy_;
  std::atomic<const Deputy*> deputy_shown_{nullptr};  // the same, to look at without the mutex
  bool stood_back_ = false;  // the deputy watches; until then the thread may be in its turn
  std::condition_variable relieved_;  // the engine's thread waits while it stands back
  std::mutex inbox_mutex_;
  std::vector<Command> inbox_;
  std::vector<store::Verdict> verdicts_;
  bool accepting_ = true;  // guarded by inbox_mutex_
  std::vector<Command> taken_;
  std::vector<store::Verdict> taken_verdicts_;

  std::atomic<bool> asleep_{false};
  std::atomic<bool> stopping_{false};
  std::atomic<bool> closed_{false};
  std::atomic<bool> forked_{false};
  std::atomic<std::int64_t> drain_until_ns_{0};
  std::atomic<std::uint64_t> next_seq_{1};
  std::int64_t next_share_ns_ = 0;
  std::thread thread_;
};

// While one lives on this thread, Engine::submit rings no bell (an event loop's drain uses it).
class Cork {
 public:
  Cork();
  ~Cork();
  Cork(const Cork&) = delete;
  Cork& operator=(const Cork&) = delete;

  // Lifts all corks of this thread, for as long as they would have lived, and rings for what they
  // kept back: another loop runs inside of the one that is corked.
  static void lift();
  // In a fork's child: what they kept back is the parent's.
  static void forget_in_child();

 private:
  int outer_;
};

}  // namespace sluiceway::engine
