// A run from its plan to its result, and how time passes: see world.h.
#include "simulation/world.h"

#include <stdlib.h>
#include <unistd.h>

#include <algorithm>
#include <cstdio>
#include <filesystem>
#include <fstream>

#include "store/faults.h"

namespace sluiceway::simulation {
namespace {

constexpr std::int64_t kPumpIntervalNs = kSecond;     // as the ledger's writer looks around
constexpr std::int64_t kFinishIntervalNs = 50 * kMs;  // and tries finishes again
constexpr std::int64_t kHealTimeNs = 900 * kSecond;   // longer than any deadline and fate
constexpr std::size_t kProblemsMax = 8;

std::string scratch_folder() {
  static const std::string folder = [] {
    const char* fast = std::filesystem::exists("/dev/shm") ? "/dev/shm" : nullptr;
    std::string name = fast != nullptr ? fast : std::filesystem::temp_directory_path().string();
    name += "/sluiceway-simulation-XXXXXX";
    return std::string(::mkdtemp(name.data()));
  }();
  return folder;
}

}  // namespace

void remove_scratch_folder() {
  std::error_code ignored;
  std::filesystem::remove_all(scratch_folder(), ignored);
}

World::World(const RunOptions& options)
    : options_(options),
      plan_(draw_plan(options.seed)),
      random_(options.seed * 7 + 3),
      provider_(options.seed * 11 + 5, plan_.faults),
      folder_(scratch_folder()) {
  SimDisk::instance().format(options.seed * 13 + 7);
  for (const auto& scope : plan_.scopes) {
    limits_.push_back(*scope.limit);
    maybe_limits_.push_back(*scope.limit);
    excess_.push_back(0);
    bills_.push_back(0);
  }
  std::ofstream(archive_path()).flush();  // its name; what it holds is on the simulated disk
  store::set_fault_hook([this](const char* label) { fault_point(label); });
}

World::~World() {
  store::set_fault_hook(nullptr);
  for (auto& process : processes_) {
    if (process->up) kill(*process, "the run is over");
  }
}

RunResult run_seed(const RunOptions& options) {
  World world(options);
  return world.run();
}

RunResult World::run() {
  result_.plan = describe(plan_);
  trace(result_.plan);
  for (int i = 0; i < plan_.processes; ++i) {
    processes_.push_back(std::make_unique<Process>());
    processes_.back()->index = i;
    Process* process = processes_.back().get();
    agenda_.at(draw(0, 3) == 0 ? draw(0, 5 * kSecond) : 0, [this, process] { start(*process); });
  }
  plan_callers();
  plan_trouble();
  plan_money();
  loop(plan_.span_ns + 2 * kSecond, false);
  healed_ = true;
  SimDisk::instance().heal();
  SimDisk::instance().kill_at_write(-1, 0);
  provider_.heal();
  if (clock_.frozen()) clock_.thaw(0);
  trace("healed");
  loop(clock_.true_ns() + kHealTimeNs, true);
  if (result_.problems.empty()) check_end();
  for (const Caller& caller : callers_) {
    ++result_.calls;
    result_.lost += caller.lost ? 1 : 0;
    if (!caller.told) continue;
    result_.settled += caller.ending.kind == ErrorKind::kNone ? 1 : 0;
    result_.refused += caller.ending.kind == ErrorKind::kBudgetExceeded ? 1 : 0;
    result_.in_doubt += caller.ending.held > 0 ? 1 : 0;
  }
  result_.executions = provider_.executions();
  return std::move(result_);
}

void World::problem(const std::string& what) {
  if (options_.bill_only && what.find(" bill of ") == std::string::npos) return;
  if (result_.problems.size() < kProblemsMax) result_.problems.push_back(what);
  trace("PROBLEM " + what);
}

void World::trace(const std::string& what) {
  if (!options_.trace) return;
  std::fprintf(stderr, "%12.6f  %s\n", static_cast<double>(clock_.true_ns()) / 1e9, what.c_str());
}

void World::mix(std::uint64_t value) {  // FNV-1a, a byte at a time
  if (result_.hash == 0) result_.hash = 1469598103934665603ull;
  for (int i = 0; i < 8; ++i) {
    result_.hash = (result_.hash ^ ((value >> (8 * i)) & 0xff)) * 1099511628211ull;
  }
}

void World::mix(const std::string& text) {
  for (const char c : text) mix(static_cast<std::uint64_t>(c));
}

Process* World::any_up() {
  std::vector<Process*> up;
  for (auto& process : processes_) {
    if (process->up) up.push_back(process.get());
  }
  return up.empty() ? nullptr
                    : up[static_cast<std::size_t>(
                          random_.uniform(static_cast<std::int64_t>(up.size()) - 1))];
}

// --- time

std::int64_t World::next_ns() const {
  std::int64_t next = agenda_.next_ns();
  for (const auto& process : processes_) {
    if (!process->up) continue;
    if (process->poked || wants_turn(*process)) return clock_.true_ns();
    if (clock_.frozen()) continue;
    const bool unwritten = process->engine->ledger().stats().finish_depth > 0;
    const std::int64_t pump =
        process->pumped_ns + (unwritten ? kFinishIntervalNs : kPumpIntervalNs);
    const std::int64_t due = std::min(process->wire->wake_at_ns(), pump) - clock_.monotonic_ns();
    next = std::min(next, clock_.true_ns() + std::max<std::int64_t>(due, 0));
  }
  return next;
}

bool World::wants_turn(const Process& process) const {
  if (!process.up) return false;
  const std::int64_t now = clock_.monotonic_ns();
  if (process.poked || process.wire->wake_at_ns() <= now || now < process.pumped_ns) return true;
  const bool unwritten = process.engine->ledger().stats().finish_depth > 0;
  return now - process.pumped_ns >= (unwritten ? kFinishIntervalNs : kPumpIntervalNs);
}

void World::loop(std::int64_t until_true_ns, bool to_rest) {
  int at_once = 0;
  while (result_.problems.empty()) {
    if (to_rest) {
      bool rest = true;
      for (const Caller& caller : callers_) rest = rest && (caller.told || caller.lost);
      for (const auto& [name, truth] : provider_.calls()) rest = rest && truth.pending == 0;
      for (const auto& process : processes_) rest = rest && process->up;
      if (rest) return;
    }
    const std::int64_t next = std::min(next_ns(), until_true_ns);
    if (next > clock_.true_ns()) {
      at_once = 0;
      clock_.advance(next - clock_.true_ns());
    } else if (++at_once > kTurnsAtOnceMax) {
      return problem("something spins: thousands of turns at one instant");
    }
    agenda_.run_due(clock_.true_ns());
    step();
    if (clock_.true_ns() >= until_true_ns) return;
  }
}

void World::step() {
  ++result_.steps;
  std::vector<Process*> order;
  order.reserve(processes_.size());
  for (auto& process : processes_) order.push_back(process.get());
  for (std::size_t i = order.size(); i > 1; --i) {
    std::swap(order[i - 1],
              order[static_cast<std::size_t>(random_.uniform(static_cast<std::int64_t>(i) - 1))]);
  }
  for (Process* process : order) {
    if (wants_turn(*process)) turn(*process);
  }
  check_step();
}

}  // namespace sluiceway::simulation
