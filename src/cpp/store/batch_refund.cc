// What comes back of calls that have been settled: see booking.h and batch.h.
#include <absl/strings/str_cat.h>

#include <algorithm>

#include "store/batch.h"
#include "store/codec.h"

namespace sluiceway::store {

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
  status = write_refunds(refund, calls, only, rows);
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

// From the first call as far as it goes, with the balances in `only` where they are not all.
Status BatchWriter::write_refunds(const Refund& refund, std::span<const CallRow> calls,
                                  std::span<const std::string> only, std::vector<EntryRow>& rows) {
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
    if (!inserted.ok()) return inserted.status();
    if (!*inserted) return absl::DataLossError("a refund is there twice");
    if (Status s = add_settled(call, -part); !s.ok()) return s;
  }
  return absl::OkStatus();
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

}  // namespace sluiceway::store
