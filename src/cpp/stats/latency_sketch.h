// Quantiles of latencies within 1 %: a DDSketch with integer counts.
//
// Model: bin i counts the latencies in (1 us * gamma^(i-1), 1 us * gamma^i] with gamma = 1.01/0.99,
// so the middle of a bin is within 1 % of everything in it. Two sketches are merged by adding their
// counts, which gives exactly the sketch of all values together, in any order. Range: 1 us to one
// year; what lies outside is counted in the outermost bin, and the smallest and largest value are
// kept exactly.
//
// Bounds: 1,556 bins; only the used stretch of them is allocated (milliseconds to seconds: about
// 350 bins, 2.8 kB). add is one logarithm. Threads: none; every owner has its own sketch, or guards
// it, and readers take a copy to merge. Latencies are integers; only the bin's place and the
// answer's middle are computed in floating point.
//
// Example: LatencySketch s; s.add(12'000'000); s.quantile(0.99) -> about 12'000'000 (ns)
//
// Source: C. Masson, J. E. Rim, H. K. Lee, "DDSketch: A fast and fully-mergeable quantile sketch
// with relative-error guarantees", PVLDB 12(12), 2019.
#pragma once

#include <cstddef>
#include <cstdint>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "base/status.h"

namespace sluiceway::stats {

class LatencySketch {
 public:
  static constexpr double kRelativeError = 0.01;
  static constexpr std::int64_t kMinNs = 1'000;
  static constexpr std::int64_t kMaxNs = std::int64_t{365} * 86'400 * 1'000'000'000;
  static constexpr std::size_t kBinCount = 1'556;

  // A negative latency counts as 0.
  void add(std::int64_t latency_ns, std::uint64_t count = 1);
  void merge(const LatencySketch& other);
  void clear() { *this = LatencySketch(); }

  // The value in ns below which a share `q` (0 to 1, clamped) of the latencies lies, within 1 % of
  // the one with rank floor(q * (count - 1)); exact at q = 0 and q = 1. nullopt when empty.
  std::optional<std::int64_t> quantile(double q) const;

  std::uint64_t count() const { return count_; }
  std::int64_t sum_ns() const { return sum_ns_; }  // saturates
  std::int64_t min_ns() const { return count_ ? min_ns_ : 0; }
  std::int64_t max_ns() const { return count_ ? max_ns_ : 0; }

  // A few bytes a used bin, the same on every machine. deserialize refuses (kInvalidArgument) what
  // serialize cannot have written.
  std::string serialize() const;
  static StatusOr<LatencySketch> deserialize(std::string_view bytes);

  bool operator==(const LatencySketch&) const = default;

 private:
  static std::size_t bin_of(std::int64_t latency_ns);
  static std::int64_t middle_of(std::size_t bin);
  std::uint64_t& bin_at(std::size_t bin);

  std::vector<std::uint64_t> bins_;  // counts of bins first_, first_ + 1, ...
  std::size_t first_ = 0;
  std::uint64_t count_ = 0;
  std::int64_t sum_ns_ = 0;
  std::int64_t min_ns_ = 0;
  std::int64_t max_ns_ = 0;
};

}  // namespace sluiceway::stats
