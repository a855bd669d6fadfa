// Opening ledgers, and the fork hooks: see ledger.h.
#include "store/ledger.h"

#include <errno.h>
#include <fcntl.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cstdlib>
#include <mutex>

#include "store/ledger_handle.h"
#include "store/memory_backend.h"
#include "store/sqlite_backend.h"

namespace sluiceway::store {
namespace {

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
