// Canonical JSON writers: see canonical_json.h.
#include "cache/canonical_json.h"

#include <charconv>
#include <cmath>
#include <cstring>

#include "cache/text_scan.h"

namespace sluiceway::cache {
namespace {

// Runs without escapes are searched and copied in pieces of this size, so that the copy finds the
// bytes in the first-level cache.
constexpr std::ptrdiff_t kPieceBytes = 8'192;
// Names and most values.
constexpr std::size_t kShortBytes = 64;

void append_escape(std::string& out, char c) {
  static constexpr char kDigits[] = "0123456789abcdef";
  switch (c) {
    case '"':
      out.append("\\\"", 2);
      return;
    case '\\':
      out.append("\\\\", 2);
      return;
    case '\b':
      out.append("\\b", 2);
      return;
    case '\t':
      out.append("\\t", 2);
      return;
    case '\n':
      out.append("\\n", 2);
      return;
    case '\f':
      out.append("\\f", 2);
      return;
    case '\r':
      out.append("\\r", 2);
      return;
    default:
      break;
  }
  const char text[6] = {'\\', 'u', '0', '0', kDigits[(c >> 4) & 15], kDigits[c & 15]};
  out.append(text, 6);
}

// The length of the well-formed sequence that begins at `at` (Unicode, table 3-7), or 0.
std::size_t sequence_length(const unsigned char* at, const unsigned char* end) {
  const unsigned char lead = at[0];
  if (lead < 0x80) return 1;
  if (lead < 0xC2 || lead > 0xF4) return 0;
  const std::size_t length = lead < 0xE0 ? 2 : lead < 0xF0 ? 3 : 4;
  if (static_cast<std::size_t>(end - at) < length) return 0;
  // The second byte's range is narrower after four leads: no long forms, no surrogates, no more
  // than U+10FFFF.
  const unsigned char low = lead == 0xE0 ? 0xA0 : lead == 0xF0 ? 0x90 : 0x80;
  const unsigned char high = lead == 0xED ? 0x9F : lead == 0xF4 ? 0x8F : 0xBF;
  if (at[1] < low || at[1] > high) return 0;
  for (std::size_t i = 2; i < length; ++i) {
    if ((at[i] & 0xC0) != 0x80) return 0;
  }
  return length;
}

}  // namespace

bool is_utf8(std::string_view text) {
  const char* at = text.data();
  const char* const end = at + text.size();
  while ((at = find_beyond_ascii(at, end)) != end) {
    // Sequences come in runs (a Chinese sentence): stay here until ASCII comes again.
    while (at != end && static_cast<unsigned char>(*at) >= 0x80) {
      const std::size_t length = sequence_length(reinterpret_cast<const unsigned char*>(at),
                                                 reinterpret_cast<const unsigned char*>(end));
      if (length == 0) return false;
      at += length;
    }
  }
  return true;
}

void write_json_string(std::string& out, std::string_view utf8) {
  if (utf8.size() <= kShortBytes && is_plain_short(utf8)) {
    out += '"';
    out += utf8;
    out += '"';
    return;
  }
  out += '"';
  const char* at = utf8.data();
  const char* const end = at + utf8.size();
  while (at != end) {
    const char* const piece_end = end - at > kPieceBytes ? at + kPieceBytes : end;
    const char* const stop = find_escape(at, piece_end);
    out.append(at, static_cast<std::size_t>(stop - at));
    at = stop;
    if (stop != piece_end) append_escape(out, *at++);
  }
  out += '"';
}

bool write_string(std::string& out, std::string_view utf8) {
  if (!is_utf8(utf8)) return false;
  write_json_string(out, utf8);
  return true;
}

// to_chars gives the shortest digits that read back as the value, nearest to it where several are
// as short: ECMA-262's k and s. Its scientific form "d.ddde+XX" yields digits and exponent n - 1,
// from which the five layouts of Number::toString follow.
bool write_double(std::string& out, double value) {
  if (!std::isfinite(value)) return false;
  if (value == 0) {
    out += '0';  // minus zero too
    return true;
  }
  char text[32];
  const char* const end =
      std::to_chars(text, text + sizeof text, value, std::chars_format::scientific).ptr;
  const char* at = text;
  if (*at == '-') {
    out += '-';
    ++at;
  }
  char digits[20];
  std::size_t count = 0;
  for (; *at != 'e'; ++at) {
    if (*at != '.') digits[count++] = *at;
  }
  ++at;
  if (*at == '+') ++at;  // from_chars takes a minus sign only
  int exponent = 0;
  std::from_chars(at, end, exponent);

  const int k = static_cast<int>(count);
  const int n = exponent + 1;  // the value is 0.digits * 10^n
  if (k <= n && n <= 21) {
    out.append(digits, count);
    out.append(static_cast<std::size_t>(n - k), '0');
  } else if (0 < n && n <= 21) {
    out.append(digits, static_cast<std::size_t>(n));
    out += '.';
    out.append(digits + n, static_cast<std::size_t>(k - n));
  } else if (-6 < n && n <= 0) {
    out.append("0.");
    out.append(static_cast<std::size_t>(-n), '0');
    out.append(digits, count);
  } else {
    out += digits[0];
    if (k > 1) {
      out += '.';
      out.append(digits + 1, count - 1);
    }
    out.append(exponent < 0 ? "e-" : "e+");
    write_json_integer(out, exponent < 0 ? -exponent : exponent);
  }
  return true;
}

bool write_integer(std::string& out, std::int64_t value) {
  if (value > kIntegerMax || value < -kIntegerMax) return false;
  write_json_integer(out, value);
  return true;
}

void write_json_integer(std::string& out, std::int64_t value) {
  char text[24];
  const char* const end = std::to_chars(text, text + sizeof text, value).ptr;
  out.append(text, static_cast<std::size_t>(end - text));
}

// In UTF-8 the order of bytes is the order of code points. UTF-16 writes what lies beyond U+FFFF
// with surrogates (D800 to DFFF), which puts it below U+E000 to U+FFFF: leads F0 to F4 sort below
// leads EE and EF. Nothing else differs.
std::strong_ordering compare_keys(std::string_view a, std::string_view b) {
  const std::size_t size = a.size() < b.size() ? a.size() : b.size();
  std::size_t i = 0;
  while (i + 8 <= size && load_word(a.data() + i) == load_word(b.data() + i)) i += 8;
  while (i < size && a[i] == b[i]) ++i;
  if (i == size) return a.size() <=> b.size();
  const auto x = static_cast<unsigned char>(a[i]);
  const auto y = static_cast<unsigned char>(b[i]);
  // A difference inside a sequence means the same lead before it; at a lead the rule applies.
  const bool x_beyond = x >= 0xF0, y_beyond = y >= 0xF0;
  if (x_beyond != y_beyond && x >= 0xEE && y >= 0xEE) {
    return x_beyond ? std::strong_ordering::less : std::strong_ordering::greater;
  }
  return x <=> y;
}

}  // namespace sluiceway::cache
