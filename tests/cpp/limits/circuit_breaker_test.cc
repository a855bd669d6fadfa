// The breaker's moves, worked by hand, and fifty threads that all want to be the probe.
#include "limits/circuit_breaker.h"

#include <gtest/gtest.h>

#include <atomic>
#include <barrier>
#include <thread>
#include <vector>

#include "limits/limits_testing.h"

namespace sluiceway::limits {
namespace {

constexpr std::int64_t kYear = 365 * 24 * 3600 * kSecond;

bool call(CircuitBreaker& breaker, CallResult result, std::int64_t now,
          std::int64_t duration = 1000) {
  const BreakerPermit permit = breaker.acquire(now);
  EXPECT_TRUE(permit.granted);
  return breaker.report(permit, result, duration, now);
}

void fail(CircuitBreaker& breaker, int times, std::int64_t now) {
  for (int i = 0; i < times; ++i) call(breaker, CallResult::kFailure, now);
}

TEST(BreakerStateName, IsSnakeCase) {
  EXPECT_EQ(breaker_state_name(BreakerState::kHalfOpen), "half_open");
  EXPECT_EQ(breaker_state_name(BreakerState::kForcedOpen), "forced_open");
}

TEST(CircuitBreaker, OpensOnFiveFailuresInARow) {
  CircuitBreaker breaker;
  fail(breaker, 4, 0);
  call(breaker, CallResult::kSuccess, 0);
  fail(breaker, 4, 0);
  EXPECT_EQ(breaker.state(), BreakerState::kClosed);
  const BreakerPermit permit = breaker.acquire(0);
  EXPECT_TRUE(breaker.report(permit, CallResult::kFailure, 1, 0));
  EXPECT_EQ(breaker.state(), BreakerState::kOpen);
  const BreakerPermit refused = breaker.acquire(kSecond);
  EXPECT_FALSE(refused.granted);
  EXPECT_EQ(refused.retry_at_ns, 5 * kSecond) << "no random source: no jitter";
}

TEST(CircuitBreaker, OpensAtHalfOfTenCalls) {
  CircuitBreaker breaker;
  for (int i = 0; i < 4; ++i) {
    EXPECT_FALSE(call(breaker, CallResult::kFailure, i));
    EXPECT_FALSE(call(breaker, CallResult::kSuccess, i));
  }
  EXPECT_FALSE(call(breaker, CallResult::kFailure, 5)) << "5 of 9: too few calls";
  EXPECT_TRUE(call(breaker, CallResult::kSuccess, 5)) << "5 of 10";
  EXPECT_EQ(breaker.state(), BreakerState::kOpen);
}

TEST(CircuitBreaker, OldResultsLeaveTheWindow) {
  CircuitBreaker breaker;
  for (int i = 0; i < 4; ++i) {
    call(breaker, CallResult::kFailure, 0);
    call(breaker, CallResult::kSuccess, 0);
  }
  // 60 s later, with the oldest slot (2 s) counted whole, they are gone at 63 s.
  const std::int64_t later = 63 * kSecond;
  EXPECT_EQ(breaker.snapshot(59 * kSecond).window_calls, 8);
  EXPECT_EQ(breaker.snapshot(later).window_calls, 0);
  EXPECT_FALSE(call(breaker, CallResult::kFailure, later));
  EXPECT_FALSE(call(breaker, CallResult::kSuccess, later));
}

TEST(CircuitBreaker, IgnoredResultsCountForNothing) {
  CircuitBreaker breaker;
  fail(breaker, 4, 0);
  for (int i = 0; i < 100; ++i) call(breaker, CallResult::kIgnored, 0);
  EXPECT_EQ(breaker.snapshot(0).window_calls, 4);
  EXPECT_TRUE(call(breaker, CallResult::kFailure, 0)) << "nor do they end the row of failures";
}

TEST(CircuitBreaker, ASuccessfulProbeCloses) {
  CircuitBreaker breaker;
  fail(breaker, 5, 0);
  const BreakerPermit probe = breaker.acquire(5 * kSecond);
  EXPECT_TRUE(probe.granted);
  EXPECT_TRUE(probe.probe);
  EXPECT_EQ(breaker.state(), BreakerState::kHalfOpen);
  EXPECT_FALSE(breaker.acquire(5 * kSecond).granted);
  EXPECT_TRUE(breaker.report(probe, CallResult::kSuccess, 1, 6 * kSecond));
  EXPECT_EQ(breaker.state(), BreakerState::kClosed);
  fail(breaker, 4, 6 * kSecond);
  EXPECT_EQ(breaker.state(), BreakerState::kClosed) << "closing began a new count";
}

TEST(CircuitBreaker, EachFailedProbeDoublesTheOpenTimeUpToItsMaximum) {
  CircuitBreaker breaker;
  fail(breaker, 5, 0);
  std::int64_t now = 0;
  for (const std::int64_t open_s : {5, 10, 20, 40, 80, 160, 300, 300}) {
    EXPECT_FALSE(breaker.acquire(now + open_s * kSecond - 1).granted);
    now += open_s * kSecond;
    const BreakerPermit probe = breaker.acquire(now);
    ASSERT_TRUE(probe.probe) << open_s;
    EXPECT_TRUE(breaker.report(probe, CallResult::kFailure, 1, now));
  }
  now += 300 * kSecond;
  breaker.report(breaker.acquire(now), CallResult::kSuccess, 1, now);
  fail(breaker, 5, now);
  EXPECT_EQ(breaker.acquire(now).retry_at_ns, now + 5 * kSecond) << "and a success starts anew";
}

TEST(CircuitBreaker, TheOpenTimeIsEquallyJittered) {
  FixedRandom low(0), high(~std::uint64_t{0});
  CircuitBreaker short_one({}, &low), long_one({}, &high);
  fail(short_one, 5, 0);
  fail(long_one, 5, 0);
  EXPECT_EQ(short_one.acquire(0).retry_at_ns, 5 * kSecond / 2);
  EXPECT_EQ(long_one.acquire(0).retry_at_ns, 5 * kSecond);
}

TEST(CircuitBreaker, RetryAfterExtendsTheOpenTime) {
  CircuitBreaker breaker;
  fail(breaker, 4, 0);
  breaker.report(breaker.acquire(0), CallResult::kFailure, 1, 0, 42 * kSecond);
  EXPECT_EQ(breaker.acquire(0).retry_at_ns, 42 * kSecond);
  CircuitBreaker bounded;
  fail(bounded, 4, 0);
  bounded.report(bounded.acquire(0), CallResult::kFailure, 1, 0, kYear);
  EXPECT_EQ(bounded.acquire(0).retry_at_ns, 300 * kSecond);
}

TEST(CircuitBreaker, ARecoveryTimeoutThatIsSetIsObeyedAsItIs) {
  FixedRandom low(0);
  CircuitBreaker breaker({.failure_threshold = 3, .recovery_timeout_ns = 30 * kSecond}, &low);
  fail(breaker, 2, 0);
  breaker.report(breaker.acquire(0), CallResult::kFailure, 1, 0, 99 * kSecond);
  for (std::int64_t now = 30 * kSecond; now < 300 * kSecond; now += 30 * kSecond) {
    EXPECT_FALSE(breaker.acquire(now - 1).granted);
    const BreakerPermit probe = breaker.acquire(now);
    ASSERT_TRUE(probe.probe);
    breaker.report(probe, CallResult::kFailure, 1, now);
  }
}

TEST(CircuitBreaker, AnIgnoredProbeFreesTheSlot) {
  CircuitBreaker breaker;
  fail(breaker, 5, 0);
  const BreakerPermit first = breaker.acquire(5 * kSecond, 100 * kSecond);
  EXPECT_FALSE(breaker.report(first, CallResult::kIgnored, 1, 6 * kSecond));
  const BreakerPermit second = breaker.acquire(6 * kSecond, 100 * kSecond);
  EXPECT_TRUE(second.probe);
  EXPECT_GT(second.generation, first.generation);
  EXPECT_FALSE(breaker.report(first, CallResult::kSuccess, 1, 6 * kSecond)) << "used up";
  EXPECT_EQ(breaker.state(), BreakerState::kHalfOpen);
  EXPECT_TRUE(breaker.report(second, CallResult::kSuccess, 1, 7 * kSecond));
}

TEST(CircuitBreaker, ALostProbeIsReplacedWhenItsLeaseEnds) {
  CircuitBreaker breaker;
  fail(breaker, 5, 0);
  const BreakerPermit lost = breaker.acquire(5 * kSecond, 20 * kSecond);
  EXPECT_TRUE(lost.probe);
  EXPECT_EQ(breaker.acquire(19 * kSecond).retry_at_ns, 20 * kSecond);
  const BreakerPermit next = breaker.acquire(20 * kSecond);
  EXPECT_TRUE(next.probe);
  EXPECT_FALSE(breaker.report(lost, CallResult::kSuccess, 1, 21 * kSecond));
  EXPECT_EQ(breaker.state(), BreakerState::kHalfOpen);
  // Without a stated deadline a lease lasts probe_lease_ns, 60 s.
  EXPECT_EQ(breaker.acquire(21 * kSecond).retry_at_ns, 80 * kSecond);
}

TEST(CircuitBreaker, AnOlderGenerationNeverMovesTheState) {
  CircuitBreaker breaker;
  std::vector<BreakerPermit> late;
  late.reserve(20);
  for (int i = 0; i < 20; ++i) late.push_back(breaker.acquire(0));
  fail(breaker, 5, 0);
  for (int i = 0; i < 5; ++i) {
    EXPECT_FALSE(breaker.report(late[i], CallResult::kSuccess, 1, kSecond));
  }
  EXPECT_EQ(breaker.state(), BreakerState::kOpen);
  const BreakerPermit probe = breaker.acquire(5 * kSecond);
  for (int i = 5; i < 10; ++i) {
    EXPECT_FALSE(breaker.report(late[i], CallResult::kFailure, 1, 5 * kSecond));
  }
  EXPECT_EQ(breaker.state(), BreakerState::kHalfOpen);
  breaker.report(probe, CallResult::kSuccess, 1, 5 * kSecond);
  for (int i = 10; i < 20; ++i) {
    EXPECT_FALSE(breaker.report(late[i], CallResult::kFailure, 1, 5 * kSecond));
  }
  EXPECT_EQ(breaker.state(), BreakerState::kClosed);
  EXPECT_EQ(breaker.snapshot(5 * kSecond).stale, 20U);
}

TEST(CircuitBreaker, TripOpensAtOnceAndNeverShortens) {
  CircuitBreaker account;
  EXPECT_TRUE(account.trip(0, 300 * kSecond));
  EXPECT_EQ(account.acquire(0).retry_at_ns, 300 * kSecond);
  EXPECT_TRUE(account.trip(kSecond, 10 * kSecond));
  EXPECT_EQ(account.acquire(kSecond).retry_at_ns, 300 * kSecond);
  EXPECT_TRUE(account.trip(kSecond, 400 * kSecond));
  EXPECT_EQ(account.acquire(kSecond).retry_at_ns, 401 * kSecond);
  EXPECT_TRUE(account.acquire(401 * kSecond).probe);
  EXPECT_TRUE(account.trip(401 * kSecond, kSecond)) << "from half-open too";
  EXPECT_FALSE(account.acquire(401 * kSecond).granted);
}

TEST(CircuitBreaker, ForcedOpenAndDisabledUntilReset) {
  CircuitBreaker breaker;
  const BreakerPermit before = breaker.acquire(0);
  breaker.force_open();
  EXPECT_FALSE(breaker.acquire(kYear).granted);
  EXPECT_EQ(breaker.acquire(kYear).retry_at_ns, INT64_MAX);
  EXPECT_FALSE(breaker.trip(0, kSecond));
  EXPECT_FALSE(breaker.report(before, CallResult::kSuccess, 1, 0));
  EXPECT_EQ(breaker.state(), BreakerState::kForcedOpen);
  breaker.disable();
  fail(breaker, 50, 0);
  EXPECT_EQ(breaker.state(), BreakerState::kDisabled);
  EXPECT_FALSE(breaker.trip(0, kSecond));
  breaker.reset(0);
  EXPECT_EQ(breaker.state(), BreakerState::kClosed);
  fail(breaker, 4, 0);
  EXPECT_EQ(breaker.state(), BreakerState::kClosed);
}

TEST(CircuitBreaker, AClockThatStepsJumpsOrFreezesNeverSticksIt) {
  CircuitBreaker breaker;
  fail(breaker, 5, kYear);
  EXPECT_FALSE(breaker.acquire(kYear).granted) << "frozen";
  const BreakerPermit back = breaker.acquire(kSecond);
  EXPECT_FALSE(back.granted);
  EXPECT_EQ(back.retry_at_ns, 6 * kSecond) << "a year back: the same 5 s, from now";
  EXPECT_TRUE(breaker.acquire(6 * kSecond, 10 * kSecond).probe);
  EXPECT_TRUE(breaker.acquire(2 * kYear, 2 * kYear + kSecond).probe) << "a jump ends the lease";
  EXPECT_EQ(breaker.acquire(10 * kSecond).retry_at_ns, 11 * kSecond);
  EXPECT_TRUE(breaker.acquire(11 * kSecond).probe);
}

// From any state a healthy provider gets the breaker closed within the open time and one call.
TEST(CircuitBreaker, RandomSchedulesKeepOneProbeAndNeverStick) {
  for (std::uint64_t seed = 1; seed <= 200; ++seed) {
    SCOPED_TRACE(seed);
    SeededRandom random(seed), jitter(seed + 1000);
    CircuitBreaker breaker({.open_base_ns = kSecond, .probe_lease_ns = 3 * kSecond}, &jitter);
    struct Out {
      BreakerPermit permit;
      std::int64_t lease_until;
    };
    std::vector<Out> out;
    std::int64_t now = kSecond;
    for (int step = 0; step < 1000; ++step) {
      now += random.uniform(kSecond / 4);
      if (random.uniform(99) < 55) {
        const BreakerPermit permit = breaker.acquire(now, now + 2 * kSecond);
        if (permit.probe) {
          for (const Out& o : out) {
            const bool live = o.permit.probe && now < o.lease_until &&
                              o.permit.generation + 1 == permit.generation;
            ASSERT_FALSE(live) << "a second probe beside a live one, step " << step;
          }
        }
        if (permit.granted) out.push_back({permit, now + 2 * kSecond});
      } else if (!out.empty()) {
        const auto pick =
            static_cast<std::size_t>(random.uniform(static_cast<std::int64_t>(out.size()) - 1));
        const BreakerPermit permit = out[pick].permit;
        out.erase(out.begin() + static_cast<std::ptrdiff_t>(pick));
        const std::uint64_t generation = breaker.generation();
        const auto result = static_cast<CallResult>(random.uniform(9) < 7 ? 1 : random.uniform(2));
        const bool moved = breaker.report(permit, result, 1 + random.uniform(kSecond), now);
        ASSERT_EQ(moved, breaker.generation() != generation);
        if (permit.generation != generation) {
          ASSERT_FALSE(moved);
        }
      }
    }
    out.clear();  // all lost
    for (int i = 0; i < 3 && breaker.state() != BreakerState::kClosed; ++i) {
      const BreakerPermit permit = breaker.acquire(now);
      if (!permit.granted) {
        ASSERT_LE(permit.retry_at_ns, now + 300 * kSecond);
        now = permit.retry_at_ns;
        continue;
      }
      breaker.report(permit, CallResult::kSuccess, 1, now);
    }
    EXPECT_EQ(breaker.state(), BreakerState::kClosed);
  }
}

TEST(CircuitBreakerThreads, FiftyCallersOneProbe) {
  constexpr int kCallers = 50;
  constexpr int kRounds = 40;
  CircuitBreaker breaker({.recovery_timeout_ns = kSecond});
  fail(breaker, 5, 0);
  std::atomic<int> probes{0}, granted{0};
  std::barrier sync(kCallers);
  std::vector<std::thread> threads;
  threads.reserve(kCallers);
  for (int i = 0; i < kCallers; ++i) {
    threads.emplace_back([&, i] {
      for (int round = 1; round <= kRounds; ++round) {
        sync.arrive_and_wait();
        const std::int64_t now = round * (10 * kSecond);
        const BreakerPermit permit = breaker.acquire(now, now + kSecond);
        if (permit.granted) ++granted;
        if (permit.probe) ++probes;
        sync.arrive_and_wait();
        // Fails, is ignored, or is lost, in turn.
        if (permit.probe && round % 3 != 0) {
          breaker.report(permit, round % 3 == 1 ? CallResult::kFailure : CallResult::kIgnored, 1,
                         now);
        }
        sync.arrive_and_wait();
        if (i == 0) {
          EXPECT_EQ(granted.load(), round);
          EXPECT_EQ(probes.load(), round);
        }
      }
    });
  }
  for (auto& thread : threads) thread.join();
}

}  // namespace
}  // namespace sluiceway::limits
