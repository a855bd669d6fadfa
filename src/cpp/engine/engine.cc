// The engine's thread, inbox and shutdown: see engine.h.
#include "engine/engine.h"

#include <pthread.h>
#include <signal.h>

#include <algorithm>
#include <chrono>
#include <utility>

#include "cost/admission.h"
#include "http/curl_transport.h"

namespace sluiceway::engine {
namespace {

constexpr std::int64_t kShareIntervalNs = kNsPerSecond;
// What a caller's thread sends itself, some 15 us each; more is left to the engine's own thread.
constexpr std::size_t kVisitMax = 16;
constexpr int kVisitRoundsMax = 3;
// How long a deputy may go without a turn: what a busy loop can delay everybody else's calls by.
constexpr std::chrono::milliseconds kDeputySilence{2};

thread_local int corks = 0;
// Not kept alive: a task may drop a gateway before the cork goes.
struct Corked {
  Engine* engine;
  std::weak_ptr<Engine> alive;
};
thread_local std::vector<Corked> corked_engines;

// Signals are for the interpreter's threads.
void block_signals() {
  sigset_t all;
  sigfillset(&all);
  pthread_sigmask(SIG_BLOCK, &all, nullptr);
}

}  // namespace

Cork::Cork() : outer_(corks++) {}
Cork::~Cork() {
  corks = outer_;  // whatever became of it meanwhile
  if (corks == 0) lift();
}

void Cork::lift() {
  corks = 0;
  for (const Corked& corked : std::exchange(corked_engines, {})) {
    if (const auto engine = corked.alive.lock()) engine->uncork();
  }
}

void Cork::forget_in_child() {
  corks = 0;
  corked_engines.clear();
}

Engine::Engine(EngineOptions options)
    : clock_(options.clock != nullptr ? options.clock : &SystemClock::instance()),
      own_random_(options.random == nullptr ? std::make_unique<SystemRandom>() : nullptr),
      random_(options.random != nullptr ? options.random : own_random_.get()),
      ids_(id_random_),
      cache_(options.cache_bytes_max) {}

StatusOr<std::shared_ptr<Engine>> Engine::start(EngineOptions options) {
  std::shared_ptr<Engine> engine(
      new Engine(EngineOptions{.cache_bytes_max = options.cache_bytes_max,
                               .threaded = options.threaded,
                               .clock = options.clock,
                               .random = options.random}));
  engine->transport_ = std::move(options.transport);
  if (!engine->transport_) {
    http::CurlTransportOptions wire;
    wire.connections_per_origin_max = options.connections_per_origin_max;
    engine->transport_ = http::make_curl_transport(wire);
  }
  if (!engine->transport_) {
    return absl::ResourceExhaustedError("no descriptors left for the engine's epoll and eventfd");
  }
  options.ledger.admit = &cost::admit;
  options.ledger.clock = engine->clock_;
  // A ledger in memory blocks on nothing: the engine's own thread writes it.
  engine->pumps_ledger_ = !options.threaded || options.ledger.path == ":memory:" ||
                          options.ledger.durability == store::Durability::kMemory;
  options.ledger.threaded = !engine->pumps_ledger_;
  auto ledger = options.open_ledger ? options.open_ledger(options.ledger, engine.get())
                                    : store::open_ledger(options.ledger, engine.get());
  if (!ledger.ok()) return ledger.status();
  engine->ledger_ = *std::move(ledger);
  engine->dispatcher_ = std::make_unique<Dispatcher>(
      Parts{engine->clock_, engine->transport_.get(), engine->ledger_.get(), &engine->cache_,
            engine->random_, &engine->events_, &engine->counters_});
  engine->visits_ =
      options.threaded && engine->transport_->open_while_waiting(&engine->turn_mutex_);
  if (options.threaded) engine->thread_ = std::thread([raw = engine.get()] { raw->run(); });
  return engine;
}

Engine::~Engine() { close(2 * kNsPerSecond); }

void Engine::wake_if_asleep() {
  if (!asleep_.exchange(false)) return;
  counters_.wakes.fetch_add(1, std::memory_order_relaxed);
  transport_->wake();
}

bool Engine::put(Command command) {
  {
    const std::lock_guard<std::mutex> lock(inbox_mutex_);
    if (!accepting_) return false;
    inbox_.push_back(std::move(command));
  }
  if (corks > 0) {
    auto& list = corked_engines;
    // Another engine may have had this address.
    const auto listed = [this](const Corked& other) {
      return other.engine == this && !other.alive.expired();
    };
    if (std::none_of(list.begin(), list.end(), listed)) list.push_back({this, weak_from_this()});
    return true;
  }
  if (!visit()) wake_if_asleep();
  return true;
}

void Engine::uncork() {
  if (!visit()) wake_if_asleep();
}

// One turn's work on the thread that has put something in. False: the engine's thread has to do it.
bool Engine::visit() {
  if (!visits_ || stopping_.load()) return false;
  std::unique_lock<std::mutex> turn(turn_mutex_, std::try_to_lock);
  if (!turn.owns_lock() || stopping_.load()) return false;
  {
    const std::lock_guard<std::mutex> lock(inbox_mutex_);
    if (inbox_.size() + verdicts_.size() > kVisitMax) return false;
  }
  const bool slept = asleep_.exchange(false);  // what this brings is not rung for
  bool wake = true;
  for (int round = 0; round < kVisitRoundsMax && wake; ++round) {
    dispatcher_->begin_turn();
    take_inbox();
    pump_ledger();
    dispatcher_->run_due();
    pump_ledger();
    const std::int64_t due = dispatcher_->next_due_ns();
    const bool early = transport_->visit(due == kNever ? -1 : due);
    const bool more = pump_ledger() || dispatcher_->next_due_ns() < due;  // by what has just ended
    dispatcher_->sleep();  // the engine's thread reads the clock anew when it wakes
    if (slept) asleep_.store(true);
    if (early || more) break;
    wake = inbox_waits();  // a quick disk answers meanwhile
  }
  ring_ports(turn);
  return !wake;
}

void Engine::submit(const std::shared_ptr<Call>& call) {
  call->seq = next_seq_.fetch_add(1, std::memory_order_relaxed);
  call->submitted_ns = clock_->monotonic_ns();
  counters_.submitted.fetch_add(1, std::memory_order_relaxed);
  if (put({Command::kSubmit, call->seq, call})) return;
  Ending ending;
  ending.kind = ErrorKind::kClosed;
  ending.message = "the gateway was closed";
  std::vector<std::shared_ptr<Port>> ports;
  call->finish(std::move(ending), ports);
  for (const auto& port : ports) port->flush();
}

void Engine::cancel(const Call& call) { put({Command::kCancel, call.seq, nullptr}); }
void Engine::resume(const Call& call) { put({Command::kResume, call.seq, nullptr}); }

std::shared_ptr<const Answer> Engine::look_up(const cache::CacheKey& key) {
  auto found = std::static_pointer_cast<const Answer>(cache_.get(key, clock_->monotonic_ns()));
  if (found) counters_.cache_hits.fetch_add(1, std::memory_order_relaxed);
  return found;
}

void Engine::on_verdicts(std::span<store::Verdict> verdicts) {
  {
    const std::lock_guard<std::mutex> lock(inbox_mutex_);
    verdicts_.insert(verdicts_.end(), std::make_move_iterator(verdicts.begin()),
                     std::make_move_iterator(verdicts.end()));
  }
  // Without a writer's thread this runs inside a turn, or is waited for by one.
  if (pumps_ledger_ || !visit()) wake_if_asleep();
}

bool Engine::take_inbox() {
  {
    const std::lock_guard<std::mutex> lock(inbox_mutex_);
    if (inbox_.empty() && verdicts_.empty()) return false;
    std::swap(inbox_, taken_);
    std::swap(verdicts_, taken_verdicts_);
  }
  dispatcher_->on_verdicts(taken_verdicts_);
  taken_verdicts_.clear();
  for (auto& command : taken_) {
    switch (command.kind) {
      case Command::kSubmit:
        dispatcher_->submit(std::move(command.call));
        break;
      case Command::kCancel:
        dispatcher_->cancel(command.seq);
        break;
      case Command::kResume:
        dispatcher_->resume(command.seq);
        break;
    }
  }
  taken_.clear();
  return true;
}

bool Engine::inbox_waits() {
  const std::lock_guard<std::mutex> lock(inbox_mutex_);
  return !inbox_.empty() || !verdicts_.empty();
}

bool Engine::pump_ledger() {
  bool any = false;
  while (pumps_ledger_ && ledger_->pump()) any = take_inbox() || any;
  return any;
}

// Without the mutex: whoever is woken runs at once, often on this core, and comes to visit.
void Engine::ring_ports(std::unique_lock<std::mutex>& turn) {
  std::vector<std::shared_ptr<Port>> ports;
  dispatcher_->take_ports(ports);
  if (ports.empty()) return;
  turn.unlock();
  for (const auto& port : ports) port->flush();
  turn.lock();
}

void Engine::turn(std::int64_t timeout_ns) {
  std::unique_lock<std::mutex> turn(turn_mutex_);
  take_turn(turn, timeout_ns);
}

void Engine::take_turn(std::unique_lock<std::mutex>& turn, std::int64_t timeout_ns) {
  counters_.turns.fetch_add(1, std::memory_order_relaxed);
  dispatcher_->begin_turn();
  const std::int64_t now = dispatcher_->now_ns();
  take_inbox();
  pump_ledger();
  dispatcher_->run_due();
  pump_ledger();
  if (now >= next_share_ns_) {
    dispatcher_->share_limits(ledger_->live_engines());
    next_share_ns_ = now + kShareIntervalNs;
  }
  ring_ports(turn);
  const std::int64_t due = dispatcher_->next_due_ns();
  std::int64_t wait = due == kNever ? timeout_ns : std::max<std::int64_t>(due - now, 0);
  if (timeout_ns >= 0) wait = wait < 0 ? timeout_ns : std::min(wait, timeout_ns);
  if (wait != 0) {
    asleep_.store(true);
    if (inbox_waits()) wait = 0;
  }
  dispatcher_->sleep();
  transport_->poll(wait);
  asleep_.store(false);
  pump_ledger();
  ring_ports(turn);  // what the sinks completed is told at once
}

bool Engine::deputize(const std::shared_ptr<Deputy>& deputy) {
  const Deputy* now = deputy_shown_.load(std::memory_order_relaxed);
  if (now != nullptr) return now == deputy.get();
  if (!visits_ || stopping_.load() || transport_->fd() < 0) return false;
  const std::unique_lock<std::mutex> turn(turn_mutex_, std::try_to_lock);
  if (!turn.owns_lock() || stopping_.load()) return false;
  if (deputy_ || dispatcher_->reads_files()) return false;
  deputy_ = deputy;
  deputy_shown_.store(deputy.get(), std::memory_order_relaxed);
  wake_if_asleep();  // it stands back when it comes
  return true;
}

void Engine::turn_as_deputy(const Deputy& deputy) {
  std::unique_lock<std::mutex> turn(turn_mutex_);
  // While it comes to stand back the thread may still wait in its own turn, and a closed engine has
  // no turns.
  if (deputy_.get() != &deputy || !stood_back_ || stopping_.load()) return;
  if (dispatcher_->reads_files()) {
    relieved_.notify_one();
    return;
  }
  counters_.turns_by_loops.fetch_add(1, std::memory_order_relaxed);
  asleep_.store(false);
  take_turn(turn, 0);
  asleep_.store(true);
  if (inbox_waits()) wake_if_asleep();
}

// The engine thread's time while a deputy takes the turns.
void Engine::stand_back(std::unique_lock<std::mutex>& turn) {
  deputy_->watch(transport_->fd());
  stood_back_ = true;
  const auto& taken = counters_.turns_by_loops;
  std::uint64_t seen = 0;
  do {
    seen = taken.load(std::memory_order_relaxed);
    asleep_.store(true);
    if (inbox_waits()) wake_if_asleep();
    relieved_.wait_for(turn, kDeputySilence);
  } while (!stopping_.load() && !dispatcher_->reads_files() &&
           taken.load(std::memory_order_relaxed) != seen);
  asleep_.store(false);
  stood_back_ = false;
  deputy_->ignore(transport_->fd());
  dismiss(turn);
}

void Engine::dismiss(std::unique_lock<std::mutex>& turn) {
  deputy_shown_.store(nullptr, std::memory_order_relaxed);
  std::shared_ptr<Deputy> gone = std::move(deputy_);
  turn.unlock();  // the last to hold it runs its destructor, which may want a turn to end
  gone.reset();
  turn.lock();
}

void Engine::run() {
  block_signals();
  pthread_setname_np(pthread_self(), "sluiceway");
  std::unique_lock<std::mutex> turn(turn_mutex_);
  while (!stopping_.load()) {
    if (deputy_) {
      stand_back(turn);
    } else {
      take_turn(turn, dispatcher_->idle() ? -1 : kNsPerSecond);
    }
  }
  if (deputy_) dismiss(turn);  // one that came too late to be stood back for
  for (;;) {                   // draining: nothing new is accepted any more
    const std::int64_t left = drain_until_ns_.load() - clock_->monotonic_ns();
    if (left <= 0 || (dispatcher_->idle() && !inbox_waits())) break;
    take_turn(turn, std::min(left, kNsPerSecond));
  }
  end_calls(turn);
}

// What is still under way when the engine closes.
void Engine::end_calls(std::unique_lock<std::mutex>& turn) {
  dispatcher_->begin_turn();
  take_inbox();
  dispatcher_->shut_down();
  ring_ports(turn);
}

void Engine::close(std::int64_t timeout_ns) {
  if (closed_.exchange(true)) return;
  {
    const std::lock_guard<std::mutex> lock(inbox_mutex_);
    accepting_ = false;
  }
  drain_until_ns_.store(saturating_add(clock_->monotonic_ns(), timeout_ns));
  stopping_.store(true);
  if (thread_.joinable()) {
    transport_->wake();
    relieved_.notify_one();  // one that comes too early is made up for by the thread's next look
    thread_.join();
  } else if (dispatcher_) {
    std::unique_lock<std::mutex> turn(turn_mutex_);
    end_calls(turn);
  }
  if (dispatcher_) {  // now, not with the last result that somebody keeps
    const std::lock_guard<std::mutex> turn(turn_mutex_);
    transport_->close();
  }
  if (ledger_) {
    // Closing the ledger waits for the commit under way, too.
    ledger_->flush(std::max(timeout_ns, kNsPerSecond)).IgnoreError();
    if (dispatcher_) {  // reservations of calls that had left by then: nothing was sent for them
      const std::lock_guard<std::mutex> turn(turn_mutex_);
      take_inbox();
    }
    ledger_->close();
  }
}

void Engine::lock_for_fork() {
  inbox_mutex_.lock();
  events_.mutex().lock();
  cache_.lock_all();
}

void Engine::unlock_in_parent() {
  cache_.unlock_all();
  events_.mutex().unlock();
  inbox_mutex_.unlock();
}

void Engine::abandon_in_child() {
  forked_.store(true);
  accepting_ = false;
  unlock_in_parent();
  transport_->close_inherited();
  closed_.store(true);
}

}  // namespace sluiceway::engine
