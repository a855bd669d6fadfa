// Months of a ledger file: what can be archived, and the commit that lets one go. See archive.h.
#include <absl/strings/str_cat.h>
#include <sqlite3.h>
#include <sys/stat.h>

#include "store/archive.h"
#include "store/schema.h"
#include "store/sqlite_backend.h"

namespace sluiceway::store {

StatusOr<std::vector<MonthInfo>> SqliteBackend::list_months() {
  Statement rows;
  Status prepared =
      rows.prepare(db_,
                   "SELECT s.segment, (SELECT count(*) FROM holds h WHERE h.segment = s.segment) +"
                   " (SELECT coalesce(sum(p.holds), 0) FROM hold_packs p"
                   " WHERE p.segment = s.segment) +"
                   " (SELECT count(*) FROM quarantine q WHERE q.segment = s.segment)"
                   " FROM segments s WHERE s.archived_ns IS NULL ORDER BY s.segment");
  if (!prepared.ok()) return prepared;
  std::vector<MonthInfo> out;
  for (;;) {
    StatusOr<bool> row = rows.step();
    if (!row.ok()) return row.status();
    if (!*row) return out;
    out.push_back({static_cast<std::int32_t>(rows.int_at(0)), rows.int_at(1)});
  }
}

StatusOr<std::int64_t> SqliteBackend::count_entries(std::int32_t segment) {
  return pragma_value(db_, absl::StrCat("SELECT count(*) FROM ", segment_table(segment)));
}

Status SqliteBackend::add_archived(std::int64_t balance, const MonthSums::Posted& posted) {
  Statement sql;
  Status prepared = sql.prepare(
      db_,
      "INSERT INTO archived(balance_id, settled, overrun) VALUES (?, ?, ?)"
      " ON CONFLICT (balance_id) DO UPDATE"
      " SET settled = settled + excluded.settled, overrun = overrun + excluded.overrun");
  if (!prepared.ok()) return prepared;
  return sql.bind(balance).bind(posted.settled).bind(posted.overrun).run();
}

Status SqliteBackend::add_archived_grant(std::int64_t scope, Nanousd granted) {
  Statement sql;
  Status prepared = sql.prepare(db_,
                                "INSERT INTO archived_grants(scope_id, granted) VALUES (?, ?)"
                                " ON CONFLICT (scope_id) DO UPDATE"
                                " SET granted = granted + excluded.granted");
  if (!prepared.ok()) return prepared;
  return sql.bind(scope).bind(granted).run();
}

Status SqliteBackend::drop_month(std::int32_t segment, std::int64_t rows, std::string_view path,
                                 std::int64_t now_ns) {
  entry_statements_.erase(segment);
  if (Status s = db_.exec(absl::StrCat("DROP TABLE ", segment_table(segment))); !s.ok()) return s;
  Statement sql;
  Status status = sql.prepare(db_,
                              "UPDATE segments SET archived_ns = ?, archived_to = ?,"
                              " archived_entries = ? WHERE segment = ?");
  if (!status.ok()) return status;
  status = sql.bind(now_ns).bind(path).bind(rows).bind(segment).run();
  if (!status.ok()) return status;
  // The log of commits before the oldest month that is left names only rows that are gone. Its last
  // row stays: the numbers go on from it.
  StatusOr<std::int64_t> oldest =
      pragma_value(db_, "SELECT coalesce(min(segment), 0) FROM segments WHERE archived_ns IS NULL");
  if (!oldest.ok()) return oldest.status();
  if (*oldest == 0) return absl::OkStatus();
  status = sql.prepare(db_,
                       "DELETE FROM commits WHERE time_ns < ?"
                       " AND seq < (SELECT max(seq) FROM commits)");
  if (!status.ok()) return status;
  return sql.bind(segment_start_ns(static_cast<std::int32_t>(*oldest))).run();
}

// Beside the writer, on the reader's connection. The archive may not be one of the ledger's own
// files: opening and closing those would drop their locks.
StatusOr<MonthSums> SqliteBackend::copy_month(std::int32_t segment, const std::string& path) {
  struct stat theirs{}, ours{};
  if (::stat(path.c_str(), &theirs) == 0) {
    for (const char* suffix : {"", "-lock", "-wal", "-shm"}) {
      if (::stat((options_.path + suffix).c_str(), &ours) != 0) continue;
      if (ours.st_dev == theirs.st_dev && ours.st_ino == theirs.st_ino) {
        return invalid_argument("the archive cannot be the ledger itself: " + path);
      }
    }
  }
  return reader_.copy_month(segment, path);
}

StatusOr<MonthSums> SqliteReader::copy_month(std::int32_t segment, const std::string& path) {
  std::string ledger_id;
  {
    const std::lock_guard<std::mutex> lock(mutex_);
    if (Status s = ensure_open(); !s.ok()) return s;
    Statement identity;
    if (Status s = identity.prepare(db_, "SELECT ledger_id FROM identity"); !s.ok()) return s;
    StatusOr<bool> row = identity.step();
    if (!row.ok()) return row.status();
    if (*row) ledger_id = identity.blob_at(0);
  }
  StatusOr<std::unique_ptr<ArchiveFile>> file = ArchiveFile::open(path, ledger_id);
  if (!file.ok()) return file.status();
  SegmentScan scan(segment);
  return (*file)->add_month(db_, mutex_, scan);
}

StatusOr<std::vector<std::string>> SqliteReader::archive_paths() {
  const std::lock_guard<std::mutex> lock(mutex_);
  if (Status s = ensure_open(); !s.ok()) return s;
  Statement rows;
  Status prepared = rows.prepare(
      db_, "SELECT DISTINCT archived_to FROM segments WHERE archived_ns IS NOT NULL ORDER BY 1");
  if (!prepared.ok()) return prepared;
  std::vector<std::string> out;
  for (;;) {
    StatusOr<bool> row = rows.step();
    if (!row.ok()) return row.status();
    if (!*row) return out;
    out.emplace_back(rows.text_at(0));
  }
}

namespace {

Status check_there(const std::string& path) {
  // Asked of SQLite's file system, which a test may have replaced.
  sqlite3_vfs* files = sqlite3_vfs_find(nullptr);
  int found = 0;
  const bool asked = files != nullptr &&
                     files->xAccess(files, path.c_str(), SQLITE_ACCESS_EXISTS, &found) == SQLITE_OK;
  if (asked && found != 0) return absl::OkStatus();
  return absl::NotFoundError(to_absl("no archive at " + path));
}

}  // namespace

Status read_archive(const std::string& path, const EntryBounds& bounds,
                    const std::function<bool(std::span<const Entry>)>& batch) {
  if (Status s = check_there(path); !s.ok()) return s;
  SqliteReader reader(path, kArchiveApplicationId);
  return reader.entries(bounds, batch);
}

Status read_archives(const EntryBounds& bounds,
                     const std::function<bool(std::span<const Entry>)>& batch,
                     std::vector<std::int32_t> elsewhere) {
  bool wants_more = true;
  for (const std::string& path : bounds.archives) {
    if (Status s = check_there(path); !s.ok()) return s;
    SqliteReader reader(path, kArchiveApplicationId);
    StatusOr<std::vector<std::int32_t>> months = reader.months();
    if (!months.ok()) return months.status();
    EntryBounds of_archive = bounds;
    of_archive.archives = {};
    const auto hand_over = [&](std::span<const Entry> entries) {
      return wants_more = batch(entries);
    };
    Status s = reader.entries(of_archive, hand_over, elsewhere);
    if (!s.ok() || !wants_more) return s;
    elsewhere.insert(elsewhere.end(), months->begin(), months->end());
  }
  return absl::OkStatus();
}

StatusOr<VerifyReport> verify_archive(const std::string& path) {
  if (Status s = check_there(path); !s.ok()) return s;
  SqliteReader reader(path, kArchiveApplicationId);
  return reader.verify();
}

}  // namespace sluiceway::store
