// What admission costs a call: the limit group, the breaker, the queue, the retry budget.
//
// Each benchmark checks its answer before it is timed. The clock is a counter: time is a parameter
// of the room, and reading a real one (about 23 ns) is the caller's. In rows named _shared two
// threads use one object. `acquire_four` is the row limits.acquire_ns of the summary; read CPU
// time.
#include <benchmark/benchmark.h>

#include <atomic>
#include <cstdint>
#include <vector>

#include "base/random.h"
#include "limits/circuit_breaker.h"
#include "limits/limit_group.h"
#include "limits/retry_budget.h"

namespace sluiceway::limits {
namespace {

constexpr std::int64_t kSecond = 1'000'000'000;

Amounts four(std::int64_t concurrency) {
  Amounts a{};
  a[0] = 1;
  a[1] = 500;
  a[2] = 300;
  if (concurrency > 0) {
    a[static_cast<std::size_t>(Dimension::kConcurrency)] = concurrency;
  } else {
    a[static_cast<std::size_t>(Dimension::kCharacters)] = 2000;
  }
  return a;
}

// Four buckets, refilled so fast that every request at 100 ns steps fits.
LimitGroupConfig four_buckets() {
  LimitGroupConfig config;
  for (const Dimension dimension : {Dimension::kRequests, Dimension::kInputTokens,
                                    Dimension::kOutputTokens, Dimension::kCharacters}) {
    config.buckets[static_cast<std::size_t>(dimension)] =
        BucketConfig{1'000'000'000, 60'000'000'000'000, 60 * kSecond};
  }
  return config;
}

void acquire_four(benchmark::State& state) {
  static LimitGroup group(four_buckets());
  // Each run begins long after the last has ended: a run of 10^9 turns is 100 s of this clock.
  static std::atomic<std::int64_t> start{0};
  const Amounts wanted = four(0);
  std::int64_t now = start.fetch_add(1'000 * kSecond);
  bool all = group.try_acquire(wanted, now);
  for (auto _ : state) {
    now += 100;
    all &= group.try_acquire(wanted, now);
  }
  if (!all) state.SkipWithError("a request that fits was refused");
}
BENCHMARK(acquire_four);
BENCHMARK(acquire_four)->Name("acquire_four_shared")->Threads(2);

void refuse_four(benchmark::State& state) {
  LimitGroupConfig config = four_buckets();
  config.buckets[static_cast<std::size_t>(Dimension::kCharacters)] = BucketConfig{2000, 0, kSecond};
  LimitGroup group(config);
  const Amounts wanted = four(0);
  bool any = !group.try_acquire(wanted, 1);
  std::int64_t now = 1;
  for (auto _ : state) any |= group.try_acquire(wanted, now += 100);
  if (any) state.SkipWithError("admitted beyond the capacity");
}
BENCHMARK(refuse_four);

// The whole life of a permit: submit, sent, settle with a correction.
void permit_of_four(benchmark::State& state) {
  LimitGroupConfig config = four_buckets();
  config.concurrency = 10;
  LimitGroup group(config);
  Ticket ticket{.id = 1, .tenant = 1, .amounts = four(1), .deadline_ns = kNever};
  Amounts actual = ticket.amounts;
  actual[2] = 120;
  bool all = true;
  std::int64_t now = 0;
  for (auto _ : state) {
    now += 100;
    ++ticket.id;
    all &= group.submit(ticket, now).grant == Grant::kGranted;
    group.sent(ticket.amounts, now);
    group.settle(ticket.amounts, actual, now, now);
  }
  if (!all) state.SkipWithError("a request that fits was not granted");
}
BENCHMARK(permit_of_four);

// A ticket through a queue of 1,000 others from 50 tenants.
void queue_and_grant(benchmark::State& state) {
  LimitGroupConfig config;
  config.buckets[0] = BucketConfig{1, 1, 1000};
  LimitGroup group(config);
  std::vector<std::uint64_t> granted, expired;
  std::uint64_t id = 0;
  std::int64_t now = 1000;
  Ticket ticket{.deadline_ns = kNever};
  ticket.amounts[0] = 1;
  const auto submit = [&] {
    ticket.id = ++id;
    ticket.tenant = static_cast<std::uint32_t>(id % 50);
    return group.submit(ticket, now).grant;
  };
  submit();
  group.sent(ticket.amounts, now);
  for (int i = 0; i < 1000; ++i) submit();
  bool all = true;
  for (auto _ : state) {
    all &= submit() == Grant::kQueued;
    now += 1000;
    granted.clear();
    group.pump(now, &granted, &expired);
    all &= granted.size() == 1;
    group.sent(ticket.amounts, now);
  }
  if (!all) state.SkipWithError("not one in, one out");
}
BENCHMARK(queue_and_grant);

void breaker_acquire_report(benchmark::State& state) {
  static CircuitBreaker breaker;
  // Each run begins long after the last has ended: a run of 10^9 turns is 100 s of this clock.
  static std::atomic<std::int64_t> start{0};
  std::int64_t now = start.fetch_add(1'000 * kSecond);
  bool all = true;
  for (auto _ : state) {
    now += 100;
    const BreakerPermit permit = breaker.acquire(now);
    all &= permit.granted;
    all &= !breaker.report(permit, CallResult::kSuccess, 200'000'000, now);
  }
  if (!all) state.SkipWithError("a closed breaker refused or moved");
}
BENCHMARK(breaker_acquire_report);
BENCHMARK(breaker_acquire_report)->Name("breaker_acquire_report_shared")->Threads(2);

void breaker_refuse(benchmark::State& state) {
  CircuitBreaker breaker;
  breaker.trip(0, INT64_MAX / 2);
  bool any = false;
  for (auto _ : state) any |= breaker.acquire(kSecond).granted;
  if (any) state.SkipWithError("an open breaker granted");
}
BENCHMARK(breaker_refuse);

void retry_budget(benchmark::State& state) {
  RetryBudget budget;
  std::int64_t now = 0;
  for (auto _ : state) {
    now += 1'000'000;
    budget.on_first_attempt(now);
    benchmark::DoNotOptimize(budget.try_retry(now));
  }
}
BENCHMARK(retry_budget);

}  // namespace
}  // namespace sluiceway::limits
