// From an older schema to this one: see schema.h.
//
// Model. One transaction under the commit lock, while no engine of an older version lives: a crash
// or a full disk leaves the old file. Version 1's entries keep naming slots of rolling scopes by
// their rows; those rows have smaller numbers than the scopes' anchors and are never folded. The
// log of commits is made up from the entries: month by month, by time.
//
// Bounds: O(entries), about a second a million; memory: the keys of one month.
#include <absl/strings/str_cat.h>

#include "store/backend.h"
#include "store/codec.h"
#include "store/faults.h"
#include "store/schema.h"

namespace sluiceway::store {
namespace {

constexpr char kFromVersion1[] = R"sql(
ALTER TABLE limits ADD COLUMN granted INTEGER NOT NULL DEFAULT 0;
ALTER TABLE segments ADD COLUMN archived_entries INTEGER;
ALTER TABLE archived ADD COLUMN overrun INTEGER NOT NULL DEFAULT 0;
DROP TABLE jobs;
INSERT INTO balances(scope_id, slot, window)
  SELECT scope_id, -2, '' FROM limits WHERE rolling_ns > 0;
)sql";

class CommitLog {
 public:
  explicit CommitLog(Connection& connection) : connection_(connection) {}

  Status add_month(std::int32_t segment) {
    Statement rows;
    Status status = rows.prepare(
        connection_, absl::StrCat("SELECT call_id, attempt, kind, time_ns FROM ",
                                  segment_table(segment), " ORDER BY time_ns, call_id"));
    if (!status.ok()) return status;
    for (;;) {
      StatusOr<bool> row = rows.step();
      if (!row.ok()) return row.status();
      if (!*row) return flush();
      if (rows.int_at(3) != time_ns_) {
        if (Status s = flush(); !s.ok()) return s;
        time_ns_ = rows.int_at(3);
        own_segment_ = segment_of(time_ns_);
      }
      encode_entry_ref({rows.id_at(0), static_cast<std::int32_t>(rows.int_at(1)),
                        static_cast<std::uint8_t>(rows.int_at(2)), segment},
                       own_segment_, refs_);
    }
  }

 private:
  Status flush() {
    if (refs_.empty()) return absl::OkStatus();
    if (!insert_.prepared()) {
      Status status =
          insert_.prepare(connection_, "INSERT INTO commits(time_ns, refs) VALUES (?, ?)");
      if (!status.ok()) return status;
    }
    Status status = insert_.bind(time_ns_).bind_blob(refs_).run();
    refs_.clear();
    return status;
  }

  Connection& connection_;
  Statement insert_;
  std::int64_t time_ns_ = -1;
  std::int32_t own_segment_ = 0;
  std::string refs_;
};

Status from_version_1(Connection& connection) {
  Status status = connection.exec(absl::StrCat(kFromVersion1, version_2_tables()));
  if (!status.ok()) return status;
  std::vector<std::int32_t> segments;
  Statement list;
  if (Status s = list.prepare(connection, "SELECT segment FROM segments ORDER BY segment");
      !s.ok()) {
    return s;
  }
  for (;;) {
    StatusOr<bool> row = list.step();
    if (!row.ok()) return row.status();
    if (!*row) break;
    segments.push_back(static_cast<std::int32_t>(list.int_at(0)));
  }
  CommitLog log(connection);
  for (const std::int32_t segment : segments) {
    if (Status s = log.add_month(segment); !s.ok()) return s;
  }
  return absl::OkStatus();
}

// Limits that were replaced before are not known: windows of then show today's until the next
// change.
Status from_version_2(Connection& connection) { return connection.exec(version_3_tables()); }

// Holds of before stay in `holds`, a row each.
Status from_version_3(Connection& connection) {
  return connection.exec(absl::StrCat(version_4_tables(), "PRAGMA user_version=", kSchemaVersion));
}

}  // namespace

Status migrate(Connection& connection) {
  Status status = connection.exec("BEGIN IMMEDIATE");
  if (!status.ok()) return status;
  StatusOr<std::int64_t> version = pragma_value(connection, "PRAGMA user_version");
  status = version.status();
  if (status.ok() && *version < 2) status = from_version_1(connection);
  if (status.ok() && *version < 3) status = from_version_2(connection);
  if (status.ok()) status = from_version_3(connection);
  if (status.ok()) {
    fault_point("migrate.before_commit");
    status = connection.exec("COMMIT");
  }
  if (!status.ok()) (void)connection.exec("ROLLBACK");
  fault_point("migrate.after_commit");
  return status;
}

}  // namespace sluiceway::store
