// The odds of a seed: see plan.h.
#include "simulation/plan.h"

#include "simulation/clock.h"

namespace sluiceway::simulation {
namespace {

constexpr Nanousd kUnits[] = {1'000, 7'000, 30'000'000, 100'000'000};  // the last: ten cents

store::ScopeConfig scope(std::string kind, std::string key, Nanousd limit) {
  store::ScopeConfig config;
  config.kind = std::move(kind);
  config.key = std::move(key);
  config.limit = limit;
  return config;
}

}  // namespace

Plan draw_plan(std::uint64_t seed) {
  SeededRandom random(seed * 2 + 1);
  const auto range = [&](std::int64_t low, std::int64_t high) {
    return low + random.uniform(high - low);
  };
  const auto chance = [&](int percent) { return random.uniform(99) < percent; };
  Plan plan;
  plan.processes = static_cast<int>(range(1, 3));
  plan.calls = static_cast<int>(range(10, 90));
  plan.span_ns = range(2, 90) * kSecond;
  plan.unit = kUnits[random.uniform(3)];
  // Nested: a video in an account in a day; the windows are smaller than their sum.
  for (int i = 0; i < 3; ++i) {
    plan.scopes.push_back(scope("video", std::to_string(i), range(3, 30) * plan.unit));
  }
  plan.scopes.push_back(scope("account", "7", range(10, 150) * plan.unit));
  store::ScopeConfig day = scope("day", "", range(10, 200) * plan.unit);
  day.period = Period::kDay;
  if (chance(50)) day.time_zone = "Asia/Tokyo";
  plan.scopes.push_back(day);
  store::ScopeConfig hour = scope("hour", "a", range(5, 100) * plan.unit);
  hour.period = Period::kHour;
  plan.scopes.push_back(hour);
  store::ScopeConfig rolling = scope("rolling", "r", range(5, 60) * plan.unit);
  rolling.rolling_ns = range(60, 600) * kSecond;
  plan.scopes.push_back(rolling);

  plan.durability = chance(30) ? store::Durability::kPower : store::Durability::kProcess;
  plan.batch_max = chance(50) ? 1'024 : static_cast<std::size_t>(range(2, 6));
  plan.checkpoint_bytes = chance(85) ? 16 << 10 : 16 << 20;
  plan.faults.faulty_percent = static_cast<int>(range(0, 70));
  plan.faults.overruns = chance(10);
  plan.faults.latency_max_ns = range(10, 5'000) * kMs;
  plan.limited = chance(50);
  if (plan.limited) {
    plan.requests = range(4, 40);
    plan.requests_period_ns = range(2, 30) * kSecond;
    plan.requests_capacity = range(1, plan.requests);
    plan.concurrency = chance(50) ? range(1, 6) : 0;
  }
  plan.wait_percent = chance(50) ? 30 : 80;
  plan.crashes = chance(60) ? static_cast<int>(range(1, 4)) : 0;
  plan.closes = chance(30) ? 1 : 0;
  plan.disk_faults = chance(40) ? static_cast<int>(range(1, 3)) : 0;
  plan.clock_troubles = chance(40) ? static_cast<int>(range(1, 4)) : 0;
  if (plan.durability == store::Durability::kPower && chance(50)) {
    plan.power_cuts = static_cast<int>(range(1, 2));
  }
  plan.raises = chance(40) ? static_cast<int>(range(1, 3)) : 0;
  plan.resolves = chance(60) ? static_cast<int>(range(1, 4)) : 0;
  plan.posts = chance(20) ? 1 : 0;
  plan.money = chance(50) ? static_cast<int>(range(1, 12)) : 0;
  plan.months = plan.money > 0 && chance(30);
  if (plan.months) ++plan.clock_troubles;
  return plan;
}

std::string describe(const Plan& plan) {
  std::string out = std::to_string(plan.processes) + " processes, " + std::to_string(plan.calls) +
                    " calls over " + std::to_string(plan.span_ns / kSecond) + " s, unit " +
                    std::to_string(plan.unit) + ", " +
                    (plan.durability == store::Durability::kPower ? "power" : "process") + ", " +
                    std::to_string(plan.faults.faulty_percent) + " % faults";
  const auto add = [&](int count, const char* what) {
    if (count > 0) out += ", " + std::to_string(count) + " " + what;
  };
  add(plan.faults.overruns ? 1 : 0, "with overruns");
  add(plan.limited ? static_cast<int>(plan.requests) : 0, "requests a period");
  add(plan.crashes, "crashes");
  add(plan.closes, "closes");
  add(plan.disk_faults, "disk faults");
  add(plan.clock_troubles, "clock troubles");
  add(plan.power_cuts, "power cuts");
  add(plan.raises, "raises");
  add(plan.resolves, "resolves");
  add(plan.money, "bookings, grants, refunds, archives");
  return out;
}

}  // namespace sluiceway::simulation
