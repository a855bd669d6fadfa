// The module sluiceway._core: the compiled core behind the Python package. Importing it starts
// nothing.
#include <pybind11/pybind11.h>
#include <pybind11/stl.h>

#include "bindings/asyncio_port.h"
#include "bindings/foreign_port.h"
#include "bindings/host.h"

// Behind the door below.
PYBIND11_MODULE(_core_of_main, module) {
  namespace bindings = sluiceway::bindings;
  module.doc() = "The compiled core of sluiceway.";
  bindings::init_asyncio_port(module);
  bindings::init_foreign_port(module);
  bindings::init_call(module);
  bindings::init_limits(module);
  bindings::init_engine(module);
  bindings::init_quote(module);
  bindings::init_tools(module);
  pybind11::module_::import("atexit").attr("register")(module.attr("_close_all"));
  // Forks: see host.h. The hooks do nothing until an engine has started.
  const auto register_at_fork = pybind11::module_::import("os").attr("register_at_fork");
  register_at_fork(pybind11::arg("before") = module.attr("_before_fork"),
                   pybind11::arg("after_in_parent") = module.attr("_after_fork_in_parent"),
                   pybind11::arg("after_in_child") = module.attr("_after_fork_in_child"));
}

// pybind11 waits for ever where a subinterpreter shares the main one's GIL (mod_wsgi; Python 3.11's
// are all so), and only Python 3.12's isolated ones refuse by themselves: the answer comes first.
// NOLINTNEXTLINE(bugprone-reserved-identifier,readability-identifier-naming): Python looks for it
extern "C" PYBIND11_EXPORT PyObject* PyInit__core() {
  if (PyInterpreterState_Get() == PyInterpreterState_Main()) return PyInit__core_of_main();
  PyErr_SetString(PyExc_ImportError,
                  "sluiceway runs in the main interpreter only, and this is a subinterpreter; use "
                  "threads or processes (mod_wsgi: WSGIApplicationGroup %{GLOBAL})");
  return nullptr;
}
