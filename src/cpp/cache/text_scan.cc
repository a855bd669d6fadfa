// Searches over text: see text_scan.h.
#include "cache/text_scan.h"

#include <bit>
#include <cstdint>
#include <cstring>

#if defined(__x86_64__)
#include <immintrin.h>
#endif

namespace sluiceway::cache {
namespace {

bool needs_escape(unsigned char c) { return c < 0x20 || c == '"' || c == '\\'; }

const char* find_escape_by_words(const char* at, const char* end) {
  while (end - at >= 8 && has_escape(load_word(at)) == 0) at += 8;
  while (at < end && !needs_escape(static_cast<unsigned char>(*at))) ++at;
  return at;
}

#if defined(__x86_64__)

// A bit for each of 16 bytes that must be escaped. min(c, 0x1F) == c says c < 0x20, unsigned.
unsigned escapes_16(const char* at) {
  const __m128i bytes = _mm_loadu_si128(reinterpret_cast<const __m128i*>(at));
  const __m128i quote = _mm_cmpeq_epi8(bytes, _mm_set1_epi8('"'));
  const __m128i backslash = _mm_cmpeq_epi8(bytes, _mm_set1_epi8('\\'));
  const __m128i control = _mm_cmpeq_epi8(_mm_min_epu8(bytes, _mm_set1_epi8(0x1F)), bytes);
  return static_cast<unsigned>(
      _mm_movemask_epi8(_mm_or_si128(_mm_or_si128(quote, backslash), control)));
}

const char* find_escape_16(const char* at, const char* end) {
  for (; end - at >= 16; at += 16) {
    if (const unsigned found = escapes_16(at)) return at + std::countr_zero(found);
  }
  return find_escape_by_words(at, end);
}

__attribute__((target("avx2"))) inline __m256i escapes_32(const char* at) {
  const __m256i bytes = _mm256_loadu_si256(reinterpret_cast<const __m256i*>(at));
  const __m256i quote = _mm256_cmpeq_epi8(bytes, _mm256_set1_epi8('"'));
  const __m256i backslash = _mm256_cmpeq_epi8(bytes, _mm256_set1_epi8('\\'));
  const __m256i control = _mm256_cmpeq_epi8(_mm256_min_epu8(bytes, _mm256_set1_epi8(0x1F)), bytes);
  return _mm256_or_si256(_mm256_or_si256(quote, backslash), control);
}

__attribute__((target("avx2"))) const char* find_escape_32(const char* at, const char* end) {
  for (; end - at >= 64; at += 64) {
    const __m256i low = escapes_32(at);
    const __m256i high = escapes_32(at + 32);
    if (_mm256_movemask_epi8(_mm256_or_si256(low, high)) == 0) continue;
    const auto bits = static_cast<std::uint64_t>(static_cast<unsigned>(_mm256_movemask_epi8(low))) |
                      static_cast<std::uint64_t>(static_cast<unsigned>(_mm256_movemask_epi8(high)))
                          << 32;
    return at + std::countr_zero(bits);
  }
  return find_escape_16(at, end);
}

bool has_avx2() {
  static const bool has = __builtin_cpu_supports("avx2") != 0;
  return has;
}

#endif

}  // namespace

const char* find_escape(const char* at, const char* end) {
#if defined(__x86_64__)
  if (end - at >= 64 && has_avx2()) return find_escape_32(at, end);
  return find_escape_16(at, end);
#else
  return find_escape_by_words(at, end);
#endif
}

const char* find_beyond_ascii(const char* at, const char* end) {
  for (; end - at >= 32; at += 32) {
    const std::uint64_t four =
        load_word(at) | load_word(at + 8) | load_word(at + 16) | load_word(at + 24);
    if ((four & kHighs) != 0) break;
  }
  while (end - at >= 8 && (load_word(at) & kHighs) == 0) at += 8;
  while (at < end && static_cast<unsigned char>(*at) < 0x80) ++at;
  return at;
}

}  // namespace sluiceway::cache
