// Undoes the Content-Encoding of one answer: gzip, deflate, br, zstd, and chains of them.
//
// It is pulled: the caller puts in what came off the wire, and takes out at most a buffer's worth
// at a time, so that what a small piece swells to is bounded by the caller's buffer, and a reader
// that is slow can stop in the middle of a piece. Here and not in libcurl, which takes a body that
// is cut in the middle of its coding for a whole one, refuses a second gzip member, and holds all
// that a piece swells to when its reader pauses.
//
// Memory: zlib 40 kB, Brotli up to 16 MB, Zstandard up to 8 MB (RFC 9659's window; a frame that
// wants more is malformed), each as the sender's window asks; 16 kB for each further coding of a
// chain. Not thread-safe.
// Source: RFC 9110 8.4, RFC 1952 2.2 (members), RFC 1950, RFC 7932, RFC 8878, RFC 9659.
#pragma once

#include <cstddef>
#include <memory>
#include <string>
#include <string_view>
#include <vector>

#include "base/status.h"

namespace sluiceway::http {

class ContentDecoder {
 public:
  enum class Result {
    kOutput,     // `out` has the bytes that *produced counts; there may be more
    kNeedsMore,  // all input is used and all that it tells was given
    kMalformed,  // not what the header says; problem() tells
  };

  // `codings`: the header's value, in the order in which they were applied. Null where it names
  // none but identity. kInvalidArgument for a coding that is not known or more than five of them.
  static StatusOr<std::unique_ptr<ContentDecoder>> make(std::string_view codings);

  virtual ~ContentDecoder();
  ContentDecoder(const ContentDecoder&) = delete;
  ContentDecoder& operator=(const ContentDecoder&) = delete;

  // Takes from the front of *input and writes at most `room` bytes to `out`. Call it until it
  // answers kNeedsMore; input that is left after kOutput is put in again. After kMalformed it is
  // not called again.
  virtual Result read(std::string_view* input, char* out, std::size_t room,
                      std::size_t* produced) = 0;
  // Whether the coded data ended where its format says so, or there was none at all.
  virtual bool whole() const = 0;
  // "gzip": for messages.
  virtual std::string_view coding() const = 0;

 protected:
  ContentDecoder();
};

}  // namespace sluiceway::http
