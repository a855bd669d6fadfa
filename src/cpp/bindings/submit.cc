// Engine.submit: see submit.h.
#include <pybind11/stl.h>

#include "bindings/submit.h"

#include <algorithm>
#include <array>
#include <cmath>
#include <optional>
#include <string>
#include <tuple>
#include <unordered_map>

#include "bindings/errors.h"
#include "bindings/held.h"
#include "bindings/py_writer.h"
#include "cost/quote.h"

namespace sluiceway::bindings {
namespace {

enum Name : std::size_t {
  kStream,
  kTimeout,
  kConnectTimeout,
  kReadTimeout,
  kPoolTimeout,
  kScopes,
  kOnExceed,
  kTenant,
  kIntentId,
  kIdempotencyKey,
  kMaxOutputTokens,
  kPromptAllowance,
  kReachable,
  kExpectedPrompt,
  kExpectedOutput,
  kCap,
  kCacheTtl,
  kExtraHeaders,
  kPriority,
  kAttempts,
  kOtherUnits,
  kPromptTokensMax,
  kWriteTimeout,
  kParts,
  kByteStream,
  kNames
};
constexpr std::array<const char*, kNames> kNameTexts = {"stream",
                                                        "timeout_s",
                                                        "connect_timeout_s",
                                                        "read_timeout_s",
                                                        "pool_timeout_s",
                                                        "scopes",
                                                        "on_exceed",
                                                        "tenant",
                                                        "intent_id",
                                                        "idempotency_key",
                                                        "max_output_tokens",
                                                        "prompt_allowance",
                                                        "reachable_buckets",
                                                        "expected_prompt_tokens",
                                                        "expected_output_tokens",
                                                        "cap_nanousd",
                                                        "cache_ttl_s",
                                                        "extra_headers",
                                                        "priority",
                                                        "attempts",
                                                        "other_units",
                                                        "prompt_tokens_max",
                                                        "write_timeout_s",
                                                        "parts",
                                                        "byte_stream"};
std::array<PyObject*, kNames> interned{};

constexpr std::size_t kBodyReservedMax = 1 << 20;

using Arguments = std::array<PyObject*, kNames>;  // borrowed; null where not given

void place(Arguments& out, PyObject* name, PyObject* value) {
  for (std::size_t i = 0; i < kNames; ++i) {
    if (name == interned[i]) {
      out[i] = value;
      return;
    }
  }
  if (!PyUnicode_Check(name)) throw py::type_error("submit() takes arguments named by text");
  for (std::size_t i = 0; i < kNames; ++i) {
    if (PyUnicode_Compare(name, interned[i]) == 0) {
      out[i] = value;
      return;
    }
  }
  throw py::type_error("submit() has no argument " + py::repr(name).cast<std::string>());
}

// A whole number of at least `least`: a negative bound would lower a ceiling below the truth.
std::int64_t integer_of(const std::array<PyObject*, kNames>& given, Name name,
                        std::int64_t fallback, std::int64_t least, std::int64_t most = INT64_MAX) {
  PyObject* value = given[name];
  if (value == nullptr || value == Py_None) return fallback;
  const long long number = PyLong_AsLongLong(value);
  if (number == -1 && PyErr_Occurred() != nullptr) throw py::error_already_set();
  if (number < least || number > most) {
    raise("InvalidRequest", std::string(kNameTexts[name]) + " must be between " +
                                std::to_string(least) + " and " + std::to_string(most));
  }
  return number;
}

std::int64_t span_of(PyObject* value, std::size_t name, std::int64_t fallback_ns) {
  if (value == nullptr || value == Py_None) return fallback_ns;
  const double seconds = PyFloat_AsDouble(value);
  if (seconds == -1.0 && PyErr_Occurred() != nullptr) throw py::error_already_set();
  if (!(seconds >= 0)) {
    raise("InvalidRequest",
          std::string(kNameTexts[name]) + " must be a number of seconds, 0 or more");
  }
  return seconds > 9e8 ? std::int64_t{900'000'000} * kNsPerSecond
                       : static_cast<std::int64_t>(seconds * 1e9);
}

std::string_view view_of(PyObject* value, std::string_view fallback) {
  if (value == nullptr || value == Py_None) return fallback;
  Py_ssize_t size = 0;
  const char* text = PyUnicode_AsUTF8AndSize(value, &size);
  if (text == nullptr) throw py::error_already_set();
  return {text, static_cast<std::size_t>(size)};
}

void read_scopes(PyObject* given, engine::CallRequest& request) {
  if (given == nullptr || given == Py_None) return;
  const auto sequence = py::reinterpret_steal<py::object>(PySequence_Fast(given, "scopes"));
  if (!sequence) throw py::error_already_set();
  const Py_ssize_t size = PySequence_Fast_GET_SIZE(sequence.ptr());
  request.scopes.reserve(static_cast<std::size_t>(size));
  for (Py_ssize_t i = 0; i < size; ++i) {
    PyObject* item = PySequence_Fast_GET_ITEM(sequence.ptr(), i);
    request.scopes.push_back(held<PyScope>(item).get());
  }
}

// "refuse", "wait", or a number whose bit i says that a refusal by scopes[i] waits, and bit 32 + i
// that it has to be exact.
void read_on_exceed(PyObject* given, engine::CallRequest& request) {
  if (given != nullptr && PyLong_Check(given)) {
    const std::uint64_t bits = PyLong_AsUnsignedLongLongMask(given);
    request.waiting_scopes = static_cast<std::uint32_t>(bits);
    request.exact_scopes = static_cast<std::uint32_t>(bits >> 32);
    if (request.waiting_scopes != 0) request.on_exceed = engine::OnExceed::kWait;
    return;
  }
  const std::string_view on_exceed = view_of(given, "refuse");
  if (on_exceed == "wait") {
    request.on_exceed = engine::OnExceed::kWait;
  } else if (on_exceed != "refuse") {
    raise("InvalidRequest", "on_exceed is 'refuse', 'wait' or a number of bits here");
  }
}

void read_headers(PyObject* given, engine::CallRequest& request) {
  if (given == nullptr || given == Py_None) return;
  for (const py::handle item : py::handle(given)) {
    const auto is_pair = [](py::handle h) {
      return (PyTuple_Check(h.ptr()) || PyList_Check(h.ptr())) && py::len(h) == 2 &&
             py::isinstance<py::str>(h[py::int_(0)]) && py::isinstance<py::str>(h[py::int_(1)]);
    };
    if (!is_pair(item)) throw py::type_error("extra_headers holds (name, value) pairs of text");
    request.extra_headers.push_back(
        {item[py::int_(0)].cast<std::string>(), item[py::int_(1)].cast<std::string>()});
    if (const Status status = http::check_header(request.extra_headers.back()); !status.ok()) {
      raise("InvalidRequest", to_std(status.message()));
    }
  }
}

// Parts of a body: bytes, or (descriptor, offset, length, name) of an open file.
void read_parts(PyObject* given, engine::CallRequest& request) {
  if (given == nullptr || given == Py_None) return;
  std::vector<http::BodyPart> parts;
  for (const py::handle item : py::handle(given)) {
    http::BodyPart& part = parts.emplace_back();
    if (PyBytes_Check(item.ptr())) {
      part.bytes = item.cast<std::string>();
      continue;
    }
    auto [fd, offset, length, name] =
        item.cast<std::tuple<int, std::int64_t, std::int64_t, std::string>>();
    auto file = http::BodyFile::of(fd, std::move(name));
    if (!file.ok()) raise("InvalidRequest", to_std(file.status().message()));
    part = {.file = *std::move(file), .offset = offset, .length = length};
  }
  auto body = http::Body::make(std::move(parts));
  if (!body.ok()) raise("InvalidRequest", to_std(body.status().message()));
  request.parts = *std::move(body);
  request.cache_ttl_ns = 0;  // a file is not read twice, and its name says nothing
}

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

void read_identity(const Arguments& given, engine::CallRequest& request) {
  request.intent_id = request.call_id;
  if (const std::string_view intent = view_of(given[kIntentId], ""); !intent.empty()) {
    const auto parsed = Id::parse(intent);
    if (!parsed) raise("InvalidRequest", "intent_id is not an id");
    request.intent_id = *parsed;
  }
  request.idempotency_key = view_of(given[kIdempotencyKey], "");
}

// What bounds the call in units and in time.
BoundArguments read_bound(const Arguments& given, std::int64_t now_ns,
                          engine::CallRequest& request) {
  BoundArguments bound;
  bound.max_output_tokens = integer_of(given, kMaxOutputTokens, 0, 0);
  bound.prompt_allowance = integer_of(given, kPromptAllowance, 0, 0);
  bound.prompt_tokens_max = integer_of(given, kPromptTokensMax, -1, -1);
  bound.reachable = given[kReachable] == nullptr ? 0 : buckets_of(given[kReachable]);
  bound.expected_prompt_tokens = integer_of(given, kExpectedPrompt, 0, 0);
  bound.expected_output_tokens = integer_of(given, kExpectedOutput, 0, 0);
  bound.timeout_ns = span_of(given[kTimeout], kTimeout, 30 * kNsPerSecond);
  if (given[kOtherUnits] != nullptr && given[kOtherUnits] != Py_None) {
    const Usage counted = read_units(given[kOtherUnits]);
    bound.other_units = counted.units;
    if (counted.any()) request.counted = std::make_shared<const Usage>(counted);
  }
  request.deadline_ns = saturating_add(now_ns, bound.timeout_ns);
  request.connect_timeout_ns = span_of(given[kConnectTimeout], kConnectTimeout, 10 * kNsPerSecond);
  request.read_timeout_ns = span_of(given[kReadTimeout], kReadTimeout, 0);
  request.pool_timeout_ns = span_of(given[kPoolTimeout], kPoolTimeout, 0);
  request.write_timeout_ns = span_of(given[kWriteTimeout], kWriteTimeout, 0);
  return bound;
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
  auto call = std::make_shared<engine::Call>(std::move(request));
  std::vector<std::shared_ptr<engine::Port>> nobody;
  call->finish(std::move(ending), nobody);
  return call;
}

// What is reserved for it: the caller's cap, else the ceiling of its price.
void set_ceiling(const Arguments& given, const BoundArguments& bound, std::int64_t wall_ns,
                 engine::CallRequest& request) {
  const std::int64_t cap = integer_of(given, kCap, -1, -1);
  if (cap >= 0) {
    request.ceiling = cap;
  } else if (!request.route->free) {
    const cost::Quote quote = quote_of(*request.route, request.body.size(), bound, wall_ns);
    request.ceiling = quote.ceiling;
    request.price_version = quote.row_version;
  }
}

py::object submit(EngineHost& host, PyObject* route_object, PyObject* body,
                  const Arguments& given) {
  auto& route = held<PyRoute>(route_object);
  const auto shared = host.shared_from_this();
  engine::CallRequest request;
  request.route = host.route(route);
  const auto engine = host.engine();
  const std::int64_t now_ns = engine->clock().monotonic_ns();
  if (given[kStream] != nullptr) {
    const int truth = PyObject_IsTrue(given[kStream]);
    if (truth < 0) throw py::error_already_set();
    request.stream = truth != 0;
  }
  if (given[kByteStream] == Py_True) request.stream = request.byte_stream = true;
  request.tenant = view_of(given[kTenant], "default");
  request.tenant_number = host.tenant_number(request.tenant);
  request.labels = host.labels(route, request.tenant);
  request.call_id = engine->new_id();
  read_identity(given, request);
  read_scopes(given[kScopes], request);
  read_headers(given[kExtraHeaders], request);
  request.body.reserve(route.body_bytes);
  write_request_body(body, request.body);
  route.body_bytes = std::min(request.body.size(), kBodyReservedMax);

  const BoundArguments bound = read_bound(given, now_ns, request);
  request.cache_ttl_ns = span_of(given[kCacheTtl], kCacheTtl, 0);
  read_parts(given[kParts], request);
  request.attempts = static_cast<int>(integer_of(given, kAttempts, 0, 0, 100));
  request.priority = static_cast<std::uint8_t>(
      std::clamp<std::int64_t>(integer_of(given, kPriority, 1, 1), 0, 255));
  read_on_exceed(given[kOnExceed], request);

  pause_for_fork();  // from here to the inbox the GIL is not released
  if (request.cache_ttl_ns > 0 && !request.stream) {
    if (!make_key(body, route, request)) request.cache_ttl_ns = 0;
    auto hit = request.cache_ttl_ns > 0 ? cached_call(*engine, request, now_ns) : nullptr;
    if (hit) return py::cast(std::make_unique<PyCall>(engine, shared, std::move(hit)));
  }
  set_ceiling(given, bound, engine->clock().wall_ns(), request);
  estimate_amounts(route, bound, request);
  auto call = std::make_shared<engine::Call>(std::move(request));
  engine->submit(call);
  return py::cast(std::make_unique<PyCall>(engine, shared, std::move(call)));
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

PyObject* submit_fast(PyObject* self, PyObject* const* args, Py_ssize_t count, PyObject* names) {
  try {
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
    return submit(held<EngineHost>(self), args[0], args[1], given).release().ptr();
  } catch (py::error_already_set& error) {
    error.restore();
  } catch (const py::cast_error& error) {
    PyErr_SetString(PyExc_TypeError, "submit() was given a route or a value of the wrong type");
  } catch (const py::builtin_exception& error) {
    error.set_error();
  } catch (const std::exception& error) {
    PyErr_SetString(PyExc_RuntimeError, error.what());
  }
  return nullptr;
}

PyMethodDef submit_method = {
    "submit", fast_function(submit_fast), METH_FASTCALL | METH_KEYWORDS,
    "Hands one call to the engine and returns it as a Call; the arguments stand in "
    "docs/internals/core.md."};

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

std::uint32_t buckets_of(py::handle names) {
  // The same few tuples come again and again; the cache holds a reference, so a pointer stays true.
  static auto* known = new std::unordered_map<PyObject*, std::uint32_t>;
  const auto found = known->find(names.ptr());
  if (found != known->end()) return found->second;
  std::uint32_t mask = 0;
  for (const py::handle name : names) {
    if (!py::isinstance<py::str>(name))
      throw py::type_error("reachable_buckets holds names of buckets");
    const std::size_t index = bucket_index(name.cast<std::string>());
    if (index == kBucketCount)
      raise("ConfigError", "unknown usage bucket " + name.cast<std::string>());
    mask |= 1u << index;
  }
  if (py::isinstance<py::tuple>(names) && known->size() < 256) {
    (*known)[names.inc_ref().ptr()] = mask;
  }
  return mask;
}

Usage read_units(py::handle given) {
  Usage out;
  if (!py::isinstance<py::dict>(given)) throw py::type_error("other_units is a dict of counts");
  for (const auto& [name, count] : py::reinterpret_borrow<py::dict>(given)) {
    const std::size_t index =
        py::isinstance<py::str>(name) ? bucket_index(name.cast<std::string>()) : kBucketCount;
    if (index == kBucketCount || static_cast<Bucket>(index) <= Bucket::kImageOutput) {
      raise("InvalidRequest", "other_units has a name that is no unit beside tokens");
    }
    const long long units = PyLong_AsLongLong(count.ptr());
    if (units == -1 && PyErr_Occurred() != nullptr) throw py::error_already_set();
    if (units < 0) raise("InvalidRequest", "other_units counts less than zero");
    out.set(static_cast<Bucket>(index), units);
  }
  return out;
}

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
  for (std::size_t i = 0; i < kNames; ++i) {
    interned[i] = PyUnicode_InternFromString(kNameTexts[i]);
    if (interned[i] == nullptr) throw py::error_already_set();
  }
  py::class_<PyPrepared> prepared(module, "Prepared", "Options of submit() that many calls share.");
  prepared.def(py::init<const py::kwargs&>());
  held_type<PyPrepared>(prepared);
  held_type<EngineHost>(engine);
  add_fast_method(engine, submit_method);
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
