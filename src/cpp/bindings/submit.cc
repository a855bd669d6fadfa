// Engine.submit: see submit.h.
#include <pybind11/stl.h>

#include "bindings/submit.h"

#include <algorithm>
#include <array>
#include <optional>
#include <string>
#include <utility>

#include "bindings/arguments.h"
#include "bindings/errors.h"
#include "bindings/held.h"
#include "bindings/py_writer.h"
#include "cost/quote.h"

namespace sluiceway::bindings {
namespace {

constexpr std::size_t kBodyReservedMax = 1 << 20;

void write_request_body(PyObject* body, std::string& out) {
  if (body == Py_None) return;
  if (PyBytes_Check(body)) {
    out.assign(PyBytes_AS_STRING(body), static_cast<std::size_t>(PyBytes_GET_SIZE(body)));
    return;
  }
  if (!write_body(out, body)) throw py::error_already_set();
}

// False: this request has no canonical form and is not cached.
bool make_key(PyObject* body, const PyRoute& route, engine::CallRequest& request) {
  const std::string* canonical = PyBytes_Check(body) ? &request.body : canonical_text(body);
  if (canonical == nullptr) {
    if (PyErr_ExceptionMatches(PyExc_OverflowError) == 0) throw py::error_already_set();
    PyErr_Clear();
    return false;
  }
  const engine::Route& fixed = *request.route;
  request.cache_key = cache::cache_key({.tenant = request.tenant,
                                        .schema_version = route.schema_version,
                                        .provider = fixed.provider,
                                        .model = fixed.model,
                                        .operation = fixed.operation,
                                        .canonical_request = *canonical});
  return true;
}

void estimate_amounts(const PyRoute& route, const BoundArguments& bound,
                      engine::CallRequest& request) {
  if (!request.route->group) return;
  using limits::Dimension;
  const auto at = [&](Dimension d) -> std::int64_t& {
    return request.amounts[static_cast<std::size_t>(d)];
  };
  const auto limit = [&](Dimension d) {
    const std::int64_t most = route.parts.group.limit_per_window[static_cast<std::size_t>(d)];
    return most > 0 ? most : INT64_MAX;
  };
  const auto bytes = static_cast<std::int64_t>(request.body.size());
  const std::int64_t input =
      bound.expected_prompt_tokens > 0 ? bound.expected_prompt_tokens : (bytes + 3) / 4;
  std::int64_t output =
      bound.expected_output_tokens > 0 ? bound.expected_output_tokens : bound.max_output_tokens;
  output = std::min(output, limit(Dimension::kOutputTokens));
  at(Dimension::kRequests) = 1;
  at(Dimension::kConcurrency) = 1;
  at(Dimension::kCharacters) = bound.other_units[static_cast<std::size_t>(Bucket::kCharacters)];
  at(Dimension::kQuotaUnits) = bound.other_units[static_cast<std::size_t>(Bucket::kQuotaUnits)];
  at(Dimension::kInputTokens) = input;
  at(Dimension::kOutputTokens) = output;
  // A maximum is not a need: alone it does not make a request too large for its limit.
  at(Dimension::kTokens) =
      std::max(input, std::min(saturating_add(input, output), limit(Dimension::kTokens)));
}

// A call that ended before it began, with the cache's answer; null where there is none.
std::shared_ptr<engine::Call> cached_call(engine::Engine& engine, engine::CallRequest& request,
                                          std::int64_t now_ns) {
  auto answer = engine.look_up(request.cache_key);
  if (!answer) return nullptr;
  engine::Ending ending;
  ending.outcome = Outcome::kDone;
  ending.status = answer->status;
  ending.cost = 0;
  ending.price_version = answer->price_version;
  ending.cache = engine::CacheWord::kHit;
  ending.latency_ns = engine.clock().monotonic_ns() - now_ns;
  ending.answer = std::move(answer);
  auto call = engine::make_call(std::move(request));
  std::vector<std::shared_ptr<engine::Port>> nobody;
  call->finish(std::move(ending), nobody);
  return call;
}

// What is reserved for it: the caller's cap, else the ceiling of its price.
void set_ceiling(const Terms& terms, std::int64_t wall_ns, engine::CallRequest& request) {
  if (terms.cap >= 0) {
    request.ceiling = terms.cap;
  } else if (!request.route->free) {
    const cost::Quote quote = quote_of(*request.route, request.body.size(), terms.bound, wall_ns);
    request.ceiling = quote.ceiling;
    request.price_version = quote.row_version;
  }
}

// A call on its way: what every kind of submission begins and ends with.
struct Submission {
  EngineHost& host;
  PyRoute& route;
  const Terms& terms;
  std::shared_ptr<EngineHost> shared = host.shared_from_this();
  engine::CallRequest request;
  std::shared_ptr<engine::Engine> engine;
  std::int64_t now_ns = 0;

  Submission(EngineHost& its_host, PyRoute& its_route, const Terms& its_terms)
      : host(its_host), route(its_route), terms(its_terms) {
    request.route = host.route(route);
    engine = host.engine();
    now_ns = engine->clock().monotonic_ns();
    static_cast<engine::CallTerms&>(request) = terms;
    request.tenant = terms.tenant;
    request.tenant_number = host.tenant_number(request.tenant);
    request.labels = host.labels(route, request.tenant);
    request.intent_id = request.call_id = engine->new_id();
    request.deadline_ns = saturating_add(now_ns, terms.bound.timeout_ns);
  }

  py::object call_of(std::shared_ptr<engine::Call> call) {
    return py::cast(std::make_unique<PyCall>(engine, shared, std::move(call)));
  }

  // `body`: what the request's text was made of, for the cache's key.
  py::object send(PyObject* body) {
    pause_for_fork();  // from here to the inbox the GIL is not released
    if (request.cache_ttl_ns > 0 && !request.stream) {
      if (!make_key(body, route, request)) request.cache_ttl_ns = 0;
      auto hit = request.cache_ttl_ns > 0 ? cached_call(*engine, request, now_ns) : nullptr;
      if (hit) return call_of(std::move(hit));
    }
    set_ceiling(terms, engine->clock().wall_ns(), request);
    estimate_amounts(route, terms.bound, request);
    auto call = engine::make_call(std::move(request));
    engine->submit(call);
    return call_of(std::move(call));
  }
};

py::object submit(EngineHost& host, PyObject* route_object, PyObject* body,
                  const Arguments& given) {
  auto& route = held<PyRoute>(route_object);
  const Terms terms = read_terms(given);
  Submission made(host, route, terms);
  read_own(given, made.request);
  made.request.body.reserve(route.body_bytes);
  write_request_body(body, made.request.body);
  route.body_bytes = std::min(made.request.body.size(), kBodyReservedMax);
  return made.send(body);
}

// Entered and left by one thread, with no await between.
struct PyCork {
  std::optional<engine::Cork> cork;
  void enter() { cork.emplace(); }
};

// Options that many calls share, put in their places once.
struct PyPrepared {
  py::dict options;  // owns what `given` borrows
  Arguments given{};
  explicit PyPrepared(const py::kwargs& named) : options(py::dict(named)) {
    for (const auto& [name, value] : options) place(given, name.ptr(), value.ptr());
  }
};
// What follows the prepared options in their order; the rest goes by name.
constexpr std::array<Name, 4> kPositional = {kScopes, kMaxOutputTokens, kPromptAllowance,
                                             kReachable};

// A request that is ready but for its prompt: everything else was read, and written, once.
struct PyReady {
  py::object route;
  py::dict options;  // owns what the terms borrow
  Terms terms;
  std::string before, after;  // the body's text on both sides of the prompt

  // `body` has `marker` in the prompt's place, and nowhere else. ValueError where that is not so.
  PyReady(py::object its_route, const py::handle& body, const py::str& marker,
          const py::kwargs& named)
      : route(std::move(its_route)), options(py::dict(named)) {
    if (!py::isinstance<PyRoute>(route)) throw py::type_error("the route is not a Route");
    Arguments given{};
    for (const auto& [name, value] : options) place(given, name.ptr(), value.ptr());
    for (const Name own :
         {kScopes, kOnExceed, kIntentId, kIdempotencyKey, kExtraHeaders, kParts, kCacheTtl}) {
      if (given[own] != nullptr) throw py::type_error("Ready() takes what calls share");
    }
    terms = read_terms(given);
    std::string quoted;
    if (!write_body(before, body.ptr()) || !write_body(quoted, marker.ptr())) {
      throw py::error_already_set();
    }
    const std::size_t at = before.find(quoted);
    if (at == std::string::npos || before.find(quoted, at + 1) != std::string::npos) {
      throw py::value_error("the marker does not stand in the body once");
    }
    after = before.substr(at + quoted.size());
    before.resize(at);
  }

  void write(std::string& out, PyObject* prompt) const {
    if (!PyUnicode_Check(prompt)) throw py::type_error("the prompt is not a str");
    Py_ssize_t size = 0;
    if (PyUnicode_AsUTF8AndSize(prompt, &size) == nullptr) PyErr_Clear();  // write_body tells why
    out.reserve(before.size() + after.size() + static_cast<std::size_t>(size) + 32);
    out = before;
    if (!write_body(out, prompt)) throw py::error_already_set();
    out += after;
  }
};

// (ready, prompt, scopes): the prompt as a str, or the whole body as bytes.
py::object submit_ready(EngineHost& host, const PyReady& ready, PyObject* prompt,
                        PyObject* scopes) {
  Submission made(host, held<PyRoute>(ready.route.ptr()), ready.terms);
  read_scopes(scopes, made.request);
  if (PyBytes_Check(prompt)) {
    write_request_body(prompt, made.request.body);
  } else {
    ready.write(made.request.body, prompt);
  }
  return made.send(prompt);
}

// guarded() for a submission, which names what it was given.
template <typename Work>
PyObject* submitted(const Work& work) {
  return guarded([&] {
    try {
      return work().release().ptr();
    } catch (const py::cast_error&) {
      throw py::type_error("submit() was given a route or a value of the wrong type");
    }
  });
}

PyObject* submit_fast(PyObject* self, PyObject* const* args, Py_ssize_t count, PyObject* names) {
  return submitted([&] {
    if (count < 2 || static_cast<std::size_t>(count) > 3 + kPositional.size()) {
      throw py::type_error("submit(route, body, prepared, scopes, max_output_tokens, ...)");
    }
    Arguments given{};
    if (count > 2) given = held<PyPrepared>(args[2]).given;
    for (Py_ssize_t i = 3; i < count; ++i)
      given[kPositional[static_cast<std::size_t>(i) - 3]] = args[i];
    const Py_ssize_t named = names == nullptr ? 0 : PyTuple_GET_SIZE(names);
    for (Py_ssize_t i = 0; i < named; ++i) {
      place(given, PyTuple_GET_ITEM(names, i), args[count + i]);
    }
    return submit(held<EngineHost>(self), args[0], args[1], given);
  });
}

PyObject* submit_ready_fast(PyObject* self, PyObject* const* args, Py_ssize_t count,
                            PyObject* names) {
  return submitted([&] {
    if (count != 3 || names != nullptr) throw py::type_error("submit_ready(ready, prompt, scopes)");
    return submit_ready(held<EngineHost>(self), held<PyReady>(args[0]), args[1], args[2]);
  });
}

PyMethodDef submit_method = {
    "submit", fast_function(submit_fast), METH_FASTCALL | METH_KEYWORDS,
    "Hands one call to the engine and returns it as a Call; the arguments stand in "
    "docs/internals/core.md."};
PyMethodDef submit_ready_method = {
    "submit_ready", fast_function(submit_ready_fast), METH_FASTCALL | METH_KEYWORDS,
    "submit() of a Ready, with its prompt (str), or its whole body (bytes), and scopes."};

py::list submit_many(EngineHost& host, const py::sequence& calls) {
  py::list out;
  const engine::Cork cork;  // one bell for all
  for (const py::handle item : calls) {
    const auto entry = item.cast<py::tuple>();
    if (entry.size() != 3)
      throw py::type_error("submit_many takes (route, body, arguments) tuples");
    Arguments given{};
    for (const auto& [name, value] : entry[2].cast<py::dict>())
      place(given, name.ptr(), value.ptr());
    out.append(submit(host, entry[0].ptr(), entry[1].ptr(), given));
  }
  return out;
}

}  // namespace

cost::Quote quote_of(const engine::Route& route, std::size_t body_bytes,
                     const BoundArguments& bound, std::int64_t wall_ns) {
  const std::string name = route.provider + "/" + route.model;
  if (!route.sheet) {
    raise("UnpricedOperation", name + " has no price: add a price row, or state max_cost_usd");
  }
  if (bound.max_output_tokens < 0 || bound.prompt_allowance < 0 ||
      bound.expected_prompt_tokens < 0 || bound.expected_output_tokens < 0) {
    raise("InvalidRequest", "a bound in tokens cannot be below 0");
  }
  cost::QuoteInput input;
  input.prompt_tokens_max =
      saturating_add(static_cast<std::int64_t>(body_bytes), bound.prompt_allowance);
  if (bound.prompt_tokens_max >= 0) input.prompt_tokens_max = bound.prompt_tokens_max;
  input.output_tokens_max =
      bound.max_output_tokens > 0 ? bound.max_output_tokens : route.sheet->max_output_tokens;
  input.reachable_buckets = bound.reachable != 0 ? bound.reachable : cost::kTextBuckets;
  input.from_wall_ns = wall_ns;
  input.to_wall_ns = saturating_add(wall_ns, bound.timeout_ns);
  input.service_tier = route.service_tier;
  input.plan = route.plan;
  input.size = route.size;
  input.quality = route.quality;
  input.expected_prompt_tokens = bound.expected_prompt_tokens;
  input.expected_output_tokens = bound.expected_output_tokens;
  input.other_units_max = bound.other_units;
  const auto quote = cost::quote(*route.sheet, input);
  if (!quote.ok()) {
    raise("UnpricedOperation", name + ": " + std::string(to_std(quote.status().message())));
  }
  return *quote;
}

void init_submit(py::module_& module, py::class_<EngineHost, std::shared_ptr<EngineHost>>& engine) {
  intern_names();
  py::class_<PyPrepared> prepared(module, "Prepared", "Options of submit() that many calls share.");
  prepared.def(py::init<const py::kwargs&>());
  held_type<PyPrepared>(prepared);
  py::class_<PyReady> ready(module, "Ready", "A request that lacks nothing but its prompt.");
  ready
      .def(py::init<py::object, const py::handle&, const py::str&, const py::kwargs&>(),
           py::arg("route"), py::arg("body"), py::arg("marker"))
      .def(
          "body",
          [](const PyReady& self, const py::handle& prompt) {
            std::string out;
            self.write(out, prompt.ptr());
            return py::bytes(out);
          },
          py::arg("prompt"), "The request's text with this prompt.");
  held_type<PyReady>(ready);
  held_type<EngineHost>(engine);
  add_fast_method(engine, submit_method);
  add_fast_method(engine, submit_ready_method);
  py::class_<PyCork>(module, "Cork", "While it is entered, what is submitted is only gathered.")
      .def(py::init<>())
      .def("__enter__", &PyCork::enter)
      .def("__exit__", [](PyCork& self, const py::args&) {
        pause_for_fork();
        self.cork.reset();
      });
  engine.def("submit_many", &submit_many, py::arg("calls"),
             "Hands many (route, body, arguments) to the engine with one wake-up.");
}

}  // namespace sluiceway::bindings
