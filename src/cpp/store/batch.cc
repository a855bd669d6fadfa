// The frame of a transaction, and the commands that are a transaction of their own: see batch.h.
#include "store/batch.h"

#include <algorithm>

#include "store/faults.h"

namespace sluiceway::store {

BatchWriter::BatchWriter(Backend& backend, AdmitFn admit, const Clock& clock, LedgerStats& stats)
    : backend_(backend), admit_(admit), clock_(clock), stats_(stats) {}

Status BatchWriter::begin() {
  undo_.clear();
  registered_.clear();
  dirty_.clear();
  commit_refs_.clear();
  counted_ = LedgerStats{};
  StatusOr<bool> changed = backend_.begin();
  if (!changed.ok()) return changed.status();
  if (*changed) {
    ++epoch_;
    clock_known_ = false;
  }
  if (!clock_known_) {
    StatusOr<ClockRow> row = backend_.load_clock();
    if (!row.ok()) return row.status();
    time_.load(*row);
    stored_clock_ = *row;
    clock_known_ = true;
  }
  now_ns_ = time_.advance(clock_.boottime_ns(), clock_.wall_ns(), machine_boot_id());
  segment_ = segment_of(now_ns_);
  return reconcile_due_ ? reconcile() : absl::OkStatus();
}

// The log of commits carries the time of every commit that wrote entries; the clock's row is for
// the others, once a second, and for a moved anchor. A batch that only refused writes nothing at
// all.
Status BatchWriter::store_time() {
  const ClockRow& row = time_.row();
  if (!commit_refs_.empty()) {
    if (Status s = backend_.insert_commit(now_ns_, commit_refs_); !s.ok()) return s;
  }
  const bool moved = row.anchor_ledger_ns != stored_clock_.anchor_ledger_ns ||
                     row.anchor_boot_ns != stored_clock_.anchor_boot_ns ||
                     row.boot_id != stored_clock_.boot_id;
  const bool old = commit_refs_.empty() && row.ledger_ns - stored_clock_.ledger_ns >= kNsPerSecond;
  if (!moved && !old) return absl::OkStatus();
  if (Status s = backend_.store_clock(row); !s.ok()) return s;
  stored_clock_ = row;
  return absl::OkStatus();
}

Status BatchWriter::end(Status so_far, const char* before_label, const char* after_label) {
  if (so_far.ok()) so_far = flush_balances();
  if (so_far.ok()) so_far = store_time();
  if (so_far.ok()) {
    fault_point(before_label);
    so_far = backend_.commit();
  }
  if (!so_far.ok()) {
    backend_.rollback();
    backend_.reset();
    undo();
    reconcile_due_ = true;
    ++stats_.failed_commits;
    return so_far;
  }
  fault_point(after_label);
  reconcile_due_ = false;
  lost_.clear();
  ++stats_.commits;
  stats_.rows += counted_.rows;
  stats_.finishes += counted_.finishes;
  stats_.orphan_finishes += counted_.orphan_finishes;
  stats_.overruns += counted_.overruns;
  stats_.recovered += counted_.recovered;
  stats_.quarantined += counted_.quarantined;
  stats_.clock_skew_ns = now_ns_ - clock_.wall_ns();
  stats_.open_calls = open_.size();
  sweep();
  return absl::OkStatus();
}

// Puts the memory back to where it was before begin(); what was read from the file is read anew.
void BatchWriter::undo() {
  for (auto it = undo_.rbegin(); it != undo_.rend(); ++it) {
    if (it->second) {
      open_.insert_or_assign(it->first, std::move(*it->second));
    } else {
      open_.erase(it->first);
    }
  }
  undo_.clear();
  for (const RowPtr& row : dirty_) row->dirty = false;
  dirty_.clear();
  // Rows that this transaction made or first saw: their numbers may now go to others.
  for (const std::int64_t id : registered_) balances_.erase(id);
  registered_.clear();
  labels_.clear();
  prices_.clear();
  clock_known_ = false;
  ++epoch_;
  ++generation_;
}

// Ends a command that has nothing to write, or may not.
Status BatchWriter::refuse(Status why) {
  backend_.rollback();
  undo();
  return why;
}

Status BatchWriter::run(std::span<const PendingFinish> finishes,
                        std::vector<PendingReserve>& reserves, std::vector<Answer>& answers,
                        std::vector<PendingReserve>& deferred) {
  const std::size_t first = answers.size();
  fault_point("batch.before_lock");
  Status status = begin();
  if (status.ok()) fault_point("batch.begun");
  for (const PendingFinish& finish : finishes) {
    if (!status.ok()) break;
    status = apply_finish(finish);
  }
  if (status.ok()) {
    fault_point("batch.finished");
    status = decide(reserves, answers, deferred);
  }
  if (status.ok()) fault_point("batch.reserved");
  status = end(std::move(status), "batch.before_commit", "batch.after_commit");
  if (!status.ok()) {
    // Answers so far and reservations not yet answered alike.
    answers.resize(first);
    for (auto* list : {&reserves, &deferred}) {
      for (PendingReserve& pending : *list) {
        if (pending.client == nullptr) continue;  // deferred
        Answer& answer = answers.emplace_back();
        answer.client = pending.client;
        answer.verdict.token = pending.reservation.token;
        answer.verdict.amount = pending.reservation.amount;
        answer.verdict.error = status;
      }
    }
    stats_.unavailable += answers.size() - first;
    deferred.clear();
    reserves.clear();
    return status;
  }
  for (std::size_t i = first; i < answers.size(); ++i) {
    switch (answers[i].verdict.kind) {
      case Verdict::kAdmitted:
        ++stats_.admitted;
        break;
      case Verdict::kExceeded:
      case Verdict::kBlocked:
        ++stats_.refused;
        break;
      case Verdict::kDuplicate:
        ++stats_.duplicates;
        break;
      case Verdict::kUnavailable:
        ++stats_.unavailable;
        break;
    }
  }
  stats_.batch_max = std::max<std::uint64_t>(stats_.batch_max, finishes.size() + reserves.size());
  publish_hints();
  reserves.clear();
  return absl::OkStatus();
}

StatusOr<std::int64_t> BatchWriter::enter_owner() {
  Status status = begin();
  StatusOr<std::int64_t> owner = std::int64_t{0};
  if (status.ok()) {
    owner = backend_.enter_owner(now_ns_);
    status = owner.status();
  }
  status = end(std::move(status), "owner.entered", "owner.entered");
  if (!status.ok()) {
    if (owner.ok() && *owner != 0) backend_.release_owner(*owner);
    return status;
  }
  own_owners_.insert(*owner);
  return *owner;
}

Status BatchWriter::recover(std::span<const std::int64_t> owners) {
  Status status = begin();
  for (const std::int64_t owner : owners) {
    if (status.ok()) status = doubt_all(owner);
    if (status.ok()) status = backend_.leave_owner(owner);
  }
  status = end(std::move(status), "recover.before_commit", "recover.after_commit");
  if (!status.ok()) return status;
  for (const std::int64_t owner : owners) {
    if (own_owners_.erase(owner) != 0) backend_.release_owner(owner);
  }
  return absl::OkStatus();
}

Status BatchWriter::resolve(const Id& call, Nanousd amount, std::string_view evidence) {
  if (amount < 0) return invalid_argument("a resolved amount is at least 0");
  Status status = begin();
  StatusOr<std::optional<HoldRow>> hold = std::optional<HoldRow>{};
  if (status.ok()) {
    hold = backend_.find_hold(call);
    status = hold.status();
  }
  Status refused;
  EntryRow row;
  row.call_id = call;
  row.evidence = evidence;
  if (status.ok() && hold->has_value()) {
    if (!(*hold)->in_doubt) {
      refused = absl::FailedPreconditionError("the call is still under way");
    } else {
      StatusOr<OpenCall> open = from_hold(**hold);
      status = open.status();
      row.kind = EntryKind::kSettle;
      row.amount = amount;
      if (status.ok()) status = end_hold(call, *open, row);
    }
  } else if (status.ok()) {
    StatusOr<std::optional<CallRow>> posted = backend_.find_call(call);
    status = posted.status();
    if (status.ok() && (!posted->has_value() || !(*posted)->posted)) {
      refused = absl::NotFoundError("no such call is in doubt or was posted in full");
    } else if (status.ok() && amount < (*posted)->refunded) {
      refused = absl::FailedPreconditionError("more than that was refunded of the call");
    } else if (status.ok()) {
      row.kind = EntryKind::kCorrect;
      row.attempt = (*posted)->posts;
      row.amount = amount - (*posted)->cost;
      row.segment = (*posted)->segment;
      row.time_ns = now_ns_;
      row.labels = (*posted)->labels;
      status = write_entry(row).status();
      if (status.ok()) status = add_settled(**posted, row.amount);
    }
  }
  if (status.ok() && !refused.ok()) return refuse(std::move(refused));
  return end(std::move(status), "batch.before_commit", "batch.after_commit");
}

StatusOr<std::int64_t> BatchWriter::post_in_doubt(std::int64_t older_than_ns) {
  Status status = begin();
  std::int64_t posted = 0;
  if (status.ok()) {
    StatusOr<std::vector<HoldRow>> holds = backend_.list_holds(std::nullopt);
    status = holds.status();
    for (std::size_t i = 0; status.ok() && i < holds->size(); ++i) {
      const HoldRow& hold = (*holds)[i];
      if (!hold.in_doubt || hold.since_ns > now_ns_ - older_than_ns) continue;
      StatusOr<std::optional<OpenCall>> call = readable_hold(hold);
      status = call.status();
      EntryRow row;
      row.call_id = hold.call_id;
      row.kind = EntryKind::kPostFull;
      row.amount = hold.amount;
      if (status.ok() && call->has_value()) status = end_hold(hold.call_id, **call, row);
      ++posted;
    }
  }
  if (status.ok() && posted == 0) {
    (void)refuse(absl::OkStatus());
    return posted;
  }
  status = end(std::move(status), "batch.before_commit", "batch.after_commit");
  if (!status.ok()) return status;
  return posted;
}

Status BatchWriter::reanchor_time() {
  Status status = begin();
  if (status.ok()) {
    now_ns_ = time_.advance(clock_.boottime_ns(), clock_.wall_ns(), machine_boot_id(), true);
  }
  return end(std::move(status), "batch.before_commit", "batch.after_commit");
}

}  // namespace sluiceway::store
