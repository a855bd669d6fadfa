// The retry budget: by hand, and against a log for every window.
#include "limits/retry_budget.h"

#include <gtest/gtest.h>

#include <atomic>
#include <thread>
#include <vector>

#include "base/random.h"
#include "limits/limits_testing.h"

namespace sluiceway::limits {
namespace {

TEST(RetryBudget, ThreeAlwaysAndAFifthOfFirstAttempts) {
  RetryBudget budget;
  EXPECT_EQ(budget.left(0), 3);
  for (int i = 0; i < 50; ++i) budget.on_first_attempt(0);
  EXPECT_EQ(budget.left(0), 13);  // 50 * 20 % + 3
  for (int i = 0; i < 13; ++i) EXPECT_TRUE(budget.try_retry(kSecond)) << i;
  EXPECT_FALSE(budget.try_retry(kSecond));
  EXPECT_FALSE(budget.try_retry(10 * kSecond)) << "the 50 are out of the window, the 13 are in";
  EXPECT_TRUE(budget.try_retry(12 * kSecond)) << "all are out: the three are there";
  EXPECT_EQ(budget.left(12 * kSecond), 2);
}

TEST(RetryBudget, ARetryThatWasNotSentIsTakenBack) {
  RetryBudget budget;
  for (int i = 0; i < 3; ++i) ASSERT_TRUE(budget.try_retry(0));
  EXPECT_FALSE(budget.try_retry(kSecond));
  budget.cancel_retry(kSecond);
  EXPECT_TRUE(budget.try_retry(kSecond));
  EXPECT_FALSE(budget.try_retry(kSecond));
}

TEST(RetryBudget, NoneAtAllCanBeConfigured) {
  RetryBudget budget(0, 10 * kSecond, 0);
  for (int i = 0; i < 1000; ++i) budget.on_first_attempt(0);
  EXPECT_FALSE(budget.try_retry(0));
}

TEST(RetryBudget, AClockThatGoesBackAddsNothingAndNeverSticks) {
  RetryBudget budget;
  for (int i = 0; i < 3; ++i) ASSERT_TRUE(budget.try_retry(1000 * kSecond));
  EXPECT_FALSE(budget.try_retry(999 * kSecond));
  EXPECT_EQ(budget.left(0), 0);
  EXPECT_TRUE(budget.try_retry(0)) << "back by far more than a window: it starts again";
}

// In every window of 10 s: retries <= 20 % of the window's first attempts + 3.
TEST(RetryBudget, HoldsInEveryWindow) {
  for (std::uint64_t seed = 1; seed <= 20; ++seed) {
    SCOPED_TRACE(seed);
    SeededRandom random(seed);
    RetryBudget budget;
    struct Event {
      std::int64_t at;
      bool retry;
    };
    std::vector<Event> log;
    std::int64_t now = 0, mean = kSecond / 20;
    for (int step = 0; step < 1500; ++step) {
      if (random.uniform(99) == 0) mean = kSecond / (1 + random.uniform(50));
      now += random.uniform(2 * mean);
      if (random.uniform(1) == 0) {
        budget.on_first_attempt(now);
        log.push_back({now, false});
      } else if (budget.try_retry(now)) {
        log.push_back({now, true});
      }
    }
    for (std::size_t end = 0; end < log.size(); ++end) {
      if (!log[end].retry) continue;
      std::int64_t first_attempts = 0, retries = 0;
      for (std::size_t i = 0; i <= end; ++i) {
        if (log[i].at <= log[end].at - 10 * kSecond) continue;
        (log[i].retry ? retries : first_attempts) += 1;
      }
      ASSERT_LE(retries, first_attempts / 5 + 3) << "the window that ends at " << log[end].at;
    }
  }
}

TEST(RetryBudgetThreads, NeverMoreThanItsSum) {
  RetryBudget budget;
  for (int i = 0; i < 100; ++i) budget.on_first_attempt(kSecond);
  std::atomic<int> granted{0};
  std::vector<std::thread> threads;
  threads.reserve(4);
  for (int t = 0; t < 4; ++t) {
    threads.emplace_back([&] {
      for (int i = 0; i < 100; ++i) granted += budget.try_retry(kSecond);
    });
  }
  for (auto& thread : threads) thread.join();
  EXPECT_EQ(granted.load(), 23);
}

}  // namespace
}  // namespace sluiceway::limits
