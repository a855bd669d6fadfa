// The tickets that wait before a limit group: FIFO per tenant and priority, fair between tenants,
// strict between priorities, bounded by its owner.
//
// Model: within a priority every tenant has a lane; the lane that has been served least (in cost)
// since it became busy is next, ties by the arrival of its head. That is start-time fair queueing
// (Goyal, Vin, Cheng: "Start-time Fair Queueing", SIGCOMM 1996). It stands where a deficit round
// robin would (Shreedhar, Varghese 1995), because its bound is tighter: while two tenants wait, the
// costs served to them differ by at most one largest request, not by a quantum more. A lane's
// service is charged when it is served, never when it is queued, so removing a waiting ticket
// leaves no trace. A lower priority waits as long as a higher one has tickets: that is what strict
// means, and the only starvation there is.
//
// Bounds: push, pop, remove O(log n); head O(1); memory about 200 bytes a ticket, and one lane per
// tenant that waits or was served more than others in this busy period. Threads: none of its own.
// Example:
//     queue.push(ticket, cost);  while (const Ticket* t = queue.head()) { use(*t); queue.pop(); }
#pragma once

#include <array>
#include <cstddef>
#include <cstdint>
#include <functional>
#include <list>
#include <map>
#include <optional>
#include <set>
#include <string_view>
#include <tuple>
#include <unordered_map>
#include <utility>

namespace sluiceway::limits {

enum class Dimension : std::uint8_t {
  kRequests = 0,
  kInputTokens,
  kOutputTokens,
  kTokens,  // input and output together
  kCharacters,
  kQuotaUnits,
  kConcurrency,
};
constexpr std::size_t kDimensions = 7;
std::string_view dimension_name(Dimension dimension);  // snake_case: "input_tokens"

// Units wanted in each dimension, >= 0; concurrency is 1 or 0.
using Amounts = std::array<std::int64_t, kDimensions>;

struct Ticket {
  std::uint64_t id = 0;
  std::uint32_t tenant = 0;
  std::uint8_t priority = 0;  // a higher number goes first
  Amounts amounts{};
  std::int64_t deadline_ns = INT64_MAX;  // absolute, monotonic
};

class FairQueue {
 public:
  // `cost` >= 1: what this ticket counts for in fairness. False: a ticket with this id waits.
  bool push(const Ticket& ticket, std::int64_t cost);
  // The next ticket in fair order, or null. Valid until the queue changes.
  const Ticket* head() const;
  void pop();                     // serves head(), charging its cost to its tenant
  bool remove(std::uint64_t id);  // without a trace
  // Removes one ticket whose deadline is at or before `now_ns` and returns its id.
  std::optional<std::uint64_t> pop_expired(std::int64_t now_ns);
  std::int64_t earliest_deadline_ns() const;  // INT64_MAX when none has one

  std::size_t size() const { return entries_.size(); }
  bool waits_at_or_above(std::uint8_t priority) const {
    return !levels_.empty() && levels_.begin()->first >= priority;
  }
  // An estimate of what is served before a new ticket of this tenant and priority, per dimension:
  // all of higher priorities, the tenant's own, and of each other tenant at most as much as this
  // one will have had.
  Amounts ahead_of(std::uint32_t tenant, std::uint8_t priority, const Amounts& wanted) const;
  Amounts wanted() const;  // the sum over all tickets

 private:
  struct Entry {
    Ticket ticket;
    std::int64_t cost = 1;
    std::uint64_t arrival = 0;
  };
  struct Lane {
    std::list<Entry> fifo;
    std::int64_t served = 0;  // virtual start of its head: cost served, never below the level's
    Amounts sum{};
  };
  using LaneKey =
      std::tuple<std::int64_t, std::uint64_t, std::uint32_t>;  // served, arrival, tenant
  struct Level {
    std::unordered_map<std::uint32_t, Lane> lanes;
    std::set<LaneKey> busy;  // lanes with tickets
    std::set<std::pair<std::int64_t, std::uint32_t>>
        idle;                       // empty ones still ahead of virtual time
    std::int64_t virtual_time = 0;  // `served` of the lane last served
    Amounts sum{};
  };
  using Levels = std::map<std::uint8_t, Level, std::greater<>>;
  struct Place {
    std::uint8_t priority;
    std::uint32_t tenant;
    std::list<Entry>::iterator entry;
  };

  static LaneKey key_of(const Lane& lane, std::uint32_t tenant);
  // Takes the entry out of its lane; `served_cost` is charged to the tenant (0: removed).
  void take_out(std::unordered_map<std::uint64_t, Place>::iterator place, std::int64_t served_cost);

  Levels levels_;  // only priorities that have waiting tickets
  std::unordered_map<std::uint64_t, Place> entries_;
  std::set<std::pair<std::int64_t, std::uint64_t>> deadlines_;  // (deadline, id), only real ones
  std::uint64_t arrivals_ = 0;
};

}  // namespace sluiceway::limits
