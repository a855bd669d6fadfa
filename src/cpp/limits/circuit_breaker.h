// A circuit breaker: stops calling what keeps failing, and asks again with one call at a time.
//
//     closed --failures--> open --open time over, one caller wins--> half-open
//       ^                   ^                                          |   |
//       |                   +------- the probe failed -----------------+   |
//       +--------------------------- the probe succeeded ------------------+
//     forced open and disabled: by hand, until reset().
//
// Opens on 5 failures in a row, or at 50 % of at least 10 calls in max(60 s, 2 * p99 of call
// durations). Open for equal_jitter(5 s * 2^k), at most 300 s, k counting failed probes; a longer
// Retry-After extends it (to 300 s as well); recovery_timeout_ns, when set, is obeyed exactly.
//
// Model: state and generation share one atomic word that moves by compare-and-swap only. Every move
// is a new generation; a permit carries the generation it was given in, and a result of an older
// one feeds counters, never the state. The probe has a lease (its call's deadline): a lost probe is
// replaced when the lease ends, an ignored one (cancelled, 4xx) frees the slot at once, so
// half-open never sticks. A closed breaker's acquire() is one atomic load; all else takes a mutex,
// never held while a call runs.
//
// What counts: failures are connect and TLS errors, resets, timeouts, 500/502/503/504/529, broken
// streams, unparsable 200s. 4xx, content refusals and the caller's cancel are kIgnored; a 429 is
// the limiter's. 401, 402, 403 and "no money left" trip() a second breaker on (provider, account).
//
// Bounds: O(1) (a report walks 64 slots at most), 2 kB. Time: monotonic ns; a clock that goes
// back restarts an open time or a lease, never extends it beyond its length.
// Sources: Finagle failure accrual (equal jitter, ProbeOpen), gobreaker (generations), Hystrix (one
// probe by CAS), resilience4j issues 903 and 1432 (what not to do), read 2026-11-22. Example:
//     BreakerPermit p = breaker.acquire(now, deadline_ns);
//     if (!p.granted) return open_error(p.retry_at_ns);
//     ... breaker.report(p, CallResult::kSuccess, duration_ns, now);      // exactly once a permit
#pragma once

#include <atomic>
#include <cstdint>
#include <mutex>
#include <string_view>

#include "base/random.h"
#include "limits/failure_window.h"

namespace sluiceway::limits {

enum class BreakerState : std::uint8_t { kClosed, kOpen, kHalfOpen, kForcedOpen, kDisabled };
std::string_view breaker_state_name(BreakerState state);  // "closed", "half_open", ...

struct BreakerConfig {
  std::int32_t failure_threshold = 5;  // in a row; 0: this rule is off
  std::int32_t window_calls_min = 10;
  std::int32_t failure_percent = 50;  // 1 to 100; 0: this rule is off
  std::int64_t window_ns = 60'000'000'000;
  std::int64_t open_base_ns = 5'000'000'000;
  std::int64_t open_max_ns = 300'000'000'000;
  std::int64_t recovery_timeout_ns = 0;          // > 0: open for exactly this long
  std::int64_t probe_lease_ns = 60'000'000'000;  // for a probe that states no deadline
};

struct BreakerPermit {
  bool granted = false;
  bool probe = false;
  std::uint64_t generation = 0;
  std::int64_t retry_at_ns = 0;  // refused: when to ask again (INT64_MAX when forced open)
};

enum class CallResult : std::uint8_t { kSuccess, kFailure, kIgnored };

class CircuitBreaker {
 public:
  // `random` is this breaker's own (used under its mutex) and outlives it; null: no jitter.
  explicit CircuitBreaker(BreakerConfig config = {}, Random* random = nullptr);
  CircuitBreaker(const CircuitBreaker&) = delete;
  CircuitBreaker& operator=(const CircuitBreaker&) = delete;

  // `lease_until_ns`: absolute time, the call's deadline, until which a probe keeps its slot; 0 or
  // INT64_MAX: now + probe_lease_ns.
  BreakerPermit acquire(std::int64_t now_ns, std::int64_t lease_until_ns = 0);
  // Ends a granted permit. `duration_ns` >= 0 of the call (0: unknown). `retry_after_ns` > 0: what
  // the provider asked for. True when the state moved.
  bool report(const BreakerPermit& permit, CallResult result, std::int64_t duration_ns,
              std::int64_t now_ns, std::int64_t retry_after_ns = 0);
  // Opens at once for `open_ns` (> 0), from closed, half-open or open (never shortens). False when
  // forced open or disabled.
  bool trip(std::int64_t now_ns, std::int64_t open_ns);
  void force_open();
  void disable();                   // grants everything, counts nothing
  void reset(std::int64_t now_ns);  // closed, with empty windows

  // Open until somebody acquires: an open time that is over still reads kOpen.
  BreakerState state(std::int64_t now_ns = 0) const;
  std::uint64_t generation() const;

  struct Snapshot {
    BreakerState state = BreakerState::kClosed;
    std::int64_t retry_at_ns = 0;  // open or half-open; 0 otherwise
    std::int32_t consecutive_failures = 0;
    std::int64_t window_ns = 0;  // as widened by the durations seen
    std::int64_t window_calls = 0, window_failures = 0;
    std::uint64_t opened = 0, refused = 0, probes = 0;
    std::uint64_t successes = 0, failures = 0, ignored = 0;
    std::uint64_t stale = 0;  // results of older generations
  };
  Snapshot snapshot(std::int64_t now_ns) const;

 private:
  static BreakerState state_of(std::uint64_t word) { return static_cast<BreakerState>(word & 7); }
  static std::uint64_t generation_of(std::uint64_t word) { return word >> 3; }
  // All below: mutex_ held.
  bool move_to(BreakerState state);
  void open(std::int64_t now_ns, std::int64_t open_ns);
  std::int64_t next_open_ns(std::int64_t retry_after_ns);
  BreakerPermit start_probe(std::int64_t now_ns, std::int64_t lease_until_ns);
  bool report_closed(bool failed, std::int64_t now_ns, std::int64_t retry_after_ns);
  bool report_probe(CallResult result, std::int64_t now_ns, std::int64_t retry_after_ns);

  const BreakerConfig config_;
  Random* const random_;
  std::atomic<std::uint64_t> word_{0};  // generation << 3 | state
  mutable std::mutex mutex_;
  std::int64_t since_ns_ = 0;  // when the open time or the lease began
  std::int64_t until_ns_ = 0;  // and when it ends
  bool probe_out_ = false;
  int reopened_ = 0;  // k: probes failed since the breaker was last closed
  std::int32_t consecutive_failures_ = 0;
  FailureWindow window_;
  Snapshot counters_;
};

}  // namespace sluiceway::limits
