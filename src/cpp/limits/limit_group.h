// The limits of one (provider, account, model): several dimensions, taken all together or not at
// all, with a bounded fair queue in front.
//
// Model: one TokenBucket per dimension, a counter of calls in flight, a freeze after a 429, and a
// FairQueue of tickets; one std::mutex over all of it (measured: cheaper than clever atomics, see
// docs/internals). The life of a permit:
//     submit -> kGranted, or kQueued and later an id out of pump()      units are in hand
//     sent()       its call leaves now; REQUIRED for every granted ticket that is sent
//     settle()     its call ended: corrects the estimate, frees the concurrency
//  or give_back()  instead of sent(): never sent, every dimension returns
//
// About "a permit older than 100 ms when its call is sent is taken again, in its place": here a
// permit in hand keeps its bucket from refilling past it, and sent() lets the refill begin. So each
// permit counts from the moment of sending at any age, nobody can pass it, and the any-window bound
// holds counted at the times of sending. There is no retake() to forget for the old ones.
//
// The bound, per dimension: in every window T at most max(n, capacity + rate * T) units are sent,
// n being the largest single request; what settle() debits counts when it does, what it credits was
// never sent (token_bucket.h says how much that can be). With strict_window() no window of the
// period sees more than the limit.
//
// Bounds: submit, sent, settle, cancel O(log waiting); pump O(log waiting) for each id it reports;
// about 200 bytes a waiting ticket, at most queue_max of them. Time: monotonic ns, given by the
// caller. A time slightly older than the latest seen (another thread's) counts as the latest; a
// clock that went back by more than a second is followed, and no balance changes.
// Threads: every method may be called from any. Sources: call.md "Limits"; Bucket4j's checklist
// for the bound; ITU-T I.371 for GCRA. Example:
//     Decision d = group.submit({.id = 7, .tenant = 1, .priority = 0, .amounts = a,
//                                .deadline_ns = now + s}, now);
#pragma once

#include <array>
#include <cstddef>
#include <cstdint>
#include <mutex>
#include <optional>
#include <span>
#include <string_view>
#include <vector>

#include "limits/fair_queue.h"
#include "limits/token_bucket.h"

namespace sluiceway::limits {

struct LimitGroupConfig {
  std::array<std::optional<BucketConfig>, kDimensions> buckets;  // [kConcurrency] is not used
  // The largest single request allowed in each dimension; 0: the bucket's capacity.
  std::array<std::int64_t, kDimensions> limit_per_window{};
  std::int64_t concurrency = 0;   // calls in flight; 0: no limit
  std::size_t queue_max = 10000;  // at most 131,072

  // A provider's limit: `limit` a `period_ns`, never exceeded in any such window. capacity 0: the
  // default, a tenth for requests and quota units, half for tokens and characters.
  void set_limit(Dimension dimension, std::int64_t limit, std::int64_t period_ns,
                 std::int64_t capacity = 0);
};

enum class Grant : std::uint8_t {
  kGranted,
  kQueued,
  kRefusedDeadline,  // the computed wait passes the deadline
  kRefusedFull,      // queue_max tickets wait already (or one with this id)
  kRefusedTooLarge,  // no wait would help: one dimension asks for more than its limit
};

struct Decision {
  Grant grant = Grant::kGranted;
  // Queued and refused: the computed wait in ns. It counts what stands ahead in fair order and the
  // refill; waiting for calls in flight to end cannot be computed and counts as 0. kNever: too
  // large.
  std::int64_t wait_ns = 0;
  Dimension dimension = Dimension::kRequests;  // the one that decides
  bool frozen = false;                         // a 429's freeze decides, not a dimension
};

class LimitGroup {
 public:
  explicit LimitGroup(LimitGroupConfig config);
  LimitGroup(const LimitGroup&) = delete;
  LimitGroup& operator=(const LimitGroup&) = delete;

  // Granted at once if it fits and no ticket of the same or a higher priority waits (no barging).
  // Ticket ids are unique among those that wait. deadline_ns: absolute; kNever for none.
  Decision submit(const Ticket& ticket, std::int64_t now_ns);
  // Appends to `granted` the ids that fit now, in fair order, and to `expired` those whose deadline
  // passed (now >= deadline). Returns the time at which to call again, or kNever; call it as well
  // after settle, give_back, cancel and set_share. Grants from here are in hand, as from submit.
  std::int64_t pump(std::int64_t now_ns, std::vector<std::uint64_t>* granted,
                    std::vector<std::uint64_t>* expired);
  // True if the ticket still waited: it is gone without a trace. False: granted, expired, unknown.
  bool cancel(std::uint64_t ticket_id, std::int64_t now_ns);

  // No queue: all or none, refused while anybody waits or the group is frozen. Counts as sent at
  // once; undo with settle(amounts, {}, then, now).
  bool try_acquire(const Amounts& amounts, std::int64_t now_ns);
  // try_acquire's wait: 0 when it would succeed, kNever when it never can. Waiting for concurrency
  // or behind the queue counts as computed for submit, at least 1.
  std::int64_t wait_ns(const Amounts& amounts, std::int64_t now_ns) const;

  // The call of a granted ticket leaves now. Once, before its first byte.
  void sent(const Amounts& amounts, std::int64_t now_ns);
  // A granted ticket will not be sent: every dimension returns, concurrency too.
  void give_back(const Amounts& amounts, std::int64_t now_ns);
  // A call that was sent at `sent_ns` ended: actual above the estimate debits (below zero if need
  // be), under it credits what has not been refilled meanwhile. Frees estimated[kConcurrency];
  // actual[kConcurrency] is not read. {} for one that turned out unsent; one that was sent but
  // refused unbilled is not settled at 0: the provider counted the request.
  void settle(const Amounts& estimated, const Amounts& actual, std::int64_t sent_ns,
              std::int64_t now_ns);

  void freeze_until(std::int64_t until_ns);  // a 429: nothing is granted before; never shortens
  // A response header: `remaining` units were left when it was written, and we admitted
  // `admitted_since` after that request. Only lowers; negative values are ignored.
  void observe_remaining(Dimension dimension, std::int64_t remaining, std::int64_t admitted_since,
                         std::int64_t now_ns);
  // This process has numerator / denominator of every limit (capacity, rate, concurrency; each at
  // least 1 unit) from now on; 1 <= numerator <= denominator <= 1024, else ignored. What is
  // available shrinks with the share and never grows by it. limit_per_window stays whole: a large
  // call must not become impossible because another process started.
  void set_share(std::int64_t numerator, std::int64_t denominator, std::int64_t now_ns);
  // Empties every bucket: for an engine that joins others on one ledger, so that the sum over
  // processes keeps the bound.
  void drain(std::int64_t now_ns);

  struct DimensionState {
    bool limited = false;
    std::int64_t available = 0;  // units; negative is a debt
    std::int64_t capacity = 0;
    std::int64_t in_hand = 0;  // granted, not sent yet
    std::int64_t wanted = 0;   // the sum over the queue
  };
  struct Snapshot {
    std::array<DimensionState, kDimensions> dimensions;  // [kConcurrency]: of calls in flight
    std::int64_t in_flight = 0;  // concurrency permits out, also when it has no limit
    std::size_t waiting = 0;
    std::int64_t frozen_until_ns = 0;  // 0: never was
    std::uint64_t granted = 0, queued = 0, expired = 0, cancelled = 0;
    std::uint64_t refused_deadline = 0, refused_full = 0, refused_too_large = 0;
  };
  Snapshot snapshot(std::int64_t now_ns) const;

 private:
  struct Wait {
    std::int64_t ns = 0;
    Dimension dimension = Dimension::kRequests;
    bool concurrency = false;  // also waits for a call in flight to end
    bool frozen = false;
  };
  struct Limit {
    TokenBucket bucket;
    std::int64_t largest = 0;  // single request
    std::size_t dimension = 0;
  };

  std::span<Limit> limits() { return {limits_.data(), limit_count_}; }
  std::span<const Limit> limits() const { return {limits_.data(), limit_count_}; }
  Amounts cleaned(const Amounts& amounts) const;
  std::int64_t observe_now(std::int64_t now_ns);
  std::int64_t clamped(std::int64_t now_ns) const;
  bool fits(const Amounts& amounts, std::int64_t now_ns) const;
  std::optional<Dimension> too_large(const Amounts& amounts) const;
  Wait wait_for(const Amounts& wanted, const Amounts& ahead, std::int64_t now_ns) const;
  std::int64_t cost_of(const Amounts& amounts) const;
  void hold(const Amounts& amounts, std::int64_t now_ns);
  Decision refuse(Grant grant, Wait wait);

  mutable std::mutex mutex_;
  std::array<Limit, kDimensions> limits_;  // of the limited dimensions, in their order
  std::size_t limit_count_ = 0;
  std::int64_t concurrency_max_ = kNever;  // of this share
  std::int64_t in_flight_ = 0;
  std::int64_t frozen_until_ns_ = INT64_MIN;
  std::int64_t latest_ns_ = 0;
  FairQueue queue_;
  LimitGroupConfig config_;
  Snapshot counters_;
};

}  // namespace sluiceway::limits
