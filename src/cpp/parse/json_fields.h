// Reads single fields out of a JSON body: the text, the usage counts, the error code of an answer.
//
// Model: a JsonPointer is compiled once (from a provider's row) and applied to many bodies. A
// JsonReader parses a body in full, so that "parse() returned true" means "this is one complete
// JSON value, UTF-8 valid" (a cut body decides about money), and then answers questions about it.
// Where a key occurs twice in an object, the first one is read.
//
// Pointers are RFC 6901 ("/usage/prompt_tokens", "~0" for "~", "~1" for "/", "" for the whole
// value), with three additions for arrays:
//   "-1"           the last element
//   "*"            every element
//   "[type=text]"  every element that is an object whose member `type` is the string "text" (or the
//                  integer or boolean written like that); on an object: that object itself if it
//                  matches. "~1" and "~0" work inside; the first "=" divides.
// On an object "-1" and "*" are plain keys. Keys of the form "[a=b]" cannot be addressed.
// With "*" or a filter several values can match: texts are joined, integers and decimals summed.
//
// Bounds: bodies above bytes_max and nesting above 1024 are refused. About 30 bytes of address
// space for each byte of the largest body, of which one whose size is mostly text touches 5; kept
// for reuse up to bodies of 4 MiB, given back after larger ones. Time: linear in the body, then
// linear in what a pointer walks over. Threads: a JsonPointer is immutable; a JsonReader belongs to
// one thread.
//
// Example:
//   auto text = JsonPointer::compile("/content/[type=text]/text");
//   JsonReader reader;
//   if (reader.parse(body)) answer = reader.text(*text).value_or("");
//
// Source: RFC 8259 (JSON), RFC 6901 (JSON Pointer). The parser underneath is simdjson's DOM (its
// on-demand parser accepts many broken bodies, see docs/internals).
#pragma once

#include <cstddef>
#include <cstdint>
#include <memory>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "base/status.h"

namespace sluiceway::parse {

class JsonPointer {
 public:
  enum class Kind : std::uint8_t {
    kToken,   // an object's key, or an array's index
    kLast,    // "-1"
    kEach,    // "*"
    kFilter,  // "[key=value]"
  };
  struct Segment {
    Kind kind = Kind::kToken;
    std::string key;          // unescaped; of kFilter: the member's name
    std::string value;        // kFilter only
    std::int64_t index = -1;  // the array index that `key` spells, or -1
  };

  // kInvalidArgument with the reason when `text` is not a pointer of the form above.
  static StatusOr<JsonPointer> compile(std::string_view text);

  const std::vector<Segment>& segments() const { return segments_; }
  const std::string& text() const { return text_; }

 private:
  std::string text_;
  std::vector<Segment> segments_;
};

class JsonReader {
 public:
  // How many bytes behind the text parse_padded() may read (never write).
  static constexpr std::size_t kPadding = 64;
  static constexpr std::size_t kDepthMax = 1024;

  explicit JsonReader(std::size_t bytes_max = std::size_t{64} << 20);
  ~JsonReader();
  JsonReader(JsonReader&&) noexcept;
  JsonReader& operator=(JsonReader&&) noexcept;

  // True when `bytes` is exactly one JSON value. White space around it and a leading UTF-8 byte
  // order mark are allowed; numbers of any size are (they are just not integers for integer()).
  // Lone surrogates ("\ud800") are refused: there is no UTF-8 for them. `bytes` is copied.
  bool parse(std::string_view bytes);
  // The same without the copy: kPadding bytes behind the text are readable, and the text stays as
  // it is until the next parse.
  bool parse_padded(std::string_view bytes);
  // Why the last parse returned false; "" after a true one. For people.
  std::string_view error() const;

  // All of these give nullopt (or false, or "absent") before a successful parse.
  // Views live until the next parse.

  // The string; with several matches the strings among them, joined.
  std::optional<std::string_view> text(const JsonPointer& pointer);
  // The integer; also a float whose nearest double is integral and below 2^53 (12.0). With several
  // matches the sum of the integers among them. nullopt when there is none, or beyond int64.
  std::optional<std::int64_t> integer(const JsonPointer& pointer);
  // The first match, if it is true or false.
  std::optional<bool> boolean(const JsonPointer& pointer);
  // Something is there, null included.
  bool present(const JsonPointer& pointer);
  // The first match is null.
  bool is_null(const JsonPointer& pointer);
  // How many values match.
  std::size_t count(const JsonPointer& pointer);
  // Of the first match: "object", "array", "string", "number", "boolean", "null"; else "absent".
  std::string_view type_name(const JsonPointer& pointer);
  // A number, or a string that spells one, times 10^(9 + exponent), from its digits and never
  // through a double; what is left behind the point is rounded half to even. With several matches
  // the sum. nullopt when there is none, or beyond int64. "0.0375" -> 37'500'000.
  std::optional<std::int64_t> nano_decimal(const JsonPointer& pointer, int exponent = 0);

 private:
  struct State;
  std::unique_ptr<State> state_;
};

// `text` is a number of RFC 8259's grammar: its value times 10^(9 + shift), half to even; nullopt
// when it is not a number or beyond int64. Exact for any length of digits and any exponent.
std::optional<std::int64_t> parse_nano_decimal(std::string_view text, int shift = 0);

}  // namespace sluiceway::parse
