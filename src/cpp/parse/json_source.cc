// Walks JSON source text: see json_source.h.
#include "parse/json_source.h"

#include <charconv>
#include <cstdint>
#include <system_error>

#include "base/text.h"

namespace sluiceway::parse {
namespace {

bool is_space(char c) { return c == ' ' || c == '\n' || c == '\r' || c == '\t'; }
bool is_number_char(char c) {
  return is_digit(c) || c == '-' || c == '+' || c == '.' || c == 'e' || c == 'E';
}

// A cursor over valid JSON. Every move is checked against the end.
struct Cursor {
  const char* at;
  const char* end;

  char peek() const { return at < end ? *at : '\0'; }
  void skip_space() {
    while (at < end && is_space(*at)) ++at;
  }
  // Takes `c` if it comes next, after white space.
  bool take(char c) {
    skip_space();
    if (peek() != c) return false;
    ++at;
    return true;
  }
  // At an opening quote: moves behind the closing one and returns what lies between, still escaped.
  std::string_view take_string() {
    const char* begin = at < end ? ++at : at;
    while (at < end && *at != '"') at += *at == '\\' ? 2 : 1;
    if (at > end) at = end;
    const std::string_view raw(begin, static_cast<std::size_t>(at - begin));
    if (at < end) ++at;
    return raw;
  }
  // Moves behind the value that begins here and returns its text.
  std::string_view take_value() {
    skip_space();
    const char* begin = at;
    std::size_t depth = 0;
    do {
      const char c = peek();
      if (c == '"') {
        take_string();
        continue;
      }
      if (c == '{' || c == '[') ++depth;
      if ((c == '}' || c == ']') && depth > 0) --depth;
      if (at < end) ++at;
    } while (at < end && (depth > 0 || !ends_value(begin)));
    return {begin, static_cast<std::size_t>(at - begin)};
  }

 private:
  // Outside all brackets: strings and containers are over at once, literals at a delimiter.
  bool ends_value(const char* begin) const {
    if (*begin == '"' || *begin == '{' || *begin == '[') return true;
    return is_space(*at) || *at == ',' || *at == ']' || *at == '}' || *at == ':';
  }
};

unsigned hex4(std::string_view text) {
  unsigned value = 0;
  std::from_chars(text.data(), text.data() + text.size(), value, 16);
  return value;
}

void append_utf8(std::string& out, unsigned c) {
  const auto add = [&out](unsigned byte) { out += static_cast<char>(byte); };
  if (c < 0x80) {
    add(c);
  } else if (c < 0x800) {
    add(0xC0 | (c >> 6));
    add(0x80 | (c & 63));
  } else if (c < 0x10000) {
    add(0xE0 | (c >> 12));
    add(0x80 | ((c >> 6) & 63));
    add(0x80 | (c & 63));
  } else {
    add(0xF0 | (c >> 18));
    add(0x80 | ((c >> 12) & 63));
    add(0x80 | ((c >> 6) & 63));
    add(0x80 | (c & 63));
  }
}

std::string unescape(std::string_view raw) {
  std::string out;
  for (std::size_t i = 0; i < raw.size(); ++i) {
    if (raw[i] != '\\' || i + 1 == raw.size()) {
      out += raw[i];
      continue;
    }
    switch (const char c = raw[++i]) {
      case 'b':
        out += '\b';
        break;
      case 'f':
        out += '\f';
        break;
      case 'n':
        out += '\n';
        break;
      case 'r':
        out += '\r';
        break;
      case 't':
        out += '\t';
        break;
      case 'u': {
        unsigned unit = hex4(raw.substr(i + 1, 4));
        i += 4;
        if (unit >= 0xD800 && unit < 0xDC00 && i + 6 < raw.size()) {
          unit = 0x10000 + ((unit - 0xD800) << 10) + (hex4(raw.substr(i + 3, 4)) - 0xDC00);
          i += 6;
        }
        append_utf8(out, unit);
        break;
      }
      default:
        out += c;
    }
  }
  return out;
}

bool same_text(std::string_view raw, std::string_view wanted) {
  if (raw.find('\\') == std::string_view::npos) return raw == wanted;
  return unescape(raw) == wanted;
}

// Moves to the value of the first member `key` of the object that begins here.
bool enter_member(Cursor& cursor, std::string_view key) {
  if (!cursor.take('{')) return false;
  for (cursor.skip_space(); cursor.peek() == '"'; cursor.skip_space()) {
    const bool found = same_text(cursor.take_string(), key);
    if (!cursor.take(':')) return false;
    if (found) {
      cursor.skip_space();
      return true;
    }
    cursor.take_value();
    if (!cursor.take(',')) return false;
  }
  return false;
}

bool passes_filter(std::string_view value, const JsonPointer::Segment& filter) {
  Cursor cursor{value.data(), value.data() + value.size()};
  if (!enter_member(cursor, filter.key)) return false;
  const std::string_view member = cursor.take_value();
  if (!member.empty() && member[0] == '"') {
    return same_text(member.substr(1, member.size() - 2), filter.value);
  }
  if (member == "true" || member == "false") return member == filter.value;
  if (member.find_first_of(".eE[{n") != std::string_view::npos) return false;
  return member == filter.value;
}

using Segment = JsonPointer::Segment;
using Kind = JsonPointer::Kind;

void walk(std::string_view value, const Segment* segment, const Segment* last,
          std::vector<std::string_view>& out) {
  if (segment == last) {
    out.push_back(value);
    return;
  }
  Cursor cursor{value.data(), value.data() + value.size()};
  if (cursor.peek() == '{') {
    if (segment->kind == Kind::kFilter) {
      if (passes_filter(value, *segment)) walk(value, segment + 1, last, out);
    } else if (enter_member(cursor, segment->key)) {
      walk(cursor.take_value(), segment + 1, last, out);
    }
    return;
  }
  if (!cursor.take('[') || (segment->kind == Kind::kToken && segment->index < 0)) return;
  std::string_view element;
  cursor.skip_space();
  if (cursor.peek() == ']') return;
  std::int64_t index = 0;
  do {
    element = cursor.take_value();
    switch (segment->kind) {
      case Kind::kToken:
        if (index == segment->index) return walk(element, segment + 1, last, out);
        break;
      case Kind::kEach:
        walk(element, segment + 1, last, out);
        break;
      case Kind::kFilter:
        if (passes_filter(element, *segment)) walk(element, segment + 1, last, out);
        break;
      case Kind::kLast:
        break;
    }
    ++index;
  } while (cursor.take(','));
  if (segment->kind == Kind::kLast) walk(element, segment + 1, last, out);
}

// Whether a number that is well-formed is too wide for the parsed form. Numbers that are not
// well-formed come out either way; the second parse refuses them if they are left as they are, so
// only what parse_nano_decimal's grammar accepts may be hidden.
bool is_wide(std::string_view number) {
  if (!is_json_number(number)) return false;
  const char* begin = number.data();
  const char* end = begin + number.size();
  if (number.find_first_of(".eE") == std::string_view::npos) {
    std::int64_t as_signed = 0;
    std::uint64_t as_unsigned = 0;
    return std::from_chars(begin, end, as_signed).ec != std::errc() &&
           std::from_chars(begin, end, as_unsigned).ec != std::errc();
  }
  double value = 0;
  return std::from_chars(begin, end, value).ec == std::errc::result_out_of_range;
}

}  // namespace

bool is_json_number(std::string_view text) {
  std::size_t i = 0;
  const auto digits = [&] {
    const std::size_t begin = i;
    while (i < text.size() && is_digit(text[i])) ++i;
    return i - begin;
  };
  if (i < text.size() && text[i] == '-') ++i;
  const bool zero = i < text.size() && text[i] == '0';
  const std::size_t whole = digits();
  if (whole == 0 || (zero && whole > 1)) return false;
  if (i < text.size() && text[i] == '.') {
    ++i;
    if (digits() == 0) return false;
  }
  if (i < text.size() && (text[i] == 'e' || text[i] == 'E')) {
    ++i;
    if (i < text.size() && (text[i] == '+' || text[i] == '-')) ++i;
    if (digits() == 0) return false;
  }
  return i == text.size();
}

void find_sources(std::string_view json, const JsonPointer& pointer,
                  std::vector<std::string_view>& out) {
  out.clear();
  Cursor cursor{json.data(), json.data() + json.size()};
  const auto& segments = pointer.segments();
  walk(cursor.take_value(), segments.data(), segments.data() + segments.size(), out);
}

void hide_wide_numbers(std::string_view json, std::string& out) {
  static constexpr std::string_view kHidden = "1e308";
  out.assign(json);
  char* const begin = out.data();
  Cursor cursor{begin, begin + out.size()};
  while (cursor.at < cursor.end) {
    if (*cursor.at == '"') {
      cursor.take_string();
      continue;
    }
    if (*cursor.at != '-' && !is_digit(*cursor.at)) {
      ++cursor.at;
      continue;
    }
    const char* number = cursor.at;
    while (cursor.at < cursor.end && is_number_char(*cursor.at)) ++cursor.at;
    const std::string_view text(number, static_cast<std::size_t>(cursor.at - number));
    if (text.size() < kHidden.size() || !is_wide(text)) continue;
    const auto offset = static_cast<std::size_t>(number - begin);
    const std::size_t size = text.size();
    out.replace(offset, size, std::string(kHidden) + std::string(size - kHidden.size(), ' '));
  }
}

}  // namespace sluiceway::parse
