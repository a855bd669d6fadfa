// Suffix minima of a bucket's backlog: see backlog_minimum.h.
#include "limits/backlog_minimum.h"

#include <algorithm>

namespace sluiceway::limits {

void BacklogMinimum::append(std::int64_t at_ns, Wide backlog) {
  while (!entries_.empty() && entries_.back().backlog >= backlog) {
    at_ns = std::max(at_ns, entries_.back().at_ns);
    entries_.pop_back();
  }
  if (entries_.size() == kEntriesMax) merge_close_ones();
  entries_.push_back({at_ns, backlog});
}

void BacklogMinimum::merge_close_ones() {
  const Wide step = (entries_.back().backlog - entries_.front().backlog) / (kEntriesMax / 2);
  std::size_t kept = 0;
  for (std::size_t i = 1; i < entries_.size(); ++i) {
    if (entries_[i].backlog - entries_[kept].backlog > step) {
      entries_[++kept] = entries_[i];
    } else {
      entries_[kept].at_ns = std::max(entries_[kept].at_ns, entries_[i].at_ns);
    }
  }
  entries_.resize(kept + 1);
}

// Times ascend but where a clock was set back; the first that is later is the lowest all the same.
std::size_t BacklogMinimum::first_after(std::int64_t since_ns) const {
  std::size_t i = entries_.size();
  for (std::size_t j = 0; j < entries_.size(); ++j) {
    if (entries_[j].at_ns > since_ns) {
      i = j;
      break;
    }
  }
  return i;
}

BacklogMinimum::Wide BacklogMinimum::since(std::int64_t since_ns, Wide now_backlog) const {
  const std::size_t first = first_after(since_ns);
  return first == entries_.size() ? now_backlog : std::min(entries_[first].backlog, now_backlog);
}

void BacklogMinimum::lower(std::int64_t since_ns, Wide amount) {
  const std::size_t first = first_after(since_ns);
  if (first == entries_.size()) return;
  for (std::size_t i = first; i < entries_.size(); ++i) entries_[i].backlog -= amount;
  std::size_t above = first;  // earlier ones that are the lowest no more
  while (above > 0 && entries_[above - 1].backlog >= entries_[first].backlog) --above;
  entries_.erase(entries_.begin() + static_cast<std::ptrdiff_t>(above),
                 entries_.begin() + static_cast<std::ptrdiff_t>(first));
}

}  // namespace sluiceway::limits
