// One bucket, worked by hand: GCRA, debts, permits in hand, corrections, changes of share.
#include "limits/token_bucket.h"

#include <gtest/gtest.h>

#include <vector>

#include "limits/limits_testing.h"

namespace sluiceway::limits {
namespace {

// 10 units at most, one more every 100 ms.
TokenBucket ten_a_second() {
  return TokenBucket({.capacity = 10, .rate_units = 10, .rate_period_ns = kSecond});
}

TEST(StrictWindow, LeavesTheCapacityOutOfTheRate) {
  const BucketConfig config = strict_window(600, 60 * kSecond, 60);
  EXPECT_EQ(config.capacity, 60);
  EXPECT_EQ(config.rate_units, 540);
  EXPECT_EQ(config.rate_period_ns, 60 * kSecond);
}

TEST(StrictWindow, WithTheWholeLimitAsCapacityIsTheClassicBucket) {
  EXPECT_EQ(strict_window(100, kSecond, 100).rate_units, 100);
  EXPECT_EQ(strict_window(100, kSecond, 500).capacity, 100);
  EXPECT_EQ(strict_window(1, kSecond, default_capacity(1)).rate_units, 1);
}

TEST(TokenBucket, StartsFullAndRefillsOneAtATime) {
  TokenBucket bucket = ten_a_second();
  const std::int64_t t = 5 * kSecond;
  EXPECT_EQ(bucket.available(t), 10);
  for (int i = 0; i < 10; ++i) EXPECT_TRUE(bucket.try_acquire(1, t)) << i;
  EXPECT_FALSE(bucket.try_acquire(1, t));
  EXPECT_EQ(bucket.wait_ns(1, t), kSecond / 10);
  EXPECT_EQ(bucket.wait_ns(3, t), 3 * kSecond / 10);
  EXPECT_FALSE(bucket.try_acquire(1, t + kSecond / 10 - 1));
  EXPECT_TRUE(bucket.try_acquire(1, t + kSecond / 10));
  EXPECT_EQ(bucket.available(t + 100 * kSecond), 10) << "it fills up to its capacity, no further";
}

TEST(TokenBucket, TheWaitCountsWhatStandsAhead) {
  TokenBucket bucket = ten_a_second();  // full, and idle for ever: of 15 units 5 are not there
  EXPECT_EQ(bucket.wait_ns(5, 0, 10), kSecond / 2);
  EXPECT_EQ(bucket.wait_ns(0, 0, 15), kSecond / 2);
  EXPECT_EQ(bucket.wait_ns(3, 0, 7), 0);
  bucket.take(10, 0);
  EXPECT_EQ(bucket.wait_ns(1, 0, 20), 21 * kSecond / 10);
}

TEST(TokenBucket, AskingForNothingAlwaysFits) {
  TokenBucket bucket = ten_a_second();
  bucket.debit(50, 0);
  EXPECT_TRUE(bucket.try_acquire(0, 0));
  EXPECT_EQ(bucket.wait_ns(0, 0), 0);
}

TEST(TokenBucket, ThreeASecondIsNeverRounded) {
  // An interval of 333,333,333.33 ns: with a truncated one, a million seconds would admit a
  // second's worth too many or too few.
  TokenBucket bucket({.capacity = 1, .rate_units = 3, .rate_period_ns = kSecond});
  std::int64_t admitted = 0, now = 0;
  while (now < 100'000 * kSecond) {
    ASSERT_TRUE(bucket.try_acquire(1, now));
    ++admitted;
    const std::int64_t wait = bucket.wait_ns(1, now);
    ASSERT_TRUE(wait == 333'333'333 || wait == 333'333'334) << wait;
    ASSERT_FALSE(bucket.fits(1, now + wait - 1));
    now += wait;
  }
  // At 0, and then at the first nanosecond after k/3 s for each k: those that are not whole seconds
  // come up to 1 ns late, each measured from the one before, hence at most 2 ns a second behind.
  EXPECT_GE(admitted, 300'000 - 1);
  EXPECT_LE(admitted, 300'001);
}

TEST(TokenBucket, MoreThanOneUnitANanosecond) {
  TokenBucket bucket({.capacity = 1000, .rate_units = 7, .rate_period_ns = 2});
  EXPECT_TRUE(bucket.try_acquire(1000, 10));
  EXPECT_EQ(bucket.available(14), 14);
  EXPECT_EQ(bucket.wait_ns(8, 10), 3);  // 8 / 3.5 = 2.29 ns, rounded up
}

TEST(TokenBucket, LargestNumbersDoNotOverflow) {
  TokenBucket bucket({.capacity = kUnitsMax, .rate_units = kUnitsMax, .rate_period_ns = 1});
  const std::int64_t late = INT64_MAX - 10;
  EXPECT_EQ(bucket.available(late), kUnitsMax);
  EXPECT_TRUE(bucket.try_acquire(kUnitsMax, late));
  EXPECT_FALSE(bucket.try_acquire(1, late));
  EXPECT_EQ(bucket.wait_ns(kUnitsMax, late), 1);
  TokenBucket slow({.capacity = kUnitsMax, .rate_units = 1, .rate_period_ns = INT64_MAX});
  for (int i = 0; i < 5; ++i) slow.debit(kUnitsMax, late);
  EXPECT_EQ(slow.wait_ns(1, late), kNever);
  EXPECT_LT(slow.available(late), 0);
}

TEST(TokenBucket, WithoutRefillTheWaitIsNever) {
  TokenBucket bucket({.capacity = 2, .rate_units = 0, .rate_period_ns = 1});
  EXPECT_TRUE(bucket.try_acquire(2, 0));
  EXPECT_EQ(bucket.wait_ns(1, 0), kNever);
  bucket.credit(1, 0, 0);
  EXPECT_TRUE(bucket.try_acquire(1, 0));
}

TEST(TokenBucket, ARequestAboveTheCapacityWaitsLongerThanFullAndLeavesADebt) {
  TokenBucket bucket = ten_a_second();
  EXPECT_TRUE(bucket.fits(25, 0)) << "nobody has used it: as full as can be";
  ASSERT_TRUE(bucket.try_acquire(10, 0));
  // Full at 1 s; 15 above the capacity is 1.5 s more.
  EXPECT_EQ(bucket.wait_ns(25, 0), 2'500'000'000);
  EXPECT_FALSE(bucket.try_acquire(25, 2'500'000'000 - 1));
  ASSERT_TRUE(bucket.try_acquire(25, 2'500'000'000));
  EXPECT_EQ(bucket.available(2'500'000'000), -15);
  EXPECT_EQ(bucket.wait_ns(1, 2'500'000'000), 1'600'000'000);
}

TEST(TokenBucket, AMinuteNeverSeesMoreThanItsLimitEvenWithTheLargestRequest) {
  // 1,000 a minute, half of it as capacity. Spend the burst, then ask for all 1,000 at once.
  TokenBucket bucket(strict_window(1000, 60 * kSecond, 500));
  ASSERT_TRUE(bucket.try_acquire(500, 0));
  const std::int64_t wait = bucket.wait_ns(1000, 0);
  EXPECT_EQ(wait, 120 * kSecond) << "at 60 s the bucket is full, and the minute has seen 500";
  ASSERT_TRUE(bucket.try_acquire(1000, wait));
  EXPECT_FALSE(bucket.fits(1, wait + 60 * kSecond));
}

TEST(TokenBucket, DebitGoesBelowZeroCreditStopsAtTheCapacity) {
  TokenBucket bucket = ten_a_second();
  bucket.debit(13, 0);
  EXPECT_EQ(bucket.available(0), -3);
  bucket.credit(5, 0, 0);
  EXPECT_EQ(bucket.available(0), 2);
  bucket.credit(500, 0, 0);
  EXPECT_EQ(bucket.available(0), 10);
}

TEST(TokenBucket, ACreditDoesNotMakeAFullBucketReadyForALargerRequest) {
  TokenBucket bucket = ten_a_second();
  ASSERT_TRUE(bucket.try_acquire(10, 0));
  bucket.credit(50, 0, 0);
  EXPECT_EQ(bucket.available(0), 10);
  EXPECT_EQ(bucket.wait_ns(15, 0), 500'000'000);
}

TEST(TokenBucket, APermitInHandHoldsTheRefillBackUntilItIsSent) {
  TokenBucket bucket = ten_a_second();
  bucket.hold(4, 0);
  EXPECT_EQ(bucket.available(0), 6);
  EXPECT_EQ(bucket.available(60 * kSecond), 6) << "10 less the 4 that are not sent";
  ASSERT_TRUE(bucket.try_acquire(6, 60 * kSecond));
  bucket.sent(4, 60 * kSecond);
  EXPECT_EQ(bucket.in_hand(), 0);
  EXPECT_EQ(bucket.available(60 * kSecond), 0) << "ten were sent at this instant";
  EXPECT_EQ(bucket.available(61 * kSecond), 10);
}

TEST(TokenBucket, GivingBackRestoresTheBalance) {
  TokenBucket bucket = ten_a_second();
  bucket.take(3, 0);
  bucket.hold(5, 0);
  bucket.give_back(5, 0);
  EXPECT_EQ(bucket.available(0), 7);
  bucket.hold(5, 0);
  bucket.give_back(5, 30 * kSecond);
  EXPECT_EQ(bucket.available(30 * kSecond), 10);
  EXPECT_EQ(bucket.in_hand(), 0);
}

TEST(TokenBucket, GivingBackWhatIsNotInHandIsOnlyACredit) {
  TokenBucket bucket = ten_a_second();
  bucket.give_back(7, 0);
  EXPECT_EQ(bucket.available(0), 10);
  EXPECT_EQ(bucket.in_hand(), 0);
}

TEST(TokenBucket, HeadersOnlyLower) {
  TokenBucket bucket = ten_a_second();
  bucket.lower_to(4, 0);
  EXPECT_EQ(bucket.available(0), 4);
  bucket.lower_to(9, 0);
  EXPECT_EQ(bucket.available(0), 4);
  bucket.lower_to(-1, 0);
  EXPECT_EQ(bucket.available(0), 4);
  bucket.lower_to(0, 0);
  EXPECT_EQ(bucket.available(0), 0);
  EXPECT_EQ(bucket.available(kSecond / 2), 5);
}

TEST(TokenBucket, ASmallerShareScalesWhatIsLeftALargerAddsNothing) {
  TokenBucket bucket = ten_a_second();
  bucket.take(2, 0);  // 8 left
  bucket.reconfigure({.capacity = 5, .rate_units = 5, .rate_period_ns = kSecond}, 0);
  EXPECT_EQ(bucket.available(0), 4);
  EXPECT_EQ(bucket.available(kSecond / 5), 5);
  bucket.reconfigure({.capacity = 10, .rate_units = 10, .rate_period_ns = kSecond}, kSecond / 5);
  EXPECT_EQ(bucket.available(kSecond / 5), 5);
  EXPECT_EQ(bucket.available(kSecond / 5 + kSecond / 2), 10);
}

TEST(TokenBucket, ADebtAndPermitsInHandSurviveAChangeOfShare) {
  TokenBucket bucket = ten_a_second();
  bucket.hold(6, 0);
  bucket.debit(7, 0);
  EXPECT_EQ(bucket.available(0), -3);
  bucket.reconfigure({.capacity = 5, .rate_units = 5, .rate_period_ns = kSecond}, 0);
  EXPECT_EQ(bucket.available(0), -3);
  EXPECT_EQ(bucket.in_hand(), 6);
}

TEST(TokenBucket, AnUnusedBucketStaysReadyThroughAChangeOfShare) {
  TokenBucket bucket = ten_a_second();
  bucket.reconfigure({.capacity = 5, .rate_units = 5, .rate_period_ns = kSecond}, kSecond);
  EXPECT_EQ(bucket.available(kSecond), 5);
  EXPECT_TRUE(bucket.fits(10, kSecond));
}

TEST(TokenBucket, AClockThatWentBackKeepsTheBalance) {
  TokenBucket bucket = ten_a_second();
  bucket.take(10, 100 * kSecond);
  bucket.shift_back(90 * kSecond);
  EXPECT_EQ(bucket.available(10 * kSecond), 0);
  EXPECT_EQ(bucket.available(11 * kSecond), 10);
}

}  // namespace
}  // namespace sluiceway::limits
