// Content codings: however a body is cut into pieces, the same comes out of it, and ends the same.
// The first line of an input is the header's value, the rest is the body.
#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <cstdlib>
#include <string>
#include <string_view>

#include "http/content_decoder.h"

namespace {

using sluiceway::http::ContentDecoder;

constexpr std::size_t kMost = 1u << 18;  // a bomb is let go at this size

void require(bool ok) {
  if (!ok) std::abort();
}

struct Decoded {
  std::string text;
  bool malformed = false, whole = false, cut = false;
};

Decoded decode(ContentDecoder& decoder, std::string_view body, std::size_t piece,
               std::size_t room) {
  Decoded out;
  std::string buffer(room, '\0');
  for (std::size_t at = 0; at < body.size() && !out.malformed && !out.cut; at += piece) {
    const std::string own(body.substr(at, piece));  // its own block
    std::string_view input = own;
    while (!out.cut) {
      std::size_t n = 0;
      const auto result = decoder.read(&input, buffer.data(), room, &n);
      require(n <= room);
      require((result == ContentDecoder::Result::kOutput) == (n != 0) ||
              result == ContentDecoder::Result::kMalformed);
      out.malformed = result == ContentDecoder::Result::kMalformed;
      if (result == ContentDecoder::Result::kNeedsMore) require(input.empty());
      if (result != ContentDecoder::Result::kOutput) break;
      out.text.append(buffer, 0, n);
      out.cut = out.text.size() > kMost;
    }
  }
  out.whole = decoder.whole();
  return out;
}

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  const std::string_view all(reinterpret_cast<const char*>(data), size);
  const std::size_t line = all.find('\n');
  if (line == std::string_view::npos || line > 64) return 0;
  const std::string_view codings = all.substr(0, line), body = all.substr(line + 1);
  auto first = ContentDecoder::make(codings), second = ContentDecoder::make(codings);
  require(first.ok() == second.ok());
  if (!first.ok() || *first == nullptr) return 0;
  const Decoded at_once = decode(**first, body, std::max<std::size_t>(body.size(), 1), 65'536);
  const Decoded in_drops = decode(**second, body, 3, 1'000);
  const std::size_t common = std::min(at_once.text.size(), in_drops.text.size());
  require(at_once.text.compare(0, common, in_drops.text, 0, common) == 0);
  if (at_once.cut || in_drops.cut) return 0;
  require(at_once.malformed == in_drops.malformed);
  if (at_once.malformed) return 0;
  require(at_once.whole == in_drops.whole && at_once.text.size() == in_drops.text.size());
  return 0;
}
