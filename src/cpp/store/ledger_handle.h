// One engine's handle on a core, and the registry of the cores that are open: see ledger.h.
//
// Model. A method enters the core by a Use, which keeps it there: another thread may close the
// ledger meanwhile, and what it was closed over is then ended by whoever leaves last.
#pragma once

#include <sys/types.h>

#include <atomic>
#include <cstdint>
#include <functional>
#include <map>
#include <memory>
#include <mutex>
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "base/process.h"
#include "store/core.h"
#include "store/ledger.h"

namespace sluiceway::store {

using FileId = std::pair<dev_t, ino_t>;

// One core a file and process: POSIX locks belong to the process, and its lock file must be opened
// once. Never destroyed: threads may outlive static destruction.
struct Registry {
  std::mutex mutex;  // held while a core is made or ended
  std::map<FileId, std::shared_ptr<LedgerCore>> cores;
  std::vector<std::shared_ptr<LedgerCore>> abandoned;  // of the parent; never ended here
};

Registry& registry();

class LedgerHandle final : public Ledger {
 public:
  LedgerHandle(std::shared_ptr<LedgerCore> core, LedgerCore::Client* client, FileId file)
      : core_(std::move(core)), client_(client), owner_(client->owner), file_(file) {}
  ~LedgerHandle() override { close(); }

  void reserve(Reservation&& reservation) override;
  void finish(Finish&& finish) override;
  StatusOr<std::shared_ptr<Scope>> open_scope(const ScopeConfig& config) override;
  StatusOr<ScopeBalance> balance(const Scope& scope) override;
  Status resolve(const Id& call, Nanousd amount, std::string evidence) override;
  StatusOr<std::int64_t> post_in_doubt(std::int64_t older_than_ns) override;
  StatusOr<Booked> book(Booking&& booking) override;
  StatusOr<Nanousd> grant(const Id& id, Scope& scope, Nanousd amount, std::string evidence,
                          std::string idempotency_key) override;
  StatusOr<Nanousd> refund(const Refund& refund) override;
  Status create_job(JobRow row) override;
  Status update_job(JobUpdate update) override;
  StatusOr<std::optional<JobRow>> find_job(const Id& call) override;
  StatusOr<std::optional<JobRow>> find_job(std::string_view provider_job_id) override;
  StatusOr<std::vector<JobRow>> jobs(std::string_view state) override;
  Status reanchor_time() override;
  Status flush(std::int64_t timeout_ns) override;
  void close() override;
  int live_engines() const override;
  std::int64_t ledger_time_ns() override;
  LedgerStats stats() const override;
  std::int64_t owner() const override { return owner_; }

  Status read_entries(const EntryBounds& bounds,
                      const std::function<bool(std::span<const Entry>)>& batch) override;
  StatusOr<Changes> changes(std::int64_t after, std::size_t limit) override;
  StatusOr<std::vector<HoldInfo>> holds() override;
  StatusOr<std::vector<ScopeInfo>> scopes() override;
  StatusOr<VerifyReport> verify() override;
  StatusOr<Archived> archive(std::string_view before, const std::string& path) override;
  bool pump() override;  // by the owner alone, who does not close meanwhile

 private:
  Status if_archived(const Id& call, Status status);
  // A method's stay in the core.
  class Use {
   public:
    explicit Use(const LedgerHandle& handle);
    ~Use();
    Use(const Use&) = delete;
    Use& operator=(const Use&) = delete;
    const Status& status() const { return status_; }

   private:
    LedgerHandle& handle_;
    Status status_;
  };

  bool in_child() const { return forks_behind() != born_; }
  void end();
  Status run(std::function<Status(BatchWriter&)> command);
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

}  // namespace sluiceway::store
