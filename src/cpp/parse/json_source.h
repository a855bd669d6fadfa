// Inside the room: reads the source text of a JSON value, where the parsed form is not enough.
//
// The parser keeps a number as int64, uint64 or double. Money needs a number's own digits, and a
// number beyond those types is no reason to refuse a whole answer. So this unit walks the text
// itself. It relies on the text being valid JSON (numbers aside): JsonReader calls it only after
// simdjson said so. It stays inside the text in any case. No allocation except for keys that are
// written with escapes. Threads: pure functions.
#pragma once

#include <string>
#include <string_view>
#include <vector>

#include "parse/json_fields.h"

namespace sluiceway::parse {

// The source of every value that `pointer` matches, in the order in which the parsed form gives
// them: `out` is cleared first.
void find_sources(std::string_view json, const JsonPointer& pointer,
                  std::vector<std::string_view>& out);

// The number grammar of RFC 8259, section 6.
bool is_json_number(std::string_view text);

// A copy of `json` in which every number that does not fit int64, uint64 or a finite double is
// replaced by 1e308 and spaces (a number still, but no integer). Malformed numbers stay.
void hide_wide_numbers(std::string_view json, std::string& out);

}  // namespace sluiceway::parse
