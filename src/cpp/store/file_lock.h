// The lock file of a ledger: a fair lock between processes, and who is alive.
//
// Model. `<ledger>-lock` holds no data, only record locks (fcntl) on single bytes. Byte 0 is
// the turnstile, byte 1 the commit lock: a process takes the turnstile, then the commit lock, then
// gives the turnstile back. Who waits for the commit lock therefore holds the turnstile, and the
// process that has just committed cannot overtake it. Byte kOwnerBase + n is held by owner n for as
// long as it lives; the kernel gives it back when the process dies, however it dies.
//
// The locks are those of the open file (F_OFD_SETLK), not of the process: a process's own go away
// when ANY descriptor of the file is closed in it, so that a backup made inside it would tell the
// others that it is dead. SQLite's own locks on its files have that trap.
//
// Traps. A fork shares the open file: a child lets go of it (abandon), else it keeps a dead parent
// alive. Not for network file systems.
//
// Bounds: four system calls a commit. Threads: lock() and unlock() by one thread at a time.
#pragma once

#include <cstdint>
#include <string>

#include "base/status.h"

namespace sluiceway::store {

class FileLock {
 public:
  FileLock() = default;
  ~FileLock();
  FileLock(const FileLock&) = delete;
  FileLock& operator=(const FileLock&) = delete;

  // Makes the file where it is not there.
  Status open(const std::string& path);
  // Waits, fairly. The nanoseconds waited.
  StatusOr<std::int64_t> lock();
  void unlock();

  Status hold_owner(std::int64_t owner);
  void release_owner(std::int64_t owner);
  // Whether another process holds the owner's byte. Our own bytes are not seen.
  StatusOr<bool> owner_alive_elsewhere(std::int64_t owner) const;

  // In a forked child: closes the descriptor. The parent's keeps the locks.
  void abandon();

 private:
  static constexpr std::int64_t kOwnerBase = 1024;
  int fd_ = -1;
};

}  // namespace sluiceway::store
