// The codings, one class each, and their chain: see content_decoder.h. Sources: zlib.h (inflate),
// brotli/decode.h, zstd.h, each of the release that Debian 12 has.
#include "http/content_decoder.h"

#define ZLIB_CONST  // input is not written to

#include <absl/strings/ascii.h>
#include <absl/strings/str_cat.h>
#include <absl/strings/str_split.h>
#include <brotli/decode.h>
#include <zlib.h>
#include <zstd.h>

#include <algorithm>
#include <cstdint>
#include <limits>
#include <utility>

#include "base/text.h"

namespace sluiceway::http {
namespace {

using Result = ContentDecoder::Result;

// RFC 9110 bounds no chain; more than this is made to cost its reader.
constexpr std::size_t kCodingsMax = 5;
constexpr std::size_t kLinkBytes =
    16'384;                         // what one coding of a chain hands to the next at a time
constexpr int kZstdWindowLog = 23;  // 8 MB: RFC 9659

// The libraries count in int or unsigned; the rest comes in the next call.
unsigned clamped(std::size_t n) {
  return static_cast<unsigned>(std::min<std::size_t>(n, std::numeric_limits<int>::max()));
}

class Gzip final : public ContentDecoder {
 public:
  ~Gzip() override { inflateEnd(&z_); }

  bool start() { return inflateInit2(&z_, 16 + MAX_WBITS) == Z_OK; }

  Result read(std::string_view* input, char* out, std::size_t room,
              std::size_t* produced) override {
    *produced = 0;
    while (true) {
      if (state_ == State::kBetween && !input->empty()) {
        // Another member, or what is no part of the answer: padding, passed over as gzip(1) does.
        state_ = input->front() == '\x1f' ? State::kInside : State::kEnded;
        inflateReset(&z_);
      }
      if (state_ == State::kFresh && !input->empty()) state_ = State::kInside;
      if (state_ != State::kInside) {
        *input = {};
        return Result::kNeedsMore;
      }
      z_.next_in = reinterpret_cast<const Bytef*>(input->data());
      z_.avail_in = clamped(input->size());
      z_.next_out = reinterpret_cast<Bytef*>(out);
      z_.avail_out = clamped(room);
      const unsigned offered = z_.avail_in, space = z_.avail_out;
      const int code = inflate(&z_, Z_SYNC_FLUSH);
      input->remove_prefix(offered - z_.avail_in);
      *produced = space - z_.avail_out;
      if (code == Z_STREAM_END) {
        state_ = State::kBetween;
      } else if (code != Z_OK && code != Z_BUF_ERROR) {
        return Result::kMalformed;
      }
      if (*produced != 0) return Result::kOutput;
      if (code != Z_STREAM_END) return Result::kNeedsMore;
    }
  }

  bool whole() const override { return state_ != State::kInside; }
  std::string_view coding() const override { return "gzip"; }

 private:
  enum class State : std::uint8_t { kFresh, kInside, kBetween, kEnded };
  z_stream z_{};
  State state_ = State::kFresh;
};

// RFC 9110 means zlib's format by "deflate"; some servers send the bare one. The first two bytes
// tell: zlib's are a multiple of 31 and name its method.
class Deflate final : public ContentDecoder {
 public:
  ~Deflate() override {
    if (started_) inflateEnd(&z_);
  }

  Result read(std::string_view* input, char* out, std::size_t room,
              std::size_t* produced) override {
    *produced = 0;
    while (head_bytes_ < 2 && !input->empty()) {
      head_[head_bytes_++] = static_cast<Bytef>(input->front());
      input->remove_prefix(1);
    }
    if (head_bytes_ < 2) return Result::kNeedsMore;
    if (!started_) {
      const bool zlib = (head_[0] & 0x0f) == Z_DEFLATED && (head_[0] * 256 + head_[1]) % 31 == 0;
      if (inflateInit2(&z_, zlib ? MAX_WBITS : -MAX_WBITS) != Z_OK) return Result::kMalformed;
      started_ = true;
      std::string_view head(reinterpret_cast<const char*>(head_), 2);
      const Result begun = step(&head, out, room, produced);
      if (begun != Result::kNeedsMore) return begun;  // two bytes are used up by any first step
    }
    return step(input, out, room, produced);
  }

  bool whole() const override { return ended_ || head_bytes_ == 0; }
  std::string_view coding() const override { return "deflate"; }

 private:
  Result step(std::string_view* input, char* out, std::size_t room, std::size_t* produced) {
    if (ended_) {  // what follows is passed over
      *input = {};
      return Result::kNeedsMore;
    }
    z_.next_in = reinterpret_cast<const Bytef*>(input->data());
    z_.avail_in = clamped(input->size());
    z_.next_out = reinterpret_cast<Bytef*>(out);
    z_.avail_out = clamped(room);
    const unsigned offered = z_.avail_in, space = z_.avail_out;
    const int code = inflate(&z_, Z_SYNC_FLUSH);
    input->remove_prefix(offered - z_.avail_in);
    *produced = space - z_.avail_out;
    ended_ = code == Z_STREAM_END;
    if (ended_) *input = {};
    if (!ended_ && code != Z_OK && code != Z_BUF_ERROR) return Result::kMalformed;
    return *produced != 0 ? Result::kOutput : Result::kNeedsMore;
  }

  z_stream z_{};
  Bytef head_[2] = {};
  int head_bytes_ = 0;
  bool started_ = false, ended_ = false;
};

class Brotli final : public ContentDecoder {
 public:
  ~Brotli() override {
    if (state_ != nullptr) BrotliDecoderDestroyInstance(state_);
  }

  bool start() {
    state_ = BrotliDecoderCreateInstance(nullptr, nullptr, nullptr);
    return state_ != nullptr;
  }

  Result read(std::string_view* input, char* out, std::size_t room,
              std::size_t* produced) override {
    *produced = 0;
    if (BrotliDecoderIsFinished(state_)) {
      *input = {};
      return Result::kNeedsMore;
    }
    begun_ = begun_ || !input->empty();
    std::size_t left = input->size(), space = room;
    auto* next_in = reinterpret_cast<const std::uint8_t*>(input->data());
    auto* next_out = reinterpret_cast<std::uint8_t*>(out);
    const BrotliDecoderResult result =
        BrotliDecoderDecompressStream(state_, &left, &next_in, &space, &next_out, nullptr);
    input->remove_prefix(input->size() - left);
    *produced = room - space;
    if (BrotliDecoderIsFinished(state_)) *input = {};  // what follows is passed over
    if (result == BROTLI_DECODER_RESULT_ERROR) return Result::kMalformed;
    return *produced != 0 ? Result::kOutput : Result::kNeedsMore;
  }

  bool whole() const override { return !begun_ || BrotliDecoderIsFinished(state_); }
  std::string_view coding() const override { return "br"; }

 private:
  BrotliDecoderState* state_ = nullptr;
  bool begun_ = false;
};

class Zstandard final : public ContentDecoder {
 public:
  ~Zstandard() override { ZSTD_freeDCtx(context_); }

  bool start() {
    context_ = ZSTD_createDCtx();
    return context_ != nullptr &&
           !ZSTD_isError(ZSTD_DCtx_setParameter(context_, ZSTD_d_windowLogMax, kZstdWindowLog));
  }

  Result read(std::string_view* input, char* out, std::size_t room,
              std::size_t* produced) override {
    *produced = 0;
    while (true) {
      if (at_border_) {
        // The library may know frames of before the standard as well; they are no "zstd".
        while (magic_bytes_ < sizeof magic_ && !input->empty()) {
          magic_[magic_bytes_++] = static_cast<unsigned char>(input->front());
          input->remove_prefix(1);
        }
        if (magic_bytes_ < sizeof magic_) return Result::kNeedsMore;
        if (!known_magic()) return Result::kMalformed;
        at_border_ = false;
        magic_bytes_ = 0;
        std::string_view magic(reinterpret_cast<const char*>(magic_), sizeof magic_);
        if (!step(&magic, out, 0, produced)) return Result::kMalformed;
      }
      if (!step(input, out, room, produced)) return Result::kMalformed;
      if (*produced != 0) return Result::kOutput;
      if (!at_border_) return Result::kNeedsMore;
    }
  }

  bool whole() const override { return at_border_ && magic_bytes_ == 0; }
  std::string_view coding() const override { return "zstd"; }

 private:
  bool known_magic() const {  // RFC 8878, 3.1: a frame, or one to be skipped
    return (magic_[0] == 0x28 && magic_[1] == 0xb5 && magic_[2] == 0x2f && magic_[3] == 0xfd) ||
           ((magic_[0] & 0xf0) == 0x50 && magic_[1] == 0x2a && magic_[2] == 0x4d &&
            magic_[3] == 0x18);
  }

  bool step(std::string_view* input, char* out, std::size_t room, std::size_t* produced) {
    ZSTD_inBuffer in{input->data(), input->size(), 0};
    ZSTD_outBuffer output{out, room, 0};
    const std::size_t code = ZSTD_decompressStream(context_, &output, &in);
    if (ZSTD_isError(code)) return false;
    input->remove_prefix(in.pos);
    *produced = output.pos;
    at_border_ = code == 0;  // a frame has ended; another one may follow
    return true;
  }

  ZSTD_DCtx* context_ = nullptr;
  unsigned char magic_[4] = {};
  std::size_t magic_bytes_ = 0;
  bool at_border_ = true;
};

// `outer` was applied last, so it is undone first.
class Chain final : public ContentDecoder {
 public:
  Chain(std::unique_ptr<ContentDecoder> outer, std::unique_ptr<ContentDecoder> inner)
      : outer_(std::move(outer)),
        inner_(std::move(inner)),
        name_(absl::StrCat(to_absl(inner_->coding()), ", ", to_absl(outer_->coding()))) {}

  Result read(std::string_view* input, char* out, std::size_t room,
              std::size_t* produced) override {
    while (true) {
      const Result result = inner_->read(&between_, out, room, produced);
      if (result != Result::kNeedsMore) return result;
      std::size_t handed = 0;
      const Result before = outer_->read(input, buffer_, sizeof buffer_, &handed);
      if (before != Result::kOutput) return before;
      between_ = std::string_view(buffer_, handed);
    }
  }

  bool whole() const override { return outer_->whole() && inner_->whole(); }
  std::string_view coding() const override { return name_; }

 private:
  std::unique_ptr<ContentDecoder> outer_, inner_;
  std::string name_;
  std::string_view between_;  // of buffer_
  char buffer_[kLinkBytes];
};

template <class Coding>
std::unique_ptr<ContentDecoder> started() {
  auto coding = std::make_unique<Coding>();
  return coding->start() ? std::move(coding) : nullptr;
}

}  // namespace

ContentDecoder::ContentDecoder() = default;
ContentDecoder::~ContentDecoder() = default;

StatusOr<std::unique_ptr<ContentDecoder>> ContentDecoder::make(std::string_view codings) {
  std::unique_ptr<ContentDecoder> decoder;
  std::size_t count = 0;
  for (absl::string_view word : absl::StrSplit(to_absl(codings), ',')) {
    word = absl::StripAsciiWhitespace(word);
    const std::string name = absl::AsciiStrToLower(word);
    if (name.empty() || name == "identity") continue;
    if (++count > kCodingsMax) return invalid_argument("more than five codings in one answer");
    std::unique_ptr<ContentDecoder> next;
    if (name == "gzip" || name == "x-gzip") {
      next = started<Gzip>();
    } else if (name == "deflate") {
      next = std::make_unique<Deflate>();
    } else if (name == "br") {
      next = started<Brotli>();
    } else if (name == "zstd") {
      next = started<Zstandard>();
    } else {
      return invalid_argument(absl::StrCat("the answer's content coding '", name,
                                           "' is not known (gzip, deflate, br, zstd are)"));
    }
    if (next == nullptr) return absl::ResourceExhaustedError("no memory for a decoder");
    decoder = decoder == nullptr ? std::move(next)
                                 : std::make_unique<Chain>(std::move(next), std::move(decoder));
  }
  return decoder;
}

}  // namespace sluiceway::http
