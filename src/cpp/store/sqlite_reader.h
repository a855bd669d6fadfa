// Reports from a ledger file, beside its writer.
//
// Model. A read connection of its own, query_only. Each call, and each batch of entries, is one
// short read transaction, so a report never keeps the log from being copied into the file; only
// verify() reads in one piece. While the user's callback runs no transaction is open.
//
// Bounds: memory one batch, and the names of the scopes and labels met. Threads: any; one report's
// batch at a time.
#pragma once

#include <absl/container/flat_hash_map.h>

#include <memory>
#include <mutex>
#include <string>
#include <vector>

#include "store/backend.h"
#include "store/sqlite_db.h"

namespace sluiceway::store {

class SqliteReader {
 public:
  explicit SqliteReader(std::string path) : path_(std::move(path)) {}

  StatusOr<ScopeBalance> balance(const Scope& scope, std::int64_t now_ns);
  StatusOr<ClockRow> clock();
  Status entries(const EntryBounds& bounds,
                 const std::function<bool(std::span<const Entry>)>& batch);
  StatusOr<std::vector<HoldInfo>> holds();
  StatusOr<std::vector<ScopeInfo>> scopes();
  StatusOr<VerifyReport> verify();

  std::mutex& mutex() { return mutex_; }  // for the fork hooks
  void close();                           // with the mutex held

 private:
  struct Cursor {
    Id call;
    std::int64_t attempt = -1, kind = -1;
    bool started = false;
  };
  Status ensure_open();
  StatusOr<std::vector<std::int32_t>> segments();
  StatusOr<bool> batch_of(std::int32_t segment, const EntryBounds& bounds, Cursor& cursor,
                          std::vector<Entry>& out);
  Status fill_entry(Statement& row, Entry& entry);
  StatusOr<std::string> scope_of(std::int64_t balance);
  Status scopes_of(std::string_view blob, std::vector<std::string>& names);
  StatusOr<std::shared_ptr<const CallLabels>> labels_of(std::int64_t id);
  StatusOr<std::string> price_of(std::int64_t id);
  Status replay(class Replay& replay);

  const std::string path_;
  std::mutex mutex_;
  Connection db_;
  Statement balance_, slots_, scope_name_, labels_, price_, clock_;
  absl::flat_hash_map<std::int64_t, std::string> scope_names_, price_names_;
  absl::flat_hash_map<std::int64_t, std::shared_ptr<const CallLabels>> label_objects_;
};

}  // namespace sluiceway::store
