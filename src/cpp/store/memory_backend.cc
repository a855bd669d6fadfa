// Rows in memory: see memory_backend.h.
#include "store/memory_backend.h"

#include <algorithm>

#include "store/codec.h"
#include "store/verify.h"

namespace sluiceway::store {

StatusOr<bool> MemoryBackend::begin() {
  transaction_ = std::unique_lock<std::mutex>(mutex_);
  return false;
}

Status MemoryBackend::commit() {
  while (calls_.size() > calls_max_ && calls_.size() > holds_.size()) fold_oldest();
  transaction_.unlock();
  return absl::OkStatus();
}

void MemoryBackend::rollback() {
  if (transaction_.owns_lock()) transaction_.unlock();
}

// Drops the oldest call that has ended, and keeps what it posted.
void MemoryBackend::fold_oldest() {
  for (auto it = calls_.begin(); it != calls_.end(); ++it) {
    if (holds_.contains(it->first)) continue;
    std::vector<std::int64_t> ids;
    Nanousd settled = 0;
    for (const auto& [key, entry] : it->second) {
      if (entry.row.kind == EntryKind::kReserve) (void)decode_balances(entry.balances, ids);
      if (entry.row.kind == EntryKind::kSettle || entry.row.kind == EntryKind::kPostFull ||
          entry.row.kind == EntryKind::kCorrect) {
        settled += entry.row.amount;
      }
    }
    for (const std::int64_t id : ids) folded_[id] += settled;
    calls_.erase(it);
    return;
  }
}

EntryRow MemoryBackend::StoredEntry::view() const {
  EntryRow out = row;
  out.balances = balances;
  out.usage = usage;
  out.request_id = request_id;
  out.evidence = evidence;
  return out;
}

StatusOr<bool> MemoryBackend::insert_entry(const EntryRow& row) {
  auto [it, inserted] = calls_[row.call_id].try_emplace({row.attempt, row.kind});
  if (!inserted) return false;
  StoredEntry& entry = it->second;
  entry.row = row;
  entry.balances = row.balances;
  entry.usage = row.usage;
  entry.request_id = row.request_id;
  entry.evidence = row.evidence;
  entry.row.balances = entry.row.usage = entry.row.request_id = entry.row.evidence = {};
  return true;
}

Status MemoryBackend::insert_hold(const HoldRow& row) {
  holds_[row.call_id] = row;
  return absl::OkStatus();
}

StatusOr<bool> MemoryBackend::update_hold(const HoldRow& row) {
  const auto it = holds_.find(row.call_id);
  if (it == holds_.end()) return false;
  it->second.amount = row.amount;
  it->second.in_doubt = row.in_doubt;
  it->second.owner = row.owner;
  if (row.in_doubt) it->second.since_ns = row.since_ns;
  return true;
}

StatusOr<bool> MemoryBackend::delete_hold(const Id& call) { return holds_.erase(call) == 1; }

StatusOr<std::optional<HoldRow>> MemoryBackend::find_hold(const Id& call) {
  const auto it = holds_.find(call);
  return it == holds_.end() ? std::optional<HoldRow>{} : std::optional<HoldRow>(it->second);
}

StatusOr<std::vector<HoldRow>> MemoryBackend::list_holds(std::optional<std::int64_t> owner) {
  std::vector<HoldRow> out;
  for (const auto& [id, hold] : holds_) {
    if (!owner || (hold.owner == *owner && !hold.in_doubt)) out.push_back(hold);
  }
  return out;
}

StatusOr<std::optional<HoldRow>> MemoryBackend::find_posted(const Id& call,
                                                            std::int32_t* attempts) {
  const auto it = calls_.find(call);
  if (it == calls_.end()) return std::optional<HoldRow>{};
  HoldRow posted;
  posted.call_id = call;
  posted.in_doubt = true;
  bool full = false;
  *attempts = 0;
  for (const auto& [key, entry] : it->second) {
    posted.segment = entry.row.segment;
    if (entry.row.kind == EntryKind::kReserve) {
      posted.labels = entry.row.labels;
      posted.balances = entry.balances;
    }
    full = full || entry.row.kind == EntryKind::kPostFull;
    if (entry.row.kind == EntryKind::kPostFull || entry.row.kind == EntryKind::kCorrect) {
      posted.amount += entry.row.amount;
      ++*attempts;
    }
  }
  return full ? std::optional<HoldRow>(std::move(posted)) : std::nullopt;
}

StatusOr<std::optional<LimitRow>> MemoryBackend::find_limit(std::string_view kind,
                                                            std::string_view key) {
  const auto it = limit_ids_.find({std::string(kind), std::string(key)});
  if (it == limit_ids_.end()) return std::optional<LimitRow>{};
  return std::optional<LimitRow>({.scope_id = it->second, .config = config_of(it->second)});
}

StatusOr<std::int64_t> MemoryBackend::insert_limit(const ScopeConfig& config, std::int64_t) {
  limits_.push_back(config);
  const auto id = static_cast<std::int64_t>(limits_.size());
  limit_ids_[{config.kind, config.key}] = id;
  return id;
}

Status MemoryBackend::replace_limit(std::int64_t scope_id, std::optional<Nanousd> limit) {
  config_of(scope_id).limit = limit;
  for (const auto& [window, id] : windows_[scope_id]) {
    balances_[static_cast<std::size_t>(id - 1)].value.blocked = false;
  }
  return absl::OkStatus();
}

Nanousd MemoryBackend::limit_of(std::int64_t scope_id) {
  return config_of(scope_id).limit.value_or(kNanousdMax);
}

Status MemoryBackend::load_balance(BalanceRow& row) {
  if (row.id < 1 || row.id > static_cast<std::int64_t>(balances_.size())) {
    return absl::DataLossError("the balance is not there");
  }
  const BalanceRow& stored = balances_[static_cast<std::size_t>(row.id - 1)];
  row.value = stored.value;
  row.value.limit = limit_of(stored.scope_id);
  row.scope_id = stored.scope_id;
  row.slot = stored.slot;
  row.window = stored.window;
  return absl::OkStatus();
}

Status MemoryBackend::find_or_create_balance(BalanceRow& row) {
  auto& id = windows_[row.scope_id][{row.slot, row.window}];
  if (id == 0) {
    balances_.push_back(row);
    balances_.back().value = ScopeBalance{};
    id = static_cast<std::int64_t>(balances_.size());
    balances_.back().id = id;
  }
  row.id = id;
  return load_balance(row);
}

StatusOr<std::vector<BalanceRow>> MemoryBackend::load_slots(std::int64_t scope_id,
                                                            std::int64_t from_slot) {
  std::vector<BalanceRow> out;
  auto& windows = windows_[scope_id];
  for (auto it = windows.lower_bound({from_slot, ""}); it != windows.end(); ++it) {
    BalanceRow& row = out.emplace_back();
    row.id = it->second;
    if (Status s = load_balance(row); !s.ok()) return s;
  }
  return out;
}

Status MemoryBackend::store_balance(const BalanceRow& row) {
  balances_[static_cast<std::size_t>(row.id - 1)].value = row.value;
  return absl::OkStatus();
}

StatusOr<std::int64_t> MemoryBackend::intern_labels(const CallLabels& labels) {
  for (std::size_t i = 0; i < labels_.size(); ++i) {
    if (*labels_[i] == labels) return static_cast<std::int64_t>(i + 1);
  }
  labels_.push_back(std::make_shared<CallLabels>(labels));
  return static_cast<std::int64_t>(labels_.size());
}

StatusOr<std::int64_t> MemoryBackend::intern_price(std::string_view version) {
  const auto it = std::find(prices_.begin(), prices_.end(), version);
  if (it != prices_.end()) return it - prices_.begin() + 1;
  prices_.emplace_back(version);
  return static_cast<std::int64_t>(prices_.size());
}

StatusOr<std::optional<Submission>> MemoryBackend::find_submission(std::string_view tenant,
                                                                   std::string_view key) {
  const auto it = submissions_.find({std::string(tenant), std::string(key)});
  return it == submissions_.end() ? std::optional<Submission>{}
                                  : std::optional<Submission>(it->second);
}

Status MemoryBackend::insert_submission(std::string_view tenant, std::string_view key,
                                        const Submission& row, std::int64_t) {
  submissions_.try_emplace({std::string(tenant), std::string(key)}, row);
  return absl::OkStatus();
}

Status MemoryBackend::delete_submission(std::string_view tenant, std::string_view key,
                                        const Id& call) {
  if (key.empty()) {
    std::erase_if(submissions_, [&](const auto& item) { return item.second.call_id == call; });
    return absl::OkStatus();
  }
  const auto it = submissions_.find({std::string(tenant), std::string(key)});
  if (it != submissions_.end() && it->second.call_id == call) submissions_.erase(it);
  return absl::OkStatus();
}

Status MemoryBackend::store_clock(const ClockRow& row) {
  clock_ = row;
  return absl::OkStatus();
}

}  // namespace sluiceway::store
