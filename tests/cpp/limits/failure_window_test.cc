// The breaker's memory: slots that pass, and a window that outlasts the calls.
#include "limits/failure_window.h"

#include <gtest/gtest.h>

#include "limits/limits_testing.h"

namespace sluiceway::limits {
namespace {

TEST(FailureWindow, CountsWhatIsInTheWindow) {
  FailureWindow window(60 * kSecond);
  EXPECT_FALSE(window.may_have_failures());
  window.count(0, true);
  window.count(30 * kSecond, false);
  window.count(59 * kSecond, true);
  EXPECT_EQ(window.sum(59 * kSecond).calls, 3);
  EXPECT_EQ(window.sum(59 * kSecond).failures, 2);
  EXPECT_EQ(window.sum(62 * kSecond).calls, 2) << "slots of 2 s: that of 0 s is out from 62 s on";
  EXPECT_EQ(window.sum(200 * kSecond).calls, 0);
  window.clear();
  EXPECT_EQ(window.sum(59 * kSecond).calls, 0);
  EXPECT_FALSE(window.may_have_failures());
}

TEST(FailureWindow, SlotsAreUsedAgain) {
  FailureWindow window(60 * kSecond);
  for (std::int64_t minute = 0; minute < 100; ++minute) {
    window.count(minute * 60 * kSecond, true);
    EXPECT_EQ(window.sum(minute * 60 * kSecond).calls, minute == 0 ? 1 : 2)
        << "60 s ago is still in";
  }
}

TEST(FailureWindow, LongCallsWidenItToTwiceTheirP99) {
  FailureWindow window(60 * kSecond);
  window.count(0, true);
  for (int i = 0; i < 50; ++i) window.observe_duration(20 * kSecond);
  // 20 s lies in [2^34, 2^35) ns; twice the upper edge is 2^36 ns = 68.7 s.
  EXPECT_EQ(window.window_ns(), std::int64_t{1} << 36);
  window.observe_duration(600 * kSecond);  // [2^39, 2^40): with 51 calls the slowest is the p99
  EXPECT_EQ(window.window_ns(), std::int64_t{1} << 41);
  EXPECT_EQ(window.sum(1199 * kSecond).failures, 1) << "what was counted before is kept";
  window.count(1199 * kSecond, true);
  EXPECT_EQ(window.sum(1199 * kSecond).failures, 2);
}

TEST(FailureWindow, OneSlowCallInManyDoesNot) {
  FailureWindow window(60 * kSecond);
  for (int i = 0; i < 200; ++i) window.observe_duration(kSecond);
  window.observe_duration(600 * kSecond);
  EXPECT_EQ(window.window_ns(), 60 * kSecond);
}

TEST(FailureWindow, OldDurationsFade) {
  FailureWindow window(60 * kSecond);
  for (int i = 0; i < 100; ++i) window.observe_duration(600 * kSecond);
  EXPECT_EQ(window.window_ns(), std::int64_t{1} << 41);
  for (int i = 0; i < 8 * 1024; ++i) window.observe_duration(kSecond);
  EXPECT_EQ(window.window_ns(), 60 * kSecond);
}

TEST(FailureWindow, TheLongestAndTheShortestDurations) {
  FailureWindow window(60 * kSecond);
  window.observe_duration(0);
  window.observe_duration(-5);
  EXPECT_EQ(window.window_ns(), 60 * kSecond);
  window.observe_duration(1);
  EXPECT_EQ(window.window_ns(), 60 * kSecond);
  window.observe_duration(INT64_MAX);
  EXPECT_EQ(window.window_ns(), std::int64_t{1} << 48);
  window.count(INT64_MAX, true);
  EXPECT_EQ(window.sum(INT64_MAX).calls, 1);
}

TEST(FailureWindow, ANarrowConfiguredWindow) {
  FailureWindow window(1);
  window.count(5, true);
  EXPECT_EQ(window.sum(5).calls, 1);
  EXPECT_EQ(window.sum(7).calls, 0);
}

}  // namespace
}  // namespace sluiceway::limits
