// What the ledger's tests share: an admit function of their own, a sink that keeps verdicts, ids,
// a scratch directory, and the ledger that a test drives in its own thread with a clock it moves.
#pragma once

#include <gtest/gtest.h>
#include <stdlib.h>
#include <unistd.h>

#include <condition_variable>
#include <filesystem>
#include <map>
#include <memory>
#include <mutex>
#include <string>
#include <utility>
#include <vector>

#include "base/clock.h"
#include "store/ledger.h"
#include "support/units.h"

namespace sluiceway::store {

// 2026-11-22T06:00:00Z: 20,779 days of 86,400 s after 1970-01-01, and six hours.
constexpr std::int64_t kSunday = (20'779LL * 86'400 + 6 * 3'600) * kSecond;

// Written for the tests, not the package's: plain.
inline void plain_admit(std::span<ScopeBalance> scopes, std::span<const std::uint32_t> indices,
                        std::span<const AdmissionItem> items, std::span<AdmissionResult> out) {
  for (std::size_t i = 0; i < items.size(); ++i) {
    out[i] = {};
    const auto mine = indices.subspan(items[i].first_index, items[i].index_count);
    for (const std::uint32_t s : mine) {
      const ScopeBalance& b = scopes[s];
      const Nanousd total = saturating_add(saturating_add(b.settled, b.held),
                                           saturating_add(b.in_doubt, items[i].amount));
      if (b.blocked || (b.limit != kNanousdMax && total > b.limit)) {
        out[i] = {b.blocked ? AdmissionVerdict::kBlocked : AdmissionVerdict::kExceeded, s};
        break;
      }
    }
    if (out[i].verdict != AdmissionVerdict::kAdmitted) continue;
    for (std::size_t k = 0; k < mine.size(); ++k) {
      bool before = false;
      for (std::size_t j = 0; j < k; ++j) before = before || mine[j] == mine[k];
      if (!before) scopes[mine[k]].held += items[i].amount;
    }
  }
}

class KeepingSink : public VerdictSink {
 public:
  void on_verdicts(std::span<Verdict> verdicts) override {
    const std::lock_guard<std::mutex> lock(mutex_);
    for (Verdict& v : verdicts) {
      EXPECT_FALSE(by_token_.contains(v.token)) << "answered twice: " << v.token;
      by_token_[v.token] = std::move(v);
    }
    changed_.notify_all();
  }
  // Waits (real time, at most a minute).
  Verdict wait(std::uint64_t token) {
    std::unique_lock<std::mutex> lock(mutex_);
    changed_.wait_for(lock, std::chrono::minutes(1), [&] { return by_token_.contains(token); });
    return by_token_.at(token);
  }
  bool has(std::uint64_t token) {
    const std::lock_guard<std::mutex> lock(mutex_);
    return by_token_.contains(token);
  }
  std::size_t size() {
    const std::lock_guard<std::mutex> lock(mutex_);
    return by_token_.size();
  }
  std::map<std::uint64_t, Verdict> take() {
    const std::lock_guard<std::mutex> lock(mutex_);
    return std::exchange(by_token_, {});
  }

 private:
  std::mutex mutex_;
  std::condition_variable changed_;
  std::map<std::uint64_t, Verdict> by_token_;
};

// A directory of the test's own, removed at its end.
class ScratchDirectory {
 public:
  ScratchDirectory() {
    std::string name = (std::filesystem::temp_directory_path() / "sluiceway-store-XXXXXX").string();
    path_ = ::mkdtemp(name.data());
  }
  ~ScratchDirectory() {
    std::error_code ignored;
    std::filesystem::remove_all(path_, ignored);
  }
  std::string file(const std::string& name = "ledger.db") const { return path_ + "/" + name; }

 private:
  std::string path_;
};

inline Id make_id(std::uint64_t n, std::uint64_t worker = 0) { return Id{0x1000 + n, worker + 1}; }

inline std::shared_ptr<const CallLabels> plain_labels() {
  static const auto* labels = new std::shared_ptr<const CallLabels>(
      std::make_shared<CallLabels>(CallLabels{.provider = "openai",
                                              .model = "gpt-x",
                                              .operation = "chat",
                                              .tenant = "acme",
                                              .account = "main",
                                              .tags = "team=red"}));
  return *labels;
}

// A ledger on a file, closed after the test. Ids and tokens are the number of the call.
class LedgerFixture : public ::testing::Test {
 protected:
  explicit LedgerFixture(std::int64_t wall_ns = kSunday) : clock_(1'000 * kSecond, wall_ns) {}

  void SetUp() override { open(); }
  void TearDown() override {
    if (ledger_ != nullptr) ledger_->close();
  }
  virtual LedgerOptions options() {
    return {.path = directory_.file(),
            .durability = Durability::kProcess,
            .admit = &plain_admit,
            .clock = &clock_,
            .threaded = false};
  }
  // Also after a close(), for what the file alone tells.
  virtual void open() {
    auto ledger = open_ledger(options(), &sink_);
    ASSERT_TRUE(ledger.ok()) << ledger.status();
    ledger_ = *ledger;
  }
  std::shared_ptr<Scope> scope(const ScopeConfig& config) {
    auto opened = ledger_->open_scope(config);
    EXPECT_TRUE(opened.ok()) << opened.status();
    return *opened;
  }
  void reserve(std::uint64_t n, Nanousd amount, std::vector<std::shared_ptr<Scope>> scopes) {
    ledger_->reserve({.token = n,
                      .call_id = make_id(n),
                      .intent_id = make_id(n),
                      .amount = amount,
                      .scopes = std::move(scopes),
                      .labels = plain_labels()});
  }
  Verdict::Kind ask(std::uint64_t n, Nanousd amount, std::vector<std::shared_ptr<Scope>> scopes) {
    reserve(n, amount, std::move(scopes));
    ledger_->pump();
    return sink_.wait(n).kind;
  }
  void end(std::uint64_t n, EntryKind kind, Nanousd amount = 0, int attempts = 1) {
    ledger_->finish({.call_id = make_id(n), .kind = kind, .amount = amount, .attempts = attempts});
    ledger_->pump();
  }
  void settle(std::uint64_t n, Nanousd amount) { end(n, EntryKind::kSettle, amount); }
  void expect_balance(const Scope& scope, Nanousd settled, Nanousd held, Nanousd in_doubt,
                      bool blocked = false) {
    auto b = ledger_->balance(scope);
    ASSERT_TRUE(b.ok()) << b.status();
    EXPECT_EQ(b->settled, settled);
    EXPECT_EQ(b->held, held);
    EXPECT_EQ(b->in_doubt, in_doubt);
    EXPECT_EQ(b->blocked, blocked);
  }
  std::vector<std::string> problems() {
    auto report = ledger_->verify();
    EXPECT_TRUE(report.ok()) << report.status();
    return report.ok() ? report->problems : std::vector<std::string>{};
  }
  void expect_books_right() { EXPECT_EQ(problems(), std::vector<std::string>{}); }

  ScratchDirectory directory_;
  ManualClock clock_;
  KeepingSink sink_;
  std::shared_ptr<Ledger> ledger_;
};

// The same on both backends: a file where the parameter is true, else in memory.
//
//   INSTANTIATE_TEST_SUITE_P(Backends, JobTest, ::testing::Bool(), backend_name);
class BackendFixture : public LedgerFixture, public ::testing::WithParamInterface<bool> {
 protected:
  LedgerOptions options() override {
    LedgerOptions options = LedgerFixture::options();
    if (!GetParam()) {
      options.path = ":memory:";
      options.durability = Durability::kMemory;
    }
    return options;
  }
};

inline std::string backend_name(const ::testing::TestParamInfo<bool>& backend) {
  return backend.param ? "sqlite" : "memory";
}

}  // namespace sluiceway::store
