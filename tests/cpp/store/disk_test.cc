// A disk that refuses: a VFS that fails writes and syncs when told to. The ledger refuses, loses
// nothing that it answered, and goes on when the disk does.
#include <gtest/gtest.h>
#include <sqlite3.h>

#include <atomic>
#include <cstring>
#include <vector>

#include "base/random.h"
#include "store/store_testing.h"

namespace sluiceway::store {
namespace {

// What fails, and after how many more of them that succeed.
struct Faults {
  std::atomic<int> code{SQLITE_OK};  // SQLITE_FULL, SQLITE_IOERR_WRITE, SQLITE_IOERR_FSYNC
  std::atomic<int> after{0};
};
Faults faults;

struct ShimFile {
  sqlite3_file base;
  sqlite3_file* real;
  sqlite3_io_methods methods;
};

sqlite3_file* real_of(sqlite3_file* file) { return reinterpret_cast<ShimFile*>(file)->real; }

bool fails(bool sync) {
  const int code = faults.code.load();
  if (code == SQLITE_OK || sync != (code == SQLITE_IOERR_FSYNC)) return false;
  return faults.after.fetch_sub(1) <= 0;
}

int shim_close(sqlite3_file* f) {
  const int code = real_of(f)->pMethods->xClose(real_of(f));
  sqlite3_free(real_of(f));
  return code;
}
int shim_read(sqlite3_file* f, void* to, int n, sqlite3_int64 at) {
  return real_of(f)->pMethods->xRead(real_of(f), to, n, at);
}
int shim_write(sqlite3_file* f, const void* from, int n, sqlite3_int64 at) {
  if (fails(false)) return faults.code.load();
  return real_of(f)->pMethods->xWrite(real_of(f), from, n, at);
}
int shim_truncate(sqlite3_file* f, sqlite3_int64 n) {
  return real_of(f)->pMethods->xTruncate(real_of(f), n);
}
int shim_sync(sqlite3_file* f, int flags) {
  if (fails(true)) return faults.code.load();
  return real_of(f)->pMethods->xSync(real_of(f), flags);
}
int shim_size(sqlite3_file* f, sqlite3_int64* n) {
  return real_of(f)->pMethods->xFileSize(real_of(f), n);
}
int shim_lock(sqlite3_file* f, int l) { return real_of(f)->pMethods->xLock(real_of(f), l); }
int shim_unlock(sqlite3_file* f, int l) { return real_of(f)->pMethods->xUnlock(real_of(f), l); }
int shim_reserved(sqlite3_file* f, int* out) {
  return real_of(f)->pMethods->xCheckReservedLock(real_of(f), out);
}
int shim_control(sqlite3_file* f, int op, void* arg) {
  return real_of(f)->pMethods->xFileControl(real_of(f), op, arg);
}
int shim_sector(sqlite3_file* f) { return real_of(f)->pMethods->xSectorSize(real_of(f)); }
int shim_device(sqlite3_file* f) {
  return real_of(f)->pMethods->xDeviceCharacteristics(real_of(f));
}
int shim_shm_map(sqlite3_file* f, int page, int size, int extend, void volatile** out) {
  return real_of(f)->pMethods->xShmMap(real_of(f), page, size, extend, out);
}
int shim_shm_lock(sqlite3_file* f, int offset, int n, int flags) {
  return real_of(f)->pMethods->xShmLock(real_of(f), offset, n, flags);
}
void shim_barrier(sqlite3_file* f) { real_of(f)->pMethods->xShmBarrier(real_of(f)); }
int shim_unmap(sqlite3_file* f, int remove) {
  return real_of(f)->pMethods->xShmUnmap(real_of(f), remove);
}

sqlite3_vfs* real_vfs = nullptr;

int shim_open(sqlite3_vfs*, const char* name, sqlite3_file* file, int flags, int* out) {
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

class DiskTest : public ::testing::TestWithParam<int> {};
INSTANTIATE_TEST_SUITE_P(Errors, DiskTest,
                         ::testing::Values(SQLITE_FULL, SQLITE_IOERR_WRITE, SQLITE_IOERR_FSYNC));

TEST_P(DiskTest, RefusesAndLosesNothing) {
  FailingDisk disk;
  ScratchDirectory directory;
  SeededRandom random(static_cast<std::uint64_t>(GetParam()));
  const LedgerOptions options{.path = directory.file(),
                              .admit = &plain_admit,
                              .threaded = false,
                              .checkpoint_bytes = 256 << 10};
  KeepingSink sink;
  auto opened = open_ledger(options, &sink);
  ASSERT_TRUE(opened.ok()) << opened.status();
  std::shared_ptr<Ledger> ledger = *opened;
  auto scope = ledger->open_scope({.kind = "day", .limit = 1'000'000});
  ASSERT_TRUE(scope.ok());
  Nanousd settled = 0, held = 0;
  int unavailable = 0;
  std::vector<std::uint64_t> open;
  for (std::uint64_t n = 1; n <= 600; ++n) {
    if (n % 40 == 10) disk.fail(GetParam(), static_cast<int>(random.uniform(12)));
    if (n % 40 == 30) disk.heal();
    if (open.size() > 3) {  // handed in whatever the disk does: never lost
      const std::uint64_t done = open.front();
      open.erase(open.begin());
      ledger->finish({.call_id = make_id(done), .kind = EntryKind::kSettle, .amount = 70});
      settled += 70;
      held -= 100;
    }
    ledger->reserve({.token = n, .call_id = make_id(n), .amount = 100, .scopes = {*scope}});
    ledger->pump();
    const Verdict v = sink.wait(n);
    if (v.kind == Verdict::kAdmitted) {
      open.push_back(n);
      held += 100;
    } else {
      ASSERT_EQ(v.kind, Verdict::kUnavailable);
      EXPECT_EQ(v.error.code(), GetParam() == SQLITE_FULL ? absl::StatusCode::kResourceExhausted
                                                          : absl::StatusCode::kUnavailable);
      ++unavailable;
    }
  }
  disk.heal();
  EXPECT_GT(unavailable, 20);
  EXPECT_LT(unavailable, 500);
  ASSERT_TRUE(ledger->flush(kSecond).ok());
  auto balance = ledger->balance(**scope);
  ASSERT_TRUE(balance.ok()) << balance.status();
  EXPECT_EQ(balance->settled, settled);
  EXPECT_EQ(balance->held, held);
  auto report = ledger->verify();
  ASSERT_TRUE(report.ok());
  for (const auto& p : report->problems) ADD_FAILURE() << p;
  ledger->close();
  // And from the disk alone.
  ledger = *open_ledger(options, &sink);
  scope = ledger->open_scope({.kind = "day", .limit = 1'000'000});
  balance = ledger->balance(**scope);
  EXPECT_EQ(balance->settled, settled);
  EXPECT_EQ(balance->in_doubt, held);
  ledger->close();
}

TEST(DiskFull, ACloseThatCannotWriteLeavesTheRestToTheNextStart) {
  FailingDisk disk;
  ScratchDirectory directory;
  const LedgerOptions options{.path = directory.file(), .admit = &plain_admit, .threaded = false};
  KeepingSink sink;
  auto ledger = *open_ledger(options, &sink);
  auto scope = ledger->open_scope({.kind = "day", .limit = 1'000});
  ledger->reserve({.token = 1, .call_id = make_id(1), .amount = 100, .scopes = {*scope}});
  ledger->pump();
  ASSERT_EQ(sink.wait(1).kind, Verdict::kAdmitted);
  disk.fail(SQLITE_FULL, 0);
  ledger->finish({.call_id = make_id(1), .kind = EntryKind::kSettle, .amount = 70});
  EXPECT_EQ(ledger->flush(kSecond).code(), absl::StatusCode::kDeadlineExceeded);
  ledger->close();
  disk.heal();
  ledger = *open_ledger(options, &sink);
  scope = ledger->open_scope({.kind = "day", .limit = 1'000});
  EXPECT_EQ(ledger->balance(**scope)->in_doubt, 100);
  EXPECT_TRUE(ledger->verify()->ok());
  ledger->close();
}

}  // namespace
}  // namespace sluiceway::store
