// The ledger's rows in a SQLite file: one writing connection, one fair lock between processes.
//
// Model. begin() takes the lock of file_lock.h, then BEGIN IMMEDIATE; commit() gives it back. All
// commits and all checkpoints of all processes go through that lock: SQLite's own busy handler
// starves a process, and the two excluding each other keeps clear of the WAL-reset bug of SQLite
// before 3.51.3. No automatic checkpoints, none on close. synchronous FULL for Durability::kPower,
// NORMAL for kProcess. `PRAGMA data_version` tells whether another process wrote since our last
// commit, so that balances are read again only then.
//
// Trap. Two copies of the SQLite library in one process, or a descriptor of the file opened and
// closed beside it, drop each other's POSIX locks: the live file is for this connection alone.
//
// Bounds: page cache 16 MB; the log is copied into the file at `checkpoint_bytes`, when idle at a
// quarter of that or after `checkpoint_interval_ns`. Threads: the writer alone, but for the
// read_... methods and verify().
#pragma once

#include <absl/container/flat_hash_map.h>
#include <absl/container/flat_hash_set.h>

#include <array>
#include <atomic>
#include <functional>
#include <iterator>
#include <memory>
#include <string>

#include "store/file_lock.h"
#include "store/hold_packs.h"
#include "store/sqlite_reader.h"

namespace sluiceway::store {

// From columns settled, held, in_doubt, blocked, limit.
void fill_balance(const Statement& row, ScopeBalance& value);

class SqliteBackend final : public Backend {
 public:
  static StatusOr<std::unique_ptr<SqliteBackend>> open(const LedgerOptions& options);
  ~SqliteBackend() override;

  StatusOr<bool> begin() override;
  Status commit() override;
  void rollback() override;
  void reset() override;

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
  StatusOr<std::vector<MonthInfo>> list_months() override;
  StatusOr<std::int64_t> count_entries(std::int32_t segment) override;
  Status add_archived(std::int64_t balance, const MonthSums::Posted& posted) override;
  Status add_archived_grant(std::int64_t scope, Nanousd granted) override;
  Status drop_month(std::int32_t segment, std::int64_t rows, std::string_view path,
                    std::int64_t now_ns) override;
  StatusOr<MonthSums> copy_month(std::int32_t segment, const std::string& path) override;
  Status insert_commit(std::int64_t time_ns, std::string_view refs) override;
  StatusOr<ClockRow> load_clock() override;
  Status store_clock(const ClockRow& row) override;

  StatusOr<std::int64_t> enter_owner(std::int64_t now_ns) override;
  Status leave_owner(std::int64_t owner) override;
  void release_owner(std::int64_t owner) override;
  StatusOr<Owners> scan_owners() override;

  StatusOr<bool> checkpoint(bool idle, std::int64_t monotonic_ns) override;
  std::uint64_t syncs() const override { return syncs_.load(std::memory_order_relaxed); }
  std::int64_t lock_wait_max_ns() const override {
    return lock_wait_max_ns_.load(std::memory_order_relaxed);
  }

  void fork_lock() override { reader_.mutex().lock(); }
  void fork_unlock() override { reader_.mutex().unlock(); }
  void abandon_in_child() override;

  StatusOr<ScopeBalance> read_balance(const Scope& scope, std::int64_t now_ns) override {
    return reader_.balance(scope, now_ns);
  }
  StatusOr<ClockRow> read_clock() override { return reader_.clock(); }
  Status read_entries(const EntryBounds& bounds,
                      const std::function<bool(std::span<const Entry>)>& batch) override {
    return reader_.entries(bounds, batch);
  }
  StatusOr<Changes> read_changes(std::int64_t after, std::size_t limit) override {
    return reader_.changes(after, limit);
  }
  StatusOr<std::vector<HoldInfo>> read_holds() override { return reader_.holds(); }
  StatusOr<std::vector<ScopeInfo>> read_scopes() override { return reader_.scopes(); }
  StatusOr<VerifyReport> verify() override { return reader_.verify(); }
  StatusOr<std::vector<std::string>> read_archive_paths() override {
    return reader_.archive_paths();
  }
  StatusOr<std::vector<JobRow>> read_jobs(std::string_view state,
                                          std::string_view provider_job_id) override {
    return reader_.jobs(state, provider_job_id);
  }
  StatusOr<std::optional<JobRow>> read_job(const Id& call) override { return reader_.job(call); }

 private:
  enum Sql : std::size_t {
    kBegin,
    kCommit,
    kDataVersion,
    kUserVersion,
    kInsertHold,
    kUpdateHold,
    kDeleteHold,
    kQuarantineHold,
    kFindHold,
    kListHolds,
    kListOwnerHolds,
    kListPacks,
    kInsertPack,
    kUpdatePack,
    kDeletePack,
    kQuarantineRest,
    kFindLimit,
    kInsertLimit,
    kReplaceLimit,
    kAddGranted,
    kCloseLimits,
    kUnblock,
    kLoadBalance,
    kInsertBalance,
    kFindBalance,
    kLoadSlots,
    kCountOldSlots,
    kFindEmptyHold,
    kSumOldSlots,
    kArchiveOldSlots,
    kDropOldArchived,
    kDropOldSlots,
    kStoreBalance,
    kInsertLabels,
    kFindLabels,
    kInsertPrice,
    kFindPrice,
    kFindSubmission,
    kInsertSubmission,
    kDeleteSubmission,
    kDeleteSubmissionOf,
    kInsertCommit,
    kInsertJob,
    kUpdateJob,
    kFindJob,
    kHasJob,
    kLoadClock,
    kStoreClock,
    kInsertOwner,
    kDeleteOwner,
    kListOwners,
    kInsertSegment,
    kListSegments,
    kSqlCount
  };
  explicit SqliteBackend(const LedgerOptions& options) : options_(options), reader_(options.path) {}

  Status connect();
  Status set_up();
  Status check_version();
  Status prefill_log();
  Status know_file();
  Status check_file() const;
  Status file_is_gone() const;
  Status take_lock();
  void give_lock();
  static const char* sql_text(Sql which);
  StatusOr<Statement*> statement(Sql which);
  StatusOr<Statement*> entry_statement(std::int32_t segment, std::int64_t time_ns);
  StatusOr<std::vector<HoldRow>> read_hold_rows(Statement& rows);
  // Holds (sqlite_holds.cc).
  Status insert_hold_row(const HoldRow& row);
  Status each_other_pack(const UsePack& use);
  Status take_packs(const std::function<bool(std::int64_t owner)>& wanted);
  Status know_packs();
  void forget_packs();
  Status write_packs();
  static int on_log(void* self, struct sqlite3* db, const char* name, int frames);

  const LedgerOptions options_;
  std::uint64_t device_ = 0, inode_ = 0;  // of the file that was opened
  FileLock lock_;
  bool locked_ = false, in_transaction_ = false, fresh_ = true;
  Connection db_;
  std::array<Statement, kSqlCount> statements_;
  absl::flat_hash_map<std::int32_t, Statement> entry_statements_;
  absl::flat_hash_set<std::int64_t> own_owners_;
  HoldPacks packs_;  // of our own owners, as the transaction under way has them
  bool packs_known_ = false;
  std::string pack_rows_;
  std::int64_t data_version_ = 0;
  std::int64_t log_frames_ = 0;            // in the log after our last commit
  std::int64_t checkpoint_at_frames_ = 0;  // not before so many: a reader kept the last one short
  std::int64_t checkpointed_ns_ = 0;
  std::atomic<std::uint64_t> syncs_{0};
  std::atomic<std::int64_t> lock_wait_max_ns_{0};
  SqliteReader reader_;
};

}  // namespace sluiceway::store
