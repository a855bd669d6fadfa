// Bounds the retries of one provider to a share of its first attempts, so that retries cannot
// multiply an outage.
//
// Model: in any window of 10 s at most 20 % of the first attempts of that window plus 3 retries.
// The 3 are Envoy's minimum retry concurrency; a retry counts for one window from its start, so
// that no release can be forgotten and the sum in a window is bounded. Both counts are kept in 32
// time slots: retries count with the oldest slot whole, first attempts without it, so the bound
// holds exactly for every window. Sources: Finagle RetryBudget (20 %, 10 s), Envoy retry_budget
// (20 %, minimum 3), read 2026-11-22. O(1), 600 bytes. Threads: any, one mutex. Example:
//     budget.on_first_attempt(now);  ...  if (retryable && budget.try_retry(now)) send_again();
#pragma once

#include <array>
#include <cstdint>
#include <mutex>

namespace sluiceway::limits {

class RetryBudget {
 public:
  // percent >= 0; window_ns >= 32; minimum_concurrent >= 0 (retries always allowed a window).
  explicit RetryBudget(std::int32_t percent = 20, std::int64_t window_ns = 10'000'000'000,
                       std::int32_t minimum_concurrent = 3);
  void on_first_attempt(std::int64_t now_ns);
  // True: the retry is counted and may go. False: the budget is spent; fail with the last error.
  bool try_retry(std::int64_t now_ns);
  // Takes back a counted retry that was not sent after all (no permit, cancelled).
  void cancel_retry(std::int64_t now_ns);
  std::int64_t left(std::int64_t now_ns) const;  // retries allowed now, >= 0

 private:
  static constexpr std::int64_t kSlots = 32;
  struct Slot {
    std::int64_t index = -1;  // now / slot_ns_
    std::int64_t first_attempts = 0;
    std::int64_t retries = 0;
  };
  Slot& slot_at(std::int64_t now_ns);
  std::int64_t left_locked(std::int64_t now_ns) const;

  const std::int32_t percent_;
  const std::int64_t slot_ns_;
  const std::int32_t minimum_;
  mutable std::mutex mutex_;
  std::int64_t latest_index_ = 0;
  std::array<Slot, kSlots + 1> slots_;
};

}  // namespace sluiceway::limits
