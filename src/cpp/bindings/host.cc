// The engine as Python holds it: see host.h.
#include <pybind11/stl.h>

#include "bindings/host.h"

#include <unistd.h>

#include <algorithm>
#include <atomic>
#include <chrono>
#include <optional>
#include <thread>
#include <utility>

#include "bindings/asyncio_port.h"
#include "bindings/baton.h"
#include "bindings/errors.h"
#include "bindings/foreign_port.h"
#include "bindings/gil.h"
#include "bindings/spec.h"

namespace sluiceway::bindings {

std::vector<EngineHost*>& EngineHost::all() {
  static auto* hosts = new std::vector<EngineHost*>;
  return *hosts;
}

EngineHost::EngineHost(const py::dict& options) {
  prepare_for_hosts();
  SpecReader reader(options, "engine");
  ledger_options_.path = reader.text("ledger_path", ":memory:");
  ledger_options_.durability = durability_by_name(reader.text("durability", "power"));
  ledger_options_.queue_max =
      static_cast<std::size_t>(reader.integer("ledger_queue_max", 65'536, 1, 10'000'000));
  ledger_options_.post_in_doubt_after_ns = reader.seconds_ns("post_in_doubt_after_s", 604'800.0);
  cache_bytes_max_ = static_cast<std::size_t>(
      reader.integer("cache_bytes_max", 64 << 20, 0, std::int64_t{1} << 40));
  connections_max_ = static_cast<int>(reader.integer("connections_max", 1024, 1, 65'536));
  attempt_header_ = reader.text("send_attempt_header", "auto");
  if (attempt_header_ != "auto" && attempt_header_ != "always" && attempt_header_ != "never") {
    reader.fail("send_attempt_header", "is 'auto', 'always' or 'never'");
  }
  reader.finish();
  all().push_back(this);
}

EngineHost::~EngineHost() {
  auto& hosts = all();
  hosts.erase(std::remove(hosts.begin(), hosts.end(), this), hosts.end());
  if (engine_) {
    const auto engine = std::move(engine_);
    const ReleaseGil unlocked;
    engine->close(2 * kNsPerSecond);
  }
}

namespace {

// Worker processes that leave without atexit's hooks: see integrations/workers.py. Once a process.
void close_when_a_worker_ends() {
  static pid_t done = 0;
  if (std::exchange(done, ::getpid()) == ::getpid()) return;
  PyObject* modules = PyImport_GetModuleDict();
  for (const char* name : {"multiprocessing.util", "billiard.util", "celery.signals"}) {
    if (PyDict_GetItemString(modules, name) == nullptr) continue;
    py::module_::import("sluiceway.integrations.workers").attr("close_at_exit")();
    return;
  }
}

}  // namespace

std::shared_ptr<engine::Engine> EngineHost::engine() {
  if (engine_) return engine_;
  pause_for_fork();
  if (closed_) raise("GatewayClosed", "this gateway was closed; make a new one");
  engine::EngineOptions options;
  options.ledger = ledger_options_;
  options.cache_bytes_max = cache_bytes_max_;
  options.connections_per_origin_max = connections_max_;
  StatusOr<std::shared_ptr<engine::Engine>> started = nullptr;
  {
    const ReleaseGil unlocked;
    started = engine::Engine::start(std::move(options));
  }
  auto fresh = take(std::move(started));
  pause_for_fork();          // one that came meanwhile has not locked it
  if (engine_ || closed_) {  // another thread was faster while the GIL was free
    const ReleaseGil unlocked;
    fresh->close(0);
    fresh.reset();
  }
  if (engine_) return engine_;
  if (closed_) raise("GatewayClosed", "this gateway was closed; make a new one");
  ++generation_;
  engine_ = std::move(fresh);
  close_when_a_worker_ends();
  return engine_;
}

std::shared_ptr<limits::CircuitBreaker> EngineHost::make_breaker(
    const BreakerKey& key, const limits::BreakerConfig& config, bool enabled) {
  auto& slot = breakers_[key];
  if (!slot) {
    breaker_randoms_.push_back(std::make_unique<SystemRandom>());
    slot = std::make_shared<limits::CircuitBreaker>(config, breaker_randoms_.back().get());
    if (!enabled) slot->disable();
  }
  return slot;
}

std::shared_ptr<limits::CircuitBreaker> EngineHost::breaker(const std::string& provider,
                                                            const std::string& account,
                                                            const std::string& model) {
  const auto found = breakers_.find({provider, account, model});
  return found == breakers_.end() ? nullptr : found->second;
}

std::shared_ptr<engine::Group> EngineHost::group(const std::string& name) {
  const auto found = groups_.find(name);
  return found == groups_.end() ? nullptr : found->second;
}

std::shared_ptr<const engine::Route> EngineHost::route(PyRoute& route) {
  engine();
  if (route.route && route.generation == generation_) return route.route;
  const RouteParts& parts = route.parts;
  auto made = std::make_shared<engine::Route>(*parts.fixed);
  made->breaker = make_breaker({made->provider, made->account, made->model}, parts.breaker,
                               parts.breaker_enabled);
  made->account_breaker = make_breaker(
      {made->provider, made->account, ""},
      limits::BreakerConfig{.failure_threshold = 0, .failure_percent = 0}, parts.breaker_enabled);
  auto& budget = retry_budgets_[made->provider + "\n" + made->account];
  if (!budget) budget = std::make_shared<limits::RetryBudget>(parts.retry_budget_percent);
  made->retry_budget = budget;
  if (parts.limited) {
    auto& group = groups_[parts.group_name];
    if (!group) {
      group = std::make_shared<engine::Group>();
      group->name = parts.group_name;
      group->limits = std::make_shared<limits::LimitGroup>(parts.group);
    }
    made->group = group;
  }
  const std::string& host = made->url->host();
  const bool loopback = host == "127.0.0.1" || host == "localhost" || host == "[::1]";
  made->send_attempt_header =
      attempt_header_ == "always" || (attempt_header_ == "auto" && loopback);
  route.route = std::move(made);
  route.generation = generation_;
  return route.route;
}

std::shared_ptr<const store::CallLabels> EngineHost::labels(PyRoute& route,
                                                            std::string_view tenant) {
  const auto found = route.labels.find(tenant);
  if (found != route.labels.end()) return found->second;
  // Tenants may be many: the cache is bounded, the ledger interns by content anyway.
  if (route.labels.size() > 10'000) route.labels.clear();
  auto labels = std::make_shared<store::CallLabels>();
  const engine::Route& fixed = *route.parts.fixed;
  labels->provider = fixed.provider;
  labels->model = fixed.model;
  labels->operation = fixed.operation;
  labels->account = fixed.account;
  labels->tenant = tenant;
  route.labels[std::string(tenant)] = labels;
  return labels;
}

std::uint32_t EngineHost::tenant_number(std::string_view tenant) {
  const auto found = tenants_.find(tenant);
  if (found != tenants_.end()) return found->second;
  // Bounded like the labels. Numbers are not given twice, so a tenant that comes back has another
  // lane than its calls that still wait, and is taken for two.
  if (tenants_.size() > 10'000) tenants_.clear();
  tenants_[std::string(tenant)] = ++last_tenant_;
  return last_tenant_;
}

void EngineHost::close(double timeout_s) {
  closed_ = true;
  pause_for_fork();  // the hook in a child finds the engines by their hosts
  if (!engine_) return;
  const auto engine = std::move(engine_);
  engine_ = nullptr;
  {
    const ReleaseGil unlocked;
    engine->close(static_cast<std::int64_t>(timeout_s * 1e9));
  }
  // A signal that came meanwhile: its handler is not to run in the callback, which it would end.
  std::optional<py::error_already_set> interrupted;
  if (PyErr_CheckSignals() != 0) interrupted.emplace();
  call_back(*engine);  // what the last moments brought
  if (interrupted) throw py::error_already_set(*interrupted);
}

void EngineHost::close_all() {
  std::optional<py::error_already_set> interrupted;
  for (EngineHost* host : std::vector<EngineHost*>(all())) {
    try {
      host->close(0.2);
    } catch (py::error_already_set& error) {
      interrupted.emplace(error);  // told when the others' books are written, too
    }
  }
  if (interrupted) throw py::error_already_set(*interrupted);
}

py::list EngineHost::take_events() { return engine_ ? events_of(*engine_) : py::list(); }

py::list EngineHost::events_of(engine::Engine& engine) {
  py::list out;
  pause_for_fork();
  for (auto& event : engine.events().take()) {
    py::dict item;
    item["kind"] = py::str(std::string(engine::event_kind_name(event.kind)));
    item["provider"] = event.provider;
    item["account"] = event.account;
    item["model"] = event.model;
    item["call_id"] = event.call_id.text();
    item["detail"] = event.detail;
    item["t_wall"] = static_cast<double>(event.wall_ns) / 1e9;
    out.append(std::move(item));
  }
  return out;
}

void EngineHost::pass_events() {
  if (const auto engine = engine_) call_back(*engine);
}

void EngineHost::call_back(engine::Engine& engine) {
  if (!event_callback_ || event_callback_.is_none() || !engine.events().any()) return;
  try {
    or_sleep_for_ever([&] { event_callback_(events_of(engine)); });
  } catch (py::error_already_set& error) {
    if (!error.matches(PyExc_Exception)) throw;
    error.discard_as_unraisable("sluiceway event callback");
  }
}

namespace {

std::atomic<bool> forking{false};

// Between the hooks other hooks run, and with them other threads, which close gateways.
std::vector<std::shared_ptr<engine::Engine>>& locked_for_fork() {
  static auto* engines = new std::vector<std::shared_ptr<engine::Engine>>;
  return *engines;
}

}  // namespace

void pause_for_fork() {
  while (forking.load(std::memory_order_relaxed)) {
    const ReleaseGil unlocked;
    std::this_thread::sleep_for(std::chrono::microseconds(200));
  }
}

void EngineHost::before_fork() {
  pause_for_fork();  // another thread forks at this moment
  forking.store(true);
  // In the order in which they are taken elsewhere: the ledger's writer gives verdicts to engines.
  store::fork_before();
  for (EngineHost* host : all()) {
    if (!host->engine_) continue;
    host->engine_->lock_for_fork();
    locked_for_fork().push_back(host->engine_);
  }
}

void EngineHost::after_fork_in_parent() {
  for (const auto& engine : locked_for_fork()) engine->unlock_in_parent();
  store::fork_after_in_parent();
  locked_for_fork().clear();  // not the last references: close() has waited
  forking.store(false);
}

void EngineHost::after_fork_in_child() {
  forking.store(false);
  store::fork_after_in_child();
  (void)new std::vector(std::exchange(locked_for_fork(), {}));  // leaked, like the engines
  for (EngineHost* host : all()) {
    if (!host->engine_) continue;
    host->engine_->abandon_in_child();
    // The inherited engine has no thread here and its descriptors are the parent's: it is leaked.
    new std::shared_ptr<engine::Engine>(std::move(host->engine_));
    host->engine_ = nullptr;
    ++host->generation_;
    host->breakers_.clear();
    host->groups_.clear();
    host->retry_budgets_.clear();
  }
  engine::Cork::forget_in_child();
  forget_ports_in_child();
  forget_blocked_threads();
}

const std::shared_ptr<store::Scope>& PyScope::get() {
  const auto engine = host->engine();
  if (!scope || generation != host->generation()) {
    StatusOr<std::shared_ptr<store::Scope>> opened = nullptr;
    {
      const ReleaseGil unlocked;
      opened = engine->ledger().open_scope(config);
    }
    scope = take(std::move(opened));
    generation = host->generation();
  }
  return scope;
}

PyCall::~PyCall() {
  // Nobody can take the answer any more: stop the upstream call.
  if (!call || call->done() || !engine || engine->closed()) return;
  pause_for_fork();
  engine->cancel(*call);
}

}  // namespace sluiceway::bindings
