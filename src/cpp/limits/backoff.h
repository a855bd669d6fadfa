// How long to wait before the next attempt: jittered exponential backoff.
//
// Full jitter (uniform over the whole interval) spreads retries best for the fewest calls; equal
// jitter (half fixed, half random) is for a breaker's open time, which must not be near zero.
// Source: "Exponential Backoff and Jitter", AWS Architecture Blog, 2015, its simulator re-created
// (docs/internals). O(1), no state; `random` is used by the calling thread only. Example:
//     full_jitter_ns(1, /*throttled=*/false, random)   // 0 to 0.5 s
#pragma once

#include <cstdint>

#include "base/random.h"

namespace sluiceway::limits {

struct BackoffConfig {
  std::int64_t base_ns = 500'000'000;
  std::int64_t throttled_base_ns = 1'000'000'000;  // after a 429 or another throttle
  std::int64_t cap_ns = 20'000'000'000;
};

// min(cap, base * 2^steps) without overflow; steps >= 0, base >= 0.
std::int64_t exponential_ns(std::int64_t base_ns, int steps, std::int64_t cap_ns);

// Uniform in [0, min(cap, base * 2^(attempt - 1))]; attempt 1 is the first retry (less counts as
// 1).
std::int64_t full_jitter_ns(int attempt, bool throttled, Random& random,
                            const BackoffConfig& config = {});

// d = min(cap, base * 2^steps): uniform in [d / 2, d]. steps 0 is the first time.
std::int64_t equal_jitter_ns(int steps, Random& random, std::int64_t base_ns = 5'000'000'000,
                             std::int64_t cap_ns = 300'000'000'000);

}  // namespace sluiceway::limits
