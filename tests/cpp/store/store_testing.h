// What the ledger's tests share: an admit function of their own, a sink that keeps verdicts, ids,
// and a scratch directory.
#pragma once

#include <gtest/gtest.h>
#include <stdlib.h>
#include <unistd.h>

#include <condition_variable>
#include <filesystem>
#include <map>
#include <mutex>
#include <string>
#include <vector>

#include "base/clock.h"
#include "store/ledger.h"

namespace sluiceway::store {

constexpr std::int64_t kSecond = kNsPerSecond;
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

}  // namespace sluiceway::store
