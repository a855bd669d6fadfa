// Processes of a simulated machine: start, crash, close. See world.h.
#include <absl/status/status.h>

#include <utility>

#include "simulation/dialect.h"
#include "simulation/world.h"

namespace sluiceway::simulation {
namespace {

// What dead processes leave behind: nothing of it may run again, destructors included.
struct Remains {
  // The engine points to these, so they are declared before it.
  std::unique_ptr<SeededRandom> random, breaker_random;
  std::shared_ptr<engine::Engine> engine;
  std::shared_ptr<engine::Route> route;
  std::vector<std::shared_ptr<store::Scope>> scopes;
};
std::vector<Remains>& graveyard() {
  static auto* remains = new std::vector<Remains>;
  return *remains;
}

// Unique within this program: store::open_ledger knows a file by its inode.
std::string fresh_path(const std::string& folder) {
  static std::uint64_t next = 0;
  return folder + "/w" + std::to_string(next++) + ".db";
}

}  // namespace

// Runs `what` as that process; a crash in it is the end of the process.
void World::guarded(Process& process, const std::function<void()>& what) {
  SimDisk& disk = SimDisk::instance();
  disk.enter(process.number());
  const int before = std::exchange(running_, process.index);
  bool crashed = false;
  try {
    what();
  } catch (const Crash&) {
    crashed = true;
  }
  running_ = before;
  if (crashed) return kill(process, "crashed");
  if (disk.dead(process.number())) kill(process, "died in a write");
}

void World::turn(Process& process) {
  process.poked = false;
  guarded(process, [&] {
    for (int turns = 0; turns < kTurnsAtOnceMax; ++turns) {
      const std::uint64_t heard = process.wire->heard();
      process.engine->turn(-1);
      if (process.wire->wake_at_ns() > clock_.monotonic_ns() && process.wire->heard() == heard) {
        return;
      }
    }
    problem("an engine spins: thousands of turns without sleep");
  });
  process.pumped_ns = clock_.monotonic_ns();
  if (process.up) collect(process);
}

void World::start(Process& process) {
  if (process.up) return;
  ++process.incarnation;
  process.crash_label.clear();
  process.permits.clear();
  process.probes_open = 0;
  process.path = fresh_path(folder_);
  const int dies_percent = process.incarnation > 1 ? 30 : 10;  // a second start recovers something
  if (!healed_ && chance(plan_.crashes > 0 ? dies_percent : 0)) {
    const char* labels[] = {"owner.entered", "recover.before_commit", "recover.after_commit",
                            "scope.before_commit", "scope.after_commit"};
    process.crash_label = labels[random_.uniform(std::size(labels) - 1)];
    process.crash_passage = 1;
  }
  trace("start process " + std::to_string(process.number()));
  process.up = true;
  guarded(process, [&] { start_engine(process); });
  if (!process.up) return;
  if (process.engine == nullptr || process.scopes.size() != plan_.scopes.size()) {
    return kill(process, "could not start");
  }
  process.crash_label.clear();
  process.pumped_ns = clock_.monotonic_ns();
  process.poked = true;
}

void World::start_engine(Process& process) {
  const auto seed = static_cast<std::uint64_t>(process.number());
  process.random = std::make_unique<SeededRandom>(options_.seed * 17 + seed);
  process.breaker_random = std::make_unique<SeededRandom>(options_.seed * 19 + seed);
  const int index = process.index, incarnation = process.incarnation;
  const auto same = [this, index, incarnation] {
    const Process& now = *processes_[static_cast<std::size_t>(index)];
    return now.up && now.incarnation == incarnation;
  };
  auto wire = std::make_unique<SimWire>(
      clock_, agenda_, provider_,
      SimWire::Hooks{[this, index](const std::string& attempt) { return begun(index, attempt); },
                     [this, index, same](const std::string& attempt) {
                       if (!same()) return;
                       Process& now = *processes_[static_cast<std::size_t>(index)];
                       std::erase_if(now.permits,
                                     [&](const auto& permit) { return permit.second == attempt; });
                     },
                     [this, index, same](const std::string& attempt) {
                       if (same()) ended(index, attempt);
                     },
                     [this, index, same] {
                       if (same()) processes_[static_cast<std::size_t>(index)]->poked = true;
                     }});
  process.wire = wire.get();
  engine::EngineOptions options;
  options.ledger.path = process.path;
  options.ledger.durability = plan_.durability;
  options.ledger.batch_max = plan_.batch_max;
  options.ledger.checkpoint_bytes = plan_.checkpoint_bytes;
  options.threaded = false;
  options.clock = &clock_;
  options.random = process.random.get();
  options.transport = std::move(wire);
  if (options_.mutation != Mutation::kNone) {
    options.open_ledger = [mutation = options_.mutation](const store::LedgerOptions& ledger,
                                                         store::VerdictSink* sink) {
      return open_mutated(mutation, ledger, sink);
    };
  }
  auto started = engine::Engine::start(std::move(options));
  if (!started.ok()) {
    process.wire = nullptr;
    trace("no start: " + std::string(to_std(started.status().message())));
    return;
  }
  process.engine = *std::move(started);
  process.route = make_route(process);
  open_scopes(process);
}

void World::open_scopes(Process& process) {
  for (std::size_t i = 0; i < plan_.scopes.size(); ++i) {
    store::ScopeConfig config = plan_.scopes[i];
    config.limit = limits_[i];
    auto opened = process.engine->ledger().open_scope(config);
    if (!opened.ok() && maybe_limits_[i] != limits_[i]) {
      config.limit = maybe_limits_[i];  // a raise of which nobody knows whether it was written
      opened = process.engine->ledger().open_scope(config);
    }
    if (!opened.ok()) {
      trace("no scope: " + std::string(to_std(opened.status().message())));
      if (opened.status().code() == absl::StatusCode::kFailedPrecondition) {
        problem("a scope cannot be entered again: " +
                std::string(to_std(opened.status().message())));
      }
      return;
    }
    process.scopes.push_back(*std::move(opened));
  }
}

std::shared_ptr<engine::Route> World::make_route(Process& process) {
  auto route = simulated_route();
  route->breaker = std::make_shared<limits::CircuitBreaker>(limits::BreakerConfig{},
                                                            process.breaker_random.get());
  route->account_breaker = std::make_shared<limits::CircuitBreaker>(
      limits::BreakerConfig{.failure_threshold = 0, .failure_percent = 0});
  route->retry_budget = std::make_shared<limits::RetryBudget>();
  if (plan_.limited) {
    limits::LimitGroupConfig config;
    config.set_limit(limits::Dimension::kRequests, plan_.requests, plan_.requests_period_ns,
                     plan_.requests_capacity);
    config.concurrency = plan_.concurrency;
    route->group = std::make_shared<engine::Group>();
    route->group->limits = std::make_shared<limits::LimitGroup>(config);
  }
  return route;
}

void World::kill(Process& process, const std::string& why) {
  trace("process " + std::to_string(process.number()) + ": " + why);
  SimDisk::instance().kill(process.number());
  if (process.engine) process.wire->die();
  for (const std::size_t index : process.callers) callers_[index].lost = true;
  process.callers.clear();
  if (why != "the run is over") ++result_.crashes;
  graveyard().push_back({std::move(process.random), std::move(process.breaker_random),
                         std::move(process.engine), std::move(process.route),
                         std::move(process.scopes)});
  process.engine = nullptr;
  process.scopes.clear();
  process.wire = nullptr;
  process.up = false;
  restart_later(process);
}

void World::restart_later(Process& process) {
  Process* again = &process;
  agenda_.at(clock_.true_ns() + draw(kMs, 4 * kSecond), [this, again] { start(*again); });
}

void World::close(Process& process) {
  trace("close process " + std::to_string(process.number()));
  guarded(process, [&] { process.engine->close(0); });
  if (!process.up) return;
  collect(process);
  for (const std::size_t index : process.callers) {
    callers_[index].lost = true;
    problem("a call was not told that its gateway closed: " + callers_[index].name);
  }
  process.callers.clear();
  // Destroyed as itself, so that what is left to close is closed on its behalf.
  guarded(process, [&] {
    process.engine.reset();
    process.route.reset();
    process.scopes.clear();
  });
  if (!process.up) return;
  SimDisk::instance().kill(process.number());
  process.up = false;
  process.wire = nullptr;
  restart_later(process);
}

}  // namespace sluiceway::simulation
