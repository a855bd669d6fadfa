// Backoff: bounds by hand, and the spread of the jitter.
#include "limits/backoff.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <cstdint>

#include "limits/limits_testing.h"

namespace sluiceway::limits {
namespace {

TEST(Exponential, DoublesUpToTheCap) {
  EXPECT_EQ(exponential_ns(500 * kMs, 0, 20 * kSecond), 500 * kMs);
  EXPECT_EQ(exponential_ns(500 * kMs, 3, 20 * kSecond), 4 * kSecond);
  EXPECT_EQ(exponential_ns(500 * kMs, 5, 20 * kSecond), 16 * kSecond);
  EXPECT_EQ(exponential_ns(500 * kMs, 6, 20 * kSecond), 20 * kSecond);
  EXPECT_EQ(exponential_ns(1, 1'000'000, INT64_MAX), INT64_MAX);
  EXPECT_EQ(exponential_ns(30, 0, 20), 20);
  EXPECT_EQ(exponential_ns(0, 5, 20), 0);
}

TEST(FullJitter, CoversZeroToTheWholeInterval) {
  FixedRandom low(0), high(~std::uint64_t{0});
  EXPECT_EQ(full_jitter_ns(1, false, low), 0);
  EXPECT_EQ(full_jitter_ns(1, false, high), 500 * kMs);
  EXPECT_EQ(full_jitter_ns(2, false, high), 1000 * kMs);
  EXPECT_EQ(full_jitter_ns(1, true, high), 1 * kSecond);
  EXPECT_EQ(full_jitter_ns(3, true, high), 4 * kSecond);
  EXPECT_EQ(full_jitter_ns(60, false, high), 20 * kSecond);
  EXPECT_EQ(full_jitter_ns(0, false, high), 500 * kMs);
}

TEST(FullJitter, IsUniform) {
  SeededRandom random(42);
  std::int64_t sum = 0;
  int below_quarter = 0;
  constexpr int kDraws = 20'000;
  for (int i = 0; i < kDraws; ++i) {
    const std::int64_t wait = full_jitter_ns(2, false, random);
    ASSERT_GE(wait, 0);
    ASSERT_LE(wait, kSecond);
    sum += wait;
    below_quarter += wait < kSecond / 4;
  }
  EXPECT_NEAR(static_cast<double>(sum) / kDraws / kSecond, 0.5, 0.01);
  EXPECT_NEAR(below_quarter, kDraws / 4.0, 300);  // five standard deviations
}

TEST(EqualJitter, CoversTheUpperHalf) {
  FixedRandom low(0), high(~std::uint64_t{0});
  EXPECT_EQ(equal_jitter_ns(0, low), 2500 * kMs);
  EXPECT_EQ(equal_jitter_ns(0, high), 5 * kSecond);
  EXPECT_EQ(equal_jitter_ns(2, low), 10 * kSecond);
  EXPECT_EQ(equal_jitter_ns(100, low), 150 * kSecond);
  EXPECT_EQ(equal_jitter_ns(100, high), 300 * kSecond);
  EXPECT_EQ(equal_jitter_ns(0, low, 3, 100), 2);
}

}  // namespace
}  // namespace sluiceway::limits
