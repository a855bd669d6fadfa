// Bookings, grants and refunds: transactions of their own. See booking.h and batch.h.
#include <absl/strings/str_cat.h>

#include <algorithm>

#include "store/batch.h"
#include "store/codec.h"

namespace sluiceway::store {
namespace {

Nanousd taken(const ScopeBalance& balance) {
  return saturating_add(saturating_add(balance.settled, balance.held), balance.in_doubt);
}

}  // namespace

void CallRow::add(EntryKind kind, std::int32_t attempt, Nanousd amount) {
  last_attempt = std::max(last_attempt, attempt);
  switch (kind) {
    case EntryKind::kSettle:
    case EntryKind::kPostFull:
    case EntryKind::kCorrect:
      costs = true;
      posted = posted || kind == EntryKind::kPostFull;
      posts += kind == EntryKind::kSettle ? 0 : 1;
      cost += amount;
      return;
    case EntryKind::kRefund:
      refunded += amount;
      return;
    case EntryKind::kVoid:
      voided = true;
      return;
    default:
      return;
  }
}

StatusOr<Booked> BatchWriter::book(const Booking& booking) {
  Status status = begin();
  if (!status.ok()) return end(std::move(status), "", "");
  Reservation asked;
  asked.call_id = asked.intent_id = booking.call_id;
  asked.amount = booking.amount;
  asked.scopes = booking.scopes;
  asked.labels = booking.labels;
  asked.idempotency_key = booking.idempotency_key;
  start_batch();
  PendingReserve pending{.reservation = std::move(asked), .client = nullptr, .owner = 0};
  Verdict verdict;
  StatusOr<Prepared> prepared = prepare(pending, verdict);
  if (!prepared.ok()) return end(prepared.status(), "", "");
  if (*prepared != Prepared::kDecide && verdict.kind != Verdict::kDuplicate) {
    return refuse(std::move(verdict.error));
  }
  if (status = add_scopes(pending.reservation); !status.ok()) return end(std::move(status), "", "");
  Booked out;
  out.call_id = booking.call_id;
  if (verdict.kind == Verdict::kDuplicate) {
    out.call_id = verdict.earlier_call;
    out.admitted = out.duplicate = true;
    describe(0, out);
    (void)refuse(absl::OkStatus());
    return out;
  }
  sums_before_ = sums_;
  items_.push_back({.amount = booking.amount,
                    .first_index = 0,
                    .index_count = static_cast<std::uint32_t>(indices_.size())});
  results_.assign(1, AdmissionResult{});
  admit_(sums_, indices_, items_, results_);
  sums_ = sums_before_;
  const bool fits = results_[0].verdict == AdmissionVerdict::kAdmitted;
  if (!fits && !booking.force) {
    out.blocked = results_[0].verdict == AdmissionVerdict::kBlocked;
    describe(results_[0].scope, out);
    (void)refuse(absl::OkStatus());
    return out;
  }
  out.admitted = true;
  EntryRow row;
  status = write_booking(booking, out, row);
  if (absl::IsFailedPrecondition(status)) return refuse(std::move(status));
  if (status = end_command(std::move(status), row); !status.ok()) return status;
  ++stats_.admitted;
  publish_hints();
  describe(0, out);
  return out;
}

// The two entries, and the balances. What a forced booking holds is what the tightest scope has
// room for, so that the overrun explains exactly what is above a limit.
Status BatchWriter::write_booking(const Booking& booking, Booked& out, EntryRow& row) {
  Nanousd hold = booking.amount;
  std::vector<RowPtr> rows;
  refs_.clear();
  for (std::size_t i = 0; i < batch_scopes_.size(); ++i) {
    ScopeBalance& sum = sums_[i];
    if (sum.limit != kNanousdMax) {
      hold = std::min(hold, std::max<Nanousd>(sum.limit - taken(sum), 0));
    }
    rows.push_back(batch_scopes_[i]->state().current);
    const BalanceRow& counted = *rows.back();
    refs_.push_back(counted.anchor == 0 ? BalanceRef{counted.id}
                                        : BalanceRef{counted.anchor, counted.slot});
  }
  out.overrun = hold < booking.amount;
  StatusOr<std::int64_t> labels = labels_id(booking.labels);
  if (!labels.ok()) return labels.status();
  blob_balances_.clear();
  encode_balances(refs_, blob_balances_);
  blob_usage_.clear();
  encode_usage(booking.usage, blob_usage_);
  row.call_id = row.intent_id = booking.call_id;
  row.segment = segment_;
  row.time_ns = now_ns_;
  row.amount = hold;
  row.labels = *labels;
  row.balances = blob_balances_;
  StatusOr<bool> inserted = write_entry(row);
  if (!inserted.ok()) return inserted.status();
  if (!*inserted) {
    return absl::FailedPreconditionError(
        to_absl("the id " + booking.call_id.text() + " has been used by another call"));
  }
  row.attempt = 1;
  row.kind = EntryKind::kSettle;
  row.amount = booking.amount;
  row.flags = out.overrun ? static_cast<std::uint32_t>(kOverrun) : 0u;
  row.intent_id = Id{};
  row.balances = {};
  row.usage = blob_usage_;
  row.evidence = booking.evidence;
  inserted = write_entry(row);
  if (!inserted.ok()) return inserted.status();
  if (!*inserted) return absl::DataLossError("a booking has an end before its reservation");
  if (out.overrun) ++counted_.overruns;
  for (std::size_t i = 0; i < rows.size(); ++i) {
    ScopeBalance& value = rows[i]->value;
    ScopeBalance& sum = sums_[i];
    value.settled = saturating_add(value.settled, booking.amount);
    sum.settled = saturating_add(sum.settled, booking.amount);
    if (sum.limit != kNanousdMax && taken(sum) > sum.limit) value.blocked = sum.blocked = true;
    mark_dirty(rows[i]);
  }
  if (booking.idempotency_key.empty()) return absl::OkStatus();
  return backend_.insert_submission(
      booking.labels == nullptr ? std::string_view{} : booking.labels->tenant,
      booking.idempotency_key, {.intent_id = booking.call_id, .call_id = booking.call_id}, now_ns_);
}

void BatchWriter::describe(std::size_t index, Booked& out) {
  if (index >= batch_scopes_.size()) return;
  Scope& scope = *batch_scopes_[index];
  out.scope = scope_name(scope.config().kind, scope.config().key, scope.state().current->window);
  out.balance = sums_[index];
}

StatusOr<Nanousd> BatchWriter::grant(const Id& id, Scope& scope, Nanousd amount,
                                     std::string_view evidence, std::string_view idempotency_key) {
  if (amount == 0) return invalid_argument("a grant is not 0");
  Status status = begin();
  if (status.ok()) status = resolve_scope(scope);
  StatusOr<ScopeBalance> sum = ScopeBalance{};
  if (status.ok()) {
    sum = sum_scope(scope);
    status = sum.status();
  }
  if (!status.ok()) return end(std::move(status), "", "");
  if (sum->limit == kNanousdMax) {
    return refuse(absl::FailedPreconditionError(
        absl::StrCat("scope ", scope.name(), " has no limit that a grant could change")));
  }
  if (!idempotency_key.empty()) {
    StatusOr<std::optional<Submission>> earlier = backend_.find_submission("", idempotency_key);
    if (!earlier.ok()) return end(earlier.status(), "", "");
    if (earlier->has_value()) {  // it has happened already
      (void)refuse(absl::OkStatus());
      return sum->limit;
    }
  }
  const Nanousd limit = saturating_add(sum->limit, amount);
  if (limit == kNanousdMax) return refuse(invalid_argument("the limit would be out of range"));
  if (amount < 0 && limit < std::max<Nanousd>(taken(*sum), 0)) {
    return refuse(
        absl::FailedPreconditionError(absl::StrCat("scope ", scope.name(), " cannot be lowered to ",
                                                   limit, ": ", taken(*sum), " is used or held")));
  }
  StatusOr<std::int64_t> labels = backend_.intern_labels(CallLabels{.unit = scope.config().unit});
  status = labels.status();
  const BalanceRef scope_ref[] = {{.id = scope.id()}};
  blob_balances_.clear();
  encode_balances(scope_ref, blob_balances_);
  EntryRow row;
  row.call_id = id;
  row.kind = EntryKind::kGrant;
  row.segment = segment_;
  row.time_ns = now_ns_;
  row.amount = amount;
  row.labels = labels.ok() ? *labels : 0;
  row.balances = blob_balances_;
  row.evidence = evidence;
  if (status.ok()) {
    StatusOr<bool> inserted = write_entry(row);
    status = inserted.status();
    if (inserted.ok() && !*inserted) {
      return refuse(absl::FailedPreconditionError("the grant's id has been used before"));
    }
  }
  if (status.ok() && !idempotency_key.empty()) {
    status =
        backend_.insert_submission("", idempotency_key, {.intent_id = id, .call_id = id}, now_ns_);
  }
  if (status.ok()) {
    const std::string window = window_key(scope.config().period, now_ns_, scope.zone());
    status = backend_.close_limits(scope.id(), window, sum->limit);
  }
  const bool unblock = amount > 0 && taken(*sum) <= limit;
  if (status.ok()) status = backend_.add_granted(scope.id(), amount, unblock);
  if (status = end_command(std::move(status), row, scope.id()); !status.ok()) return status;
  ++epoch_;  // the cached rows carry the old limit
  scope.store_hint(limit, sum->settled, sum->held, sum->in_doubt, sum->blocked && !unblock, 0);
  return limit;
}

StatusOr<Nanousd> BatchWriter::refund(const Id& id, Nanousd amount, std::string_view evidence) {
  if (amount <= 0) return invalid_argument("a refund is more than 0");
  Status status = begin();
  if (!status.ok()) return end(std::move(status), "", "");
  StatusOr<std::optional<CallRow>> found = backend_.find_call(id);
  if (!found.ok()) return end(found.status(), "", "");
  if (!found->has_value()) {
    return refuse(absl::NotFoundError(to_absl("no call " + id.text() + " in this ledger")));
  }
  const CallRow& call = **found;
  if (!call.costs) {
    return refuse(absl::FailedPreconditionError(
        to_absl("the call " + id.text() + " has not cost anything; nothing can be refunded")));
  }
  const Nanousd left = call.cost - call.refunded;
  if (amount > left) {
    return refuse(absl::FailedPreconditionError(
        absl::StrCat("the call ", id.text(), " costs ", left, "; more cannot be refunded")));
  }
  EntryRow row;
  row.call_id = id;
  row.attempt = call.last_attempt + 1;  // behind the call's other rows, in the order of refunds
  row.kind = EntryKind::kRefund;
  row.segment = call.segment;
  row.time_ns = now_ns_;
  row.amount = amount;
  row.labels = call.labels;
  row.evidence = evidence;
  StatusOr<bool> inserted = write_entry(row);
  status = inserted.status();
  if (status.ok() && !*inserted) status = absl::DataLossError("a refund is there twice");
  if (status.ok()) status = add_settled(call, -amount);
  if (status = end_command(std::move(status), row); !status.ok()) return status;
  return left - amount;
}

// Commits; where that fails, `row` is what has to be taken back if it turns out to be there.
Status BatchWriter::end_command(Status so_far, const EntryRow& row, std::int64_t scope_id) {
  const bool written = so_far.ok();
  Status status = end(std::move(so_far), "book.before_commit", "book.after_commit");
  if (status.ok() || !written) return status;
  Lost& lost = lost_.emplace_back(Lost{.row = row, .scope_id = scope_id});
  lost.row.balances = lost.row.usage = lost.row.request_id = lost.row.evidence = {};
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
    ++epoch_;  // the cached rows carry the limit
    return backend_.add_granted(lost.scope_id, row.amount, false);
  }
  StatusOr<std::optional<CallRow>> call = backend_.find_call(row.call_id);
  if (!call.ok()) return call.status();
  if (!call->has_value()) return absl::OkStatus();
  if (row.kind == EntryKind::kSettle) {
    if (Status s = backend_.delete_submission("", "", row.call_id); !s.ok()) return s;
  }
  row.amount = row.kind == EntryKind::kSettle ? row.amount : -row.amount;
  row.kind = EntryKind::kRefund;
  row.attempt = -1 - row.attempt;
  if (row.amount == 0) return absl::OkStatus();
  StatusOr<bool> inserted = write_entry(row);
  if (!inserted.ok() || !*inserted) return inserted.status();
  return add_settled(**call, -row.amount);
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
