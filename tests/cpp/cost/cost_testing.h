// What the tests of cost/ share: a second, a day that is a Monday, and no bound.
#pragma once

#include <cstdint>
#include <limits>

#include "base/clock.h"

namespace sluiceway::cost {

inline constexpr std::int64_t kS = kNsPerSecond;
inline constexpr std::int64_t kMonday = 1794787200;  // 2026-11-16T00:00:00Z, in seconds
inline constexpr std::int64_t kUnbounded = std::numeric_limits<std::int64_t>::max();

}  // namespace sluiceway::cost
