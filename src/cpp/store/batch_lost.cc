// Transactions whose commit was answered as failed, and which may be durable after all: see
// batch.h.
#include "store/batch.h"
#include "store/codec.h"

namespace sluiceway::store {

// Commits; where that fails, `rows` are what has to be taken back if they turn out to be there.
Status BatchWriter::end_command(Status so_far, std::span<const EntryRow> rows,
                                std::int64_t scope_id) {
  const bool written = so_far.ok();
  Status status = end(std::move(so_far), "book.before_commit", "book.after_commit");
  if (status.ok() || !written) return status;
  for (const EntryRow& row : rows) {
    Lost& lost = lost_.emplace_back(Lost{.row = row, .scope_id = scope_id});
    if (row.kind == EntryKind::kRefund) lost.balances = row.balances;
    lost.row.balances = lost.row.usage = lost.row.request_id = lost.row.evidence = {};
  }
  return status;
}

// By a row of the opposite amount, since entries are never removed. Its key follows from that of
// the row, so that it is written once: the transaction that it was in may have been lost as well.
Status BatchWriter::take_back(const Lost& lost) {
  StatusOr<bool> there = backend_.has_entry(lost.row);
  if (!there.ok()) return there.status();
  if (!*there) return absl::OkStatus();
  EntryRow row = lost.row;
  row.time_ns = now_ns_;
  row.usage = row.request_id = {};
  row.flags = 0;
  row.evidence = "its commit had been answered as failed";
  if (row.kind == EntryKind::kGrant) {
    const BalanceRef scope_ref[] = {{.id = lost.scope_id}};
    blob_balances_.clear();
    encode_balances(scope_ref, blob_balances_);
    row.balances = blob_balances_;
    row.attempt = 1;
    row.amount = -row.amount;
    StatusOr<bool> inserted = write_entry(row);
    if (!inserted.ok() || !*inserted) return inserted.status();
    if (Status s = backend_.delete_submission("", "", row.call_id); !s.ok()) return s;
    ++epoch_;  // the cached rows carry the limit
    return backend_.add_granted(lost.scope_id, row.amount, false);
  }
  StatusOr<std::optional<CallRow>> call = backend_.find_call(row.call_id);
  if (!call.ok()) return call.status();
  if (!call->has_value()) return absl::OkStatus();
  if (row.kind == EntryKind::kSettle) {
    if (Status s = backend_.delete_submission("", "", row.call_id); !s.ok()) return s;
  }
  if (!lost.key.empty()) {
    if (Status s = backend_.delete_submission("", lost.key, lost.key_id); !s.ok()) return s;
  }
  if (!lost.balances.empty()) {
    row.balances = lost.balances;
    (*call)->balances = lost.balances;
  }
  row.amount = row.kind == EntryKind::kSettle ? row.amount : -row.amount;
  row.kind = EntryKind::kRefund;
  row.attempt = -1 - row.attempt;
  if (row.amount == 0) return absl::OkStatus();
  StatusOr<bool> inserted = write_entry(row);
  if (!inserted.ok() || !*inserted) return inserted.status();
  return add_settled(**call, -row.amount);
}

// A lost transaction may have become durable after all: its reservations were answered
// kUnavailable, so nothing was sent for them.
Status BatchWriter::reconcile() {
  for (const Lost& lost : lost_) {
    if (Status s = take_back(lost); !s.ok()) return s;
  }
  for (const std::int64_t owner : own_owners_) {
    StatusOr<std::vector<HoldRow>> holds = backend_.list_holds(owner);
    if (!holds.ok()) return holds.status();
    for (const HoldRow& hold : *holds) {
      if (open_.contains(hold.call_id)) continue;
      StatusOr<std::optional<OpenCall>> call = readable_hold(hold);
      if (!call.ok()) return call.status();
      if (!call->has_value()) continue;
      EntryRow row;
      row.call_id = hold.call_id;
      row.kind = EntryKind::kVoid;
      if (Status s = end_hold(hold.call_id, **call, row); !s.ok()) return s;
      if (Status s = backend_.delete_submission("", "", hold.call_id); !s.ok()) return s;
    }
  }
  return absl::OkStatus();
}

Status BatchWriter::reconcile_lost() {
  if (!reconcile_due_) return absl::OkStatus();
  return end(begin(), "batch.before_commit", "batch.after_commit");
}

}  // namespace sluiceway::store
