// Spans of time as the tests write them, in nanoseconds.
#pragma once

#include <cstdint>

#include "base/clock.h"

namespace sluiceway {

inline constexpr std::int64_t kMs = kNsPerMs;
inline constexpr std::int64_t kSecond = kNsPerSecond;

}  // namespace sluiceway
