// Limit groups under real threads; the clock is a counter they share. Run it under TSan.
#include <gtest/gtest.h>

#include <atomic>
#include <mutex>
#include <set>
#include <thread>
#include <vector>

#include "base/random.h"
#include "limits/limit_group.h"
#include "limits/limits_testing.h"

namespace sluiceway::limits {
namespace {

constexpr int kThreads = 8;

template <typename Body>
void run_threads(Body body) {
  std::vector<std::thread> threads;
  threads.reserve(kThreads);
  for (int t = 0; t < kThreads; ++t) threads.emplace_back([&body, t] { body(t); });
  for (auto& thread : threads) thread.join();
}

Amounts four(std::int64_t tokens) {
  Amounts a{};
  a[0] = 1;
  a[1] = tokens;
  a[2] = tokens;
  a[static_cast<std::size_t>(Dimension::kConcurrency)] = 1;
  return a;
}

LimitGroupConfig config_of_four() {
  LimitGroupConfig config;
  config.buckets[0] = BucketConfig{1000, 1000, kSecond};
  config.buckets[1] = BucketConfig{5000, 5000, kSecond};
  config.buckets[2] = BucketConfig{7000, 7000, kSecond};
  config.concurrency = 1'000'000;
  return config;
}

TEST(LimitGroupThreads, AFrozenClockAdmitsExactlyTheCapacity) {
  LimitGroup group(config_of_four());
  std::atomic<int> admitted{0};
  run_threads([&](int) {
    for (int i = 0; i < 2000; ++i) admitted += group.try_acquire(four(7), kSecond);
  });
  EXPECT_EQ(admitted.load(), 714);  // 5,000 input tokens / 7
  EXPECT_EQ(group.snapshot(kSecond).dimensions[1].available, 2);
  EXPECT_EQ(group.snapshot(kSecond).dimensions[0].available, 286);
  EXPECT_EQ(group.snapshot(kSecond).in_flight, 714);
}

TEST(LimitGroupThreads, SubmitPumpSendCancelAndSettleTogether) {
  LimitGroupConfig config = config_of_four();
  config.concurrency = 20;
  config.queue_max = 200;
  LimitGroup group(config);
  std::atomic<std::int64_t> clock{kSecond};
  std::atomic<std::int64_t> in_flight{0}, in_flight_max{0}, sent{0};
  std::mutex mutex;
  std::set<std::uint64_t> waiting;  // queued, not yet granted, expired or cancelled
  const auto now = [&] { return clock.fetch_add(20'000) + 20'000; };
  const auto use = [&] {
    const std::int64_t held = ++in_flight;
    std::int64_t most = in_flight_max.load();
    while (most < held && !in_flight_max.compare_exchange_weak(most, held)) {
    }
    group.sent(four(3), now());
    ++sent;
    --in_flight;
    group.settle(four(3), four(3), 0, now());
  };
  const auto pump = [&] {
    std::vector<std::uint64_t> granted, expired;
    {
      // Under the lock, so that an id is in `waiting` before it is granted.
      const std::lock_guard<std::mutex> lock(mutex);
      group.pump(now(), &granted, &expired);
      for (const std::uint64_t id : granted) ASSERT_EQ(waiting.erase(id), 1U);
      for (const std::uint64_t id : expired) ASSERT_EQ(waiting.erase(id), 1U);
    }
    for (std::size_t i = 0; i < granted.size(); ++i) use();
  };
  run_threads([&](int thread) {
    SeededRandom random(static_cast<std::uint64_t>(thread));
    for (std::uint64_t i = 0; i < 1500; ++i) {
      Ticket ticket{.id = (static_cast<std::uint64_t>(thread) << 32) | i,
                    .tenant = static_cast<std::uint32_t>(thread % 3),
                    .amounts = four(3),
                    .deadline_ns = now() + random.uniform(kSecond)};
      Grant grant;
      {
        const std::lock_guard<std::mutex> lock(mutex);
        grant = group.submit(ticket, now()).grant;
        if (grant == Grant::kQueued) waiting.insert(ticket.id);
      }
      if (grant == Grant::kGranted) use();
      if (grant == Grant::kQueued && random.uniform(4) == 0) {
        const std::lock_guard<std::mutex> lock(mutex);
        if (group.cancel(ticket.id, now())) waiting.erase(ticket.id);
      }
      if (random.uniform(2) == 0) pump();
      if (random.uniform(99) == 0) group.snapshot(now());
      if (random.uniform(199) == 0) group.freeze_until(now() + 100'000);
      if (random.uniform(199) == 0) group.observe_remaining(Dimension::kRequests, 50, 0, now());
      if (random.uniform(299) == 0) group.set_share(1, 1 + random.uniform(2), now());
    }
  });
  group.set_share(1, 1, now());
  for (int i = 0; i < 10'000 && !waiting.empty(); ++i) {
    clock += kSecond / 100;
    pump();
  }
  EXPECT_TRUE(waiting.empty());
  EXPECT_LE(in_flight_max.load(), 20);
  EXPECT_GT(sent.load(), 100);
  EXPECT_LE(sent.load(), 1000 + clock.load() / 1'000'000) << "capacity + rate * all the time";
  const auto end = group.snapshot(clock.load() + 3600 * kSecond);
  EXPECT_EQ(end.in_flight, 0);
  EXPECT_EQ(end.waiting, 0U);
  for (std::size_t d = 0; d < 3; ++d) {
    EXPECT_EQ(end.dimensions[d].in_hand, 0);
    EXPECT_EQ(end.dimensions[d].available, end.dimensions[d].capacity);
  }
}

}  // namespace
}  // namespace sluiceway::limits
