// The functions that SQLite calls, and the symbol fcntl: see disk.h.
#include <fcntl.h>
#include <sqlite3.h>
#include <sys/syscall.h>
#include <unistd.h>

#include <cstdarg>
#include <cstring>

#include "simulation/disk_handle.h"

namespace sluiceway::simulation {
namespace {

SimDisk& disk() { return SimDisk::instance(); }
Handle* of(sqlite3_file* file) { return reinterpret_cast<Handle*>(file); }

int io_close(sqlite3_file* f) {
  disk().close(of(f));
  return SQLITE_OK;
}
int io_read(sqlite3_file* f, void* to, int count, sqlite3_int64 at) {
  return disk().read(of(f), to, count, at);
}
int io_write(sqlite3_file* f, const void* from, int count, sqlite3_int64 at) {
  return disk().write(of(f), from, count, at);
}
int io_truncate(sqlite3_file* f, sqlite3_int64 size) { return disk().truncate(of(f), size); }
int io_sync(sqlite3_file* f, int) { return disk().sync(of(f)); }
int io_size(sqlite3_file* f, sqlite3_int64* size) {
  if (!disk().usable(of(f))) return SQLITE_IOERR_FSTAT;
  *size = static_cast<sqlite3_int64>(of(f)->file->now.size());
  return SQLITE_OK;
}
int io_lock(sqlite3_file* f, int level) { return disk().lock(of(f), level); }
int io_unlock(sqlite3_file* f, int level) {
  if (disk().usable(of(f)) && level < of(f)->level) of(f)->level = level;
  return SQLITE_OK;
}
int io_reserved(sqlite3_file* f, int* out) {
  *out = 0;
  if (!disk().usable(of(f))) return SQLITE_IOERR_CHECKRESERVEDLOCK;
  for (const Handle* other : of(f)->file->handles) {
    if (other->level >= SQLITE_LOCK_RESERVED) *out = 1;
  }
  return SQLITE_OK;
}
int io_control(sqlite3_file*, int, void*) { return SQLITE_NOTFOUND; }
int io_sector(sqlite3_file*) { return 4096; }
int io_device(sqlite3_file*) { return 0; }
int shm_map(sqlite3_file* f, int region, int size, int extend, volatile void** out) {
  return disk().map_shared(of(f), region, size, extend, out);
}
int shm_lock(sqlite3_file* f, int offset, int count, int flags) {
  return disk().lock_shared(of(f), offset, count, flags);
}
void shm_barrier(sqlite3_file*) {}
int shm_unmap(sqlite3_file* f, int) {
  disk().leave_shared(of(f));
  return SQLITE_OK;
}

constexpr sqlite3_io_methods kMethods = {2,           io_close,  io_read,   io_write,  io_truncate,
                                         io_sync,     io_size,   io_lock,   io_unlock, io_reserved,
                                         io_control,  io_sector, io_device, shm_map,   shm_lock,
                                         shm_barrier, shm_unmap, nullptr,   nullptr};

int vfs_open(sqlite3_vfs*, const char* name, sqlite3_file* file, int flags, int* out) {
  std::memset(static_cast<void*>(of(file)), 0, sizeof(Handle));
  const int code = disk().open(name, of(file), flags);
  if (code != SQLITE_OK) return code;
  file->pMethods = &kMethods;
  if (out != nullptr) *out = flags;
  return SQLITE_OK;
}
int vfs_delete(sqlite3_vfs*, const char* name, int) { return disk().remove(name); }
int vfs_access(sqlite3_vfs*, const char* name, int, int* out) {
  *out = disk().exists(name) ? 1 : 0;
  return SQLITE_OK;
}
int vfs_full_path(sqlite3_vfs*, const char* name, int size, char* out) {
  return sqlite3_snprintf(size, out, "%s", name) != nullptr ? SQLITE_OK : SQLITE_CANTOPEN;
}
int vfs_randomness(sqlite3_vfs*, int count, char* out) { return disk().random_bytes(count, out); }
int vfs_sleep(sqlite3_vfs*, int microseconds) { return microseconds; }
int vfs_time(sqlite3_vfs*, double* out) {
  *out = 2'461'366.5;
  return SQLITE_OK;
}
int vfs_error(sqlite3_vfs*, int, char*) { return 0; }

}  // namespace

void register_vfs() {
  static sqlite3_vfs vfs{};
  vfs.iVersion = 1;
  vfs.szOsFile = sizeof(Handle);
  vfs.mxPathname = 512;
  vfs.zName = "simulation";
  vfs.xOpen = vfs_open;
  vfs.xDelete = vfs_delete;
  vfs.xAccess = vfs_access;
  vfs.xFullPathname = vfs_full_path;
  vfs.xRandomness = vfs_randomness;
  vfs.xSleep = vfs_sleep;
  vfs.xCurrentTime = vfs_time;
  vfs.xGetLastError = vfs_error;
  sqlite3_vfs_register(&vfs, 1);
}

}  // namespace sluiceway::simulation

// Stands before the C library's for the whole program. Locks go to the simulated disk, all else to
// the kernel.
// NOLINTNEXTLINE(readability-inconsistent-declaration-parameter-name): its names are reserved ones
extern "C" int fcntl(int fd, int command, ...) {
  va_list arguments;
  va_start(arguments, command);
  void* argument = va_arg(arguments, void*);
  va_end(arguments);
  if (command == F_OFD_SETLK || command == F_OFD_SETLKW || command == F_OFD_GETLK) {
    return sluiceway::simulation::SimDisk::instance().record_lock(
        command, static_cast<struct flock*>(argument));
  }
  return static_cast<int>(syscall(SYS_fcntl, fd, command, argument));
}
