// The tables of a ledger file, and what an older or newer engine may do with it.
//
// Model. `entries_YYYYMM` are append-only, one table a month (of the reservation: all rows of a
// call lie together), keyed (call_id, attempt, kind) without a rowid, so that time-ordered ids
// append. Everything else can be derived from them, money-wise: `holds` (open ones only),
// `balances` (one row a scope and window, or slot of a rolling scope: the view `slots`). `limits`
// are the scopes' configurations; `labels` and `prices` intern text; `idempotency` has the callers'
// keys; `jobs` what must outlive a process; `owners` the engines alive; `clock` ledger time;
// `segments` the months, `archived` what archived months had posted. The version is SQLite's
// user_version; 1 is the first.
//
// Why tables a month in one file, and not a file a month: a transaction over several files is not
// atomic in WAL mode (sqlite.org/lang_attach.html, read 2026-11-22). See docs/decisions/.
#pragma once

#include <cstdint>
#include <string>

#include "store/sqlite_db.h"

namespace sluiceway::store {

constexpr int kSchemaVersion = 1;
constexpr std::int64_t kApplicationId = 0x736c7579;  // "sluy"

// Makes the tables where the file is empty. Under the commit lock, outside a transaction.
// FailedPrecondition: made by a newer version, or an older one while `older_alive`.
// InvalidArgument: a database, but not a ledger.
Status ensure_schema(Connection& connection, bool older_alive);

// "entries_202611".
std::string segment_table(std::int32_t segment);
std::string segment_sql(std::int32_t segment);

}  // namespace sluiceway::store
