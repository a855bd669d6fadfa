// The rows of async jobs, and the end of their holds: see booking.h and batch.h.
#include "store/batch.h"
#include "store/codec.h"

namespace sluiceway::store {
namespace {

// What a second create_job() with the same row may not change.
bool same_job(const JobRow& a, const JobRow& b) {
  return a.provider == b.provider && a.account == b.account && a.tenant == b.tenant &&
         a.key_id == b.key_id && a.provider_job_id == b.provider_job_id;
}

}  // namespace

Status BatchWriter::create_job(JobRow row) {
  Status status = begin();
  if (!status.ok()) return end(std::move(status), "", "");
  StatusOr<std::optional<JobRow>> found = backend_.find_job(row.call_id);
  if (!found.ok()) return end(found.status(), "", "");
  if (found->has_value()) {
    return refuse(same_job(**found, row) ? absl::OkStatus()
                                         : absl::AlreadyExistsError(to_absl(
                                               "the call " + row.call_id.text() + " has a job")));
  }
  StatusOr<bool> taken = backend_.has_job(row.provider, row.account, row.provider_job_id);
  if (!taken.ok()) return end(taken.status(), "", "");
  if (*taken) {
    return refuse(absl::AlreadyExistsError(
        to_absl("another call has the job " + row.provider_job_id + " of " + row.provider)));
  }
  row.created_ns = row.updated_ns = now_ns_;
  status = backend_.insert_job(row);
  if (status.ok()) status = adopt_hold(row.call_id);
  return end(std::move(status), "book.before_commit", "book.after_commit");
}

// From now on the hold is the job's: its owner is nobody, so nobody's death ends it.
Status BatchWriter::adopt_hold(const Id& id) {
  StatusOr<std::optional<HoldRow>> hold = backend_.find_hold(id);
  if (!hold.ok()) return hold.status();
  if (!hold->has_value() || (*hold)->in_doubt) return absl::OkStatus();
  (*hold)->owner = 0;
  if (StatusOr<bool> updated = backend_.update_hold(**hold); !updated.ok()) return updated.status();
  if (const auto it = open_.find(id); it != open_.end()) {
    undo_.emplace_back(id, it->second);
    it->second.owner = 0;
  }
  return absl::OkStatus();
}

Status BatchWriter::update_job(const JobUpdate& update) {
  if (update.settle && (update.release || *update.settle < 0)) {
    return invalid_argument("a job is settled at 0 or more, or released, not both");
  }
  Status status = begin();
  if (!status.ok()) return end(std::move(status), "", "");
  StatusOr<std::optional<JobRow>> found = backend_.find_job(update.call_id);
  if (!found.ok()) return end(found.status(), "", "");
  if (!found->has_value()) {
    return refuse(absl::NotFoundError(to_absl("no job of the call " + update.call_id.text())));
  }
  if (update.settle || update.release) {
    status = end_job_hold(update);
    if (absl::IsFailedPrecondition(status)) return refuse(std::move(status));
  }
  JobRow row = **std::move(found);
  if (!update.state.empty()) row.state = update.state;
  if (update.result) row.result = *update.result;
  row.updated_ns = now_ns_;
  if (status.ok()) status = backend_.update_job(row);
  return end(std::move(status), "book.before_commit", "book.after_commit");
}

Status BatchWriter::end_job_hold(const JobUpdate& update) {
  StatusOr<std::optional<HoldRow>> hold = backend_.find_hold(update.call_id);
  if (!hold.ok()) return hold.status();
  if (!hold->has_value()) {
    // The same end again is fine: its answer may have been lost.
    StatusOr<std::optional<CallRow>> ended = backend_.find_call(update.call_id);
    if (!ended.ok()) return ended.status();
    if (ended->has_value() &&
        (update.release ? (*ended)->voided : (*ended)->costs && (*ended)->cost == *update.settle)) {
      return absl::OkStatus();
    }
    return absl::FailedPreconditionError(
        to_absl("nothing is held for the call " + update.call_id.text() + "; it has ended"));
  }
  if ((*hold)->in_doubt && update.release) {
    return absl::FailedPreconditionError(
        to_absl("the call " + update.call_id.text() +
                " is in doubt; it ends by what it cost, with evidence"));
  }
  StatusOr<OpenCall> call = from_hold(**hold);
  if (!call.ok()) return call.status();
  if (const auto it = open_.find(update.call_id); it != open_.end()) {
    call->idempotency_key = it->second.idempotency_key;
    call->labels_object = it->second.labels_object;
  }
  EntryRow row;
  row.call_id = update.call_id;
  row.attempt = 1;
  row.kind = update.settle ? EntryKind::kSettle : EntryKind::kVoid;
  row.amount = update.settle.value_or(0);
  blob_usage_.clear();
  encode_usage(update.usage, blob_usage_);
  row.usage = blob_usage_;
  row.evidence = update.evidence;
  StatusOr<std::int64_t> price = price_id(update.price_version);
  if (!price.ok()) return price.status();
  row.price = *price;
  return end_hold(update.call_id, *call, row);
}

}  // namespace sluiceway::store
