// Which balance rows a scope uses now, and their cache: see batch.h and scope_state.h.
#include <algorithm>
#include <chrono>

#include "store/batch.h"
#include "store/codec.h"

namespace sluiceway::store {
namespace {

constexpr std::int64_t kHintNs = kNsPerSecond;  // see Scope::surely_exceeded
constexpr std::size_t kSweepMin = 1024;

}  // namespace

std::int32_t segment_of(std::int64_t time_ns) {
  const std::chrono::sys_time<std::chrono::nanoseconds> time{std::chrono::nanoseconds(time_ns)};
  const std::chrono::year_month_day day{std::chrono::floor<std::chrono::days>(time)};
  return static_cast<int>(day.year()) * 100 +
         static_cast<std::int32_t>(static_cast<unsigned>(day.month()));
}

std::int64_t segment_start_ns(std::int32_t segment) {
  const std::chrono::sys_days first = std::chrono::year(segment / 100) /
                                      std::chrono::month(static_cast<unsigned>(segment % 100)) / 1;
  return std::chrono::nanoseconds(first.time_since_epoch()).count();
}

// Reads the row again where the file may have changed since.
Status BatchWriter::touch(const RowPtr& row) {
  if (row->epoch == epoch_) return absl::OkStatus();
  Status status = backend_.load_balance(*row);
  if (status.ok()) row->epoch = epoch_;
  return status;
}

void BatchWriter::mark_dirty(const RowPtr& row) {
  if (row->dirty) return;
  row->dirty = true;
  dirty_.push_back(row);
}

Status BatchWriter::flush_balances() {
  for (const RowPtr& row : dirty_) {
    if (Status s = backend_.store_balance(*row); !s.ok()) return s;
  }
  // Only now: a failure above leaves the list for undo().
  for (const RowPtr& row : dirty_) row->dirty = false;
  dirty_.clear();
  return absl::OkStatus();
}

// The one object for a row number; `row` was read in this transaction.
BatchWriter::RowPtr BatchWriter::adopt(BalanceRow&& row) {
  RowPtr& known = balances_[row.id];
  if (known == nullptr) {
    row.epoch = epoch_;
    registered_.push_back(row.id);
    known = std::make_shared<BalanceRow>(std::move(row));
    return known;
  }
  if (known->epoch != epoch_) {
    known->value = row.value;
    known->epoch = epoch_;
  }
  if (row.anchor != 0) known->anchor = row.anchor;
  return known;
}

// What a call counts in. A slot that has been folded is its anchor.
StatusOr<BatchWriter::RowPtr> BatchWriter::row_of(const BalanceRef& ref) {
  StatusOr<RowPtr> row = balance_by_id(ref.id);
  if (!row.ok() || ref.slot < 0) return row;
  StatusOr<std::optional<BalanceRow>> slot = backend_.find_slot((*row)->scope_id, ref.slot);
  if (!slot.ok()) return slot.status();
  if (!slot->has_value()) return row;
  (*slot)->anchor = ref.id;
  return adopt(**std::move(slot));
}

StatusOr<BatchWriter::RowPtr> BatchWriter::balance_by_id(std::int64_t id) {
  if (const auto it = balances_.find(id); it != balances_.end()) return it->second;
  BalanceRow row;
  row.id = id;
  if (Status s = backend_.load_balance(row); !s.ok()) return s;
  return adopt(std::move(row));
}

StatusOr<BatchWriter::RowPtr> BatchWriter::fresh_row(const Scope& scope, std::string window,
                                                     std::int64_t slot) {
  BalanceRow row;
  row.scope_id = scope.id();
  row.window = std::move(window);
  row.slot = slot;
  if (Status s = backend_.find_or_create_balance(row); !s.ok()) return s;
  return adopt(std::move(row));
}

Status BatchWriter::resolve_scope(Scope& scope) {
  ScopeState& state = scope.state();
  if (state.generation != generation_) {
    state.current.reset();
    state.earlier.clear();
    state.anchor = 0;
    state.generation = generation_;
  }
  const ScopeConfig& config = scope.config();
  if (config.rolling_ns > 0) {
    const std::int64_t slot = now_ns_ / (config.rolling_ns / kRollingSlots);
    if (state.current == nullptr || state.current->slot != slot || state.epoch != epoch_) {
      if (Status s = list_slots(scope, slot); !s.ok()) return s;
    }
  } else if (state.current == nullptr || now_ns_ >= state.window_end_ns) {
    std::string window = window_key(config.period, now_ns_, scope.zone());
    StatusOr<RowPtr> row = fresh_row(scope, std::move(window), -1);
    if (!row.ok()) return row.status();
    state.current = *std::move(row);
    state.window_end_ns = window_end_ns(config.period, now_ns_, scope.zone());
  }
  return touch(state.current);
}

Status BatchWriter::list_slots(Scope& scope, std::int64_t slot) {
  ScopeState& state = scope.state();
  if (state.anchor == 0) {
    StatusOr<RowPtr> anchor = fresh_row(scope, "", kAnchorSlot);
    if (!anchor.ok()) return anchor.status();
    state.anchor = (*anchor)->id;
  }
  StatusOr<std::vector<BalanceRow>> rows = backend_.load_slots(scope.id(), slot - kRollingSlots);
  if (!rows.ok()) return rows.status();
  state.earlier.clear();
  state.current.reset();
  for (BalanceRow& row : *rows) {
    const bool running = row.slot == slot;
    row.anchor = state.anchor;
    RowPtr adopted = adopt(std::move(row));
    if (running) {
      state.current = std::move(adopted);
    } else {
      state.earlier.push_back(std::move(adopted));
    }
  }
  if (state.current == nullptr) {
    StatusOr<RowPtr> row = fresh_row(scope, "", slot);
    if (!row.ok()) return row.status();
    state.current = *std::move(row);
    state.current->anchor = state.anchor;
    if (Status s = fold_slots(scope, slot - kRollingSlots); !s.ok()) return s;
  }
  state.epoch = epoch_;
  const std::int64_t width = scope.config().rolling_ns / kRollingSlots;
  state.window_end_ns = (slot + 1) * width;
  return absl::OkStatus();
}

// With each new slot, what lies before the window. Balances are written first, since the fold adds
// up what the file has.
Status BatchWriter::fold_slots(Scope& scope, std::int64_t slot) {
  const std::int64_t anchor = scope.state().anchor;
  const std::int64_t width = scope.config().rolling_ns / kRollingSlots;
  if (Status s = flush_balances(); !s.ok()) return s;
  if (Status s = backend_.fold_slots(scope.id(), anchor, slot, slot * width); !s.ok()) return s;
  if (const auto it = balances_.find(anchor); it != balances_.end()) it->second->epoch = 0;
  return absl::OkStatus();
}

StatusOr<ScopeBalance> BatchWriter::sum_scope(Scope& scope) {
  ScopeState& state = scope.state();
  ScopeBalance sum = state.current->value;
  for (const RowPtr& row : state.earlier) {
    if (Status s = touch(row); !s.ok()) return s;
    sum.settled = saturating_add(sum.settled, row->value.settled);
    sum.held = saturating_add(sum.held, row->value.held);
    sum.in_doubt = saturating_add(sum.in_doubt, row->value.in_doubt);
    sum.blocked = sum.blocked || row->value.blocked;
  }
  return sum;
}

// After the commit: what the batch's scopes look like now.
void BatchWriter::publish_hints() {
  const std::int64_t mono = clock_.monotonic_ns();
  for (std::size_t i = 0; i < batch_scopes_.size(); ++i) {
    const ScopeBalance& sum = sums_[i];
    const std::int64_t left = batch_scopes_[i]->state().window_end_ns - now_ns_;
    batch_scopes_[i]->store_hint(sum.limit, sum.settled, sum.held, sum.in_doubt, sum.blocked,
                                 mono + std::min(kHintNs, left));
  }
}

// Drops rows and names that nothing refers to any more; amortised O(1) a row.
void BatchWriter::sweep() {
  if (balances_.size() + scopes_by_name_.size() < sweep_at_) return;
  absl::erase_if(balances_, [](const auto& item) { return item.second.use_count() == 1; });
  absl::erase_if(scopes_by_name_, [](const auto& item) { return item.second.expired(); });
  sweep_at_ = std::max(kSweepMin, 2 * (balances_.size() + scopes_by_name_.size()));
}

}  // namespace sluiceway::store
