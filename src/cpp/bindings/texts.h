// Text from the wire as Python's.
#pragma once

#include <string_view>

#include <pybind11/pybind11.h>

namespace sluiceway::bindings {

namespace py = pybind11;

// A header's value may hold any byte from 0x80 on (RFC 9110, 5.5): UTF-8 where it is that, else
// Latin-1, which takes everything and loses nothing.
inline py::str header_text(std::string_view text) {
  PyObject* out = PyUnicode_DecodeUTF8(text.data(), static_cast<Py_ssize_t>(text.size()), nullptr);
  if (out == nullptr) {
    PyErr_Clear();
    out = PyUnicode_DecodeLatin1(text.data(), static_cast<Py_ssize_t>(text.size()), nullptr);
  }
  if (out == nullptr) throw py::error_already_set();
  return py::reinterpret_steal<py::str>(out);
}

}  // namespace sluiceway::bindings
