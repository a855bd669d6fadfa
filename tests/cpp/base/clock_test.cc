// The real clock and its simulated twin.
#include "base/clock.h"

#include <gtest/gtest.h>

namespace sluiceway {
namespace {

TEST(ManualClock, MovesOnlyWhenTold) {
  ManualClock clock(100, 5'000);
  EXPECT_EQ(clock.monotonic_ns(), 100);
  EXPECT_EQ(clock.boottime_ns(), 100);
  EXPECT_EQ(clock.wall_ns(), 5'000);
  clock.advance(50);
  EXPECT_EQ(clock.monotonic_ns(), 150);
  EXPECT_EQ(clock.boottime_ns(), 150);
  EXPECT_EQ(clock.wall_ns(), 5'050);
  clock.step_wall(-1'000);
  EXPECT_EQ(clock.wall_ns(), 4'050);
  EXPECT_EQ(clock.monotonic_ns(), 150);
}

TEST(SystemClock, IsPlausibleAndDoesNotGoBack) {
  SystemClock& clock = SystemClock::instance();
  EXPECT_EQ(&clock, &SystemClock::instance());
  EXPECT_GT(clock.wall_ns(), 1'600'000'000 * kNsPerSecond);
  EXPECT_GE(clock.boottime_ns() + kNsPerMs, clock.monotonic_ns()) << "it counts suspended time too";
  std::int64_t last = clock.monotonic_ns();
  for (int i = 0; i < 1000; ++i) {
    const std::int64_t now = clock.monotonic_ns();
    ASSERT_GE(now, last);
    last = now;
  }
}

}  // namespace
}  // namespace sluiceway
