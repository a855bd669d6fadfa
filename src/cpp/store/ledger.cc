// Handles, the registry of open files, and the fork hooks: see ledger.h.
#include "store/ledger.h"

#include <errno.h>
#include <fcntl.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include <absl/strings/str_cat.h>

#include <atomic>
#include <cstdlib>
#include <map>
#include <mutex>
#include <utility>

#include "base/process.h"
#include "store/core.h"
#include "store/faults.h"
#include "store/memory_backend.h"
#include "store/sqlite_backend.h"

namespace sluiceway::store {
namespace {

using FileId = std::pair<dev_t, ino_t>;

// One core a file and process: POSIX locks belong to the process, and its lock file must be opened
// once. Never destroyed: threads may outlive static destruction.
struct Registry {
  std::mutex mutex;  // held while a core is made or ended
  std::map<FileId, std::shared_ptr<LedgerCore>> cores;
  std::vector<std::shared_ptr<LedgerCore>> abandoned;  // of the parent; never ended here
};

Registry& registry() {
  static auto* instance = new Registry;
  return *instance;
}

// Every core by weak pointer, memory ledgers too, for the fork hooks.
std::vector<std::weak_ptr<LedgerCore>>& all_cores() {
  static auto* cores = new std::vector<std::weak_ptr<LedgerCore>>;
  return *cores;
}

// Cores whose locks fork_before() took.
std::vector<std::shared_ptr<LedgerCore>>& locked_cores() {
  static auto* cores = new std::vector<std::shared_ptr<LedgerCore>>;
  return *cores;
}

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

class LedgerHandle final : public Ledger {
 public:
  LedgerHandle(std::shared_ptr<LedgerCore> core, LedgerCore::Client* client, FileId file)
      : core_(std::move(core)), client_(client), owner_(client->owner), file_(file) {}
  ~LedgerHandle() override { close(); }

  void reserve(Reservation&& reservation) override {
    if (auto* client = client_.load()) core_->reserve(*client, std::move(reservation));
  }
  void finish(Finish&& finish) override {
    if (auto* client = client_.load()) core_->finish(*client, std::move(finish));
  }
  StatusOr<std::shared_ptr<Scope>> open_scope(const ScopeConfig& config) override {
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
  StatusOr<ScopeBalance> balance(const Scope& scope) override {
    const Use use(*this);
    if (!use.status().ok()) return use.status();
    return core_->backend().read_balance(scope, core_->ledger_time_ns());
  }
  Status resolve(const Id& call, Nanousd amount, std::string evidence) override {
    return if_archived(
        call, run([&](BatchWriter& batch) { return batch.resolve(call, amount, evidence); }));
  }
  StatusOr<std::int64_t> post_in_doubt(std::int64_t older_than_ns) override {
    return answer<std::int64_t>(
        [&](BatchWriter& batch) { return batch.post_in_doubt(older_than_ns); });
  }
  StatusOr<Booked> book(Booking&& booking) override {
    if (booking.call_id.empty()) return invalid_argument("a booking has an id");
    if (booking.allowance != nullptr && !has_second_part(booking.call_id)) {
      return invalid_argument("the id of a booking with an allowance ends in a 0 bit");
    }
    return answer<Booked>([&](BatchWriter& batch) { return batch.book(booking); });
  }
  StatusOr<Nanousd> grant(const Id& id, Scope& scope, Nanousd amount, std::string evidence,
                          std::string idempotency_key) override {
    if (id.empty()) return invalid_argument("a grant has an id");
    return answer<Nanousd>([&](BatchWriter& batch) {
      return batch.grant(id, scope, amount, evidence, idempotency_key);
    });
  }
  StatusOr<Nanousd> refund(const Refund& refund) override {
    StatusOr<Nanousd> cost =
        answer<Nanousd>([&](BatchWriter& batch) { return batch.refund(refund); });
    for (const Id& call : refund.calls) {
      if (!cost.ok()) cost = if_archived(call, cost.status());
    }
    return cost;
  }
  Status create_job(JobRow row) override {
    if (row.call_id.empty() || row.provider_job_id.empty()) {
      return invalid_argument("a job has a call id and its provider's id");
    }
    return run([&](BatchWriter& batch) { return batch.create_job(std::move(row)); });
  }
  Status update_job(JobUpdate update) override {
    return run([&](BatchWriter& batch) { return batch.update_job(update); });
  }
  StatusOr<std::optional<JobRow>> find_job(const Id& call) override {
    const Use use(*this);
    if (!use.status().ok()) return use.status();
    return core_->backend().read_job(call);
  }
  StatusOr<std::optional<JobRow>> find_job(std::string_view provider_job_id) override {
    const Use use(*this);
    if (!use.status().ok()) return use.status();
    if (provider_job_id.empty()) return invalid_argument("a provider's job id is not empty");
    StatusOr<std::vector<JobRow>> rows = core_->backend().read_jobs("", provider_job_id);
    if (!rows.ok()) return rows.status();
    if (rows->empty()) return std::optional<JobRow>{};
    return std::optional<JobRow>(std::move(rows->back()));
  }
  StatusOr<std::vector<JobRow>> jobs(std::string_view state) override {
    const Use use(*this);
    if (!use.status().ok()) return use.status();
    return core_->backend().read_jobs(state, "");
  }
  Status reanchor_time() override {
    return run([](BatchWriter& batch) { return batch.reanchor_time(); });
  }
  Status flush(std::int64_t timeout_ns) override {
    const Use use(*this);
    if (!use.status().ok()) return use.status();
    return core_->flush(timeout_ns);
  }
  void close() override;
  int live_engines() const override {
    const Use use(*this);
    return use.status().ok() ? core_->live_engines() : 0;
  }
  std::int64_t ledger_time_ns() override {
    const Use use(*this);
    return use.status().ok() ? core_->ledger_time_ns() : 0;
  }
  LedgerStats stats() const override {
    const Use use(*this);
    return use.status().ok() ? core_->stats() : LedgerStats{};
  }
  std::int64_t owner() const override { return owner_; }

  Status read_entries(const EntryBounds& bounds,
                      const std::function<bool(std::span<const Entry>)>& batch) override {
    const Use use(*this);
    if (!use.status().ok()) return use.status();
    return core_->backend().read_entries(bounds, batch);
  }
  StatusOr<Changes> changes(std::int64_t after, std::size_t limit) override {
    const Use use(*this);
    if (!use.status().ok()) return use.status();
    if (after < 0 || limit == 0) return invalid_argument("a cursor is at least 0, a limit 1");
    return core_->backend().read_changes(after, limit);
  }
  StatusOr<std::vector<HoldInfo>> holds() override {
    const Use use(*this);
    if (!use.status().ok()) return use.status();
    return core_->backend().read_holds();
  }
  StatusOr<std::vector<ScopeInfo>> scopes() override {
    const Use use(*this);
    if (!use.status().ok()) return use.status();
    return core_->backend().read_scopes();
  }
  StatusOr<VerifyReport> verify() override {
    const Use use(*this);
    if (!use.status().ok()) return use.status();
    return core_->backend().verify();
  }
  StatusOr<Archived> archive(std::string_view before, const std::string& path) override;
  bool pump() override {  // by the owner alone, who does not close meanwhile
    return client_.load() != nullptr && !in_child() && core_->pump();
  }

 private:
  Status if_archived(const Id& call, Status status);
  // A method's stay in the core. Another thread may close the ledger meanwhile; what it was closed
  // over is then ended by whoever leaves last.
  class Use {
   public:
    explicit Use(const LedgerHandle& handle) : handle_(const_cast<LedgerHandle&>(handle)) {
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
    ~Use() {
      if (!status_.ok() || handle_.in_child()) return;
      {
        const std::lock_guard<std::mutex> lock(handle_.uses_mutex_);
        if (--handle_.uses_ > 0 || !handle_.left_behind_) return;
      }
      const std::lock_guard<std::mutex> lock(registry().mutex);
      handle_.end();
    }
    Use(const Use&) = delete;
    Use& operator=(const Use&) = delete;
    const Status& status() const { return status_; }

   private:
    LedgerHandle& handle_;
    Status status_;
  };

  bool in_child() const { return forks_behind() != born_; }
  void end();
  Status run(std::function<Status(BatchWriter&)> command) {
    const Use use(*this);
    if (!use.status().ok()) return use.status();
    return core_->run(std::move(command));
  }
  // A command that answers with a value.
  template <typename Value, typename Command>
  StatusOr<Value> answer(const Command& command) {
    Value value{};
    Status status = run([&](BatchWriter& batch) -> Status {
      StatusOr<Value> found = command(batch);
      if (!found.ok()) return found.status();
      value = *std::move(found);
      return absl::OkStatus();
    });
    if (!status.ok()) return status;
    return value;
  }

  std::shared_ptr<LedgerCore> core_;  // there while client_ is, or somebody uses it
  // Atomic: a sink that answers on the writer's thread may look while the owner closes.
  std::atomic<LedgerCore::Client*> client_;
  const std::int64_t owner_;
  const FileId file_;
  const std::uint32_t born_ = forks_behind();
  std::mutex uses_mutex_;
  int uses_ = 0;              // methods that are in the core
  bool left_behind_ = false;  // closed while they were
};

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

// The file's identity; makes an empty file where there is none. Only a file that is new may be
// opened and closed here: closing a descriptor of an open ledger would drop SQLite's locks.
StatusOr<FileId> identify(const std::string& path) {
  struct stat info{};
  if (::stat(path.c_str(), &info) != 0) {
    const int fd = ::open(path.c_str(), O_RDWR | O_CREAT | O_EXCL | O_CLOEXEC, 0644);
    if (fd >= 0) ::close(fd);
    if (::stat(path.c_str(), &info) != 0) {
      return absl::UnavailableError(
          to_absl("cannot make the ledger file " + path + ": " + ::strerror(errno)));
    }
  }
  if (!S_ISREG(info.st_mode)) return invalid_argument("not a regular file: " + path);
  return FileId(info.st_dev, info.st_ino);
}

StatusOr<std::shared_ptr<Ledger>> attach(const std::shared_ptr<LedgerCore>& core, FileId file,
                                         VerdictSink* sink) {
  StatusOr<LedgerCore::Client*> client = core->attach(sink);
  if (!client.ok()) return client.status();
  return std::shared_ptr<Ledger>(std::make_shared<LedgerHandle>(core, *client, file));
}

void remember(const std::shared_ptr<LedgerCore>& core) {
  std::erase_if(all_cores(), [](const auto& item) { return item.expired(); });
  all_cores().push_back(core);
}

}  // namespace

std::string_view entry_kind_name(EntryKind kind) {
  static constexpr std::string_view kNames[] = {"reserve",   "settle",  "void",   "in_doubt",
                                                "post_full", "correct", "shrink", "grant",
                                                "refund",    "replace"};
  const auto index = static_cast<std::size_t>(kind);
  return index < std::size(kNames) ? kNames[index] : std::string_view("unknown");
}

StatusOr<std::shared_ptr<Ledger>> open_ledger(const LedgerOptions& options, VerdictSink* sink) {
  if (options.admit == nullptr) return invalid_argument("a ledger needs an admit function");
  if (sink == nullptr) return invalid_argument("a ledger needs a sink for its verdicts");
  if (options.batch_max < 2) return invalid_argument("batch_max is at least 2");
  Registry& files = registry();
  const std::lock_guard<std::mutex> lock(files.mutex);
  if (options.path == ":memory:" || options.durability == Durability::kMemory) {
    auto core = std::make_shared<LedgerCore>(options, std::make_unique<MemoryBackend>());
    remember(core);
    return attach(core, FileId{}, sink);
  }
  if (options.path.empty()) return invalid_argument("a ledger needs a path");
  StatusOr<FileId> file = identify(options.path);
  if (!file.ok()) return file.status();
  const auto known = files.cores.find(*file);
  if (known != files.cores.end()) {
    if (known->second->options().durability != options.durability) {
      return absl::FailedPreconditionError(
          "the ledger is open in this process with another durability");
    }
    return attach(known->second, *file, sink);
  }
  // Whoever opens it by a link, or by a path that a later chdir() changes, takes the same locks.
  LedgerOptions real = options;
  if (char* path = ::realpath(options.path.c_str(), nullptr); path != nullptr) {
    real.path = path;
    std::free(path);
  }
  StatusOr<std::unique_ptr<SqliteBackend>> backend = SqliteBackend::open(real);
  if (!backend.ok()) return backend.status();
  auto core = std::make_shared<LedgerCore>(real, *std::move(backend));
  StatusOr<std::shared_ptr<Ledger>> ledger = attach(core, *file, sink);
  if (!ledger.ok()) return ledger;
  remember(core);
  files.cores.emplace(*file, std::move(core));
  return ledger;
}

void fork_before() {
  registry().mutex.lock();
  for (const auto& weak : all_cores()) {
    if (auto core = weak.lock()) {
      core->fork_lock();
      locked_cores().push_back(std::move(core));
    }
  }
}

void fork_after_in_parent() {
  for (const auto& core : locked_cores()) core->fork_unlock();
  // Not the last references: the handles hold their cores, and closing needs the mutex.
  locked_cores().clear();
  registry().mutex.unlock();
}

void fork_after_in_child() {
  Registry& files = registry();
  for (auto& core : locked_cores()) {
    core->abandon_in_child();
    core->fork_unlock();
    files.abandoned.push_back(std::move(core));  // its thread is not here: it must never be joined
  }
  locked_cores().clear();
  all_cores().clear();
  files.cores.clear();
  files.mutex.unlock();
}

}  // namespace sluiceway::store
