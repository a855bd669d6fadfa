// Connection and statement: see sqlite_db.h.
#include "store/sqlite_db.h"

#include <sqlite3.h>

namespace sluiceway::store {

Status Connection::open(const std::string& path, bool read_only) {
  close();
  const int flags = SQLITE_OPEN_NOMUTEX | (read_only ? SQLITE_OPEN_READWRITE
                                                     : SQLITE_OPEN_READWRITE | SQLITE_OPEN_CREATE);
  int code = sqlite3_open_v2(path.c_str(), &db_, flags, nullptr);
  if (code != SQLITE_OK) {
    Status status = sqlite_status(code, nullptr, "open " + path);  // a broken one has no name
    sqlite3_close(db_);
    db_ = nullptr;
    return status;
  }
  sqlite3_extended_result_codes(db_, 1);
  sqlite3_db_config(db_, SQLITE_DBCONFIG_NO_CKPT_ON_CLOSE, 1, nullptr);
  // The lock file keeps our processes apart; this is for people with a shell on the file.
  sqlite3_busy_timeout(db_, 1000);
  Status status = exec(
      "PRAGMA wal_autocheckpoint=0; PRAGMA cache_size=-16384;"
      " PRAGMA temp_store=MEMORY; PRAGMA foreign_keys=OFF");
  // A reader opens for writing, so that it may rebuild the log's index, and then gives it up.
  if (status.ok() && read_only) status = exec("PRAGMA query_only=ON");
  if (!status.ok()) close();
  return status;
}

void Connection::close() {
  if (db_ == nullptr) return;
  sqlite3_close_v2(db_);
  db_ = nullptr;
}

Status Connection::exec(const std::string& sql) {
  const int code = sqlite3_exec(db_, sql.c_str(), nullptr, nullptr, nullptr);
  return sqlite_status(code, db_, sql.substr(0, 60));
}

int Connection::changes() const { return sqlite3_changes(db_); }
std::int64_t Connection::last_insert_id() const { return sqlite3_last_insert_rowid(db_); }

Statement& Statement::operator=(Statement&& other) noexcept {
  if (this == &other) return *this;
  finalize();
  db_ = std::exchange(other.db_, nullptr);
  stmt_ = std::exchange(other.stmt_, nullptr);
  next_ = 1;
  ids_used_ = 0;
  return *this;
}

Status Statement::prepare(Connection& connection, std::string_view sql) {
  finalize();
  db_ = connection.raw();
  const int code = sqlite3_prepare_v3(db_, sql.data(), static_cast<int>(sql.size()),
                                      SQLITE_PREPARE_PERSISTENT, &stmt_, nullptr);
  return sqlite_status(code, db_, sql.substr(0, 60));
}

void Statement::finalize() {
  if (stmt_ != nullptr) sqlite3_finalize(stmt_);
  stmt_ = nullptr;
  next_ = 1;
  ids_used_ = 0;
}

Statement& Statement::bind(std::int64_t value) {
  sqlite3_bind_int64(stmt_, next_++, value);
  return *this;
}

Statement& Statement::bind(std::string_view text) {
  sqlite3_bind_text(stmt_, next_++, text.data() == nullptr ? "" : text.data(),
                    static_cast<int>(text.size()), SQLITE_STATIC);
  return *this;
}

Statement& Statement::bind(const Id& id) {
  unsigned char* slot = ids_[ids_used_];
  ids_used_ = ids_used_ == 1 ? 1 : ids_used_ + 1;
  id.to_bytes(slot);
  sqlite3_bind_blob(stmt_, next_++, slot, 16, SQLITE_STATIC);
  return *this;
}

Statement& Statement::bind_blob(std::string_view blob) {
  if (blob.empty()) return bind_null();
  sqlite3_bind_blob(stmt_, next_++, blob.data(), static_cast<int>(blob.size()), SQLITE_STATIC);
  return *this;
}

Statement& Statement::bind_text_or_null(std::string_view text) {
  return text.empty() ? bind_null() : bind(text);
}

Statement& Statement::bind_null() {
  sqlite3_bind_null(stmt_, next_++);
  return *this;
}

Statement& Statement::bind_column(const Statement& row, int column) {
  sqlite3_bind_value(stmt_, next_++, sqlite3_column_value(row.stmt_, column));
  return *this;
}

StatusOr<bool> Statement::step() {
  const int code = sqlite3_step(stmt_);
  if (code == SQLITE_ROW) return true;
  Status status = sqlite_status(code, db_, "run a statement");
  reset();
  if (!status.ok()) return status;
  return false;
}

Status Statement::run() {
  const int code = sqlite3_step(stmt_);
  Status status = sqlite_status(code, db_, "run a statement");
  reset();
  return status;
}

void Statement::reset() {
  if (stmt_ != nullptr) sqlite3_reset(stmt_);
  next_ = 1;
  ids_used_ = 0;
}

std::int64_t Statement::int_at(int column) const { return sqlite3_column_int64(stmt_, column); }

std::string_view Statement::text_at(int column) const {
  const auto* text = reinterpret_cast<const char*>(sqlite3_column_text(stmt_, column));
  if (text == nullptr) return {};
  return {text, static_cast<std::size_t>(sqlite3_column_bytes(stmt_, column))};
}

std::string_view Statement::blob_at(int column) const {
  const auto* blob = static_cast<const char*>(sqlite3_column_blob(stmt_, column));
  if (blob == nullptr) return {};
  return {blob, static_cast<std::size_t>(sqlite3_column_bytes(stmt_, column))};
}

Id Statement::id_at(int column) const {
  const std::string_view blob = blob_at(column);
  if (blob.size() != 16) return {};
  return Id::from_bytes(reinterpret_cast<const unsigned char*>(blob.data()));
}

bool Statement::null_at(int column) const {
  return sqlite3_column_type(stmt_, column) == SQLITE_NULL;
}

}  // namespace sluiceway::store
