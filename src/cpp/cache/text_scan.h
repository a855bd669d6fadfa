// Inside the room: looks through text for what JSON must escape, and checks UTF-8.
//
// Model: pure functions over bytes. On x86-64 sixteen bytes a step (thirty-two where the processor
// has AVX2, asked once), elsewhere eight in an ordinary register. Strings of a request are mostly
// plain, so the search is the cost of writing them: a key over 100 kB must cost little more than
// its SHA-256. Threads: safe for all. No allocation.
#pragma once

#include <cstdint>
#include <cstring>
#include <string_view>

namespace sluiceway::cache {

// The eight bytes at `at`, in the machine's order.
inline std::uint64_t load_word(const char* at) {
  std::uint64_t word = 0;
  std::memcpy(&word, at, sizeof word);
  return word;
}

// The first byte of [at, end) that is `"`, `\` or below 0x20; `end` when there is none.
const char* find_escape(const char* at, const char* end);

// The first byte of [at, end) that is beyond ASCII; `end` when there is none.
const char* find_beyond_ascii(const char* at, const char* end);

}  // namespace sluiceway::cache
