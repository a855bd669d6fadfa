// Bookings: see booking.h and batch.h.
#include <algorithm>

#include "store/batch.h"
#include "store/codec.h"

namespace sluiceway::store {

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
    case EntryKind::kGrant:
      granted += amount;
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
  if (booking.allowance != nullptr) asked.scopes.push_back(booking.allowance);  // read last
  start_batch();
  PendingReserve pending{.reservation = std::move(asked), .client = nullptr, .owner = 0};
  Verdict verdict;
  StatusOr<Prepared> prepared = prepare(pending, verdict);
  if (!prepared.ok()) return end(prepared.status(), "", "");
  if (*prepared != Prepared::kDecide && verdict.kind != Verdict::kDuplicate) {
    return refuse(std::move(verdict.error));
  }
  if (status = add_scopes(pending.reservation); !status.ok()) return end(std::move(status), "", "");
  if (verdict.kind == Verdict::kDuplicate) {
    StatusOr<Booked> earlier = recall(booking, verdict.earlier_call);
    if (!earlier.ok()) return end(earlier.status(), "", "");
    describe(0, *earlier);
    (void)refuse(absl::OkStatus());
    return earlier;
  }
  const bool split = booking.allowance != nullptr;
  const std::size_t named = batch_scopes_.size() - (split ? 1 : 0);
  if (split && batch_scopes_.back() != booking.allowance.get()) {
    return refuse(invalid_argument("the allowance is one of the booking's scopes"));
  }
  Nanousd allowed = 0;
  if (split && !sums_.back().blocked) {
    const ScopeBalance& sum = sums_.back();
    allowed = std::clamp<Nanousd>(sum.limit - sum.taken(), 0, booking.amount);
  }
  const Nanousd rest = booking.amount - allowed;
  Booked out;
  out.call_id = booking.call_id;
  sums_before_ = sums_;
  if (split) indices_.pop_back();
  items_.push_back({.amount = rest,
                    .first_index = 0,
                    .index_count = static_cast<std::uint32_t>(indices_.size())});
  results_.assign(1, AdmissionResult{});
  if (rest > 0 || allowed == 0) admit_(sums_, indices_, items_, results_);
  sums_ = sums_before_;
  const bool fits =
      (rest == 0 && allowed > 0) || results_[0].verdict == AdmissionVerdict::kAdmitted;
  if (!fits && !booking.force) {
    out.blocked = results_[0].verdict == AdmissionVerdict::kBlocked;
    describe(results_[0].scope, out);
    (void)refuse(absl::OkStatus());
    return out;
  }
  out.admitted = true;
  std::vector<EntryRow> rows;
  status = write_parts(booking, allowed, named, out, rows);
  if (absl::IsFailedPrecondition(status)) return refuse(std::move(status));
  if (status = end_command(std::move(status), rows); !status.ok()) return status;
  ++stats_.admitted;
  publish_hints();
  describe(0, out);
  return out;
}

// What was booked under the key, and whether it is this booking. Of a month that was archived
// nothing is known here.
StatusOr<Booked> BatchWriter::recall(const Booking& booking, const Id& earlier) {
  Booked out;
  out.call_id = earlier;
  out.admitted = out.duplicate = true;
  StatusOr<std::int64_t> labels = labels_id(booking.labels);
  if (!labels.ok()) return labels.status();
  Nanousd amount = 0;
  std::vector<std::int64_t> scopes;
  for (const Id& id : {earlier, second_part(earlier)}) {
    if (!out.parts.empty() && id == earlier) break;  // an id without a second part
    StatusOr<std::optional<CallRow>> found = backend_.find_call(id);
    if (!found.ok()) return found.status();
    if (!found->has_value()) continue;
    const CallRow& call = **found;
    out.same = out.same && call.costs && call.labels == *labels;
    out.parts.push_back({id, call.cost});
    amount += call.cost;
    std::vector<BalanceRef> refs;
    if (!decode_balances(call.balances, refs)) {
      return absl::DataLossError(to_absl("malformed balances in the call " + id.text()));
    }
    for (const BalanceRef& ref : refs) {
      StatusOr<RowPtr> row = row_of(ref);
      if (!row.ok()) return row.status();
      scopes.push_back((*row)->scope_id);
    }
  }
  if (out.parts.empty()) {
    out.parts.push_back({earlier, booking.amount});
    return out;
  }
  out.same = out.same && amount == booking.amount;
  if (booking.any_scopes) return out;
  std::vector<std::int64_t> asked;
  asked.reserve(batch_scopes_.size());
  for (const Scope* scope : batch_scopes_) asked.push_back(scope->id());
  std::ranges::sort(scopes);
  std::ranges::sort(asked);
  out.same = out.same && scopes == asked;
  return out;
}

// `allowed` in the allowance, the rest in the `named` scopes before it; and the key.
Status BatchWriter::write_parts(const Booking& booking, Nanousd allowed, std::size_t named,
                                Booked& out, std::vector<EntryRow>& rows) {
  const Nanousd rest = booking.amount - allowed;
  Status status;
  if (allowed > 0) {
    out.parts.push_back({booking.call_id, allowed});
    status = write_part(booking, out.parts.back(), {named, named + 1}, out, rows);
  }
  if (status.ok() && (rest > 0 || allowed == 0)) {
    out.parts.push_back({allowed > 0 ? second_part(booking.call_id) : booking.call_id, rest});
    status = write_part(booking, out.parts.back(), {0, named}, out, rows);
  }
  if (!status.ok() || booking.idempotency_key.empty()) return status;
  return backend_.insert_submission(
      booking.labels == nullptr ? std::string_view{} : booking.labels->tenant,
      booking.idempotency_key, {.intent_id = booking.call_id, .call_id = booking.call_id}, now_ns_);
}

// The two entries, and the balances. What a forced booking holds is what the tightest scope has
// room for, so that the overrun explains exactly what is above a limit.
Status BatchWriter::write_part(const Booking& booking, const Booked::Part& part, Counted in,
                               Booked& out, std::vector<EntryRow>& rows) {
  Nanousd hold = part.amount;
  std::vector<RowPtr> balances;
  refs_.clear();
  for (std::size_t i = in.first; i < in.last; ++i) {
    ScopeBalance& sum = sums_[i];
    if (sum.limit != kNanousdMax) {
      hold = std::min(hold, std::max<Nanousd>(sum.limit - sum.taken(), 0));
    }
    balances.push_back(batch_scopes_[i]->state().current);
    const BalanceRow& counted = *balances.back();
    refs_.push_back(counted.anchor == 0 ? BalanceRef{counted.id}
                                        : BalanceRef{counted.anchor, counted.slot});
  }
  const bool overrun = hold < part.amount;
  out.overrun = out.overrun || overrun;
  StatusOr<std::int64_t> labels = labels_id(booking.labels);
  if (!labels.ok()) return labels.status();
  blob_balances_.clear();
  encode_balances(refs_, blob_balances_);
  blob_usage_.clear();
  encode_usage(booking.usage, blob_usage_);
  EntryRow& row = rows.emplace_back();
  row.call_id = part.call_id;
  row.intent_id = booking.call_id;
  row.segment = segment_;
  row.time_ns = now_ns_;
  row.amount = hold;
  row.labels = *labels;
  row.balances = blob_balances_;
  StatusOr<bool> inserted = write_entry(row);
  if (!inserted.ok()) return inserted.status();
  if (!*inserted) {
    return absl::FailedPreconditionError(
        to_absl("the id " + part.call_id.text() + " has been used by another call"));
  }
  row.attempt = 1;
  row.kind = EntryKind::kSettle;
  row.amount = part.amount;
  row.flags = overrun ? static_cast<std::uint32_t>(kOverrun) : 0u;
  row.intent_id = Id{};
  row.balances = {};
  row.usage = blob_usage_;
  row.evidence = booking.evidence;
  inserted = write_entry(row);
  if (!inserted.ok()) return inserted.status();
  if (!*inserted) return absl::DataLossError("a booking has an end before its reservation");
  if (overrun) ++counted_.overruns;
  for (std::size_t i = in.first; i < in.last; ++i) {
    ScopeBalance& value = balances[i - in.first]->value;
    ScopeBalance& sum = sums_[i];
    value.settled = saturating_add(value.settled, part.amount);
    sum.settled = saturating_add(sum.settled, part.amount);
    if (sum.limit != kNanousdMax && sum.taken() > sum.limit) value.blocked = sum.blocked = true;
    mark_dirty(balances[i - in.first]);
  }
  return absl::OkStatus();
}

void BatchWriter::describe(std::size_t index, Booked& out) {
  if (index >= batch_scopes_.size()) return;
  Scope& scope = *batch_scopes_[index];
  out.scope = scope_name(scope.config().kind, scope.config().key, scope.state().current->window);
  out.balance = sums_[index];
}

}  // namespace sluiceway::store
