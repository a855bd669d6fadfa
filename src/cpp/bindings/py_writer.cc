// Python objects to JSON: see py_writer.h.
#include "bindings/py_writer.h"

#include <absl/container/inlined_vector.h>

#include <algorithm>
#include <cmath>
#include <string_view>
#include <utility>

#include "cache/canonical_json.h"

namespace sluiceway::bindings {
namespace {

// A buffer that one large request has made larger is given back.
constexpr std::size_t kKeptBytes = std::size_t{1} << 20;

bool utf8_of(PyObject* text, std::string_view* out) {
  Py_ssize_t size = 0;
  const char* data = PyUnicode_AsUTF8AndSize(text, &size);  // cached inside the str
  if (data == nullptr) {
    PyErr_Clear();
    PyErr_SetString(PyExc_ValueError,
                    "text holds a lone surrogate, which is no valid Unicode: it cannot be sent");
    return false;
  }
  *out = {data, static_cast<std::size_t>(size)};
  return true;
}

class Writer {
 public:
  Writer(std::string& out, bool canonical) : out_(out), canonical_(canonical) {}

  bool write(PyObject* value, int depth) {
    if (depth > kDepthMax) return fail(PyExc_ValueError, "the value is nested too deeply");
    if (PyUnicode_Check(value)) return text(value);
    if (PyDict_Check(value)) return canonical_ ? sorted_dict(value, depth) : dict(value, depth);
    if (PyList_Check(value) || PyTuple_Check(value)) return sequence(value, depth);
    if (value == Py_None) return put("null");
    if (value == Py_True) return put("true");
    if (value == Py_False) return put("false");
    if (PyLong_Check(value)) return integer(value);
    if (PyFloat_Check(value)) return real(PyFloat_AS_DOUBLE(value));
    PyErr_Format(PyExc_TypeError,
                 "%.200s is not JSON: use None, bool, int, float, str, list, tuple or dict",
                 Py_TYPE(value)->tp_name);
    return false;
  }

 private:
  bool put(std::string_view text) {
    out_.append(text);
    return true;
  }
  bool fail(PyObject* type, const char* message) {
    PyErr_SetString(type, message);
    return false;
  }
  bool text(PyObject* value) {
    std::string_view utf8;
    if (!utf8_of(value, &utf8)) return false;
    cache::write_json_string(out_, utf8);
    return true;
  }
  bool key(PyObject* value) {
    if (PyUnicode_Check(value)) return true;
    PyErr_Format(PyExc_TypeError, "JSON object keys are text, not %.200s", Py_TYPE(value)->tp_name);
    return false;
  }
  bool integer(PyObject* value) {
    int overflow = 0;
    const long long number = PyLong_AsLongLongAndOverflow(value, &overflow);
    if (number == -1 && PyErr_Occurred() != nullptr) return false;
    if (canonical_) {
      if (overflow != 0 || !cache::write_integer(out_, number)) {
        return fail(PyExc_OverflowError,
                    "an integer beyond 2^53 has no canonical JSON form (RFC 8785)");
      }
      return true;
    }
    if (overflow == 0) {
      cache::write_json_integer(out_, number);
      return true;
    }
    PyObject* digits = PyNumber_ToBase(value, 10);
    if (digits == nullptr) return false;
    std::string_view utf8;
    const bool ok = utf8_of(digits, &utf8) && put(utf8);
    Py_DECREF(digits);
    return ok;
  }
  bool real(double value) {
    if (!std::isfinite(value)) return fail(PyExc_ValueError, "NaN and infinity are not JSON");
    if (canonical_) return cache::write_double(out_, value);
    char* digits = PyOS_double_to_string(value, 'r', 0, Py_DTSF_ADD_DOT_0, nullptr);
    if (digits == nullptr) return false;
    out_ += digits;
    PyMem_Free(digits);
    return true;
  }
  bool sequence(PyObject* value, int depth) {
    out_ += '[';
    const Py_ssize_t size = PySequence_Fast_GET_SIZE(value);
    for (Py_ssize_t i = 0; i < size && i < PySequence_Fast_GET_SIZE(value); ++i) {
      if (i > 0) out_ += ',';
      if (!write(PySequence_Fast_GET_ITEM(value, i), depth + 1)) return false;
    }
    out_ += ']';
    return true;
  }
  bool dict(PyObject* value, int depth) {
    out_ += '{';
    PyObject *name = nullptr, *item = nullptr;
    Py_ssize_t at = 0;
    bool first = true;
    while (PyDict_Next(value, &at, &name, &item) != 0) {
      if (!std::exchange(first, false)) out_ += ',';
      if (!key(name) || !text(name)) return false;
      out_ += ':';
      if (!write(item, depth + 1)) return false;
    }
    out_ += '}';
    return true;
  }
  bool sorted_dict(PyObject* value, int depth) {
    absl::InlinedVector<std::pair<cache::SortKey, PyObject*>, 16> members;
    members.reserve(static_cast<std::size_t>(PyDict_GET_SIZE(value)));
    PyObject *name = nullptr, *item = nullptr;
    Py_ssize_t at = 0;
    while (PyDict_Next(value, &at, &name, &item) != 0) {
      std::string_view utf8;
      if (!key(name) || !utf8_of(name, &utf8)) return false;
      members.emplace_back(cache::SortKey(utf8), item);
    }
    std::sort(members.begin(), members.end(),
              [](const auto& a, const auto& b) { return a.first < b.first; });
    out_ += '{';
    for (std::size_t i = 0; i < members.size(); ++i) {
      if (i > 0) out_ += ',';
      cache::write_json_string(out_, members[i].first.text());
      out_ += ':';
      if (!write(members[i].second, depth + 1)) return false;
    }
    out_ += '}';
    return true;
  }

  std::string& out_;
  const bool canonical_;
};

}  // namespace

bool write_body(std::string& out, PyObject* value) { return Writer(out, false).write(value, 0); }
bool write_canonical(std::string& out, PyObject* value) {
  return Writer(out, true).write(value, 0);
}

const std::string* canonical_text(PyObject* value) {
  thread_local std::string text;
  if (text.capacity() > kKeptBytes) text = {};
  text.clear();
  return write_canonical(text, value) ? &text : nullptr;
}

}  // namespace sluiceway::bindings
