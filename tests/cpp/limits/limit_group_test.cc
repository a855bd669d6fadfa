// A limit group, worked by hand: all or none, the queue, deadlines, freezes, corrections, shares.
#include "limits/limit_group.h"

#include <gtest/gtest.h>

#include <vector>

#include "limits/limits_testing.h"

namespace sluiceway::limits {
namespace {

std::size_t at(Dimension dimension) { return static_cast<std::size_t>(dimension); }

Amounts amounts(std::int64_t requests, std::int64_t input = 0, std::int64_t output = 0,
                std::int64_t concurrency = 0) {
  Amounts a{};
  a[at(Dimension::kRequests)] = requests;
  a[at(Dimension::kInputTokens)] = input;
  a[at(Dimension::kOutputTokens)] = output;
  a[at(Dimension::kConcurrency)] = concurrency;
  return a;
}

Ticket ticket(std::uint64_t id, const Amounts& wanted, std::int64_t deadline_ns = kNever,
              std::uint32_t tenant = 1, std::uint8_t priority = 0) {
  return {.id = id,
          .tenant = tenant,
          .priority = priority,
          .amounts = wanted,
          .deadline_ns = deadline_ns};
}

// Requests: 10 and one every 100 ms. Input tokens: 1,000 and one a millisecond. Two in flight if
// asked for.
LimitGroupConfig small(std::int64_t concurrency = 0) {
  LimitGroupConfig config;
  config.buckets[at(Dimension::kRequests)] = BucketConfig{10, 10, kSecond};
  config.buckets[at(Dimension::kInputTokens)] = BucketConfig{1000, 1000, kSecond};
  config.limit_per_window[at(Dimension::kInputTokens)] = 2000;
  config.concurrency = concurrency;
  return config;
}

struct Pumped {
  std::vector<std::uint64_t> granted, expired;
  std::int64_t next = 0;
};

Pumped pump(LimitGroup& group, std::int64_t now) {
  Pumped p;
  p.next = group.pump(now, &p.granted, &p.expired);
  return p;
}

using Ids = std::vector<std::uint64_t>;

std::int64_t available(const LimitGroup& group, Dimension dimension, std::int64_t now) {
  return group.snapshot(now).dimensions[at(dimension)].available;
}

TEST(LimitGroupConfig, SetsAProvidersLimitWithItsDefaults) {
  LimitGroupConfig config;
  config.set_limit(Dimension::kRequests, 600, 60 * kSecond);
  config.set_limit(Dimension::kTokens, 90'000, 60 * kSecond);
  config.set_limit(Dimension::kConcurrency, 8, 0);
  const BucketConfig& requests = *config.buckets[at(Dimension::kRequests)];
  EXPECT_EQ(requests.capacity, 60);
  EXPECT_EQ(requests.rate_units, 540);
  EXPECT_EQ(config.buckets[at(Dimension::kTokens)]->capacity, 45'000);
  EXPECT_EQ(config.limit_per_window[at(Dimension::kTokens)], 90'000);
  EXPECT_EQ(config.concurrency, 8);
}

TEST(LimitGroup, TakesAllDimensionsOrNone) {
  LimitGroup group(small());
  ASSERT_TRUE(group.try_acquire(amounts(1, 900), 0));
  EXPECT_FALSE(group.try_acquire(amounts(1, 200), 0));
  EXPECT_EQ(available(group, Dimension::kRequests, 0), 9) << "the refusal took no request";
  EXPECT_EQ(available(group, Dimension::kInputTokens, 0), 100);
  EXPECT_EQ(group.wait_ns(amounts(1, 200), 0), 100 * kMs);
  EXPECT_EQ(group.wait_ns(amounts(1, 100), 0), 0);
}

TEST(LimitGroup, WithoutLimitsEverythingIsGranted) {
  LimitGroup group({});
  for (std::uint64_t id = 0; id < 100; ++id) {
    EXPECT_EQ(group.submit(ticket(id, amounts(1, 1 << 30, 1 << 30, 1)), 0).grant, Grant::kGranted);
  }
  EXPECT_EQ(group.snapshot(0).in_flight, 100);
}

TEST(LimitGroup, QueuesAndGrantsInOrderWhenItsTimeComes) {
  LimitGroup group(small());
  for (std::uint64_t id = 0; id < 10; ++id) {
    ASSERT_EQ(group.submit(ticket(id, amounts(1)), 0).grant, Grant::kGranted);
    group.sent(amounts(1), 0);
  }
  Decision first = group.submit(ticket(10, amounts(1)), 0);
  EXPECT_EQ(first.grant, Grant::kQueued);
  EXPECT_EQ(first.wait_ns, 100 * kMs);
  EXPECT_EQ(first.dimension, Dimension::kRequests);
  EXPECT_EQ(group.submit(ticket(11, amounts(1)), 0).wait_ns, 200 * kMs);
  Pumped p = pump(group, 0);
  EXPECT_EQ(p.granted, Ids{});
  EXPECT_EQ(p.next, 100 * kMs);
  p = pump(group, 100 * kMs);
  EXPECT_EQ(p.granted, Ids{10});
  group.sent(amounts(1), 100 * kMs);
  EXPECT_EQ(p.next, 200 * kMs);
  p = pump(group, 200 * kMs);
  EXPECT_EQ(p.granted, Ids{11});
  EXPECT_EQ(p.next, kNever);
}

TEST(LimitGroup, NobodyBargesPastAWaitingTicket) {
  LimitGroup group(small());
  ASSERT_TRUE(group.try_acquire(amounts(1, 1000), 0));
  ASSERT_EQ(group.submit(ticket(1, amounts(1, 1000)), 0).grant, Grant::kQueued);
  // This one would fit, and would keep the large one waiting for ever.
  EXPECT_EQ(group.submit(ticket(2, amounts(1, 1)), 100 * kMs).grant, Grant::kQueued);
  EXPECT_FALSE(group.try_acquire(amounts(1, 1), 100 * kMs));
  EXPECT_EQ(pump(group, 1 * kSecond - 1).granted, Ids{});
  EXPECT_EQ(pump(group, 1 * kSecond).granted, Ids{1});
}

TEST(LimitGroup, AHigherPriorityPassesALowerOne) {
  LimitGroup group(small());
  ASSERT_TRUE(group.try_acquire(amounts(1, 1000), 0));
  ASSERT_EQ(group.submit(ticket(1, amounts(1, 1000)), 0).grant, Grant::kQueued);
  EXPECT_EQ(group.submit(ticket(2, amounts(1, 50), kNever, 1, 1), 100 * kMs).grant,
            Grant::kGranted);
  EXPECT_EQ(group.submit(ticket(3, amounts(1, 300), kNever, 1, 1), 100 * kMs).grant,
            Grant::kQueued);
  group.sent(amounts(1, 50), 100 * kMs);
  EXPECT_EQ(pump(group, 350 * kMs).granted, Ids{3});
}

TEST(LimitGroup, RefusesAtOnceWhenTheWaitPassesTheDeadline) {
  LimitGroup group(small());
  ASSERT_TRUE(group.try_acquire(amounts(10), 0));
  ASSERT_EQ(group.submit(ticket(1, amounts(1)), 0).grant, Grant::kQueued);
  const Decision refused = group.submit(ticket(2, amounts(1), 150 * kMs), 0);
  EXPECT_EQ(refused.grant, Grant::kRefusedDeadline);
  EXPECT_EQ(refused.wait_ns, 200 * kMs);
  EXPECT_EQ(group.submit(ticket(3, amounts(1), 200 * kMs), 0).grant, Grant::kQueued);
  EXPECT_EQ(group.submit(ticket(4, amounts(0), 0), 0).grant, Grant::kRefusedDeadline)
      << "its deadline is now";
  const auto counts = group.snapshot(0);
  EXPECT_EQ(counts.refused_deadline, 2U);
  EXPECT_EQ(counts.waiting, 2U);
}

TEST(LimitGroup, AnotherTenantsQueueIsNotAllAhead) {
  LimitGroup group(small());
  ASSERT_TRUE(group.try_acquire(amounts(10), 0));
  for (std::uint64_t id = 0; id < 50; ++id) group.submit(ticket(id, amounts(1)), 0);
  // Tenant 2's first is served after at most one of tenant 1's: 2 units, 200 ms, not 5.1 s.
  const Decision d = group.submit(ticket(100, amounts(1), kSecond, 2), 0);
  EXPECT_EQ(d.grant, Grant::kQueued);
  EXPECT_EQ(d.wait_ns, 200 * kMs);
  pump(group, 100 * kMs);
  group.sent(amounts(1), 100 * kMs);
  EXPECT_EQ(pump(group, 200 * kMs).granted, Ids{100});
}

TEST(LimitGroup, ATicketWhoseDeadlinePassesExpires) {
  LimitGroup group(small(1));
  ASSERT_TRUE(group.try_acquire(amounts(1, 0, 0, 1), 0));
  const Decision d = group.submit(ticket(1, amounts(1, 0, 0, 1), 500 * kMs), 0);
  EXPECT_EQ(d.grant, Grant::kQueued);
  EXPECT_EQ(d.dimension, Dimension::kConcurrency);
  Pumped p = pump(group, 10 * kMs);
  EXPECT_EQ(p.next, 500 * kMs) << "nothing but a call's end or the deadline changes anything";
  p = pump(group, 500 * kMs);
  EXPECT_EQ(p.expired, Ids{1});
  EXPECT_EQ(p.granted, Ids{});
  EXPECT_EQ(p.next, kNever);
}

TEST(LimitGroup, TheQueueIsBounded) {
  LimitGroupConfig config = small();
  config.queue_max = 2;
  LimitGroup group(config);
  ASSERT_TRUE(group.try_acquire(amounts(10), 0));
  EXPECT_EQ(group.submit(ticket(1, amounts(1)), 0).grant, Grant::kQueued);
  EXPECT_EQ(group.submit(ticket(2, amounts(1)), 0).grant, Grant::kQueued);
  const Decision full = group.submit(ticket(3, amounts(1)), 0);
  EXPECT_EQ(full.grant, Grant::kRefusedFull);
  EXPECT_EQ(full.wait_ns, 300 * kMs);
}

TEST(LimitGroup, WhatNoWaitWouldHelpIsATypedRefusal) {
  LimitGroup group(small(2));
  const Decision d = group.submit(ticket(1, amounts(1, 2001)), 0);
  EXPECT_EQ(d.grant, Grant::kRefusedTooLarge);
  EXPECT_EQ(d.dimension, Dimension::kInputTokens);
  EXPECT_EQ(d.wait_ns, kNever);
  EXPECT_FALSE(group.try_acquire(amounts(11), 0));
  EXPECT_EQ(group.wait_ns(amounts(11), 0), kNever);
  EXPECT_EQ(group.submit(ticket(1, amounts(1, 0, 0, 3)), 0).dimension, Dimension::kConcurrency);
}

TEST(LimitGroup, ACallAboveTheCapacityWaitsAndLeavesADebt) {
  LimitGroup group(small());
  ASSERT_TRUE(group.try_acquire(amounts(1, 1000), 0));
  const Decision d = group.submit(ticket(1, amounts(1, 2000)), 0);
  EXPECT_EQ(d.grant, Grant::kQueued);
  EXPECT_EQ(d.wait_ns, 2 * kSecond) << "1 s until it is full, 1 s for the 1,000 above that";
  EXPECT_EQ(pump(group, 2 * kSecond - 1).granted, Ids{});
  EXPECT_EQ(pump(group, 2 * kSecond).granted, Ids{1});
  EXPECT_EQ(available(group, Dimension::kInputTokens, 2 * kSecond), -1000);
}

TEST(LimitGroup, ConcurrencyIsFreedWhenTheCallEnds) {
  LimitGroup group(small(2));
  const Amounts one = amounts(1, 10, 0, 1);
  ASSERT_EQ(group.submit(ticket(1, one), 0).grant, Grant::kGranted);
  ASSERT_EQ(group.submit(ticket(2, one), 0).grant, Grant::kGranted);
  ASSERT_EQ(group.submit(ticket(3, one), 0).grant, Grant::kQueued);
  ASSERT_EQ(group.submit(ticket(4, one), 0).grant, Grant::kQueued);
  group.sent(one, 0);
  group.sent(one, 0);
  EXPECT_EQ(pump(group, 60 * kSecond).granted, Ids{});
  group.settle(one, one, 0, 60 * kSecond);
  EXPECT_EQ(pump(group, 60 * kSecond).granted, Ids{3});
  group.give_back(one, 60 * kSecond);
  EXPECT_EQ(pump(group, 60 * kSecond).granted, Ids{4});
  EXPECT_EQ(group.snapshot(60 * kSecond).in_flight, 2);
}

TEST(LimitGroup, NeverSentReturnsEveryDimension) {
  LimitGroup group(small(2));
  const Amounts wanted = amounts(3, 400, 0, 1);
  ASSERT_EQ(group.submit(ticket(1, wanted), 0).grant, Grant::kGranted);
  EXPECT_EQ(available(group, Dimension::kRequests, 0), 7);
  EXPECT_EQ(available(group, Dimension::kConcurrency, 0), 1);
  group.give_back(wanted, 0);
  EXPECT_EQ(available(group, Dimension::kRequests, 0), 10);
  EXPECT_EQ(available(group, Dimension::kInputTokens, 0), 1000);
  EXPECT_EQ(available(group, Dimension::kConcurrency, 0), 2);
}

TEST(LimitGroup, SettlingCorrectsTheEstimate) {
  LimitGroup group(small(2));
  const Amounts estimated = amounts(1, 300, 0, 1);
  ASSERT_EQ(group.submit(ticket(1, estimated), 0).grant, Grant::kGranted);
  ASSERT_EQ(group.submit(ticket(2, estimated), 0).grant, Grant::kGranted);
  group.sent(estimated, 0);
  group.sent(estimated, 0);
  EXPECT_EQ(available(group, Dimension::kInputTokens, 0), 400);
  group.settle(estimated, amounts(1, 50), 0, 0);
  EXPECT_EQ(available(group, Dimension::kInputTokens, 0), 650);
  group.settle(estimated, amounts(1, 1300), 0, 0);
  EXPECT_EQ(available(group, Dimension::kInputTokens, 0), -350);
  EXPECT_EQ(available(group, Dimension::kRequests, 0), 8);
  EXPECT_EQ(group.snapshot(0).in_flight, 0);
}

// Ten requests wait for connections that never stand. In the meantime their permits are refilled,
// and ten others take them: so a window that begins now has had its ten.
TEST(LimitGroup, AnUnsentPermitDoesNotReturnWhatTheRefillHasReplaced) {
  LimitGroup group(small());
  for (int i = 0; i < 10; ++i) ASSERT_TRUE(group.try_acquire(amounts(1), 0));
  for (int i = 0; i < 10; ++i) ASSERT_TRUE(group.try_acquire(amounts(1), kSecond));
  for (int i = 0; i < 10; ++i) group.settle(amounts(1), {}, 0, kSecond);
  EXPECT_EQ(available(group, Dimension::kRequests, kSecond), 0);
}

// Without the ten, the bucket would have been full at 300 ms, and 3 were taken then.
TEST(LimitGroup, AnUnsentPermitReturnsWhatWouldBeThereWithoutIt) {
  LimitGroup group(small());
  for (int i = 0; i < 10; ++i) ASSERT_TRUE(group.try_acquire(amounts(1), 0));
  for (int i = 0; i < 3; ++i) ASSERT_TRUE(group.try_acquire(amounts(1), 300 * kMs));
  for (int i = 0; i < 10; ++i) group.settle(amounts(1), {}, 0, 300 * kMs);
  EXPECT_EQ(available(group, Dimension::kRequests, 300 * kMs), 7);
}

TEST(LimitGroup, APermitCountsFromTheMomentOfSending) {
  LimitGroup group(small());
  for (std::uint64_t id = 0; id < 10; ++id) group.submit(ticket(id, amounts(1)), 0);
  // Ten permits lie unsent for a minute (the ledger's disk stalled): no eleventh may join them.
  EXPECT_EQ(group.submit(ticket(10, amounts(1)), 60 * kSecond).grant, Grant::kQueued);
  EXPECT_EQ(pump(group, 61 * kSecond).granted, Ids{});
  for (int i = 0; i < 10; ++i) group.sent(amounts(1), 61 * kSecond);
  Pumped p = pump(group, 61 * kSecond);
  EXPECT_EQ(p.granted, Ids{});
  EXPECT_EQ(p.next, 61 * kSecond + 100 * kMs);
  EXPECT_EQ(pump(group, 61 * kSecond + 100 * kMs).granted, Ids{10});
}

TEST(LimitGroup, A429FreezesAndIsNeverShortened) {
  LimitGroup group(small());
  group.freeze_until(10 * kSecond);
  group.freeze_until(5 * kSecond);
  EXPECT_FALSE(group.try_acquire(amounts(1), 9 * kSecond));
  const Decision d = group.submit(ticket(1, amounts(1)), 8500 * kMs);
  EXPECT_EQ(d.grant, Grant::kQueued);
  EXPECT_TRUE(d.frozen);
  EXPECT_EQ(d.wait_ns, 1 * kSecond) << "9 s was seen already; an older now counts as that";
  EXPECT_EQ(pump(group, 9 * kSecond).next, 10 * kSecond);
  EXPECT_EQ(group.submit(ticket(2, amounts(1), 9 * kSecond + 1), 9 * kSecond).grant,
            Grant::kRefusedDeadline);
  EXPECT_EQ(pump(group, 10 * kSecond).granted, Ids{1});
}

TEST(LimitGroup, HeadersLowerAndNothingElse) {
  LimitGroup group(small(2));
  group.observe_remaining(Dimension::kInputTokens, 500, 200, 0);
  EXPECT_EQ(available(group, Dimension::kInputTokens, 0), 300);
  group.observe_remaining(Dimension::kInputTokens, 900, 0, 0);
  group.observe_remaining(Dimension::kInputTokens, -1, 0, 0);
  group.observe_remaining(Dimension::kOutputTokens, 0, 0, 0);
  group.observe_remaining(Dimension::kConcurrency, 0, 0, 0);
  EXPECT_EQ(available(group, Dimension::kInputTokens, 0), 300);
  group.observe_remaining(Dimension::kInputTokens, 100, 700, 0);
  EXPECT_EQ(available(group, Dimension::kInputTokens, 0), 0) << "headers make no debt";
}

TEST(LimitGroup, ProcessesShareALimit) {
  LimitGroup group(small(9));
  group.set_share(1, 4, 0);
  auto state = group.snapshot(0);
  EXPECT_EQ(state.dimensions[at(Dimension::kInputTokens)].capacity, 250);
  EXPECT_EQ(state.dimensions[at(Dimension::kRequests)].capacity, 2);
  EXPECT_EQ(state.dimensions[at(Dimension::kConcurrency)].capacity, 2);
  ASSERT_TRUE(group.try_acquire(amounts(1, 250), 0));
  EXPECT_EQ(group.wait_ns(amounts(1, 250), 0), kSecond) << "250 tokens a second";
  group.set_share(1, 1, 0);
  EXPECT_EQ(available(group, Dimension::kInputTokens, 0), 0);
  EXPECT_EQ(group.wait_ns(amounts(1, 250), 0), 250 * kMs);
  group.set_share(0, 4, 0);
  group.set_share(5, 4, 0);
  EXPECT_EQ(group.snapshot(0).dimensions[at(Dimension::kInputTokens)].capacity, 1000);
  group.set_share(1, 1024, 0);
  EXPECT_EQ(group.snapshot(0).dimensions[at(Dimension::kConcurrency)].capacity, 1);
}

TEST(LimitGroup, AnEngineThatJoinsOthersStartsEmpty) {
  LimitGroup group(small());
  group.drain(0);
  EXPECT_EQ(available(group, Dimension::kRequests, 0), 0);
  EXPECT_EQ(available(group, Dimension::kRequests, kSecond), 10);
}

TEST(LimitGroup, CancellingWhatWaitsLeavesNoTrace) {
  LimitGroup group(small());
  ASSERT_TRUE(group.try_acquire(amounts(10), 0));
  ASSERT_EQ(group.submit(ticket(1, amounts(9)), 0).grant, Grant::kQueued);
  EXPECT_TRUE(group.cancel(1, 0));
  EXPECT_FALSE(group.cancel(1, 0));
  EXPECT_EQ(group.submit(ticket(2, amounts(1)), 0).wait_ns, 100 * kMs);
  EXPECT_EQ(pump(group, 100 * kMs).granted, Ids{2});
  EXPECT_FALSE(group.cancel(2, 100 * kMs)) << "granted: give it back instead";
}

TEST(LimitGroup, AClockThatStepsJumpsOrFreezesAdmitsNothingExtra) {
  LimitGroup group(small());
  const std::int64_t year = 365 * 24 * 3600 * kSecond;
  ASSERT_TRUE(group.try_acquire(amounts(10), year));
  EXPECT_FALSE(group.try_acquire(amounts(1), year)) << "frozen";
  EXPECT_FALSE(group.try_acquire(amounts(1), year - kSecond / 2)) << "a little back";
  EXPECT_FALSE(group.try_acquire(amounts(1), 7 * kSecond)) << "a year back";
  EXPECT_EQ(group.wait_ns(amounts(1), 7 * kSecond), 100 * kMs) << "and not stuck for a year";
  EXPECT_TRUE(group.try_acquire(amounts(1), 7 * kSecond + 100 * kMs));
  EXPECT_FALSE(group.try_acquire(amounts(11), 2 * year));
  EXPECT_TRUE(group.try_acquire(amounts(10), 2 * year));
  EXPECT_FALSE(group.try_acquire(amounts(1), 2 * year));
}

}  // namespace
}  // namespace sluiceway::limits
