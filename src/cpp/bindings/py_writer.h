// Walks Python objects into JSON: the request body as it is sent, and the canonical form that the
// cache key is made of.
//
// Model. Exact JSON types only: None, bool, int, float, str, list, tuple, dict with str keys (and
// their subclasses). The body keeps the order of keys; the canonical form (RFC 8785) sorts them by
// UTF-16 code units and writes numbers as ECMAScript does. Bounds: depth kDepthMax; no recursion
// into anything else. Errors are Python exceptions already set: TypeError (another type),
// ValueError (NaN, infinity, a lone surrogate, too deep), OverflowError (an integer beyond 2^53 in
// the canonical form). Threads: with the GIL.
#pragma once

#include <Python.h>

#include <string>

namespace sluiceway::bindings {

constexpr int kDepthMax = 256;

// Appends; false with a Python exception set.
bool write_body(std::string& out, PyObject* value);
bool write_canonical(std::string& out, PyObject* value);

// The canonical form in this thread's own buffer, good until the next call; null with a Python
// exception set. For keys: their text is hashed and dropped, so it need not grow anew each time.
const std::string* canonical_text(PyObject* value);

}  // namespace sluiceway::bindings
