// The interpreter's lock, seen from here only: the engine thread never takes it.
#pragma once

#include <pybind11/pybind11.h>

namespace sluiceway::bindings {

namespace py = pybind11;
using ReleaseGil = py::gil_scoped_release;

}  // namespace sluiceway::bindings
