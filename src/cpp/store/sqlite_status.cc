// The one map from SQLite's result codes to Status. Source: sqlite.org/rescode.html (read
// 2026-11-22).
#include <absl/strings/str_cat.h>
#include <sqlite3.h>

#include "store/sqlite_db.h"

namespace sluiceway::store {

Status sqlite_status(int code, sqlite3* db, std::string_view what) {
  const int primary = code & 0xff;
  if (primary == SQLITE_OK || primary == SQLITE_ROW || primary == SQLITE_DONE) {
    return absl::OkStatus();
  }
  const char* file = db != nullptr ? sqlite3_db_filename(db, "main") : nullptr;
  std::string text = absl::StrCat("ledger", file != nullptr && *file != 0 ? " " : "",
                                  file != nullptr ? file : "", ": ", to_absl(what), ": ",
                                  db != nullptr ? sqlite3_errmsg(db) : sqlite3_errstr(code),
                                  " (SQLite code ", code, ")");
  if (primary == SQLITE_NOTADB) absl::StrAppend(&text, "; give the ledger a path of its own");
  switch (primary) {
    case SQLITE_FULL:
      return absl::ResourceExhaustedError(text);
    case SQLITE_BUSY:
    case SQLITE_LOCKED:
    case SQLITE_IOERR:
    case SQLITE_CANTOPEN:
    case SQLITE_READONLY:
    case SQLITE_PROTOCOL:
    case SQLITE_PERM:
    case SQLITE_INTERRUPT:
      return absl::UnavailableError(text);
    case SQLITE_CORRUPT:
    case SQLITE_NOTADB:
      return absl::DataLossError(text);
    case SQLITE_NOMEM:
      return absl::ResourceExhaustedError(text);
    default:
      return absl::InternalError(text);
  }
}

}  // namespace sluiceway::store
