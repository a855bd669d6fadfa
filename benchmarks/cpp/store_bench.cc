// The ledger against a bare C loop over the same schema, bytes and batch size, in the same run.
//
// Rows: `ledger_rows_vs_sqlite/<batch>` alternates our ledger (queue, admission, verdicts) with
// the bare loop, both at synchronous=FULL, and reports rows a second of each and their ratio;
// `three_processes` does so with three processes on one file each;
// `durable_calls` is the threaded ledger with calls ever in flight; `lone_wait` one reservation
// with no other under way, against write and fdatasync of the same bytes into a preallocated file;
// `flat` the cost of a call with an empty and with a full month of rows. Each checks its balance
// before it reports.
#include <benchmark/benchmark.h>
#include <fcntl.h>
#include <sqlite3.h>
#include <stdlib.h>
#include <sys/mman.h>
#include <sys/wait.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <atomic>
#include <condition_variable>
#include <filesystem>
#include <mutex>
#include <string>
#include <thread>
#include <vector>

#include "store_loops.h"

namespace sluiceway::store {
namespace {

void ledger_rows_vs_sqlite(benchmark::State& state) {
  const auto batch = static_cast<std::size_t>(state.range(0));
  Scratch scratch;
  SeededRandom random(1);
  IdGenerator generator(random);
  OurLoop ours(scratch.path + "/ours.db", batch, Durability::kPower);
  BareLoop bare(scratch.path + "/bare.db");
  std::vector<Id> before, fresh;
  std::int64_t ours_ns = 0, bare_ns = 0;
  std::uint64_t calls = 0;
  for (auto _ : state) {
    fresh_ids(generator, batch, fresh);
    const std::int64_t t0 = now_ns();
    ours.batch(before, fresh);
    const std::int64_t t1 = now_ns();
    bare.batch(before, fresh);
    const std::int64_t t2 = now_ns();
    ours_ns += t1 - t0;
    bare_ns += t2 - t1;
    calls += before.size();
    before.swap(fresh);
  }
  if (ours.admitted() != calls + batch) state.SkipWithError("not every call was admitted");
  if (ours.ledger().balance(ours.scope())->settled != static_cast<Nanousd>(calls) * 900) {
    state.SkipWithError("the balance is wrong");
  }
  // Two rows a call, reservation and settlement; holds are in packs.
  const double rows = 2.0 * static_cast<double>(calls);
  state.counters["rows_per_s"] = rows * 1e9 / static_cast<double>(ours_ns);
  state.counters["bare_rows_per_s"] = rows * 1e9 / static_cast<double>(bare_ns);
  state.counters["ratio"] = static_cast<double>(bare_ns) / static_cast<double>(ours_ns);
}
BENCHMARK(ledger_rows_vs_sqlite)->Arg(1)->Arg(16)->Arg(64)->Arg(256)->Unit(benchmark::kMicrosecond);

// Three processes on one file, ours and the bare loop's in turns; rows of all three together, and
// how far one is from their mean. The parent opens no ledger while they live.
constexpr std::size_t kProcesses = 3, kSharedBatch = 64;

struct Turns {
  enum Phase : int { kWait, kOurs, kBare, kEnd };
  std::atomic<int> phase{kWait}, ready{0}, busy{0};
  std::array<std::atomic<std::uint64_t>, kProcesses> ours{}, bare{};  // calls that ended
};

void one_of_three(Turns& turns, std::size_t index, const std::string& path) {
  while (turns.ready.load() < static_cast<int>(index)) ::usleep(200);  // one makes the files
  SystemRandom random;
  IdGenerator generator(random);
  OurLoop ours(path + "/ours.db", kSharedBatch, Durability::kPower);
  BareLoop bare(path + "/bare.db");
  std::vector<Id> ours_before, bare_before, fresh;
  turns.ready.fetch_add(1);
  for (int phase = Turns::kWait; phase != Turns::kEnd; phase = turns.phase.load()) {
    if (phase == Turns::kWait) {
      ::usleep(200);
      continue;
    }
    turns.busy.fetch_add(1);
    fresh_ids(generator, kSharedBatch, fresh);
    const bool mine = phase == Turns::kOurs;
    std::vector<Id>& before = mine ? ours_before : bare_before;
    mine ? ours.batch(before, fresh) : bare.batch(before, fresh);
    (mine ? turns.ours : turns.bare)[index].fetch_add(before.size());
    before.swap(fresh);
    turns.busy.fetch_sub(1);
  }
}

void three_processes(benchmark::State& state) {
  Scratch scratch;
  void* memory =
      ::mmap(nullptr, sizeof(Turns), PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
  if (memory == MAP_FAILED) abort();
  auto* turns = new (memory) Turns;
  std::array<pid_t, kProcesses> children{};
  for (std::size_t i = 0; i < kProcesses; ++i) {
    children[i] = ::fork();
    if (children[i] != 0) continue;
    one_of_three(*turns, i, scratch.path);
    ::_exit(0);
  }
  while (turns->ready.load() < static_cast<int>(kProcesses)) ::usleep(1'000);
  std::int64_t ours_ns = 0, bare_ns = 0;
  const auto take_turn = [&](Turns::Phase phase, std::int64_t& ns) {
    const std::int64_t start = now_ns();
    turns->phase.store(phase);
    ::usleep(400'000);
    turns->phase.store(Turns::kWait);
    while (turns->busy.load() != 0) ::usleep(100);
    ns += now_ns() - start;
  };
  for (auto _ : state) {
    take_turn(Turns::kOurs, ours_ns);
    take_turn(Turns::kBare, bare_ns);
  }
  turns->phase.store(Turns::kEnd);
  for (const pid_t child : children) {
    int status = 0;
    if (::waitpid(child, &status, 0) != child || status != 0) state.SkipWithError("one has died");
  }
  double ours = 0, bare = 0, spread = 1;
  for (const auto& calls : turns->ours) ours += static_cast<double>(calls.load());
  for (const auto& calls : turns->bare) bare += static_cast<double>(calls.load());
  for (const auto& calls : turns->ours) {
    const double share = static_cast<double>(calls.load()) * kProcesses / ours;
    spread = std::max({spread, share, 1 / share});
  }
  OurLoop books(scratch.path + "/ours.db", kSharedBatch, Durability::kPower);
  const auto settled_sum = books.ledger().balance(books.scope());
  if (!books.ledger().verify()->ok() || settled_sum->settled != static_cast<Nanousd>(ours) * 900) {
    state.SkipWithError("the books are wrong");
  }
  state.counters["rows_per_s"] = 2 * ours * 1e9 / static_cast<double>(ours_ns);
  state.counters["bare_rows_per_s"] = 2 * bare * 1e9 / static_cast<double>(bare_ns);
  state.counters["ratio"] =
      ours / static_cast<double>(ours_ns) / (bare / static_cast<double>(bare_ns));
  state.counters["spread"] = spread;
  ::munmap(memory, sizeof(Turns));
}
BENCHMARK(three_processes)->Iterations(6)->UseRealTime()->Unit(benchmark::kMillisecond);

// Keeps a fixed number of calls in flight: each verdict settles its call and reserves another.
class Churn : public VerdictSink {
 public:
  void start(Ledger& ledger, std::vector<std::shared_ptr<Scope>> scopes, std::size_t in_flight) {
    ledger_ = &ledger;
    scopes_ = std::move(scopes);
    for (std::size_t i = 0; i < in_flight; ++i) one();
  }
  void one() {
    const Id id = ids_.next(SystemClock::instance().wall_ns());
    const std::uint64_t token = next_++;
    if (token - first_ >= pending_.size()) pending_.resize(pending_.size() * 2);
    pending_[token % pending_.size()] = id;
    ledger_->reserve({.token = token,
                      .call_id = id,
                      .intent_id = id,
                      .amount = 1'000,
                      .scopes = scopes_,
                      .labels = labels(),
                      .price_version = "2026-11-20"});
  }
  void on_verdicts(std::span<Verdict> verdicts) override {
    for (const Verdict& v : verdicts) {
      if (v.kind != Verdict::kAdmitted) abort();
      ledger_->finish(settled(pending_[v.token % pending_.size()], 900));
      done.fetch_add(1, std::memory_order_relaxed);
      if (!stopping.load(std::memory_order_relaxed)) one();
    }
  }
  std::atomic<std::uint64_t> done{0};
  std::atomic<bool> stopping{false};

 private:
  Ledger* ledger_ = nullptr;
  std::vector<std::shared_ptr<Scope>> scopes_;
  SystemRandom random_;
  IdGenerator ids_{random_};
  std::uint64_t next_ = 0, first_ = 0;
  std::vector<Id> pending_ = std::vector<Id>(1 << 16);
};

void durable_calls(benchmark::State& state) {
  Scratch scratch;
  Churn churn;
  auto ledger = open_ledger({.path = scratch.path + "/ledger.db", .admit = &admit}, &churn);
  if (!ledger.ok()) abort();
  std::vector<std::shared_ptr<Scope>> scopes;
  for (const char* kind : {"video", "day", "account"}) {
    scopes.push_back(*(*ledger)->open_scope({.kind = kind, .key = "1", .limit = kNanousdMax / 2}));
  }
  churn.start(**ledger, scopes, static_cast<std::size_t>(state.range(0)));
  const std::int64_t start = now_ns();
  for (auto _ : state) ::usleep(500'000);
  const std::uint64_t done = churn.done.load();
  const double seconds = static_cast<double>(now_ns() - start) / 1e9;
  churn.stopping.store(true);
  // Once for the calls still in flight, once for their settlements.
  for (int i = 0; i < 2; ++i) (void)(*ledger)->flush(60 * kNsPerSecond);
  const Nanousd settled_sum = (*ledger)->balance(*scopes[0])->settled;
  if (settled_sum != static_cast<Nanousd>(churn.done.load()) * 900) {
    state.SkipWithError("the balance is wrong");
  }
  state.counters["calls_per_s"] = static_cast<double>(done) / seconds;
  state.counters["calls_per_commit"] =
      static_cast<double>(done) / static_cast<double>((*ledger)->stats().commits);
  (*ledger)->close();
}
BENCHMARK(durable_calls)
    ->Arg(64)
    ->Arg(512)
    ->Arg(2048)
    ->Iterations(4)
    ->UseRealTime()
    ->Unit(benchmark::kMillisecond);

struct LoneSink : VerdictSink {
  void on_verdicts(std::span<Verdict>) override {
    {
      const std::lock_guard<std::mutex> lock(mutex);
      answered = true;
    }
    changed.notify_one();
  }
  void wait() {
    std::unique_lock<std::mutex> lock(mutex);
    changed.wait(lock, [this] { return answered; });
    answered = false;
  }
  std::mutex mutex;
  std::condition_variable changed;
  bool answered = false;
};

double median(std::vector<std::int64_t> values) {
  const auto middle = values.begin() + static_cast<std::ptrdiff_t>(values.size() / 2);
  std::nth_element(values.begin(), middle, values.end());
  return static_cast<double>(*middle);
}

void lone_wait(benchmark::State& state) {
  Scratch scratch;
  LoneSink sink;
  auto ledger = open_ledger({.path = scratch.path + "/ledger.db", .admit = &admit}, &sink);
  if (!ledger.ok()) abort();
  auto scope = *(*ledger)->open_scope({.kind = "video", .key = "1", .limit = kNanousdMax / 2});
  SeededRandom random(1);
  IdGenerator generator(random);
  const int fd = ::open((scratch.path + "/raw").c_str(), O_RDWR | O_CREAT | O_CLOEXEC, 0600);
  constexpr std::size_t kFileBytes = 4 << 20, kBytes = 4 * 4'120;  // four frames of the log
  const std::string zeros(kFileBytes, '\0'), page(kBytes, 'x');
  if (::pwrite(fd, zeros.data(), zeros.size(), 0) < 0 || ::fsync(fd) != 0) abort();
  std::vector<std::int64_t> ours, raw;
  std::size_t at = 0;
  for (auto _ : state) {
    const Id id = generator.next(SystemClock::instance().wall_ns());
    const std::int64_t t0 = now_ns();
    (*ledger)->reserve(
        {.token = 1, .call_id = id, .amount = 1'000, .scopes = {scope}, .labels = labels()});
    sink.wait();
    const std::int64_t t1 = now_ns();
    (*ledger)->finish(settled(id, 900));
    ::usleep(4'000);  // the settlement is written behind
    const std::int64_t t2 = now_ns();
    if (::pwrite(fd, page.data(), page.size(), static_cast<off_t>(at)) < 0) abort();
    if (::fdatasync(fd) != 0) abort();
    const std::int64_t t3 = now_ns();
    at = (at + kBytes) % (kFileBytes - kBytes);
    ours.push_back(t1 - t0);
    raw.push_back(t3 - t2);
  }
  ::close(fd);
  state.counters["p50_us"] = median(ours) / 1e3;
  state.counters["fdatasync_p50_us"] = median(raw) / 1e3;
  state.counters["ratio"] = median(ours) / median(raw);
  (*ledger)->close();
}
BENCHMARK(lone_wait)->Iterations(400)->UseRealTime()->Unit(benchmark::kMicrosecond);

// A wallet's movements and a call's history among a million other rows.
void read_one_scope(Ledger& ledger, const Id& call, benchmark::State& state) {
  SeededRandom random(2);
  IdGenerator generator(random);
  auto wallet = *ledger.open_scope({.kind = "wallet", .key = "7", .limit = kNanousdMax / 2});
  for (int i = 0; i < 100; ++i) {
    const Id id = generator.next(SystemClock::instance().wall_ns());
    (void)ledger.book({.call_id = id, .amount = 5, .scopes = {wallet}, .labels = labels()});
  }
  std::int64_t rows = 0;
  const auto count = [&](std::span<const Entry> batch) {
    rows += static_cast<std::int64_t>(batch.size());
    return true;
  };
  const std::vector<std::string> scopes = {"wallet:7"};
  std::int64_t start = now_ns();
  (void)ledger.read_entries({.scopes = scopes}, count);
  state.counters["scope_ms"] = static_cast<double>(now_ns() - start) / 1e6;
  if (rows != 200) state.SkipWithError("not all movements were found");
  start = now_ns();
  (void)ledger.read_entries({.call = call}, count);
  state.counters["history_us"] = static_cast<double>(now_ns() - start) / 1e3;
  if (rows == 200) state.SkipWithError("the call was not found");
}

// Cost of a call with few rows in the month and with a million.
void flat(benchmark::State& state) {
  Scratch scratch;
  SeededRandom random(1);
  IdGenerator generator(random);
  constexpr std::size_t kBatch = 256;
  OurLoop ours(scratch.path + "/ours.db", kBatch, Durability::kProcess);
  std::vector<Id> before, fresh;
  std::vector<double> us_per_call;
  for (auto _ : state) {
    const auto batches = static_cast<std::size_t>(state.range(0)) / 2 / kBatch;
    for (std::size_t tenth = 0; tenth < 10; ++tenth) {
      const std::int64_t start = now_ns();
      for (std::size_t b = 0; b < batches / 10; ++b) {
        fresh_ids(generator, kBatch, fresh);
        ours.batch(before, fresh);
        before.swap(fresh);
      }
      const std::size_t calls = batches / 10 * kBatch;
      us_per_call.push_back(static_cast<double>(now_ns() - start) / 1e3 /
                            static_cast<double>(calls));
    }
  }
  for (const bool lean : {false, true}) {
    EntryBounds bounds;
    bounds.lean = lean;
    const std::int64_t start = cpu_ns();
    std::int64_t rows = 0;
    (void)ours.ledger().read_entries(bounds, [&](std::span<const Entry> batch) {
      rows += static_cast<std::int64_t>(batch.size());
      return true;
    });
    state.counters[lean ? "lean_rows_per_s" : "read_rows_per_s"] =
        static_cast<double>(rows) * 1e9 / static_cast<double>(cpu_ns() - start);
  }
  read_one_scope(ours.ledger(), fresh.front(), state);
  const std::int64_t start = cpu_ns();
  if (!ours.ledger().verify()->ok()) state.SkipWithError("the books are wrong");
  state.counters["verify_ms"] = static_cast<double>(cpu_ns() - start) / 1e6;
  state.counters["first_us"] = us_per_call.front();
  state.counters["last_us"] = us_per_call.back();
  state.counters["ratio"] = us_per_call.back() / us_per_call.front();
}
BENCHMARK(flat)->Arg(1'000'000)->Iterations(1)->Unit(benchmark::kMillisecond);

}  // namespace
}  // namespace sluiceway::store
