// The slower half of the token bucket: waits, corrections, changes of configuration. See the
// header.
#include "limits/token_bucket.h"

namespace sluiceway::limits {
namespace {

constexpr std::int64_t kPeriodMax = std::int64_t{1} << 56;

__extension__ typedef __int128 Wide128;

// a / b rounded down, b > 0.
Wide128 floor_div(Wide128 a, Wide128 b) {
  const Wide128 q = a / b;
  return (a % b != 0 && a < 0) ? q - 1 : q;
}

}  // namespace

BucketConfig strict_window(std::int64_t limit, std::int64_t period_ns, std::int64_t capacity) {
  limit = std::clamp<std::int64_t>(limit, 1, kUnitsMax);
  capacity = std::clamp<std::int64_t>(capacity, 1, limit);
  const std::int64_t rate = capacity == limit ? limit : limit - capacity;
  return {.capacity = capacity, .rate_units = rate, .rate_period_ns = period_ns};
}

TokenBucket::TokenBucket(BucketConfig config) {
  set_config(config);
  // Full, and idle for ever: nobody has taken any, so a request above the capacity may go at once.
  arrival_ = -(static_cast<Wide>(1) << 120);
}

void TokenBucket::set_config(BucketConfig config) {
  config_.capacity = std::clamp<std::int64_t>(config.capacity, 1, kUnitsMax);
  config_.rate_units = std::clamp<std::int64_t>(config.rate_units, 0, kUnitsMax);
  config_.rate_period_ns = std::clamp<std::int64_t>(config.rate_period_ns, 1, kPeriodMax);
  burst_ = cost(config_.capacity);
}

void TokenBucket::sent(std::int64_t n, std::int64_t now_ns) {
  if (n <= 0) return;
  remember(now_ns);
  arrival_ = arrival(scaled(now_ns));
  in_hand_ -= std::min(n, in_hand_);
}

void TokenBucket::give_back(std::int64_t n, std::int64_t now_ns) {
  if (n <= 0) return;
  remember(now_ns);
  const std::int64_t held = std::min(n, in_hand_);
  // The refill was held back by these units, so giving all of them back cannot overfill.
  arrival_ = arrival(scaled(now_ns)) - cost(held);
  in_hand_ -= held;
  // More than is in hand: the caller's mistake, treated as a correction of a time unknown.
  credit(n - held, INT64_MIN, now_ns);
}

void TokenBucket::credit(std::int64_t n, std::int64_t taken_ns, std::int64_t now_ns) {
  if (n <= 0) return;
  const Wide amount = std::min(cost(n), lowest_.since(taken_ns, backlog(scaled(now_ns))));
  if (amount <= 0) return;
  arrival_ -= amount;
  lowest_.lower(taken_ns, amount);
}

std::int64_t TokenBucket::wait_ns(std::int64_t n, std::int64_t now_ns, std::int64_t ahead) const {
  if (n <= 0 && ahead <= 0) return 0;
  const Wide now = scaled(now_ns);
  Wide before = arrival(now);
  // `ahead` is a sum of requests: it may be far above the capacity, so it is not cut at kUnitsMax.
  if (ahead > 0) before = std::max(before, now) + static_cast<Wide>(ahead) * config_.rate_period_ns;
  const Wide missing = before + cost(std::max<std::int64_t>(n, 0)) - now - burst_;
  if (missing <= 0) return 0;
  if (config_.rate_units == 0) return kNever;
  const Wide ns = (missing + config_.rate_units - 1) / config_.rate_units;
  return ns > kNever / 2 ? kNever : static_cast<std::int64_t>(ns);
}

std::int64_t TokenBucket::available(std::int64_t now_ns) const {
  const Wide now = scaled(now_ns);
  const Wide level = now + burst_ - std::max(arrival(now), now);
  const Wide units = floor_div(level, config_.rate_period_ns);
  return static_cast<std::int64_t>(std::max<Wide>(units, INT64_MIN));
}

void TokenBucket::lower_to(std::int64_t remaining, std::int64_t now_ns) {
  if (remaining < 0 || remaining >= config_.capacity) return;
  const Wide now = scaled(now_ns);
  const Wide floor = now + cost(config_.capacity - remaining);
  lowest_.push(now_ns, std::max<Wide>(0, arrival(now) - floor));
  arrival_ = std::max(arrival(now), floor);
}

void TokenBucket::reconfigure(BucketConfig config, std::int64_t now_ns) {
  const BucketConfig old = config_;
  lowest_.cut(now_ns);  // what is left is scaled: what came before cannot be told apart in it
  const Wide idle = scaled(now_ns) - arrival(scaled(now_ns));  // ns * old rate; > 0: full
  std::int64_t left = available(now_ns);
  set_config(config);
  const Wide now = scaled(now_ns);
  if (left > 0 && config_.capacity < old.capacity) {
    left = static_cast<std::int64_t>(static_cast<Wide>(left) * config_.capacity / old.capacity);
  }
  if (idle > 0 && left == config_.capacity) {  // still full: keep for how long it has been
    const Wide idle_ns = old.rate_units == 0 ? 0 : idle / old.rate_units;
    arrival_ = now - std::min<Wide>(idle_ns, kPeriodMax) * config_.rate_units;
    return;
  }
  const Wide used = static_cast<Wide>(config_.capacity) - left;
  advance_to(now + used * config_.rate_period_ns, now);
}

}  // namespace sluiceway::limits
