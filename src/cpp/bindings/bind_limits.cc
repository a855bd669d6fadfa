// A token bucket and a circuit breaker for any function of the user's: the engine's own parts,
// standing alone.
#include <cmath>

#include <pybind11/stl.h>

#include "bindings/errors.h"
#include "bindings/held.h"
#include "bindings/host.h"

namespace sluiceway::bindings {
namespace {

std::int64_t now_ns() { return SystemClock::instance().monotonic_ns(); }

// A rate per second as a whole number of units in a whole number of nanoseconds, to nine digits.
limits::BucketConfig bucket_config(std::int64_t capacity, double rate_per_s) {
  if (capacity < 1 || capacity > limits::kUnitsMax) {
    raise("InvalidRequest", "capacity must be between 1 and " + std::to_string(limits::kUnitsMax));
  }
  if (!(rate_per_s >= 1e-6) || rate_per_s > 1e9) {
    raise("InvalidRequest", "rate_per_s must be between 0.000001 and 1e9");
  }
  std::int64_t period_ns = kNsPerSecond;
  double units = rate_per_s;
  while (units != std::floor(units) && period_ns < 1'000'000 * kNsPerSecond) {
    units *= 10;
    period_ns *= 10;
  }
  return {capacity, std::max<std::int64_t>(1, std::llround(units)), period_ns};
}

std::unique_ptr<limits::LimitGroup> make_bucket(std::int64_t capacity, double rate_per_s) {
  limits::LimitGroupConfig config;
  config.buckets[0] = bucket_config(capacity, rate_per_s);
  config.limit_per_window[0] = capacity;
  return std::make_unique<limits::LimitGroup>(config);
}

double try_acquire(limits::LimitGroup& bucket, std::int64_t permits) {
  if (permits < 1) raise("InvalidRequest", "permits must be 1 or more");
  limits::Amounts wanted{};
  wanted[0] = permits;
  const std::int64_t now = now_ns();
  if (bucket.try_acquire(wanted, now)) return 0.0;
  const std::int64_t wait = bucket.wait_ns(wanted, now);
  if (wait == limits::kNever) raise("RequestTooLarge", "more permits than the bucket's capacity");
  return static_cast<double>(std::max<std::int64_t>(wait, 1)) / 1e9;
}

PyObject* try_acquire_fast(PyObject* self, PyObject* const* args, Py_ssize_t count,
                           PyObject* names) {
  return guarded([&] {
    const Py_ssize_t named = names == nullptr ? 0 : PyTuple_GET_SIZE(names);
    if (count + named > 1 || (named == 1 && PyUnicode_CompareWithASCIIString(
                                                PyTuple_GET_ITEM(names, 0), "permits") != 0)) {
      throw py::type_error("try_acquire(permits=1)");
    }
    long long permits = 1;
    if (count + named == 1) {
      if (!PyLong_Check(args[0])) throw py::type_error("permits is a whole number");
      permits = PyLong_AsLongLong(args[0]);
      if (permits == -1 && PyErr_Occurred() != nullptr) throw py::error_already_set();
    }
    return PyFloat_FromDouble(try_acquire(held<limits::LimitGroup>(self), permits));
  });
}

PyMethodDef try_acquire_method = {
    "try_acquire", fast_function(try_acquire_fast), METH_FASTCALL | METH_KEYWORDS,
    "0.0 when granted, else the seconds to wait; nothing is taken then."};

struct Breaker {
  SystemRandom random;
  limits::CircuitBreaker breaker;
  explicit Breaker(const limits::BreakerConfig& config) : breaker(config, &random) {}
};

std::int64_t span_ns(const char* name, double seconds) {
  if (!(seconds >= 0) || seconds > 9e9) {
    raise("InvalidRequest", std::string(name) + " must be a number of seconds, 0 or more");
  }
  return std::llround(seconds * 1e9);
}

std::unique_ptr<Breaker> make_breaker(int failure_threshold, double recovery_timeout_s,
                                      int failure_percent, int window_calls_min, double window_s) {
  if (failure_threshold < 0) raise("InvalidRequest", "failure_threshold must be 0 (off) or more");
  if (failure_percent < 0 || failure_percent > 100) {
    raise("InvalidRequest", "failure_percent must be between 0 (off) and 100");
  }
  if (window_calls_min < 1) raise("InvalidRequest", "window_calls_min must be 1 or more");
  limits::BreakerConfig config;
  config.failure_threshold = failure_threshold;
  config.recovery_timeout_ns = span_ns("recovery_timeout_s", recovery_timeout_s);
  config.failure_percent = failure_percent;
  config.window_calls_min = window_calls_min;
  config.window_ns = span_ns("window_s", window_s);
  return std::make_unique<Breaker>(config);
}

py::tuple acquire(Breaker& self, double lease_s) {
  const std::int64_t now = now_ns();
  const auto permit =
      self.breaker.acquire(now, lease_s > 0 ? saturating_add(now, span_ns("lease_s", lease_s)) : 0);
  const double wait = permit.granted ? 0.0
                      : permit.retry_at_ns == INT64_MAX
                          ? std::numeric_limits<double>::infinity()
                          : static_cast<double>(permit.retry_at_ns - now) / 1e9;
  return py::make_tuple(permit.granted, permit.probe, permit.generation, std::max(wait, 0.0));
}

bool report(Breaker& self, bool probe, std::uint64_t generation, std::string_view result,
            double duration_s) {
  limits::CallResult word = limits::CallResult::kIgnored;
  if (result == "success") {
    word = limits::CallResult::kSuccess;
  } else if (result == "failure") {
    word = limits::CallResult::kFailure;
  } else if (result != "ignored") {
    raise("InvalidRequest", "result is 'success', 'failure' or 'ignored'");
  }
  return self.breaker.report({true, probe, generation, 0}, word, span_ns("duration_s", duration_s),
                             now_ns());
}

// The two that are called around every guarded call, without names.
PyObject* enter_fast(PyObject* self, PyObject*) {
  return guarded([&] {
    const std::int64_t now = now_ns();
    const auto permit = held<Breaker>(self).breaker.acquire(now, 0);
    return permit.granted ? Py_BuildValue("(OK)", permit.probe ? Py_True : Py_False,
                                          static_cast<unsigned long long>(permit.generation))
                          : Py_NewRef(Py_None);
  });
}

PyObject* leave_fast(PyObject* self, PyObject* const* args, Py_ssize_t count, PyObject* names) {
  return guarded([&] {
    if (count != 3 || names != nullptr || !PyTuple_Check(args[0]) ||
        PyTuple_GET_SIZE(args[0]) != 2 || !PyUnicode_Check(args[1])) {
      throw py::type_error("leave(permit, result, duration_s)");
    }
    const auto generation = PyLong_AsUnsignedLongLong(PyTuple_GET_ITEM(args[0], 1));
    if (PyErr_Occurred() != nullptr) throw py::error_already_set();
    const double duration_s = PyFloat_AsDouble(args[2]);
    if (PyErr_Occurred() != nullptr) throw py::error_already_set();
    Py_ssize_t size = 0;
    const char* result = PyUnicode_AsUTF8AndSize(args[1], &size);
    if (result == nullptr) throw py::error_already_set();
    const bool moved = report(held<Breaker>(self), PyTuple_GET_ITEM(args[0], 0) == Py_True,
                              generation, {result, static_cast<std::size_t>(size)}, duration_s);
    return PyBool_FromLong(moved);
  });
}

PyMethodDef enter_method = {
    "enter", enter_fast, METH_NOARGS,
    "enter(self: sluiceway._core.CircuitBreaker) -> tuple | None\n\n"
    "acquire() without a lease: (probe, generation), or None where it is refused."};
PyMethodDef leave_method = {"leave", fast_function(leave_fast), METH_FASTCALL | METH_KEYWORDS,
                            "report() of what enter() gave: (permit, result, duration_s)."};

}  // namespace

void init_limits(py::module_& module) {
  py::class_<limits::LimitGroup, std::unique_ptr<limits::LimitGroup>> bucket_class(
      module, "TokenBucket", "Admits at most capacity + rate * T permits in any window T.");
  held_type<limits::LimitGroup>(bucket_class);
  add_fast_method(bucket_class, try_acquire_method);
  bucket_class.def(py::init(&make_bucket), py::arg("capacity"), py::arg("rate_per_s"))
      .def_property_readonly("available", [](const limits::LimitGroup& bucket) {
        return bucket.snapshot(now_ns()).dimensions[0].available;
      });
  py::class_<Breaker, std::unique_ptr<Breaker>> breaker_class(
      module, "CircuitBreaker", "Closed, open, and one probe at a time.");
  held_type<Breaker>(breaker_class);
  add_fast_method(breaker_class, enter_method);
  add_fast_method(breaker_class, leave_method);
  breaker_class
      .def(py::init(&make_breaker), py::arg("failure_threshold") = 5,
           py::arg("recovery_timeout_s") = 0.0, py::arg("failure_percent") = 0,
           py::arg("window_calls_min") = 10, py::arg("window_s") = 60.0)
      .def("acquire", &acquire, py::arg("lease_s") = 0.0,
           "(granted, probe, generation, retry_in_s)")
      .def("report", &report, py::arg("probe"), py::arg("generation"), py::arg("result"),
           py::arg("duration_s") = 0.0, "True when the state moved.")
      .def_property_readonly(
          "state",
          [](const Breaker& self) {
            return std::string(limits::breaker_state_name(self.breaker.state(now_ns())));
          })
      .def("force_open", [](Breaker& self) { self.breaker.force_open(); })
      .def("disable", [](Breaker& self) { self.breaker.disable(); })
      .def("reset", [](Breaker& self) { self.breaker.reset(now_ns()); });
}

}  // namespace sluiceway::bindings
