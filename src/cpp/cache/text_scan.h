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

inline constexpr std::uint64_t kOnes = 0x0101010101010101ULL;
inline constexpr std::uint64_t kHighs = 0x8080808080808080ULL;

// Not zero when some byte of `word` is zero. Exact as a yes or no: the borrow can mark only bytes
// above a real zero.
inline std::uint64_t has_zero(std::uint64_t word) { return (word - kOnes) & ~word & kHighs; }

// Not zero when some byte is `"`, `\` or below 0x20. `& ~word` keeps bytes beyond ASCII out.
inline std::uint64_t has_escape(std::uint64_t word) {
  const std::uint64_t quote = has_zero(word ^ (kOnes * '"'));
  const std::uint64_t backslash = has_zero(word ^ (kOnes * '\\'));
  const std::uint64_t control = (word - kOnes * 0x20) & ~word & kHighs;
  return quote | backslash | control;
}

// The same as find_escape() == end, without a call and for few bytes: the last words overlap the
// ones before them, so there is no rest to go through byte by byte.
inline bool is_plain_short(std::string_view text) {
  const char* const at = text.data();
  const std::size_t size = text.size();
  std::uint64_t found = 0;
  if (size >= 8) {
    for (std::size_t i = 0; i + 8 < size; i += 8) found |= has_escape(load_word(at + i));
    return (found | has_escape(load_word(at + size - 8))) == 0;
  }
  std::uint64_t word = kOnes * ' ';
  for (std::size_t i = 0; i < size; ++i) {
    word = word << 8 | static_cast<unsigned char>(at[i]);
  }
  return has_escape(word) == 0;
}

// The first byte of [at, end) that is `"`, `\` or below 0x20; `end` when there is none.
const char* find_escape(const char* at, const char* end);

// The first byte of [at, end) that is beyond ASCII; `end` when there is none.
const char* find_beyond_ascii(const char* at, const char* end);

}  // namespace sluiceway::cache
