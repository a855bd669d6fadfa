// Calls that arrive, are cancelled, and are told how they ended: see world.h.
#include <algorithm>

#include "base/ids.h"
#include "simulation/world.h"

namespace sluiceway::simulation {
namespace {

constexpr int kIdempotencyKeys = 8;
constexpr int kCacheKeys = 4;

}  // namespace

void World::plan_callers() {
  int left = plan_.calls;
  while (left > 0) {
    const int burst = static_cast<int>(std::min<std::int64_t>(left, chance(30) ? draw(2, 12) : 1));
    left -= burst;
    const std::int64_t at = draw(0, plan_.span_ns);
    for (int i = 0; i < burst; ++i) agenda_.at(at, [this] { arrive(); });
  }
}

void World::arrive() {
  Process* process = any_up();
  if (process == nullptr || callers_.size() >= 500) return;
  Caller caller;
  caller.call_id = next_id();
  caller.name = caller.call_id.text();
  caller.order.unit = plan_.unit;
  caller.order.ceiling = plan_.unit * draw(1, 6);
  caller.order.stream = chance(25);
  if (chance(90)) caller.scopes.push_back(static_cast<std::size_t>(draw(0, 2)));
  for (std::size_t i = 3; i < plan_.scopes.size(); ++i) {
    if (chance(50)) caller.scopes.push_back(i);
  }
  if (chance(5) && !caller.scopes.empty()) caller.scopes.push_back(caller.scopes.front());  // twice
  if (chance(12)) caller.idempotency_key = "key " + std::to_string(draw(0, kIdempotencyKeys - 1));
  caller.cached = !caller.order.stream && chance(12);
  callers_.push_back(std::move(caller));
  const std::size_t index = callers_.size() - 1;
  caller_of_[callers_[index].name] = index;
  submit(*process, index);
}

void World::submit(Process& process, std::size_t index) {
  Caller& caller = callers_[index];
  caller.process = process.index;
  caller.incarnation = process.incarnation;
  engine::CallRequest request;
  request.route = process.route;
  request.call_id = request.intent_id = caller.call_id;
  request.body = "{}";
  request.ceiling = caller.order.ceiling;
  request.price_version = "p/m@1";
  request.idempotency_key = caller.idempotency_key;
  request.tenant_number = static_cast<std::uint32_t>(draw(0, 2));
  request.priority = static_cast<std::uint8_t>(chance(20) ? 2 : 1);
  request.stream = caller.order.stream;
  for (const std::size_t i : caller.scopes) request.scopes.push_back(process.scopes[i]);
  if (chance(plan_.wait_percent)) request.on_exceed = engine::OnExceed::kWait;
  const std::int64_t patience = caller.patient ? 300 * kSecond
                                : chance(10)   ? draw(0, 20) * kMs
                                               : draw(200, 40'000) * kMs;
  request.deadline_ns = caller.deadline_ns = clock_.monotonic_ns() + patience;
  if (!caller.patient && chance(30)) request.read_timeout_ns = draw(50, 5'000) * kMs;
  if (caller.cached) {
    request.cache_ttl_ns = draw(1, 10'000) * kMs;
    request.cache_key = {1, 2, static_cast<unsigned char>(draw(0, kCacheKeys - 1))};
  }
  request.amounts[static_cast<std::size_t>(limits::Dimension::kRequests)] = 1;
  request.amounts[static_cast<std::size_t>(limits::Dimension::kConcurrency)] = 1;
  caller.breaker_generation = process.route->breaker->generation();
  caller.submitted_half_open =
      process.route->breaker->state(clock_.monotonic_ns()) == limits::BreakerState::kHalfOpen;
  caller.call = std::make_shared<engine::Call>(std::move(request));
  trace("call " + std::to_string(index) + " on " + std::to_string(process.number()) + " ceiling " +
        std::to_string(caller.order.ceiling / plan_.unit) + " units " + caller.name);
  process.callers.push_back(index);
  process.engine->submit(caller.call);
  process.poked = true;
  if (caller.patient || !chance(15)) return;
  const std::int64_t after = chance(30) ? draw(0, 20) * kMs : draw(0, 8'000) * kMs;
  agenda_.at(clock_.true_ns() + after, [this, index] {
    const Caller& leaving = callers_[index];
    Process& its = *processes_[static_cast<std::size_t>(leaving.process)];
    if (leaving.told || leaving.lost || !its.up) return;
    trace("cancel call " + std::to_string(index));
    its.engine->cancel(*leaving.call);
    its.poked = true;
  });
}

// An attempt leaves for the wire. Throws where its process dies at that moment.
Order World::begun(int index, const std::string& attempt) {
  Process& process = *processes_[static_cast<std::size_t>(index)];
  if (SimDisk::instance().dead(process.number())) throw Crash{};
  fault_point("wire.start");
  const std::string name = attempt.substr(0, attempt.rfind('/'));
  const auto found = caller_of_.find(name);
  if (found == caller_of_.end()) {
    problem("an attempt of a call that nobody made: " + attempt);
    return {.ceiling = 0};
  }
  Caller& caller = callers_[found->second];
  const Provider::Truth& truth = provider_.of_call(name);
  if (truth.executions > 0 || truth.pending > 0) {
    problem("a call is sent again although an earlier attempt may be executed: " + attempt);
  }
  if (caller.told && caller.ending.outcome != Outcome::kInDoubt) {
    problem("an attempt for a call that was told " +
            std::string(outcome_name(caller.ending.outcome)) + ": " + attempt);
  }
  ++caller.attempts_open;
  ++caller.attempts;
  process.permits.emplace_back(clock_.elapsed_ns(), attempt);
  mix(found->second);
  mix(static_cast<std::uint64_t>(clock_.true_ns()));
  limits::CircuitBreaker& breaker = *process.route->breaker;
  const bool half_open = breaker.state(clock_.monotonic_ns()) == limits::BreakerState::kHalfOpen;
  if (half_open && caller.submitted_half_open &&
      caller.breaker_generation == breaker.generation()) {
    // It came when the breaker was half open already: it can only be the probe.
    if (++process.probes_open > 1) problem("two probes of a half-open breaker at once");
  } else {
    caller.submitted_half_open = false;
  }
  trace("attempt " + attempt + " of call " + std::to_string(found->second));
  return caller.order;
}

void World::ended(int index, const std::string& attempt) {
  const auto found = caller_of_.find(attempt.substr(0, attempt.rfind('/')));
  if (found == caller_of_.end()) return;
  Caller& caller = callers_[found->second];
  --caller.attempts_open;
  if (!caller.submitted_half_open) return;
  caller.submitted_half_open = false;
  --processes_[static_cast<std::size_t>(index)]->probes_open;
}

void World::collect(Process& process) {
  std::vector<std::size_t> waiting;
  for (const std::size_t index : process.callers) {
    Caller& caller = callers_[index];
    bool resume = false;
    (void)caller.call->take(&resume);
    if (resume) process.engine->resume(*caller.call);
    if (!caller.call->done()) {
      waiting.push_back(index);
      continue;
    }
    caller.told = true;
    caller.ending = caller.call->ending();
    const engine::Ending& ending = caller.ending;
    trace("told call " + std::to_string(index) + ": " + std::string(error_kind_name(ending.kind)) +
          ", " + std::string(outcome_name(ending.outcome)) + ", cost " +
          std::to_string(ending.cost) + ", held " + std::to_string(ending.held) + " " +
          ending.message);
    mix(index);
    mix(static_cast<std::uint64_t>(ending.kind));
    mix(static_cast<std::uint64_t>(ending.outcome));
    mix(static_cast<std::uint64_t>(ending.cost));
    check_told(caller);
    caller.call.reset();
  }
  process.callers = std::move(waiting);
}

}  // namespace sluiceway::simulation
