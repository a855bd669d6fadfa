// A disk that refuses: a VFS of SQLite that fails writes or syncs when it is told to.
//
// Model. FailingDisk makes itself the default VFS for as long as it lives and passes everything on
// to the real one; fail(code, after) lets `after` more writes (or syncs, for SQLITE_IOERR_FSYNC)
// succeed and then fails all with that code, until heal(). One at a time in a process.
#pragma once

#include <sqlite3.h>

#include <atomic>
#include <cstring>

namespace sluiceway::store {

// What fails, and after how many more of them that succeed.
struct Faults {
  std::atomic<int> code{SQLITE_OK};  // SQLITE_FULL, SQLITE_IOERR_WRITE, SQLITE_IOERR_FSYNC
  std::atomic<int> after{0};
};
inline Faults faults;

struct ShimFile {
  sqlite3_file base;
  sqlite3_file* real;
  sqlite3_io_methods methods;
};

inline sqlite3_file* real_of(sqlite3_file* file) { return reinterpret_cast<ShimFile*>(file)->real; }

inline bool fails(bool sync) {
  const int code = faults.code.load();
  if (code == SQLITE_OK || sync != (code == SQLITE_IOERR_FSYNC)) return false;
  return faults.after.fetch_sub(1) <= 0;
}

inline int shim_close(sqlite3_file* f) {
  const int code = real_of(f)->pMethods->xClose(real_of(f));
  sqlite3_free(real_of(f));
  return code;
}
inline int shim_read(sqlite3_file* f, void* to, int n, sqlite3_int64 at) {
  return real_of(f)->pMethods->xRead(real_of(f), to, n, at);
}
inline int shim_write(sqlite3_file* f, const void* from, int n, sqlite3_int64 at) {
  if (fails(false)) return faults.code.load();
  return real_of(f)->pMethods->xWrite(real_of(f), from, n, at);
}
inline int shim_truncate(sqlite3_file* f, sqlite3_int64 n) {
  return real_of(f)->pMethods->xTruncate(real_of(f), n);
}
inline int shim_sync(sqlite3_file* f, int flags) {
  if (fails(true)) return faults.code.load();
  return real_of(f)->pMethods->xSync(real_of(f), flags);
}
inline int shim_size(sqlite3_file* f, sqlite3_int64* n) {
  return real_of(f)->pMethods->xFileSize(real_of(f), n);
}
inline int shim_lock(sqlite3_file* f, int l) { return real_of(f)->pMethods->xLock(real_of(f), l); }
inline int shim_unlock(sqlite3_file* f, int l) {
  return real_of(f)->pMethods->xUnlock(real_of(f), l);
}
inline int shim_reserved(sqlite3_file* f, int* out) {
  return real_of(f)->pMethods->xCheckReservedLock(real_of(f), out);
}
inline int shim_control(sqlite3_file* f, int op, void* arg) {
  return real_of(f)->pMethods->xFileControl(real_of(f), op, arg);
}
inline int shim_sector(sqlite3_file* f) { return real_of(f)->pMethods->xSectorSize(real_of(f)); }
inline int shim_device(sqlite3_file* f) {
  return real_of(f)->pMethods->xDeviceCharacteristics(real_of(f));
}
inline int shim_shm_map(sqlite3_file* f, int page, int size, int extend, void volatile** out) {
  return real_of(f)->pMethods->xShmMap(real_of(f), page, size, extend, out);
}
inline int shim_shm_lock(sqlite3_file* f, int offset, int n, int flags) {
  return real_of(f)->pMethods->xShmLock(real_of(f), offset, n, flags);
}
inline void shim_barrier(sqlite3_file* f) { real_of(f)->pMethods->xShmBarrier(real_of(f)); }
inline int shim_unmap(sqlite3_file* f, int remove) {
  return real_of(f)->pMethods->xShmUnmap(real_of(f), remove);
}

inline sqlite3_vfs* real_vfs = nullptr;

inline int shim_open(sqlite3_vfs*, const char* name, sqlite3_file* file, int flags, int* out) {
  auto* shim = reinterpret_cast<ShimFile*>(file);
  shim->base.pMethods = nullptr;
  shim->real = static_cast<sqlite3_file*>(sqlite3_malloc(real_vfs->szOsFile));
  std::memset(shim->real, 0, static_cast<std::size_t>(real_vfs->szOsFile));
  const int code = real_vfs->xOpen(real_vfs, name, shim->real, flags, out);
  if (code != SQLITE_OK) {
    sqlite3_free(shim->real);
    return code;
  }
  shim->methods = {
      2,           shim_close,   shim_read,     shim_write,    shim_truncate, shim_sync,
      shim_size,   shim_lock,    shim_unlock,   shim_reserved, shim_control,  shim_sector,
      shim_device, shim_shm_map, shim_shm_lock, shim_barrier,  shim_unmap,    nullptr,
      nullptr};
  shim->base.pMethods = &shim->methods;
  return SQLITE_OK;
}

// The default VFS for as long as it lives.
class FailingDisk {
 public:
  FailingDisk() {
    real_vfs = sqlite3_vfs_find(nullptr);
    vfs_ = *real_vfs;
    vfs_.zName = "failing";
    vfs_.szOsFile = sizeof(ShimFile);
    vfs_.pNext = nullptr;
    vfs_.xOpen = shim_open;
    sqlite3_vfs_register(&vfs_, 1);
  }
  ~FailingDisk() {
    faults.code.store(SQLITE_OK);
    sqlite3_vfs_unregister(&vfs_);
    sqlite3_vfs_register(real_vfs, 1);
  }
  void fail(int code, int after) {
    faults.after.store(after);
    faults.code.store(code);
  }
  void heal() { faults.code.store(SQLITE_OK); }

 private:
  sqlite3_vfs vfs_;
};

}  // namespace sluiceway::store
