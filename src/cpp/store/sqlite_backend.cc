// Connection, transaction, log and owners: see sqlite_backend.h. The rows are in sqlite_rows.cc.
#include "store/sqlite_backend.h"

#include <fcntl.h>
#include <sqlite3.h>
#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>

#include "base/text.h"
#include "store/faults.h"
#include "store/schema.h"

namespace sluiceway::store {
namespace {

constexpr std::int64_t kPageBytes = 4096;
constexpr std::int64_t kLogPrefillBytes = 4 << 20;

}  // namespace

StatusOr<std::unique_ptr<SqliteBackend>> SqliteBackend::open(const LedgerOptions& options) {
  auto backend = std::unique_ptr<SqliteBackend>(new SqliteBackend(options));
  if (Status s = backend->lock_.open(options.path + "-lock"); !s.ok()) return s;
  if (Status s = backend->take_lock(); !s.ok()) return s;
  Status status = backend->set_up();
  if (status.ok()) status = backend->know_file();
  backend->give_lock();
  if (!status.ok()) return status;
  return backend;
}

SqliteBackend::~SqliteBackend() { reset(); }

Status SqliteBackend::set_up() {
  if (Status s = connect(); !s.ok()) return s;
  bool older_alive = false;
  Statement owners;
  // An empty file has no such table, and nobody alive.
  if (owners.prepare(db_, "SELECT owner_id FROM owners WHERE version < ?").ok()) {
    owners.bind(kSchemaVersion);
    for (;;) {
      StatusOr<bool> row = owners.step();
      if (!row.ok()) return row.status();
      if (!*row) break;
      StatusOr<bool> alive = lock_.owner_alive_elsewhere(owners.int_at(0));
      if (!alive.ok()) return alive.status();
      older_alive = older_alive || *alive;
    }
  }
  owners.finalize();
  if (Status s = ensure_schema(db_, older_alive); !s.ok()) return s;
  return options_.durability == Durability::kPower ? prefill_log() : absl::OkStatus();
}

Status SqliteBackend::connect() {
  if (db_.is_open()) return absl::OkStatus();
  if (Status s = db_.open(options_.path, false); !s.ok()) return s;
  sqlite3_wal_hook(db_.raw(), &SqliteBackend::on_log, this);
  fresh_ = true;
  return db_.exec(options_.durability == Durability::kPower ? "PRAGMA synchronous=FULL"
                                                            : "PRAGMA synchronous=NORMAL");
}

// Writing zeros into the log once makes later commits overwrite blocks that the file already has:
// an fdatasync then has no new file size to journal. SQLite ignores what follows the last valid
// frame, and takes a zeroed header for an empty log. It holds no locks on the log file itself, so
// opening and closing it here drops none.
Status SqliteBackend::prefill_log() {
  const std::string path = options_.path + "-wal";
  const int fd = ::open(path.c_str(), O_RDWR | O_CLOEXEC);
  if (fd < 0) return absl::OkStatus();  // made by the first commit: then it grows as it grows
  struct stat info{};
  bool wrote = false;
  if (::fstat(fd, &info) == 0 && info.st_size < kLogPrefillBytes) {
    const std::string zeros(64 << 10, '\0');
    std::int64_t at = info.st_size;
    while (at < kLogPrefillBytes) {
      const auto count =
          std::min<std::int64_t>(kLogPrefillBytes - at, static_cast<std::int64_t>(zeros.size()));
      const ssize_t done = ::pwrite(fd, zeros.data(), static_cast<std::size_t>(count), at);
      if (done <= 0) break;  // a full disk shows itself in the first commit
      at += done;
      wrote = true;
    }
  }
  if (wrote) (void)::fsync(fd);
  ::close(fd);
  return absl::OkStatus();
}

int SqliteBackend::on_log(void* self, sqlite3*, const char*, int frames) {
  static_cast<SqliteBackend*>(self)->log_frames_ = frames;
  return SQLITE_OK;
}

Status SqliteBackend::take_lock() {
  StatusOr<std::int64_t> waited = lock_.lock();
  if (!waited.ok()) return waited.status();
  locked_ = true;
  if (*waited > lock_wait_max_ns_.load(std::memory_order_relaxed)) {
    lock_wait_max_ns_.store(*waited, std::memory_order_relaxed);
  }
  return absl::OkStatus();
}

void SqliteBackend::give_lock() {
  if (locked_) lock_.unlock();
  locked_ = false;
}

Status SqliteBackend::know_file() {
  struct stat info{};
  if (::stat(options_.path.c_str(), &info) != 0) return file_is_gone();
  device_ = info.st_dev;
  inode_ = info.st_ino;
  return absl::OkStatus();
}

Status SqliteBackend::file_is_gone() const {
  return absl::UnavailableError(
      to_absl("the ledger file " + options_.path +
              " is no longer the one that was opened: it was removed or replaced while this process"
              " used it. Put it back; or close every gateway on it and open them again, on whatever"
              " books the path has then"));
}

// Whether the path still leads to our file. Where it does not, others who open the path have other
// books, and the same limit twice: nothing more may be admitted here. A look for each commit, under
// the commit lock (a microsecond); what is admitted in the very commit in which the file goes is
// bounded by that commit.
Status SqliteBackend::check_file() const {
  struct stat info{};
  const bool same =
      ::stat(options_.path.c_str(), &info) == 0 && info.st_dev == device_ && info.st_ino == inode_;
  return same ? absl::OkStatus() : file_is_gone();
}

StatusOr<bool> SqliteBackend::begin() {
  if (Status s = take_lock(); !s.ok()) return s;
  if (Status s = check_file(); !s.ok()) return s;
  if (Status s = connect(); !s.ok()) return s;
  StatusOr<Statement*> begin_sql = statement(kBegin);
  if (!begin_sql.ok()) return begin_sql.status();
  if (Status s = (*begin_sql)->run(); !s.ok()) return s;
  in_transaction_ = true;
  StatusOr<Statement*> version_sql = statement(kDataVersion);
  if (!version_sql.ok()) return version_sql.status();
  const ResetAtEnd end(**version_sql);
  StatusOr<bool> row = (*version_sql)->step();
  if (!row.ok()) return row.status();
  const std::int64_t version = (*version_sql)->int_at(0);
  const bool changed = fresh_ || version != data_version_;
  if (changed) {  // a newer engine may have migrated the file under us
    if (Status s = check_version(); !s.ok()) return s;
  }
  data_version_ = version;
  fresh_ = false;
  if (Status s = know_packs(); !s.ok()) return s;
  return changed;
}

Status SqliteBackend::check_version() {
  StatusOr<Statement*> sql = statement(kUserVersion);
  if (!sql.ok()) return sql.status();
  const ResetAtEnd end(**sql);
  StatusOr<bool> row = (*sql)->step();
  if (!row.ok()) return row.status();
  if ((*sql)->int_at(0) == kSchemaVersion) return absl::OkStatus();
  return absl::UnavailableError("the ledger was migrated by a newer version; restart this process");
}

Status SqliteBackend::commit() {
  if (Status s = write_packs(); !s.ok()) return s;
  StatusOr<Statement*> sql = statement(kCommit);
  if (!sql.ok()) return sql.status();
  if (Status s = (*sql)->run(); !s.ok()) return s;
  in_transaction_ = false;
  if (options_.durability == Durability::kPower) syncs_.fetch_add(1, std::memory_order_relaxed);
  give_lock();
  fault_point("batch.unlocked");
  return absl::OkStatus();
}

void SqliteBackend::rollback() {
  if (in_transaction_ && db_.is_open() && sqlite3_get_autocommit(db_.raw()) == 0) {
    (void)db_.exec("ROLLBACK");
  }
  in_transaction_ = false;
  forget_packs();
  give_lock();
}

void SqliteBackend::reset() {
  for (Statement& statement : statements_) statement.finalize();
  entry_statements_.clear();
  db_.close();
  forget_packs();
  fresh_ = true;
}

StatusOr<std::int64_t> SqliteBackend::enter_owner(std::int64_t now_ns) {
  StatusOr<Statement*> sql = statement(kInsertOwner);
  if (!sql.ok()) return sql.status();
  if (Status s = (*sql)
                     ->bind(static_cast<std::int64_t>(::getpid()))
                     .bind(kSchemaVersion)
                     .bind(now_ns)
                     .run();
      !s.ok()) {
    return s;
  }
  const std::int64_t owner = db_.last_insert_id();
  // Before the commit: nobody may see the row without the byte.
  if (Status s = lock_.hold_owner(owner); !s.ok()) return s;
  own_owners_.insert(owner);
  return owner;
}

Status SqliteBackend::leave_owner(std::int64_t owner) {
  StatusOr<Statement*> sql = statement(kDeleteOwner);
  if (!sql.ok()) return sql.status();
  return (*sql)->bind(owner).run();
}

void SqliteBackend::release_owner(std::int64_t owner) {
  lock_.release_owner(owner);
  own_owners_.erase(owner);
}

StatusOr<Backend::Owners> SqliteBackend::scan_owners() {
  if (Status s = connect(); !s.ok()) return s;
  StatusOr<Statement*> sql = statement(kListOwners);
  if (!sql.ok()) return sql.status();
  const ResetAtEnd end(**sql);
  Owners owners;
  for (;;) {
    StatusOr<bool> row = (*sql)->step();
    if (!row.ok()) return row.status();
    if (!*row) return owners;
    const std::int64_t owner = (*sql)->int_at(0);
    bool alive = own_owners_.contains(owner);
    if (!alive) {
      StatusOr<bool> elsewhere = lock_.owner_alive_elsewhere(owner);
      if (!elsewhere.ok()) return elsewhere.status();
      alive = *elsewhere;
    }
    if (alive) {
      ++owners.live;
    } else {
      owners.dead.push_back(owner);
    }
  }
}

StatusOr<bool> SqliteBackend::checkpoint(bool idle, std::int64_t monotonic_ns) {
  const std::int64_t bytes = log_frames_ * kPageBytes;
  if (checkpointed_ns_ == 0) checkpointed_ns_ = monotonic_ns;
  const bool old =
      log_frames_ > 0 && monotonic_ns - checkpointed_ns_ >= options_.checkpoint_interval_ns;
  const bool due = bytes >= options_.checkpoint_bytes ||
                   (idle && (bytes >= options_.checkpoint_bytes / 4 || old));
  if (!due || log_frames_ < checkpoint_at_frames_) return false;
  if (Status s = take_lock(); !s.ok()) return s;
  fault_point("checkpoint.before");
  Status status = connect();
  int frames = 0, copied = 0;
  if (status.ok()) {
    const int code =
        sqlite3_wal_checkpoint_v2(db_.raw(), nullptr, SQLITE_CHECKPOINT_PASSIVE, &frames, &copied);
    // BUSY: a person's shell is at it; the next one will do.
    status = sqlite_status(code == SQLITE_BUSY ? SQLITE_OK : code, db_.raw(), "checkpoint");
  }
  fault_point("checkpoint.after");
  give_lock();
  if (!status.ok()) {
    reset();
    return status;
  }
  checkpointed_ns_ = monotonic_ns;
  syncs_.fetch_add(2, std::memory_order_relaxed);
  // All copied: the next commit starts the log again from its beginning. Else a reader still uses
  // the rest; try again after another quarter.
  const bool all = frames >= 0 && copied == frames;
  log_frames_ = all ? 0 : frames;
  checkpoint_at_frames_ = all ? 0 : frames + options_.checkpoint_bytes / kPageBytes / 4;
  return true;
}

// No transaction is under way in any connection (fork_lock() and the core's mutex saw to that), so
// closing writes nothing: the flag NO_CKPT_ON_CLOSE keeps the log from being copied or deleted, and
// the parent's POSIX locks are not ours to lose. Closing the bare descriptors instead would be the
// worse way: SQLite keeps a list of open files and shared memory for the whole process, and a fresh
// connection of the child would join the dead entry there, without locks of its own.
void SqliteBackend::abandon_in_child() {
  reset();
  reader_.close();
  lock_.abandon();
}

}  // namespace sluiceway::store
