// What happened, for logs and callbacks: a bounded list that any thread may drain.
//
// The engine adds, a drain on a user's thread takes. When nobody takes, the oldest beyond the bound
// are dropped and counted: a log must never cost memory without end. Texts hold names and numbers,
// never keys or prompts.
#pragma once

#include <atomic>
#include <cstdint>
#include <deque>
#include <iterator>
#include <mutex>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "base/ids.h"

namespace sluiceway::engine {

enum class EventKind : std::uint8_t {
  kRetry,
  kBreaker,    // a breaker moved; detail names the state
  kLimitWait,  // a call waits in the limiter's queue
  kLimitRefused,
  kBudgetRefused,
  kFrozen,  // a 429 froze a limit group
  kInDoubt,
  kOverrun,  // a provider billed beyond the request's own maximum
};
std::string_view event_kind_name(EventKind kind);

struct Event {
  EventKind kind{};
  std::string provider, account, model;
  Id call_id;
  std::string detail;
  std::int64_t wall_ns = 0;
};

class EventLog {
 public:
  static constexpr std::size_t kEventsMax = 10'000;
  void add(Event event) {
    const std::lock_guard<std::mutex> lock(mutex_);
    if (events_.size() == kEventsMax) {
      events_.pop_front();
      ++dropped_;
    }
    events_.push_back(std::move(event));
    any_.store(true, std::memory_order_release);
  }
  bool any() const { return any_.load(std::memory_order_acquire); }
  std::vector<Event> take() {
    const std::lock_guard<std::mutex> lock(mutex_);
    std::vector<Event> out(std::make_move_iterator(events_.begin()),
                           std::make_move_iterator(events_.end()));
    events_.clear();
    any_.store(false, std::memory_order_release);
    return out;
  }
  std::uint64_t dropped() const { return dropped_.load(); }
  std::mutex& mutex() { return mutex_; }  // for the fork hooks

 private:
  std::mutex mutex_;
  std::deque<Event> events_;
  std::atomic<bool> any_{false};
  std::atomic<std::uint64_t> dropped_{0};
};

inline std::string_view event_kind_name(EventKind kind) {
  switch (kind) {
    case EventKind::kRetry:
      return "retry";
    case EventKind::kBreaker:
      return "breaker";
    case EventKind::kLimitWait:
      return "limit_wait";
    case EventKind::kLimitRefused:
      return "limit_refused";
    case EventKind::kBudgetRefused:
      return "budget_refused";
    case EventKind::kFrozen:
      return "frozen";
    case EventKind::kInDoubt:
      return "in_doubt";
    case EventKind::kOverrun:
      return "overrun";
  }
  return "unknown";
}

}  // namespace sluiceway::engine
