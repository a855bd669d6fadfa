// The retry budget's time slots: see retry_budget.h.
#include "limits/retry_budget.h"

#include <algorithm>

namespace sluiceway::limits {

RetryBudget::RetryBudget(std::int32_t percent, std::int64_t window_ns,
                         std::int32_t minimum_concurrent)
    : percent_(std::max(percent, 0)),
      slot_ns_(std::max<std::int64_t>(1, (window_ns + kSlots - 1) / kSlots)),
      minimum_(std::max(minimum_concurrent, 0)) {}

// A time before the latest seen counts as the latest, unless the clock was set back by more than a
// window; the counts are then of no use and the budget starts again.
RetryBudget::Slot& RetryBudget::slot_at(std::int64_t now_ns) {
  std::int64_t index = std::max<std::int64_t>(now_ns, 0) / slot_ns_;
  if (index < latest_index_) {
    if (latest_index_ - index > kSlots) {
      slots_.fill(Slot{});
      latest_index_ = index;
    } else {
      index = latest_index_;
    }
  }
  latest_index_ = index;
  Slot& slot = slots_[static_cast<std::size_t>(index % (kSlots + 1))];
  if (slot.index != index) slot = Slot{.index = index};
  return slot;
}

std::int64_t RetryBudget::left_locked(std::int64_t now_ns) const {
  const std::int64_t index = std::max(latest_index_, std::max<std::int64_t>(now_ns, 0) / slot_ns_);
  std::int64_t first_attempts = 0, retries = 0;
  for (const Slot& slot : slots_) {
    if (slot.index < 0 || slot.index < index - kSlots) continue;
    retries += slot.retries;
    if (slot.index > index - kSlots) first_attempts += slot.first_attempts;
  }
  return std::max<std::int64_t>(0, first_attempts * percent_ / 100 + minimum_ - retries);
}

void RetryBudget::on_first_attempt(std::int64_t now_ns) {
  const std::lock_guard<std::mutex> lock(mutex_);
  ++slot_at(now_ns).first_attempts;
}

bool RetryBudget::try_retry(std::int64_t now_ns) {
  const std::lock_guard<std::mutex> lock(mutex_);
  Slot& slot = slot_at(now_ns);
  if (left_locked(now_ns) <= 0) return false;
  ++slot.retries;
  return true;
}

void RetryBudget::cancel_retry(std::int64_t now_ns) {
  const std::lock_guard<std::mutex> lock(mutex_);
  slot_at(now_ns);
  Slot* newest = nullptr;  // the counted retry may have been in an earlier slot
  for (Slot& slot : slots_) {
    if (slot.retries > 0 && (newest == nullptr || slot.index > newest->index)) newest = &slot;
  }
  if (newest != nullptr) --newest->retries;
}

std::int64_t RetryBudget::left(std::int64_t now_ns) const {
  const std::lock_guard<std::mutex> lock(mutex_);
  return left_locked(now_ns);
}

}  // namespace sluiceway::limits
