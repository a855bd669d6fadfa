// Entries that the writer looks up, by call: see backend.h. Rare, so the statements are not kept.
#include <absl/strings/str_cat.h>

#include <algorithm>

#include "store/schema.h"
#include "store/sqlite_backend.h"

namespace sluiceway::store {

StatusOr<bool> SqliteBackend::has_entry(const EntryRow& row) {
  StatusOr<std::vector<MonthInfo>> months = list_months();
  if (!months.ok()) return months.status();
  if (std::none_of(months->begin(), months->end(),
                   [&](const MonthInfo& m) { return m.segment == row.segment; })) {
    return false;
  }
  Statement sql;
  Status prepared = sql.prepare(
      db_, absl::StrCat("SELECT 1 FROM ", segment_table(row.segment),
                        " WHERE call_id = ? AND attempt = ? AND kind = ? AND time_ns = ?"
                        " AND amount = ?"));
  if (!prepared.ok()) return prepared;
  sql.bind(row.call_id).bind(row.attempt).bind(static_cast<std::int64_t>(row.kind));
  return sql.bind(row.time_ns).bind(row.amount).step();
}

StatusOr<std::optional<CallRow>> SqliteBackend::find_call(const Id& call) {
  StatusOr<Statement*> list = statement(kListSegments);
  if (!list.ok()) return list.status();
  std::vector<std::int32_t> segments;
  for (;;) {
    StatusOr<bool> row = (*list)->step();
    if (!row.ok()) return row.status();
    if (!*row) break;
    segments.push_back(static_cast<std::int32_t>((*list)->int_at(0)));
  }
  for (const std::int32_t segment : segments) {
    Statement rows;
    Status prepared =
        rows.prepare(db_, absl::StrCat("SELECT kind, amount, labels, balances, attempt FROM ",
                                       segment_table(segment), " WHERE call_id = ?"));
    if (!prepared.ok()) return prepared;
    rows.bind(call);
    CallRow out;
    out.call_id = call;
    out.segment = segment;
    bool any = false;
    for (;; any = true) {
      StatusOr<bool> row = rows.step();
      if (!row.ok()) return row.status();
      if (!*row) break;
      const auto kind = static_cast<EntryKind>(rows.int_at(0));
      if (kind == EntryKind::kReserve) {
        out.labels = rows.int_at(2);
        out.balances = rows.blob_at(3);
      }
      out.add(kind, static_cast<std::int32_t>(rows.int_at(4)), rows.int_at(1));
    }
    if (any) return std::optional<CallRow>(std::move(out));
  }
  return std::optional<CallRow>{};
}

}  // namespace sluiceway::store
