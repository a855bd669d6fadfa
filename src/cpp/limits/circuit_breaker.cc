// The breaker's moves: see circuit_breaker.h for the picture.
#include "limits/circuit_breaker.h"

#include <algorithm>

#include "base/money.h"
#include "limits/backoff.h"

namespace sluiceway::limits {
std::string_view breaker_state_name(BreakerState state) {
  switch (state) {
    case BreakerState::kClosed:
      return "closed";
    case BreakerState::kOpen:
      return "open";
    case BreakerState::kHalfOpen:
      return "half_open";
    case BreakerState::kForcedOpen:
      return "forced_open";
    case BreakerState::kDisabled:
      return "disabled";
  }
  return "unknown";
}

CircuitBreaker::CircuitBreaker(BreakerConfig config, Random* random)
    : config_(config), random_(random), window_(config.window_ns) {}

BreakerPermit CircuitBreaker::acquire(std::int64_t now_ns, std::int64_t lease_until_ns) {
  std::uint64_t word = word_.load(std::memory_order_acquire);
  if (state_of(word) == BreakerState::kClosed || state_of(word) == BreakerState::kDisabled)
      [[likely]] {
    return {.granted = true, .generation = generation_of(word)};
  }
  const std::lock_guard<std::mutex> lock(mutex_);
  word = word_.load(std::memory_order_acquire);
  switch (state_of(word)) {
    case BreakerState::kClosed:
    case BreakerState::kDisabled:
      return {.granted = true, .generation = generation_of(word)};
    case BreakerState::kForcedOpen:
      ++counters_.refused;
      return {.generation = generation_of(word), .retry_at_ns = INT64_MAX};
    case BreakerState::kOpen:
    case BreakerState::kHalfOpen:
      break;
  }
  if (now_ns < since_ns_) {  // the clock went back: the same length again, from now
    until_ns_ = saturating_add(now_ns, until_ns_ - since_ns_);
    since_ns_ = now_ns;
  }
  const bool slot_is_free = state_of(word) == BreakerState::kHalfOpen && !probe_out_;
  if (!slot_is_free && now_ns < until_ns_) {
    ++counters_.refused;
    return {.generation = generation_of(word), .retry_at_ns = until_ns_};
  }
  return start_probe(now_ns, lease_until_ns);
}

BreakerPermit CircuitBreaker::start_probe(std::int64_t now_ns, std::int64_t lease_until_ns) {
  const bool stated = lease_until_ns > now_ns && lease_until_ns != INT64_MAX;
  since_ns_ = now_ns;
  until_ns_ = stated ? lease_until_ns
                     : saturating_add(now_ns, std::max<std::int64_t>(1, config_.probe_lease_ns));
  if (!move_to(BreakerState::kHalfOpen)) {
    ++counters_.refused;
    return {.generation = generation(), .retry_at_ns = until_ns_};
  }
  probe_out_ = true;
  ++counters_.probes;
  return {.granted = true, .probe = true, .generation = generation()};
}

// The only place where the state moves. A new generation each time, also from half-open to
// half-open (a probe that replaces a lost one), so that no older permit can speak for it.
bool CircuitBreaker::move_to(BreakerState state) {
  std::uint64_t word = word_.load(std::memory_order_acquire);
  const std::uint64_t next = ((generation_of(word) + 1) << 3) | static_cast<std::uint64_t>(state);
  probe_out_ = false;
  return word_.compare_exchange_strong(word, next, std::memory_order_acq_rel);
}

void CircuitBreaker::open(std::int64_t now_ns, std::int64_t open_ns) {
  since_ns_ = now_ns;
  until_ns_ = saturating_add(now_ns, std::max<std::int64_t>(1, open_ns));
  window_.clear();
  consecutive_failures_ = 0;
  ++counters_.opened;
  move_to(BreakerState::kOpen);
}

std::int64_t CircuitBreaker::next_open_ns(std::int64_t retry_after_ns) {
  if (config_.recovery_timeout_ns > 0) return config_.recovery_timeout_ns;
  const std::int64_t jittered =
      random_ != nullptr
          ? equal_jitter_ns(reopened_, *random_, config_.open_base_ns, config_.open_max_ns)
          : exponential_ns(config_.open_base_ns, reopened_, config_.open_max_ns);
  return std::max(jittered, std::min(retry_after_ns, config_.open_max_ns));
}

bool CircuitBreaker::report(const BreakerPermit& permit, CallResult result,
                            std::int64_t duration_ns, std::int64_t now_ns,
                            std::int64_t retry_after_ns) {
  if (!permit.granted) return false;
  const std::lock_guard<std::mutex> lock(mutex_);
  const std::uint64_t word = word_.load(std::memory_order_acquire);
  counters_.successes += result == CallResult::kSuccess;
  counters_.failures += result == CallResult::kFailure;
  counters_.ignored += result == CallResult::kIgnored;
  if (result != CallResult::kIgnored && duration_ns > 0) {
    window_.observe_duration(duration_ns);
  }
  if (permit.generation != generation_of(word)) {
    ++counters_.stale;
    return false;
  }
  if (state_of(word) == BreakerState::kClosed) {
    if (result == CallResult::kIgnored) return false;
    return report_closed(result == CallResult::kFailure, now_ns, retry_after_ns);
  }
  if (state_of(word) == BreakerState::kHalfOpen && permit.probe) {
    return report_probe(result, now_ns, retry_after_ns);
  }
  return false;
}

bool CircuitBreaker::report_closed(bool failed, std::int64_t now_ns, std::int64_t retry_after_ns) {
  window_.count(now_ns, failed);
  consecutive_failures_ = failed ? consecutive_failures_ + 1 : 0;
  bool opens = config_.failure_threshold > 0 && consecutive_failures_ >= config_.failure_threshold;
  if (!opens && config_.failure_percent > 0 && window_.may_have_failures()) {
    const FailureWindow::Sum sum = window_.sum(now_ns);
    opens = sum.failures > 0 && sum.calls >= config_.window_calls_min &&
            sum.failures * 100 >= sum.calls * config_.failure_percent;
  }
  if (!opens) return false;
  open(now_ns, next_open_ns(retry_after_ns));
  return true;
}

bool CircuitBreaker::report_probe(CallResult result, std::int64_t now_ns,
                                  std::int64_t retry_after_ns) {
  switch (result) {
    case CallResult::kIgnored:
      probe_out_ = false;  // says nothing about the provider: the next caller asks again
      return false;
    case CallResult::kSuccess:
      reopened_ = 0;
      window_.clear();
      consecutive_failures_ = 0;
      move_to(BreakerState::kClosed);
      return true;
    case CallResult::kFailure:
      reopened_ = std::min(reopened_ + 1, 62);
      open(now_ns, next_open_ns(retry_after_ns));
      return true;
  }
  return false;
}

bool CircuitBreaker::trip(std::int64_t now_ns, std::int64_t open_ns) {
  const std::lock_guard<std::mutex> lock(mutex_);
  const BreakerState current = state_of(word_.load(std::memory_order_acquire));
  if (current == BreakerState::kForcedOpen || current == BreakerState::kDisabled) return false;
  if (current == BreakerState::kOpen && until_ns_ > now_ns) {
    open_ns = std::max(open_ns, until_ns_ - now_ns);
  }
  open(now_ns, open_ns);
  return true;
}

void CircuitBreaker::force_open() {
  const std::lock_guard<std::mutex> lock(mutex_);
  move_to(BreakerState::kForcedOpen);
}

void CircuitBreaker::disable() {
  const std::lock_guard<std::mutex> lock(mutex_);
  move_to(BreakerState::kDisabled);
}

void CircuitBreaker::reset(std::int64_t now_ns) {
  const std::lock_guard<std::mutex> lock(mutex_);
  since_ns_ = until_ns_ = now_ns;
  reopened_ = 0;
  window_.clear();
  consecutive_failures_ = 0;
  move_to(BreakerState::kClosed);
}

BreakerState CircuitBreaker::state(std::int64_t /*now_ns*/) const {
  return state_of(word_.load(std::memory_order_acquire));
}

std::uint64_t CircuitBreaker::generation() const {
  return generation_of(word_.load(std::memory_order_acquire));
}

CircuitBreaker::Snapshot CircuitBreaker::snapshot(std::int64_t now_ns) const {
  const std::lock_guard<std::mutex> lock(mutex_);
  Snapshot out = counters_;
  out.state = state_of(word_.load(std::memory_order_acquire));
  const bool waits = out.state == BreakerState::kOpen || out.state == BreakerState::kHalfOpen;
  out.retry_at_ns = waits ? until_ns_ : 0;
  out.consecutive_failures = consecutive_failures_;
  out.window_ns = window_.window_ns();
  const FailureWindow::Sum sum = window_.sum(now_ns);
  out.window_calls = sum.calls;
  out.window_failures = sum.failures;
  return out;
}

}  // namespace sluiceway::limits
