// All dimensions or none, under one mutex, with a fair queue in front: see limit_group.h.
#include "limits/limit_group.h"

#include <algorithm>
#include <numeric>
#include <utility>

#include "base/money.h"

namespace sluiceway::limits {
namespace {

constexpr auto kConcurrencyIndex = static_cast<std::size_t>(Dimension::kConcurrency);
// Threads read the clock before they take the mutex, so times arrive a little out of order; more
// than this is a clock that was set back.
constexpr std::int64_t kReorderingMaxNs = 1'000'000'000;
// Fairness compares requests by the largest part of a limit that they take, in 2^-30 of it.
constexpr std::int64_t kCostScale = std::int64_t{1} << 30;
constexpr std::int64_t kShareMax = 1024;
constexpr std::size_t kQueueMax = std::size_t{1} << 17;

// base * numerator / denominator. The rate is exact (a fraction in lowest terms) unless it would
// leave the bucket's bounds; it is then rounded down.
BucketConfig share_of(const BucketConfig& base, std::int64_t numerator, std::int64_t denominator) {
  __extension__ typedef __int128 Wide;
  Wide rate = static_cast<Wide>(base.rate_units) * numerator;
  Wide period = static_cast<Wide>(base.rate_period_ns) * denominator;
  Wide a = rate, b = period;
  while (b != 0) a = std::exchange(b, a % b);
  if (a > 1) {
    rate /= a;
    period /= a;
  }
  while (rate > kUnitsMax || period > (Wide{1} << 56)) {
    rate /= 2;
    period = (period + 1) / 2;
  }
  const Wide capacity = static_cast<Wide>(base.capacity) * numerator / denominator;
  return {.capacity = std::max<std::int64_t>(1, static_cast<std::int64_t>(capacity)),
          .rate_units = static_cast<std::int64_t>(rate),
          .rate_period_ns = static_cast<std::int64_t>(period)};
}

}  // namespace

void LimitGroupConfig::set_limit(Dimension dimension, std::int64_t limit, std::int64_t period_ns,
                                 std::int64_t capacity) {
  const auto i = static_cast<std::size_t>(dimension);
  limit = std::clamp<std::int64_t>(limit, 1, kUnitsMax);
  if (dimension == Dimension::kConcurrency) {
    concurrency = limit;
    return;
  }
  if (capacity <= 0) {
    const bool by_count = dimension == Dimension::kRequests || dimension == Dimension::kQuotaUnits;
    capacity = by_count ? default_capacity(limit) : std::max<std::int64_t>(1, limit / 2);
  }
  buckets[i] = strict_window(limit, period_ns, capacity);
  limit_per_window[i] = limit;
}

LimitGroup::LimitGroup(LimitGroupConfig config) : config_(config) {
  for (std::size_t i = 0; i < kConcurrencyIndex; ++i) {
    if (!config_.buckets[i]) continue;
    Limit& limit = limits_[limit_count_++];
    limit.dimension = i;
    limit.bucket = TokenBucket(*config_.buckets[i]);
    config_.buckets[i] = limit.bucket.config();  // clamped
    const std::int64_t largest = config_.limit_per_window[i];
    limit.largest = largest > 0 ? std::min(largest, kUnitsMax) : limit.bucket.config().capacity;
  }
  config_.queue_max = std::min(config_.queue_max, kQueueMax);
  if (config_.concurrency > 0) concurrency_max_ = config_.concurrency;
}

// What a waiting ticket is remembered by: nothing in dimensions without a limit, nothing negative,
// so that the sums over a queue cannot overflow (kUnitsMax * kQueueMax < 2^63).
Amounts LimitGroup::cleaned(const Amounts& amounts) const {
  Amounts out{};
  for (const Limit& limit : limits()) {
    out[limit.dimension] = std::clamp<std::int64_t>(amounts[limit.dimension], 0, kUnitsMax);
  }
  out[kConcurrencyIndex] = std::clamp<std::int64_t>(amounts[kConcurrencyIndex], 0, kUnitsMax);
  return out;
}

std::int64_t LimitGroup::observe_now(std::int64_t now_ns) {
  if (now_ns >= latest_ns_) [[likely]] {
    latest_ns_ = now_ns;
    return now_ns;
  }
  const std::int64_t back = latest_ns_ - now_ns;
  if (back <= kReorderingMaxNs) return latest_ns_;
  for (Limit& limit : limits()) limit.bucket.shift_back(back);
  if (frozen_until_ns_ > now_ns) frozen_until_ns_ = std::max(now_ns, frozen_until_ns_ - back);
  latest_ns_ = now_ns;
  return now_ns;
}

std::int64_t LimitGroup::clamped(std::int64_t now_ns) const { return std::max(now_ns, latest_ns_); }

bool LimitGroup::fits(const Amounts& amounts, std::int64_t now_ns) const {
  if (now_ns < frozen_until_ns_) return false;
  const std::int64_t calls = amounts[kConcurrencyIndex];
  if (calls > 0 && calls > concurrency_max_ - in_flight_) return false;
  for (const Limit& limit : limits()) {
    if (!limit.bucket.fits(amounts[limit.dimension], now_ns)) return false;
  }
  return true;
}

void LimitGroup::hold(const Amounts& amounts, std::int64_t now_ns) {
  for (Limit& limit : limits()) limit.bucket.hold(amounts[limit.dimension], now_ns);
  in_flight_ += std::max<std::int64_t>(amounts[kConcurrencyIndex], 0);
  ++counters_.granted;
}

std::optional<Dimension> LimitGroup::too_large(const Amounts& amounts) const {
  for (const Limit& limit : limits()) {
    const std::size_t i = limit.dimension;
    if (amounts[i] > limit.largest) return static_cast<Dimension>(i);
  }
  if (config_.concurrency > 0 && amounts[kConcurrencyIndex] > config_.concurrency) {
    return Dimension::kConcurrency;
  }
  return std::nullopt;
}

LimitGroup::Wait LimitGroup::wait_for(const Amounts& wanted, const Amounts& ahead,
                                      std::int64_t now_ns) const {
  Wait wait;
  if (wanted[kConcurrencyIndex] > 0 &&
      wanted[kConcurrencyIndex] + ahead[kConcurrencyIndex] > concurrency_max_ - in_flight_) {
    wait.concurrency = true;
    wait.dimension = Dimension::kConcurrency;
  }
  for (const Limit& limit : limits()) {
    const std::size_t i = limit.dimension;
    const std::int64_t ns = limit.bucket.wait_ns(wanted[i], now_ns, ahead[i]);
    if (ns > wait.ns) {
      wait.ns = ns;
      wait.dimension = static_cast<Dimension>(i);
    }
  }
  if (frozen_until_ns_ > now_ns && frozen_until_ns_ - now_ns > wait.ns) {
    wait.ns = frozen_until_ns_ - now_ns;
    wait.frozen = true;
  }
  return wait;
}

std::int64_t LimitGroup::cost_of(const Amounts& amounts) const {
  std::int64_t cost = 1;
  for (const Limit& limit : limits()) {
    const std::size_t i = limit.dimension;
    __extension__ typedef __int128 Wide;
    const Wide part =
        static_cast<Wide>(std::max<std::int64_t>(amounts[i], 0)) * kCostScale / limit.largest;
    cost = std::max(cost, static_cast<std::int64_t>(part));
  }
  if (config_.concurrency > 0) {
    const std::int64_t calls = std::clamp<std::int64_t>(amounts[kConcurrencyIndex], 0, 1);
    cost = std::max(cost, calls * (kCostScale / config_.concurrency));
  }
  return cost;
}

Decision LimitGroup::refuse(Grant grant, Wait wait) {
  switch (grant) {
    case Grant::kRefusedDeadline:
      ++counters_.refused_deadline;
      break;
    case Grant::kRefusedFull:
      ++counters_.refused_full;
      break;
    default:
      ++counters_.refused_too_large;
      break;
  }
  return {grant, wait.ns, wait.dimension, wait.frozen};
}

Decision LimitGroup::submit(const Ticket& ticket, std::int64_t now_ns) {
  const std::lock_guard<std::mutex> lock(mutex_);
  const std::int64_t now = observe_now(now_ns);
  if (const auto dimension = too_large(ticket.amounts)) {
    return refuse(Grant::kRefusedTooLarge, {.ns = kNever, .dimension = *dimension});
  }
  if (ticket.deadline_ns <= now) return refuse(Grant::kRefusedDeadline, {});
  if (!queue_.waits_at_or_above(ticket.priority) && fits(ticket.amounts, now)) {
    hold(ticket.amounts, now);
    return {};
  }
  const Amounts wanted = cleaned(ticket.amounts);
  const Wait wait = wait_for(wanted, queue_.ahead_of(ticket.tenant, ticket.priority, wanted), now);
  if (queue_.size() >= config_.queue_max) return refuse(Grant::kRefusedFull, wait);
  if (wait.ns == kNever || wait.ns > ticket.deadline_ns - now) {
    return refuse(Grant::kRefusedDeadline, wait);
  }
  Ticket waiting = ticket;
  waiting.amounts = wanted;
  if (!queue_.push(waiting, cost_of(wanted))) return refuse(Grant::kRefusedFull, wait);
  ++counters_.queued;
  return {Grant::kQueued, wait.ns, wait.dimension, wait.frozen};
}

std::int64_t LimitGroup::pump(std::int64_t now_ns, std::vector<std::uint64_t>* granted,
                              std::vector<std::uint64_t>* expired) {
  const std::lock_guard<std::mutex> lock(mutex_);
  const std::int64_t now = observe_now(now_ns);
  while (const auto id = queue_.pop_expired(now)) {
    expired->push_back(*id);
    ++counters_.expired;
  }
  const Ticket* head = queue_.head();
  while (head != nullptr && fits(head->amounts, now)) {
    granted->push_back(head->id);
    hold(head->amounts, now);
    queue_.pop();
    head = queue_.head();
  }
  if (head == nullptr) return kNever;
  const Wait wait = wait_for(head->amounts, {}, now);
  // Where a call in flight must end first, time alone changes nothing: settle() is followed by
  // another pump.
  const std::int64_t fits_at = wait.concurrency ? kNever : saturating_add(now, wait.ns);
  return std::min(fits_at, queue_.earliest_deadline_ns());
}

bool LimitGroup::cancel(std::uint64_t ticket_id, std::int64_t now_ns) {
  const std::lock_guard<std::mutex> lock(mutex_);
  observe_now(now_ns);
  if (!queue_.remove(ticket_id)) return false;
  ++counters_.cancelled;
  return true;
}

bool LimitGroup::try_acquire(const Amounts& amounts, std::int64_t now_ns) {
  const std::lock_guard<std::mutex> lock(mutex_);
  const std::int64_t now = observe_now(now_ns);
  const std::int64_t calls = amounts[kConcurrencyIndex];
  if (queue_.size() != 0 || now < frozen_until_ns_) return false;
  if (calls > 0 && calls > concurrency_max_ - in_flight_) return false;
  std::array<TokenBucket::Wide, kDimensions> next;
  TokenBucket::Wide* plan = next.data();
  for (const Limit& limit : limits()) {
    const std::int64_t wanted = amounts[limit.dimension];
    if (wanted > limit.largest || !limit.bucket.plan(wanted, now, plan++)) return false;
  }
  plan = next.data();
  for (Limit& limit : limits()) limit.bucket.put(*plan++, now);
  if (calls > 0) in_flight_ += calls;
  ++counters_.granted;
  return true;
}

std::int64_t LimitGroup::wait_ns(const Amounts& amounts, std::int64_t now_ns) const {
  const std::lock_guard<std::mutex> lock(mutex_);
  const std::int64_t now = clamped(now_ns);
  if (too_large(amounts)) return kNever;
  if (queue_.size() == 0 && fits(amounts, now)) return 0;
  return std::max<std::int64_t>(1, wait_for(cleaned(amounts), queue_.wanted(), now).ns);
}

void LimitGroup::sent(const Amounts& amounts, std::int64_t now_ns) {
  const std::lock_guard<std::mutex> lock(mutex_);
  const std::int64_t now = observe_now(now_ns);
  for (Limit& limit : limits()) limit.bucket.sent(amounts[limit.dimension], now);
}

void LimitGroup::give_back(const Amounts& amounts, std::int64_t now_ns) {
  const std::lock_guard<std::mutex> lock(mutex_);
  const std::int64_t now = observe_now(now_ns);
  for (Limit& limit : limits()) limit.bucket.give_back(amounts[limit.dimension], now);
  in_flight_ -= std::clamp<std::int64_t>(amounts[kConcurrencyIndex], 0, in_flight_);
}

void LimitGroup::settle(const Amounts& estimated, const Amounts& actual, std::int64_t sent_ns,
                        std::int64_t now_ns) {
  const std::lock_guard<std::mutex> lock(mutex_);
  const std::int64_t now = observe_now(now_ns);
  for (Limit& limit : limits()) {
    const std::size_t i = limit.dimension;
    const std::int64_t more =
        std::max<std::int64_t>(actual[i], 0) - std::max<std::int64_t>(estimated[i], 0);
    if (more > 0) limit.bucket.debit(more, now);
    if (more < 0) limit.bucket.credit(-more, sent_ns, now);
  }
  in_flight_ -= std::clamp<std::int64_t>(estimated[kConcurrencyIndex], 0, in_flight_);
}

void LimitGroup::freeze_until(std::int64_t until_ns) {
  const std::lock_guard<std::mutex> lock(mutex_);
  frozen_until_ns_ = std::max(frozen_until_ns_, until_ns);
}

void LimitGroup::observe_remaining(Dimension dimension, std::int64_t remaining,
                                   std::int64_t admitted_since, std::int64_t now_ns) {
  const auto i = static_cast<std::size_t>(dimension);
  if (remaining < 0 || admitted_since < 0 || i >= kConcurrencyIndex) return;
  const std::lock_guard<std::mutex> lock(mutex_);
  const std::int64_t now = observe_now(now_ns);
  const std::int64_t left = std::max<std::int64_t>(0, remaining - admitted_since);
  for (Limit& limit : limits()) {
    if (limit.dimension == i) limit.bucket.lower_to(left, now);
  }
}

void LimitGroup::set_share(std::int64_t numerator, std::int64_t denominator, std::int64_t now_ns) {
  if (numerator < 1 || denominator < numerator || denominator > kShareMax) return;
  const std::lock_guard<std::mutex> lock(mutex_);
  const std::int64_t now = observe_now(now_ns);
  for (Limit& limit : limits()) {
    const BucketConfig& whole = *config_.buckets[limit.dimension];
    limit.bucket.reconfigure(share_of(whole, numerator, denominator), now);
  }
  if (config_.concurrency > 0) {
    const std::int64_t whole = config_.concurrency / denominator * numerator;
    const std::int64_t rest = config_.concurrency % denominator * numerator / denominator;
    concurrency_max_ = std::max<std::int64_t>(1, whole + rest);
  }
}

void LimitGroup::drain(std::int64_t now_ns) {
  const std::lock_guard<std::mutex> lock(mutex_);
  const std::int64_t now = observe_now(now_ns);
  for (Limit& limit : limits()) limit.bucket.lower_to(0, now);
}

LimitGroup::Snapshot LimitGroup::snapshot(std::int64_t now_ns) const {
  const std::lock_guard<std::mutex> lock(mutex_);
  const std::int64_t now = clamped(now_ns);
  Snapshot out = counters_;
  for (const Limit& limit : limits()) {
    DimensionState& state = out.dimensions[limit.dimension];
    state.limited = true;
    state.capacity = limit.bucket.config().capacity;
    state.available = limit.bucket.available(now);
    state.in_hand = limit.bucket.in_hand();
  }
  if (config_.concurrency > 0) {
    DimensionState& state = out.dimensions[kConcurrencyIndex];
    state.limited = true;
    state.capacity = concurrency_max_;
    state.available = concurrency_max_ - in_flight_;
  }
  const Amounts wanted = queue_.wanted();
  for (std::size_t i = 0; i < kDimensions; ++i) out.dimensions[i].wanted = wanted[i];
  out.in_flight = in_flight_;
  out.waiting = queue_.size();
  out.frozen_until_ns = std::max<std::int64_t>(frozen_until_ns_, 0);
  return out;
}

}  // namespace sluiceway::limits
