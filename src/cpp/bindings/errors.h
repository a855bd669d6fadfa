// Status to Python exception: the one place where a room's error becomes a class of
// sluiceway/errors.py.
//
// The classes are looked up by name when one is raised, so that importing the module costs nothing.
// With the GIL.
#pragma once

#include <pybind11/pybind11.h>

#include <exception>
#include <string_view>

#include "base/status.h"

namespace sluiceway::bindings {

namespace py = pybind11;

// Sets the exception `name` of sluiceway.errors with `message` and throws error_already_set.
[[noreturn]] void raise(std::string_view name, std::string_view message);
// The class for a status of the ledger or of the engine's start.
[[noreturn]] void raise_status(const Status& status);
inline void check(const Status& status) {
  if (!status.ok()) raise_status(status);
}
template <typename T>
T take(StatusOr<T> value) {
  if (!value.ok()) raise_status(value.status());
  return *std::move(value);
}

// What pybind11's dispatcher does for a method of the C API that goes past it: `work` gives an
// object, or its exception is set in Python and null is returned.
template <typename Work>
PyObject* guarded(const Work& work) {
  try {
    return work();
  } catch (py::error_already_set& error) {
    error.restore();
  } catch (const py::builtin_exception& error) {
    error.set_error();
  } catch (const std::exception& error) {
    PyErr_SetString(PyExc_RuntimeError, error.what());
  }
  return nullptr;
}

}  // namespace sluiceway::bindings
