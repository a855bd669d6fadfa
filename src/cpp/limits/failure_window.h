// What a breaker remembers of recent calls: how many, how many failed, in a window that outlasts
// them.
//
// Model: results in up to 64 time slots, the oldest counted whole. The window is max(configured,
// 2 * p99 of call durations): with a window shorter than the calls, a failing video job of ten
// minutes would never meet a second one (zeromicro/go-zero issue 5011). p99 is estimated from
// above: durations fall into powers of two, the answer is the upper edge of the bin, and old
// durations fade by halving at 1,024. So the window is at most four times wider than it need be,
// never shorter. When it grows the slots double in width and merge.
//
// Bounds: count O(1), amortised; sum O(64); 1.3 kB; widest window 2^48 ns (78 hours). Time:
// monotonic ns; slots that a clock set back puts into the future are not counted. Threads: none of
// its own, the breaker's mutex guards it. Example:
//     window.count(now_ns, /*failed=*/true);  auto [calls, failures] = window.sum(now_ns);
#pragma once

#include <array>
#include <cstddef>
#include <cstdint>

namespace sluiceway::limits {

class FailureWindow {
 public:
  struct Sum {
    std::int64_t calls = 0;
    std::int64_t failures = 0;
  };

  explicit FailureWindow(std::int64_t window_ns);  // the configured width, >= 1
  void count(std::int64_t now_ns, bool failed);
  void observe_duration(std::int64_t duration_ns);  // of any call that ended by itself
  Sum sum(std::int64_t now_ns) const;
  // False: sum() would find no failure. Cheap, and true now and then when it would not.
  bool may_have_failures() const { return failures_ > 0; }
  void clear();  // forgets the results, keeps the durations
  std::int64_t window_ns() const { return window_ns_; }

 private:
  static constexpr std::size_t kSlots = 64;
  static constexpr std::size_t kBins = 47;  // bin i: [2^i, 2^(i+1)) ns; the last takes the rest
  struct Slot {
    std::int64_t index = -1;  // time / slot_ns_
    std::int64_t calls = 0;
    std::int64_t failures = 0;
  };

  void set_window(std::int64_t window_ns);
  void merge_slots();
  std::int64_t p99_upper_ns() const;

  const std::int64_t configured_ns_;
  std::int64_t window_ns_;
  std::int64_t slot_ns_;
  std::int64_t failures_ = 0;  // in all slots, also those that have left the window
  std::array<Slot, kSlots> slots_{};
  std::array<std::uint32_t, kBins> durations_{};
  std::uint32_t durations_total_ = 0;
};

}  // namespace sluiceway::limits
