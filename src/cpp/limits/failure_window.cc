// Slots of results and bins of durations: see failure_window.h.
#include "limits/failure_window.h"

#include <algorithm>
#include <bit>

namespace sluiceway::limits {
namespace {

constexpr std::int64_t kSlotsFirst = 30;  // how many the configured window is cut into
constexpr std::int64_t kSlotsUsed = 60;   // of 64: the window may double before slots must merge
constexpr std::uint32_t kDurationsKept = 1024;

}  // namespace

FailureWindow::FailureWindow(std::int64_t window_ns)
    : configured_ns_(std::max<std::int64_t>(1, window_ns)),
      window_ns_(configured_ns_),
      slot_ns_((configured_ns_ + kSlotsFirst - 1) / kSlotsFirst) {}

void FailureWindow::count(std::int64_t now_ns, bool failed) {
  const std::int64_t index = std::max<std::int64_t>(now_ns, 0) / slot_ns_;
  Slot& slot = slots_[static_cast<std::size_t>(index) % kSlots];
  if (slot.index != index) {
    failures_ -= slot.failures;
    slot = Slot{.index = index};
  }
  ++slot.calls;
  slot.failures += failed;
  failures_ += failed;
}

FailureWindow::Sum FailureWindow::sum(std::int64_t now_ns) const {
  now_ns = std::max<std::int64_t>(now_ns, 0);
  const std::int64_t newest = now_ns / slot_ns_;
  const std::int64_t oldest = std::max<std::int64_t>(now_ns - window_ns_, 0) / slot_ns_;
  Sum sum;
  for (const Slot& slot : slots_) {
    if (slot.index < oldest || slot.index > newest) continue;
    sum.calls += slot.calls;
    sum.failures += slot.failures;
  }
  return sum;
}

void FailureWindow::clear() {
  slots_.fill(Slot{});
  failures_ = 0;
}

void FailureWindow::observe_duration(std::int64_t duration_ns) {
  if (duration_ns <= 0) return;
  const auto width =
      static_cast<std::size_t>(std::bit_width(static_cast<std::uint64_t>(duration_ns)));
  ++durations_[std::min(width - 1, kBins - 1)];
  ++durations_total_;
  const bool fade = durations_total_ >= kDurationsKept;
  if (fade) {
    durations_total_ = 0;
    for (auto& bin : durations_) {
      bin /= 2;
      durations_total_ += bin;
    }
  }
  // Only a call that is long for the window can widen it; it is narrowed when durations fade.
  if (fade || duration_ns > window_ns_ / 4) {
    set_window(std::max(configured_ns_, 2 * p99_upper_ns()));
  }
}

std::int64_t FailureWindow::p99_upper_ns() const {
  std::uint32_t above = 0;
  for (std::size_t i = kBins; i-- > 0;) {
    above += durations_[i];
    if (above > durations_total_ / 100) return std::int64_t{1} << (i + 1);
  }
  return 0;
}

// Slots stay as wide as they grew: finer ones would not make what was counted any finer.
void FailureWindow::set_window(std::int64_t window_ns) {
  window_ns_ = window_ns;
  while (slot_ns_ * kSlotsUsed < window_ns_) merge_slots();
}

void FailureWindow::merge_slots() {
  std::array<Slot, kSlots> merged{};
  for (const Slot& slot : slots_) {
    if (slot.index < 0) continue;
    const std::int64_t index = slot.index / 2;
    Slot& into = merged[static_cast<std::size_t>(index) % kSlots];
    if (into.index > index) continue;  // a leftover older than the whole ring
    if (into.index < index) into = Slot{.index = index};
    into.calls += slot.calls;
    into.failures += slot.failures;
  }
  slots_ = merged;
  slot_ns_ *= 2;
  failures_ = 0;
  for (const Slot& slot : slots_) failures_ += slot.failures;
}

}  // namespace sluiceway::limits
