// The C++ object inside a Python one, by the shortest way: for the few bindings that are called at
// every call. pybind11's own cast looks the type up each time (some 0.1 us).
//
//   held_type<PyRoute>(class_of_routes);              // once, where the class is made
//   PyRoute& route = held<PyRoute>(object);           // py::cast_error for anything else
//
// With the GIL. Source: pybind11, detail/common.h, `instance` (simple_layout: the value's pointer
// comes first).
#pragma once

#include <pybind11/pybind11.h>

namespace sluiceway::bindings {

namespace py = pybind11;

template <typename T>
struct HeldType {
  inline static PyTypeObject* type = nullptr;
};

template <typename T>
void held_type(const py::handle& made) {
  HeldType<T>::type = reinterpret_cast<PyTypeObject*>(made.ptr());
}

template <typename T>
T& held(PyObject* object) {
  if (Py_TYPE(object) == HeldType<T>::type) {
    auto* instance = reinterpret_cast<py::detail::instance*>(object);
    if (instance->simple_layout && instance->simple_value_holder[0] != nullptr) {
      return *static_cast<T*>(instance->simple_value_holder[0]);
    }
  }
  if (object == Py_None) throw py::cast_error("None is not what was to be given here");
  return py::handle(object).cast<T&>();
}

// A method that speaks METH_FASTCALL | METH_KEYWORDS; `definition` lives for ever.
inline void add_fast_method(const py::handle& type, PyMethodDef& definition) {
  PyObject* method = PyDescr_NewMethod(reinterpret_cast<PyTypeObject*>(type.ptr()), &definition);
  if (method == nullptr) throw py::error_already_set();
  py::setattr(type, definition.ml_name, py::reinterpret_steal<py::object>(method));
}

using FastFunction = PyObject*(PyObject*, PyObject* const*, Py_ssize_t, PyObject*);
inline PyCFunction fast_function(FastFunction* function) {
  return reinterpret_cast<PyCFunction>(reinterpret_cast<void (*)()>(function));
}

}  // namespace sluiceway::bindings
