// What a call used, in disjoint buckets: a unit is counted in exactly one of them.
//
// Providers report overlapping counts (cached tokens inside or outside the input, reasoning inside
// the output); a dialect declares how they become these buckets, and only then is anything priced.
// Absent is not zero: `present` says which were reported. kReasoning is told apart for people; it
// is priced with kOutput unless a price row has a rate of its own for it.
#pragma once

#include <array>
#include <cstddef>
#include <cstdint>
#include <string_view>

#include "base/money.h"

namespace sluiceway {

enum class Bucket : std::uint8_t {
  kInput = 0,     // fresh input tokens: neither read from nor written to a cache
  kCacheRead,     // input tokens read from the provider's prompt cache
  kCacheWrite5m,  // input tokens written to it (5 minutes, or the provider's only duration)
  kCacheWrite1h,  // input tokens written to it for one hour or longer
  kOutput,        // output tokens without reasoning
  kReasoning,     // hidden reasoning tokens
  kAudioInput,    // audio tokens in
  kAudioOutput,   // audio tokens out
  kImageInput,    // image tokens in
  kImageOutput,   // image tokens out
  kCharacters,
  kImages,
  kMegapixels,  // in thousandths
  kSeconds,     // in thousandths
  kSearches,
  kRequests,
  kCredits,  // in thousandths
  kQuotaUnits,
};
constexpr std::size_t kBucketCount = 18;

// snake_case, as registry.toml, price files, rows and Python name them.
std::string_view bucket_name(Bucket bucket);
// kBucketCount when there is no such bucket.
std::size_t bucket_index(std::string_view name);

struct Usage {
  std::array<std::int64_t, kBucketCount> units{};
  std::uint32_t present = 0;           // bit i: bucket i was reported
  Nanousd reported_cost_nanousd = -1;  // the provider's own figure, or -1
  bool any() const { return present != 0; }
  bool has(Bucket b) const { return (present >> static_cast<unsigned>(b)) & 1u; }
  std::int64_t get(Bucket b) const { return units[static_cast<std::size_t>(b)]; }
  void set(Bucket b, std::int64_t value) {
    units[static_cast<std::size_t>(b)] = value;
    present |= 1u << static_cast<unsigned>(b);
  }
};

}  // namespace sluiceway
