// What one seed is about: how many processes, which budgets, which trouble. See plan.cc for the
// odds. Everything that happens in a run follows from its seed and from the code under test.
#pragma once

#include <cstdint>
#include <string>
#include <vector>

#include "limits/limit_group.h"
#include "simulation/provider.h"
#include "store/ledger.h"

namespace sluiceway::simulation {

struct Plan {
  int processes = 1;
  int calls = 40;
  std::int64_t span_ns = 0;                // calls arrive over this time
  Nanousd unit = 1'000;                    // ceilings and limits are multiples of it
  std::vector<store::ScopeConfig> scopes;  // all with a limit
  store::Durability durability = store::Durability::kProcess;
  std::size_t batch_max = 1'024;
  std::int64_t checkpoint_bytes = 16 << 20;
  FaultMix faults;

  bool limited = false;  // a limit group
  std::int64_t requests = 0, requests_period_ns = 0, requests_capacity = 0, concurrency = 0;
  int wait_percent = 30;  // on_exceed = wait

  int crashes = 0, closes = 0, disk_faults = 0, clock_troubles = 0, power_cuts = 0;
  int raises = 0, resolves = 0, posts = 0;
  int money = 0;        // bookings, grants, refunds, archives
  bool months = false;  // a month passes now and then
};

Plan draw_plan(std::uint64_t seed);
std::string describe(const Plan& plan);

}  // namespace sluiceway::simulation
