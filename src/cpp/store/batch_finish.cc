// How holds end: settle, void, doubt, post, shrink. See batch.h.
#include "store/batch.h"
#include "store/codec.h"

namespace sluiceway::store {

StatusOr<bool> BatchWriter::write_entry(const EntryRow& row) {
  StatusOr<bool> inserted = backend_.insert_entry(row);
  if (!inserted.ok() || !*inserted) return inserted;
  ++counted_.rows;
  encode_entry_ref({row.call_id, row.attempt, static_cast<std::uint8_t>(row.kind), row.segment},
                   segment_, commit_refs_);
  return inserted;
}

StatusOr<BatchWriter::OpenCall> BatchWriter::from_hold(const HoldRow& hold) {
  OpenCall call;
  call.amount = hold.amount;
  call.labels = hold.labels;
  call.owner = hold.owner;
  call.segment = hold.segment;
  call.in_doubt = hold.in_doubt;
  std::vector<BalanceRef> refs;
  if (!decode_balances(hold.balances, refs)) {
    return absl::DataLossError(to_absl("malformed balances in the hold " + hold.call_id.text()));
  }
  for (const BalanceRef& ref : refs) {
    StatusOr<RowPtr> row = row_of(ref);
    if (!row.ok()) return row.status();
    call.balances.push_back(*std::move(row));
  }
  return call;
}

// The hold, or nothing where it cannot be read: then it is taken aside, so that it does not stop
// the rest for ever. Its money stays counted in its balances; those that can be told are blocked,
// and verify() reports it.
StatusOr<std::optional<BatchWriter::OpenCall>> BatchWriter::readable_hold(const HoldRow& hold) {
  StatusOr<OpenCall> call = from_hold(hold);
  if (call.ok()) return std::optional<OpenCall>(*std::move(call));
  if (!absl::IsDataLoss(call.status())) return call.status();
  std::vector<BalanceRef> refs;
  (void)decode_balances(hold.balances, refs);
  for (const BalanceRef& ref : refs) {
    StatusOr<RowPtr> row = row_of(ref);
    if (absl::IsDataLoss(row.status())) continue;
    if (!row.ok()) return row.status();
    if (Status s = touch(*row); !s.ok()) return s;
    (*row)->value.blocked = true;
    mark_dirty(*row);
  }
  Status status = backend_.quarantine_hold(hold.call_id, to_std(call.status().message()), now_ns_);
  if (!status.ok()) return status;
  ++counted_.quarantined;
  return std::optional<OpenCall>{};
}

// Takes the call out of memory; undo() puts it back.
void BatchWriter::forget(const Id& id) {
  const auto it = open_.find(id);
  if (it == open_.end()) return;
  undo_.emplace_back(id, std::move(it->second));
  open_.erase(it);
}

Status BatchWriter::apply_finish(const PendingFinish& pending) {
  const Finish& finish = pending.finish;
  ++counted_.finishes;
  OpenCall call;
  if (const auto it = open_.find(finish.call_id); it != open_.end()) {
    call = it->second;
  } else {
    StatusOr<std::optional<HoldRow>> hold = backend_.find_hold(finish.call_id);
    if (!hold.ok()) return hold.status();
    // A job's hold (owner 0) and one in doubt may be ended by any engine, an open one by its own.
    const bool ours = hold->has_value() &&
                      ((*hold)->in_doubt || (*hold)->owner == 0 || (*hold)->owner == pending.owner);
    if (!ours) {
      ++counted_.orphan_finishes;
      return absl::OkStatus();
    }
    StatusOr<std::optional<OpenCall>> read = readable_hold(**hold);
    if (!read.ok()) return read.status();
    if (!read->has_value()) {
      ++counted_.orphan_finishes;
      return absl::OkStatus();
    }
    call = **std::move(read);
  }
  EntryRow row;
  row.call_id = finish.call_id;
  row.attempt = finish.attempts;
  row.kind = finish.kind;
  row.amount = finish.amount;
  row.flags = finish.estimated ? static_cast<std::uint32_t>(kEstimated) : 0u;
  row.latency_ns = finish.latency_ns;
  row.request_id = finish.provider_request_id;
  StatusOr<std::int64_t> price = price_id(finish.price_version);
  if (!price.ok()) return price.status();
  row.price = *price;
  blob_usage_.clear();
  encode_usage(finish.usage, blob_usage_);
  row.usage = blob_usage_;
  switch (finish.kind) {
    case EntryKind::kVoid:
      return end_hold(finish.call_id, call, row);
    case EntryKind::kSettle:
      // A cost below zero is no cost: what was really billed is not known.
      if (finish.amount >= 0) return end_hold(finish.call_id, call, row);
      row.kind = EntryKind::kInDoubt;
      return doubt(finish.call_id, call, row);
    case EntryKind::kInDoubt:
      return doubt(finish.call_id, call, row);
    case EntryKind::kShrink:
      return shrink(finish.call_id, call, row);
    default:
      ++counted_.orphan_finishes;
      return absl::OkStatus();
  }
}

// Settle, void or post in full. `row` has kind, amount and what is known of the end.
Status BatchWriter::end_hold(const Id& id, const OpenCall& call, EntryRow& row) {
  if (row.kind == EntryKind::kVoid) {
    if (call.in_doubt) {  // doubt ends by evidence only (resolve), never by a late void
      ++counted_.orphan_finishes;
      return absl::OkStatus();
    }
    row.amount = 0;
  }
  StatusOr<bool> deleted = backend_.delete_hold(id);
  if (!deleted.ok()) return deleted.status();
  if (*deleted) {
    const bool overrun = row.kind == EntryKind::kSettle && row.amount > call.amount;
    if (overrun) {
      row.flags |= kOverrun;
      ++counted_.overruns;
    }
    row.segment = call.segment;
    row.time_ns = now_ns_;
    row.labels = call.labels;
    StatusOr<bool> inserted = write_entry(row);
    if (!inserted.ok()) return inserted.status();
    if (!*inserted) return absl::DataLossError(to_absl("an open call has an end: " + id.text()));
    ++counted_.rows;  // the hold's
    for (const RowPtr& balance : call.balances) {
      if (Status s = touch(balance); !s.ok()) return s;
      ScopeBalance& value = balance->value;
      (call.in_doubt ? value.in_doubt : value.held) -= call.amount;
      value.settled = saturating_add(value.settled, row.amount);
      value.blocked = value.blocked || overrun;
      mark_dirty(balance);
    }
    if (row.kind == EntryKind::kVoid && !call.idempotency_key.empty()) {
      // Nothing was sent, so the caller may use the key again.
      const std::string_view tenant =
          call.labels_object == nullptr ? std::string_view{} : call.labels_object->tenant;
      if (Status s = backend_.delete_submission(tenant, call.idempotency_key, id); !s.ok()) {
        return s;
      }
    }
  }  // else it was written by a commit that we took for failed
  forget(id);
  return absl::OkStatus();
}

Status BatchWriter::doubt(const Id& id, const OpenCall& call, EntryRow& row) {
  if (call.in_doubt) {
    ++counted_.orphan_finishes;
    return absl::OkStatus();
  }
  HoldRow hold;
  hold.call_id = id;
  hold.amount = call.amount;
  hold.in_doubt = true;
  hold.owner = 0;
  hold.since_ns = now_ns_;
  StatusOr<bool> updated = backend_.update_hold(hold);
  if (!updated.ok()) return updated.status();
  if (*updated) {
    row.kind = EntryKind::kInDoubt;
    row.amount = call.amount;
    row.segment = call.segment;
    row.time_ns = now_ns_;
    row.labels = call.labels;
    StatusOr<bool> inserted = write_entry(row);
    if (!inserted.ok()) return inserted.status();
    // It was written by a commit that we took for failed; the balances were read after it.
    if (!*inserted) {
      forget(id);
      return absl::OkStatus();
    }
    for (const RowPtr& balance : call.balances) {
      if (Status s = touch(balance); !s.ok()) return s;
      balance->value.held -= call.amount;
      balance->value.in_doubt = saturating_add(balance->value.in_doubt, call.amount);
      mark_dirty(balance);
    }
  }
  forget(id);
  return absl::OkStatus();
}

Status BatchWriter::shrink(const Id& id, const OpenCall& call, EntryRow& row) {
  if (call.in_doubt || row.amount < 0 || row.amount >= call.amount) return absl::OkStatus();
  row.segment = call.segment;
  row.time_ns = now_ns_;
  row.labels = call.labels;
  StatusOr<bool> inserted = write_entry(row);
  if (!inserted.ok()) return inserted.status();
  const auto it = open_.find(id);
  if (*inserted) {
    HoldRow hold;
    hold.call_id = id;
    hold.amount = row.amount;
    hold.owner = call.owner;
    hold.since_ns = now_ns_;
    StatusOr<bool> updated = backend_.update_hold(hold);
    if (!updated.ok()) return updated.status();
    for (const RowPtr& balance : call.balances) {
      if (Status s = touch(balance); !s.ok()) return s;
      balance->value.held -= call.amount - row.amount;
      mark_dirty(balance);
    }
    if (it != open_.end()) {
      undo_.emplace_back(id, it->second);
      it->second.amount = row.amount;
    }
  } else if (it != open_.end()) {
    // It was written by a commit that we took for failed, or this attempt has shrunk before: the
    // file knows what is held.
    StatusOr<std::optional<HoldRow>> hold = backend_.find_hold(id);
    if (!hold.ok()) return hold.status();
    if (hold->has_value() && (*hold)->amount != it->second.amount) {
      undo_.emplace_back(id, it->second);
      it->second.amount = (*hold)->amount;
    }
  }
  return absl::OkStatus();
}

Status BatchWriter::doubt_all(std::int64_t owner) {
  StatusOr<std::vector<HoldRow>> holds = backend_.list_holds(owner);
  if (!holds.ok()) return holds.status();
  for (const HoldRow& hold : *holds) {
    StatusOr<std::optional<OpenCall>> call = readable_hold(hold);
    if (!call.ok()) return call.status();
    if (!call->has_value()) continue;
    EntryRow row;
    row.call_id = hold.call_id;
    if (Status s = doubt(hold.call_id, **call, row); !s.ok()) return s;
    ++counted_.recovered;
  }
  return absl::OkStatus();
}

// To all balances that an ended call counts in.
Status BatchWriter::add_settled(const CallRow& call, Nanousd amount) {
  HoldRow hold;
  hold.call_id = call.call_id;
  hold.balances = call.balances;
  StatusOr<OpenCall> open = from_hold(hold);
  if (!open.ok()) return open.status();
  for (const RowPtr& balance : open->balances) {
    if (Status s = touch(balance); !s.ok()) return s;
    balance->value.settled = saturating_add(balance->value.settled, amount);
    mark_dirty(balance);
  }
  return absl::OkStatus();
}

}  // namespace sluiceway::store
