// The lowest backlog that a bucket had since a given time, for taking a permit out of its past.
//
// Model: a permit that comes back unsent, or less used than was estimated, may give back only what
// would be there had it never been taken: where the backlog sank to b meanwhile, all but b of it
// has been refilled, others may have used that, and to give it back too would let a window see
// more than its bound. So the answer is min(n, the lowest backlog since); and since that is then
// out of the past, all backlogs since are lower by it. What is left is exactly the bucket of a
// service that had taken only the rest, so the bound holds for what was really sent.
//
// Kept are the suffix minima: times ascend, and so do backlogs, since an earlier higher one can
// never be the lowest. Above kEntriesMax of them, close ones are merged into the lower backlog at
// the later time, so an answer is too low by at most a 32nd of the range and never too high.
//
// Bounds: push amortised O(1), the others O(n) for n <= 64 entries of 32 bytes.
// Threads: none of its own. Source: the two ends of a monotone queue; the argument is the one of
// docs/decisions/0005. Example: see TokenBucket::credit().
#pragma once

#include <cstdint>
#include <vector>

namespace sluiceway::limits {

class BacklogMinimum {
 public:
  __extension__ typedef __int128 Wide;
  static constexpr std::size_t kEntriesMax = 64;

  // The backlog (>= 0) at `at_ns`, before whatever makes it grow then. A clock that was set back
  // lets an entry keep the later time, so that it counts for more permits, not for fewer.
  void push(std::int64_t at_ns, Wide backlog) {
    if (!entries_.empty() && entries_.back().at_ns == at_ns && entries_.back().backlog <= backlog) {
      return;
    }
    append(at_ns, backlog);
  }
  // The lowest after `since_ns`, the one of now included.
  Wide since(std::int64_t since_ns, Wide now_backlog) const;
  // `amount`, at most since(), was never taken at `since_ns`.
  void lower(std::int64_t since_ns, Wide amount);
  // Forgets; what was taken before `at_ns` can give back nothing.
  void cut(std::int64_t at_ns) {
    entries_.clear();
    entries_.push_back({at_ns, 0});
  }

 private:
  struct Entry {
    std::int64_t at_ns = 0;  // the last time at which it was this low
    Wide backlog = 0;
  };
  void append(std::int64_t at_ns, Wide backlog);
  void merge_close_ones();
  std::size_t first_after(std::int64_t since_ns) const;

  std::vector<Entry> entries_;
};

}  // namespace sluiceway::limits
