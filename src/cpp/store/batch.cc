// The frame of a transaction, and the commands that are a transaction of their own: see batch.h.
#include "store/batch.h"

#include <absl/strings/str_cat.h>

#include "store/codec.h"
#include "store/faults.h"

namespace sluiceway::store {
namespace {

std::string limit_text(const ScopeConfig& config) {
  return config.limit ? amount_text(*config.limit, config.unit) : "none";
}

}  // namespace

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

Status BatchWriter::reconcile_lost() {
  if (!reconcile_due_) return absl::OkStatus();
  return end(begin(), "batch.before_commit", "batch.after_commit");
}

StatusOr<std::shared_ptr<Scope>> BatchWriter::open_scope(const ScopeConfig& config,
                                                         const TimeZone& zone) {
  const std::string name = scope_name(config.kind, config.key, "");
  if (Status s = begin(); !s.ok()) return end(std::move(s), "", "");
  StatusOr<std::optional<LimitRow>> found = backend_.find_limit(config.kind, config.key);
  if (!found.ok()) return end(found.status(), "", "");
  std::int64_t id = 0;
  Status refused;
  if (found->has_value()) {
    const ScopeConfig& old = (*found)->config;
    id = (*found)->scope_id;
    if (old.period != config.period || old.time_zone != config.time_zone ||
        old.rolling_ns != config.rolling_ns || old.unit != config.unit) {
      refused = absl::FailedPreconditionError(
          absl::StrCat("scope ", name, " exists with another period, time zone, window or unit, ",
                       "which stay as they are; give the new one another name"));
    } else if (old.limit != config.limit && !config.replace && !config.keep) {
      refused = absl::FailedPreconditionError(
          absl::StrCat("scope ", name, " exists with limit ", limit_text(old), ", not ",
                       limit_text(config), "; pass replace=True to change it"));
    }
  }
  const Nanousd granted = found->has_value() ? (*found)->granted : 0;
  ScopeConfig stored = config;  // as the file has it after this
  if (config.keep && found->has_value()) stored.limit = (*found)->config.limit;
  const Nanousd limit = stored.limit ? saturating_add(*stored.limit, granted) : kNanousdMax;
  if (refused.ok() && stored.limit && granted > 0 && limit == kNanousdMax) {
    refused = invalid_argument("the limit and what was granted are out of range together");
  }
  if (!refused.ok()) return refuse(std::move(refused));
  Status written;
  if (!found->has_value()) {
    StatusOr<std::int64_t> made = backend_.insert_limit(config, now_ns_);
    written = made.status();
    if (made.ok()) id = *made;
  } else if (config.replace) {
    written = replace_limit(**found, config, zone);
  }
  if (Status s = end(std::move(written), "scope.before_commit", "scope.after_commit"); !s.ok()) {
    return s;
  }
  if (config.replace) ++epoch_;  // the cached rows carry the old limit
  auto& known = scopes_by_name_[name];
  std::shared_ptr<Scope> scope = known.lock();
  if (scope == nullptr || scope->id() != id) {
    scope = std::make_shared<Scope>(std::move(stored), id, zone);
    scope->store_hint(limit, 0, 0, 0, false, 0);
    known = scope;
  } else if (config.replace) {
    scope->store_hint(limit, scope->settled(), scope->held(), scope->in_doubt(), false, 0);
  }
  return scope;
}

// The new limit, and a row that says so where it differs. The id is made here: time-ordered, and
// the scope's.
Status BatchWriter::replace_limit(const LimitRow& old, const ScopeConfig& config,
                                  const TimeZone& zone) {
  if (old.config.limit != config.limit) {
    const std::string window = window_key(config.period, now_ns_, zone);
    std::optional<Nanousd> before = old.config.limit;
    if (before) before = saturating_add(*before, old.granted);
    if (Status s = backend_.close_limits(old.scope_id, window, before); !s.ok()) return s;
    StatusOr<std::int64_t> labels = backend_.intern_labels(CallLabels{.unit = config.unit});
    if (!labels.ok()) return labels.status();
    const BalanceRef scope_ref[] = {{.id = old.scope_id}};
    blob_balances_.clear();
    encode_balances(scope_ref, blob_balances_);
    const auto said = [](const std::optional<Nanousd>& limit) {
      return limit ? absl::StrCat(*limit) : std::string("none");
    };
    const std::string evidence = absl::StrCat("the configured limit was ", said(old.config.limit),
                                              " and is ", said(config.limit));
    EntryRow row;
    row.call_id.high = static_cast<std::uint64_t>(now_ns_ / kNsPerMs) << 16 | 0x7fff;
    row.call_id.low = std::uint64_t{2} << 62 | static_cast<std::uint64_t>(old.scope_id) << 20;
    row.kind = EntryKind::kReplace;
    row.segment = segment_;
    row.time_ns = now_ns_;
    row.amount = config.limit.value_or(kNanousdMax) - old.config.limit.value_or(kNanousdMax);
    row.labels = *labels;
    row.balances = blob_balances_;
    row.evidence = evidence;
    for (bool fresh = false; !fresh; ++row.call_id.low) {  // twice within a millisecond
      StatusOr<bool> inserted = write_entry(row);
      if (!inserted.ok()) return inserted.status();
      fresh = *inserted;
    }
  }
  return backend_.replace_limit(old.scope_id, config.limit);
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
