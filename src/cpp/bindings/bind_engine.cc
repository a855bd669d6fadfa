// Engine, Route and Scope for Python. Each binding converts, calls the core once, and converts
// back.
#include <chrono>
#include <cstdlib>
#include <optional>

#include <pybind11/stl.h>

#include "bindings/asyncio_port.h"
#include "bindings/errors.h"
#include "bindings/gil.h"
#include "bindings/held.h"
#include "bindings/host.h"
#include "bindings/py_writer.h"
#include "bindings/spec.h"
#include "bindings/submit.h"
#include "cost/quote.h"
#include "http/proxy.h"

namespace sluiceway::bindings {
namespace {

std::vector<http::Header> read_header_pairs(SpecReader& reader) {
  std::vector<http::Header> out;
  const py::object given = reader.get("headers");
  if (given.is_none()) return out;
  for (const py::handle item : given) {
    if (!py::isinstance<py::tuple>(item) && !py::isinstance<py::list>(item)) {
      reader.fail("headers", "holds (name, value) pairs of text");
    }
    auto pair = item.cast<std::pair<std::string, std::string>>();
    out.push_back({std::move(pair.first), std::move(pair.second)});
  }
  return out;
}

http::HttpVersion version_of(SpecReader& reader) {
  const std::string name = reader.text("http_version", "auto");
  if (name == "auto") return http::HttpVersion::kAuto;
  if (name == "1.1") return http::HttpVersion::kHttp1;
  if (name == "2") return http::HttpVersion::kHttp2;
  reader.fail("http_version", "is 'auto', '1.1' or '2'");
}

engine::RetryPolicy read_retry(const py::dict& dict, int* budget_percent) {
  SpecReader reader(dict, "retry");
  engine::RetryPolicy retry;
  retry.attempts = static_cast<int>(reader.integer("attempts", 3, 1, 100));
  retry.base_ns = reader.seconds_ns("base_s", 0.5);
  retry.throttle_base_ns = reader.seconds_ns("throttle_base_s", 1.0);
  retry.cap_ns = reader.seconds_ns("cap_s", 20.0);
  *budget_percent = static_cast<int>(reader.integer("budget_percent", 20, 0, 1'000));
  reader.finish();
  return retry;
}

// The same TLS files give the same object: the transport compares configurations by pointer.
std::shared_ptr<const http::TlsConfig> read_tls(SpecReader& reader) {
  static auto* known = new std::map<std::string, std::shared_ptr<const http::TlsConfig>>;
  http::TlsConfig tls;
  tls.ca_file = reader.text("ca_file");
  tls.ca_dir = reader.text("ca_dir");
  tls.client_cert = reader.text("client_cert");
  tls.client_key = reader.text("client_key");
  tls.verify = reader.flag("verify", true);
  if (tls.ca_file.empty() && tls.ca_dir.empty() && tls.client_cert.empty() &&
      tls.client_key.empty() && tls.verify) {
    return nullptr;
  }
  auto& slot = (*known)[tls.ca_file + "\n" + tls.ca_dir + "\n" + tls.client_cert + "\n" +
                        tls.client_key + (tls.verify ? "\n1" : "\n0")];
  if (!slot) slot = std::make_shared<http::TlsConfig>(std::move(tls));
  return slot;
}

std::unique_ptr<PyRoute> read_route(const py::dict& spec) {
  SpecReader reader(spec, "route");
  auto out = std::make_unique<PyRoute>();
  auto fixed = std::make_shared<engine::Route>();
  fixed->provider = reader.text("provider");
  fixed->account = reader.text("account", "default");
  fixed->model = reader.text("model");
  fixed->operation = reader.text("operation", "chat");
  fixed->method = reader.text("method", "POST");
  fixed->url = take(http::Url::parse(reader.text("url")));
  fixed->headers = take(http::HeaderSet::make(read_header_pairs(reader)));
  fixed->tls = read_tls(reader);
  fixed->version = version_of(reader);
  fixed->proxy =
      take(http::choose_proxy(*fixed->url, reader.text("proxy"), reader.text("no_proxy"),
                              [](const char* name) -> const char* { return std::getenv(name); }));
  fixed->unix_socket = reader.text("unix_socket");
  fixed->idle_reuse_max_ns = reader.seconds_ns("idle_reuse_s", 4.0);
  fixed->service_tier = reader.text("service_tier");
  fixed->plan = reader.text("plan");
  fixed->size = reader.text("size");
  fixed->quality = reader.text("quality");
  fixed->idempotency_header = reader.text("idempotent_key_header");
  fixed->free = reader.flag("free", false);
  fixed->keep_headers = reader.flag("keep_headers", false);
  fixed->lenient = reader.flag("lenient", false);
  fixed->own_key = reader.flag("own_key", false);
  fixed->job = reader.flag("job", false);
  const py::dict dialect = reader.table("dialect");
  if (!dialect.empty()) fixed->dialect = take(engine::Dialect::compile(read_dialect(dialect)));
  const py::dict sheet = reader.table("sheet");
  if (!sheet.empty()) fixed->sheet = read_sheet(sheet);
  out->parts.group_name =
      reader.text("group", fixed->provider + "/" + fixed->account + "/" + fixed->model);
  const py::dict limits = reader.table("limits");
  out->parts.limited = !limits.empty();
  if (out->parts.limited) out->parts.group = read_limits(limits);
  out->parts.breaker = read_breaker(reader.table("breaker"), &out->parts.breaker_enabled);
  fixed->retry = read_retry(reader.table("retry"), &out->parts.retry_budget_percent);
  out->schema_version = std::to_string(reader.integer("schema_version", 1, 0, INT32_MAX));
  reader.get("default_cache_ttl_s");
  reader.finish();
  out->parts.fixed = std::move(fixed);
  return out;
}

std::unique_ptr<PyRoute> add_route(EngineHost&, const py::dict& spec) {
  try {
    return read_route(spec);
  } catch (const py::cast_error&) {
    raise("ConfigError", "a route's dialect, sheet or headers hold a value of the wrong type");
  } catch (py::error_already_set& error) {
    if (!error.matches(PyExc_KeyError) && !error.matches(PyExc_TypeError)) throw;
    raise("ConfigError",
          std::string("a route's table lacks a key or holds a wrong type: ") + error.what());
  }
}

py::dict balance_of(PyScope& scope) {
  const auto handle = scope.get();
  const auto engine = scope.host->engine();
  StatusOr<ScopeBalance> balance = ScopeBalance{};
  {
    const ReleaseGil unlocked;
    balance = engine->ledger().balance(*handle);
  }
  const ScopeBalance found = take(std::move(balance));
  py::dict out;
  out["limit"] = found.limit == kNanousdMax ? py::object(py::none()) : py::int_(found.limit);
  out["settled"] = found.settled;
  out["held"] = found.held;
  out["in_doubt"] = found.in_doubt;
  out["blocked"] = found.blocked;
  return out;
}

std::unique_ptr<PyScope> open_scope(std::shared_ptr<EngineHost> host, std::string kind,
                                    std::string key, std::optional<std::int64_t> limit_nanousd,
                                    const std::string& period, std::string time_zone,
                                    double rolling_s, bool replace, bool keep, std::string unit) {
  auto out = std::make_unique<PyScope>();
  out->host = std::move(host);
  out->config.kind = std::move(kind);
  out->config.key = std::move(key);
  out->config.limit = limit_nanousd;
  out->config.period = take(period_from_name(period));
  out->config.time_zone = std::move(time_zone);
  out->config.rolling_ns = static_cast<std::int64_t>(rolling_s * 1e9);
  out->config.replace = replace;
  out->config.keep = keep;
  out->config.unit = std::move(unit);
  out->get();
  out->config.replace = false;  // once: a fork's child only enters it again, as it then is
  out->config.keep = true;
  return out;
}

py::dict quote_dict(EngineHost& host, PyRoute& route, const py::object& body,
                    std::int64_t max_output_tokens, std::int64_t prompt_allowance,
                    const py::object& reachable, std::int64_t expected_prompt_tokens,
                    std::int64_t expected_output_tokens, double timeout_s,
                    const py::object& other_units, std::int64_t prompt_tokens_max) {
  std::string json;
  if (!body.is_none() && !write_body(json, body.ptr())) throw py::error_already_set();
  BoundArguments bound;
  bound.max_output_tokens = max_output_tokens;
  bound.prompt_allowance = prompt_allowance;
  bound.reachable = buckets_of(reachable);
  bound.expected_prompt_tokens = expected_prompt_tokens;
  bound.expected_output_tokens = expected_output_tokens;
  bound.timeout_ns = static_cast<std::int64_t>(timeout_s * 1e9);
  bound.prompt_tokens_max = prompt_tokens_max;
  if (!other_units.is_none()) bound.other_units = read_units(other_units).units;
  (void)host;
  const cost::Quote quote =
      quote_of(*route.parts.fixed, json.size(), bound, SystemClock::instance().wall_ns());
  const auto bytes = static_cast<std::int64_t>(json.size());
  py::dict out;
  out["low"] = quote.low;
  out["expected"] = quote.expected;
  out["ceiling"] = quote.ceiling;
  out["price_version"] = std::string(quote.row_version);
  out["prompt_tokens_max"] = prompt_tokens_max >= 0 ? prompt_tokens_max : bytes + prompt_allowance;
  return out;
}

py::dict breaker_dict(EngineHost& host, const std::string& provider, const std::string& account,
                      const std::optional<std::string>& model) {
  py::dict out;
  const auto breaker = host.breaker(provider, account, model.value_or(""));
  if (!breaker) return out;
  const std::int64_t now = SystemClock::instance().monotonic_ns();
  const auto snapshot = breaker->snapshot(now);
  out["state"] = std::string(limits::breaker_state_name(snapshot.state));
  out["consecutive_failures"] = snapshot.consecutive_failures;
  out["opened"] = snapshot.opened;
  out["refused"] = snapshot.refused;
  out["probes"] = snapshot.probes;
  out["retry_in_s"] =
      snapshot.retry_at_ns == 0 || snapshot.retry_at_ns == INT64_MAX
          ? 0.0
          : static_cast<double>(std::max<std::int64_t>(snapshot.retry_at_ns - now, 0)) / 1e9;
  return out;
}

void reset_breaker(EngineHost& host, const std::string& provider, const std::string& account,
                   const std::optional<std::string>& model, const std::string& state) {
  const auto breaker = host.breaker(provider, account, model.value_or(""));
  if (!breaker) raise("InvalidRequest", "no breaker of that name has been used yet");
  if (state == "forced_open") return breaker->force_open();
  if (state == "disabled") return breaker->disable();
  if (state != "closed") raise("InvalidRequest", "state is 'closed', 'forced_open' or 'disabled'");
  breaker->reset(SystemClock::instance().monotonic_ns());
}

py::dict limits_dict(EngineHost& host, const std::string& name) {
  py::dict out;
  const auto group = host.group(name);
  if (!group) return out;
  const auto snapshot = group->limits->snapshot(SystemClock::instance().monotonic_ns());
  for (std::size_t i = 0; i < limits::kDimensions; ++i) {
    if (!snapshot.dimensions[i].limited) continue;
    py::dict dimension;
    dimension["available"] = snapshot.dimensions[i].available;
    dimension["capacity"] = snapshot.dimensions[i].capacity;
    out[std::string(dimension_name(static_cast<limits::Dimension>(i))).c_str()] = dimension;
  }
  out["in_flight"] = snapshot.in_flight;
  out["waiting"] = snapshot.waiting;
  out["granted"] = snapshot.granted;
  out["queued"] = snapshot.queued;
  return out;
}

py::dict stats_dict(EngineHost& host) {
  py::dict out;
  const auto engine = host.engine_if_started();
  if (!engine) return out;
  const engine::Counters& c = engine->counters();
  const auto put = [&](const char* name, const engine::Counters::Count& count) {
    out[name] = count.load();
  };
  put("submitted", c.submitted);
  put("completed", c.completed);
  put("succeeded", c.succeeded);
  put("failed", c.failed);
  put("attempts", c.attempts);
  put("retries", c.retries);
  put("refused_by_budget", c.refused_by_budget);
  put("refused_by_limits", c.refused_by_limits);
  put("refused_by_breaker", c.refused_by_breaker);
  put("in_doubt", c.in_doubt);
  put("overruns", c.overruns);
  put("cache_hits", c.cache_hits);
  put("cache_misses", c.cache_misses);
  put("flights_joined", c.flights_joined);
  put("breaker_opened", c.breaker_opened);
  put("turns", c.turns);
  put("turns_by_loops", c.turns_by_loops);
  put("wakes", c.wakes);
  put("streamed_deltas", c.streamed_deltas);
  pause_for_fork();
  const http::TransportStats wire = engine->transport_stats();
  out["connections_opened"] = wire.connections_opened;
  out["connections_open"] = wire.connections_open;
  out["connections_reused"] = wire.connections_reused;
  out["transfers_in_flight"] = wire.in_flight;
  out["transfers_queued"] = wire.queued;
  out["resends_stopped"] = wire.resends_stopped;
  out["watchdog_runs"] = wire.watchdog_runs;
  out["watchdog_progress"] = wire.watchdog_progress;
  out["events_dropped"] = engine->events().dropped();
  const store::LedgerStats ledger = engine->ledger().stats();
  out["ledger_commits"] = ledger.commits;
  out["ledger_admitted"] = ledger.admitted;
  out["ledger_orphan_finishes"] = ledger.orphan_finishes;
  out["ledger_quarantined"] = ledger.quarantined;
  out["ledger_recovered"] = ledger.recovered;
  return out;
}

bool flush(EngineHost& host, double timeout_s) {
  const auto engine = host.engine_if_started();
  if (!engine) return true;
  const ReleaseGil unlocked;
  return engine->ledger().flush(static_cast<std::int64_t>(timeout_s * 1e9)).ok();
}

}  // namespace

void init_engine(py::module_& module) {
  py::class_<PyRoute, std::unique_ptr<PyRoute>> route(
      module, "Route", "Everything about a call that stays the same.");
  held_type<PyRoute>(route);
  py::class_<PyScope, std::unique_ptr<PyScope>> scope(module, "Scope",
                                                      "A budget scope in the ledger.");
  held_type<PyScope>(scope);
  scope.def_property_readonly("name", [](PyScope& s) { return s.get()->name(); })
      .def_property_readonly("kind", [](const PyScope& s) { return s.config.kind; })
      .def_property_readonly("unit", [](const PyScope& s) { return s.config.unit; })
      .def_property_readonly("limit_nanousd", [](const PyScope& s) { return s.config.limit; })
      .def("balance", &balance_of, "limit, settled, held, in_doubt (nano-dollars), blocked.");
  py::class_<EngineHost, std::shared_ptr<EngineHost>> engine(
      module, "Engine", "The engine of one gateway; it starts with its first use.");
  engine.def(py::init<const py::dict&>(), py::arg("options"))
      .def("open_scope", &open_scope, py::arg("kind"), py::arg("key"),
           py::arg("limit_nanousd") = py::none(), py::arg("period") = "none",
           py::arg("time_zone") = "UTC", py::arg("rolling_s") = 0.0, py::arg("replace") = false,
           py::arg("keep") = false, py::arg("unit") = "nanousd")
      .def("add_route", &add_route, py::arg("spec"))
      .def("quote", &quote_dict, py::arg("route"), py::arg("body"), py::kw_only(),
           py::arg("max_output_tokens") = 0, py::arg("prompt_allowance") = 0,
           py::arg("reachable_buckets") = py::tuple(), py::arg("expected_prompt_tokens") = 0,
           py::arg("expected_output_tokens") = 0, py::arg("timeout_s") = 30.0,
           py::arg("other_units") = py::none(), py::arg("prompt_tokens_max") = -1)
      .def("stats", &stats_dict)
      .def("events", &EngineHost::take_events)
      .def("set_event_callback", &EngineHost::set_event_callback, py::arg("callback").none(true))
      .def("breaker", &breaker_dict, py::arg("provider"), py::arg("account"),
           py::arg("model") = py::none())
      .def("reset_breaker", &reset_breaker, py::arg("provider"), py::arg("account"),
           py::arg("model") = py::none(), py::arg("state") = "closed")
      .def("limits", &limits_dict, py::arg("group"))
      .def("cache_clear",
           [](EngineHost& host) {
             pause_for_fork();
             if (const auto started = host.engine_if_started()) started->cache().clear();
           })
      .def("flush", &flush, py::arg("timeout_s") = 10.0)
      .def("close", &EngineHost::close, py::arg("timeout_s") = 2.0);
  init_submit(module, engine);
  init_ledger(engine);
  init_report(engine);
  after_drain = [] {
    for (EngineHost* host : std::vector<EngineHost*>(EngineHost::all())) host->pass_events();
  };
}

}  // namespace sluiceway::bindings
