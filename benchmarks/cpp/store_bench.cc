// The ledger against a bare C loop over the same schema, bytes and batch size, in the same run.
//
// Rows: `ledger_rows_vs_sqlite/<batch>` alternates our ledger (queue, admission, verdicts) with
// the bare loop, both at synchronous=FULL, and reports rows a second of each and their ratio;
// `durable_calls` is the threaded ledger with calls ever in flight; `lone_wait` one reservation
// with no other under way, against write and fdatasync of the same bytes into a preallocated file;
// `flat` the cost of a call with an empty and with a full month of rows. Each checks its balance
// before it reports.
#include <benchmark/benchmark.h>
#include <fcntl.h>
#include <sqlite3.h>
#include <stdlib.h>
#include <unistd.h>

#include <algorithm>
#include <atomic>
#include <condition_variable>
#include <filesystem>
#include <mutex>
#include <string>
#include <thread>
#include <vector>

#include "base/random.h"
#include "store/ledger.h"
#include "store/schema.h"
#include "store/sqlite_db.h"

namespace sluiceway::store {
namespace {

void admit(std::span<ScopeBalance> scopes, std::span<const std::uint32_t> indices,
           std::span<const AdmissionItem> items, std::span<AdmissionResult> out) {
  for (std::size_t i = 0; i < items.size(); ++i) {
    out[i] = {};
    const auto mine = indices.subspan(items[i].first_index, items[i].index_count);
    for (const std::uint32_t s : mine) {
      const ScopeBalance& b = scopes[s];
      if (b.blocked || b.settled + b.held + b.in_doubt + items[i].amount > b.limit) {
        out[i] = {AdmissionVerdict::kExceeded, s};
      }
    }
    if (out[i].verdict != AdmissionVerdict::kAdmitted) continue;
    for (const std::uint32_t s : mine) scopes[s].held += items[i].amount;
  }
}

std::int64_t now_ns() { return SystemClock::instance().monotonic_ns(); }

// Processor time of this thread: what a reader costs, however busy the machine is.
std::int64_t cpu_ns() {
  struct timespec time{};
  ::clock_gettime(CLOCK_THREAD_CPUTIME_ID, &time);
  return time.tv_sec * kNsPerSecond + time.tv_nsec;
}

struct Scratch {
  Scratch() {
    std::string name = (std::filesystem::temp_directory_path() / "sluiceway-bench-XXXXXX").string();
    path = ::mkdtemp(name.data());
  }
  ~Scratch() { std::filesystem::remove_all(path); }
  std::string path;
};

struct CountingSink : VerdictSink {
  void on_verdicts(std::span<Verdict> verdicts) override {
    for (const Verdict& v : verdicts) admitted += v.kind == Verdict::kAdmitted;
  }
  std::uint64_t admitted = 0;
};

std::shared_ptr<const CallLabels> labels() {
  static const auto* shared = new auto(std::make_shared<const CallLabels>(
      CallLabels{.provider = "openai", .model = "gpt-x", .operation = "chat", .tenant = "acme"}));
  return *shared;
}

Finish settled(const Id& id, Nanousd amount) {
  Finish f{.call_id = id, .kind = EntryKind::kSettle, .amount = amount};
  f.usage.set(Bucket::kInput, 1'200);
  f.usage.set(Bucket::kOutput, 350);
  f.price_version = "2026-11-20";
  f.provider_request_id = "req_0123456789abcdef";
  f.latency_ns = 1'500 * kNsPerMs;
  return f;
}

// What our ledger does for a batch, without the ledger.
class BareLoop {
 public:
  explicit BareLoop(const std::string& path) {
    sqlite3_open(path.c_str(), &db_);
    exec(
        "PRAGMA journal_mode=WAL; PRAGMA wal_autocheckpoint=0; PRAGMA cache_size=-16384;"
        "PRAGMA synchronous=FULL");
    Connection maker;
    if (!maker.open(path, false).ok() || !ensure_schema(maker, false).ok()) abort();
    exec(segment_sql(202611).c_str());
    exec("INSERT INTO balances(scope_id, slot, window) VALUES (1,-1,''),(2,-1,''),(3,-1,'')");
    prepare("INSERT OR IGNORE INTO entries_202611 VALUES (?,?,?,?,?,?,?,?,?,?,?,?,?,?)", &entry_);
    prepare("INSERT INTO holds VALUES (?,?,?,?,?,?,?,?)", &hold_);
    prepare("DELETE FROM holds WHERE call_id = ?", &unhold_);
    prepare("UPDATE balances SET settled=?, held=?, in_doubt=?, blocked=? WHERE balance_id=?",
            &balance_);
    prepare("INSERT INTO commits(time_ns, refs) VALUES (?, ?)", &commit_row_);
    prepare("BEGIN IMMEDIATE", &begin_);
    prepare("COMMIT", &commit_);
  }
  ~BareLoop() {
    for (sqlite3_stmt* s : {entry_, hold_, unhold_, balance_, commit_row_, begin_, commit_}) {
      sqlite3_finalize(s);
    }
    sqlite3_close(db_);
  }

  // One transaction: settles `ended`, reserves `fresh`.
  void batch(std::span<const Id> ended, std::span<const Id> fresh) {
    step(begin_);
    unsigned char id[16];
    for (const Id& call : ended) {
      call.to_bytes(id);
      sqlite3_bind_blob(unhold_, 1, id, 16, SQLITE_STATIC);
      step(unhold_);
      bind_entry(id, 1, 1, 900);
      sqlite3_bind_null(entry_, 10);
      sqlite3_bind_null(entry_, 11);
      sqlite3_bind_blob(entry_, 12, "\x22\xe0\x12\xbc\x05", 5, SQLITE_STATIC);
      sqlite3_bind_text(entry_, 13, "req_0123456789abcdef", 20, SQLITE_STATIC);
      step(entry_);
    }
    for (const Id& call : fresh) {
      call.to_bytes(id);
      bind_entry(id, 0, 0, 1'000);
      sqlite3_bind_blob(entry_, 10, id, 16, SQLITE_STATIC);
      sqlite3_bind_blob(entry_, 11, "\1\2\3", 3, SQLITE_STATIC);
      sqlite3_bind_null(entry_, 12);
      sqlite3_bind_null(entry_, 13);
      step(entry_);
      sqlite3_bind_blob(hold_, 1, id, 16, SQLITE_STATIC);
      const std::int64_t values[] = {1'000, 0, 1, 1'795'327'200'000'000'000, 1, 202611};
      for (int i = 0; i < 6; ++i) sqlite3_bind_int64(hold_, i + 2, values[i]);
      sqlite3_bind_blob(hold_, 8, "\1\2\3", 3, SQLITE_STATIC);
      step(hold_);
    }
    for (int b = 1; b <= 3; ++b) {
      for (int i = 1; i <= 4; ++i) sqlite3_bind_int64(balance_, i, 0);
      sqlite3_bind_int64(balance_, 5, b);
      step(balance_);
    }
    refs_.clear();  // 17 bytes a row, as encode_entry_ref() has it
    for (const auto& calls : {ended, fresh}) {
      for (const Id& call : calls) {
        call.to_bytes(id);
        refs_.append(reinterpret_cast<const char*>(id), 16).push_back('\x22');
      }
    }
    sqlite3_bind_int64(commit_row_, 1, 1'795'327'200'000'000'000);
    sqlite3_bind_blob(commit_row_, 2, refs_.data(), static_cast<int>(refs_.size()), SQLITE_STATIC);
    step(commit_row_);
    step(commit_);
    if (++batches_ % 256 == 0) sqlite3_wal_checkpoint_v2(db_, nullptr, 0, nullptr, nullptr);
  }

 private:
  void exec(const char* sql) {
    if (sqlite3_exec(db_, sql, nullptr, nullptr, nullptr) != SQLITE_OK) abort();
  }
  void prepare(const char* sql, sqlite3_stmt** out) {
    if (sqlite3_prepare_v3(db_, sql, -1, SQLITE_PREPARE_PERSISTENT, out, nullptr) != SQLITE_OK) {
      abort();
    }
  }
  void step(sqlite3_stmt* statement) {
    const int code = sqlite3_step(statement);
    if (code != SQLITE_DONE && code != SQLITE_ROW) abort();
    sqlite3_reset(statement);
  }
  void bind_entry(const unsigned char* id, int attempt, int kind, std::int64_t amount) {
    sqlite3_bind_blob(entry_, 1, id, 16, SQLITE_STATIC);
    const std::int64_t values[] = {attempt, kind, 1'795'327'200'000'000'000,    amount, 1,
                                   1,       0,    kind == 0 ? 0 : 1'500'000'000};
    for (int i = 0; i < 8; ++i) sqlite3_bind_int64(entry_, i + 2, values[i]);
  }
  sqlite3* db_ = nullptr;
  sqlite3_stmt *entry_ = nullptr, *hold_ = nullptr, *unhold_ = nullptr, *balance_ = nullptr,
               *commit_row_ = nullptr, *begin_ = nullptr, *commit_ = nullptr;
  std::string refs_;
  int batches_ = 0;
};

// One ledger without a thread, three scopes a call.
class OurLoop {
 public:
  OurLoop(const std::string& path, std::size_t batch, Durability durability) {
    auto ledger = open_ledger({.path = path,
                               .durability = durability,
                               .admit = &admit,
                               .threaded = false,
                               .batch_max = std::max<std::size_t>(batch, 2)},
                              &sink_);
    if (!ledger.ok()) abort();
    ledger_ = *ledger;
    for (const char* kind : {"video", "day", "account"}) {
      scopes_.push_back(*ledger_->open_scope({.kind = kind, .key = "1", .limit = kNanousdMax / 2}));
    }
  }
  void batch(std::span<const Id> ended, std::span<const Id> fresh) {
    for (const Id& id : ended) ledger_->finish(settled(id, 900));
    for (const Id& id : fresh) {
      ledger_->reserve({.token = 1,
                        .call_id = id,
                        .intent_id = id,
                        .amount = 1'000,
                        .scopes = scopes_,
                        .labels = labels(),
                        .price_version = "2026-11-20"});
    }
    ledger_->pump();
  }
  Ledger& ledger() { return *ledger_; }
  const Scope& scope() { return *scopes_[0]; }
  std::uint64_t admitted() const { return sink_.admitted; }

 private:
  CountingSink sink_;
  std::shared_ptr<Ledger> ledger_;
  std::vector<std::shared_ptr<Scope>> scopes_;
};

void fresh_ids(IdGenerator& generator, std::size_t count, std::vector<Id>& out) {
  out.clear();
  for (std::size_t i = 0; i < count; ++i) {
    out.push_back(generator.next(SystemClock::instance().wall_ns()));
  }
}

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
  // Four rows a call: reservation, hold, settlement, and the hold again.
  const double rows = 4.0 * static_cast<double>(calls);
  state.counters["rows_per_s"] = rows * 1e9 / static_cast<double>(ours_ns);
  state.counters["bare_rows_per_s"] = rows * 1e9 / static_cast<double>(bare_ns);
  state.counters["ratio"] = static_cast<double>(bare_ns) / static_cast<double>(ours_ns);
}
BENCHMARK(ledger_rows_vs_sqlite)->Arg(1)->Arg(16)->Arg(64)->Arg(256)->Unit(benchmark::kMicrosecond);

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
      us_per_call.push_back(static_cast<double>(now_ns() - start) / 1e3 /
                            static_cast<double>(batches / 10 * kBatch));
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
