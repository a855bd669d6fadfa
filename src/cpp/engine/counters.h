// Counts of what the engine did, readable by any thread.
#pragma once

#include <atomic>
#include <cstdint>

namespace sluiceway::engine {

// Relaxed atomics: each is exact by itself, together they are a snapshot of no single instant.
struct Counters {
  using Count = std::atomic<std::uint64_t>;
  Count submitted{0}, completed{0}, succeeded{0}, failed{0}, attempts{0}, retries{0};
  Count refused_by_budget{0}, refused_by_limits{0}, refused_by_breaker{0}, in_doubt{0};
  Count cache_hits{0}, cache_misses{0}, flights_joined{0}, breaker_opened{0}, overruns{0};
  Count turns{0}, turns_by_loops{0}, wakes{0}, streamed_deltas{0};
};

}  // namespace sluiceway::engine
