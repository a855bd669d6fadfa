// A disk of its own for a simulated machine: files in memory under SQLite, faults, power cuts, and
// the record locks between its processes.
//
// Model. One SimDisk is SQLite's default VFS for as long as the program runs. Every ledger path
// `<folder>/p<n>.db` names the same file here, with its log and its shared memory, so that several
// ledgers of this program stand for several processes on one ledger file: store::open_ledger tells
// them apart by the paths. enter() says on whose behalf I/O and fcntl locks come from now on. A
// file keeps what was written and what was synced; cut_power() leaves what was synced and, of the
// later writes, each one whole, torn at a sector, or not at all. A killed process's handles fail
// from the next operation on and change nothing.
//
// fcntl(F_OFD_SETLK, F_OFD_SETLKW, F_OFD_GETLK) of this program is answered from here (disk.cc
// defines the symbol): a real process never sees its own locks as another's, ours must. A lock that
// would have to be waited for is a fault of the ledger, since no transaction spans two steps of a
// simulation.
//
// Bounds: memory as large as the files; a read or write is a copy. Threads: one.
// Sources: sqlite.org/vfs.html and wal.html; the idea is TigerBeetle's VOPR.
#pragma once

#include <cstdint>
#include <map>
#include <memory>
#include <set>
#include <string>
#include <vector>

#include "base/random.h"

struct flock;  // NOLINT(readability-identifier-naming): the C library's

namespace sluiceway::simulation {

enum class DiskFault : std::uint8_t {
  kNone,
  kFull,        // ENOSPC: writes fail
  kWriteError,  // EIO on writes
  kSyncError,   // EIO on fsync; what was written may be on the disk or not
  kReadError,   // EIO on reads
  kTornWrite,   // once: half of a write arrives, and EIO is reported
  kLostAnswer,  // once: a write arrives whole, and EIO is reported
};
constexpr int kDiskFaults = 7;

struct Handle;  // an open file of SQLite's

class SimDisk {
 public:
  static SimDisk& instance();
  // An empty disk; older handles are dead.
  void format(std::uint64_t seed);
  void enter(int process) { process_ = process; }

  // From the operation after the next `after` on that it concerns, until heal().
  void fail(DiskFault fault, int after);
  void heal() { fault_ = DiskFault::kNone; }
  bool faulty() const { return fault_ != DiskFault::kNone; }
  // This process dies in the middle of its n-th write from now.
  void kill_at_write(int process, int after);
  // The process dies now, but its code may still run for a moment: nothing of it has an effect.
  void strike(int process) { dead_.insert(process); }
  // The process is gone: locks and shared memory are given back, nothing is written any more.
  void kill(int process);
  bool dead(int process) const { return dead_.contains(process); }
  // Every process is gone; what was not synced is in doubt.
  void cut_power();

  // What the locks had to complain of; "" for nothing.
  const std::string& lock_trouble() const { return lock_trouble_; }

  // For the VFS and the lock calls below.
  struct Write {
    std::int64_t at = 0;  // -1: truncated to `length`
    std::int64_t length = 0;
    std::string bytes;
  };
  struct File {
    std::string now;     // as the operating system has it
    std::string synced;  // as the platter has it
    std::vector<Write> unsynced;
    std::vector<Handle*> handles;
    std::vector<std::unique_ptr<char[]>> shared_memory;
    int shared_locks[8] = {};
    Handle* exclusive_locks[8] = {};
    int shared_memory_users = 0;
  };
  int open(const char* name, Handle* handle, int flags);
  int read(Handle* handle, void* to, int count, std::int64_t at);
  int write(Handle* handle, const void* from, int count, std::int64_t at);
  int truncate(Handle* handle, std::int64_t size);
  int sync(Handle* handle);
  int lock(Handle* handle, int level);
  int map_shared(Handle* handle, int region, int size, int extend, volatile void** out);
  int lock_shared(Handle* handle, int offset, int count, int flags);
  void leave_shared(Handle* handle);
  void close(Handle* handle);
  bool usable(const Handle* handle) const;
  int record_lock(int command, struct flock* lock);
  int random_bytes(int count, char* out);
  bool exists(const char* name) const { return files_.contains(file_name(name)); }
  int remove(const char* name);

 private:
  SimDisk();
  static std::string file_name(const char* path);
  bool hits(DiskFault fault);
  void note(File& file, std::int64_t at, std::int64_t length, std::string bytes);
  static void apply(const Write& write, std::string& to);
  void detach(Handle* handle);

  std::map<std::string, std::unique_ptr<File>> files_;
  std::map<std::int64_t, int> record_locks_;  // byte -> process
  std::set<int> dead_;
  SeededRandom random_{1};
  DiskFault fault_ = DiskFault::kNone;
  int fault_after_ = 0;
  int victim_ = -1, victim_after_ = 0;
  int process_ = 0;
  std::uint64_t epoch_ = 0;  // of format() and cut_power(): older handles are dead
  std::string lock_trouble_;
};

}  // namespace sluiceway::simulation
