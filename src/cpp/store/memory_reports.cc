// Reports of a ledger in memory: see memory_backend.h.
#include <algorithm>

#include "store/codec.h"
#include "store/memory_backend.h"
#include "store/verify.h"

namespace sluiceway::store {

std::string MemoryBackend::name_of(const BalanceRow& row) {
  const ScopeConfig& config = config_of(row.scope_id);
  return scope_name(config.kind, config.key, row.window);
}

std::vector<std::string> MemoryBackend::names_of(std::string_view blob) {
  std::vector<BalanceRef> refs;
  std::vector<std::string> names;
  if (!decode_balances(blob, refs)) return names;
  for (const BalanceRef& ref : refs) names.push_back(name_of(balances_[ref.id]));
  return names;
}

// Of a grant, which names the scope itself.
std::vector<std::string> MemoryBackend::scope_names_of(std::string_view blob) {
  std::vector<BalanceRef> refs;
  std::vector<std::string> names;
  if (!decode_balances(blob, refs)) return names;
  for (const BalanceRef& ref : refs) {
    names.push_back(scope_name(config_of(ref.id).kind, config_of(ref.id).key, ""));
  }
  return names;
}

std::shared_ptr<const CallLabels> MemoryBackend::labels_of(std::int64_t id) const {
  static const auto* none = new std::shared_ptr<const CallLabels>(new CallLabels);
  return id == 0 ? *none : labels_[static_cast<std::size_t>(id - 1)];
}

StatusOr<ClockRow> MemoryBackend::read_clock() {
  const std::lock_guard<std::mutex> lock(mutex_);
  return clock_;
}

StatusOr<ScopeBalance> MemoryBackend::read_balance(const Scope& scope, std::int64_t now_ns) {
  const std::lock_guard<std::mutex> lock(mutex_);
  ScopeBalance sum;
  sum.limit = limit_of(scope.id());
  const ScopeConfig& config = scope.config();
  const bool rolling = config.rolling_ns > 0;
  const std::int64_t from =
      rolling ? now_ns / (config.rolling_ns / kRollingSlots) - kRollingSlots : -1;
  const std::string window = window_key(config.period, now_ns, scope.zone());
  for (const auto& [key, id] : windows_[scope.id()]) {
    if (rolling ? key.first < from || key.first < 0 : key.second != window) continue;
    const ScopeBalance& value = balances_[id].value;
    sum.settled = saturating_add(sum.settled, value.settled);
    sum.held = saturating_add(sum.held, value.held);
    sum.in_doubt = saturating_add(sum.in_doubt, value.in_doubt);
    sum.blocked = sum.blocked || value.blocked;
  }
  return sum;
}

void MemoryBackend::fill_entry(const EntryRow& row, bool lean, Entry& entry) {
  entry.call_id = row.call_id;
  entry.attempt = row.attempt;
  entry.kind = row.kind;
  entry.time_ns = row.time_ns;
  entry.amount = row.amount;
  entry.label_id = row.labels;
  entry.labels = labels_of(row.labels);
  entry.latency_ns = row.latency_ns;
  entry.estimated = (row.flags & kEstimated) != 0;
  entry.overrun = (row.flags & kOverrun) != 0;
  (void)decode_usage(row.usage, entry.usage);
  if (lean) return;
  if (row.price != 0) entry.price_version = prices_[static_cast<std::size_t>(row.price - 1)];
  entry.intent_id = row.intent_id;
  entry.scopes = is_of_scope(row.kind) ? scope_names_of(row.balances) : names_of(row.balances);
  entry.provider_request_id = row.request_id;
  entry.evidence = row.evidence;
}

StatusOr<Changes> MemoryBackend::read_changes(std::int64_t after, std::size_t limit) {
  const std::lock_guard<std::mutex> lock(mutex_);
  Changes out;
  out.next = after;
  std::vector<EntryRef> refs;
  auto it = std::upper_bound(commits_.begin(), commits_.end(), after,
                             [](std::int64_t seq, const Commit& c) { return seq < c.seq; });
  for (; it != commits_.end() && out.entries.size() < limit; ++it) {
    refs.clear();
    (void)decode_entry_refs(it->refs, segment_of(it->time_ns), refs);
    for (const EntryRef& ref : refs) {
      const auto call = calls_.find(ref.call_id);
      if (call == calls_.end()) continue;  // folded
      const auto row = call->second.find(ref.attempt, static_cast<EntryKind>(ref.kind));
      if (row != call->second.end()) {
        fill_entry(row->view(ref.call_id), false, out.entries.emplace_back());
      }
    }
    out.next = it->seq;
  }
  return out;
}

// Whether the call was reserved in one of the scopes, in any window, or changed its limit.
bool MemoryBackend::in_scopes(const Call& call, std::span<const std::string> scopes) {
  for (const StoredEntry& stored : call) {
    const EntryKind kind = stored.kind;
    if (kind != EntryKind::kReserve && !is_of_scope(kind)) continue;
    const std::vector<std::string> names =
        is_of_scope(kind) ? scope_names_of(stored.balances()) : names_of(stored.balances());
    for (const std::string& name : names) {
      const std::string plain = name.substr(0, name.find('@'));
      if (std::find(scopes.begin(), scopes.end(), plain) != scopes.end()) return true;
    }
  }
  return false;
}

Status MemoryBackend::read_entries(const EntryBounds& bounds,
                                   const std::function<bool(std::span<const Entry>)>& batch) {
  if (bounds.batch == 0) return invalid_argument("a batch has at least one row");
  bool wants_more = true;
  const auto hand_over = [&](std::span<const Entry> entries) {
    return wants_more = batch(entries);
  };
  // Of another time, when it was in a file.
  if (Status s = read_archives(bounds, hand_over, {}); !s.ok() || !wants_more) return s;
  std::vector<Entry> rows;
  Id last;
  for (bool more = true; more;) {
    rows.clear();
    {
      const std::lock_guard<std::mutex> lock(mutex_);
      auto it = calls_.upper_bound(last);
      for (; it != calls_.end() && rows.size() < bounds.batch; ++it) {
        last = it->first;
        if (!bounds.call.empty() && it->first != bounds.call) continue;
        if (!bounds.scopes.empty() && !in_scopes(it->second, bounds.scopes)) continue;
        for (const StoredEntry& stored : it->second) {
          if (stored.time_ns < bounds.from_ns || stored.time_ns >= bounds.to_ns) continue;
          fill_entry(stored.view(last), bounds.lean, rows.emplace_back());
        }
      }
      more = it != calls_.end();
    }
    if (!rows.empty() && !batch(rows)) return absl::OkStatus();
  }
  return absl::OkStatus();
}

StatusOr<std::vector<HoldInfo>> MemoryBackend::read_holds() {
  const std::lock_guard<std::mutex> lock(mutex_);
  std::vector<HoldInfo> out;
  out.reserve(holds_.size());
  for (const auto& [id, hold] : holds_) {
    out.push_back({.call_id = id,
                   .amount = hold.amount,
                   .in_doubt = hold.in_doubt,
                   .since_ns = hold.since_ns,
                   .owner = hold.owner,
                   .labels = labels_of(hold.labels),
                   .scopes = names_of(hold.balances)});
  }
  return out;
}

StatusOr<std::vector<ScopeInfo>> MemoryBackend::read_scopes() {
  const std::lock_guard<std::mutex> lock(mutex_);
  std::vector<ScopeInfo> out;
  for (const auto& [kind_key, scope_id] : limit_ids_) {
    if (windows_[scope_id].empty()) {  // not asked yet
      ScopeInfo& info = out.emplace_back();
      info.name = scope_name(kind_key.first, kind_key.second, "");
      info.balance.limit = limit_of(scope_id);
      info.unit = config_of(scope_id).unit;
    }
    for (const auto& [window, id] : windows_[scope_id]) {
      const BalanceRow& row = balances_[id];
      ScopeInfo& info = out.emplace_back();
      info.name = name_of(row);
      info.balance = row.value;
      info.balance.limit = shown_limit(row);
      info.unit = config_of(scope_id).unit;
      info.rolling_ns = config_of(scope_id).rolling_ns;
      info.slot = row.slot;
    }
  }
  return out;
}

StatusOr<VerifyReport> MemoryBackend::verify() {
  const std::lock_guard<std::mutex> lock(mutex_);
  Replay replay;
  for (const auto& [id, settled] : folded_) replay.add_archived(id, settled, 0);
  for (const auto& [id, amount] : folded_grants_) replay.add_archived_grant(id, amount);
  for (const auto& [id, hold] : holds_) replay.add_hold(hold);
  for (const auto& [id, reason] : quarantined_) replay.add_quarantined(id, reason);
  for (const auto& [id, call] : calls_) {
    for (const StoredEntry& entry : call) replay.add_entry(entry.view(id));
  }
  replay.end_segment();
  for (const bool anchors : {false, true}) {  // after their slots
    for (const auto& [id, row] : balances_) {
      if (anchors != (row.slot == kAnchorSlot)) continue;
      Replay::Balance balance{.id = id, .slot = row.slot, .name = name_of(row), .value = row.value};
      if (row.slot >= 0) balance.anchor = windows_[row.scope_id][{kAnchorSlot, ""}];
      balance.value.limit = shown_limit(row);
      replay.add_balance(balance);
    }
  }
  for (const LimitRow& row : limits_) {
    replay.add_limit(row.scope_id, scope_name(row.config.kind, row.config.key, ""), row.granted);
  }
  return replay.finish();
}

StatusOr<std::vector<JobRow>> MemoryBackend::read_jobs(std::string_view state,
                                                       std::string_view provider_job_id) {
  const std::lock_guard<std::mutex> lock(mutex_);
  std::vector<JobRow> out;
  for (const auto& [id, row] : jobs_) {
    if (!state.empty() && row.state != state) continue;
    if (!provider_job_id.empty() && row.provider_job_id != provider_job_id) continue;
    out.push_back(row);
  }
  std::sort(out.begin(), out.end(), [](const JobRow& a, const JobRow& b) {
    return std::tie(a.created_ns, a.call_id) < std::tie(b.created_ns, b.call_id);
  });
  return out;
}

StatusOr<std::optional<JobRow>> MemoryBackend::read_job(const Id& call) {
  const std::lock_guard<std::mutex> lock(mutex_);
  return find_job(call);
}

}  // namespace sluiceway::store
