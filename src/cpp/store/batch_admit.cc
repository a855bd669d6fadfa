// Admission of the reservations of a batch: see batch.h.
#include <algorithm>

#include "store/batch.h"
#include "store/codec.h"
#include "store/faults.h"

namespace sluiceway::store {
namespace {

constexpr std::size_t kInternedMax = 10'000;  // labels and prices remembered by their objects

std::string_view tenant_of(const Reservation& reservation) {
  return reservation.labels == nullptr ? std::string_view{} : reservation.labels->tenant;
}

std::string submission_key(const Reservation& reservation) {
  std::string key(tenant_of(reservation));
  return key.append(1, '\0').append(reservation.idempotency_key);
}

}  // namespace

void BatchWriter::start_batch() {
  ++stamp_;
  batch_scopes_.clear();
  sums_.clear();
  indices_.clear();
  items_.clear();
  reserve_of_.clear();
  answer_of_.clear();
  keys_seen_.clear();
}

Status BatchWriter::decide(std::vector<PendingReserve>& reserves, std::vector<Answer>& answers,
                           std::vector<PendingReserve>& deferred) {
  start_batch();
  for (std::size_t i = 0; i < reserves.size(); ++i) {
    PendingReserve& pending = reserves[i];
    const Reservation& reservation = pending.reservation;
    Answer answer;
    answer.client = pending.client;
    answer.verdict.token = reservation.token;
    answer.verdict.amount = reservation.amount;
    answer.verdict.ledger_time_ns = now_ns_;
    StatusOr<Prepared> prepared = prepare(pending, answer.verdict);
    if (!prepared.ok()) return prepared.status();
    if (*prepared == Prepared::kDeferred) {
      deferred.push_back(pending);
      pending.client = nullptr;  // answered by the batch that takes it
      continue;
    }
    if (*prepared == Prepared::kDecide) {
      const auto first = static_cast<std::uint32_t>(indices_.size());
      if (Status s = add_scopes(reservation); !s.ok()) return s;
      items_.push_back({.amount = reservation.amount,
                        .first_index = first,
                        .index_count = static_cast<std::uint32_t>(indices_.size()) - first});
      reserve_of_.push_back(i);
      answer_of_.push_back(answers.size());
    }
    answers.push_back(std::move(answer));
  }
  if (items_.empty()) return absl::OkStatus();
  sums_before_ = sums_;
  results_.assign(items_.size(), AdmissionResult{});
  admit_(sums_, indices_, items_, results_);
  fault_point("batch.admitted");
  apply_held();
  for (std::size_t i = 0; i < items_.size(); ++i) {
    Verdict& verdict = answers[answer_of_[i]].verdict;
    if (results_[i].verdict != AdmissionVerdict::kAdmitted) {
      fill_refusal(results_[i], verdict);
    } else if (Status s = write_admitted(reserves[reserve_of_[i]], verdict); !s.ok()) {
      return s;
    }
  }
  return absl::OkStatus();
}

// What is answered without asking the scopes: malformed, late, and second uses of a key.
StatusOr<BatchWriter::Prepared> BatchWriter::prepare(const PendingReserve& pending,
                                                     Verdict& verdict) {
  const Reservation& reservation = pending.reservation;
  verdict.kind = Verdict::kUnavailable;
  if (reservation.amount < 0) {
    verdict.error = invalid_argument("a reservation is at least 0");
    return Prepared::kAnswered;
  }
  for (const auto& scope : reservation.scopes) {
    if (scope->config().unit !=
        (reservation.labels == nullptr ? "nanousd" : reservation.labels->unit)) {
      verdict.error = invalid_argument("the unit of scope " + scope->name() +
                                       " is not the unit of the reservation");
      return Prepared::kAnswered;
    }
  }
  if (reservation.deadline_ns != INT64_MAX && reservation.deadline_ns <= clock_.monotonic_ns()) {
    verdict.error = absl::DeadlineExceededError("the ledger did not answer in time");
    return Prepared::kAnswered;
  }
  if (reservation.idempotency_key.empty()) return Prepared::kDecide;
  StatusOr<std::optional<Submission>> found =
      backend_.find_submission(tenant_of(reservation), reservation.idempotency_key);
  if (!found.ok()) return found.status();
  // Another hop of the same call of the user carries the same key.
  if (found->has_value() && (*found)->intent_id != reservation.intent_id) {
    verdict.kind = Verdict::kDuplicate;
    verdict.earlier_call = (*found)->call_id;
    return Prepared::kAnswered;
  }
  // Whether the first use in this batch is admitted is not known yet.
  if (!keys_seen_.try_emplace(submission_key(reservation), true).second) {
    return Prepared::kDeferred;
  }
  return Prepared::kDecide;
}

// Appends the scopes' indices; each scope is read once a batch.
Status BatchWriter::add_scopes(const Reservation& reservation) {
  for (const auto& scope : reservation.scopes) {
    ScopeState& state = scope->state();
    if (state.stamp != stamp_) {
      if (Status s = resolve_scope(*scope); !s.ok()) return s;
      StatusOr<ScopeBalance> sum = sum_scope(*scope);
      if (!sum.ok()) return sum.status();
      state.stamp = stamp_;
      state.index = static_cast<std::uint32_t>(batch_scopes_.size());
      batch_scopes_.push_back(scope.get());
      sums_.push_back(*sum);
    }
    indices_.push_back(state.index);
  }
  return absl::OkStatus();
}

// Carries what the AdmitFn added to the sums over to the running rows.
void BatchWriter::apply_held() {
  for (std::size_t i = 0; i < batch_scopes_.size(); ++i) {
    const Nanousd added = sums_[i].held - sums_before_[i].held;
    if (added == 0) continue;
    const RowPtr& row = batch_scopes_[i]->state().current;
    row->value.held = saturating_add(row->value.held, added);
    mark_dirty(row);
  }
}

void BatchWriter::fill_refusal(const AdmissionResult& result, Verdict& verdict) {
  verdict.kind =
      result.verdict == AdmissionVerdict::kBlocked ? Verdict::kBlocked : Verdict::kExceeded;
  if (result.scope >= batch_scopes_.size()) return;
  Scope& scope = *batch_scopes_[result.scope];
  verdict.scope =
      scope_name(scope.config().kind, scope.config().key, scope.state().current->window);
  verdict.balance = sums_[result.scope];
}

Status BatchWriter::write_admitted(PendingReserve& pending, Verdict& verdict) {
  Reservation& reservation = pending.reservation;
  OpenCall call;
  call.amount = reservation.amount;
  call.owner = reservation.job ? 0 : pending.owner;
  call.segment = segment_;
  call.balances.reserve(reservation.scopes.size());
  refs_.clear();
  for (const auto& scope : reservation.scopes) {
    const RowPtr& row = scope->state().current;
    const BalanceRef ref =
        row->anchor == 0 ? BalanceRef{row->id} : BalanceRef{row->anchor, row->slot};
    if (std::find(refs_.begin(), refs_.end(), ref) != refs_.end()) continue;  // named twice
    refs_.push_back(ref);
    call.balances.push_back(row);
  }
  StatusOr<std::int64_t> labels = labels_id(reservation.labels);
  if (!labels.ok()) return labels.status();
  StatusOr<std::int64_t> price = price_id(reservation.price_version);
  if (!price.ok()) return price.status();
  call.labels = *labels;

  HoldRow hold;
  hold.call_id = reservation.call_id;
  hold.amount = reservation.amount;
  hold.owner = call.owner;
  hold.since_ns = now_ns_;
  hold.labels = *labels;
  hold.segment = segment_;
  encode_balances(refs_, hold.balances);
  EntryRow row;
  row.call_id = reservation.call_id;
  row.segment = segment_;
  row.time_ns = now_ns_;
  row.amount = reservation.amount;
  row.labels = *labels;
  row.price = *price;
  row.intent_id = reservation.intent_id;
  row.balances = hold.balances;
  StatusOr<bool> inserted = write_entry(row);
  if (!inserted.ok()) return inserted.status();
  if (!*inserted) {  // the id was used before: nothing of this one stays
    for (const RowPtr& balance : call.balances) {
      balance->value.held -= reservation.amount;
      for (std::size_t i = 0; i < batch_scopes_.size(); ++i) {  // a rare path
        if (batch_scopes_[i]->state().current == balance) sums_[i].held -= reservation.amount;
      }
    }
    verdict.kind = Verdict::kDuplicate;
    verdict.earlier_call = reservation.call_id;
    return absl::OkStatus();
  }
  if (Status s = backend_.insert_hold(hold); !s.ok()) return s;
  ++counted_.rows;
  if (!reservation.idempotency_key.empty()) {
    Status s = backend_.insert_submission(
        tenant_of(reservation), reservation.idempotency_key,
        {.intent_id = reservation.intent_id, .call_id = reservation.call_id}, now_ns_);
    if (!s.ok()) return s;
    call.idempotency_key = std::move(reservation.idempotency_key);
    call.labels_object = reservation.labels;
  }
  undo_.emplace_back(reservation.call_id, std::nullopt);
  open_.insert_or_assign(reservation.call_id, std::move(call));
  verdict.kind = Verdict::kAdmitted;
  return absl::OkStatus();
}

StatusOr<std::int64_t> BatchWriter::labels_id(const std::shared_ptr<const CallLabels>& labels) {
  if (labels == nullptr) return 0;
  if (const auto it = labels_.find(labels.get()); it != labels_.end()) return it->second.second;
  StatusOr<std::int64_t> id = backend_.intern_labels(*labels);
  if (!id.ok()) return id;
  if (labels_.size() >= kInternedMax) labels_.clear();
  labels_.emplace(labels.get(), std::make_pair(labels, *id));  // kept alive: the address is the key
  return id;
}

StatusOr<std::int64_t> BatchWriter::price_id(std::string_view version) {
  if (version.empty()) return 0;
  if (const auto it = prices_.find(version); it != prices_.end()) return it->second;
  StatusOr<std::int64_t> id = backend_.intern_price(version);
  if (!id.ok()) return id;
  if (prices_.size() >= kInternedMax) prices_.clear();
  prices_.emplace(std::string(version), *id);
  return id;
}

}  // namespace sluiceway::store
