// The event stream parser: every way of cutting a stream gives the same events and the same end.
//
// Input: one byte that seeds the cuts, then the stream. Bounds are small, so that the fuzzer
// reaches them; an error must then come for every cut, after the same events.
#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <cstdlib>
#include <string>
#include <string_view>
#include <vector>

#include "parse/sse_parser.h"

namespace {

using sluiceway::parse::SseEvent;
using sluiceway::parse::SseHandler;
using sluiceway::parse::SseParser;

struct Outcome final : SseHandler {
  std::vector<std::string> events;
  bool ok = true, pending = false;
  std::uint64_t comments = 0;
  void on_event(const SseEvent& event) override {
    events.push_back(std::string(event.type) + '\0' + std::string(event.data) + '\0' +
                     std::string(event.id) + '\0' + std::to_string(event.retry_ms));
  }
  bool operator==(const Outcome& other) const {
    // What waits after an error depends on the cut; the error itself does not.
    return events == other.events && ok == other.ok && comments == other.comments &&
           (!ok || pending == other.pending);
  }
};

// Cuts after next() bytes each time. Every piece has a heap block of its own: AddressSanitizer sees
// views that outlive it.
template <typename Next>
void run(std::string_view stream, Next&& next, Outcome& outcome) {
  SseParser parser(256, 512);
  while (!stream.empty() && outcome.ok) {
    const std::vector<char> piece(
        stream.begin(),
        stream.begin() + static_cast<std::ptrdiff_t>(std::min(next(), stream.size())));
    stream.remove_prefix(piece.size());
    outcome.ok = parser.feed({piece.data(), piece.size()}, outcome).ok();
  }
  outcome.pending = parser.pending();
  outcome.comments = parser.comments();
}

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  if (size == 0) return 0;
  std::uint32_t state = data[0] + 1u;
  const std::string_view stream(reinterpret_cast<const char*>(data) + 1, size - 1);
  Outcome whole, bytes, cuts;
  run(stream, [&] { return stream.size(); }, whole);
  run(stream, [] { return std::size_t{1}; }, bytes);
  const auto draw = [&state] {
    state = state * 1664525u + 1013904223u;
    return static_cast<std::size_t>(1 + (state >> 24) % 23);
  };
  run(stream, draw, cuts);
  if (!(whole == bytes) || !(whole == cuts)) std::abort();
  return 0;
}
