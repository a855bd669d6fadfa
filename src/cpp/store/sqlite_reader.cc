// Reports from the file: see sqlite_reader.h.
#include "store/sqlite_reader.h"

#include <absl/strings/str_cat.h>

#include <algorithm>

#include "store/codec.h"
#include "store/schema.h"

namespace sluiceway::store {
namespace {

constexpr std::size_t kNamesMax = 100'000;  // remembered names; beyond, forgotten and read again
Nanousd limit_at(const Statement& row, int column) {
  return row.null_at(column) ? kNanousdMax : row.int_at(column);
}

}  // namespace

Status SqliteReader::ensure_open() {
  if (db_.is_open()) return absl::OkStatus();
  if (Status s = db_.open(path_, true); !s.ok()) return s;
  if (archive_ != 0) {
    StatusOr<std::int64_t> application = pragma_value(db_, "PRAGMA application_id");
    if (!application.ok()) return application.status();
    if (*application != archive_) {
      close();
      return invalid_argument("not an archive of a ledger: " + path_);
    }
  }
  const std::pair<Statement*, const char*> wanted[] = {
      {&balance_,
       "SELECT b.settled, b.held, b.in_doubt, b.blocked FROM balances b"
       " WHERE b.scope_id = ? AND b.slot = -1 AND b.window = ?"},
      {&slots_,
       "SELECT settled, held, in_doubt, blocked FROM balances WHERE scope_id = ? AND slot >= ?"},
      {&scope_name_,
       "SELECT l.kind, l.key, b.window FROM balances b JOIN limits l USING (scope_id)"
       " WHERE b.balance_id = ?"},
      {&labels_,
       "SELECT provider, model, operation, tenant, account, tags, unit FROM labels"
       " WHERE label_id = ?"},
      {&price_, "SELECT version FROM prices WHERE price_id = ?"},
      {&clock_, kClockSql}};
  for (const auto& [statement, sql] : wanted) {
    if (Status s = statement->prepare(db_, sql); !s.ok()) {
      close();
      return s;
    }
  }
  return absl::OkStatus();
}

void SqliteReader::close() {
  for (Statement* s : {&balance_, &slots_, &scope_name_, &labels_, &price_, &clock_}) {
    s->finalize();
  }
  entry_by_key_.clear();
  db_.close();
}

StatusOr<ClockRow> SqliteReader::clock() {
  const std::lock_guard<std::mutex> lock(mutex_);
  if (Status s = ensure_open(); !s.ok()) return s;
  const ResetAtEnd reset(clock_);
  StatusOr<bool> row = clock_.step();
  if (!row.ok()) return row.status();
  if (!*row) return absl::DataLossError("the ledger has no clock row");
  return ClockRow{.ledger_ns = clock_.int_at(0),
                  .anchor_ledger_ns = clock_.int_at(1),
                  .anchor_boot_ns = clock_.int_at(2),
                  .boot_id = std::string(clock_.text_at(3))};
}

StatusOr<ScopeBalance> SqliteReader::balance(const Scope& scope, std::int64_t now_ns) {
  const std::lock_guard<std::mutex> lock(mutex_);
  if (Status s = ensure_open(); !s.ok()) return s;
  const Snapshot snapshot(db_);
  if (!snapshot.status().ok()) return snapshot.status();
  ScopeBalance sum;
  Statement limit;
  if (Status s =
          limit.prepare(db_, "SELECT limit_nanousd + granted FROM limits WHERE scope_id = ?");
      !s.ok()) {
    return s;
  }
  StatusOr<bool> found = limit.bind(scope.id()).step();
  if (!found.ok()) return found.status();
  if (!*found) return absl::NotFoundError(to_absl("no such scope: " + scope.name()));
  sum.limit = limit_at(limit, 0);
  const ScopeConfig& config = scope.config();
  const std::string window = window_key(config.period, now_ns, scope.zone());
  Statement& rows = config.rolling_ns > 0 ? slots_ : balance_;
  const ResetAtEnd reset(rows);
  rows.bind(scope.id());
  if (config.rolling_ns > 0) {
    rows.bind(now_ns / (config.rolling_ns / kRollingSlots) - kRollingSlots);
  } else {
    rows.bind(window);
  }
  for (;;) {
    StatusOr<bool> row = rows.step();
    if (!row.ok()) return row.status();
    if (!*row) break;
    sum.settled = saturating_add(sum.settled, rows.int_at(0));
    sum.held = saturating_add(sum.held, rows.int_at(1));
    sum.in_doubt = saturating_add(sum.in_doubt, rows.int_at(2));
    sum.blocked = sum.blocked || rows.int_at(3) != 0;
  }
  return sum;
}

StatusOr<std::vector<std::int32_t>> SqliteReader::segments() {
  Statement statement;
  if (Status s = statement.prepare(
          db_, "SELECT segment FROM segments WHERE archived_ns IS NULL ORDER BY segment");
      !s.ok()) {
    return s;
  }
  std::vector<std::int32_t> out;
  for (;;) {
    StatusOr<bool> row = statement.step();
    if (!row.ok()) return row.status();
    if (!*row) return out;
    out.push_back(static_cast<std::int32_t>(statement.int_at(0)));
  }
}

// Whether the month's entries are in this file.
StatusOr<bool> SqliteReader::has_segment(std::int32_t segment) {
  StatusOr<std::vector<std::int32_t>> list = segments();
  if (!list.ok()) return list.status();
  return std::find(list->begin(), list->end(), segment) != list->end();
}

StatusOr<std::string> SqliteReader::scope_of(std::int64_t balance) {
  if (const auto it = scope_names_.find(balance); it != scope_names_.end()) return it->second;
  const ResetAtEnd reset(scope_name_);
  StatusOr<bool> row = scope_name_.bind(balance).step();
  if (!row.ok()) return row.status();
  std::string name =
      *row ? scope_name(scope_name_.text_at(0), scope_name_.text_at(1), scope_name_.text_at(2))
           : absl::StrCat("balance ", balance);
  if (scope_names_.size() >= kNamesMax) scope_names_.clear();
  scope_names_.emplace(balance, name);
  return name;
}

Status SqliteReader::scopes_of(std::string_view blob, std::vector<std::string>& names) {
  if (!decode_balances(blob, refs_)) return absl::DataLossError("malformed balances in a row");
  for (const BalanceRef& ref : refs_) {
    StatusOr<std::string> name = scope_of(ref.id);
    if (!name.ok()) return name.status();
    names.push_back(*std::move(name));
  }
  return absl::OkStatus();
}

// A grant names the scope itself. Rare, so its statement is not kept.
Status SqliteReader::granted_scope(std::string_view blob, std::vector<std::string>& names) {
  if (!decode_balances(blob, refs_)) return absl::DataLossError("malformed scope in a grant");
  Statement scope;
  if (Status s = scope.prepare(db_, "SELECT kind, key FROM limits WHERE scope_id = ?"); !s.ok()) {
    return s;
  }
  for (const BalanceRef& ref : refs_) {
    const ResetAtEnd reset(scope);
    StatusOr<bool> row = scope.bind(ref.id).step();
    if (!row.ok()) return row.status();
    names.push_back(*row ? scope_name(scope.text_at(0), scope.text_at(1), "")
                         : absl::StrCat("scope ", ref.id));
  }
  return absl::OkStatus();
}

StatusOr<std::shared_ptr<const CallLabels>> SqliteReader::labels_of(std::int64_t id) {
  auto& known = label_objects_[id];
  if (known != nullptr) return known;
  auto labels = std::make_shared<CallLabels>();
  const ResetAtEnd reset(labels_);
  StatusOr<bool> row = labels_.bind(id).step();
  if (!row.ok()) return row.status();
  if (*row) {
    std::string* fields[] = {&labels->provider, &labels->model, &labels->operation, &labels->tenant,
                             &labels->account,  &labels->tags,  &labels->unit};
    for (int i = 0; i < 7; ++i) *fields[i] = labels_.text_at(i);
  }
  known = std::move(labels);
  return known;
}

Status SqliteReader::price_of(std::int64_t id, std::string& out) {
  out.clear();
  if (id == 0) return absl::OkStatus();
  if (const auto it = price_names_.find(id); it != price_names_.end()) {
    out = it->second;
    return absl::OkStatus();
  }
  const ResetAtEnd reset(price_);
  StatusOr<bool> row = price_.bind(id).step();
  if (!row.ok()) return row.status();
  if (*row) out = price_.text_at(0);
  price_names_.emplace(id, out);
  return absl::OkStatus();
}

StatusOr<std::vector<HoldInfo>> SqliteReader::holds() {
  const std::lock_guard<std::mutex> lock(mutex_);
  if (Status s = ensure_open(); !s.ok()) return s;
  const Snapshot snapshot(db_);
  if (!snapshot.status().ok()) return snapshot.status();
  Statement rows;
  Status prepared = rows.prepare(
      db_, "SELECT call_id, amount, in_doubt, since_ns, owner, labels, balances FROM holds");
  if (!prepared.ok()) return prepared;
  std::vector<HoldInfo> out;
  for (;;) {
    StatusOr<bool> row = rows.step();
    if (!row.ok()) return row.status();
    if (!*row) break;
    HoldInfo& hold = out.emplace_back();
    hold.call_id = rows.id_at(0);
    hold.amount = rows.int_at(1);
    hold.in_doubt = rows.int_at(2) != 0;
    hold.since_ns = rows.int_at(3);
    hold.owner = rows.int_at(4);
    if (Status s = name_hold(rows.int_at(5), rows.blob_at(6), hold); !s.ok()) return s;
  }
  Status packed = each_pack([&](HoldPack& pack, std::string_view) {
    for (const PackedHold& row : pack.holds) {
      HoldInfo& hold = out.emplace_back();
      hold.call_id = row.call_id;
      hold.amount = row.amount;
      hold.since_ns = pack.since_ns;
      hold.owner = pack.owner;
      if (Status s = name_hold(row.labels, row.balances, hold); !s.ok()) return s;
    }
    return absl::OkStatus();
  });
  if (!packed.ok()) return packed;
  std::ranges::sort(out, {}, &HoldInfo::call_id);
  return out;
}

Status SqliteReader::name_hold(std::int64_t labels, std::string_view balances, HoldInfo& hold) {
  StatusOr<std::shared_ptr<const CallLabels>> object = labels_of(labels);
  if (!object.ok()) return object.status();
  hold.labels = *std::move(object);
  return scopes_of(balances, hold.scopes);
}

// Inside a read transaction. Archives of before version 4 have no such table.
Status SqliteReader::each_pack(const UsePack& use) {
  StatusOr<std::int64_t> version = pragma_value(db_, "PRAGMA user_version");
  if (!version.ok()) return version.status();
  if (*version < 4) return absl::OkStatus();
  Statement rows;
  if (Status s = rows.prepare(db_, kPacksSql); !s.ok()) return s;
  return store::each_pack(rows, use);
}

StatusOr<std::vector<ScopeInfo>> SqliteReader::scopes() {
  const std::lock_guard<std::mutex> lock(mutex_);
  if (Status s = ensure_open(); !s.ok()) return s;
  Statement rows;
  Status prepared = rows.prepare(
      db_,
      "SELECT l.kind, l.key, b.window,"
      " CASE WHEN c.balance_id IS NULL THEN l.limit_nanousd + l.granted ELSE c.limit_nanousd END,"
      " b.settled, b.held, b.in_doubt, b.blocked, l.unit, l.rolling_ns, b.slot"
      " FROM limits l LEFT JOIN balances b USING (scope_id)"
      " LEFT JOIN closed_limits c ON c.balance_id = b.balance_id"
      " ORDER BY l.kind, l.key, b.slot, b.window");
  if (!prepared.ok()) return prepared;
  std::vector<ScopeInfo> out;
  for (;;) {
    StatusOr<bool> row = rows.step();
    if (!row.ok()) return row.status();
    if (!*row) return out;
    ScopeInfo& info = out.emplace_back();
    info.name = scope_name(rows.text_at(0), rows.text_at(1), rows.text_at(2));
    info.balance = {limit_at(rows, 3), rows.int_at(4), rows.int_at(5), rows.int_at(6),
                    rows.int_at(7) != 0};
    info.unit = rows.text_at(8);
    info.rolling_ns = rows.int_at(9);
    info.slot = rows.null_at(10) ? -1 : rows.int_at(10);
  }
}

}  // namespace sluiceway::store
