// Compiles JSON pointers: see json_fields.h for the forms.
#include <string>
#include <string_view>
#include <utility>

#include "base/status.h"
#include "parse/json_fields.h"

namespace sluiceway::parse {
namespace {

// RFC 6901, section 4: "~1" is "/", "~0" is "~", any other "~" is an error.
bool unescape(std::string_view token, std::string& out) {
  out.clear();
  for (std::size_t i = 0; i < token.size(); ++i) {
    if (token[i] != '~') {
      out += token[i];
      continue;
    }
    if (++i == token.size()) return false;
    if (token[i] != '0' && token[i] != '1') return false;
    out += token[i] == '0' ? '~' : '/';
  }
  return true;
}

// "0" or digits without a leading zero; -1 for anything else.
std::int64_t array_index(std::string_view key) {
  if (key.empty() || (key.size() > 1 && key[0] == '0') || key.size() > 9) return -1;
  std::int64_t index = 0;
  for (char c : key) {
    if (c < '0' || c > '9') return -1;
    index = index * 10 + (c - '0');
  }
  return index;
}

}  // namespace

StatusOr<JsonPointer> JsonPointer::compile(std::string_view text) {
  const auto wrong = [text](std::string_view why) {
    std::string message = "JSON pointer '";
    message.append(text).append("': ").append(why);
    return invalid_argument(message);
  };
  JsonPointer pointer;
  pointer.text_ = std::string(text);
  if (text.empty()) return pointer;
  if (text[0] != '/') return wrong("must be empty or begin with '/'");
  std::string_view rest = text.substr(1);
  for (bool more = true; more;) {
    const std::size_t slash = rest.find('/');
    more = slash != std::string_view::npos;
    const std::string_view token = rest.substr(0, slash);
    if (more) rest.remove_prefix(slash + 1);

    Segment segment;
    if (!unescape(token, segment.key)) return wrong("'~' must be followed by '0' or '1'");
    if (segment.key == "-1") {
      segment.kind = Kind::kLast;
    } else if (segment.key == "*") {
      segment.kind = Kind::kEach;
    } else if (segment.key.size() >= 2 && segment.key.front() == '[' && segment.key.back() == ']') {
      const std::size_t equals = segment.key.find('=');
      if (equals == std::string::npos || equals == 1) {
        return wrong("a filter is written [key=value]");
      }
      segment.kind = Kind::kFilter;
      segment.value = segment.key.substr(equals + 1, segment.key.size() - equals - 2);
      segment.key = segment.key.substr(1, equals - 1);
    } else {
      segment.index = array_index(segment.key);
    }
    pointer.segments_.push_back(std::move(segment));
  }
  return pointer;
}

}  // namespace sluiceway::parse
