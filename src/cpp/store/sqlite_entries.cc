// Entries read back, in key order or in the order of their commits: see sqlite_reader.h.
#include <absl/strings/str_cat.h>

#include <algorithm>

#include "store/schema.h"
#include "store/sqlite_reader.h"

namespace sluiceway::store {
namespace {

// The lean ones first: a statement selects these, or all.
constexpr char kLeanColumns[] =
    "call_id, attempt, kind, time_ns, amount, labels, flags, latency_ns, usage";
constexpr char kOtherColumns[] = ", price, intent_id, balances, request_id, evidence";

}  // namespace

Entry& SqliteReader::Batch::next() {
  if (count == rows.size()) rows.emplace_back();
  return rows[count++];
}

// `entry` may hold another row's values.
Status SqliteReader::fill_entry(Statement& row, bool lean, Entry& entry) {
  entry.call_id = row.id_at(0);
  entry.attempt = static_cast<std::int32_t>(row.int_at(1));
  entry.kind = static_cast<EntryKind>(row.int_at(2));
  entry.time_ns = row.int_at(3);
  entry.amount = row.int_at(4);
  const std::int64_t label_id = row.int_at(5);
  if (entry.labels == nullptr || entry.label_id != label_id) {
    StatusOr<std::shared_ptr<const CallLabels>> labels = labels_of(label_id);
    if (!labels.ok()) return labels.status();
    entry.labels = *std::move(labels);
    entry.label_id = label_id;
  }
  const auto flags = static_cast<std::uint32_t>(row.int_at(6));
  entry.estimated = (flags & kEstimated) != 0;
  entry.overrun = (flags & kOverrun) != 0;
  entry.latency_ns = row.int_at(7);
  if (!decode_usage(row.blob_at(8), entry.usage)) {
    return absl::DataLossError(to_absl("malformed usage of call " + entry.call_id.text()));
  }
  if (lean) return absl::OkStatus();
  if (Status s = price_of(row.int_at(9), entry.price_version); !s.ok()) return s;
  entry.intent_id = row.id_at(10);
  entry.provider_request_id = row.text_at(12);
  entry.evidence = row.text_at(13);
  entry.scopes.clear();
  const std::string_view balances = row.blob_at(11);
  if (balances.empty()) return absl::OkStatus();
  if (is_of_scope(entry.kind)) return granted_scope(balances, entry.scopes);
  return scopes_of(balances, entry.scopes);
}

// The numbers of scopes, and of all their windows.
StatusOr<SqliteReader::ScopeFilter> SqliteReader::filter_of(std::span<const std::string> scopes) {
  ScopeFilter filter;
  Statement rows;
  Status prepared = rows.prepare(db_,
                                 "SELECT l.scope_id, b.balance_id FROM limits l"
                                 " LEFT JOIN balances b USING (scope_id)"
                                 " WHERE l.kind = ? AND l.key = ?");
  if (!prepared.ok()) return prepared;
  for (const std::string& name : scopes) {
    const std::size_t colon = std::min(name.find(':'), name.size());
    const ResetAtEnd reset(rows);
    rows.bind(std::string_view(name).substr(0, colon));
    rows.bind(std::string_view(name).substr(std::min(colon + 1, name.size())));
    for (;;) {
      StatusOr<bool> row = rows.step();
      if (!row.ok()) return row.status();
      if (!*row) break;
      filter.scopes.insert(rows.int_at(0));
      if (!rows.null_at(1)) filter.balances.insert(rows.int_at(1));
    }
  }
  return filter;
}

// Rows of a call come one after the other, its reservation first, but for what took back a command
// whose commit had been answered as failed: that has an attempt below zero.
StatusOr<bool> SqliteReader::is_wanted(const Statement& row, std::int32_t segment,
                                       ScopeFilter& filter) {
  const Id call = row.id_at(0);
  if (call == filter.matched) return true;
  const auto kind = static_cast<EntryKind>(row.int_at(2));
  const auto& wanted = is_of_scope(kind) ? filter.scopes : filter.balances;
  std::string balances;
  if (kind == EntryKind::kReserve || is_of_scope(kind)) {
    balances = row.blob_at(11);
  } else if (row.int_at(1) < 0) {
    Statement reserved;
    Status prepared =
        reserved.prepare(db_, absl::StrCat("SELECT balances FROM ", segment_table(segment),
                                           " WHERE call_id = ? AND attempt = 0 AND kind = 0"));
    if (!prepared.ok()) return prepared;
    StatusOr<bool> found = reserved.bind(call).step();
    if (!found.ok()) return found;
    if (*found) balances = reserved.blob_at(0);
  }
  if (balances.empty()) return false;
  if (!decode_balances(balances, refs_)) return absl::DataLossError("malformed balances in a row");
  for (const BalanceRef& ref : refs_) {
    if (!wanted.contains(ref.id)) continue;
    filter.matched = call;
    return true;
  }
  return false;
}

// One read transaction: the next bounds.batch rows of a segment. False: the segment is at its end.
StatusOr<bool> SqliteReader::batch_of(std::int32_t segment, const EntryBounds& bounds,
                                      ScopeFilter* filter, Cursor& cursor, Batch& out) {
  const std::lock_guard<std::mutex> lock(mutex_);
  if (Status s = ensure_open(); !s.ok()) return s;
  const Snapshot snapshot(db_);
  if (!snapshot.status().ok()) return snapshot.status();
  // It may have been archived between two batches: then its rows are in the archive.
  StatusOr<bool> there = has_segment(segment);
  if (!there.ok() || !*there) return there;
  Statement rows;
  const bool lean = bounds.lean && filter == nullptr;
  std::string where = bounds.call.empty() ? "" : " WHERE call_id = ?";
  if (cursor.started) {
    where += where.empty() ? " WHERE" : " AND";
    where += " (call_id, attempt, kind) > (?, ?, ?)";
  }
  Status prepared =
      rows.prepare(db_, absl::StrCat("SELECT ", kLeanColumns, lean ? "" : kOtherColumns, " FROM ",
                                     segment_table(segment), where,
                                     " ORDER BY call_id, attempt, kind LIMIT ", bounds.batch));
  if (!prepared.ok()) return prepared;
  if (!bounds.call.empty()) rows.bind(bounds.call);
  if (cursor.started) rows.bind(cursor.call).bind(cursor.attempt).bind(cursor.kind);
  std::size_t seen = 0;
  for (;; ++seen) {
    StatusOr<bool> row = rows.step();
    if (!row.ok()) return row.status();
    if (!*row) break;
    if (seen + 1 == bounds.batch) {
      cursor = {rows.id_at(0), rows.int_at(1), rows.int_at(2), true};
    }
    const std::int64_t time_ns = rows.int_at(3);
    if (filter != nullptr) {
      StatusOr<bool> wanted = is_wanted(rows, segment, *filter);
      if (!wanted.ok()) return wanted.status();
      if (!*wanted) continue;
    }
    if (time_ns < bounds.from_ns || time_ns >= bounds.to_ns) continue;
    if (Status s = fill_entry(rows, lean, out.next()); !s.ok()) return s;
  }
  return seen == bounds.batch;
}

// Whether the months that were to be read here are here still.
Status SqliteReader::check_here(const std::vector<std::int32_t>& months) {
  const std::lock_guard<std::mutex> lock(mutex_);
  if (Status s = ensure_open(); !s.ok()) return s;
  StatusOr<std::vector<std::int32_t>> now = segments();
  if (!now.ok()) return now.status();
  if (std::includes(now->begin(), now->end(), months.begin(), months.end())) {
    return absl::OkStatus();
  }
  return absl::AbortedError("a month was archived while the ledger was read; read it again");
}

StatusOr<std::vector<std::int32_t>> SqliteReader::months() {
  const std::lock_guard<std::mutex> lock(mutex_);
  if (Status s = ensure_open(); !s.ok()) return s;
  return segments();
}

Status SqliteReader::entries(const EntryBounds& bounds,
                             const std::function<bool(std::span<const Entry>)>& batch,
                             std::span<const std::int32_t> elsewhere) {
  if (bounds.batch == 0) return invalid_argument("a batch has at least one row");
  std::vector<std::int32_t> list;
  std::optional<ScopeFilter> filter;
  {
    const std::lock_guard<std::mutex> lock(mutex_);
    if (Status s = ensure_open(); !s.ok()) return s;
    StatusOr<std::vector<std::int32_t>> found = segments();
    if (!found.ok()) return found.status();
    list = *std::move(found);
    if (!bounds.scopes.empty()) {
      StatusOr<ScopeFilter> made = filter_of(bounds.scopes);
      if (!made.ok()) return made.status();
      filter = *std::move(made);
    }
  }
  bool wants_more = true;
  const auto hand_over = [&](std::span<const Entry> entries) {
    return wants_more = batch(entries);
  };
  if (Status s = read_archives(bounds, hand_over, list); !s.ok()) return s;
  if (!wants_more) return absl::OkStatus();
  Batch rows;
  for (const std::int32_t segment : list) {
    if (std::find(elsewhere.begin(), elsewhere.end(), segment) != elsewhere.end()) continue;
    // A call's rows lie in the month of its reservation, so only later months can be left out.
    if (bounds.to_ns != INT64_MAX && segment > segment_of(bounds.to_ns)) break;
    Cursor cursor;
    for (bool more = true; more;) {
      rows.count = 0;
      StatusOr<bool> next = batch_of(segment, bounds, filter ? &*filter : nullptr, cursor, rows);
      if (!next.ok()) return next.status();
      more = *next;
      if (rows.count > 0 && !hand_over({rows.rows.data(), rows.count})) return absl::OkStatus();
    }
  }
  return bounds.archives.empty() ? absl::OkStatus() : check_here(list);
}

StatusOr<Changes> SqliteReader::changes(std::int64_t after, std::size_t limit) {
  const std::lock_guard<std::mutex> lock(mutex_);
  if (Status s = ensure_open(); !s.ok()) return s;
  const Snapshot snapshot(db_);
  if (!snapshot.status().ok()) return snapshot.status();
  Statement commits;
  Status prepared =
      commits.prepare(db_, "SELECT seq, time_ns, refs FROM commits WHERE seq > ? ORDER BY seq");
  if (!prepared.ok()) return prepared;
  commits.bind(after);
  Changes out;
  out.next = after;
  std::vector<EntryRef> refs;
  while (out.entries.size() < limit) {
    StatusOr<bool> row = commits.step();
    if (!row.ok()) return row.status();
    if (!*row) break;
    refs.clear();
    if (!decode_entry_refs(commits.blob_at(2), segment_of(commits.int_at(1)), refs)) {
      return absl::DataLossError(absl::StrCat("malformed rows of commit ", commits.int_at(0)));
    }
    for (const EntryRef& ref : refs) {
      if (StatusOr<bool> added = add_changed(ref, out.entries); !added.ok()) return added.status();
    }
    out.next = commits.int_at(0);
  }
  return out;
}

// False: the month has been archived.
StatusOr<bool> SqliteReader::add_changed(const EntryRef& ref, std::vector<Entry>& out) {
  StatusOr<bool> there = has_segment(ref.segment);
  if (!there.ok() || !*there) return there;
  Statement& kept = entry_by_key_[ref.segment];
  if (!kept.prepared()) {
    Status prepared =
        kept.prepare(db_, absl::StrCat("SELECT ", kLeanColumns, kOtherColumns, " FROM ",
                                       segment_table(ref.segment),
                                       " WHERE call_id = ? AND attempt = ? AND kind = ?"));
    if (!prepared.ok()) return prepared;
  }
  const ResetAtEnd end(kept);
  StatusOr<bool> row = kept.bind(ref.call_id).bind(ref.attempt).bind(ref.kind).step();
  if (!row.ok()) return row;
  if (!*row) {
    return absl::DataLossError(
        to_absl("a commit names a row that is not there, of call " + ref.call_id.text()));
  }
  if (Status s = fill_entry(kept, false, out.emplace_back()); !s.ok()) return s;
  return true;
}

}  // namespace sluiceway::store
