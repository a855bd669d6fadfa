// SQLite in two small owners: a connection and a prepared statement.
//
// Model. Errors come back as Status through sqlite_status(), the one place that knows SQLite's
// codes. A Statement is bound from the left, stepped, read and reset; it is prepared once and kept.
// Bound text and blobs must live until the statement is reset.
//
// Threads: a connection and its statements belong to one thread at a time (opened NOMUTEX).
#pragma once

#include <cstdint>
#include <string>
#include <string_view>
#include <utility>

#include "base/ids.h"
#include "base/status.h"

struct sqlite3;
struct sqlite3_stmt;

namespace sluiceway::store {

// The Status for a result code: SQLITE_FULL is ResourceExhausted; BUSY, LOCKED, IOERR, CANTOPEN,
// READONLY and PROTOCOL are Unavailable; CORRUPT and NOTADB are DataLoss; the rest is Internal.
// `what` says what was tried. OK for SQLITE_OK, ROW and DONE.
Status sqlite_status(int code, sqlite3* db, std::string_view what);

class Connection {
 public:
  Connection() = default;
  ~Connection() { close(); }
  Connection(const Connection&) = delete;
  Connection& operator=(const Connection&) = delete;

  // Opens or makes the file, with NO_CKPT_ON_CLOSE, no automatic checkpoints, and a page cache of
  // 16 MB.
  Status open(const std::string& path, bool read_only);
  void close();
  bool is_open() const { return db_ != nullptr; }
  sqlite3* raw() const { return db_; }
  Status exec(const std::string& sql);
  int changes() const;
  std::int64_t last_insert_id() const;

 private:
  sqlite3* db_ = nullptr;
};

class Statement {
 public:
  Statement() = default;
  ~Statement() { finalize(); }
  Statement(Statement&& other) noexcept { *this = std::move(other); }
  Statement& operator=(Statement&& other) noexcept;

  Status prepare(Connection& connection, std::string_view sql);
  void finalize();
  bool prepared() const { return stmt_ != nullptr; }

  // Bind the next parameter.
  Statement& bind(std::int64_t value);
  Statement& bind(std::string_view text);
  Statement& bind(const Id& id);
  Statement& bind_blob(std::string_view blob);  // NULL when empty
  Statement& bind_text_or_null(std::string_view text);
  Statement& bind_null();
  // What a row of another statement has in a column.
  Statement& bind_column(const Statement& row, int column);

  // True: a row is there to be read. After false or an error the statement is reset.
  StatusOr<bool> step();
  // For statements without rows.
  Status run();
  void reset();

  std::int64_t int_at(int column) const;
  std::string_view text_at(int column) const;  // "" for NULL; until the next step
  std::string_view blob_at(int column) const;
  Id id_at(int column) const;  // empty where it is no 16-byte blob
  bool null_at(int column) const;

 private:
  sqlite3* db_ = nullptr;
  sqlite3_stmt* stmt_ = nullptr;
  int next_ = 1;
  unsigned char ids_[2][16];  // bound ids live here until reset
  int ids_used_ = 0;
};

// Resets a statement at the end of a block, so that no read transaction is left open.
class ResetAtEnd {
 public:
  explicit ResetAtEnd(Statement& statement) : statement_(statement) {}
  ~ResetAtEnd() { statement_.reset(); }
  ResetAtEnd(const ResetAtEnd&) = delete;
  ResetAtEnd& operator=(const ResetAtEnd&) = delete;

 private:
  Statement& statement_;
};

}  // namespace sluiceway::store
