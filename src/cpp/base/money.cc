// Rounding of (units x rate x factor / 10^6) in 128 bits: see money.h.
#include "base/money.h"

namespace sluiceway {
namespace {

__extension__ typedef unsigned __int128 Wide;

// The factor's numerator is at most a few thousand in every known price table; units x rate x
// factor stays below 2^127 for all units and rates below 2^56, and beyond that the answer is
// clamped.
bool product(std::int64_t units, std::int64_t rate, std::int64_t num, std::int64_t den,
             Wide* numerator, Wide* denominator) {
  const auto wide = static_cast<Wide>(units) * static_cast<Wide>(rate);
  if (num != 0 && wide > (~static_cast<Wide>(0)) / static_cast<Wide>(num)) return false;
  *numerator = wide * static_cast<Wide>(num);
  *denominator = static_cast<Wide>(kUnitsPerRate) * static_cast<Wide>(den);
  return true;
}

Nanousd clamp(Wide value) {
  return value > static_cast<Wide>(kNanousdMax) ? kNanousdMax : static_cast<Nanousd>(value);
}

}  // namespace

Nanousd cost_half_even(std::int64_t units, std::int64_t rate, std::int64_t factor_num,
                       std::int64_t factor_den) {
  if (units <= 0 || rate <= 0) return 0;
  Wide num = 0, den = 1;
  if (!product(units, rate, factor_num, factor_den, &num, &den)) return kNanousdMax;
  Wide quotient = num / den;
  const Wide rest = num % den;
  const Wide twice = rest * 2;
  if (twice > den || (twice == den && (quotient & 1) != 0)) ++quotient;
  return clamp(quotient);
}

Nanousd cost_ceiling(std::int64_t units, std::int64_t rate, std::int64_t factor_num,
                     std::int64_t factor_den) {
  if (units <= 0 || rate <= 0) return 0;
  Wide num = 0, den = 1;
  if (!product(units, rate, factor_num, factor_den, &num, &den)) return kNanousdMax;
  return clamp(num / den + (num % den != 0 ? 1 : 0));
}

}  // namespace sluiceway
