// DDSketch over latencies: see latency_sketch.h.
#include "stats/latency_sketch.h"

#include <algorithm>
#include <cmath>
#include <limits>

#include "base/money.h"

namespace sluiceway::stats {
namespace {

const double kGamma = (1 + LatencySketch::kRelativeError) / (1 - LatencySketch::kRelativeError);
const double kLogGamma = std::log(kGamma);

// Serialised form: "LS1", then unsigned LEB128 numbers: count, sum, min, max, first bin, how many
// bins, their counts.
constexpr std::string_view kTag = "LS1";
constexpr std::int64_t kInt64Max = std::numeric_limits<std::int64_t>::max();

void append_number(std::string& out, std::uint64_t value) {
  for (; value >= 128; value >>= 7) out += static_cast<char>((value & 127) | 128);
  out += static_cast<char>(value);
}

// False when the bytes end early, or the number is beyond 64 bits or not in its shortest form.
bool take_number(std::string_view& bytes, std::uint64_t& value) {
  value = 0;
  for (unsigned shift = 0; shift < 64; shift += 7) {
    if (bytes.empty()) return false;
    const auto byte = static_cast<unsigned char>(bytes[0]);
    bytes.remove_prefix(1);
    if (shift == 63 && byte > 1) return false;
    value |= static_cast<std::uint64_t>(byte & 127) << shift;
    if (byte < 128) return byte != 0 || shift == 0;
  }
  return false;
}

}  // namespace

std::size_t LatencySketch::bin_of(std::int64_t latency_ns) {
  if (latency_ns <= kMinNs) return 0;
  const double ratio = static_cast<double>(latency_ns) / static_cast<double>(kMinNs);
  const auto bin = static_cast<std::size_t>(std::ceil(std::log(ratio) / kLogGamma));
  return std::min(bin, kBinCount - 1);
}

// 2 * gamma^i / (gamma + 1): as far from the bin's lower as from its upper end, in proportion.
std::int64_t LatencySketch::middle_of(std::size_t bin) {
  const double upper = static_cast<double>(kMinNs) * std::exp(kLogGamma * static_cast<double>(bin));
  return std::llround(2 * upper / (kGamma + 1));
}

// The count of `bin`; the used stretch grows to hold it.
std::uint64_t& LatencySketch::bin_at(std::size_t bin) {
  if (bins_.empty()) first_ = bin;
  if (bin < first_) {
    bins_.insert(bins_.begin(), first_ - bin, 0);
    first_ = bin;
  }
  if (bin - first_ >= bins_.size()) bins_.resize(bin - first_ + 1, 0);
  return bins_[bin - first_];
}

void LatencySketch::add(std::int64_t latency_ns, std::uint64_t count) {
  if (count == 0) return;
  latency_ns = std::max<std::int64_t>(latency_ns, 0);
  bin_at(bin_of(latency_ns)) += count;
  min_ns_ = count_ == 0 ? latency_ns : std::min(min_ns_, latency_ns);
  max_ns_ = count_ == 0 ? latency_ns : std::max(max_ns_, latency_ns);
  count_ += count;
  std::int64_t product = 0;
  if (__builtin_mul_overflow(latency_ns, count, &product)) product = kInt64Max;
  sum_ns_ = saturating_add(sum_ns_, product);
}

void LatencySketch::merge(const LatencySketch& other) {
  if (other.count_ == 0) return;
  if (&other == this) return merge(LatencySketch(other));
  bin_at(other.first_);
  bin_at(other.first_ + other.bins_.size() - 1);
  for (std::size_t i = 0; i < other.bins_.size(); ++i) {
    bins_[other.first_ + i - first_] += other.bins_[i];
  }
  min_ns_ = count_ == 0 ? other.min_ns_ : std::min(min_ns_, other.min_ns_);
  max_ns_ = count_ == 0 ? other.max_ns_ : std::max(max_ns_, other.max_ns_);
  count_ += other.count_;
  sum_ns_ = saturating_add(sum_ns_, other.sum_ns_);
}

std::optional<std::int64_t> LatencySketch::quantile(double q) const {
  if (count_ == 0) return std::nullopt;
  if (!(q > 0)) return min_ns_;  // NaN too
  if (q >= 1) return max_ns_;
  const auto rank = static_cast<std::uint64_t>(q * static_cast<double>(count_ - 1));
  std::uint64_t seen = 0;
  for (std::size_t i = 0; i < bins_.size(); ++i) {
    seen += bins_[i];
    if (seen > rank) return std::clamp(middle_of(first_ + i), min_ns_, max_ns_);
  }
  return max_ns_;
}

std::string LatencySketch::serialize() const {
  std::string out(kTag);
  append_number(out, count_);
  append_number(out, static_cast<std::uint64_t>(sum_ns_));
  append_number(out, static_cast<std::uint64_t>(min_ns_));
  append_number(out, static_cast<std::uint64_t>(max_ns_));
  append_number(out, first_);
  append_number(out, bins_.size());
  for (std::uint64_t count : bins_) append_number(out, count);
  return out;
}

StatusOr<LatencySketch> LatencySketch::deserialize(std::string_view bytes) {
  const auto wrong = [] { return invalid_argument("not a serialised latency sketch"); };
  if (bytes.substr(0, kTag.size()) != kTag) return wrong();
  bytes.remove_prefix(kTag.size());
  std::uint64_t head[6];
  for (std::uint64_t& number : head) {
    if (!take_number(bytes, number)) return wrong();
  }
  const auto [count, sum, min, max, first, size] = head;
  constexpr auto kMax = static_cast<std::uint64_t>(kInt64Max);
  if (sum > kMax || max > kMax || min > max || first >= kBinCount || size > kBinCount - first) {
    return wrong();
  }
  LatencySketch sketch;
  sketch.count_ = count;
  sketch.sum_ns_ = static_cast<std::int64_t>(sum);
  sketch.min_ns_ = static_cast<std::int64_t>(min);
  sketch.max_ns_ = static_cast<std::int64_t>(max);
  sketch.first_ = static_cast<std::size_t>(first);
  sketch.bins_.resize(static_cast<std::size_t>(size));
  std::uint64_t total = 0;
  for (std::uint64_t& bin : sketch.bins_) {
    if (!take_number(bytes, bin)) return wrong();
    if (__builtin_add_overflow(total, bin, &total)) return wrong();
  }
  if (!bytes.empty() || total != count) return wrong();
  if (count == 0)
    return sum == 0 && max == 0 && size == 0 && first == 0 ? StatusOr<LatencySketch>(sketch)
                                                           : wrong();
  // The outermost bins are those of the smallest and the largest latency.
  if (bin_of(sketch.min_ns_) != first || bin_of(sketch.max_ns_) != first + size - 1) return wrong();
  return sketch;
}

}  // namespace sluiceway::stats
