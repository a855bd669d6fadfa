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
    std::vector<BalanceRef> refs;
    CallRow call;
    const auto keep = [this](std::span<const BalanceRef> in, Nanousd amount) {
      for (const BalanceRef& ref : in) {
        std::int64_t id = ref.id;
        if (ref.slot >= 0) {
          const auto slot = find_slot(balances_[ref.id].scope_id, ref.slot);
          if (slot->has_value()) id = (*slot)->id;
        }
        folded_[id] += amount;
      }
    };
    for (const StoredEntry& entry : it->second) {
      const EntryKind kind = entry.kind;
      if (kind == EntryKind::kReserve || kind == EntryKind::kGrant) {
        (void)decode_balances(entry.balances(), refs);
      }
      // A replaced limit is what the scope's row says: nothing of it is kept.
      if (kind == EntryKind::kGrant) {
        for (const BalanceRef& scope : refs) folded_grants_[scope.id] += entry.amount;
        refs.clear();
      }
      if (kind == EntryKind::kRefund && !entry.balances().empty()) {
        std::vector<BalanceRef> some;
        (void)decode_balances(entry.balances(), some);
        keep(some, -entry.amount);
        continue;
      }
      call.add(kind, entry.attempt, entry.amount);
    }
    keep(refs, call.cost - call.refunded);
    calls_.erase(it);
    return;
  }
}

MemoryBackend::StoredEntry::StoredEntry(const EntryRow& row)
    : time_ns(row.time_ns),
      amount(row.amount),
      latency_ns(row.latency_ns),
      intent_id(row.intent_id),
      labels(static_cast<std::uint32_t>(row.labels)),
      price(static_cast<std::uint32_t>(row.price)),
      flags(row.flags),
      attempt(row.attempt),
      segment(row.segment),
      kind(row.kind) {
  const auto add = [this](std::string_view text) {
    texts.append(text);
    return static_cast<std::uint32_t>(texts.size());
  };
  texts.reserve(row.balances.size() + row.usage.size() + row.request_id.size() +
                row.evidence.size());
  usage_at = add(row.balances);
  request_id_at = add(row.usage);
  evidence_at = add(row.request_id);
  add(row.evidence);
}

EntryRow MemoryBackend::StoredEntry::view(const Id& call) const {
  const std::string_view all = texts;
  return {.call_id = call,
          .attempt = attempt,
          .kind = kind,
          .segment = segment,
          .time_ns = time_ns,
          .amount = amount,
          .labels = labels,
          .price = price,
          .flags = flags,
          .latency_ns = latency_ns,
          .intent_id = intent_id,
          .balances = balances(),
          .usage = all.substr(usage_at, request_id_at - usage_at),
          .request_id = all.substr(request_id_at, evidence_at - request_id_at),
          .evidence = all.substr(evidence_at)};
}

MemoryBackend::Call::iterator MemoryBackend::Call::find(std::int32_t attempt, EntryKind kind) {
  return std::find_if(begin(), end(), [&](const StoredEntry& entry) {
    return entry.attempt == attempt && entry.kind == kind;
  });
}

StatusOr<bool> MemoryBackend::insert_entry(const EntryRow& row) {
  Call& call = calls_.try_emplace(calls_.end(), row.call_id)->second;  // ids grow
  const auto at = std::find_if(call.begin(), call.end(), [&](const StoredEntry& entry) {
    return std::pair(entry.attempt, entry.kind) >= std::pair(row.attempt, row.kind);
  });
  if (at != call.end() && at->attempt == row.attempt && at->kind == row.kind) return false;
  call.emplace(at, row);
  return true;
}

StatusOr<bool> MemoryBackend::has_entry(const EntryRow& row) {
  const auto call = calls_.find(row.call_id);
  if (call == calls_.end()) return false;
  const auto it = call->second.find(row.attempt, row.kind);
  return it != call->second.end() && it->time_ns == row.time_ns && it->amount == row.amount;
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

StatusOr<std::optional<CallRow>> MemoryBackend::find_call(const Id& call) {
  const auto it = calls_.find(call);
  if (it == calls_.end()) return std::optional<CallRow>{};
  CallRow out;
  out.call_id = call;
  for (const StoredEntry& entry : it->second) {
    out.segment = entry.segment;
    if (entry.kind == EntryKind::kReserve) {
      out.labels = entry.labels;
      out.balances = entry.balances();
    }
    out.add(entry.kind, entry.attempt, entry.amount);
  }
  return std::optional<CallRow>(std::move(out));
}

StatusOr<std::optional<LimitRow>> MemoryBackend::find_limit(std::string_view kind,
                                                            std::string_view key) {
  const auto it = limit_ids_.find({std::string(kind), std::string(key)});
  if (it == limit_ids_.end()) return std::optional<LimitRow>{};
  return std::optional<LimitRow>(limits_[static_cast<std::size_t>(it->second - 1)]);
}

StatusOr<std::int64_t> MemoryBackend::insert_limit(const ScopeConfig& config, std::int64_t) {
  const auto id = static_cast<std::int64_t>(limits_.size() + 1);
  limits_.push_back({.scope_id = id, .config = config});
  limit_ids_[{config.kind, config.key}] = id;
  return id;
}

Status MemoryBackend::replace_limit(std::int64_t scope_id, std::optional<Nanousd> limit) {
  config_of(scope_id).limit = limit;
  return add_granted(scope_id, 0, true);
}

Status MemoryBackend::add_granted(std::int64_t scope_id, Nanousd amount, bool unblock) {
  limits_[static_cast<std::size_t>(scope_id - 1)].granted += amount;
  if (!unblock) return absl::OkStatus();
  for (const auto& [window, id] : windows_[scope_id]) {
    balances_[id].value.blocked = false;
  }
  return absl::OkStatus();
}

Status MemoryBackend::close_limits(std::int64_t scope_id, std::string_view open_window,
                                   std::optional<Nanousd> limit) {
  for (const auto& [window, id] : windows_[scope_id]) {
    if (window.first == -1 && window.second != open_window) {
      closed_limits_.emplace(id, limit.value_or(kNanousdMax));
    }
  }
  return absl::OkStatus();
}

Nanousd MemoryBackend::shown_limit(const BalanceRow& row) {
  const auto closed = closed_limits_.find(row.id);
  return closed == closed_limits_.end() ? limit_of(row.scope_id) : closed->second;
}

Nanousd MemoryBackend::limit_of(std::int64_t scope_id) {
  const LimitRow& row = limits_[static_cast<std::size_t>(scope_id - 1)];
  return row.config.limit ? *row.config.limit + row.granted : kNanousdMax;
}

Status MemoryBackend::load_balance(BalanceRow& row) {
  const auto it = balances_.find(row.id);
  if (it == balances_.end()) return absl::DataLossError("the balance is not there");
  const BalanceRow& stored = it->second;
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
    id = ++balances_made_;
    BalanceRow& made = balances_[id];
    made = row;
    made.value = ScopeBalance{};
    made.id = id;
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

StatusOr<std::optional<BalanceRow>> MemoryBackend::find_slot(std::int64_t scope_id,
                                                             std::int64_t slot) {
  const auto& windows = windows_[scope_id];
  const auto it = windows.find({slot, ""});
  if (it == windows.end()) return std::optional<BalanceRow>{};
  BalanceRow row;
  row.id = it->second;
  if (Status s = load_balance(row); !s.ok()) return s;
  return std::optional<BalanceRow>(std::move(row));
}

Status MemoryBackend::fold_slots(std::int64_t scope_id, std::int64_t anchor,
                                 std::int64_t before_slot, std::int64_t before_ns) {
  auto& windows = windows_[scope_id];
  const auto first = windows.lower_bound({0, ""}), last = windows.lower_bound({before_slot, ""});
  if (std::distance(first, last) < kRollingSlots) return absl::OkStatus();
  for (const auto& [id, hold] : holds_) {  // a hold of nothing does not show in its slot
    if (hold.amount == 0 && (hold.in_doubt || hold.since_ns < before_ns)) return absl::OkStatus();
  }
  for (auto it = first; it != last;) {
    const ScopeBalance& value = balances_[it->second].value;
    if (value.held != 0 || value.in_doubt != 0) {
      ++it;
      continue;
    }
    balances_[anchor].value.settled += value.settled;
    if (const auto folded = folded_.find(it->second); folded != folded_.end()) {
      folded_[anchor] += folded->second;
      folded_.erase(folded);
    }
    balances_.erase(it->second);
    it = windows.erase(it);
  }
  return absl::OkStatus();
}

Status MemoryBackend::quarantine_hold(const Id& call, std::string_view reason, std::int64_t) {
  quarantined_.emplace(call, reason);
  holds_.erase(call);
  return absl::OkStatus();
}

Status MemoryBackend::insert_commit(std::int64_t time_ns, std::string_view refs) {
  const std::int64_t seq = commits_.empty() ? 1 : commits_.back().seq + 1;
  commits_.push_back({seq, time_ns, std::string(refs)});
  while (commits_.size() > calls_max_) commits_.pop_front();
  return absl::OkStatus();
}

Status MemoryBackend::store_balance(const BalanceRow& row) {
  balances_[row.id].value = row.value;
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

Status MemoryBackend::insert_job(const JobRow& row) {
  jobs_.emplace(row.call_id, row);
  return absl::OkStatus();
}

Status MemoryBackend::update_job(const JobRow& row) {
  jobs_[row.call_id] = row;
  return absl::OkStatus();
}

StatusOr<std::optional<JobRow>> MemoryBackend::find_job(const Id& call) {
  const auto it = jobs_.find(call);
  return it == jobs_.end() ? std::optional<JobRow>{} : std::optional<JobRow>(it->second);
}

StatusOr<bool> MemoryBackend::has_job(std::string_view provider, std::string_view account,
                                      std::string_view provider_job_id) {
  return std::any_of(jobs_.begin(), jobs_.end(), [&](const auto& item) {
    const JobRow& row = item.second;
    return row.provider == provider && row.account == account &&
           row.provider_job_id == provider_job_id;
  });
}

Status MemoryBackend::store_clock(const ClockRow& row) {
  clock_ = row;
  return absl::OkStatus();
}

}  // namespace sluiceway::store
