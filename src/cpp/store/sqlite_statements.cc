// The texts of the writing connection's statements, in one table: see sqlite_backend.h.
#include "store/sqlite_backend.h"

namespace sluiceway::store {

#define SLUICEWAY_HOLDS \
  "SELECT call_id, amount, in_doubt, owner, since_ns, labels, segment, balances FROM holds"

// Of one scope, before a slot, holding nothing; made since there are anchors.
#define SLUICEWAY_OLD_SLOTS \
  "scope_id = ?1 AND slot >= 0 AND slot < ?2 AND held = 0 AND in_doubt = 0 AND balance_id > ?3"

// NOLINTNEXTLINE(readability-function-size): it is a table
const char* SqliteBackend::sql_text(Sql which) {
  struct Row {
    Sql which;
    const char* text;
  };
  static constexpr Row kTexts[] = {
      {kBegin, "BEGIN IMMEDIATE"},
      {kCommit, "COMMIT"},
      {kDataVersion, "PRAGMA data_version"},
      {kUserVersion, "PRAGMA user_version"},
      {kInsertHold,
       "INSERT INTO holds(call_id, amount, in_doubt, owner, since_ns, labels, segment,"
       " balances) VALUES (?, ?, ?, ?, ?, ?, ?, ?)"},
      {kUpdateHold,
       "UPDATE holds SET amount = ?1, in_doubt = ?2, owner = ?3,"
       " since_ns = CASE WHEN ?2 THEN ?4 ELSE since_ns END WHERE call_id = ?5"},
      {kDeleteHold, "DELETE FROM holds WHERE call_id = ?"},
      {kQuarantineHold,
       "INSERT INTO quarantine(call_id, reason, time_ns, amount, in_doubt, owner, since_ns, labels,"
       " segment, balances) SELECT call_id, ?, ?, amount, in_doubt, owner, since_ns, labels,"
       " segment, balances FROM holds WHERE call_id = ?"},
      {kFindHold, SLUICEWAY_HOLDS " WHERE call_id = ?"},
      {kListHolds, SLUICEWAY_HOLDS},
      {kListOwnerHolds, SLUICEWAY_HOLDS " WHERE owner = ? AND in_doubt = 0"},
      {kListPacks, kPacksSql},
      {kInsertPack,
       "INSERT INTO hold_packs(owner, since_ns, segment, holds, empty, rows)"
       " VALUES (?, ?, ?, ?, ?, ?)"},
      {kUpdatePack,
       "UPDATE hold_packs SET holds = ?, empty = ?, rows = ? WHERE pack_id = ? AND owner = ?"},
      {kDeletePack, "DELETE FROM hold_packs WHERE pack_id = ? AND owner = ?"},
      {kQuarantineRest,
       "INSERT OR REPLACE INTO quarantine(call_id, reason, time_ns, amount, in_doubt, owner,"
       " since_ns, labels, segment, balances)"
       " VALUES (?1, 'malformed pack of holds', ?2, 0, 0, ?3, ?2, 0, ?4, ?5)"},
      {kFindLimit,
       "SELECT scope_id, unit, limit_nanousd, period, time_zone, rolling_ns, granted FROM limits"
       " WHERE kind = ? AND key = ?"},
      {kInsertLimit,
       "INSERT INTO limits(kind, key, unit, limit_nanousd, period, time_zone, rolling_ns,"
       " created_ns) VALUES (?, ?, ?, ?, ?, ?, ?, ?)"},
      {kReplaceLimit, "UPDATE limits SET limit_nanousd = ? WHERE scope_id = ?"},
      {kCloseLimits,
       "INSERT OR IGNORE INTO closed_limits SELECT balance_id, ?3 FROM balances"
       " WHERE scope_id = ?1 AND slot = -1 AND window <> ?2"},
      {kAddGranted, "UPDATE limits SET granted = granted + ? WHERE scope_id = ?"},
      {kUnblock, "UPDATE balances SET blocked = 0 WHERE scope_id = ? AND blocked <> 0"},
      {kLoadBalance,
       "SELECT b.settled, b.held, b.in_doubt, b.blocked, l.limit_nanousd + l.granted, b.scope_id, "
       "b.slot,"
       " b.window FROM balances b JOIN limits l USING (scope_id) WHERE b.balance_id = ?"},
      {kInsertBalance, "INSERT OR IGNORE INTO balances(scope_id, slot, window) VALUES (?, ?, ?)"},
      {kFindBalance,
       "SELECT b.settled, b.held, b.in_doubt, b.blocked, l.limit_nanousd + l.granted, b.balance_id"
       " FROM balances b JOIN limits l USING (scope_id)"
       " WHERE b.scope_id = ? AND b.slot = ? AND b.window = ?"},
      {kLoadSlots,
       "SELECT b.settled, b.held, b.in_doubt, b.blocked, l.limit_nanousd + l.granted, b.balance_id,"
       " b.slot FROM balances b JOIN limits l USING (scope_id)"
       " WHERE b.scope_id = ? AND b.slot >= ? ORDER BY b.slot"},
      {kCountOldSlots, "SELECT count(*) FROM balances WHERE " SLUICEWAY_OLD_SLOTS},
      {kFindEmptyHold,
       "SELECT 1 FROM holds WHERE amount = 0 AND (in_doubt <> 0 OR since_ns < ?1) UNION ALL"
       " SELECT 1 FROM hold_packs WHERE empty > 0 AND since_ns < ?1 LIMIT 1"},
      {kSumOldSlots,
       "UPDATE balances SET settled = settled +"
       " (SELECT coalesce(sum(settled), 0) FROM balances WHERE " SLUICEWAY_OLD_SLOTS
       ") WHERE balance_id = ?3"},
      {kArchiveOldSlots,
       "INSERT INTO archived(balance_id, settled, overrun) SELECT ?3, a.settled, a.overrun FROM"
       " (SELECT sum(settled) AS settled, sum(overrun) AS overrun FROM archived WHERE balance_id IN"
       " (SELECT balance_id FROM balances WHERE " SLUICEWAY_OLD_SLOTS
       ")) a WHERE a.settled IS NOT NULL ON CONFLICT (balance_id) DO UPDATE"
       " SET settled = settled + excluded.settled, overrun = overrun + excluded.overrun"},
      {kDropOldArchived,
       "DELETE FROM archived WHERE balance_id IN"
       " (SELECT balance_id FROM balances WHERE " SLUICEWAY_OLD_SLOTS ")"},
      {kDropOldSlots, "DELETE FROM balances WHERE " SLUICEWAY_OLD_SLOTS},
      {kStoreBalance,
       "UPDATE balances SET settled = ?, held = ?, in_doubt = ?, blocked = ?"
       " WHERE balance_id = ?"},
      {kInsertLabels,
       "INSERT OR IGNORE INTO labels(provider, model, operation, tenant, account, tags, unit)"
       " VALUES (?, ?, ?, ?, ?, ?, ?)"},
      {kFindLabels,
       "SELECT label_id FROM labels WHERE provider = ? AND model = ? AND operation = ?"
       " AND tenant = ? AND account = ? AND tags = ? AND unit = ?"},
      {kInsertPrice, "INSERT OR IGNORE INTO prices(version) VALUES (?)"},
      {kFindPrice, "SELECT price_id FROM prices WHERE version = ?"},
      {kFindSubmission, "SELECT intent_id, call_id FROM idempotency WHERE tenant = ? AND key = ?"},
      {kInsertSubmission,
       "INSERT OR IGNORE INTO idempotency(tenant, key, intent_id, call_id, time_ns)"
       " VALUES (?, ?, ?, ?, ?)"},
      {kDeleteSubmission, "DELETE FROM idempotency WHERE tenant = ? AND key = ? AND call_id = ?"},
      {kDeleteSubmissionOf, "DELETE FROM idempotency WHERE call_id = ?"},
      {kInsertCommit, "INSERT INTO commits(time_ns, refs) VALUES (?, ?)"},
      {kInsertJob,
       "INSERT INTO jobs(call_id, provider, account, tenant, key_id, provider_job_id, state,"
       " created_ns, updated_ns, request, result) VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?)"},
      {kUpdateJob, "UPDATE jobs SET state = ?, result = ?, updated_ns = ? WHERE call_id = ?"},
      {kFindJob, "SELECT * FROM jobs WHERE call_id = ?"},
      {kHasJob, "SELECT 1 FROM jobs WHERE provider = ? AND account = ? AND provider_job_id = ?"},
      {kLoadClock, kClockSql},
      {kStoreClock,
       "UPDATE clock SET ledger_ns = ?, anchor_ledger_ns = ?, anchor_boot_ns = ?, boot_id = ?"
       " WHERE id = 1"},
      {kInsertOwner, "INSERT INTO owners(pid, version, started_ns) VALUES (?, ?, ?)"},
      {kDeleteOwner, "DELETE FROM owners WHERE owner_id = ?"},
      {kListOwners, "SELECT owner_id FROM owners"},
      {kInsertSegment, "INSERT OR IGNORE INTO segments(segment, created_ns) VALUES (?, ?)"},
      {kListSegments,
       "SELECT segment FROM segments WHERE archived_ns IS NULL ORDER BY segment DESC"},
  };
  static_assert(std::size(kTexts) == kSqlCount);
  for (const Row& row : kTexts) {
    if (row.which == which) return row.text;
  }
  return "";
}

#undef SLUICEWAY_HOLDS
#undef SLUICEWAY_OLD_SLOTS

StatusOr<Statement*> SqliteBackend::statement(Sql which) {
  Statement& kept = statements_[which];
  if (kept.prepared()) return &kept;
  if (Status s = kept.prepare(db_, sql_text(which)); !s.ok()) return s;
  return &kept;
}

}  // namespace sluiceway::store
