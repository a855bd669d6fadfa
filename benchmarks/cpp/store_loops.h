// What the ledger's benchmarks share: our ledger in a loop, a bare loop of SQLite over the same
// schema and bytes, and what they need. See store_bench.cc.
#pragma once

#include <sqlite3.h>
#include <stdlib.h>
#include <time.h>

#include <algorithm>
#include <filesystem>
#include <memory>
#include <string>
#include <vector>

#include "base/random.h"
#include "store/hold_packs.h"
#include "store/ledger.h"
#include "store/schema.h"
#include "store/sqlite_db.h"

namespace sluiceway::store {

inline void admit(std::span<ScopeBalance> scopes, std::span<const std::uint32_t> indices,
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

inline std::int64_t now_ns() { return SystemClock::instance().monotonic_ns(); }

// Processor time of this thread: what a reader costs, however busy the machine is.
inline std::int64_t cpu_ns() {
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

inline std::shared_ptr<const CallLabels> labels() {
  static const auto* shared = new auto(std::make_shared<const CallLabels>(
      CallLabels{.provider = "openai", .model = "gpt-x", .operation = "chat", .tenant = "acme"}));
  return *shared;
}

inline Finish settled(const Id& id, Nanousd amount) {
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
    sqlite3_busy_timeout(db_, 60'000);  // where several processes share the file
    exec(
        "PRAGMA journal_mode=WAL; PRAGMA wal_autocheckpoint=0; PRAGMA cache_size=-16384;"
        "PRAGMA synchronous=FULL");
    Connection maker;
    if (!maker.open(path, false).ok() || !ensure_schema(maker, false).ok()) abort();
    exec(segment_sql(202611).c_str());
    exec(
        "INSERT OR IGNORE INTO balances(scope_id, slot, window) VALUES "
        "(1,-1,''),(2,-1,''),(3,-1,'')");
    prepare("INSERT OR IGNORE INTO entries_202611 VALUES (?,?,?,?,?,?,?,?,?,?,?,?,?,?)", &entry_);
    prepare("INSERT INTO hold_packs VALUES (NULL,?,?,?,?,?,?)", &pack_);
    prepare("DELETE FROM hold_packs WHERE pack_id = ?", &unpack_);
    prepare("UPDATE balances SET settled=?, held=?, in_doubt=?, blocked=? WHERE balance_id=?",
            &balance_);
    prepare("INSERT INTO commits(time_ns, refs) VALUES (?, ?)", &commit_row_);
    prepare("BEGIN IMMEDIATE", &begin_);
    prepare("COMMIT", &commit_);
  }
  ~BareLoop() {
    for (sqlite3_stmt* s : {entry_, pack_, unpack_, balance_, commit_row_, begin_, commit_}) {
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
    }
    packs(fresh);
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
  // The holds, as HoldPacks has them: those of the batch before go, in packs of 64.
  void packs(std::span<const Id> fresh) {
    for (const std::int64_t pack : packs_) {
      sqlite3_bind_int64(unpack_, 1, pack);
      step(unpack_);
    }
    packs_.clear();
    for (std::size_t first = 0; first < fresh.size(); first += kHoldPackMax) {
      const auto part = fresh.subspan(first, std::min(kHoldPackMax, fresh.size() - first));
      refs_.clear();
      for (const Id& call : part) encode_hold({call, 1'000, 1, "\1\2\3"}, refs_);
      const std::int64_t values[] = {1, 1'795'327'200'000'000'000, 202611,
                                     static_cast<std::int64_t>(part.size()), 0};
      for (int i = 0; i < 5; ++i) sqlite3_bind_int64(pack_, i + 1, values[i]);
      sqlite3_bind_blob(pack_, 6, refs_.data(), static_cast<int>(refs_.size()), SQLITE_STATIC);
      step(pack_);
      packs_.push_back(sqlite3_last_insert_rowid(db_));
    }
  }
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
  sqlite3_stmt *entry_ = nullptr, *pack_ = nullptr, *unpack_ = nullptr, *balance_ = nullptr,
               *commit_row_ = nullptr, *begin_ = nullptr, *commit_ = nullptr;
  std::string refs_;
  std::vector<std::int64_t> packs_;
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

inline void fresh_ids(IdGenerator& generator, std::size_t count, std::vector<Id>& out) {
  out.clear();
  for (std::size_t i = 0; i < count; ++i) {
    out.push_back(generator.next(SystemClock::instance().wall_ns()));
  }
}

}  // namespace sluiceway::store
