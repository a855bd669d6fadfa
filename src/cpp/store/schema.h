// The tables of a ledger file, and what an older or newer engine may do with it.
//
// Model. `entries_YYYYMM` are append-only, one table a month (of the reservation: all rows of a
// call lie together), keyed (call_id, attempt, kind) without a rowid, so that time-ordered ids
// append. Everything else can be derived from them, money-wise: `holds` (open ones only;
// those of a commit together in `hold_packs`, see hold_packs.h),
// `balances` (one row a scope and window, or slot of a rolling scope: the view `slots`). `limits`
// are the scopes' configurations; `labels` and `prices` intern text; `idempotency` has the callers'
// keys; `jobs` what must outlive a process; `owners` the engines alive; `clock` ledger time;
// `commits` which entries each commit wrote, in order; `quarantine` holds that could not be read;
// `segments` the months, `archived` what archived months had posted; `closed_limits` the limits
// that windows were closed with, where the scope's has changed since. The version is SQLite's
// user_version. Version 1 had no grants, no log of commits, named slots of rolling scopes by their
// rows, and used its table of jobs for nothing. Version 2 had no closed limits and no entries for
// limits that were replaced, version 3 no packs. migrate.cc turns them into version 4.
//
// Why tables a month in one file, and not a file a month: a transaction over several files is not
// atomic in WAL mode (sqlite.org/lang_attach.html, read 2026-11-22). See docs/decisions/.
#pragma once

#include <cstdint>
#include <string>

#include "store/sqlite_db.h"

namespace sluiceway::store {

constexpr int kSchemaVersion = 4;
constexpr std::int64_t kApplicationId = 0x736c7579;  // "sluy"

// Makes the tables where the file is empty. Under the commit lock, outside a transaction.
// FailedPrecondition: made by a newer version, or an older one while `older_alive`.
// InvalidArgument: a database, but not a ledger.
Status ensure_schema(Connection& connection, bool older_alive);

// All tables of this version, in an empty file.
Status make_tables(Connection& connection, std::int64_t application_id);
StatusOr<std::int64_t> pragma_value(Connection& connection, std::string_view sql);

// From an older version to this one, in one transaction; the file is as it was, or migrated.
Status migrate(Connection& connection);
// What versions 2, 3 and 4 have anew.
const char* version_2_tables();
const char* version_3_tables();
const char* version_4_tables();

// "entries_202611".
std::string segment_table(std::int32_t segment);
std::string segment_sql(std::int32_t segment);

}  // namespace sluiceway::store
