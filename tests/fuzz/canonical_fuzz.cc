// Canonical strings, numbers and key order, against slow and simple twins.
//
// The input is used three times: as a string, as doubles of eight bytes, and cut in two as a pair
// of keys. Checked: a string is written exactly when it is UTF-8, and reads back as it was; a
// double reads back as it was, from no more than 25 characters; keys compare as their UTF-16 does.
#include <charconv>
#include <cmath>
#include <cstddef>
#include <cstdint>
#include <cstdlib>
#include <cstring>
#include <optional>
#include <string>
#include <string_view>

#include "cache/canonical_json.h"
#include "cache/text_scan.h"
#include "parse/json_fields.h"

namespace {

namespace cache = sluiceway::cache;

void require(bool ok) {
  if (!ok) std::abort();
}

// RFC 3629 by arithmetic: decode, then ask whether the code point deserves this length.
std::optional<std::u16string> to_utf16(std::string_view text) {
  std::u16string out;
  for (std::size_t i = 0; i < text.size();) {
    const auto lead = static_cast<unsigned char>(text[i]);
    const std::size_t length = lead < 0x80   ? 1
                               : lead < 0xC0 ? 0
                               : lead < 0xE0 ? 2
                               : lead < 0xF0 ? 3
                               : lead < 0xF8 ? 4
                                             : 0;
    if (length == 0 || text.size() - i < length) return std::nullopt;
    std::uint32_t point = length == 1 ? lead : lead & (0x7Fu >> length);
    for (std::size_t k = 1; k < length; ++k) {
      const auto byte = static_cast<unsigned char>(text[i + k]);
      if (byte < 0x80 || byte > 0xBF) return std::nullopt;
      point = point * 64 + (byte - 0x80u);
    }
    const std::size_t shortest = point < 0x80 ? 1 : point < 0x800 ? 2 : point < 0x10000 ? 3 : 4;
    if (shortest != length || point > 0x10FFFF || (point >= 0xD800 && point <= 0xDFFF)) {
      return std::nullopt;
    }
    if (point < 0x10000) {
      out += static_cast<char16_t>(point);
    } else {
      out += static_cast<char16_t>(0xD7C0 + (point >> 10));
      out += static_cast<char16_t>(0xDC00 + (point & 0x3FF));
    }
    i += length;
  }
  return out;
}

void check_string(std::string_view text) {
  std::string out = "before";
  const bool written = cache::write_string(out, text);
  require(written == to_utf16(text).has_value() && written == cache::is_utf8(text));
  const char* const end = text.data() + text.size();
  const char* plain = text.data();
  while (plain != end && static_cast<unsigned char>(*plain) >= 0x20 && *plain != '"' &&
         *plain != '\\')
    ++plain;
  require(cache::find_escape(text.data(), end) == plain);
  if (!written) {
    require(out == "before");
    return;
  }
  static sluiceway::parse::JsonReader reader;
  static const auto whole = *sluiceway::parse::JsonPointer::compile("");
  require(reader.parse(std::string_view(out).substr(6)) && reader.text(whole) == text);
}

void check_double(double value) {
  std::string out;
  if (!cache::write_double(out, value)) {
    require(!std::isfinite(value) && out.empty());
    return;
  }
  require(out.size() <= 25);
  double back = 1;
  const auto end = std::from_chars(out.data(), out.data() + out.size(), back);
  require(end.ec == std::errc() && end.ptr == out.data() + out.size() && back == value);
}

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  const std::string text(reinterpret_cast<const char*>(data), size);
  check_string(text);
  for (std::size_t i = 0; i + 8 <= size; i += 8) {
    double value = 0;
    std::memcpy(&value, data + i, 8);
    check_double(value);
    std::int64_t integer = 0;
    std::memcpy(&integer, data + i, 8);
    std::string out;
    require(cache::write_integer(out, integer) ==
            (std::abs(static_cast<long double>(integer)) <= 9007199254740992.0L));
  }
  const std::string_view a = std::string_view(text).substr(0, size / 2);
  const std::string_view b = std::string_view(text).substr(size / 2);
  const auto left = to_utf16(a), right = to_utf16(b);
  if (left && right) {
    require(cache::compare_keys(a, b) == (*left <=> *right));
    require(cache::compare_keys(b, a) == (*right <=> *left));
  }
  return 0;
}
