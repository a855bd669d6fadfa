// Money: integers of one billionth of a US dollar.
//
// An amount is an int64 of nano-dollars (at most about 9.2 billion dollars). A rate is nano-dollars
// per 1,000,000 units, so that $0.0375 per million tokens (37.5 nano-dollars a token) is exact.
// Products are taken in 128 bits. A settled line is rounded half to even, a ceiling is rounded up;
// nothing here touches floating point. Overflow saturates at kNanousdMax: a ceiling that large is
// refused by every budget, and a settled amount of nine billion dollars is an alert whatever its
// last digit. Example: cost_half_even(1'000, 37'500'000) == 37'500 nano-dollars.
#pragma once

#include <cstdint>
#include <limits>

namespace sluiceway {

using Nanousd = std::int64_t;
constexpr Nanousd kNanousdMax = std::numeric_limits<Nanousd>::max();
constexpr std::int64_t kUnitsPerRate = 1'000'000;

// units >= 0, rate >= 0 (nano-dollars per million units), factor = num/den with num >= 0, den > 0
// (a batch or tier factor).
Nanousd cost_half_even(std::int64_t units, std::int64_t rate, std::int64_t factor_num = 1,
                       std::int64_t factor_den = 1);
Nanousd cost_ceiling(std::int64_t units, std::int64_t rate, std::int64_t factor_num = 1,
                     std::int64_t factor_den = 1);

// a + b, clamped to the int64 range.
constexpr std::int64_t saturating_add(std::int64_t a, std::int64_t b) {
  std::int64_t sum = 0;
  if (!__builtin_add_overflow(a, b, &sum)) return sum;
  return b > 0 ? std::numeric_limits<std::int64_t>::max()
               : std::numeric_limits<std::int64_t>::min();
}

}  // namespace sluiceway
