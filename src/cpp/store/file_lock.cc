// fcntl locks: see file_lock.h.
#include "store/file_lock.h"

#include <errno.h>
#include <fcntl.h>
#include <string.h>
#include <unistd.h>

#include "base/clock.h"

namespace sluiceway::store {
namespace {

struct flock byte_lock(short type, std::int64_t byte) {
  struct flock lock{};
  lock.l_type = type;
  lock.l_whence = SEEK_SET;
  lock.l_start = byte;
  lock.l_len = 1;
  return lock;
}

int set_lock(int fd, int command, short type, std::int64_t byte) {
  struct flock lock = byte_lock(type, byte);
  int result = 0;
  do {
    result = fcntl(fd, command, &lock);
  } while (result != 0 && errno == EINTR);
  return result;
}

Status lock_error(const char* what) {
  return absl::UnavailableError(
      to_absl(std::string("ledger lock file: ") + what + ": " + strerror(errno)));
}

}  // namespace

FileLock::~FileLock() {
  if (fd_ >= 0) ::close(fd_);
}

Status FileLock::open(const std::string& path) {
  fd_ = ::open(path.c_str(), O_RDWR | O_CREAT | O_CLOEXEC, 0644);
  return fd_ >= 0 ? absl::OkStatus() : lock_error("open");
}

StatusOr<std::int64_t> FileLock::lock() {
  // Nobody waits for long in the common case: try before the clock is read.
  if (set_lock(fd_, F_OFD_SETLK, F_WRLCK, 0) == 0) {
    if (set_lock(fd_, F_OFD_SETLK, F_WRLCK, 1) == 0) {
      set_lock(fd_, F_OFD_SETLK, F_UNLCK, 0);
      return 0;
    }
  }
  const std::int64_t start = SystemClock::instance().monotonic_ns();
  if (set_lock(fd_, F_OFD_SETLKW, F_WRLCK, 0) != 0) return lock_error("turnstile");
  const int result = set_lock(fd_, F_OFD_SETLKW, F_WRLCK, 1);
  Status status = result == 0 ? absl::OkStatus() : lock_error("commit lock");
  set_lock(fd_, F_OFD_SETLK, F_UNLCK, 0);
  if (!status.ok()) return status;
  return SystemClock::instance().monotonic_ns() - start;
}

void FileLock::unlock() { set_lock(fd_, F_OFD_SETLK, F_UNLCK, 1); }

Status FileLock::hold_owner(std::int64_t owner) {
  if (set_lock(fd_, F_OFD_SETLK, F_WRLCK, kOwnerBase + owner) == 0) return absl::OkStatus();
  if (errno != EAGAIN && errno != EACCES) return lock_error("owner");
  return absl::UnavailableError(
      "an engine of another ledger file uses the lock file beside this one: the file was replaced"
      " while a process had it open. End that process, then open the ledger again");
}

void FileLock::release_owner(std::int64_t owner) {
  set_lock(fd_, F_OFD_SETLK, F_UNLCK, kOwnerBase + owner);
}

StatusOr<bool> FileLock::owner_alive_elsewhere(std::int64_t owner) const {
  struct flock lock = byte_lock(F_WRLCK, kOwnerBase + owner);
  if (fcntl(fd_, F_OFD_GETLK, &lock) != 0) return lock_error("owner query");
  return lock.l_type != F_UNLCK;
}

void FileLock::abandon() {
  if (fd_ >= 0) ::close(fd_);
  fd_ = -1;
}

}  // namespace sluiceway::store
