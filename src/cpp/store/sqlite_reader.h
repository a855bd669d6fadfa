// Reports from a ledger file, beside its writer.
//
// Model. A read connection of its own, query_only. Each call, and each batch of entries, is one
// short read transaction, so a report never keeps the log from being copied into the file. While
// the user's callback runs no transaction is open.
//
// Bounds: memory one batch, and the names of the scopes and labels met. Threads: any; one report's
// batch at a time.
#pragma once

#include <absl/container/flat_hash_map.h>
#include <absl/container/flat_hash_set.h>

#include <functional>
#include <memory>
#include <mutex>
#include <string>
#include <vector>

#include "store/backend.h"
#include "store/codec.h"
#include "store/hold_packs.h"
#include "store/sqlite_db.h"

namespace sluiceway::store {

// Ledger time is what the last commit that wrote entries says, or the clock's row.
inline constexpr char kClockSql[] =
    "SELECT max(ledger_ns, coalesce((SELECT time_ns FROM commits ORDER BY seq DESC LIMIT 1), 0)),"
    " anchor_ledger_ns, anchor_boot_ns, boot_id FROM clock";

// The packs of holds (hold_packs.h), for each_pack().
inline constexpr char kPacksSql[] =
    "SELECT pack_id, owner, since_ns, segment, rows FROM hold_packs";
// Given a pack; a Status that is not OK ends the walk. `rest` is what of a malformed pack could not
// be read, and stands for this call alone: `pack` has the holds before it.
using UsePack = std::function<Status(HoldPack& pack, std::string_view rest)>;
Status each_pack(Statement& packs, const UsePack& use);

class SqliteReader {
 public:
  // A ledger that this process has open; or an archive, by its application id.
  explicit SqliteReader(std::string path, std::int64_t archive = 0)
      : path_(std::move(path)), archive_(archive) {}

  StatusOr<ScopeBalance> balance(const Scope& scope, std::int64_t now_ns);
  StatusOr<ClockRow> clock();
  StatusOr<std::vector<std::int32_t>> months();
  // Without the months `elsewhere`.
  Status entries(const EntryBounds& bounds,
                 const std::function<bool(std::span<const Entry>)>& batch,
                 std::span<const std::int32_t> elsewhere = {});
  StatusOr<Changes> changes(std::int64_t after, std::size_t limit);
  StatusOr<std::vector<HoldInfo>> holds();
  StatusOr<std::vector<ScopeInfo>> scopes();
  // By slices, see sqlite_verify.cc; `slice_rows` is for tests.
  StatusOr<VerifyReport> verify(std::size_t slice_rows = 65'536);
  // Into the archive at `path`, see archive.h (sqlite_months.cc).
  StatusOr<MonthSums> copy_month(std::int32_t segment, const std::string& path);
  StatusOr<std::vector<std::string>> archive_paths();
  // By state or by the provider's id, not both (sqlite_jobs.cc).
  StatusOr<std::vector<JobRow>> jobs(std::string_view state, std::string_view provider_job_id);
  StatusOr<std::optional<JobRow>> job(const Id& call);

  std::mutex& mutex() { return mutex_; }  // for the fork hooks
  void close();                           // with the mutex held

 private:
  // A batch of entries; rows keep their memory from one batch to the next.
  struct Batch {
    std::vector<Entry> rows;
    std::size_t count = 0;
    Entry& next();
  };
  struct Cursor {
    Id call;
    std::int64_t attempt = -1, kind = -1;
    bool started = false;
  };
  // EntryBounds::scopes by number, and the call that was found to be of one.
  struct ScopeFilter {
    absl::flat_hash_set<std::int64_t> scopes, balances;
    Id matched;
  };
  Status ensure_open();
  StatusOr<std::vector<std::int32_t>> segments();
  StatusOr<bool> has_segment(std::int32_t segment);
  Status check_here(const std::vector<std::int32_t>& months);
  StatusOr<bool> add_changed(const EntryRef& ref, std::vector<Entry>& out);
  StatusOr<bool> batch_of(std::int32_t segment, const EntryBounds& bounds, ScopeFilter* filter,
                          Cursor& cursor, Batch& out);
  StatusOr<ScopeFilter> filter_of(std::span<const std::string> scopes);
  StatusOr<bool> is_wanted(const Statement& row, std::int32_t segment, ScopeFilter& filter);
  Status fill_entry(Statement& row, bool lean, Entry& entry);
  StatusOr<std::string> scope_of(std::int64_t balance);
  Status scopes_of(std::string_view blob, std::vector<std::string>& names);
  Status name_hold(std::int64_t labels, std::string_view balances, HoldInfo& hold);
  Status each_pack(const UsePack& use);
  Status granted_scope(std::string_view blob, std::vector<std::string>& names);
  StatusOr<std::shared_ptr<const CallLabels>> labels_of(std::int64_t id);
  Status price_of(std::int64_t id, std::string& out);
  struct Slice;
  struct Slices;
  Status start_slices(Slices& slices);
  StatusOr<bool> next_slice(Slices& slices, std::size_t slice_rows);
  Status replay_slice(Slice& slice, std::size_t slice_rows);
  StatusOr<std::size_t> mark_changed(Slices& slices);
  Status replay_changed(Slices& slices, std::size_t count);
  StatusOr<VerifyReport> finish_slices(Slices& slices);
  Status replay_books(class Replay& replay);
  Status replay_balances(class Replay& replay);

  const std::string path_;
  const std::int64_t archive_;
  std::mutex mutex_;
  Connection db_;
  Statement balance_, slots_, scope_name_, labels_, price_, clock_;
  absl::flat_hash_map<std::int64_t, std::string> scope_names_, price_names_;
  std::vector<BalanceRef> refs_;
  absl::flat_hash_map<std::int64_t, std::shared_ptr<const CallLabels>> label_objects_;
  absl::flat_hash_map<std::int32_t, Statement> entry_by_key_;  // by month, for changes()
};

// All reads inside see one state of the file.
class Snapshot {
 public:
  explicit Snapshot(Connection& db) : db_(db), status_(db.exec("BEGIN")) {}
  ~Snapshot() {
    if (status_.ok()) (void)db_.exec("COMMIT");
  }
  Snapshot(const Snapshot&) = delete;
  Snapshot& operator=(const Snapshot&) = delete;
  const Status& status() const { return status_; }

 private:
  Connection& db_;
  Status status_;
};

}  // namespace sluiceway::store
