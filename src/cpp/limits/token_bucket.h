// A token bucket for one dimension of a limit: capacity, refill rate, debt, and permits in hand.
//
// Model: GCRA (generic cell rate algorithm, ITU-T I.371, appendix A): one number, the theoretical
// arrival time (TAT), stands for the whole bucket. A request for n fits at `now` when
//     TAT + n * interval <= now + capacity * interval
// and taking it makes TAT = max(TAT, now) + n * interval, where interval = period / rate. Every
// term is kept multiplied by `rate_units` in 128-bit integers, so no interval is ever rounded:
// three a second is three a second for ever, and the hot path has no division.
//
// Any-window bound: in every window T at most max(n, capacity + rate * T) is admitted, where n is
// the largest single request. A request above the capacity is taken only once the bucket has been
// full for as long as the excess takes to refill, and leaves a debt (available() < 0). The law
// asks for a full bucket and the debt; without the pause one minute could see 1.5 times its limit
// (half of it spent at second 0, full again at second 60, then a request as large as the limit).
//
// In hand: a permit taken by hold() is not sent yet. Until sent() the refill stops short of it
// (available + in hand <= capacity), so that the bound also holds counted at the times of sending,
// however late those are. take() is for permits that are used at once.
//
// What comes back after it was sent (unsent after all, or less used than estimated) is credited as
// far as it would be there had it never been taken; backlog_minimum.h says how that is known. So
// the bound counts what was really sent and used.
//
// Bounds: O(1) but for credits, O(64); units up to 2^45, periods up to 2^56 ns (2 years). Threads:
// none of its own, the LimitGroup's mutex guards it. Example:
//     TokenBucket bucket(strict_window(600, 60 * kNsPerSecond, 60));   // 600 a minute, bursts of
//     60 if (!bucket.try_acquire(1, now_ns)) retry_after(bucket.wait_ns(1, now_ns));
#pragma once

#include <algorithm>
#include <cstdint>

#include "limits/backlog_minimum.h"

namespace sluiceway::limits {

constexpr std::int64_t kUnitsMax = std::int64_t{1} << 45;  // 35 million million
constexpr std::int64_t kNever = INT64_MAX;                 // a time or a wait that does not come

struct BucketConfig {
  std::int64_t capacity = 1;    // units, 1 to kUnitsMax
  std::int64_t rate_units = 0;  // refilled, evenly, every rate_period_ns; 0: never
  std::int64_t rate_period_ns = 1;
};

// What lets any window of `period_ns` see at most `limit`: rate (limit - capacity) / period. With
// capacity >= limit it is the classic bucket (rate limit / period; a window may see twice the
// limit), for limits that are ours alone. `limit` >= 1; capacity is clamped to [1, limit].
BucketConfig strict_window(std::int64_t limit, std::int64_t period_ns, std::int64_t capacity);

// A tenth of the limit, at least 1: the default burst of request dimensions.
constexpr std::int64_t default_capacity(std::int64_t limit) {
  return std::max<std::int64_t>(1, limit / 10);
}

class TokenBucket {
 public:
  // ns * rate_units, or units * rate_period_ns: the same scale.
  __extension__ typedef __int128 Wide;

  TokenBucket() : TokenBucket(BucketConfig{}) {}
  explicit TokenBucket(BucketConfig config);  // starts full; values outside the bounds are clamped

  // Times are monotonic nanoseconds >= 0; amounts are units >= 0. n = 0 always fits.
  bool fits(std::int64_t n, std::int64_t now_ns) const {
    if (n <= 0) return true;
    const Wide now = scaled(now_ns);
    return arrival(now) + cost(n) <= now + burst_;
  }
  // fits() and, in `next`, what put() makes of it: for taking several buckets or none.
  bool plan(std::int64_t n, std::int64_t now_ns, Wide* next) const {
    *next = arrival_;
    if (n <= 0) return true;
    const Wide now = scaled(now_ns);
    const Wide from = arrival(now);
    const Wide price = cost(n);
    *next = std::max(from, now) + price;
    return from + price <= now + burst_;
  }
  void put(Wide next, std::int64_t now_ns) {
    remember(now_ns);
    arrival_ = next;
  }
  // Takes n whether it fits or not (the balance goes below zero): what is sent, or was used, now.
  void take(std::int64_t n, std::int64_t now_ns) {
    if (n <= 0) return;
    remember(now_ns);
    const Wide now = scaled(now_ns);
    advance_to(std::max(arrival(now), now) + cost(n), now);
  }
  // take() for a permit whose call is not sent yet. Every hold() ends in one sent() or give_back().
  void hold(std::int64_t n, std::int64_t now_ns) {
    if (n <= 0) return;
    take(n, now_ns);
    in_hand_ += std::min(n, kUnitsMax - in_hand_);
  }
  void sent(std::int64_t n, std::int64_t now_ns);       // a held permit is used now
  void give_back(std::int64_t n, std::int64_t now_ns);  // a held permit will not be used

  bool try_acquire(std::int64_t n, std::int64_t now_ns) {
    if (!fits(n, now_ns)) return false;
    take(n, now_ns);
    return true;
  }
  // Nanoseconds until n fits, after `ahead` >= 0 units that others will have taken first, if what
  // is in hand is sent now; 0: now; kNever when the rate is 0.
  std::int64_t wait_ns(std::int64_t n, std::int64_t now_ns, std::int64_t ahead = 0) const;

  void debit(std::int64_t n, std::int64_t now_ns) { take(n, now_ns); }  // below zero if need be
  // Of n units taken (or sent) at `taken_ns`, as many as would be here without them.
  void credit(std::int64_t n, std::int64_t taken_ns, std::int64_t now_ns);
  // Whole units that can be taken now, rounded down; negative is a debt.
  std::int64_t available(std::int64_t now_ns) const;
  // At most `remaining` (>= 0) units are left, a provider says. Never raises.
  void lower_to(std::int64_t remaining, std::int64_t now_ns);
  // Another capacity and rate from now on. A smaller rate scales what is available down with it (a
  // debt stays); a larger one leaves it as it is, so that a change admits nothing by itself.
  void reconfigure(BucketConfig config, std::int64_t now_ns);
  // The clock went back by `ns`: keeps the balance as it is.
  void shift_back(std::int64_t ns) { arrival_ -= static_cast<Wide>(ns) * config_.rate_units; }

  const BucketConfig& config() const { return config_; }
  std::int64_t in_hand() const { return in_hand_; }

 private:
  Wide scaled(std::int64_t now_ns) const { return static_cast<Wide>(now_ns) * config_.rate_units; }
  Wide cost(std::int64_t n) const {
    return static_cast<Wide>(std::min(n, kUnitsMax)) * config_.rate_period_ns;
  }
  // TAT, held back by what is in hand.
  Wide arrival(Wide now) const {
    return in_hand_ == 0 ? arrival_ : std::max(arrival_, now + cost(in_hand_));
  }
  // How far it is from full, but for what is in hand.
  Wide backlog(Wide now) const {
    return std::max<Wide>(0, arrival_ - now - (in_hand_ == 0 ? 0 : cost(in_hand_)));
  }
  void remember(std::int64_t now_ns) { lowest_.push(now_ns, backlog(scaled(now_ns))); }
  void advance_to(Wide arrival, Wide now) {
    arrival_ = std::min(arrival, now + (static_cast<Wide>(1) << 120));  // a bound on debts
  }
  void set_config(BucketConfig config);

  BucketConfig config_;
  Wide burst_ = 0;    // cost(capacity)
  Wide arrival_ = 0;  // TAT * rate_units
  std::int64_t in_hand_ = 0;
  BacklogMinimum lowest_;
};

}  // namespace sluiceway::limits
