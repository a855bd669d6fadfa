// Python's arguments of a call: see arguments.h.
#include <pybind11/stl.h>

#include "bindings/arguments.h"

#include <algorithm>
#include <string>
#include <tuple>
#include <unordered_map>
#include <utility>

#include "bindings/errors.h"
#include "bindings/held.h"

namespace sluiceway::bindings {
namespace {

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

// A whole number of at least `least`: a negative bound would lower a ceiling below the truth.
std::int64_t integer_of(const Arguments& given, Name name, std::int64_t fallback,
                        std::int64_t least, std::int64_t most = INT64_MAX) {
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
BoundArguments read_bound(const Arguments& given, std::shared_ptr<const Usage>& units) {
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
    if (counted.any()) units = std::make_shared<const Usage>(counted);
  }
  return bound;
}

}  // namespace

void intern_names() {
  for (std::size_t i = 0; i < kNames; ++i) {
    interned[i] = PyUnicode_InternFromString(kNameTexts[i]);
    if (interned[i] == nullptr) throw py::error_already_set();
  }
}

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

Terms read_terms(const Arguments& given) {
  Terms terms;
  if (given[kStream] != nullptr) {
    const int truth = PyObject_IsTrue(given[kStream]);
    if (truth < 0) throw py::error_already_set();
    terms.stream = truth != 0;
  }
  if (given[kByteStream] == Py_True) terms.stream = terms.byte_stream = true;
  terms.tenant = view_of(given[kTenant], "default");
  terms.bound = read_bound(given, terms.counted);
  terms.connect_timeout_ns = span_of(given[kConnectTimeout], kConnectTimeout, 10 * kNsPerSecond);
  terms.read_timeout_ns = span_of(given[kReadTimeout], kReadTimeout, 0);
  terms.write_timeout_ns = span_of(given[kWriteTimeout], kWriteTimeout, 0);
  terms.pool_timeout_ns = span_of(given[kPoolTimeout], kPoolTimeout, 0);
  // A file is not read twice, and its name says nothing.
  if (given[kParts] == nullptr || given[kParts] == Py_None) {
    terms.cache_ttl_ns = span_of(given[kCacheTtl], kCacheTtl, 0);
  }
  terms.attempts = static_cast<int>(integer_of(given, kAttempts, 0, 0, 100));
  terms.priority = static_cast<std::uint8_t>(
      std::clamp<std::int64_t>(integer_of(given, kPriority, 1, 1), 0, 255));
  terms.cap = integer_of(given, kCap, -1, -1);
  return terms;
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

void read_own(const Arguments& given, engine::CallRequest& request) {
  read_identity(given, request);
  read_scopes(given[kScopes], request);
  read_headers(given[kExtraHeaders], request);
  read_parts(given[kParts], request);
  read_on_exceed(given[kOnExceed], request);
}

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

}  // namespace sluiceway::bindings
