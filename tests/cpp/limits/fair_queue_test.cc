// Order in the queue: FIFO within a tenant, fair between tenants, strict between priorities.
#include "limits/fair_queue.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <cstdlib>
#include <vector>

#include "base/random.h"

namespace sluiceway::limits {
namespace {

Ticket ticket(std::uint64_t id, std::uint32_t tenant, std::uint8_t priority = 0,
              std::int64_t deadline_ns = INT64_MAX, std::int64_t requests = 1) {
  Ticket t{.id = id, .tenant = tenant, .priority = priority, .deadline_ns = deadline_ns};
  t.amounts[0] = requests;
  return t;
}

std::vector<std::uint64_t> drain(FairQueue& queue) {
  std::vector<std::uint64_t> ids;
  while (const Ticket* head = queue.head()) {
    ids.push_back(head->id);
    queue.pop();
  }
  return ids;
}

using Ids = std::vector<std::uint64_t>;

TEST(DimensionName, IsSnakeCase) {
  EXPECT_EQ(dimension_name(Dimension::kRequests), "requests");
  EXPECT_EQ(dimension_name(Dimension::kInputTokens), "input_tokens");
  EXPECT_EQ(dimension_name(Dimension::kConcurrency), "concurrency");
}

TEST(FairQueue, OneTenantIsServedInOrder) {
  FairQueue queue;
  EXPECT_EQ(queue.head(), nullptr);
  for (std::uint64_t id : {5, 3, 9, 1}) EXPECT_TRUE(queue.push(ticket(id, 7), 1));
  EXPECT_EQ(drain(queue), (Ids{5, 3, 9, 1}));
  EXPECT_EQ(queue.size(), 0U);
}

TEST(FairQueue, AnIdWaitsOnce) {
  FairQueue queue;
  EXPECT_TRUE(queue.push(ticket(1, 1), 1));
  EXPECT_FALSE(queue.push(ticket(1, 2), 1));
  EXPECT_EQ(queue.size(), 1U);
}

TEST(FairQueue, TenantsTakeTurns) {
  FairQueue queue;  // tenant 1 came first, with everything
  for (std::uint64_t id = 10; id < 14; ++id) queue.push(ticket(id, 1), 1);
  for (std::uint64_t id = 20; id < 22; ++id) queue.push(ticket(id, 2), 1);
  queue.push(ticket(30, 3), 1);
  EXPECT_EQ(drain(queue), (Ids{10, 20, 30, 11, 21, 12, 13}));
}

TEST(FairQueue, TurnsAreWeightedByCost) {
  FairQueue queue;  // one request of tenant 1 costs as much as three of tenant 2
  for (std::uint64_t id = 10; id < 13; ++id) queue.push(ticket(id, 1), 3);
  for (std::uint64_t id = 20; id < 26; ++id) queue.push(ticket(id, 2), 1);
  // Served costs (tenant 1, tenant 2): (3,0) (3,1) (3,2) (3,3), a tie: the older head, 11; (6,3)
  // ...
  EXPECT_EQ(drain(queue), (Ids{10, 20, 21, 22, 11, 23, 24, 25, 12}));
}

TEST(FairQueue, HigherPriorityGoesFirst) {
  FairQueue queue;
  queue.push(ticket(1, 1, 0), 1);
  queue.push(ticket(2, 1, 9), 1);
  queue.push(ticket(3, 2, 5), 1);
  EXPECT_TRUE(queue.waits_at_or_above(9));
  EXPECT_FALSE(queue.waits_at_or_above(10));
  EXPECT_EQ(drain(queue), (Ids{2, 3, 1}));
  EXPECT_FALSE(queue.waits_at_or_above(0));
}

TEST(FairQueue, LeavingAndComingBackBuysNothing) {
  FairQueue queue;
  queue.push(ticket(10, 1), 5);
  for (std::uint64_t id = 20; id < 30; ++id) queue.push(ticket(id, 2), 1);
  queue.pop();                   // 10: tenant 1 has had 5 and has nothing more
  queue.pop();                   // 20
  queue.push(ticket(11, 1), 5);  // back, with its 5 remembered
  // Tenant 2 is served at 1, 2, 3, 4 and, a tie with 11 that the older head wins, at 5.
  EXPECT_EQ(drain(queue), (Ids{21, 22, 23, 24, 25, 11, 26, 27, 28, 29}));
}

TEST(FairQueue, ANewTenantStartsLevelNotAhead) {
  FairQueue queue;
  for (std::uint64_t id = 10; id < 20; ++id) queue.push(ticket(id, 1), 1);
  for (int i = 0; i < 5; ++i) queue.pop();
  for (std::uint64_t id = 20; id < 23; ++id) queue.push(ticket(id, 2), 1);
  // Tenant 1 has had 5, the last from 4 on; tenant 2 starts at 4, not at 0: one ahead, then turns.
  EXPECT_EQ(drain(queue), (Ids{20, 15, 21, 16, 22, 17, 18, 19}));
}

TEST(FairQueue, RemovedTicketsLeaveNoTrace) {
  FairQueue with, without;
  const auto both = [&](const Ticket& t, std::int64_t cost) {
    with.push(t, cost);
    without.push(t, cost);
  };
  both(ticket(10, 1), 2);
  both(ticket(20, 2), 1);
  with.push(ticket(99, 1), 50);
  with.push(ticket(98, 3), 50);
  both(ticket(11, 1), 1);
  both(ticket(21, 2), 1);
  EXPECT_TRUE(with.remove(99));
  EXPECT_TRUE(with.remove(98));
  EXPECT_FALSE(with.remove(98));
  with.push(ticket(97, 1, 200), 1);
  EXPECT_TRUE(with.remove(97));
  EXPECT_EQ(with.wanted(), without.wanted());
  EXPECT_EQ(drain(with), drain(without));
}

TEST(FairQueue, ExpiredTicketsComeOutByDeadline) {
  FairQueue queue;
  queue.push(ticket(1, 1, 0, 300), 1);
  queue.push(ticket(2, 1, 0, 100), 1);
  queue.push(ticket(3, 2, 4), 1);
  queue.push(ticket(4, 2, 0, 200), 1);
  EXPECT_EQ(queue.earliest_deadline_ns(), 100);
  EXPECT_EQ(queue.pop_expired(99), std::nullopt);
  EXPECT_EQ(queue.pop_expired(200), 2U);
  EXPECT_EQ(queue.pop_expired(200), 4U);
  EXPECT_EQ(queue.pop_expired(200), std::nullopt);
  EXPECT_EQ(drain(queue), (Ids{3, 1}));
  EXPECT_EQ(queue.earliest_deadline_ns(), INT64_MAX);
}

TEST(FairQueue, AheadCountsHigherPrioritiesOwnAndAFairPartOfOthers) {
  FairQueue queue;
  queue.push(ticket(1, 1, 5, INT64_MAX, 100), 1);  // a higher priority: all of it
  queue.push(ticket(2, 1, 0, INT64_MAX, 7), 1);    // the tenant's own
  queue.push(ticket(3, 2, 0, INT64_MAX, 50), 1);   // another tenant: at most 7 + 3
  queue.push(ticket(4, 2, 0, INT64_MAX, 50), 1);
  Amounts wanted{};
  wanted[0] = 3;
  EXPECT_EQ(queue.ahead_of(1, 0, wanted)[0], 100 + 7 + 10);
  EXPECT_EQ(queue.ahead_of(9, 0, wanted)[0], 100 + 2 * 3);  // two lanes, 3 each
  EXPECT_EQ(queue.ahead_of(9, 6, wanted)[0], 0);
  EXPECT_EQ(queue.wanted()[0], 207);
}

// While two tenants both wait, what they were served differs by at most one largest request.
TEST(FairQueue, EqualTenantsStayWithinOneLargestRequest) {
  for (std::uint64_t seed = 1; seed <= 50; ++seed) {
    SCOPED_TRACE(seed);
    SeededRandom random(seed);
    constexpr std::int64_t kLargest = 1000;
    constexpr std::uint32_t kTenants = 4;
    FairQueue queue;
    std::uint64_t id = 0;
    std::vector<std::int64_t> costs, served(kTenants, 0);
    const auto push = [&](std::uint32_t tenant) {
      const std::int64_t skew = tenant == 0 ? kLargest : 1 + random.uniform(kLargest - 1);
      costs.push_back(skew);
      queue.push(ticket(id++, tenant), skew);
    };
    for (std::uint32_t tenant = 0; tenant < kTenants; ++tenant) {
      push(tenant);
      push(tenant);
    }
    for (int step = 0; step < 2000; ++step) {
      const Ticket head = *queue.head();
      served[head.tenant] += costs[head.id];
      queue.pop();
      push(head.tenant);  // stays backlogged
      const auto [low, high] = std::minmax_element(served.begin(), served.end());
      ASSERT_LE(*high - *low, kLargest) << "step " << step;
    }
  }
}

}  // namespace
}  // namespace sluiceway::limits
