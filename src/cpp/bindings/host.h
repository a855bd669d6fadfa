// The engine as Python holds it: options until the first use, an engine afterwards, and a fresh one
// in the child of a fork.
//
// Model. An EngineHost starts nothing until a call, a scope or a report needs the engine. Routes
// and scopes that Python holds keep what they were made from, so that after a fork they are made
// again on the child's engine at their next use. Parts that routes share (limit groups, breakers,
// retry budgets) live here, by name. Threads: with the GIL, which guards everything but the engine
// itself. A host's `generation` counts its engines.
#pragma once

#include <pybind11/pybind11.h>

#include <map>
#include <memory>
#include <string>
#include <tuple>
#include <vector>

#include "engine/engine.h"

namespace sluiceway::bindings {

namespace py = pybind11;

struct RouteParts {                      // what of a route's spec is built anew for each engine
  std::shared_ptr<engine::Route> fixed;  // everything but the shared parts
  std::string group_name;
  bool limited = false;
  limits::LimitGroupConfig group;
  limits::BreakerConfig breaker;
  bool breaker_enabled = true;
  int retry_budget_percent = 20;
};

struct PyRoute {
  RouteParts parts;
  std::uint64_t generation = 0;
  std::shared_ptr<const engine::Route> route;                 // for that generation
  text_map<std::shared_ptr<const store::CallLabels>> labels;  // by tenant
  std::string schema_version = "1";
  std::size_t body_bytes = 0;  // of the last request: the next one's buffer
};

class EngineHost : public std::enable_shared_from_this<EngineHost> {
 public:
  explicit EngineHost(const py::dict& options);
  ~EngineHost();

  // Starts it if need be. Raises GatewayClosed, or the ledger's error.
  std::shared_ptr<engine::Engine> engine();
  std::shared_ptr<engine::Engine> engine_if_started() const { return engine_; }
  std::uint64_t generation() const { return generation_; }
  std::shared_ptr<const engine::Route> route(PyRoute& route);
  std::shared_ptr<const store::CallLabels> labels(PyRoute& route, std::string_view tenant);
  std::uint32_t tenant_number(std::string_view tenant);

  std::shared_ptr<limits::CircuitBreaker> breaker(const std::string& provider,
                                                  const std::string& account,
                                                  const std::string& model);
  std::shared_ptr<engine::Group> group(const std::string& name);
  const std::string& attempt_header() const { return attempt_header_; }

  void close(double timeout_s);
  void set_event_callback(py::object callback) { event_callback_ = std::move(callback); }
  // Hands events to the callback, if there are any. A callback's error is printed; what is no
  // Exception (Ctrl-C, sys.exit() in a signal's handler) is thrown.
  void pass_events();
  py::list take_events();

  // Fork hooks over all hosts of the process.
  static void before_fork();
  static void after_fork_in_parent();
  static void after_fork_in_child();
  static std::vector<EngineHost*>& all();
  // At the interpreter's exit: every engine drains for a moment and writes its books.
  static void close_all();

 private:
  static py::list events_of(engine::Engine& engine);
  void call_back(engine::Engine& engine);
  using BreakerKey = std::tuple<std::string, std::string, std::string>;
  std::shared_ptr<limits::CircuitBreaker> make_breaker(const BreakerKey& key,
                                                       const limits::BreakerConfig& config,
                                                       bool enabled);

  store::LedgerOptions ledger_options_;
  std::size_t cache_bytes_max_;
  int connections_max_;
  std::string attempt_header_;  // "auto", "always", "never"
  std::shared_ptr<engine::Engine> engine_;
  std::uint64_t generation_ = 0;
  bool closed_ = false;
  py::object event_callback_;
  std::map<BreakerKey, std::shared_ptr<limits::CircuitBreaker>> breakers_;
  std::vector<std::unique_ptr<SystemRandom>> breaker_randoms_;
  std::map<std::string, std::shared_ptr<engine::Group>> groups_;
  std::map<std::string, std::shared_ptr<limits::RetryBudget>> retry_budgets_;
  text_map<std::uint32_t> tenants_;
  std::uint32_t last_tenant_ = 0;
};

// A scope as Python holds it.
struct PyScope {
  std::shared_ptr<EngineHost> host;
  store::ScopeConfig config;
  std::shared_ptr<store::Scope> scope;
  std::uint64_t generation = 0;
  const std::shared_ptr<store::Scope>& get();
};

// A call as Python holds it.
struct PyCall {
  std::shared_ptr<engine::Engine> engine;
  std::shared_ptr<EngineHost> host;
  std::shared_ptr<engine::Call> call;
  PyCall(std::shared_ptr<engine::Engine> its_engine, std::shared_ptr<EngineHost> its_host,
         std::shared_ptr<engine::Call> its_call)
      : engine(std::move(its_engine)), host(std::move(its_host)), call(std::move(its_call)) {}
  ~PyCall();
  PyCall(const PyCall&) = delete;
  PyCall& operator=(const PyCall&) = delete;
};

// Between the fork hooks this process's engine locks are taken, and other hooks may hand the GIL to
// another thread: whoever is about to take such a lock with the GIL waits here first, without it.
void pause_for_fork();

void init_engine(py::module_& module);
void init_call(py::module_& module);
void init_ledger(py::class_<EngineHost, std::shared_ptr<EngineHost>>& engine);
void init_ledger_write(py::class_<EngineHost, std::shared_ptr<EngineHost>>& engine);
void init_report(py::class_<EngineHost, std::shared_ptr<EngineHost>>& engine);
void init_limits(py::module_& module);
void init_quote(py::module_& module);
void init_tools(py::module_& module);

}  // namespace sluiceway::bindings
