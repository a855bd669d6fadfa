// What a handle asks its core, and how it leaves it: see ledger_handle.h.
#include "store/ledger_handle.h"

#include <absl/strings/str_cat.h>

#include "store/faults.h"

namespace sluiceway::store {
namespace {

Status check_scope(const ScopeConfig& config, StatusOr<TimeZone>& zone) {
  if (config.kind.empty() || config.kind.find_first_of(":@") != std::string::npos) {
    return invalid_argument("a scope's kind is not empty and has no ':' or '@'");
  }
  if (config.limit && *config.limit < 0) return invalid_argument("a limit is at least 0");
  if (config.rolling_ns != 0 && config.rolling_ns < kRollingSlots * kNsPerSecond) {
    return invalid_argument("a rolling window is at least 60 seconds");
  }
  if (config.rolling_ns != 0 && config.period != Period::kNone) {
    return invalid_argument("a scope is rolling or has a calendar period, not both");
  }
  if (config.unit.empty()) return invalid_argument("a scope has a unit");
  zone = TimeZone::load(config.time_zone);
  return zone.status();
}

}  // namespace

Registry& registry() {
  static auto* instance = new Registry;
  return *instance;
}

LedgerHandle::Use::Use(const LedgerHandle& handle) : handle_(const_cast<LedgerHandle&>(handle)) {
  if (handle.in_child()) {  // before the mutex, which the fork may have caught held
    status_ = absl::FailedPreconditionError("the ledger belongs to the parent process");
    return;
  }
  const std::lock_guard<std::mutex> lock(handle_.uses_mutex_);
  if (handle_.client_ == nullptr) {
    status_ = absl::FailedPreconditionError("the ledger is closed");
  } else {
    ++handle_.uses_;
  }
}

LedgerHandle::Use::~Use() {
  if (!status_.ok() || handle_.in_child()) return;
  {
    const std::lock_guard<std::mutex> lock(handle_.uses_mutex_);
    if (--handle_.uses_ > 0 || !handle_.left_behind_) return;
  }
  const std::lock_guard<std::mutex> lock(registry().mutex);
  handle_.end();
}

Status LedgerHandle::run(std::function<Status(BatchWriter&)> command) {
  const Use use(*this);
  if (!use.status().ok()) return use.status();
  return core_->run(std::move(command));
}

void LedgerHandle::reserve(Reservation&& reservation) {
  if (auto* client = client_.load()) core_->reserve(*client, std::move(reservation));
}

void LedgerHandle::finish(Finish&& finish) {
  if (auto* client = client_.load()) core_->finish(*client, std::move(finish));
}

StatusOr<std::shared_ptr<Scope>> LedgerHandle::open_scope(const ScopeConfig& config) {
  StatusOr<TimeZone> zone = TimeZone::utc();
  if (Status s = check_scope(config, zone); !s.ok()) return s;
  std::shared_ptr<Scope> scope;
  Status status = run([&](BatchWriter& batch) -> Status {
    StatusOr<std::shared_ptr<Scope>> opened = batch.open_scope(config, *zone);
    if (!opened.ok()) return opened.status();
    scope = *std::move(opened);
    return absl::OkStatus();
  });
  if (!status.ok()) return status;
  return scope;
}

StatusOr<ScopeBalance> LedgerHandle::balance(const Scope& scope) {
  const Use use(*this);
  if (!use.status().ok()) return use.status();
  return core_->backend().read_balance(scope, core_->ledger_time_ns());
}

Status LedgerHandle::resolve(const Id& call, Nanousd amount, std::string evidence) {
  return if_archived(
      call, run([&](BatchWriter& batch) { return batch.resolve(call, amount, evidence); }));
}

StatusOr<std::int64_t> LedgerHandle::post_in_doubt(std::int64_t older_than_ns) {
  return answer<std::int64_t>(
      [&](BatchWriter& batch) { return batch.post_in_doubt(older_than_ns); });
}

StatusOr<Booked> LedgerHandle::book(Booking&& booking) {
  if (booking.call_id.empty()) return invalid_argument("a booking has an id");
  if (booking.allowance != nullptr && !has_second_part(booking.call_id)) {
    return invalid_argument("the id of a booking with an allowance ends in a 0 bit");
  }
  return answer<Booked>([&](BatchWriter& batch) { return batch.book(booking); });
}

StatusOr<Nanousd> LedgerHandle::grant(const Id& id, Scope& scope, Nanousd amount,
                                      std::string evidence, std::string idempotency_key) {
  if (id.empty()) return invalid_argument("a grant has an id");
  return answer<Nanousd>([&](BatchWriter& batch) {
    return batch.grant(id, scope, amount, evidence, idempotency_key);
  });
}

StatusOr<Nanousd> LedgerHandle::refund(const Refund& refund) {
  StatusOr<Nanousd> cost =
      answer<Nanousd>([&](BatchWriter& batch) { return batch.refund(refund); });
  for (const Id& call : refund.calls) {
    if (!cost.ok()) cost = if_archived(call, cost.status());
  }
  return cost;
}

Status LedgerHandle::create_job(JobRow row) {
  if (row.call_id.empty() || row.provider_job_id.empty()) {
    return invalid_argument("a job has a call id and its provider's id");
  }
  return run([&](BatchWriter& batch) { return batch.create_job(std::move(row)); });
}

Status LedgerHandle::update_job(JobUpdate update) {
  return run([&](BatchWriter& batch) { return batch.update_job(update); });
}

StatusOr<std::optional<JobRow>> LedgerHandle::find_job(const Id& call) {
  const Use use(*this);
  if (!use.status().ok()) return use.status();
  return core_->backend().read_job(call);
}

StatusOr<std::optional<JobRow>> LedgerHandle::find_job(std::string_view provider_job_id) {
  const Use use(*this);
  if (!use.status().ok()) return use.status();
  if (provider_job_id.empty()) return invalid_argument("a provider's job id is not empty");
  StatusOr<std::vector<JobRow>> rows = core_->backend().read_jobs("", provider_job_id);
  if (!rows.ok()) return rows.status();
  if (rows->empty()) return std::optional<JobRow>{};
  return std::optional<JobRow>(std::move(rows->back()));
}

StatusOr<std::vector<JobRow>> LedgerHandle::jobs(std::string_view state) {
  const Use use(*this);
  if (!use.status().ok()) return use.status();
  return core_->backend().read_jobs(state, "");
}

Status LedgerHandle::reanchor_time() {
  return run([](BatchWriter& batch) { return batch.reanchor_time(); });
}

Status LedgerHandle::flush(std::int64_t timeout_ns) {
  const Use use(*this);
  if (!use.status().ok()) return use.status();
  return core_->flush(timeout_ns);
}

int LedgerHandle::live_engines() const {
  const Use use(*this);
  return use.status().ok() ? core_->live_engines() : 0;
}

std::int64_t LedgerHandle::ledger_time_ns() {
  const Use use(*this);
  return use.status().ok() ? core_->ledger_time_ns() : 0;
}

LedgerStats LedgerHandle::stats() const {
  const Use use(*this);
  return use.status().ok() ? core_->stats() : LedgerStats{};
}

Status LedgerHandle::read_entries(const EntryBounds& bounds,
                                  const std::function<bool(std::span<const Entry>)>& batch) {
  const Use use(*this);
  if (!use.status().ok()) return use.status();
  return core_->backend().read_entries(bounds, batch);
}

StatusOr<Changes> LedgerHandle::changes(std::int64_t after, std::size_t limit) {
  const Use use(*this);
  if (!use.status().ok()) return use.status();
  if (after < 0 || limit == 0) return invalid_argument("a cursor is at least 0, a limit 1");
  return core_->backend().read_changes(after, limit);
}

StatusOr<std::vector<HoldInfo>> LedgerHandle::holds() {
  const Use use(*this);
  if (!use.status().ok()) return use.status();
  return core_->backend().read_holds();
}

StatusOr<std::vector<ScopeInfo>> LedgerHandle::scopes() {
  const Use use(*this);
  if (!use.status().ok()) return use.status();
  return core_->backend().read_scopes();
}

StatusOr<VerifyReport> LedgerHandle::verify() {
  const Use use(*this);
  if (!use.status().ok()) return use.status();
  return core_->backend().verify();
}

bool LedgerHandle::pump() {
  // by the owner alone, who does not close meanwhile
  return client_.load() != nullptr && !in_child() && core_->pump();
}

// Copies each month beside the writer, and then lets the writer drop it; again where a refund came
// in between.
StatusOr<Archived> LedgerHandle::archive(std::string_view before, const std::string& path) {
  std::int32_t end = 0;
  for (std::size_t i = 0; i < before.size(); ++i) {
    const bool digit = before[i] >= '0' && before[i] <= '9';
    if (before.size() != 7 || (i == 4 ? before[i] != '-' : !digit)) break;
    if (digit) end = end * 10 + (before[i] - '0');
  }
  if (end < 100'001 || end % 100 < 1 || end % 100 > 12) {
    return invalid_argument("a month is written like 2026-09");
  }
  if (path.empty()) return invalid_argument("an archive has a path");
  const Use use(*this);
  if (!use.status().ok()) return use.status();
  StatusOr<std::vector<MonthInfo>> months =
      answer<std::vector<MonthInfo>>([](BatchWriter& batch) { return batch.months(); });
  if (!months.ok()) return months.status();
  Archived out;
  for (const MonthInfo& month : *months) {
    if (month.segment >= end) continue;
    bool dropped = false;
    for (int round = 0; round < 3 && !dropped && month.holds == 0; ++round) {
      StatusOr<MonthSums> sums = core_->backend().copy_month(month.segment, path);
      if (!sums.ok()) return sums.status();
      fault_point("archive.copied");
      StatusOr<bool> gone =
          answer<bool>([&](BatchWriter& batch) { return batch.drop_month(*sums, path); });
      if (!gone.ok()) return gone.status();
      dropped = *gone;
      if (dropped) out.entries += sums->rows;
    }
    (dropped ? out.months : out.kept).push_back(month.segment);
  }
  return out;
}

// A call that is not here may lie in an archive, where nothing is changed any more: says so, and
// what to do instead.
Status LedgerHandle::if_archived(const Id& call, Status status) {
  if (!absl::IsNotFound(status)) return status;
  const Use use(*this);
  if (!use.status().ok()) return use.status();
  StatusOr<std::vector<std::string>> paths = core_->backend().read_archive_paths();
  if (!paths.ok()) return status;
  std::string unread;
  for (const std::string& path : *paths) {
    CallRow sums;
    std::string scopes;
    const Status read = read_archive(path, {.call = call}, [&](std::span<const Entry> rows) {
      for (const Entry& row : rows) {
        sums.add(row.kind, row.attempt, row.amount);
        for (const std::string& scope : row.scopes) scopes += " " + scope;
      }
      return true;
    });
    if (!read.ok()) unread = path;
    if (scopes.empty() && !sums.costs) continue;
    return absl::FailedPreconditionError(absl::StrCat(
        "the call ", call.text(), " is in the archive ", path, " at ", sums.cost - sums.refunded,
        ", where nothing is changed any more. What comes back of it is granted to its scopes",
        scopes, " (gw.ledger.grant, wallet.top_up), what it cost beyond that is booked (gw.book);",
        " name the call as the evidence"));
  }
  if (unread.empty()) return status;
  return absl::NotFoundError(to_absl(std::string(to_std(status.message())) +
                                     "; it may lie in the archive " + unread +
                                     ", which cannot be read there"));
}

void LedgerHandle::close() {
  if (client_ == nullptr) return;
  if (in_child()) {  // nothing of it may be ended here, its thread is not in this process
    client_ = nullptr;
    (void)new std::shared_ptr<LedgerCore>(core_);  // kept for ever, without the registry's lock
    return;
  }
  const std::lock_guard<std::mutex> lock(registry().mutex);
  if (client_ == nullptr) return;
  LedgerCore::Client* client = client_.exchange(nullptr);
  if (core_->forked()) return;  // the parent's; kept in `abandoned`
  core_->detach(client);
  {
    const std::lock_guard<std::mutex> uses(uses_mutex_);
    left_behind_ = uses_ > 0;
    if (left_behind_) return;
  }
  end();
}

// Lets go of the core, under the registry's mutex (see Registry). The last to do so ends its writer
// thread; a handle that was opened meanwhile goes on with it.
void LedgerHandle::end() {
  if (core_->clients() == 0) {
    Registry& files = registry();
    const auto it = files.cores.find(file_);
    if (it != files.cores.end() && it->second == core_) files.cores.erase(it);
  }
  core_.reset();
}

}  // namespace sluiceway::store
