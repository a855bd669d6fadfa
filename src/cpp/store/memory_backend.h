// The ledger's rows in memory: for Durability::kMemory, ":memory:", tests and simulation.
//
// Model. The same rows as the SQLite file, in ordered maps, so that the rules above cannot tell the
// difference. Nothing here fails, so there is nothing to roll back but what open_scope() refuses
// before it writes. Calls that ended are kept for reports up to kCallsMax; older ones are folded
// into what their balances had posted, as an archived month is.
//
// Bounds: about 350 bytes a call kept. Threads: a mutex held from begin() to commit(), and by each
// report.
#pragma once

#include <absl/container/flat_hash_map.h>
#include <absl/container/inlined_vector.h>

#include <deque>
#include <map>
#include <mutex>
#include <string>
#include <utility>
#include <vector>

#include "store/backend.h"

namespace sluiceway::store {

class MemoryBackend final : public Backend {
 public:
  static constexpr std::size_t kCallsMax = 1'000'000;
  explicit MemoryBackend(std::size_t calls_max = kCallsMax) : calls_max_(calls_max) {}

  StatusOr<bool> begin() override;
  Status commit() override;
  void rollback() override;
  void reset() override {}

  StatusOr<bool> insert_entry(const EntryRow& row) override;
  StatusOr<bool> has_entry(const EntryRow& row) override;
  Status insert_hold(const HoldRow& row) override;
  StatusOr<bool> update_hold(const HoldRow& row) override;
  StatusOr<bool> delete_hold(const Id& call) override;
  Status quarantine_hold(const Id& call, std::string_view reason, std::int64_t now_ns) override;
  StatusOr<std::optional<HoldRow>> find_hold(const Id& call) override;
  StatusOr<std::vector<HoldRow>> list_holds(std::optional<std::int64_t> owner) override;
  StatusOr<std::optional<CallRow>> find_call(const Id& call) override;
  StatusOr<std::optional<LimitRow>> find_limit(std::string_view kind,
                                               std::string_view key) override;
  StatusOr<std::int64_t> insert_limit(const ScopeConfig& config, std::int64_t now_ns) override;
  Status replace_limit(std::int64_t scope_id, std::optional<Nanousd> limit) override;
  Status add_granted(std::int64_t scope_id, Nanousd amount, bool unblock) override;
  Status close_limits(std::int64_t scope_id, std::string_view open_window,
                      std::optional<Nanousd> limit) override;
  Status load_balance(BalanceRow& row) override;
  Status find_or_create_balance(BalanceRow& row) override;
  StatusOr<std::vector<BalanceRow>> load_slots(std::int64_t scope_id,
                                               std::int64_t from_slot) override;
  StatusOr<std::optional<BalanceRow>> find_slot(std::int64_t scope_id, std::int64_t slot) override;
  Status fold_slots(std::int64_t scope_id, std::int64_t anchor, std::int64_t before_slot,
                    std::int64_t before_ns) override;
  Status store_balance(const BalanceRow& row) override;
  StatusOr<std::int64_t> intern_labels(const CallLabels& labels) override;
  StatusOr<std::int64_t> intern_price(std::string_view version) override;
  StatusOr<std::optional<Submission>> find_submission(std::string_view tenant,
                                                      std::string_view key) override;
  Status insert_submission(std::string_view tenant, std::string_view key, const Submission& row,
                           std::int64_t now_ns) override;
  Status delete_submission(std::string_view tenant, std::string_view key, const Id& call) override;
  Status insert_job(const JobRow& row) override;
  Status update_job(const JobRow& row) override;
  StatusOr<std::optional<JobRow>> find_job(const Id& call) override;
  StatusOr<bool> has_job(std::string_view provider, std::string_view account,
                         std::string_view provider_job_id) override;
  Status insert_commit(std::int64_t time_ns, std::string_view refs) override;
  StatusOr<ClockRow> load_clock() override { return clock_; }
  Status store_clock(const ClockRow& row) override;
  StatusOr<std::int64_t> enter_owner(std::int64_t) override { return ++owners_; }
  Status leave_owner(std::int64_t) override { return absl::OkStatus(); }
  void release_owner(std::int64_t) override {}
  StatusOr<Owners> scan_owners() override { return Owners{.dead = {}, .live = 1}; }
  StatusOr<bool> checkpoint(bool, std::int64_t) override { return false; }

  void fork_lock() override { mutex_.lock(); }
  void fork_unlock() override { mutex_.unlock(); }

  StatusOr<ScopeBalance> read_balance(const Scope& scope, std::int64_t now_ns) override;
  StatusOr<ClockRow> read_clock() override;
  Status read_entries(const EntryBounds& bounds,
                      const std::function<bool(std::span<const Entry>)>& batch) override;
  StatusOr<Changes> read_changes(std::int64_t after, std::size_t limit) override;
  StatusOr<std::vector<HoldInfo>> read_holds() override;
  StatusOr<std::vector<ScopeInfo>> read_scopes() override;
  StatusOr<VerifyReport> verify() override;
  StatusOr<std::vector<JobRow>> read_jobs(std::string_view state,
                                          std::string_view provider_job_id) override;
  StatusOr<std::optional<JobRow>> read_job(const Id& call) override;

 private:
  // A row of a call, without the call's id.
  struct StoredEntry {
    explicit StoredEntry(const EntryRow& row);
    EntryRow view(const Id& call) const;
    std::string_view balances() const { return std::string_view(texts).substr(0, usage_at); }

    std::int64_t time_ns, amount, latency_ns;
    Id intent_id;
    std::uint32_t labels, price, flags;
    std::int32_t attempt, segment;
    std::uint32_t usage_at, request_id_at, evidence_at;  // in `texts`, which begins with balances
    EntryKind kind;
    std::string texts;
  };
  // By attempt and kind; most calls have two, a reservation and its end.
  struct Call : absl::InlinedVector<StoredEntry, 2> {
    iterator find(std::int32_t attempt, EntryKind kind);
  };

  ScopeConfig& config_of(std::int64_t scope_id) {
    return limits_[static_cast<std::size_t>(scope_id - 1)].config;
  }
  std::string name_of(const BalanceRow& row);
  Nanousd limit_of(std::int64_t scope_id);
  Nanousd shown_limit(const BalanceRow& row);
  std::vector<std::string> names_of(std::string_view blob);
  void fill_entry(const EntryRow& row, bool lean, Entry& entry);
  bool in_scopes(const Call& call, std::span<const std::string> scopes);
  std::vector<std::string> scope_names_of(std::string_view blob);
  std::shared_ptr<const CallLabels> labels_of(std::int64_t id) const;
  void fold_oldest();

  const std::size_t calls_max_;
  std::mutex mutex_;
  std::unique_lock<std::mutex> transaction_;
  std::map<Id, Call> calls_;
  std::map<Id, HoldRow> holds_;
  std::vector<LimitRow> limits_;                            // scope_id - 1
  absl::flat_hash_map<std::int64_t, BalanceRow> balances_;  // by number
  std::int64_t balances_made_ = 0;
  std::map<std::int64_t, std::map<std::pair<std::int64_t, std::string>, std::int64_t>> windows_;
  std::map<std::int64_t, Nanousd> folded_;  // settled, by balance
  std::map<std::int64_t, Nanousd> folded_grants_;
  std::map<std::int64_t, Nanousd> closed_limits_;  // by balance
  std::map<Id, JobRow> jobs_;
  std::map<Id, std::string> quarantined_;
  struct Commit {
    std::int64_t seq = 0, time_ns = 0;
    std::string refs;
  };
  std::deque<Commit> commits_;
  std::map<std::pair<std::string, std::string>, std::int64_t> limit_ids_;
  std::map<std::pair<std::string, std::string>, Submission> submissions_;
  std::vector<std::shared_ptr<const CallLabels>> labels_;
  std::vector<std::string> prices_;
  ClockRow clock_;
  std::int64_t owners_ = 0;
};

}  // namespace sluiceway::store
