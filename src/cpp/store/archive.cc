// Copying months into an archive: see archive.h.
#include "store/archive.h"

#include <absl/strings/str_cat.h>
#include <fcntl.h>
#include <unistd.h>

#include <filesystem>

#include "store/schema.h"
#include "store/sqlite_reader.h"

namespace sluiceway::store {
namespace {

constexpr std::size_t kBatch = 4096;  // rows a read transaction of the ledger
constexpr int kColumns = 14;
constexpr char kEntryColumns[] =
    "call_id, attempt, kind, time_ns, amount, labels, price, flags, latency_ns, intent_id,"
    " balances, usage, request_id, evidence";

// FNV-1a, 64 bits (Fowler, Noll, Vo; draft-eastlake-fnv, read 2026-11-22).
void mix(std::uint64_t& digest, std::string_view bytes) {
  for (const char c : bytes) {
    digest = (digest ^ static_cast<unsigned char>(c)) * 1099511628211ull;
  }
}

void mix(std::uint64_t& digest, std::int64_t value) {
  mix(digest, {reinterpret_cast<const char*>(&value), sizeof value});
}

// Copies the rows of `select` from one file to the other by `insert`, column by column.
Status copy_row(Connection& from, const std::string& select, Connection& to,
                const std::string& insert, int columns) {
  Statement source, target;
  if (Status s = source.prepare(from, select); !s.ok()) return s;
  StatusOr<bool> row = source.step();
  if (!row.ok()) return row.status();
  if (!*row) return absl::DataLossError(absl::StrCat("an entry names what is not there: ", select));
  if (Status s = target.prepare(to, insert); !s.ok()) return s;
  for (int i = 0; i < columns; ++i) target.bind_column(source, i);
  return target.run();
}

}  // namespace

StatusOr<bool> SegmentScan::step(Connection& from, std::size_t count,
                                 const std::function<Status(const Statement&)>& use) {
  Statement rows;
  Status prepared = rows.prepare(
      from, absl::StrCat("SELECT ", kEntryColumns, " FROM ", segment_table(segment_),
                         rows_ > 0 ? " WHERE (call_id, attempt, kind) > (?, ?, ?)" : "",
                         " ORDER BY call_id, attempt, kind LIMIT ", count));
  if (!prepared.ok()) return prepared;
  if (rows_ > 0) rows.bind(last_call_).bind(last_attempt_).bind(last_kind_);
  std::size_t seen = 0;
  for (;; ++seen) {
    StatusOr<bool> row = rows.step();
    if (!row.ok()) return row.status();
    if (!*row) return seen == count;
    add(rows);
    if (use == nullptr) continue;
    if (Status s = use(rows); !s.ok()) return s;
  }
}

void SegmentScan::add(const Statement& row) {
  ++rows_;
  EntryRow entry;
  entry.call_id = last_call_ = row.id_at(0);
  last_attempt_ = row.int_at(1);
  last_kind_ = row.int_at(2);
  entry.attempt = static_cast<std::int32_t>(last_attempt_);
  entry.kind = static_cast<EntryKind>(last_kind_);
  entry.amount = row.int_at(4);
  entry.flags = static_cast<std::uint32_t>(row.int_at(7));
  entry.balances = row.blob_at(10);
  replay_.add_entry(entry);
  if (const std::int64_t id = row.int_at(5); id != 0) labels.insert(id);
  if (const std::int64_t id = row.int_at(6); id != 0) prices.insert(id);
  mix(digest_, row.blob_at(0));
  for (int i = 1; i < 9; ++i) mix(digest_, row.int_at(i));
  for (int i = 9; i < kColumns; ++i) {  // blobs and texts; NULL is not the empty one
    const std::string_view bytes = row.blob_at(i);
    mix(digest_, row.null_at(i) ? std::int64_t{-1} : static_cast<std::int64_t>(bytes.size()));
    mix(digest_, bytes);
  }
}

StatusOr<std::unique_ptr<ArchiveFile>> ArchiveFile::open(const std::string& path,
                                                         std::string_view ledger_id) {
  std::unique_ptr<ArchiveFile> file(new ArchiveFile);  // NOLINT(modernize-make-unique): private
  file->path_ = path;
  Connection& db = file->db_;
  if (Status s = db.open(path, false); !s.ok()) return s;
  if (Status s = db.exec("PRAGMA synchronous=EXTRA"); !s.ok()) return s;
  StatusOr<std::int64_t> tables = pragma_value(db, "SELECT count(*) FROM sqlite_master");
  if (!tables.ok()) return tables.status();
  if (*tables == 0) {
    if (Status s = make_tables(db, kArchiveApplicationId); !s.ok()) return s;
  }
  StatusOr<std::int64_t> application = pragma_value(db, "PRAGMA application_id");
  if (!application.ok()) return application.status();
  if (*application != kArchiveApplicationId) {
    return invalid_argument("there is another file at " + path + ", which is no archive");
  }
  StatusOr<std::int64_t> months = pragma_value(db, "SELECT count(*) FROM segments");
  if (!months.ok()) return months.status();
  Statement identity;
  if (*months == 0) {  // made just now, or before a crash: it is whose it will be
    if (Status s = identity.prepare(db, "UPDATE identity SET ledger_id = ?"); !s.ok()) return s;
    if (Status s = identity.bind_blob(ledger_id).run(); !s.ok()) return s;
    if (Status s = file->sync_directory(); !s.ok()) return s;
    return file;
  }
  StatusOr<std::int64_t> version = pragma_value(db, "PRAGMA user_version");
  if (!version.ok()) return version.status();
  if (*version == 2 || *version == 3) {
    if (Status s = migrate(db); !s.ok()) return s;
    version = kSchemaVersion;
  }
  if (Status s = identity.prepare(db, "SELECT ledger_id FROM identity"); !s.ok()) return s;
  StatusOr<bool> row = identity.step();
  if (!row.ok()) return row.status();
  if (!*row || identity.blob_at(0) != ledger_id || *version != kSchemaVersion) {
    return invalid_argument("the archive " + path +
                            " belongs to another ledger or version; name another file");
  }
  return file;
}

StatusOr<MonthSums> ArchiveFile::add_month(Connection& ledger, std::mutex& mutex,
                                           SegmentScan& scan) {
  StatusOr<bool> there = remove_month(scan.segment());
  Status status = there.status();
  if (status.ok()) status = copy(ledger, mutex, scan);
  if (!status.ok()) {
    (void)db_.exec("ROLLBACK");
    return status;
  }
  SegmentScan back(scan.segment());
  for (bool more = true; more;) {
    StatusOr<bool> next = back.step(db_, kBatch, nullptr);
    if (!next.ok()) return next.status();
    more = *next;
  }
  if (back.rows() != scan.rows() || back.digest() != scan.digest()) {
    return absl::DataLossError(to_absl("the archive " + path_ + " was not written as it was read"));
  }
  StatusOr<MonthSums> sums = scan.sums();
  if (!sums.ok()) return sums;
  sums->segment = scan.segment();
  sums->rows = scan.rows();
  return sums;
}

// Begins the transaction in which a month is written; takes out what an earlier run left of it.
StatusOr<bool> ArchiveFile::remove_month(std::int32_t segment) {
  if (Status s = db_.exec("BEGIN IMMEDIATE"); !s.ok()) return s;
  StatusOr<std::int64_t> there =
      pragma_value(db_, absl::StrCat("SELECT count(*) FROM segments WHERE segment = ", segment));
  if (!there.ok()) return there.status();
  if (*there == 0) return false;
  SegmentScan old(segment);
  for (bool more = true; more;) {
    StatusOr<bool> next = old.step(db_, kBatch, nullptr);
    if (!next.ok()) return next.status();
    more = *next;
  }
  StatusOr<MonthSums> sums = old.sums();
  if (!sums.ok()) return sums.status();
  if (Status s = add_sums(*sums, -1); !s.ok()) return s;
  Status status = db_.exec(absl::StrCat("DROP TABLE ", segment_table(segment),
                                        ";DELETE FROM segments WHERE segment = ", segment));
  if (!status.ok()) return status;
  return true;
}

Status ArchiveFile::copy(Connection& ledger, std::mutex& mutex, SegmentScan& scan) {
  if (Status s = db_.exec(segment_sql(scan.segment())); !s.ok()) return s;
  Statement insert;
  Status prepared =
      insert.prepare(db_, absl::StrCat("INSERT INTO ", segment_table(scan.segment()), "(",
                                       kEntryColumns, ") VALUES (?,?,?,?,?,?,?,?,?,?,?,?,?,?)"));
  if (!prepared.ok()) return prepared;
  const auto use = [&](const Statement& row) {
    for (int i = 0; i < kColumns; ++i) insert.bind_column(row, i);
    return insert.run();
  };
  for (bool more = true; more;) {
    const std::lock_guard<std::mutex> lock(mutex);
    const Snapshot snapshot(ledger);
    if (!snapshot.status().ok()) return snapshot.status();
    StatusOr<bool> next = scan.step(ledger, kBatch, use);
    if (!next.ok()) return next.status();
    more = *next;
  }
  StatusOr<MonthSums> sums = scan.sums();
  if (!sums.ok()) return sums.status();
  {
    const std::lock_guard<std::mutex> lock(mutex);
    if (Status s = copy_names(ledger, scan, *sums); !s.ok()) return s;
  }
  if (Status s = add_sums(*sums, 1); !s.ok()) return s;
  Status status =
      db_.exec(absl::StrCat("INSERT INTO segments(segment, created_ns, archived_entries)",
                            " VALUES (", scan.segment(), ", 0, ", scan.rows(), ");COMMIT"));
  return status.ok() ? sync_directory() : status;
}

// What the rows name. A scope has no limit here: the archive has a part of its books only.
Status ArchiveFile::copy_names(Connection& ledger, const SegmentScan& scan, const MonthSums& sums) {
  for (const std::int64_t id : scan.labels) {
    Status s = copy_row(ledger, absl::StrCat("SELECT * FROM labels WHERE label_id = ", id), db_,
                        "INSERT OR IGNORE INTO labels VALUES (?, ?, ?, ?, ?, ?, ?, ?)", 8);
    if (!s.ok()) return s;
  }
  for (const std::int64_t id : scan.prices) {
    Status s = copy_row(ledger, absl::StrCat("SELECT * FROM prices WHERE price_id = ", id), db_,
                        "INSERT OR IGNORE INTO prices VALUES (?, ?)", 2);
    if (!s.ok()) return s;
  }
  std::set<std::int64_t> scopes;
  for (const auto& [scope, granted] : sums.granted) scopes.insert(scope);
  for (const auto& [ref, posted] : sums.posted) {
    StatusOr<std::int64_t> scope = pragma_value(
        ledger, absl::StrCat("SELECT scope_id FROM balances WHERE balance_id = ", ref.id));
    if (!scope.ok()) return scope.status();
    scopes.insert(*scope);
    Status s = copy_row(
        ledger,
        absl::StrCat("SELECT balance_id, scope_id, slot, window FROM balances WHERE balance_id = ",
                     ref.id),
        db_,
        "INSERT OR IGNORE INTO balances(balance_id, scope_id, slot, window)"
        " VALUES (?, ?, ?, ?)",
        4);
    if (!s.ok()) return s;
  }
  for (const std::int64_t id : scopes) {
    Status s = copy_row(
        ledger,
        absl::StrCat("SELECT scope_id, kind, key, unit, period, time_zone, rolling_ns, created_ns"
                     " FROM limits WHERE scope_id = ",
                     id),
        db_,
        "INSERT OR IGNORE INTO limits(scope_id, kind, key, unit, period, time_zone,"
        " rolling_ns, created_ns) VALUES (?, ?, ?, ?, ?, ?, ?, ?)",
        8);
    if (!s.ok()) return s;
  }
  return absl::OkStatus();
}

// A rolling scope's slots are its anchor's here.
Status ArchiveFile::add_sums(const MonthSums& sums, int sign) {
  Statement balance, grant;
  Status status =
      balance.prepare(db_, "UPDATE balances SET settled = settled + ? WHERE balance_id = ?");
  if (status.ok()) {
    status = grant.prepare(db_, "UPDATE limits SET granted = granted + ? WHERE scope_id = ?");
  }
  for (const auto& [ref, posted] : sums.posted) {
    if (status.ok()) status = balance.bind(sign * posted.settled).bind(ref.id).run();
  }
  for (const auto& [scope, granted] : sums.granted) {
    if (status.ok()) status = grant.bind(sign * granted).bind(scope).run();
  }
  return status;
}

// A new name is durable with its directory.
Status ArchiveFile::sync_directory() const {
  std::string directory = std::filesystem::path(path_).parent_path().string();
  if (directory.empty()) directory = ".";
  const int fd = ::open(directory.c_str(), O_RDONLY | O_DIRECTORY | O_CLOEXEC);
  if (fd < 0) return absl::UnavailableError(to_absl("cannot open the directory " + directory));
  const bool synced = ::fsync(fd) == 0;
  ::close(fd);
  if (synced) return absl::OkStatus();
  return absl::UnavailableError(to_absl("cannot sync the directory " + directory));
}

}  // namespace sluiceway::store
