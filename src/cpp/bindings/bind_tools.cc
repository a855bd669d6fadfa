// Small functions of the core for Python: canonical JSON, cache keys, ids, calendar windows,
// versions, the outcome table.

#include <pybind11/stl.h>

#include <charconv>

#include "base/calendar.h"
#include "bindings/errors.h"
#include "bindings/held.h"
#include "bindings/host.h"
#include "bindings/py_writer.h"
#include "http/curl_transport.h"

namespace sluiceway::bindings {
namespace {

py::bytes canonical_json(const py::object& value) {
  std::string out;
  if (!write_canonical(out, value.ptr())) throw py::error_already_set();
  return py::bytes(out);
}

py::bytes json_bytes(const py::object& value) {
  std::string out;
  if (!write_body(out, value.ptr())) throw py::error_already_set();
  return py::bytes(out);
}

std::string_view text_argument(PyObject* value) {
  Py_ssize_t size = 0;
  const char* const data = PyUnicode_AsUTF8AndSize(value, &size);  // TypeError for anything else
  if (data == nullptr) throw py::error_already_set();
  return {data, static_cast<std::size_t>(size)};
}

// Past pybind11's dispatcher, which would take a tenth of the time of a 2 kB request's key.
PyObject* cache_key_fast(PyObject*, PyObject* const* args, Py_ssize_t count, PyObject* names) {
  return guarded([&] {
    if (count != 6 || names != nullptr) {
      throw py::type_error(
          "cache_key(tenant, schema_version, provider, model, operation, request)");
    }
    if (!PyLong_Check(args[1])) throw py::type_error("schema_version is an integer");
    const long long version = PyLong_AsLongLong(args[1]);
    if (version == -1 && PyErr_Occurred() != nullptr) throw py::error_already_set();
    char digits[24];
    const char* const end = std::to_chars(digits, digits + sizeof digits, version).ptr;
    const std::string* canonical = canonical_text(args[5]);
    if (canonical == nullptr) throw py::error_already_set();
    const auto key =
        cache::cache_key({.tenant = text_argument(args[0]),
                          .schema_version = {digits, static_cast<std::size_t>(end - digits)},
                          .provider = text_argument(args[2]),
                          .model = text_argument(args[3]),
                          .operation = text_argument(args[4]),
                          .canonical_request = *canonical});
    return PyBytes_FromStringAndSize(reinterpret_cast<const char*>(key.data()),
                                     static_cast<Py_ssize_t>(key.size()));
  });
}

PyMethodDef cache_key_function = {
    "cache_key", fast_function(cache_key_fast), METH_FASTCALL | METH_KEYWORDS,
    "cache_key(tenant: str, schema_version: int, provider: str, model: str, operation: str,"
    " request: typing.Any, /) -> bytes\n\nThe SHA-256 of an answer's identity, 32 bytes."};

std::string new_id() {
  static auto* random = new SystemRandom;
  static auto* ids = new IdGenerator(*random);
  return ids->next(SystemClock::instance().wall_ns()).text();
}

std::string window_key(const std::string& period, double unix_s, const std::string& time_zone) {
  const auto zone = take(TimeZone::load(time_zone));
  return sluiceway::window_key(take(period_from_name(period)),
                               static_cast<std::int64_t>(unix_s * 1e9), zone);
}

py::list outcome_rows() {
  static constexpr const char* kBooks[] = {"settle", "void", "in_doubt"};
  static constexpr const char* kBreaker[] = {"success", "failure", "ignored", "account"};
  py::list out;
  for (const auto& row : engine::outcome_table()) {
    py::dict item;
    item["failure"] = std::string(row.name);
    item["error_kind"] = std::string(error_kind_name(row.kind));
    item["outcome"] = std::string(outcome_name(row.outcome));
    item["books"] = kBooks[static_cast<std::size_t>(row.books)];
    item["resend"] = row.resend;
    item["throttled"] = row.throttled;
    item["breaker"] = kBreaker[static_cast<std::size_t>(row.breaker)];
    out.append(std::move(item));
  }
  return out;
}

py::list status_rows() {
  static constexpr const char* kBodies[] = {"any", "own", "foreign"};
  py::list out;
  for (const auto& row : engine::status_table()) {
    py::dict item;
    item["low"] = row.low;
    item["high"] = row.high;
    item["body"] = kBodies[static_cast<std::size_t>(row.body)];
    item["failure"] = std::string(engine::outcome_row(row.failure).name);
    out.append(std::move(item));
  }
  return out;
}

py::list fault_rows() {
  py::list out;
  for (const auto& row : engine::fault_table()) {
    py::dict item;
    item["fault"] = std::string(row.name);
    item["whole"] = std::string(engine::outcome_row(row.whole).name);
    item["streamed"] = std::string(engine::outcome_row(row.streamed).name);
    out.append(std::move(item));
  }
  return out;
}

py::dict core_versions() {
  py::dict out;
  out["libcurl"] = http::curl_version_text();
  out["compiler"] = __VERSION__;
  return out;
}

}  // namespace

void init_tools(py::module_& module) {
  module.def("canonical_json", &canonical_json, py::arg("value"), "RFC 8785 canonical JSON.");
  module.def("json_bytes", &json_bytes, py::arg("value"), "Compact JSON in the order of the keys.");
  PyObject* const cache_key = PyCFunction_NewEx(&cache_key_function, nullptr, nullptr);
  if (cache_key == nullptr) throw py::error_already_set();
  module.add_object("cache_key", py::reinterpret_steal<py::object>(cache_key));
  module.def("new_id", &new_id, "A UUIDv7.");
  module.def("window_key", &window_key, py::arg("period"), py::arg("unix_s"), py::arg("time_zone"));
  module.def("outcome_rows", &outcome_rows, "The table of what may happen to an attempt.");
  module.def("status_rows", &status_rows, "The class of each status, the first that fits.");
  module.def("fault_rows", &fault_rows, "The class that each fault of a server comes to.");
  module.def("core_versions", &core_versions);
  module.def("_close_all", &EngineHost::close_all);
  module.def("_before_fork", &EngineHost::before_fork);
  module.def("_after_fork_in_parent", &EngineHost::after_fork_in_parent);
  module.def("_after_fork_in_child", &EngineHost::after_fork_in_child);
}

}  // namespace sluiceway::bindings
