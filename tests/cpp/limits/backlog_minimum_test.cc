// The lowest backlog since a time, against a list that keeps everything.
#include "limits/backlog_minimum.h"

#include <gtest/gtest.h>

#include <algorithm>

#include "base/random.h"

namespace sluiceway::limits {
namespace {

using Wide = BacklogMinimum::Wide;

std::int64_t since(const BacklogMinimum& lowest, std::int64_t since_ns, std::int64_t now_backlog) {
  return static_cast<std::int64_t>(lowest.since(since_ns, now_backlog));
}

TEST(BacklogMinimum, FindsTheLowestAfterATimeAndNotAtIt) {
  BacklogMinimum lowest;
  EXPECT_EQ(since(lowest, 0, 7), 7) << "nothing is known but now";
  lowest.push(10, 5);
  lowest.push(20, 3);
  lowest.push(30, 8);
  EXPECT_EQ(since(lowest, 0, 9), 3);
  EXPECT_EQ(since(lowest, 19, 9), 3);
  EXPECT_EQ(since(lowest, 20, 9), 8) << "what it was before the permit of 20 was taken";
  EXPECT_EQ(since(lowest, 20, 2), 2);
  EXPECT_EQ(since(lowest, 30, 9), 9);
}

TEST(BacklogMinimum, WhatWasNeverTakenLowersWhatCameAfterIt) {
  BacklogMinimum lowest;
  lowest.push(10, 4);
  lowest.push(20, 6);
  lowest.push(30, 9);
  lowest.lower(15, 5);  // 4, 1, 4
  EXPECT_EQ(since(lowest, 5, 9), 1);
  EXPECT_EQ(since(lowest, 15, 9), 1);
  EXPECT_EQ(since(lowest, 20, 9), 4);
  lowest.cut(40);
  EXPECT_EQ(since(lowest, 39, 9), 0);
  EXPECT_EQ(since(lowest, 40, 9), 9);
}

TEST(BacklogMinimum, AClockThatWentBackMakesItLowerNeverHigher) {
  BacklogMinimum lowest;
  lowest.push(100, 2);
  lowest.push(50, 6);
  EXPECT_EQ(since(lowest, 60, 9), 2) << "the permit of 60 may be from before the step";
  lowest.push(55, 1);
  EXPECT_EQ(since(lowest, 60, 9), 1);
}

// Never above the true minimum, and below it by a 32nd of the range at most, merged or not.
TEST(BacklogMinimum, MergingMakesItLowerByLittleAndNeverHigher) {
  for (std::uint64_t seed = 1; seed <= 40; ++seed) {
    SCOPED_TRACE(seed);
    SeededRandom random(seed);
    BacklogMinimum lowest;
    std::vector<std::int64_t> backlogs;  // by time
    for (std::int64_t now = 0; now < 400; ++now) {
      const std::int64_t rising = now * 10;  // a long burst, so that hundreds are suffix minima
      backlogs.push_back(rising + random.uniform(200));
      lowest.push(now, backlogs.back());
      const std::int64_t from = random.uniform(now);
      const auto begin = backlogs.begin() + from + 1;
      const std::int64_t most = *std::max_element(backlogs.begin(), backlogs.end());
      const std::int64_t truth =
          begin == backlogs.end() ? 5000 : *std::min_element(begin, backlogs.end());
      const std::int64_t found = since(lowest, from, 5000);
      ASSERT_LE(found, truth);
      ASSERT_GE(found, truth - most / 16 - 1);
    }
  }
}

}  // namespace
}  // namespace sluiceway::limits
