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
    allowed = std::clamp<Nanousd>(sum.limit - taken(sum), 0, booking.amount);
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
  if (allowed > 0) {
    out.parts.push_back({booking.call_id, allowed});
    status = write_part(booking, out.parts.back(), {named, named + 1}, out, rows);
  }
  if (status.ok() && (rest > 0 || allowed == 0)) {
    out.parts.push_back({allowed > 0 ? second_part(booking.call_id) : booking.call_id, rest});
    status = write_part(booking, out.parts.back(), {0, named}, out, rows);
  }
  if (status.ok() && !booking.idempotency_key.empty()) {
    status = backend_.insert_submission(
        booking.labels == nullptr ? std::string_view{} : booking.labels->tenant,
        booking.idempotency_key, {.intent_id = booking.call_id, .call_id = booking.call_id},
        now_ns_);
  }
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
  for (const Scope* scope : batch_scopes_) asked.push_back(scope->id());
  std::ranges::sort(scopes);
  std::ranges::sort(asked);
  out.same = out.same && scopes == asked;
  return out;
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
      hold = std::min(hold, std::max<Nanousd>(sum.limit - taken(sum), 0));
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
    if (sum.limit != kNanousdMax && taken(sum) > sum.limit) value.blocked = sum.blocked = true;
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
      StatusOr<std::optional<CallRow>> entry = backend_.find_call((*earlier)->call_id);
      if (!entry.ok()) return end(entry.status(), "", "");
      const Nanousd then = entry->has_value() ? (*entry)->granted : amount;  // archived: not known
      if (then == amount) {
        (void)refuse(absl::OkStatus());
        return sum->limit;
      }
      return refuse(absl::AlreadyExistsError(
          absl::StrCat("the key ", to_absl(idempotency_key), " was used for another amount")));
    }
  }
  const Nanousd limit = saturating_add(sum->limit, amount);
  if (limit == kNanousdMax) return refuse(invalid_argument("the limit would be out of range"));
  if (amount < 0 && limit < std::max<Nanousd>(taken(*sum), 0)) {
    return refuse(absl::FailedPreconditionError(absl::StrCat(
        "scope ", scope.name(), " cannot be lowered to ", amount_text(limit, scope.config().unit),
        ": ", amount_text(taken(*sum), scope.config().unit), " is used or held")));
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
  if (status = end_command(std::move(status), {&row, 1}, scope.id()); !status.ok()) return status;
  ++epoch_;  // the cached rows carry the old limit
  scope.store_hint(limit, sum->settled, sum->held, sum->in_doubt, sum->blocked && !unblock, 0);
  return limit;
}

StatusOr<Nanousd> BatchWriter::refund(const Refund& refund) {
  if (refund.amount <= 0) return invalid_argument("a refund is more than 0");
  for (auto it = refund.calls.begin(); it != refund.calls.end(); ++it) {
    if (std::find(refund.calls.begin(), it, *it) != it) {
      return invalid_argument("a refund names a call once");
    }
  }
  Status status = begin();
  if (!status.ok()) return end(std::move(status), "", "");
  if (!refund.idempotency_key.empty()) {
    StatusOr<std::optional<Nanousd>> before = refunded_before(refund);
    if (absl::IsAlreadyExists(before.status())) return refuse(before.status());
    if (!before.ok()) return end(before.status(), "", "");
    if (before->has_value()) {
      (void)refuse(absl::OkStatus());
      return **before;
    }
  }
  std::vector<CallRow> calls;
  std::vector<std::string> only;  // the balances of each, where they are not all of the call's
  only.reserve(refund.calls.size());
  Nanousd left = 0;
  for (const Id& id : refund.calls) {
    StatusOr<std::optional<CallRow>> found = backend_.find_call(id);
    if (!found.ok()) return end(found.status(), "", "");
    if (!found->has_value()) {
      return refuse(absl::NotFoundError(to_absl("no call " + id.text() + " in this ledger")));
    }
    CallRow& call = calls.emplace_back(**std::move(found));
    if (!call.costs) {
      return refuse(absl::FailedPreconditionError(
          to_absl("the call " + id.text() + " has not cost anything; nothing can be refunded")));
    }
    only.emplace_back();
    if (!refund.within.empty()) {
      StatusOr<std::vector<BalanceRef>> here = refs_within(call, refund.within);
      if (!here.ok()) return end(here.status(), "", "");
      if (here->empty()) {
        return refuse(absl::NotFoundError(
            to_absl("the call " + id.text() + " is not in " + refund.within.front())));
      }
      encode_balances(*here, only.back());
      if (only.back() == call.balances) only.back().clear();
      if (!only.back().empty()) call.balances = only.back();
    }
    left += call.cost - call.refunded;
  }
  if (refund.amount > left) return refuse(absl::OutOfRangeError(absl::StrCat(left)));
  std::vector<EntryRow> rows;
  Nanousd open = refund.amount;
  for (std::size_t i = 0; i < calls.size(); ++i) {
    const CallRow& call = calls[i];
    const Nanousd part = std::min(open, call.cost - call.refunded);
    if (part <= 0) continue;
    open -= part;
    EntryRow& row = rows.emplace_back();
    row.call_id = call.call_id;
    row.attempt = call.last_attempt + 1;  // behind the call's other rows, in the order of refunds
    row.kind = EntryKind::kRefund;
    row.segment = call.segment;
    row.time_ns = now_ns_;
    row.amount = part;
    row.labels = call.labels;
    row.evidence = refund.evidence;
    row.balances = only[i];
    StatusOr<bool> inserted = write_entry(row);
    status = inserted.status();
    if (status.ok() && !*inserted) status = absl::DataLossError("a refund is there twice");
    if (status.ok()) status = add_settled(call, -part);
    if (!status.ok()) break;
  }
  if (status.ok() && !refund.idempotency_key.empty()) {
    // The amount stands in the place of an intent, which a refund has none of.
    const Id amount{0, static_cast<std::uint64_t>(refund.amount)};
    status = backend_.insert_submission("", refund.idempotency_key,
                                        {.intent_id = amount, .call_id = refund.id}, now_ns_);
  }
  const std::size_t lost = lost_.size();
  if (status = end_command(std::move(status), rows); !status.ok()) {
    for (std::size_t i = lost; i < lost_.size(); ++i) {
      lost_[i].key = refund.idempotency_key;
      lost_[i].key_id = refund.id;
    }
    return status;
  }
  return left - refund.amount;
}

// What the calls of a refund cost now, if its key says that it has happened already.
StatusOr<std::optional<Nanousd>> BatchWriter::refunded_before(const Refund& refund) {
  StatusOr<std::optional<Submission>> earlier =
      backend_.find_submission("", refund.idempotency_key);
  if (!earlier.ok()) return earlier.status();
  if (!earlier->has_value()) return std::optional<Nanousd>{};
  if ((*earlier)->intent_id != Id{0, static_cast<std::uint64_t>(refund.amount)}) {
    return absl::AlreadyExistsError(
        absl::StrCat("the key ", refund.idempotency_key, " was used for something else"));
  }
  Nanousd left = 0;
  for (const Id& id : refund.calls) {
    StatusOr<std::optional<CallRow>> call = backend_.find_call(id);
    if (!call.ok()) return call.status();
    if (call->has_value()) left += (*call)->cost - (*call)->refunded;
  }
  return std::optional<Nanousd>(left);
}

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

// Of the balances that the call counts in, those of the named scopes.
StatusOr<std::vector<BalanceRef>> BatchWriter::refs_within(const CallRow& call,
                                                           std::span<const std::string> scopes) {
  std::vector<BalanceRef> refs;
  if (!decode_balances(call.balances, refs)) {
    return absl::DataLossError(to_absl("malformed balances in the call " + call.call_id.text()));
  }
  std::vector<std::int64_t> wanted;
  for (const std::string_view name : scopes) {
    const std::size_t colon = std::min(name.find(':'), name.size());
    StatusOr<std::optional<LimitRow>> scope =
        backend_.find_limit(name.substr(0, colon), name.substr(std::min(colon + 1, name.size())));
    if (!scope.ok()) return scope.status();
    if (scope->has_value()) wanted.push_back((*scope)->scope_id);
  }
  std::vector<BalanceRef> found;
  for (const BalanceRef& ref : refs) {
    StatusOr<RowPtr> row = row_of(ref);
    if (!row.ok()) return row.status();
    if (std::ranges::find(wanted, (*row)->scope_id) != wanted.end()) found.push_back(ref);
  }
  return found;
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
