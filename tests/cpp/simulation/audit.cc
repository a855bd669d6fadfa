// The invariants: what must hold after every step, and what the books must say. See world.h.
//
// The numbers are those of docs/internals/call.md, "Invariants". The truth is the provider's. The
// replay of the books is in audit_books.cc.
#include <algorithm>

#include "base/text.h"
#include "simulation/world.h"

namespace sluiceway::simulation {
namespace {

constexpr std::int64_t kLateNs = 2 * kSecond;
constexpr std::int64_t kBooksEvery = 25;  // steps
// No breaker stays open for longer, even if the clock steps back by a minute four times.
constexpr std::int64_t kOpenMaxNs = 600 * kSecond;
constexpr std::int64_t kAllUpNs = 10 * kSecond;  // all have started and know of each other
constexpr std::int64_t kIdleNs = 3 * kSecond;    // a ledger has kept house

}  // namespace

// Invariants 2 and 3 after every step, by the provider alone.
void World::check_step() {
  if (!provider_.twice().empty()) problem("executed twice: " + provider_.twice().front());
  if (!SimDisk::instance().lock_trouble().empty()) problem(SimDisk::instance().lock_trouble());
  count_bills();
  for (std::size_t i = 0; i < limits_.size(); ++i) {
    const store::ScopeConfig& config = plan_.scopes[i];
    if (config.period != Period::kNone || config.rolling_ns > 0) continue;
    Nanousd limit = std::max(limits_[i], maybe_limits_[i]);
    for (const auto& [name, grant] : grants_) {
      if (grant.scope == i) limit += std::max<Nanousd>(0, grant.amount);
    }
    if (bills_[i] > limit + excess_[i]) {
      problem("the provider's bill of " + config.kind + ":" + config.key + " is " +
              std::to_string(bills_[i]) + ", its limit " + std::to_string(limit) +
              ", overruns explain " + std::to_string(excess_[i]));
    }
  }
  if (options_.mutation == Mutation::kSettleTwice && !planted_) {
    if (Process* process = any_up()) {
      guarded(*process, [&] { planted_ = plant_trigger(process->path); });
    }
  }
  if (++books_seen_ % kBooksEvery != 0) return;
  check_limits_bound();
  Process* process = nullptr;
  for (auto& candidate : processes_) {
    if (candidate->up) process = candidate.get();
  }
  if (process == nullptr || SimDisk::instance().faulty()) return;
  guarded(*process, [&] { check_books(process->engine->ledger(), false); });
}

// What has really been spent in each scope, windows aside: by the provider's executions, and by
// what was booked without a call.
void World::count_bills() {
  for (const auto& [name, truth] : provider_.calls()) {
    const auto refund = refunds_.find(name);
    const Nanousd bill = truth.bill - (refund == refunds_.end() ? 0 : refund->second.amount);
    Nanousd& seen = executed_bill_[name];
    if (bill == seen) continue;
    const Caller& caller = callers_[caller_of_.at(name)];
    const std::set<std::size_t> scopes(caller.scopes.begin(), caller.scopes.end());
    for (const std::size_t i : scopes) {
      bills_[i] += bill - seen;
      if (bill > seen) excess_[i] += std::max<Nanousd>(0, bill - caller.order.ceiling);
    }
    seen = bill;
    if (truth.executions > 1) problem("executed more than once: call " + name);
  }
  for (auto& [name, cost] : own_costs_) {
    if (cost.counted || cost.state != OwnCost::kBooked) continue;
    cost.counted = true;
    for (const std::size_t i : cost.scopes) {
      bills_[i] += cost.amount;
      if (cost.forced) excess_[i] += cost.amount;
    }
  }
}

// What a caller was told, against the truth.
void World::check_told(const Caller& caller) {
  const engine::Ending& ending = caller.ending;
  const Provider::Truth& truth = provider_.of_call(caller.name);
  const bool joined = ending.cache == engine::CacheWord::kJoined;
  const std::string name = "call " + std::to_string(caller_of_.at(caller.name));
  const bool unbilled =
      ending.outcome == Outcome::kNeverSent || ending.outcome == Outcome::kRefused;
  if (unbilled && !joined && (truth.executions > 0 || truth.pending > 0)) {
    problem(name + " was told " + std::string(outcome_name(ending.outcome)) +
            ", and the provider executes it");
  }
  if (ending.kind == ErrorKind::kNone && !joined && ending.held == 0 && ending.cost != truth.bill) {
    problem(name + " was told a cost of " + std::to_string(ending.cost) + ", the bill is " +
            std::to_string(truth.bill));
  }
  if (ending.outcome == Outcome::kInDoubt && caller.attempts > 0 && ending.held == 0 &&
      ending.cost < 0) {
    problem(name + " is in doubt, and its caller was not told what is held");
  }
  if (ending.kind == ErrorKind::kBudgetExceeded && ending.budget != nullptr) {
    const ScopeBalance& b = ending.budget->balance;
    if (!b.blocked && b.settled + b.held + b.in_doubt + ending.budget->amount <= b.limit) {
      problem(name + " was refused by " + ending.budget->scope + ", where it fits");
    }
  }
  if (plan_.clock_troubles == 0 && clock_.monotonic_ns() > caller.deadline_ns + kLateNs) {
    problem(name + " was told long after its deadline");
  }
}

// Invariant 6: in every window at most capacity + rate * T, but for what came back unsent.
// Of each process against the whole limit, since a share only lowers it; and, where the same
// processes live all the time, of all of them together.
void World::check_limits_bound() {
  if (!plan_.limited) return;
  const limits::BucketConfig bucket =
      limits::strict_window(plan_.requests, plan_.requests_period_ns, plan_.requests_capacity);
  using Permits = std::vector<std::pair<std::int64_t, std::string>>;
  const auto check = [&](const Permits& permits, std::int64_t capacity, const char* whose) {
    for (std::size_t i = 0; i < permits.size(); ++i) {
      std::int64_t used = 0;
      for (std::size_t j = i; j < permits.size(); ++j) {
        ++used;
        const std::int64_t length_ns = permits[j].first - permits[i].first;
        if (used <= capacity) continue;
        if (static_cast<limits::TokenBucket::Wide>(used - capacity) * bucket.rate_period_ns <=
            static_cast<limits::TokenBucket::Wide>(length_ns) * bucket.rate_units) {
          continue;
        }
        return problem("the limiter of " + std::string(whose) + " let " + std::to_string(used) +
                       " requests go within " + std::to_string(length_ns / kMs) + " ms");
      }
    }
  };
  Permits all;
  for (auto& process : processes_) {
    check(process->permits, bucket.capacity, "a process");
    for (const auto& permit : process->permits) {
      if (permit.first > kAllUpNs) all.push_back(permit);
    }
    if (!process->up || plan_.concurrency == 0) continue;
    const auto in_flight = static_cast<std::int64_t>(process->wire->stats().in_flight);
    if (in_flight > plan_.concurrency) problem("more calls in flight than the limit allows");
  }
  if (result_.crashes > 0 || plan_.closes > 0 || plan_.clock_troubles > 0) return;
  std::sort(all.begin(), all.end());
  check(all, std::max<std::int64_t>(bucket.capacity, plan_.processes), "all processes");
}

// Everything has come to rest and the provider is well: nothing may be stuck (invariant 7), and the
// books, read by a process of their own, must be whole.
void World::check_end() {
  for (const Caller& caller : callers_) {
    if (!caller.told && !caller.lost) problem("call " + caller.name + " never ended");
  }
  if (!result_.problems.empty()) return;
  loop(clock_.true_ns() + kIdleNs, false);  // what lost answers of the disk left is undone
  idle_ = true;
  if (Process* process = any_up()) {
    guarded(*process, [&] { check_books(process->engine->ledger(), false); });
  }
  probe_recovery();
  for (auto& process : processes_) {
    if (process->up) close(*process);
  }
  if (!result_.problems.empty()) return;
  Process& last = *processes_.front();
  start(last);
  if (!last.up) return problem("the last look at the books cannot start");
  guarded(last, [&] { check_books(last.engine->ledger(), true); });
  mix(static_cast<std::uint64_t>(ledger_time_ns_));
  close(last);
}

// After the longest open time a call without budget goes through in every process.
void World::probe_recovery() {
  loop(clock_.true_ns() + kOpenMaxNs, false);
  for (auto& process : processes_) {
    if (!process->up || !result_.problems.empty()) continue;
    Caller caller;
    caller.call_id = next_id();
    caller.name = caller.call_id.text();
    caller.order = {.ceiling = plan_.unit, .unit = plan_.unit};
    caller.patient = true;
    callers_.push_back(std::move(caller));
    const std::size_t index = callers_.size() - 1;
    caller_of_[callers_[index].name] = index;
    submit(*process, index);
    loop(clock_.true_ns() + 320 * kSecond, true);
    if (!callers_[index].told || callers_[index].ending.kind != ErrorKind::kNone) {
      problem("a call to a healthy provider does not go through: " +
              callers_[index].ending.message);
    }
  }
}

}  // namespace sluiceway::simulation
