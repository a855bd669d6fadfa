// JSON fields: any pointer over any body.
//
// Input: a pointer up to the first LF, then the body. Checked: both ways of parsing agree; the walk
// over the source text finds what the walk over the parsed form finds; an integer read as a decimal
// is the same number; a body cut anywhere in its last value is refused when it is an object.
#include <cstddef>
#include <cstdint>
#include <cstdlib>
#include <string>
#include <string_view>
#include <vector>

#include "parse/json_fields.h"
#include "parse/json_source.h"

namespace {

using sluiceway::parse::JsonPointer;
using sluiceway::parse::JsonReader;

void require(bool ok) {
  if (!ok) std::abort();
}

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  const std::string_view input(reinterpret_cast<const char*>(data), size);
  const std::size_t line = input.find('\n');
  if (line == std::string_view::npos) return 0;
  const auto pointer = JsonPointer::compile(input.substr(0, line));
  if (!pointer.ok()) return 0;
  const std::string_view body = input.substr(line + 1);

  static JsonReader reader(1 << 16), padded(1 << 16);
  const bool parsed = reader.parse(body);
  std::vector<char> buffer(body.begin(), body.end());
  buffer.resize(body.size() + JsonReader::kPadding, '"');
  require(padded.parse_padded({buffer.data(), body.size()}) == parsed);

  const auto text = reader.text(*pointer);
  require(padded.text(*pointer) == text);
  require(text.has_value() ? reader.present(*pointer) : true);
  const std::size_t matches = reader.count(*pointer);
  require(reader.present(*pointer) == (matches > 0));
  require((reader.type_name(*pointer) == "absent") == (matches == 0));
  const auto integer = reader.integer(*pointer);
  const auto nano = reader.nano_decimal(*pointer);
  require(padded.nano_decimal(*pointer) == nano);
  reader.boolean(*pointer);
  reader.is_null(*pointer);
  if (!parsed) {
    require(matches == 0 && !integer && !nano);
    return 0;
  }
  std::string_view json = body;
  if (json.substr(0, 3) == "\xEF\xBB\xBF") json.remove_prefix(3);
  std::vector<std::string_view> sources;
  sluiceway::parse::find_sources(json, *pointer, sources);
  require(sources.size() == matches);
  if (matches == 1) {
    const char first = sources[0][0];
    const std::string_view type = reader.type_name(*pointer);
    require((type == "object") == (first == '{') && (type == "array") == (first == '['));
    require((type == "string") == (first == '"') && (type == "null") == (first == 'n'));
    constexpr std::int64_t kBillion = 1'000'000'000;
    if (type == "number" && integer && *integer <= 9 * kBillion && *integer >= -9 * kBillion) {
      // A fraction that is lost in the nearest double is none to integer(); up to 9e9 that is at
      // most half of 2^-19, 954 nano. Digits alone lose nothing.
      const bool digits = sources[0].find_first_of(".eE") == std::string_view::npos;
      require(nano.has_value());
      require(std::abs(*nano - *integer * kBillion) <= (digits ? 0 : 1'000));
    }
    JsonReader alone(1 << 16);
    require(alone.parse(sources[0]));
  }
  const std::size_t end = json.find_last_not_of(" \t\r\n");
  if (json[json.find_first_not_of(" \t\r\n")] == '{') {
    require(!reader.parse(json.substr(0, end)));
    require(!reader.parse(json.substr(0, end / 2 + 1 < end ? end / 2 + 1 : end)));
  }
  return 0;
}
