// What the tests of limits/ share: a source of randomness that is none.
#pragma once

#include <cstdint>

#include "base/random.h"
#include "support/units.h"

namespace sluiceway::limits {

// Draws a fixed value: 0 makes every jitter its minimum, all ones its maximum.
class FixedRandom final : public Random {
 public:
  explicit FixedRandom(std::uint64_t value) : value_(value) {}
  std::uint64_t next() override { return value_; }

 private:
  std::uint64_t value_;
};

}  // namespace sluiceway::limits
