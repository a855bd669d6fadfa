// Small helpers around text: the bridge between std::string_view and absl::string_view, and hashing
// that looks up by view.
//
// On Debian 12 and 13 abseil is built so that absl::string_view is a class of its own;
// std::string_view does not convert to it. These two converters and the transparent hasher settle
// it in one place. No allocation, no locks, no threads. Example:
// absl::InvalidArgumentError(to_absl(message)); text_map<int> m; m.find(std::string_view("x"));
#pragma once

#include <absl/container/flat_hash_map.h>
#include <absl/strings/string_view.h>

#include <cstddef>
#include <cstdint>
#include <functional>
#include <string>
#include <string_view>

namespace sluiceway {

inline absl::string_view to_absl(std::string_view text) { return {text.data(), text.size()}; }
inline std::string_view to_std(absl::string_view text) { return {text.data(), text.size()}; }

struct TextHash {
  using is_transparent = void;
  std::size_t operator()(std::string_view text) const {
    return std::hash<std::string_view>{}(text);
  }
};

// A hash map keyed by text that is looked up with a view, without making a std::string.
template <typename Value>
using text_map = absl::flat_hash_map<std::string, Value, TextHash, std::equal_to<>>;

// Lower-case hexadecimal of `size` bytes: two characters a byte.
std::string to_hex(const void* data, std::size_t size);

// What a UTF-8 text may begin with, and what no reader of one wants.
inline constexpr std::string_view kByteOrderMark = "\xEF\xBB\xBF";

inline bool is_digit(char c) { return c >= '0' && c <= '9'; }

// ASCII comparison that ignores case, as header names need it (RFC 9110, section 5.1).
bool equals_ignore_case(std::string_view a, std::string_view b);

// The text without leading and trailing spaces and tabs (RFC 9110, section 5.5).
std::string_view trim(std::string_view text);

}  // namespace sluiceway
