// Status to Python exception: see errors.h.
#include <pybind11/stl.h>

#include "bindings/errors.h"

#include <string>

namespace sluiceway::bindings {

void raise(std::string_view name, std::string_view message) {
  const py::object cls = py::module_::import("sluiceway.errors").attr(std::string(name).c_str());
  PyErr_SetObject(cls.ptr(), cls(py::str(std::string(message))).ptr());
  throw py::error_already_set();
}

void raise_status(const Status& status) {
  const std::string message(to_std(status.message()));
  switch (status.code()) {
    case absl::StatusCode::kInvalidArgument:
      raise("ConfigError", message);
    case absl::StatusCode::kFailedPrecondition:
      raise("BudgetConflict", message);
    case absl::StatusCode::kNotFound:
    case absl::StatusCode::kAlreadyExists:
      raise("InvalidRequest", message);
    default:
      raise("BudgetUnavailable", message);
  }
}

}  // namespace sluiceway::bindings
