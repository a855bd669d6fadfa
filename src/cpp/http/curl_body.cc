// The body of an answer, from the library's pieces to the sink: its coding undone, its bound kept,
// and stopped where its reader is slow. See curl_easy.h.
#include <curl/curl.h>
#include <curl/header.h>

#include <utility>

#include "base/text.h"
#include "http/curl_easy.h"

namespace sluiceway::http {
namespace {

// Of a coded body, before what has come in is held against the bound of what comes out.
constexpr std::uint64_t kCodedFree = 65'536;

}  // namespace

// At the first byte of a body, since a head without one may name a coding as well. False: what the
// answer names is not known.
bool Transfer::start_decoding() {
  curl_header* header = nullptr;
  const auto get = [&](std::size_t index) {
    return curl_easy_header(easy, "Content-Encoding", index, CURLH_HEADER, -1, &header) ==
           CURLHE_OK;
  };
  if (!get(0)) return true;
  std::string codings = header->value;
  for (std::size_t i = 1, count = header->amount; i < count && get(i); ++i) {
    codings.append(",").append(header->value);
  }
  auto decoder = ContentDecoder::make(codings);
  if (!decoder.ok()) {
    coding_problem_ = to_std(decoder.status().message());
    return false;
  }
  if (*decoder == nullptr) return true;
  decoding_ = std::make_unique<Decoding>();
  decoding_->decoder = *std::move(decoder);
  return true;
}

std::size_t Transfer::pause_here() {
  paused = true;
  return CURL_WRITEFUNC_PAUSE;  // the library keeps this piece and delivers it again
}

std::size_t Transfer::take_body(std::string_view piece) {
  if (!body_begun_) {
    body_begun_ = true;
    if (request->decode && !start_decoding()) return CURL_WRITEFUNC_ERROR;
  }
  const std::size_t most = request->response_bytes_max;
  if (decoding_ == nullptr) {
    if (piece.size() > most - received) {
      too_large = true;
      return CURL_WRITEFUNC_ERROR;
    }
    received += piece.size();
    sink->on_body(piece);
    return cancelled ? CURL_WRITEFUNC_ERROR : piece.size();
  }
  Decoding& d = *decoding_;
  if (d.used > piece.size()) {
    d.used -= piece.size();
    return piece.size();
  }
  std::string_view left = piece.substr(d.used);
  d.used = 0;
  while (true) {
    const std::size_t before = left.size();
    std::size_t n = 0;
    const auto result = d.decoder->read(&left, d.out, sizeof d.out, &n);
    d.coded += before - left.size();
    if (result == ContentDecoder::Result::kMalformed) {
      coding_problem_ = "the answer is not what its content coding says";
      return CURL_WRITEFUNC_ERROR;
    }
    // Blocks that hold nothing would go on for ever.
    if (n > most - received || (d.coded > kCodedFree && d.coded / 2 > most)) {
      too_large = true;
      return CURL_WRITEFUNC_ERROR;
    }
    if (result == ContentDecoder::Result::kNeedsMore) return piece.size();
    received += n;
    sink->on_body({d.out, n});
    if (cancelled) return CURL_WRITEFUNC_ERROR;
    if (pause_wanted) {
      d.used = piece.size() - left.size();
      return pause_here();
    }
  }
}

}  // namespace sluiceway::http
