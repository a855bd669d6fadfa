// Jittered exponential backoff: see backoff.h.
#include "limits/backoff.h"

#include <algorithm>

namespace sluiceway::limits {

std::int64_t exponential_ns(std::int64_t base_ns, int steps, std::int64_t cap_ns) {
  std::int64_t wait = std::min(base_ns, cap_ns);
  if (wait <= 0) return 0;
  for (int i = 0; i < steps; ++i) {
    if (wait > cap_ns / 2) return cap_ns;
    wait *= 2;
  }
  return wait;
}

std::int64_t full_jitter_ns(int attempt, bool throttled, Random& random,
                            const BackoffConfig& config) {
  const std::int64_t base = throttled ? config.throttled_base_ns : config.base_ns;
  return random.uniform(exponential_ns(base, std::max(attempt, 1) - 1, config.cap_ns));
}

std::int64_t equal_jitter_ns(int steps, Random& random, std::int64_t base_ns, std::int64_t cap_ns) {
  const std::int64_t wait = exponential_ns(base_ns, steps, cap_ns);
  const std::int64_t fixed = wait - wait / 2;  // the odd nanosecond is waited for
  return fixed + random.uniform(wait - fixed);
}

}  // namespace sluiceway::limits
