// Slots of rolling scopes, and the log of commits: see backend.h.
#include "store/sqlite_backend.h"

namespace sluiceway::store {

StatusOr<std::optional<BalanceRow>> SqliteBackend::find_slot(std::int64_t scope_id,
                                                             std::int64_t slot) {
  StatusOr<Statement*> sql = statement(kFindBalance);
  if (!sql.ok()) return sql.status();
  const ResetAtEnd end(**sql);
  StatusOr<bool> found = (*sql)->bind(scope_id).bind(slot).bind(std::string_view("")).step();
  if (!found.ok()) return found.status();
  if (!*found) return std::optional<BalanceRow>{};
  BalanceRow row;
  row.id = (*sql)->int_at(5);
  row.scope_id = scope_id;
  row.slot = slot;
  fill_balance(**sql, row.value);
  return std::optional<BalanceRow>(std::move(row));
}

Status SqliteBackend::fold_slots(std::int64_t scope_id, std::int64_t anchor,
                                 std::int64_t before_slot, std::int64_t before_ns) {
  StatusOr<Statement*> count = statement(kCountOldSlots);
  if (!count.ok()) return count.status();
  {
    const ResetAtEnd end(**count);
    StatusOr<bool> row = (*count)->bind(scope_id).bind(before_slot).bind(anchor).step();
    if (!row.ok()) return row.status();
    if ((*count)->int_at(0) < kRollingSlots) return absl::OkStatus();
  }
  // A hold of nothing does not show in its slot.
  StatusOr<Statement*> empty = statement(kFindEmptyHold);
  if (!empty.ok()) return empty.status();
  {
    const ResetAtEnd end(**empty);
    StatusOr<bool> row = (*empty)->bind(before_ns).step();
    if (!row.ok()) return row.status();
    if (*row) return absl::OkStatus();
  }
  for (const Sql which : {kSumOldSlots, kArchiveOldSlots, kDropOldArchived, kDropOldSlots}) {
    StatusOr<Statement*> sql = statement(which);
    if (!sql.ok()) return sql.status();
    if (Status s = (*sql)->bind(scope_id).bind(before_slot).bind(anchor).run(); !s.ok()) return s;
  }
  return absl::OkStatus();
}

Status SqliteBackend::insert_commit(std::int64_t time_ns, std::string_view refs) {
  StatusOr<Statement*> sql = statement(kInsertCommit);
  if (!sql.ok()) return sql.status();
  return (*sql)->bind(time_ns).bind_blob(refs).run();
}

}  // namespace sluiceway::store
