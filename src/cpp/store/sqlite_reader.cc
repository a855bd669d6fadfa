// Reports from the file: see sqlite_reader.h.
#include "store/sqlite_reader.h"

#include <absl/strings/str_cat.h>

#include "store/codec.h"
#include "store/schema.h"
#include "store/verify.h"

namespace sluiceway::store {
namespace {

constexpr std::size_t kNamesMax = 100'000;  // remembered names; beyond, forgotten and read again
constexpr char kEntryColumns[] =
    "call_id, attempt, kind, time_ns, amount, labels, price, flags, latency_ns, intent_id,"
    " balances, usage, request_id, evidence";

Nanousd limit_at(const Statement& row, int column) {
  return row.null_at(column) ? kNanousdMax : row.int_at(column);
}

EntryRow entry_row(const Statement& row) {
  EntryRow entry;
  entry.call_id = row.id_at(0);
  entry.attempt = static_cast<std::int32_t>(row.int_at(1));
  entry.kind = static_cast<EntryKind>(row.int_at(2));
  entry.amount = row.int_at(4);
  entry.flags = static_cast<std::uint32_t>(row.int_at(7));
  entry.balances = row.blob_at(10);
  return entry;
}

// All reads of a report inside see one state of the file.
class Snapshot {
 public:
  explicit Snapshot(Connection& db) : db_(db), status_(db.exec("BEGIN")) {}
  ~Snapshot() {
    if (status_.ok()) (void)db_.exec("COMMIT");
  }
  Snapshot(const Snapshot&) = delete;
  Snapshot& operator=(const Snapshot&) = delete;
  const Status& status() const { return status_; }

 private:
  Connection& db_;
  Status status_;
};

}  // namespace

Status SqliteReader::ensure_open() {
  if (db_.is_open()) return absl::OkStatus();
  if (Status s = db_.open(path_, true); !s.ok()) return s;
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
      {&clock_, "SELECT ledger_ns, anchor_ledger_ns, anchor_boot_ns, boot_id FROM clock"}};
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
  if (Status s = limit.prepare(db_, "SELECT limit_nanousd FROM limits WHERE scope_id = ?");
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
  std::vector<std::int64_t> ids;
  if (!decode_balances(blob, ids)) return absl::DataLossError("malformed balances in a row");
  for (const std::int64_t id : ids) {
    StatusOr<std::string> name = scope_of(id);
    if (!name.ok()) return name.status();
    names.push_back(*std::move(name));
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

StatusOr<std::string> SqliteReader::price_of(std::int64_t id) {
  if (id == 0) return std::string();
  if (const auto it = price_names_.find(id); it != price_names_.end()) return it->second;
  const ResetAtEnd reset(price_);
  StatusOr<bool> row = price_.bind(id).step();
  if (!row.ok()) return row.status();
  std::string text(*row ? price_.text_at(0) : std::string_view{});
  price_names_.emplace(id, text);
  return text;
}

Status SqliteReader::fill_entry(Statement& row, Entry& entry) {
  entry.call_id = row.id_at(0);
  entry.attempt = static_cast<std::int32_t>(row.int_at(1));
  entry.kind = static_cast<EntryKind>(row.int_at(2));
  entry.time_ns = row.int_at(3);
  entry.amount = row.int_at(4);
  StatusOr<std::shared_ptr<const CallLabels>> labels = labels_of(row.int_at(5));
  if (!labels.ok()) return labels.status();
  entry.labels = *std::move(labels);
  StatusOr<std::string> price = price_of(row.int_at(6));
  if (!price.ok()) return price.status();
  entry.price_version = *std::move(price);
  const auto flags = static_cast<std::uint32_t>(row.int_at(7));
  entry.estimated = (flags & kEstimated) != 0;
  entry.overrun = (flags & kOverrun) != 0;
  entry.latency_ns = row.int_at(8);
  entry.intent_id = row.id_at(9);
  if (!decode_usage(row.blob_at(11), entry.usage)) {
    return absl::DataLossError(to_absl("malformed usage of call " + entry.call_id.text()));
  }
  entry.provider_request_id = row.text_at(12);
  entry.evidence = row.text_at(13);
  return scopes_of(row.blob_at(10), entry.scopes);
}

// One read transaction: the next bounds.batch rows of a segment. False: the segment is at its end.
StatusOr<bool> SqliteReader::batch_of(std::int32_t segment, const EntryBounds& bounds,
                                      Cursor& cursor, std::vector<Entry>& out) {
  const std::lock_guard<std::mutex> lock(mutex_);
  if (Status s = ensure_open(); !s.ok()) return s;
  const Snapshot snapshot(db_);
  if (!snapshot.status().ok()) return snapshot.status();
  Statement rows;
  Status prepared = rows.prepare(
      db_, absl::StrCat("SELECT ", kEntryColumns, " FROM ", segment_table(segment),
                        cursor.started ? " WHERE (call_id, attempt, kind) > (?, ?, ?)" : "",
                        " ORDER BY call_id, attempt, kind LIMIT ", bounds.batch));
  if (!prepared.ok()) return prepared;
  if (cursor.started) rows.bind(cursor.call).bind(cursor.attempt).bind(cursor.kind);
  std::size_t seen = 0;
  for (;; ++seen) {
    StatusOr<bool> row = rows.step();
    if (!row.ok()) return row.status();
    if (!*row) break;
    cursor = {rows.id_at(0), rows.int_at(1), rows.int_at(2), true};
    const std::int64_t time_ns = rows.int_at(3);
    if (time_ns < bounds.from_ns || time_ns >= bounds.to_ns) continue;
    if (Status s = fill_entry(rows, out.emplace_back()); !s.ok()) return s;
  }
  return seen == bounds.batch;
}

Status SqliteReader::entries(const EntryBounds& bounds,
                             const std::function<bool(std::span<const Entry>)>& batch) {
  if (bounds.batch == 0) return invalid_argument("a batch has at least one row");
  std::vector<std::int32_t> list;
  {
    const std::lock_guard<std::mutex> lock(mutex_);
    if (Status s = ensure_open(); !s.ok()) return s;
    StatusOr<std::vector<std::int32_t>> found = segments();
    if (!found.ok()) return found.status();
    list = *std::move(found);
  }
  std::vector<Entry> rows;
  for (const std::int32_t segment : list) {
    // A call's rows lie in the month of its reservation, so only later months can be left out.
    if (bounds.to_ns != INT64_MAX && segment > segment_of(bounds.to_ns)) break;
    Cursor cursor;
    for (bool more = true; more;) {
      rows.clear();
      StatusOr<bool> next = batch_of(segment, bounds, cursor, rows);
      if (!next.ok()) return next.status();
      more = *next;
      if (!rows.empty() && !batch(rows)) return absl::OkStatus();
    }
  }
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
    if (!*row) return out;
    HoldInfo& hold = out.emplace_back();
    hold.call_id = rows.id_at(0);
    hold.amount = rows.int_at(1);
    hold.in_doubt = rows.int_at(2) != 0;
    hold.since_ns = rows.int_at(3);
    hold.owner = rows.int_at(4);
    StatusOr<std::shared_ptr<const CallLabels>> labels = labels_of(rows.int_at(5));
    if (!labels.ok()) return labels.status();
    hold.labels = *std::move(labels);
    if (Status s = scopes_of(rows.blob_at(6), hold.scopes); !s.ok()) return s;
  }
}

StatusOr<std::vector<ScopeInfo>> SqliteReader::scopes() {
  const std::lock_guard<std::mutex> lock(mutex_);
  if (Status s = ensure_open(); !s.ok()) return s;
  Statement rows;
  Status prepared = rows.prepare(
      db_,
      "SELECT l.kind, l.key, b.window, l.limit_nanousd, b.settled, b.held, b.in_doubt, b.blocked,"
      " l.unit FROM limits l LEFT JOIN balances b USING (scope_id) ORDER BY l.kind, l.key, b.slot,"
      " b.window");
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
  }
}

Status SqliteReader::replay(Replay& replay) {
  Statement rows;
  if (Status s = rows.prepare(db_, "SELECT balance_id, settled FROM archived"); !s.ok()) return s;
  for (;;) {
    StatusOr<bool> row = rows.step();
    if (!row.ok()) return row.status();
    if (!*row) break;
    replay.add_archived(rows.int_at(0), rows.int_at(1));
  }
  if (Status s = rows.prepare(db_, "SELECT call_id, amount, in_doubt, balances FROM holds");
      !s.ok()) {
    return s;
  }
  for (;;) {
    StatusOr<bool> row = rows.step();
    if (!row.ok()) return row.status();
    if (!*row) break;
    HoldRow hold;
    hold.call_id = rows.id_at(0);
    hold.amount = rows.int_at(1);
    hold.in_doubt = rows.int_at(2) != 0;
    hold.balances = rows.blob_at(3);
    replay.add_hold(hold);
  }
  StatusOr<std::vector<std::int32_t>> list = segments();
  if (!list.ok()) return list.status();
  for (const std::int32_t segment : *list) {
    Status prepared =
        rows.prepare(db_, absl::StrCat("SELECT ", kEntryColumns, " FROM ", segment_table(segment),
                                       " ORDER BY call_id, attempt, kind"));
    if (!prepared.ok()) return prepared;
    for (;;) {
      StatusOr<bool> row = rows.step();
      if (!row.ok()) return row.status();
      if (!*row) break;
      replay.add_entry(entry_row(rows));
    }
    replay.end_segment();
  }
  Status prepared = rows.prepare(
      db_,
      "SELECT b.balance_id, l.kind, l.key, b.window, b.slot, l.limit_nanousd, b.settled, b.held,"
      " b.in_doubt, b.blocked FROM balances b JOIN limits l USING (scope_id)");
  if (!prepared.ok()) return prepared;
  for (;;) {
    StatusOr<bool> row = rows.step();
    if (!row.ok()) return row.status();
    if (!*row) return absl::OkStatus();
    // A rolling scope's limit is for its slots together.
    const Nanousd limit = rows.int_at(4) >= 0 ? kNanousdMax : limit_at(rows, 5);
    replay.add_balance(
        rows.int_at(0), scope_name(rows.text_at(1), rows.text_at(2), rows.text_at(3)),
        {limit, rows.int_at(6), rows.int_at(7), rows.int_at(8), rows.int_at(9) != 0});
  }
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
