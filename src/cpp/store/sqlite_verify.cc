// The replay of a ledger file: see verify.h and sqlite_reader.h.
#include <absl/strings/str_cat.h>

#include "store/schema.h"
#include "store/sqlite_reader.h"
#include "store/verify.h"

namespace sluiceway::store {
namespace {

// What a replay asks of an entry.
EntryRow entry_row(const Statement& row) {
  EntryRow entry;
  entry.call_id = row.id_at(0);
  entry.attempt = static_cast<std::int32_t>(row.int_at(1));
  entry.kind = static_cast<EntryKind>(row.int_at(2));
  entry.amount = row.int_at(3);
  entry.flags = static_cast<std::uint32_t>(row.int_at(4));
  entry.balances = row.blob_at(5);
  return entry;
}

// Calls `use` for each row.
Status for_each(Connection& db, std::string_view sql,
                const std::function<void(const Statement&)>& use) {
  Statement rows;
  if (Status s = rows.prepare(db, sql); !s.ok()) return s;
  for (;;) {
    StatusOr<bool> row = rows.step();
    if (!row.ok()) return row.status();
    if (!*row) return absl::OkStatus();
    use(rows);
  }
}

}  // namespace

Status SqliteReader::replay(Replay& replay) {
  Status status =
      for_each(db_, "SELECT balance_id, settled, overrun FROM archived", [&](const Statement& row) {
        replay.add_archived(row.int_at(0), row.int_at(1), row.int_at(2));
      });
  if (!status.ok()) return status;
  status = for_each(
      db_, "SELECT scope_id, granted FROM archived_grants",
      [&](const Statement& row) { replay.add_archived_grant(row.int_at(0), row.int_at(1)); });
  if (!status.ok()) return status;
  status = for_each(db_, "SELECT call_id, reason FROM quarantine", [&](const Statement& row) {
    replay.add_quarantined(row.id_at(0), row.text_at(1));
  });
  if (!status.ok()) return status;
  status = for_each(db_, "SELECT call_id, amount, in_doubt, balances FROM holds",
                    [&](const Statement& row) {
                      HoldRow hold;
                      hold.call_id = row.id_at(0);
                      hold.amount = row.int_at(1);
                      hold.in_doubt = row.int_at(2) != 0;
                      hold.balances = row.blob_at(3);
                      replay.add_hold(hold);
                    });
  if (!status.ok()) return status;
  StatusOr<std::vector<std::int32_t>> list = segments();
  if (!list.ok()) return list.status();
  for (const std::int32_t segment : *list) {
    status = for_each(db_,
                      absl::StrCat("SELECT call_id, attempt, kind, amount, flags, balances FROM ",
                                   segment_table(segment), " ORDER BY call_id, attempt, kind"),
                      [&](const Statement& row) { replay.add_entry(entry_row(row)); });
    if (!status.ok()) return status;
    replay.end_segment();
  }
  return replay_balances(replay);
}

// Anchors of rolling scopes come after their slots.
Status SqliteReader::replay_balances(Replay& replay) {
  Status status =
      for_each(db_,
               "SELECT b.balance_id, b.slot, l.kind, l.key, b.window, l.limit_nanousd + l.granted,"
               " b.settled, b.held, b.in_doubt, b.blocked, a.balance_id"
               " FROM balances b JOIN limits l USING (scope_id)"
               " LEFT JOIN balances a ON b.slot >= 0 AND a.scope_id = b.scope_id AND a.slot = -2"
               " ORDER BY b.slot DESC",
               [&](const Statement& row) {
                 Replay::Balance balance;
                 balance.id = row.int_at(0);
                 balance.slot = row.int_at(1);
                 balance.anchor = row.int_at(10);
                 balance.name = scope_name(row.text_at(2), row.text_at(3), row.text_at(4));
                 balance.value = {row.null_at(5) ? kNanousdMax : row.int_at(5), row.int_at(6),
                                  row.int_at(7), row.int_at(8), row.int_at(9) != 0};
                 replay.add_balance(balance);
               });
  if (!status.ok()) return status;
  return for_each(db_, "SELECT scope_id, kind, key, granted FROM limits",
                  [&](const Statement& row) {
                    replay.add_limit(row.int_at(0), scope_name(row.text_at(1), row.text_at(2), ""),
                                     row.int_at(3));
                  });
}

StatusOr<VerifyReport> SqliteReader::verify() {
  const std::lock_guard<std::mutex> lock(mutex_);
  if (Status s = ensure_open(); !s.ok()) return s;
  const Snapshot snapshot(db_);
  if (!snapshot.status().ok()) return snapshot.status();
  Replay replayed;
  if (Status s = replay(replayed); !s.ok()) return s;
  return replayed.finish();
}

}  // namespace sluiceway::store
