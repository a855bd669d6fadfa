// What the rules of the ledger (batch.h) ask of a place that keeps rows: SQLite, or memory.
//
// Model. begin() .. rows .. commit() or rollback(); one transaction at a time, by one thread at a
// time. Rows name scopes, labels and prices by numbers. After a failed commit or rollback nothing
// of the transaction remains. A Reader answers reports beside it.
//
// Errors: Status of the storage (Unavailable, ResourceExhausted, DataLoss ...), see
// sqlite_status.h.
#pragma once

#include <cstdint>
#include <functional>
#include <map>
#include <memory>
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "store/codec.h"
#include "store/ledger.h"
#include "store/ledger_time.h"
#include "store/scope_state.h"

namespace sluiceway::store {

enum EntryFlags : std::uint32_t { kEstimated = 1, kOverrun = 2 };

struct EntryRow {
  Id call_id;
  std::int32_t attempt = 0;
  EntryKind kind = EntryKind::kReserve;
  std::int32_t segment = 0;  // 202611
  std::int64_t time_ns = 0;
  Nanousd amount = 0;
  std::int64_t labels = 0, price = 0;  // 0: none
  std::uint32_t flags = 0;
  std::int64_t latency_ns = 0;
  Id intent_id;
  std::string_view balances, usage;  // codec.h
  std::string_view request_id, evidence;
};

struct HoldRow {
  Id call_id;
  Nanousd amount = 0;
  bool in_doubt = false;
  std::int64_t owner = 0;
  std::int64_t since_ns = 0;
  std::int64_t labels = 0;
  std::int32_t segment = 0;
  std::string balances;  // codec.h
};

struct LimitRow {
  std::int64_t scope_id = 0;
  ScopeConfig config;
  Nanousd granted = 0;  // the limit is config.limit + granted
};

// Whether such a row names a scope, and not the balances that a call counts in.
inline bool is_of_scope(EntryKind kind) {
  return kind == EntryKind::kGrant || kind == EntryKind::kReplace;
}

// What the entries of one call say together.
struct CallRow {
  Id call_id;
  std::int32_t segment = 0;
  std::int64_t labels = 0;
  std::string balances;  // codec.h
  bool costs = false;    // settled, or posted in full
  bool posted = false;   // in full
  bool voided = false;
  Nanousd cost = 0;  // settled or posted, and corrected; before refunds
  Nanousd refunded = 0;
  Nanousd granted = 0;
  std::int32_t posts = 0;         // rows: posted and corrected
  std::int32_t last_attempt = 0;  // of all rows
  void add(EntryKind kind, std::int32_t attempt, Nanousd amount);
};

// What the calls of a month posted in the end, and what was granted in it.
struct MonthSums {
  struct Posted {
    Nanousd settled = 0, overrun = 0;
  };
  std::int32_t segment = 0;
  std::int64_t rows = 0;
  std::map<BalanceRef, Posted> posted;
  std::map<std::int64_t, Nanousd> granted;  // by scope
};

struct MonthInfo {
  std::int32_t segment = 0;  // 202609
  std::int64_t holds = 0;    // open or taken aside
};

struct Submission {  // a row of the table idempotency
  Id intent_id, call_id;
};

class Backend {
 public:
  virtual ~Backend() = default;

  // Takes the lock between processes and opens the transaction. True: rows may have changed since
  // this backend's last commit, so nothing read before holds any more.
  virtual StatusOr<bool> begin() = 0;
  virtual Status commit() = 0;
  virtual void rollback() = 0;
  // After a failed transaction: drops the connection, so that the next begin() reads the file anew.
  virtual void reset() = 0;

  virtual StatusOr<bool> insert_entry(const EntryRow& row) = 0;  // false: it was there
  // Whether a row of that key, time and amount is there.
  virtual StatusOr<bool> has_entry(const EntryRow& row) = 0;
  virtual Status insert_hold(const HoldRow& row) = 0;
  // False: there is no such hold (any more).
  virtual StatusOr<bool> update_hold(const HoldRow& row) = 0;
  virtual StatusOr<bool> delete_hold(const Id& call) = 0;
  virtual StatusOr<std::optional<HoldRow>> find_hold(const Id& call) = 0;
  // Takes a hold that cannot be read out of `holds`; its money stays counted where it is.
  virtual Status quarantine_hold(const Id& call, std::string_view reason, std::int64_t now_ns) = 0;
  // All holds, or only those of one owner that are not in doubt.
  virtual StatusOr<std::vector<HoldRow>> list_holds(std::optional<std::int64_t> owner) = 0;
  // None: no entry of it in the months that are here.
  virtual StatusOr<std::optional<CallRow>> find_call(const Id& call) = 0;

  virtual StatusOr<std::optional<LimitRow>> find_limit(std::string_view kind,
                                                       std::string_view key) = 0;
  virtual StatusOr<std::int64_t> insert_limit(const ScopeConfig& config, std::int64_t now_ns) = 0;
  // Sets the limit and unblocks the scope's balances.
  virtual Status replace_limit(std::int64_t scope_id, std::optional<Nanousd> limit) = 0;
  virtual Status add_granted(std::int64_t scope_id, Nanousd amount, bool unblock) = 0;
  // Before a change of the limit: windows other than `open_window` that have none yet keep `limit`.
  virtual Status close_limits(std::int64_t scope_id, std::string_view open_window,
                              std::optional<Nanousd> limit) = 0;

  virtual Status load_balance(BalanceRow& row) = 0;            // by row.id; the limit too
  virtual Status find_or_create_balance(BalanceRow& row) = 0;  // by scope_id, slot, window
  virtual StatusOr<std::vector<BalanceRow>> load_slots(std::int64_t scope_id,
                                                       std::int64_t from_slot) = 0;
  virtual StatusOr<std::optional<BalanceRow>> find_slot(std::int64_t scope_id,
                                                        std::int64_t slot) = 0;
  // Folds the slots before `before_slot` that hold nothing into the anchor, where there are at
  // least kRollingSlots. Not while a hold of nothing from before `before_ns` is open.
  virtual Status fold_slots(std::int64_t scope_id, std::int64_t anchor, std::int64_t before_slot,
                            std::int64_t before_ns) = 0;
  virtual Status store_balance(const BalanceRow& row) = 0;

  virtual StatusOr<std::int64_t> intern_labels(const CallLabels& labels) = 0;
  virtual StatusOr<std::int64_t> intern_price(std::string_view version) = 0;

  virtual StatusOr<std::optional<Submission>> find_submission(std::string_view tenant,
                                                              std::string_view key) = 0;
  virtual Status insert_submission(std::string_view tenant, std::string_view key,
                                   const Submission& row, std::int64_t now_ns) = 0;
  // Only where the row still names `call`.
  virtual Status delete_submission(std::string_view tenant, std::string_view key,
                                   const Id& call) = 0;

  virtual Status insert_job(const JobRow& row) = 0;
  virtual Status update_job(const JobRow& row) = 0;  // state, result and updated_ns
  virtual StatusOr<std::optional<JobRow>> find_job(const Id& call) = 0;
  virtual StatusOr<bool> has_job(std::string_view provider, std::string_view account,
                                 std::string_view provider_job_id) = 0;

  // The rows that this transaction wrote (codec.h), under the next number.
  virtual Status insert_commit(std::int64_t time_ns, std::string_view refs) = 0;

  // Months whose entries are here, oldest first; a ledger in memory has none to archive.
  virtual StatusOr<std::vector<MonthInfo>> list_months() { return std::vector<MonthInfo>{}; }
  virtual StatusOr<std::int64_t> count_entries(std::int32_t) { return no_months(); }
  // Adds to what the archived months had posted to a balance, and granted to a scope.
  virtual Status add_archived(std::int64_t, const MonthSums::Posted&) { return no_months(); }
  virtual Status add_archived_grant(std::int64_t, Nanousd) { return no_months(); }
  virtual Status drop_month(std::int32_t, std::int64_t /*rows*/, std::string_view /*path*/,
                            std::int64_t /*now_ns*/) {
    return no_months();
  }

  virtual StatusOr<ClockRow> load_clock() = 0;
  virtual Status store_clock(const ClockRow& row) = 0;

  // Inside a transaction: a new owner, its byte taken. leave_owner deletes the row; release_owner
  // gives the byte back after the commit.
  virtual StatusOr<std::int64_t> enter_owner(std::int64_t now_ns) = 0;
  virtual Status leave_owner(std::int64_t owner) = 0;
  virtual void release_owner(std::int64_t owner) = 0;
  // Outside a transaction. Owners on the file whose byte nobody holds, and how many are alive.
  struct Owners {
    std::vector<std::int64_t> dead;
    int live = 0;
  };
  virtual StatusOr<Owners> scan_owners() = 0;

  // Copies the log into the file where it is due; `idle`: the queue is empty. True: it did.
  virtual StatusOr<bool> checkpoint(bool idle, std::int64_t monotonic_ns) = 0;
  virtual std::uint64_t syncs() const { return 0; }
  virtual std::int64_t lock_wait_max_ns() const { return 0; }

  // Fork, with no transaction under way: see ledger.h.
  virtual void fork_lock() {}
  virtual void fork_unlock() {}
  virtual void abandon_in_child() {}

  // Reports. Threads: any, at any time.
  virtual StatusOr<ScopeBalance> read_balance(const Scope& scope, std::int64_t now_ns) = 0;
  virtual StatusOr<ClockRow> read_clock() = 0;
  virtual Status read_entries(const EntryBounds& bounds,
                              const std::function<bool(std::span<const Entry>)>& batch) = 0;
  virtual StatusOr<Changes> read_changes(std::int64_t after, std::size_t limit) = 0;
  virtual StatusOr<std::vector<HoldInfo>> read_holds() = 0;
  virtual StatusOr<std::vector<ScopeInfo>> read_scopes() = 0;
  virtual StatusOr<VerifyReport> verify() = 0;
  // Copies a month into the archive at `path` (archive.h). Beside the writer.
  virtual StatusOr<MonthSums> copy_month(std::int32_t, const std::string&) { return no_months(); }
  // Where archived months went; each path once.
  virtual StatusOr<std::vector<std::string>> read_archive_paths() {
    return std::vector<std::string>{};
  }
  // By state, or by the provider's id; empty: any. Oldest first.
  virtual StatusOr<std::vector<JobRow>> read_jobs(std::string_view state,
                                                  std::string_view provider_job_id) = 0;
  virtual StatusOr<std::optional<JobRow>> read_job(const Id& call) = 0;

 private:
  static Status no_months() {
    return absl::FailedPreconditionError("a ledger in memory has no months to archive");
  }
};

// The month (UTC) of ledger time, 202611; and its first nanosecond.
std::int32_t segment_of(std::int64_t time_ns);
std::int64_t segment_start_ns(std::int32_t segment);

}  // namespace sluiceway::store
