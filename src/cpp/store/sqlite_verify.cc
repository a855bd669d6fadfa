// The replay of a ledger file: see verify.h and sqlite_reader.h.
//
// Model. Entries are replayed in slices, whole calls of one month each, every slice in a short read
// transaction of its own, so that the log can be copied meanwhile. Entries are only ever added, and
// the log of commits names each one that was: at the end, one transaction finds which slices have
// got rows since they were read, replays those again, and reads balances and holds. What is
// compared is thus of one moment. As long as many slices have changed they are replayed again
// before, outside of it: calls are written in the order of their ids, so the last ones change.
// A month that was archived meanwhile begins all of it anew.
//
// Bounds: O(entries), about 0.3 s a million; a slice holds a transaction for some 20 ms, the end
// for at most kLastSlices of them and the balances.
#include <absl/strings/str_cat.h>

#include <algorithm>

#include "store/schema.h"
#include "store/sqlite_reader.h"
#include "store/verify.h"

namespace sluiceway::store {
namespace {

constexpr std::size_t kLastSlices = 4;  // replayed in the transaction that reads the balances
constexpr int kRounds = 64;             // before it, at most
constexpr int kTries = 5;               // months that come or go

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

// What the file says beside its entries.
Status SqliteReader::replay_books(Replay& replay) {
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
  status = each_pack([&](HoldPack& pack, std::string_view rest) {
    for (const PackedHold& hold : pack.holds) replay.add_hold(pack.row_of(hold));
    if (!rest.empty()) {
      replay.problem(absl::StrCat("the pack of holds ", pack.id, " is malformed"));
    }
    return absl::OkStatus();
  });
  if (!status.ok()) return status;
  return replay_balances(replay);
}

// Anchors of rolling scopes come after their slots.
Status SqliteReader::replay_balances(Replay& replay) {
  Status status = for_each(
      db_,
      "SELECT b.balance_id, b.slot, l.kind, l.key, b.window, CASE WHEN c.balance_id IS NULL"
      " THEN l.limit_nanousd + l.granted ELSE c.limit_nanousd END,"
      " b.settled, b.held, b.in_doubt, b.blocked, a.balance_id"
      " FROM balances b JOIN limits l USING (scope_id)"
      " LEFT JOIN closed_limits c ON c.balance_id = b.balance_id"
      " LEFT JOIN balances a ON b.slot >= 0 AND a.scope_id = b.scope_id AND a.slot = -2"
      " ORDER BY b.slot DESC",
      [&](const Statement& row) {
        Replay::Balance balance;
        balance.id = row.int_at(0);
        balance.slot = row.int_at(1);
        balance.anchor = row.int_at(10);
        balance.name = scope_name(row.text_at(2), row.text_at(3), row.text_at(4));
        balance.value = {row.null_at(5) ? kNanousdMax : row.int_at(5), row.int_at(6), row.int_at(7),
                         row.int_at(8), row.int_at(9) != 0};
        replay.add_balance(balance);
      });
  if (!status.ok()) return status;
  return for_each(db_, "SELECT scope_id, kind, key, granted FROM limits",
                  [&](const Statement& row) {
                    replay.add_limit(row.int_at(0), scope_name(row.text_at(1), row.text_at(2), ""),
                                     row.int_at(3));
                  });
}

struct SqliteReader::Slice {
  std::int32_t segment = 0;
  Id after;              // of calls above this one; empty: from the beginning
  std::optional<Id> to;  // up to this one; none: to the end of the month
  std::unique_ptr<Replay> part;
  bool changed = false;
};

struct SqliteReader::Slices {
  std::vector<std::int32_t> months;  // as they were at the start
  std::vector<Slice> list;           // in key order
  std::size_t months_read = 0;
  std::int64_t commit = 0;  // rows of commits up to this one have been seen
};

Status SqliteReader::start_slices(Slices& slices) {
  const std::lock_guard<std::mutex> lock(mutex_);
  if (Status s = ensure_open(); !s.ok()) return s;
  const Snapshot snapshot(db_);
  if (!snapshot.status().ok()) return snapshot.status();
  StatusOr<std::vector<std::int32_t>> list = segments();
  if (!list.ok()) return list.status();
  slices = Slices{};
  slices.months = *std::move(list);
  StatusOr<std::int64_t> commit = pragma_value(db_, "SELECT coalesce(max(seq), 0) FROM commits");
  if (!commit.ok()) return commit.status();
  slices.commit = *commit;
  return absl::OkStatus();
}

// Inside a read transaction. A slice without an end gets one where it has slice_rows rows.
Status SqliteReader::replay_slice(Slice& slice, std::size_t slice_rows) {
  slice.part = std::make_unique<Replay>();
  slice.changed = false;
  Statement rows;
  Status prepared = rows.prepare(
      db_, absl::StrCat("SELECT call_id, attempt, kind, amount, flags, balances FROM ",
                        segment_table(slice.segment), " WHERE call_id > ?1",
                        slice.to ? " AND call_id <= ?2" : "", " ORDER BY call_id, attempt, kind"));
  if (!prepared.ok()) return prepared;
  rows.bind(slice.after);
  if (slice.to) rows.bind(*slice.to);
  Id last;
  for (std::size_t count = 0;; ++count) {
    StatusOr<bool> row = rows.step();
    if (!row.ok()) return row.status();
    if (!*row) break;
    const EntryRow entry = entry_row(rows);
    if (!slice.to && count >= slice_rows && entry.call_id != last) {
      slice.to = last;
      break;
    }
    last = entry.call_id;
    slice.part->add_entry(entry);
  }
  slice.part->end_segment();
  return absl::OkStatus();
}

// False: that was the last one.
StatusOr<bool> SqliteReader::next_slice(Slices& slices, std::size_t slice_rows) {
  const std::lock_guard<std::mutex> lock(mutex_);
  if (Status s = ensure_open(); !s.ok()) return s;
  const bool goes_on = !slices.list.empty() && slices.list.back().to.has_value();
  if (!goes_on && slices.months_read == slices.months.size()) return false;
  Slice& slice = slices.list.emplace_back();
  if (goes_on) {
    const Slice& before = slices.list[slices.list.size() - 2];
    slice.segment = before.segment;
    slice.after = *before.to;
  } else {
    slice.segment = slices.months[slices.months_read++];
  }
  const Snapshot snapshot(db_);
  if (!snapshot.status().ok()) return snapshot.status();
  if (StatusOr<bool> there = has_segment(slice.segment); !there.ok() || !*there) {
    return there.ok() ? absl::AbortedError("a month was archived") : there.status();
  }
  if (Status s = replay_slice(slice, slice_rows); !s.ok()) return s;
  return true;
}

// Inside a read transaction: which slices have got rows since. Aborted: months have come or gone.
StatusOr<std::size_t> SqliteReader::mark_changed(Slices& slices) {
  StatusOr<std::vector<std::int32_t>> list = segments();
  if (!list.ok()) return list.status();
  if (*list != slices.months) return absl::AbortedError("a month has come or gone");
  Statement commits;
  Status prepared =
      commits.prepare(db_, "SELECT seq, time_ns, refs FROM commits WHERE seq > ? ORDER BY seq");
  if (!prepared.ok()) return prepared;
  commits.bind(slices.commit);
  std::vector<EntryRef> refs;
  for (;;) {
    StatusOr<bool> row = commits.step();
    if (!row.ok()) return row.status();
    if (!*row) break;
    refs.clear();
    if (!decode_entry_refs(commits.blob_at(2), segment_of(commits.int_at(1)), refs)) {
      return absl::DataLossError(absl::StrCat("malformed rows of commit ", commits.int_at(0)));
    }
    for (const EntryRef& ref : refs) {
      // The first slice of the month that does not end before it.
      const auto slice = std::ranges::partition_point(slices.list, [&](const Slice& one) {
        if (one.segment != ref.segment) return one.segment < ref.segment;
        return one.to && *one.to < ref.call_id;
      });
      if (slice != slices.list.end()) slice->changed = true;
    }
    slices.commit = commits.int_at(0);
  }
  return static_cast<std::size_t>(std::ranges::count_if(slices.list, &Slice::changed));
}

// Inside a read transaction: the first `count` that have changed.
Status SqliteReader::replay_changed(Slices& slices, std::size_t count) {
  for (Slice& slice : slices.list) {
    if (!slice.changed || count == 0) continue;
    --count;
    if (Status s = replay_slice(slice, SIZE_MAX); !s.ok()) return s;
  }
  return absl::OkStatus();
}

StatusOr<VerifyReport> SqliteReader::finish_slices(Slices& slices) {
  for (int round = 0;; ++round) {
    const std::lock_guard<std::mutex> lock(mutex_);
    if (Status s = ensure_open(); !s.ok()) return s;
    const Snapshot snapshot(db_);
    if (!snapshot.status().ok()) return snapshot.status();
    StatusOr<std::size_t> changed = mark_changed(slices);
    if (!changed.ok()) return changed.status();
    const bool last = *changed <= kLastSlices || round >= kRounds;
    if (Status s = replay_changed(slices, last ? SIZE_MAX : kLastSlices); !s.ok()) return s;
    if (!last) continue;
    Replay whole;
    for (Slice& slice : slices.list) whole.merge(std::move(*slice.part));
    if (Status s = replay_books(whole); !s.ok()) return s;
    return whole.finish();
  }
}

StatusOr<VerifyReport> SqliteReader::verify(std::size_t slice_rows) {
  StatusOr<VerifyReport> report = absl::AbortedError("not yet");
  for (int tries = 0; tries < kTries && absl::IsAborted(report.status()); ++tries) {
    Slices slices;
    Status status = start_slices(slices);
    for (bool more = true; status.ok() && more;) {
      StatusOr<bool> next = next_slice(slices, slice_rows);
      status = next.status();
      more = next.ok() && *next;
    }
    report = status.ok() ? finish_slices(slices) : StatusOr<VerifyReport>(status);
  }
  return report;
}

}  // namespace sluiceway::store
