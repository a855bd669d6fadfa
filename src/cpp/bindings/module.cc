// The module sluiceway._core: the compiled core behind the Python package. Importing it starts
// nothing.
#include <pybind11/pybind11.h>
#include <pybind11/stl.h>

#include "bindings/asyncio_port.h"
#include "bindings/host.h"

PYBIND11_MODULE(_core, module) {
  namespace bindings = sluiceway::bindings;
  module.doc() = "The compiled core of sluiceway.";
  bindings::init_asyncio_port(module);
  bindings::init_call(module);
  bindings::init_limits(module);
  bindings::init_engine(module);
  bindings::init_tools(module);
  pybind11::module_::import("atexit").attr("register")(module.attr("_close_all"));
  // Forks: see host.h. The hooks do nothing until an engine has started.
  const auto register_at_fork = pybind11::module_::import("os").attr("register_at_fork");
  register_at_fork(pybind11::arg("before") = module.attr("_before_fork"),
                   pybind11::arg("after_in_parent") = module.attr("_after_fork_in_parent"),
                   pybind11::arg("after_in_child") = module.attr("_after_fork_in_child"));
}
