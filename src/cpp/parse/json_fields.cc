// JsonReader over simdjson's DOM: see json_fields.h.
//
// Which simdjson parser: the DOM one checks the whole text while it builds its tape; the on-demand
// one looks only at what is asked for and accepts 76 of the 88 must-reject files of JSONTestSuite.
// The DOM knows int64, uint64 and double and refuses wider numbers, though they are JSON. Then the
// text is parsed again with those numbers hidden, so that one of them somewhere in an answer does
// not hide its usage. Written against simdjson 3.0.1 and 3.12.
#include "parse/json_fields.h"

#include <simdjson.h>

#include <algorithm>
#include <charconv>
#include <cmath>
#include <cstring>
#include <deque>
#include <utility>

#include "base/text.h"
#include "parse/json_source.h"

namespace sluiceway::parse {
namespace {

namespace dom = simdjson::dom;
using Segment = JsonPointer::Segment;
using Kind = JsonPointer::Kind;

static_assert(simdjson::SIMDJSON_PADDING <= JsonReader::kPadding);

// Buffers above this are given back when a body comes that does not need them.
constexpr std::size_t kKeepBytes = std::size_t{4} << 20;
// simdjson's positions have 32 bits.
constexpr std::size_t kParserBytesMax = 0xFFFF'0000;
constexpr std::size_t kFirstBytes = 16'384;

bool passes_filter(const dom::element& element, const Segment& filter) {
  dom::element member;
  if (!element.is_object() || element.get_object().value_unsafe().at_key(filter.key).get(member)) {
    return false;
  }
  char digits[24];
  switch (member.type()) {
    case dom::element_type::STRING:
      return member.get_string().value_unsafe() == filter.value;
    case dom::element_type::BOOL:
      return filter.value == (member.get_bool().value_unsafe() ? "true" : "false");
    case dom::element_type::INT64: {
      const auto end =
          std::to_chars(digits, digits + sizeof digits, member.get_int64().value_unsafe());
      return filter.value == std::string_view(digits, static_cast<std::size_t>(end.ptr - digits));
    }
    case dom::element_type::UINT64: {
      const auto end =
          std::to_chars(digits, digits + sizeof digits, member.get_uint64().value_unsafe());
      return filter.value == std::string_view(digits, static_cast<std::size_t>(end.ptr - digits));
    }
    default:
      return false;
  }
}

// Calls visit(element) for every match in document order until it returns false; false when
// stopped.
template <typename Visit>
bool walk(dom::element element, const Segment* segment, const Segment* last, Visit&& visit) {
  for (; segment != last; ++segment) {
    if (element.is_object()) {
      if (segment->kind == Kind::kFilter) {
        if (!passes_filter(element, *segment)) return true;
      } else if (element.get_object().value_unsafe().at_key(segment->key).get(element)) {
        return true;
      }
      continue;
    }
    if (!element.is_array()) return true;
    const dom::array array = element.get_array().value_unsafe();
    if (segment->kind == Kind::kToken) {
      if (segment->index < 0) return true;
      if (array.at(static_cast<std::size_t>(segment->index)).get(element)) return true;
    } else if (segment->kind == Kind::kLast) {
      bool any = false;
      for (const dom::element item : array) {
        element = item;
        any = true;
      }
      if (!any) return true;
    } else {
      for (const dom::element item : array) {
        if (segment->kind == Kind::kFilter && !passes_filter(item, *segment)) continue;
        if (!walk(item, segment + 1, last, visit)) return false;
      }
      return true;
    }
  }
  return visit(element);
}

std::optional<std::int64_t> integer_of(const dom::element& element) {
  if (element.is_int64()) return element.get_int64().value_unsafe();
  if (!element.is_double()) return std::nullopt;  // uint64 here is always beyond int64
  const double value = element.get_double().value_unsafe();
  if (std::abs(value) >= 9007199254740992.0 || value != std::trunc(value)) return std::nullopt;
  return static_cast<std::int64_t>(value);
}

std::string_view name_of(dom::element_type type) {
  switch (type) {
    case dom::element_type::OBJECT:
      return "object";
    case dom::element_type::ARRAY:
      return "array";
    case dom::element_type::STRING:
      return "string";
    case dom::element_type::BOOL:
      return "boolean";
    case dom::element_type::NULL_VALUE:
      return "null";
    default:
      return "number";
  }
}

// A sum that remembers whether anything was added and whether it ran over.
class Sum {
 public:
  void add(std::optional<std::int64_t> value) {
    if (!value) return;
    any_ = true;
    over_ |= __builtin_add_overflow(total_, *value, &total_);
  }
  // The total becomes unusable: a part of it is not known.
  void spoil() { over_ = true; }
  std::optional<std::int64_t> result() const {
    return any_ && !over_ ? std::optional(total_) : std::nullopt;
  }

 private:
  std::int64_t total_ = 0;
  bool any_ = false, over_ = false;
};

}  // namespace

struct JsonReader::State {
  explicit State(std::size_t bytes_max_arg) : bytes_max(std::min(bytes_max_arg, kParserBytesMax)) {}

  std::size_t bytes_max;
  dom::parser parser;
  dom::document document;
  dom::element root;
  bool parsed = false;
  const char* error = "nothing was parsed";
  std::string_view source;         // of the last parse: `copy`, or the caller's buffer
  std::string copy;                // the body and its padding
  std::string hidden;              // the body with wide numbers hidden, and its padding
  std::deque<std::string> joined;  // a deque: what is handed out must not move
  std::size_t joined_used = 0;
  std::vector<std::string_view> sources;

  bool run(std::string_view bytes, bool padded);
  simdjson::error_code build(const char* data, std::size_t size);
  std::string& next_joined();

  template <typename Visit>
  void each(const JsonPointer& pointer, Visit&& visit) const {
    if (!parsed) return;
    const auto& segments = pointer.segments();
    walk(root, segments.data(), segments.data() + segments.size(), visit);
  }
  std::optional<dom::element> first(const JsonPointer& pointer) const {
    std::optional<dom::element> found;
    each(pointer, [&](const dom::element& element) {
      found = element;
      return false;
    });
    return found;
  }
};

simdjson::error_code JsonReader::State::build(const char* data, std::size_t size) {
  return parser.parse_into_document(document, data, size, /*realloc_if_needed=*/false).get(root);
}

bool JsonReader::State::run(std::string_view bytes, bool padded) {
  parsed = false;
  joined_used = 0;
  source = {};
  if (bytes.substr(0, 3) == kByteOrderMark) bytes.remove_prefix(3);
  if (bytes.size() > bytes_max) {
    error = "larger than the bound";
    return false;
  }
  if (bytes.size() < kKeepBytes && std::max(parser.capacity(), copy.capacity()) > 2 * kKeepBytes) {
    parser = dom::parser();
    document = dom::document();
    copy = {};
    hidden = {};
  }
  if (parser.capacity() < bytes.size()) {
    // Twice what is needed now, so that bodies that grow slowly do not allocate each time.
    const std::size_t wanted = std::clamp(2 * bytes.size(), kFirstBytes, kParserBytesMax);
    if (parser.allocate(wanted, kDepthMax) != simdjson::SUCCESS ||
        document.allocate(wanted) != simdjson::SUCCESS) {
      error = "out of memory";
      return false;
    }
  }
  if (padded) {
    source = bytes;
  } else {
    if (copy.size() < bytes.size() + kPadding) copy.resize(bytes.size() + kPadding);
    std::memcpy(copy.data(), bytes.data(), bytes.size());
    std::memset(copy.data() + bytes.size(), 0, kPadding);
    source = {copy.data(), bytes.size()};
  }
  simdjson::error_code code = build(source.data(), source.size());
  if (code != simdjson::SUCCESS && code != simdjson::UTF8_ERROR && code != simdjson::EMPTY) {
    hide_wide_numbers(source, hidden);
    if (hidden != source) {
      hidden.resize(hidden.size() + kPadding, '\0');
      code = build(hidden.data(), source.size());
    }
  }
  parsed = code == simdjson::SUCCESS;
  error = parsed ? "" : simdjson::error_message(code);
  return parsed;
}

std::string& JsonReader::State::next_joined() {
  if (joined_used == joined.size()) joined.emplace_back();
  std::string& text = joined[joined_used++];
  text.clear();
  return text;
}

JsonReader::JsonReader(std::size_t bytes_max) : state_(std::make_unique<State>(bytes_max)) {}
JsonReader::~JsonReader() = default;
JsonReader::JsonReader(JsonReader&&) noexcept = default;
JsonReader& JsonReader::operator=(JsonReader&&) noexcept = default;

bool JsonReader::parse(std::string_view bytes) { return state_->run(bytes, false); }
bool JsonReader::parse_padded(std::string_view bytes) { return state_->run(bytes, true); }
std::string_view JsonReader::error() const { return state_->error; }

std::optional<std::string_view> JsonReader::text(const JsonPointer& pointer) {
  std::optional<std::string_view> found;
  std::string* joined = nullptr;
  state_->each(pointer, [&](const dom::element& element) {
    std::string_view piece;
    if (element.get(piece) != simdjson::SUCCESS) return true;
    if (!found) {
      found = piece;
      return true;
    }
    if (joined == nullptr) {
      joined = &state_->next_joined();
      joined->append(*found);
    }
    joined->append(piece);
    return true;
  });
  if (joined != nullptr) found = *joined;
  return found;
}

std::optional<std::int64_t> JsonReader::integer(const JsonPointer& pointer) {
  Sum sum;
  state_->each(pointer, [&](const dom::element& element) {
    sum.add(integer_of(element));
    return true;
  });
  return sum.result();
}

std::optional<bool> JsonReader::boolean(const JsonPointer& pointer) {
  const auto found = state_->first(pointer);
  if (!found || !found->is_bool()) return std::nullopt;
  return found->get_bool().value_unsafe();
}

bool JsonReader::present(const JsonPointer& pointer) { return state_->first(pointer).has_value(); }

bool JsonReader::is_null(const JsonPointer& pointer) {
  const auto found = state_->first(pointer);
  return found && found->is_null();
}

std::size_t JsonReader::count(const JsonPointer& pointer) {
  std::size_t matches = 0;
  state_->each(pointer, [&](const dom::element&) {
    ++matches;
    return true;
  });
  return matches;
}

std::string_view JsonReader::type_name(const JsonPointer& pointer) {
  const auto found = state_->first(pointer);
  return found ? name_of(found->type()) : std::string_view("absent");
}

std::optional<std::int64_t> JsonReader::nano_decimal(const JsonPointer& pointer, int exponent) {
  Sum sum;
  std::size_t position = 0;
  bool searched = false;
  state_->each(pointer, [&](const dom::element& element) {
    const std::size_t match = position++;
    std::optional<std::int64_t> value;
    if (element.is_string()) {
      value = parse_nano_decimal(element.get_string().value_unsafe(), exponent);
    } else if (element.is_number()) {
      // The parsed form may have lost digits: read those of the source.
      if (!searched) find_sources(state_->source, pointer, state_->sources);
      searched = true;
      if (match < state_->sources.size())
        value = parse_nano_decimal(state_->sources[match], exponent);
      if (!value) sum.spoil();
    }
    sum.add(value);
    return true;
  });
  return sum.result();
}

}  // namespace sluiceway::parse
