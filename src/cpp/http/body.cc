// Bodies in parts: see body.h.
#include "http/body.h"

#include <errno.h>
#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>
#include <cstring>
#include <utility>

namespace sluiceway::http {
namespace {

bool same(const timespec& a, const timespec& b) {
  return a.tv_sec == b.tv_sec && a.tv_nsec == b.tv_nsec;
}

}  // namespace

StatusOr<std::shared_ptr<const BodyFile>> BodyFile::of(int fd, std::string name) {
  std::shared_ptr<BodyFile> out(new BodyFile);
  struct stat seen{};
  if (::fstat(fd, &seen) != 0) return invalid_argument("the file '" + name + "' is not open");
  if (!S_ISREG(seen.st_mode)) {
    return invalid_argument("'" + name + "' is not a regular file: its size is not known");
  }
  if ((::fcntl(fd, F_GETFL) & O_ACCMODE) == O_WRONLY) {
    return invalid_argument("the file '" + name + "' is not open for reading");
  }
  out->fd_ = ::fcntl(fd, F_DUPFD_CLOEXEC, 3);
  if (out->fd_ < 0) return absl::ResourceExhaustedError("no descriptor left for a file");
  ::posix_fadvise(out->fd_, 0, 0, POSIX_FADV_SEQUENTIAL);
  out->size_ = seen.st_size;
  out->changed_ = seen.st_mtim;
  out->name_ = std::move(name);
  return std::shared_ptr<const BodyFile>(std::move(out));
}

BodyFile::~BodyFile() {
  if (fd_ >= 0) ::close(fd_);
}

bool BodyFile::unchanged() const {
  struct stat seen{};
  return ::fstat(fd_, &seen) == 0 && seen.st_size == size_ && same(seen.st_mtim, changed_);
}

std::int64_t BodyFile::read(char* out, std::size_t room, std::int64_t offset) const {
  for (;;) {
    const ssize_t n = ::pread(fd_, out, room, offset);
    if (n >= 0 || errno != EINTR) return n;
  }
}

StatusOr<std::shared_ptr<const Body>> Body::make(std::vector<BodyPart> parts) {
  std::shared_ptr<Body> out(new Body);
  for (BodyPart& part : parts) {
    if (!part.file) {
      part.offset = 0;
      part.length = static_cast<std::int64_t>(part.bytes.size());
    } else if (part.offset < 0 || part.length < 0 ||
               part.length > part.file->size() - part.offset) {
      return invalid_argument("the file '" + part.file->name() + "' is shorter than was asked for");
    }
    out->size_ += part.length;
  }
  out->parts_ = std::move(parts);
  return std::shared_ptr<const Body>(std::move(out));
}

const std::string* Body::changed_file() const {
  for (const BodyPart& part : parts_) {
    if (part.file && !part.file->unchanged()) return &part.file->name();
  }
  return nullptr;
}

void BodyReader::start(const Body* body) {
  body_ = body;
  part_ = 0;
  at_ = 0;
  problem_.clear();
}

BodyReader::Result BodyReader::fail(const BodyFile& file, const char* what) {
  problem_ = "the file '" + file.name() + "' " + what;
  return Result::kChanged;
}

BodyReader::Result BodyReader::read(char* out, std::size_t room, std::size_t* count) {
  *count = 0;
  if (body_ == nullptr) return Result::kOk;
  const std::vector<BodyPart>& parts = body_->parts();
  while (*count < room && part_ < parts.size()) {
    const BodyPart& part = parts[part_];
    const std::int64_t most =
        std::min<std::int64_t>(static_cast<std::int64_t>(room - *count), part.length - at_);
    std::int64_t got = most;
    if (!part.file) {
      std::memcpy(out + *count, part.bytes.data() + at_, static_cast<std::size_t>(most));
    } else if (most > 0) {
      got = part.file->read(out + *count, static_cast<std::size_t>(most), part.offset + at_);
      if (got < 0) return fail(*part.file, "cannot be read");
      if (got == 0) return fail(*part.file, "has become shorter while it was sent");
    }
    at_ += got;
    *count += static_cast<std::size_t>(got);
    if (at_ < part.length) continue;
    // The file's last bytes are in hand and not yet given out.
    if (part.file && !part.file->unchanged()) {
      return fail(*part.file, "was changed while it was sent");
    }
    ++part_;
    at_ = 0;
  }
  return Result::kOk;
}

}  // namespace sluiceway::http
