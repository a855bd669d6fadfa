// Files, faults, power cuts and record locks: see disk.h. The table of functions that SQLite calls
// is in disk_vfs.cc.
#include "simulation/disk.h"

#include <fcntl.h>
#include <sqlite3.h>

#include <algorithm>
#include <cstring>

#include "simulation/disk_handle.h"

namespace sluiceway::simulation {
namespace {

constexpr std::int64_t kSector = 512;
constexpr int kSharedMemoryLocks = 8;

}  // namespace

SimDisk& SimDisk::instance() {
  static auto* disk = new SimDisk;
  return *disk;
}

SimDisk::SimDisk() { register_vfs(); }

void SimDisk::format(std::uint64_t seed) {
  ++epoch_;
  files_.clear();
  record_locks_.clear();
  dead_.clear();
  random_ = SeededRandom(seed);
  fault_ = DiskFault::kNone;
  victim_ = -1;
  process_ = 0;
  lock_trouble_.clear();
}

// "folder/p3.db-wal" is the log of the one ledger, whoever's path it is.
std::string SimDisk::file_name(const char* path) {
  const std::string text(path);
  const std::size_t at = text.rfind(".db");
  return at == std::string::npos ? text : "ledger" + text.substr(at);
}

void SimDisk::fail(DiskFault fault, int after) {
  fault_ = fault;
  fault_after_ = after;
}

void SimDisk::kill_at_write(int process, int after) {
  victim_ = process;
  victim_after_ = after;
}

bool SimDisk::hits(DiskFault fault) {
  if (fault_ != fault || fault_after_-- > 0) return false;
  const bool once = fault == DiskFault::kTornWrite || fault == DiskFault::kLostAnswer;
  if (once) fault_ = DiskFault::kNone;
  return true;
}

bool SimDisk::usable(const Handle* handle) const {
  return handle->epoch == epoch_ && !dead_.contains(handle->process);
}

int SimDisk::open(const char* name, Handle* handle, int flags) {
  handle->epoch = epoch_;
  handle->process = process_;
  handle->level = SQLITE_LOCK_NONE;
  handle->maps_shared = false;
  handle->file = nullptr;
  if (dead_.contains(process_)) return SQLITE_CANTOPEN;
  const std::string key =
      name == nullptr ? "temporary " + std::to_string(random_.next()) : file_name(name);
  auto found = files_.find(key);
  if (found == files_.end()) {
    if ((flags & SQLITE_OPEN_CREATE) == 0) return SQLITE_CANTOPEN;
    found = files_.emplace(key, std::make_unique<File>()).first;
  }
  handle->file = found->second.get();
  handle->file->handles.push_back(handle);
  return SQLITE_OK;
}

int SimDisk::read(Handle* handle, void* to, int count, std::int64_t at) {
  if (!usable(handle) || hits(DiskFault::kReadError)) return SQLITE_IOERR_READ;
  const std::string& data = handle->file->now;
  const auto size = static_cast<std::int64_t>(data.size());
  const auto have = static_cast<std::size_t>(std::clamp<std::int64_t>(size - at, 0, count));
  if (have > 0) std::memcpy(to, data.data() + at, have);
  if (have == static_cast<std::size_t>(count)) return SQLITE_OK;
  std::memset(static_cast<char*>(to) + have, 0, static_cast<std::size_t>(count) - have);
  return SQLITE_IOERR_SHORT_READ;
}

void SimDisk::apply(const Write& write, std::string& to) {
  if (write.at < 0) {
    to.resize(static_cast<std::size_t>(write.length));
    return;
  }
  const std::size_t end = static_cast<std::size_t>(write.at) + write.bytes.size();
  if (to.size() < end) to.resize(end);
  std::memcpy(to.data() + write.at, write.bytes.data(), write.bytes.size());
}

void SimDisk::note(File& file, std::int64_t at, std::int64_t length, std::string bytes) {
  file.unsynced.push_back({at, length, std::move(bytes)});
  apply(file.unsynced.back(), file.now);
}

int SimDisk::write(Handle* handle, const void* from, int count, std::int64_t at) {
  if (!usable(handle)) return SQLITE_IOERR_WRITE;
  std::string bytes(static_cast<const char*>(from), static_cast<std::size_t>(count));
  if (handle->process == victim_ && victim_after_-- <= 0) {
    bytes.resize(static_cast<std::size_t>(random_.uniform(count)));
    note(*handle->file, at, 0, std::move(bytes));
    dead_.insert(victim_);
    victim_ = -1;
    return SQLITE_IOERR_WRITE;
  }
  if (hits(DiskFault::kFull)) return SQLITE_FULL;
  if (hits(DiskFault::kWriteError)) return SQLITE_IOERR_WRITE;
  if (hits(DiskFault::kTornWrite)) {
    bytes.resize(static_cast<std::size_t>(random_.uniform(count)));
    note(*handle->file, at, 0, std::move(bytes));
    return SQLITE_IOERR_WRITE;
  }
  const bool lost = hits(DiskFault::kLostAnswer);
  note(*handle->file, at, 0, std::move(bytes));
  return lost ? SQLITE_IOERR_WRITE : SQLITE_OK;
}

int SimDisk::truncate(Handle* handle, std::int64_t size) {
  if (!usable(handle)) return SQLITE_IOERR_TRUNCATE;
  note(*handle->file, -1, size, "");
  return SQLITE_OK;
}

int SimDisk::sync(Handle* handle) {
  if (!usable(handle) || hits(DiskFault::kSyncError)) return SQLITE_IOERR_FSYNC;
  File& file = *handle->file;
  for (const Write& write : file.unsynced) apply(write, file.synced);
  file.unsynced.clear();
  return SQLITE_OK;
}

// SQLite's lock levels over one file; see sqlite.org/lockingv3.html.
int SimDisk::lock(Handle* handle, int level) {
  if (!usable(handle)) return SQLITE_IOERR_LOCK;
  if (level <= handle->level) {
    handle->level = level;
    return SQLITE_OK;
  }
  int highest = SQLITE_LOCK_NONE;
  for (const Handle* other : handle->file->handles) {
    if (other != handle) highest = std::max(highest, other->level);
  }
  const bool free = level == SQLITE_LOCK_SHARED      ? highest < SQLITE_LOCK_PENDING
                    : level == SQLITE_LOCK_EXCLUSIVE ? highest == SQLITE_LOCK_NONE
                                                     : highest < SQLITE_LOCK_RESERVED;
  if (!free) return SQLITE_BUSY;
  handle->level = level;
  return SQLITE_OK;
}

int SimDisk::map_shared(Handle* handle, int region, int size, int extend, volatile void** out) {
  *out = nullptr;
  if (!usable(handle)) return SQLITE_IOERR_SHMMAP;
  File& file = *handle->file;
  if (!handle->maps_shared) {
    handle->maps_shared = true;
    // The first to come finds it empty, whatever a dead process left there.
    if (file.shared_memory_users++ == 0) file.shared_memory.clear();
  }
  const auto index = static_cast<std::size_t>(region);
  if (index >= file.shared_memory.size() && extend == 0) return SQLITE_OK;
  while (file.shared_memory.size() <= index) {
    file.shared_memory.push_back(std::make_unique<char[]>(static_cast<std::size_t>(size)));
  }
  *out = file.shared_memory[index].get();
  return SQLITE_OK;
}

int SimDisk::lock_shared(Handle* handle, int offset, int count, int flags) {
  if (!usable(handle)) return SQLITE_IOERR_SHMLOCK;
  File& file = *handle->file;
  const bool exclusive = (flags & SQLITE_SHM_EXCLUSIVE) != 0;
  const bool taking = (flags & SQLITE_SHM_LOCK) != 0;
  for (int i = offset; taking && i < offset + count; ++i) {
    const bool mine = handle->shared_mask & (1 << i);
    const int others = file.shared_locks[i] - (mine ? 1 : 0);
    const Handle* owner = file.exclusive_locks[i];
    if ((owner != nullptr && owner != handle) || (exclusive && others > 0)) return SQLITE_BUSY;
  }
  for (int i = offset; i < offset + count; ++i) {
    const int bit = 1 << i;
    if (exclusive) {
      file.exclusive_locks[i] = taking ? handle : nullptr;
    } else if (taking != ((handle->shared_mask & bit) != 0)) {
      handle->shared_mask ^= bit;
      file.shared_locks[i] += taking ? 1 : -1;
    }
  }
  return SQLITE_OK;
}

void SimDisk::leave_shared(Handle* handle) {
  if (handle->epoch != epoch_ || !handle->maps_shared) return;
  File& file = *handle->file;
  handle->maps_shared = false;
  for (int i = 0; i < kSharedMemoryLocks; ++i) {
    if (handle->shared_mask & (1 << i)) --file.shared_locks[i];
    if (file.exclusive_locks[i] == handle) file.exclusive_locks[i] = nullptr;
  }
  handle->shared_mask = 0;
  --file.shared_memory_users;
}

void SimDisk::detach(Handle* handle) {
  leave_shared(handle);
  std::erase(handle->file->handles, handle);
  handle->epoch = 0;  // never usable again
}

void SimDisk::close(Handle* handle) {
  if (handle->epoch == epoch_) detach(handle);
}

void SimDisk::kill(int process) {
  dead_.insert(process);
  if (victim_ == process) victim_ = -1;
  for (const auto& [name, file] : files_) {
    const std::vector<Handle*> handles = file->handles;
    for (Handle* handle : handles) {
      if (handle->process == process) detach(handle);
    }
  }
  std::erase_if(record_locks_, [&](const auto& item) { return item.second == process; });
}

void SimDisk::cut_power() {
  ++epoch_;
  record_locks_.clear();
  victim_ = -1;
  fault_ = DiskFault::kNone;
  for (auto& [name, file] : files_) {
    auto left = std::make_unique<File>();
    left->synced = std::move(file->synced);
    for (Write& write : file->unsynced) {
      const std::int64_t fate = random_.uniform(3);
      if (fate == 0) continue;
      if (fate == 1 && !write.bytes.empty()) {
        const auto size = static_cast<std::int64_t>(write.bytes.size());
        const std::int64_t sectors = random_.uniform(size / kSector);
        write.bytes.resize(static_cast<std::size_t>(sectors * kSector));
      }
      apply(write, left->synced);
    }
    left->now = left->synced;
    file = std::move(left);
  }
}

int SimDisk::remove(const char* name) {
  if (dead_.contains(process_) || hits(DiskFault::kWriteError)) return SQLITE_IOERR_DELETE;
  const auto found = files_.find(file_name(name));
  if (found == files_.end()) return SQLITE_OK;
  // Handles of the dead may still point to it.
  for (Handle* handle : found->second->handles) handle->epoch = 0;
  files_.erase(found);
  return SQLITE_OK;
}

int SimDisk::random_bytes(int count, char* out) {
  for (int i = 0; i < count; ++i) out[i] = static_cast<char>(random_.next());
  return count;
}

int SimDisk::record_lock(int command, struct flock* lock) {
  const auto found = record_locks_.find(lock->l_start);
  const bool others = found != record_locks_.end() && found->second != process_;
  if (command == F_OFD_GETLK) {
    lock->l_type = static_cast<short>(others ? F_WRLCK : F_UNLCK);
    return 0;
  }
  if (dead_.contains(process_)) return 0;
  if (lock->l_type == F_UNLCK) {
    if (!others && found != record_locks_.end()) record_locks_.erase(found);
    return 0;
  }
  if (!others) {
    record_locks_[lock->l_start] = process_;
    return 0;
  }
  if (command == F_OFD_SETLKW && lock_trouble_.empty()) {
    lock_trouble_ = "byte " + std::to_string(lock->l_start) + " of the lock file was left locked";
  }
  errno = command == F_OFD_SETLKW ? EDEADLK : EAGAIN;
  return -1;
}

}  // namespace sluiceway::simulation
