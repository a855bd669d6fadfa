// Rounding and saturation of amounts, worked by hand.
#include "base/money.h"

#include <gtest/gtest.h>

#include <cstdint>

namespace sluiceway {
namespace {

TEST(CostHalfEven, IsExactWhereItCanBe) {
  EXPECT_EQ(cost_half_even(1000, 37'500'000), 37'500) << "1,000 tokens at $0.0375 a million";
  EXPECT_EQ(cost_half_even(1'000'000, 3'000'000'000), 3'000'000'000) << "a million at $3";
  EXPECT_EQ(cost_half_even(0, 5), 0);
  EXPECT_EQ(cost_half_even(5, 0), 0);
  EXPECT_EQ(cost_half_even(-5, 5), 0);
}

TEST(CostHalfEven, RoundsAHalfToTheEvenNeighbour) {
  EXPECT_EQ(cost_half_even(1, 500'000), 0);    // 0.5
  EXPECT_EQ(cost_half_even(1, 1'500'000), 2);  // 1.5
  EXPECT_EQ(cost_half_even(1, 2'500'000), 2);  // 2.5
  EXPECT_EQ(cost_half_even(1, 3'500'000), 4);  // 3.5
  EXPECT_EQ(cost_half_even(1, 2'500'001), 3);
  EXPECT_EQ(cost_half_even(1, 2'499'999), 2);
  EXPECT_EQ(cost_half_even(1, 37'500'000), 38) << "37.5: 38 is even";
}

TEST(CostHalfEven, TakesAFactorBeforeItRounds) {
  EXPECT_EQ(cost_half_even(1000, 37'500'000, 1, 2), 18'750) << "half price in a batch";
  EXPECT_EQ(cost_half_even(1, 1'000'000, 1, 3), 0);
  EXPECT_EQ(cost_half_even(2, 1'000'000, 1, 3), 1);
  EXPECT_EQ(cost_half_even(7, 1'000'000, 0, 1), 0);
}

TEST(CostCeiling, RoundsUpWhatIsNotWhole) {
  EXPECT_EQ(cost_ceiling(1, 1), 1);
  EXPECT_EQ(cost_ceiling(1, 1'000'000), 1);
  EXPECT_EQ(cost_ceiling(1, 1'000'001), 2);
  EXPECT_EQ(cost_ceiling(1000, 37'500'000), 37'500);
  EXPECT_EQ(cost_ceiling(0, 1), 0);
}

TEST(Cost, ACeilingIsNeverBelowASettlement) {
  for (std::int64_t units = 0; units < 200; ++units) {
    for (const std::int64_t rate : {1, 499'999, 500'000, 37'500'000, 123'456'789}) {
      const Nanousd settled = cost_half_even(units, rate), ceiling = cost_ceiling(units, rate);
      EXPECT_GE(ceiling, settled);
      EXPECT_LE(ceiling - settled, 1);
    }
  }
}

TEST(Cost, SaturatesWhereItWouldOverflow) {
  EXPECT_EQ(cost_half_even(INT64_MAX, INT64_MAX), kNanousdMax);
  EXPECT_EQ(cost_ceiling(INT64_MAX, INT64_MAX, INT64_MAX, 1), kNanousdMax);
  EXPECT_EQ(cost_half_even(INT64_MAX, 1'000'000), INT64_MAX) << "the largest that is not clamped";
  EXPECT_EQ(cost_ceiling(INT64_MAX, 1'000'001), kNanousdMax);
}

TEST(SaturatingAdd, StopsAtBothEnds) {
  EXPECT_EQ(saturating_add(2, 3), 5);
  EXPECT_EQ(saturating_add(INT64_MAX, 1), INT64_MAX);
  EXPECT_EQ(saturating_add(INT64_MIN, -1), INT64_MIN);
  EXPECT_EQ(saturating_add(INT64_MAX, INT64_MIN), -1);
}

}  // namespace
}  // namespace sluiceway
