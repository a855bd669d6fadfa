// The statements of the writing connection, one short function each: see backend.h.
#include <absl/strings/str_cat.h>

#include "store/schema.h"
#include "store/sqlite_backend.h"

namespace sluiceway::store {
namespace {

void bind_limit(Statement& statement, const std::optional<Nanousd>& limit) {
  if (limit) {
    statement.bind(*limit);
  } else {
    statement.bind_null();
  }
}

}  // namespace

// The month's table is made in the transaction that first needs it.
StatusOr<Statement*> SqliteBackend::entry_statement(std::int32_t segment, std::int64_t time_ns) {
  Statement& kept = entry_statements_[segment];
  if (kept.prepared()) return &kept;
  StatusOr<std::int64_t> archived = pragma_value(
      db_,
      absl::StrCat("SELECT count(*) FROM segments WHERE archived_ns IS NOT NULL AND segment = ",
                   segment));
  if (!archived.ok()) return archived.status();
  if (*archived != 0) {
    return absl::FailedPreconditionError(absl::StrCat("the month ", segment, " has been archived"));
  }
  if (Status s = db_.exec(segment_sql(segment)); !s.ok()) return s;
  StatusOr<Statement*> insert = statement(kInsertSegment);
  if (!insert.ok()) return insert.status();
  if (Status s = (*insert)->bind(static_cast<std::int64_t>(segment)).bind(time_ns).run(); !s.ok()) {
    return s;
  }
  const std::string sql =
      absl::StrCat("INSERT OR IGNORE INTO ", segment_table(segment),
                   "(call_id, attempt, kind, time_ns, amount, labels, price, flags, latency_ns,"
                   " intent_id, balances, usage, request_id, evidence)"
                   " VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?)");
  if (Status s = kept.prepare(db_, sql); !s.ok()) return s;
  return &kept;
}

StatusOr<bool> SqliteBackend::insert_entry(const EntryRow& row) {
  StatusOr<Statement*> found = entry_statement(row.segment, row.time_ns);
  if (!found.ok()) return found.status();
  Statement& sql = **found;
  sql.bind(row.call_id).bind(row.attempt).bind(static_cast<std::int64_t>(row.kind));
  sql.bind(row.time_ns).bind(row.amount).bind(row.labels).bind(row.price);
  sql.bind(static_cast<std::int64_t>(row.flags)).bind(row.latency_ns);
  if (row.intent_id.empty()) {
    sql.bind_null();
  } else {
    sql.bind(row.intent_id);
  }
  sql.bind_blob(row.balances).bind_blob(row.usage).bind_text_or_null(row.request_id);
  sql.bind_text_or_null(row.evidence);
  if (Status s = sql.run(); !s.ok()) return s;
  return db_.changes() == 1;
}

StatusOr<std::optional<LimitRow>> SqliteBackend::find_limit(std::string_view kind,
                                                            std::string_view key) {
  StatusOr<Statement*> found = statement(kFindLimit);
  if (!found.ok()) return found.status();
  Statement& sql = **found;
  const ResetAtEnd end(sql);
  StatusOr<bool> row = sql.bind(kind).bind(key).step();
  if (!row.ok()) return row.status();
  if (!*row) return std::optional<LimitRow>{};
  LimitRow limit;
  limit.scope_id = sql.int_at(0);
  limit.config.kind = kind;
  limit.config.key = key;
  limit.config.unit = sql.text_at(1);
  if (!sql.null_at(2)) limit.config.limit = sql.int_at(2);
  limit.config.period = static_cast<Period>(sql.int_at(3));
  limit.config.time_zone = sql.text_at(4);
  limit.config.rolling_ns = sql.int_at(5);
  limit.granted = sql.int_at(6);
  return std::optional<LimitRow>(std::move(limit));
}

StatusOr<std::int64_t> SqliteBackend::insert_limit(const ScopeConfig& config, std::int64_t now_ns) {
  StatusOr<Statement*> found = statement(kInsertLimit);
  if (!found.ok()) return found.status();
  Statement& sql = **found;
  sql.bind(config.kind).bind(config.key).bind(config.unit);
  bind_limit(sql, config.limit);
  sql.bind(static_cast<std::int64_t>(config.period)).bind(config.time_zone);
  if (Status s = sql.bind(config.rolling_ns).bind(now_ns).run(); !s.ok()) return s;
  return db_.last_insert_id();
}

Status SqliteBackend::replace_limit(std::int64_t scope_id, std::optional<Nanousd> limit) {
  StatusOr<Statement*> sql = statement(kReplaceLimit);
  if (!sql.ok()) return sql.status();
  bind_limit(**sql, limit);
  if (Status s = (*sql)->bind(scope_id).run(); !s.ok()) return s;
  return add_granted(scope_id, 0, true);
}

Status SqliteBackend::add_granted(std::int64_t scope_id, Nanousd amount, bool unblock) {
  if (amount != 0) {
    StatusOr<Statement*> sql = statement(kAddGranted);
    if (!sql.ok()) return sql.status();
    if (Status s = (*sql)->bind(amount).bind(scope_id).run(); !s.ok()) return s;
  }
  if (!unblock) return absl::OkStatus();
  StatusOr<Statement*> sql = statement(kUnblock);
  if (!sql.ok()) return sql.status();
  return (*sql)->bind(scope_id).run();
}

Status SqliteBackend::close_limits(std::int64_t scope_id, std::string_view open_window,
                                   std::optional<Nanousd> limit) {
  StatusOr<Statement*> sql = statement(kCloseLimits);
  if (!sql.ok()) return sql.status();
  (*sql)->bind(scope_id).bind(open_window);
  bind_limit(**sql, limit);
  return (*sql)->run();
}

void fill_balance(const Statement& row, ScopeBalance& value) {
  value.settled = row.int_at(0);
  value.held = row.int_at(1);
  value.in_doubt = row.int_at(2);
  value.blocked = row.int_at(3) != 0;
  value.limit = row.null_at(4) ? kNanousdMax : row.int_at(4);
}

Status SqliteBackend::load_balance(BalanceRow& row) {
  StatusOr<Statement*> sql = statement(kLoadBalance);
  if (!sql.ok()) return sql.status();
  const ResetAtEnd end(**sql);
  StatusOr<bool> found = (*sql)->bind(row.id).step();
  if (!found.ok()) return found.status();
  if (!*found) return absl::DataLossError(absl::StrCat("the balance ", row.id, " is not there"));
  fill_balance(**sql, row.value);
  row.scope_id = (*sql)->int_at(5);
  row.slot = (*sql)->int_at(6);
  row.window = (*sql)->text_at(7);
  return absl::OkStatus();
}

Status SqliteBackend::find_or_create_balance(BalanceRow& row) {
  for (const bool made : {false, true}) {
    StatusOr<Statement*> sql = statement(kFindBalance);
    if (!sql.ok()) return sql.status();
    {
      const ResetAtEnd end(**sql);
      StatusOr<bool> found = (*sql)->bind(row.scope_id).bind(row.slot).bind(row.window).step();
      if (!found.ok()) return found.status();
      if (*found) {
        fill_balance(**sql, row.value);
        row.id = (*sql)->int_at(5);
        return absl::OkStatus();
      }
    }
    if (made) break;
    sql = statement(kInsertBalance);
    if (!sql.ok()) return sql.status();
    Status s = (*sql)->bind(row.scope_id).bind(row.slot).bind(row.window).run();
    if (!s.ok()) return s;
  }
  return absl::DataLossError(absl::StrCat("the scope ", row.scope_id, " is not there"));
}

StatusOr<std::vector<BalanceRow>> SqliteBackend::load_slots(std::int64_t scope_id,
                                                            std::int64_t from_slot) {
  StatusOr<Statement*> sql = statement(kLoadSlots);
  if (!sql.ok()) return sql.status();
  const ResetAtEnd end(**sql);
  (*sql)->bind(scope_id).bind(from_slot);
  std::vector<BalanceRow> out;
  for (;;) {
    StatusOr<bool> found = (*sql)->step();
    if (!found.ok()) return found.status();
    if (!*found) return out;
    BalanceRow& row = out.emplace_back();
    fill_balance(**sql, row.value);
    row.scope_id = scope_id;
    row.id = (*sql)->int_at(5);
    row.slot = (*sql)->int_at(6);
  }
}

Status SqliteBackend::store_balance(const BalanceRow& row) {
  StatusOr<Statement*> sql = statement(kStoreBalance);
  if (!sql.ok()) return sql.status();
  return (*sql)
      ->bind(row.value.settled)
      .bind(row.value.held)
      .bind(row.value.in_doubt)
      .bind(row.value.blocked ? 1 : 0)
      .bind(row.id)
      .run();
}

StatusOr<std::int64_t> SqliteBackend::intern_labels(const CallLabels& labels) {
  for (const Sql which : {kFindLabels, kInsertLabels, kFindLabels}) {
    StatusOr<Statement*> sql = statement(which);
    if (!sql.ok()) return sql.status();
    const ResetAtEnd end(**sql);
    (*sql)
        ->bind(labels.provider)
        .bind(labels.model)
        .bind(labels.operation)
        .bind(labels.tenant)
        .bind(labels.account)
        .bind(labels.tags)
        .bind(labels.unit);
    StatusOr<bool> found = (*sql)->step();
    if (!found.ok()) return found.status();
    if (*found) return (*sql)->int_at(0);
  }
  return absl::InternalError("labels were written and are not there");
}

StatusOr<std::int64_t> SqliteBackend::intern_price(std::string_view version) {
  for (const Sql which : {kFindPrice, kInsertPrice, kFindPrice}) {
    StatusOr<Statement*> sql = statement(which);
    if (!sql.ok()) return sql.status();
    const ResetAtEnd end(**sql);
    StatusOr<bool> found = (*sql)->bind(version).step();
    if (!found.ok()) return found.status();
    if (*found) return (*sql)->int_at(0);
  }
  return absl::InternalError("a price version was written and is not there");
}

StatusOr<std::optional<Submission>> SqliteBackend::find_submission(std::string_view tenant,
                                                                   std::string_view key) {
  StatusOr<Statement*> sql = statement(kFindSubmission);
  if (!sql.ok()) return sql.status();
  const ResetAtEnd end(**sql);
  StatusOr<bool> found = (*sql)->bind(tenant).bind(key).step();
  if (!found.ok()) return found.status();
  if (!*found) return std::optional<Submission>{};
  return std::optional<Submission>({.intent_id = (*sql)->id_at(0), .call_id = (*sql)->id_at(1)});
}

Status SqliteBackend::insert_submission(std::string_view tenant, std::string_view key,
                                        const Submission& row, std::int64_t now_ns) {
  StatusOr<Statement*> sql = statement(kInsertSubmission);
  if (!sql.ok()) return sql.status();
  return (*sql)->bind(tenant).bind(key).bind(row.intent_id).bind(row.call_id).bind(now_ns).run();
}

Status SqliteBackend::delete_submission(std::string_view tenant, std::string_view key,
                                        const Id& call) {
  StatusOr<Statement*> sql = statement(key.empty() ? kDeleteSubmissionOf : kDeleteSubmission);
  if (!sql.ok()) return sql.status();
  if (!key.empty()) (*sql)->bind(tenant).bind(key);
  return (*sql)->bind(call).run();
}

StatusOr<ClockRow> SqliteBackend::load_clock() {
  StatusOr<Statement*> sql = statement(kLoadClock);
  if (!sql.ok()) return sql.status();
  const ResetAtEnd end(**sql);
  StatusOr<bool> found = (*sql)->step();
  if (!found.ok()) return found.status();
  if (!*found) return absl::DataLossError("the ledger has no clock row");
  return ClockRow{.ledger_ns = (*sql)->int_at(0),
                  .anchor_ledger_ns = (*sql)->int_at(1),
                  .anchor_boot_ns = (*sql)->int_at(2),
                  .boot_id = std::string((*sql)->text_at(3))};
}

Status SqliteBackend::store_clock(const ClockRow& row) {
  StatusOr<Statement*> sql = statement(kStoreClock);
  if (!sql.ok()) return sql.status();
  return (*sql)
      ->bind(row.ledger_ns)
      .bind(row.anchor_ledger_ns)
      .bind(row.anchor_boot_ns)
      .bind(row.boot_id)
      .run();
}

}  // namespace sluiceway::store
