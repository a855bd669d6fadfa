// What is going to happen, by true time; ties in the order in which they were put down.
#pragma once

#include <cstdint>
#include <functional>
#include <map>
#include <utility>

namespace sluiceway::simulation {

class Agenda {
 public:
  void at(std::int64_t true_ns, std::function<void()> what) {
    events_.emplace(std::make_pair(true_ns, next_++), std::move(what));
  }
  std::int64_t next_ns() const {
    return events_.empty() ? INT64_MAX : events_.begin()->first.first;
  }
  // Runs what is due, one event after the other; events may put down others.
  void run_due(std::int64_t true_ns) {
    while (!events_.empty() && events_.begin()->first.first <= true_ns) {
      const auto what = std::move(events_.begin()->second);
      events_.erase(events_.begin());
      what();
    }
  }

 private:
  std::map<std::pair<std::int64_t, std::uint64_t>, std::function<void()>> events_;
  std::uint64_t next_ = 0;
};

}  // namespace sluiceway::simulation
