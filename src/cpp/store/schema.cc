// The schema: see schema.h.
#include "store/schema.h"

#include <absl/strings/str_cat.h>

namespace sluiceway::store {
namespace {

constexpr char kTables[] = R"sql(
CREATE TABLE clock(
  id INTEGER PRIMARY KEY CHECK (id = 1),
  ledger_ns INTEGER NOT NULL,
  anchor_ledger_ns INTEGER NOT NULL,
  anchor_boot_ns INTEGER NOT NULL,
  boot_id TEXT NOT NULL);
INSERT INTO clock VALUES (1, 0, 0, 0, '');
CREATE TABLE limits(
  scope_id INTEGER PRIMARY KEY,
  kind TEXT NOT NULL,
  key TEXT NOT NULL,
  unit TEXT NOT NULL,
  limit_nanousd INTEGER,
  period INTEGER NOT NULL,
  time_zone TEXT NOT NULL,
  rolling_ns INTEGER NOT NULL,
  created_ns INTEGER NOT NULL,
  granted INTEGER NOT NULL DEFAULT 0,
  UNIQUE (kind, key));
CREATE TABLE balances(
  balance_id INTEGER PRIMARY KEY,
  scope_id INTEGER NOT NULL,
  slot INTEGER NOT NULL,
  window TEXT NOT NULL,
  settled INTEGER NOT NULL DEFAULT 0,
  held INTEGER NOT NULL DEFAULT 0,
  in_doubt INTEGER NOT NULL DEFAULT 0,
  blocked INTEGER NOT NULL DEFAULT 0,
  UNIQUE (scope_id, slot, window));
CREATE VIEW slots AS SELECT * FROM balances WHERE slot >= 0;
CREATE TABLE labels(
  label_id INTEGER PRIMARY KEY,
  provider TEXT NOT NULL,
  model TEXT NOT NULL,
  operation TEXT NOT NULL,
  tenant TEXT NOT NULL,
  account TEXT NOT NULL,
  tags TEXT NOT NULL,
  unit TEXT NOT NULL,
  UNIQUE (provider, model, operation, tenant, account, tags, unit));
CREATE TABLE prices(
  price_id INTEGER PRIMARY KEY,
  version TEXT NOT NULL UNIQUE);
CREATE TABLE holds(
  call_id BLOB PRIMARY KEY,
  amount INTEGER NOT NULL,
  in_doubt INTEGER NOT NULL,
  owner INTEGER NOT NULL,
  since_ns INTEGER NOT NULL,
  labels INTEGER NOT NULL,
  segment INTEGER NOT NULL,
  balances BLOB) WITHOUT ROWID;
CREATE TABLE idempotency(
  tenant TEXT NOT NULL,
  key TEXT NOT NULL,
  intent_id BLOB NOT NULL,
  call_id BLOB NOT NULL,
  time_ns INTEGER NOT NULL,
  PRIMARY KEY (tenant, key)) WITHOUT ROWID;
CREATE TABLE owners(
  owner_id INTEGER PRIMARY KEY AUTOINCREMENT,
  pid INTEGER NOT NULL,
  version INTEGER NOT NULL,
  started_ns INTEGER NOT NULL);
CREATE TABLE segments(
  segment INTEGER PRIMARY KEY,
  created_ns INTEGER NOT NULL,
  archived_ns INTEGER,
  archived_to TEXT,
  archived_entries INTEGER);
CREATE TABLE archived(
  balance_id INTEGER PRIMARY KEY,
  settled INTEGER NOT NULL,
  overrun INTEGER NOT NULL DEFAULT 0);
)sql";

constexpr char kVersion2[] = R"sql(
CREATE TABLE identity(ledger_id BLOB NOT NULL);
INSERT INTO identity VALUES (randomblob(16));
CREATE TABLE archived_grants(
  scope_id INTEGER PRIMARY KEY,
  granted INTEGER NOT NULL);
CREATE TABLE commits(
  seq INTEGER PRIMARY KEY,
  time_ns INTEGER NOT NULL,
  refs BLOB NOT NULL);
CREATE TABLE quarantine(
  call_id BLOB PRIMARY KEY,
  reason TEXT NOT NULL,
  time_ns INTEGER NOT NULL,
  amount INTEGER NOT NULL,
  in_doubt INTEGER NOT NULL,
  owner INTEGER NOT NULL,
  since_ns INTEGER NOT NULL,
  labels INTEGER NOT NULL,
  segment INTEGER NOT NULL,
  balances BLOB) WITHOUT ROWID;
CREATE TABLE jobs(
  call_id BLOB PRIMARY KEY,
  provider TEXT NOT NULL,
  account TEXT NOT NULL,
  tenant TEXT NOT NULL,
  key_id TEXT NOT NULL,
  provider_job_id TEXT NOT NULL,
  state TEXT NOT NULL,
  created_ns INTEGER NOT NULL,
  updated_ns INTEGER NOT NULL,
  request TEXT NOT NULL,
  result TEXT NOT NULL,
  UNIQUE (provider_job_id, provider, account)) WITHOUT ROWID;
CREATE INDEX jobs_by_state ON jobs(state);
)sql";

// limit_nanousd NULL: there was no limit.
constexpr char kVersion3[] = R"sql(
CREATE TABLE closed_limits(
  balance_id INTEGER PRIMARY KEY,
  limit_nanousd INTEGER);
)sql";

// holds: how many there are; empty: how many of them hold nothing; rows: codec.h.
constexpr char kVersion4[] = R"sql(
CREATE TABLE hold_packs(
  pack_id INTEGER PRIMARY KEY,
  owner INTEGER NOT NULL,
  since_ns INTEGER NOT NULL,
  segment INTEGER NOT NULL,
  holds INTEGER NOT NULL,
  empty INTEGER NOT NULL,
  rows BLOB NOT NULL);
)sql";

}  // namespace

StatusOr<std::int64_t> pragma_value(Connection& connection, std::string_view sql) {
  Statement statement;
  if (Status s = statement.prepare(connection, sql); !s.ok()) return s;
  StatusOr<bool> row = statement.step();
  if (!row.ok()) return row.status();
  return *row ? statement.int_at(0) : 0;
}

Status make_tables(Connection& connection, std::int64_t application_id) {
  Status status = connection.exec(absl::StrCat("BEGIN IMMEDIATE;", kTables, kVersion2, kVersion3,
                                               kVersion4, "PRAGMA application_id=", application_id,
                                               ";PRAGMA user_version=", kSchemaVersion, ";COMMIT"));
  if (!status.ok()) (void)connection.exec("ROLLBACK");
  return status;
}

const char* version_2_tables() { return kVersion2; }
const char* version_3_tables() { return kVersion3; }
const char* version_4_tables() { return kVersion4; }

std::string segment_table(std::int32_t segment) { return absl::StrCat("entries_", segment); }

std::string segment_sql(std::int32_t segment) {
  return absl::StrCat(
      "CREATE TABLE IF NOT EXISTS ", segment_table(segment),
      "(call_id BLOB NOT NULL, attempt INTEGER NOT NULL, kind INTEGER NOT NULL,"
      " time_ns INTEGER NOT NULL, amount INTEGER NOT NULL, labels INTEGER NOT NULL,"
      " price INTEGER NOT NULL, flags INTEGER NOT NULL, latency_ns INTEGER NOT NULL,"
      " intent_id BLOB, balances BLOB, usage BLOB, request_id TEXT, evidence TEXT,"
      " PRIMARY KEY (call_id, attempt, kind)) WITHOUT ROWID");
}

Status ensure_schema(Connection& connection, bool older_alive) {
  StatusOr<std::int64_t> version = pragma_value(connection, "PRAGMA user_version");
  if (!version.ok()) return version.status();
  StatusOr<std::int64_t> application = pragma_value(connection, "PRAGMA application_id");
  if (!application.ok()) return application.status();
  StatusOr<std::int64_t> tables = pragma_value(connection, "SELECT count(*) FROM sqlite_master");
  if (!tables.ok()) return tables.status();
  if (*tables == 0 && *version == 0) {
    if (Status s = connection.exec("PRAGMA journal_mode=WAL"); !s.ok()) return s;
    return make_tables(connection, kApplicationId);
  }
  if (*application != kApplicationId) {
    return invalid_argument("the file is a database, but not a ledger of this package");
  }
  if (*version > kSchemaVersion) {
    return absl::FailedPreconditionError(absl::StrCat("the ledger has schema ", *version,
                                                      ", this version knows ", kSchemaVersion,
                                                      "; install a newer version"));
  }
  if (*version == kSchemaVersion) return absl::OkStatus();
  if (older_alive) {
    return absl::FailedPreconditionError(
        "the ledger needs a migration, but an engine of an older version is using it; stop it");
  }
  return migrate(connection);
}

}  // namespace sluiceway::store
