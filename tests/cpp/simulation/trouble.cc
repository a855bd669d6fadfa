// Crashes, disks that fail, clocks that jump, and what operators do: see world.h.
#include <algorithm>

#include "simulation/world.h"
#include "store/faults.h"

namespace sluiceway::simulation {

void World::plan_trouble() {
  const auto several = [&](int count, void (World::*what)()) {
    for (int i = 0; i < count; ++i) {
      agenda_.at(draw(0, plan_.span_ns), [this, what] {
        if (!healed_) (this->*what)();
      });
    }
  };
  several(plan_.crashes, &World::crash_one);
  several(plan_.disk_faults, &World::disk_trouble);
  several(plan_.clock_troubles, &World::clock_trouble);
  several(plan_.power_cuts, &World::power_cut);
  several(plan_.raises, &World::raise_limit);
  several(plan_.resolves, &World::resolve_one);
  for (int i = 0; i < plan_.closes; ++i) {
    agenda_.at(draw(0, plan_.span_ns), [this] {
      if (Process* process = any_up(); process != nullptr && !healed_) close(*process);
    });
  }
  for (int i = 0; i < plan_.posts; ++i) {
    agenda_.at(draw(0, plan_.span_ns), [this] {
      Process* process = any_up();
      if (process == nullptr || healed_) return;
      trace("post what is in doubt");
      const std::int64_t older_than = draw(0, 20) * kSecond;
      guarded(*process, [&] {
        (void)process->engine->ledger().post_in_doubt(older_than);
        (void)process->engine->ledger().reanchor_time();
      });
    });
  }
}

void World::crash_one() {
  Process* process = any_up();
  if (process == nullptr) return;
  const std::int64_t kind = draw(0, 9);
  if (kind == 0) return kill(*process, "killed between turns");
  if (kind <= 2)
    return SimDisk::instance().kill_at_write(process->number(), static_cast<int>(draw(0, 30)));
  std::vector<std::string> labels(store::kFaultLabels.begin(), store::kFaultLabels.end());
  for (const char* label : store::kOtherFaultLabels) {
    if (!std::string_view(label).starts_with("migrate.")) labels.emplace_back(label);
  }
  labels.emplace_back("wire.start");
  const auto count = static_cast<std::uint64_t>(labels.size());
  process->crash_label =
      labels[static_cast<std::size_t>(draw(0, static_cast<std::int64_t>(count) - 1))];
  process->crash_passage = static_cast<int>(draw(1, 6));
  if (!aimed_) {  // seeds that follow each other aim at every label in turn, at its first passages
    aimed_ = true;
    process->crash_label = labels[options_.seed % count];
    process->crash_passage = static_cast<int>(1 + options_.seed / count % 2);
  }
  const std::string what = process->crash_label.substr(0, process->crash_label.find('.'));
  // Those that a run passes seldom.
  if (what == "close" || what == "book" || what == "archive" || what == "checkpoint") {
    process->crash_passage = 1;
  }
  if (what == "close") return close(*process);
  if (what == "book") return book_one(*process);
  if (what == "archive") return archive();
}

void World::fault_point(const char* label) {
  if (running_ < 0 || healed_) return;
  Process& process = *processes_[static_cast<std::size_t>(running_)];
  if (process.crash_label != label || --process.crash_passage > 0) return;
  process.crash_label.clear();
  result_.labels.insert(label);
  trace("crash at " + std::string(label));
  SimDisk::instance().strike(process.number());
  throw Crash{};
}

void World::disk_trouble() {
  const auto fault = static_cast<DiskFault>(draw(1, kDiskFaults - 1));
  trace("disk fault " + std::to_string(static_cast<int>(fault)));
  SimDisk::instance().fail(fault, static_cast<int>(draw(0, 12)));
  agenda_.at(clock_.true_ns() + draw(5, 4'000) * kMs, [this] {
    trace("disk well");
    SimDisk::instance().heal();
  });
}

void World::clock_trouble() {
  const std::int64_t kind = draw(0, 6);
  trace("clock trouble " + std::to_string(kind));
  switch (kind) {
    case 0:
      clock_.step_wall(-draw(1, 3 * 86'400) * kSecond);
      break;
    case 1:
      clock_.step_wall(draw(1, 3 * 86'400) * kSecond);
      break;
    case 2:
      clock_.step_wall((chance(50) ? 365 : -365) * kDay);
      break;
    case 3:
      clock_.suspend(draw(1, 2 * 86'400) * kSecond);
      break;
    case 4:
      clock_.jump(chance(50) ? draw(1, 600) * kSecond : 365 * kDay);
      break;
    case 5:
      clock_.step_back(draw(1, 60) * kSecond);
      break;
    default: {
      if (clock_.frozen()) break;
      clock_.freeze();
      const std::int64_t span = draw(1, 5'000) * kMs;
      const std::int64_t caught_up = chance(50) ? span : 0;
      agenda_.at(clock_.true_ns() + span, [this, caught_up] {
        if (clock_.frozen()) clock_.thaw(caught_up);
      });
    }
  }
  for (auto& process : processes_) process->poked = process->up;
}

void World::power_cut() {
  trace("power cut");
  ++result_.power_cuts;
  SimDisk::instance().cut_power();
  for (auto& process : processes_) {
    if (process->up) kill(*process, "no power");
  }
  clock_.reboot();
}

void World::raise_limit() {
  Process* process = any_up();
  if (process == nullptr) return;
  const auto i = static_cast<std::size_t>(draw(0, static_cast<std::int64_t>(limits_.size()) - 1));
  store::ScopeConfig config = plan_.scopes[i];
  if (limits_[i] != maybe_limits_[i]) return;
  config.limit = limits_[i] + plan_.unit * draw(0, 10);
  config.replace = true;
  maybe_limits_[i] = *config.limit;  // until it is known
  trace("raise limit of " + config.kind + config.key + " to " + std::to_string(*config.limit));
  bool written = false;
  guarded(*process, [&] { written = process->engine->ledger().open_scope(config).ok(); });
  if (written) limits_[i] = maybe_limits_[i];
  if (process->up) process->poked = true;
}

// What an operator does who has the provider's bill: the true cost of a call in doubt, once no
// attempt of it can be executed any more.
void World::resolve_one() {
  Process* process = any_up();
  if (process == nullptr) return;
  guarded(*process, [&] {
    const auto holds = process->engine->ledger().holds();
    if (!holds.ok()) return;
    for (const auto& hold : *holds) {
      const std::string name = hold.call_id.text();
      const auto found = caller_of_.find(name);
      if (!hold.in_doubt || found == caller_of_.end()) continue;
      const Provider::Truth& truth = provider_.of_call(name);
      if (truth.pending > 0 || callers_[found->second].attempts_open > 0) continue;
      if (truth.bill > hold.amount) continue;
      trace("resolve call " + std::to_string(found->second));
      (void)process->engine->ledger().resolve(hold.call_id, truth.bill, "the provider's bill");
      return;
    }
  });
}

}  // namespace sluiceway::simulation
