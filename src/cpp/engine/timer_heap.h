// Deadlines of many calls: a binary heap whose entries know their place, so that moving one is
// O(log n) and none is ever left behind.
//
// A Timer lives inside its owner. Time is monotonic nanoseconds. Engine thread only; no allocation
// but the heap's own growth.
#pragma once

#include <cstddef>
#include <cstdint>
#include <limits>
#include <utility>
#include <vector>

namespace sluiceway::engine {

constexpr std::int64_t kNever = std::numeric_limits<std::int64_t>::max();

struct Timer {
  std::int64_t due_ns = kNever;
  std::uint64_t seq = 0;     // which job
  std::uint32_t waiter = 0;  // which of its callers; 0: the job itself
  std::size_t place = SIZE_MAX;
  bool scheduled() const { return place != SIZE_MAX; }
};

class TimerHeap {
 public:
  // Adds or moves. kNever removes.
  void set(Timer& timer, std::int64_t due_ns) {
    if (due_ns == kNever) return remove(timer);
    timer.due_ns = due_ns;
    if (!timer.scheduled()) {
      timer.place = heap_.size();
      heap_.push_back(&timer);
    }
    sift_down(sift_up(timer.place));
  }
  void remove(Timer& timer) {
    if (!timer.scheduled()) return;
    const std::size_t place = timer.place;
    Timer* last = heap_.back();
    heap_.pop_back();
    timer.place = SIZE_MAX;
    if (last == &timer) return;
    heap_[place] = last;
    last->place = place;
    sift_down(sift_up(place));
  }
  std::int64_t next_ns() const { return heap_.empty() ? kNever : heap_.front()->due_ns; }
  // The earliest, if it is due; it is taken out.
  Timer* pop_due(std::int64_t now_ns) {
    if (heap_.empty() || heap_.front()->due_ns > now_ns) return nullptr;
    Timer* timer = heap_.front();
    remove(*timer);
    return timer;
  }
  std::size_t size() const { return heap_.size(); }

 private:
  std::size_t sift_up(std::size_t at) {
    while (at > 0) {
      const std::size_t parent = (at - 1) / 2;
      if (heap_[parent]->due_ns <= heap_[at]->due_ns) break;
      swap(at, parent);
      at = parent;
    }
    return at;
  }
  void sift_down(std::size_t at) {
    for (;;) {
      std::size_t least = at;
      for (const std::size_t child : {2 * at + 1, 2 * at + 2}) {
        if (child < heap_.size() && heap_[child]->due_ns < heap_[least]->due_ns) least = child;
      }
      if (least == at) return;
      swap(at, least);
      at = least;
    }
  }
  void swap(std::size_t a, std::size_t b) {
    std::swap(heap_[a], heap_[b]);
    heap_[a]->place = a;
    heap_[b]->place = b;
  }

  std::vector<Timer*> heap_;
};

}  // namespace sluiceway::engine
