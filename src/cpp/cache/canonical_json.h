// Canonical JSON (RFC 8785): the writers from which a request's cache key is made, and the plain
// writers for request bodies.
//
// Model: free functions that append one value to a std::string. The walk over objects belongs to
// the caller: in canonical text the members of an object stand in the order of compare_keys(),
// without white space. Every writer returns false, with `out` as it was before, for what has no
// canonical form: text that is not UTF-8 (lone surrogates are not), NaN, infinities, integers
// beyond 2^53. Such a request is not cached; it can still be sent.
//
// Bounds: time linear in the input, many bytes a step where nothing is escaped (text_scan.h); no
// allocation but the growth of `out`. Threads: pure functions.
//
// Example: out = "{"; write_string(out, "n"); out += ':'; write_double(out, 1e21); out += '}';
//          gives {"n":1e+21}
//
// Source: RFC 8785 (JSON Canonicalization Scheme), sections 3.2.2.2 (strings), 3.2.2.3 (numbers,
// which is ECMA-262's Number::toString) and 3.2.3 (order of keys).
#pragma once

#include <compare>
#include <cstdint>
#include <string>
#include <string_view>

namespace sluiceway::cache {

// The largest integer that every JSON reader keeps exactly (RFC 8785, section 6).
constexpr std::int64_t kIntegerMax = std::int64_t{1} << 53;

// A quoted string. Only `"`, `\` and U+0000 to U+001F are escaped, the latter as \b \t \n \f \r or
// \u00xx; everything else stays raw. False when `utf8` is not well-formed UTF-8.
bool write_string(std::string& out, std::string_view utf8);
// The same escapes, for text that is known to be UTF-8 (a Python str): nothing is checked.
void write_json_string(std::string& out, std::string_view utf8);

// The shortest digits that read back as `value`, laid out as ECMAScript does: "1e+21", "0.000001",
// "1e-7", "-0" as "0". False for NaN and infinities.
bool write_double(std::string& out, double value);

// False when |value| > 2^53.
bool write_integer(std::string& out, std::int64_t value);
// Any int64, for request bodies.
void write_json_integer(std::string& out, std::int64_t value);

// The order of two keys (both well-formed UTF-8) by their UTF-16 code units, as section 3.2.3 asks.
// It differs from the order of bytes only where a key has characters beyond U+FFFF.
std::strong_ordering compare_keys(std::string_view a, std::string_view b);

// A key to sort, with its first eight bytes at hand, the first of them highest.
class SortKey {
 public:
  explicit SortKey(std::string_view utf8) : text_(utf8) {
    const std::size_t size = utf8.size() < 8 ? utf8.size() : 8;
    for (std::size_t i = 0; i < size; ++i) {
      head_ |= std::uint64_t{static_cast<unsigned char>(utf8[i])} << (56 - 8 * i);
    }
  }
  std::string_view text() const { return text_; }
  // Where both begin with ASCII and differ there, that decides; a missing byte counts as the least.
  friend bool operator<(const SortKey& a, const SortKey& b) {
    constexpr std::uint64_t kBeyondAscii = 0x8080808080808080ULL;
    const bool decided = a.head_ != b.head_ && ((a.head_ | b.head_) & kBeyondAscii) == 0;
    return decided ? a.head_ < b.head_ : compare_keys(a.text_, b.text_) < 0;
  }

 private:
  std::string_view text_;
  std::uint64_t head_ = 0;
};

// Well-formed as Unicode's table 3-7 says: shortest forms, no surrogates, at most U+10FFFF.
bool is_utf8(std::string_view text);

}  // namespace sluiceway::cache
