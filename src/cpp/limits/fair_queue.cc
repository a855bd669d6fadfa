// Start-time fair queueing of tickets: see fair_queue.h.
#include "limits/fair_queue.h"

#include <algorithm>

namespace sluiceway::limits {
namespace {

constexpr std::array<std::string_view, kDimensions> kDimensionNames = {
    "requests",   "input_tokens", "output_tokens", "llm_tokens",
    "characters", "quota_units",  "concurrency"};

void add(Amounts& sum, const Amounts& amounts, std::int64_t sign) {
  for (std::size_t i = 0; i < kDimensions; ++i) sum[i] += sign * amounts[i];
}

}  // namespace

std::string_view dimension_name(Dimension dimension) {
  const auto index = static_cast<std::size_t>(dimension);
  return index < kDimensions ? kDimensionNames[index] : "unknown";
}

FairQueue::LaneKey FairQueue::key_of(const Lane& lane, std::uint32_t tenant) {
  return {lane.served, lane.fifo.front().arrival, tenant};
}

bool FairQueue::push(const Ticket& ticket, std::int64_t cost) {
  if (entries_.contains(ticket.id)) return false;
  Level& level = levels_[ticket.priority];
  Lane& lane = level.lanes[ticket.tenant];
  const bool was_empty = lane.fifo.empty();
  if (was_empty) {
    level.idle.erase({lane.served, ticket.tenant});
    lane.served = std::max(lane.served, level.virtual_time);
  }
  lane.fifo.push_back({ticket, std::max<std::int64_t>(cost, 1), arrivals_++});
  if (was_empty) level.busy.insert(key_of(lane, ticket.tenant));
  add(lane.sum, ticket.amounts, 1);
  add(level.sum, ticket.amounts, 1);
  entries_.emplace(ticket.id, Place{ticket.priority, ticket.tenant, std::prev(lane.fifo.end())});
  if (ticket.deadline_ns != INT64_MAX) deadlines_.emplace(ticket.deadline_ns, ticket.id);
  return true;
}

const Ticket* FairQueue::head() const {
  if (levels_.empty()) return nullptr;
  const Level& level = levels_.begin()->second;
  const std::uint32_t tenant = std::get<2>(*level.busy.begin());
  return &level.lanes.find(tenant)->second.fifo.front().ticket;
}

void FairQueue::pop() {
  const Ticket* ticket = head();
  if (ticket == nullptr) return;
  const auto place = entries_.find(ticket->id);
  take_out(place, place->second.entry->cost);
}

bool FairQueue::remove(std::uint64_t id) {
  const auto place = entries_.find(id);
  if (place == entries_.end()) return false;
  take_out(place, 0);
  return true;
}

std::optional<std::uint64_t> FairQueue::pop_expired(std::int64_t now_ns) {
  if (deadlines_.empty() || deadlines_.begin()->first > now_ns) return std::nullopt;
  const std::uint64_t id = deadlines_.begin()->second;
  remove(id);
  return id;
}

std::int64_t FairQueue::earliest_deadline_ns() const {
  return deadlines_.empty() ? INT64_MAX : deadlines_.begin()->first;
}

void FairQueue::take_out(std::unordered_map<std::uint64_t, Place>::iterator place,
                         std::int64_t served_cost) {
  const auto [priority, tenant, entry] = place->second;
  const auto at_level = levels_.find(priority);
  Level& level = at_level->second;
  const auto at_lane = level.lanes.find(tenant);
  Lane& lane = at_lane->second;
  if (entry->ticket.deadline_ns != INT64_MAX) {
    deadlines_.erase({entry->ticket.deadline_ns, entry->ticket.id});
  }
  level.busy.erase(key_of(lane, tenant));
  add(lane.sum, entry->ticket.amounts, -1);
  add(level.sum, entry->ticket.amounts, -1);
  lane.fifo.erase(entry);
  entries_.erase(place);
  if (served_cost > 0) {
    level.virtual_time = lane.served;
    lane.served += served_cost;
  }
  if (!lane.fifo.empty()) {
    level.busy.insert(key_of(lane, tenant));
  } else if (lane.served > level.virtual_time) {
    level.idle.emplace(lane.served, tenant);  // remembered, or leaving and coming back would pay
  } else {
    level.lanes.erase(at_lane);
  }
  if (level.busy.empty()) {  // the busy period is over: everybody starts equal in the next
    levels_.erase(at_level);
    return;
  }
  while (!level.idle.empty() && level.idle.begin()->first <= level.virtual_time) {
    level.lanes.erase(level.idle.begin()->second);
    level.idle.erase(level.idle.begin());
  }
}

Amounts FairQueue::ahead_of(std::uint32_t tenant, std::uint8_t priority,
                            const Amounts& wanted) const {
  Amounts ahead{};
  for (const auto& [level_priority, level] : levels_) {
    if (level_priority < priority) break;
    if (level_priority > priority) {
      add(ahead, level.sum, 1);
      continue;
    }
    const auto lane = level.lanes.find(tenant);
    const Amounts own = lane == level.lanes.end() ? Amounts{} : lane->second.sum;
    const bool own_is_busy = lane != level.lanes.end() && !lane->second.fifo.empty();
    const auto others = static_cast<std::int64_t>(level.busy.size()) - (own_is_busy ? 1 : 0);
    for (std::size_t i = 0; i < kDimensions; ++i) {
      std::int64_t share = 0;
      if (__builtin_mul_overflow(others, own[i] + wanted[i], &share)) share = INT64_MAX;
      ahead[i] += own[i] + std::min(level.sum[i] - own[i], share);
    }
  }
  return ahead;
}

Amounts FairQueue::wanted() const {
  Amounts sum{};
  for (const auto& [priority, level] : levels_) add(sum, level.sum, 1);
  return sum;
}

}  // namespace sluiceway::limits
