// A request's body in parts: ready bytes and regions of open files, read while it is sent.
//
// Model. A Body is immutable and may be shared by threads, calls and attempts; a BodyReader is one
// pass over it. Its size is fixed when it is made, so that Content-Length is known. A file is read
// with pread(2) at its own offset, never by its position, from a descriptor of our own: renaming or
// deleting the file changes nothing. One that is not any more as it was when the body was made
// (size, or time of the last change) is refused before its last byte is given out, so that the
// provider never gets a whole request of mixed contents.
//
// Files are read on the engine thread, up to 64 kB at a time into the library's buffer. What comes
// from the page cache costs about 10 us, as much as sending it; what has to come from a disk first
// holds the other transfers up for that long. The kernel is told to read ahead (POSIX_FADV_
// SEQUENTIAL), so that this is rare; a thread and a queue for each upload would cost every one of
// them two switches per piece. Do not upload from a file system that may hang.
//
// Memory: the bytes, and 100 a part; nothing by the files' sizes. After a fork the child keeps its
// copies of the descriptors (read only, CLOEXEC) as long as the calls that it inherited. Example:
//   auto file = BodyFile::of(fd, "talk.wav");                       // StatusOr
//   auto body = Body::make({{.bytes = "head"}, {.file = *file, .length = (*file)->size()}});
//   BodyReader reader; reader.start((*body).get());
//   while (reader.read(out, room, &n) == BodyReader::Result::kOk && n > 0) {}
// Source: pread(2), posix_fadvise(2), fstat(2).
#pragma once

#include <cstddef>
#include <cstdint>
#include <memory>
#include <string>
#include <vector>

#include <time.h>

#include "base/status.h"

namespace sluiceway::http {

class BodyFile {
 public:
  // Duplicates `fd`, which stays the caller's. kInvalidArgument, naming the file as `name`: it is
  // no regular file, or not open for reading.
  static StatusOr<std::shared_ptr<const BodyFile>> of(int fd, std::string name);
  ~BodyFile();
  BodyFile(const BodyFile&) = delete;
  BodyFile& operator=(const BodyFile&) = delete;

  const std::string& name() const { return name_; }
  std::int64_t size() const { return size_; }  // when it was opened here
  // Whether it has the size and the time of change that it had then.
  bool unchanged() const;
  // Up to `room` bytes from `offset`; 0 at its end, -1 when it cannot be read.
  std::int64_t read(char* out, std::size_t room, std::int64_t offset) const;

 private:
  BodyFile() = default;
  int fd_ = -1;
  std::int64_t size_ = 0;
  timespec changed_{};
  std::string name_;
};

// `bytes`, or where `file` is set `length` bytes of it from `offset` on.
struct BodyPart {
  std::string bytes;
  std::shared_ptr<const BodyFile> file;
  std::int64_t offset = 0, length = 0;
};

class Body {
 public:
  // kInvalidArgument when a part reaches beyond its file's end.
  static StatusOr<std::shared_ptr<const Body>> make(std::vector<BodyPart> parts);

  const std::vector<BodyPart>& parts() const { return parts_; }
  std::int64_t size() const { return size_; }
  // The name of the first file that is not as it was; null: all are.
  const std::string* changed_file() const;

 private:
  Body() = default;
  std::vector<BodyPart> parts_;
  std::int64_t size_ = 0;
};

class BodyReader {
 public:
  enum class Result : std::uint8_t { kOk, kChanged };

  // From the beginning of `body`, which outlives the reading; null: nothing to read.
  void start(const Body* body);
  // The next at most `room` bytes; *count is 0 at the end only. kChanged: problem() says which file
  // is not as it was, and nothing may be sent any more.
  Result read(char* out, std::size_t room, std::size_t* count);
  const std::string& problem() const { return problem_; }

 private:
  Result fail(const BodyFile& file, const char* what);

  const Body* body_ = nullptr;
  std::size_t part_ = 0;
  std::int64_t at_ = 0;  // in the part
  std::string problem_;
};

}  // namespace sluiceway::http
