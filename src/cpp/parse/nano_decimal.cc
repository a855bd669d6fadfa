// Decimal text to integer billionths, without a double in between: see json_fields.h.
//
// The digits are read once, from left to right. `point` is how many significant digits stand
// before the decimal point after the value was multiplied by 10^9: those make the result, the rest
// decides the rounding. 19 digits fit an int64, so more of them are an overflow at once.
#include <algorithm>
#include <cstdint>
#include <limits>

#include "parse/json_fields.h"
#include "parse/json_source.h"

namespace sluiceway::parse {
namespace {

// Exponents beyond this are as good as infinite: no text has that many digits.
constexpr std::int64_t kExponentMax = 1'000'000'000'000;

std::int64_t read_exponent(std::string_view text) {
  const bool negative = !text.empty() && text[0] == '-';
  if (!text.empty() && (text[0] == '-' || text[0] == '+')) text.remove_prefix(1);
  std::int64_t exponent = 0;
  for (char c : text) exponent = std::min(exponent * 10 + (c - '0'), kExponentMax);
  return negative ? -exponent : exponent;
}

}  // namespace

std::optional<std::int64_t> parse_nano_decimal(std::string_view text, int shift) {
  if (!is_json_number(text)) return std::nullopt;
  const bool negative = text[0] == '-';
  if (negative) text.remove_prefix(1);
  const std::size_t e = text.find_first_of("eE");
  const std::int64_t exponent = e == std::string_view::npos ? 0 : read_exponent(text.substr(e + 1));
  const std::string_view mantissa = text.substr(0, e);
  const std::size_t dot = std::min(mantissa.find('.'), mantissa.size());
  const std::size_t first = mantissa.find_first_of("123456789");
  if (first == std::string_view::npos) return 0;

  // Where the point stands, counted in digits from `first` on.
  const auto before_dot =
      static_cast<std::int64_t>(dot) - static_cast<std::int64_t>(first) + (first > dot ? 1 : 0);
  const std::int64_t point = before_dot + exponent + 9 + shift;
  if (point > 19) return std::nullopt;
  if (point < 0) return 0;

  std::uint64_t value = 0;  // at most 19 digits: below 10^19, which fits
  std::int64_t position = 0;
  bool at_least_half = false, above_half = false;
  for (std::size_t i = first; i < mantissa.size(); ++i) {
    if (mantissa[i] == '.') continue;
    const auto digit = static_cast<unsigned>(mantissa[i] - '0');
    if (position < point) {
      value = value * 10 + digit;
    } else if (position == point) {
      at_least_half = digit >= 5;
      above_half = digit > 5;
    } else if (digit != 0) {
      above_half = at_least_half;
      break;
    }
    ++position;
  }
  for (; position < point; ++position) value *= 10;
  if (above_half || (at_least_half && value % 2 == 1)) ++value;

  constexpr auto kMax = static_cast<std::uint64_t>(std::numeric_limits<std::int64_t>::max());
  if (value > kMax) return std::nullopt;
  return negative ? -static_cast<std::int64_t>(value) : static_cast<std::int64_t>(value);
}

}  // namespace sluiceway::parse
