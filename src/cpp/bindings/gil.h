// The interpreter's lock, seen from here only: the engine thread never takes it.
//
// A daemon thread that asks for the lock while the interpreter ends does not get it: CPython before
// 3.14 calls pthread_exit(), which unwinds the stack and would run our destructors without the lock
// (or meet one that nothing may leave, and abort). Such a thread is stopped here instead and sleeps
// until the process is gone, as CPython 3.14 does it. Source: CPython, Python/ceval_gil.c,
// take_gil; gh-87135.
#pragma once

#include <pybind11/pybind11.h>

#include <cxxabi.h>
#include <unistd.h>

#include <utility>

namespace sluiceway::bindings {

namespace py = pybind11;

// What `work` returns. For everything that takes the lock, or runs Python code, which does so
// now and then.
template <typename Work>
auto or_sleep_for_ever(Work&& work) {
  try {
    return std::forward<Work>(work)();
  } catch (const abi::__forced_unwind&) {
    for (;;) ::pause();
  }
}

// Lets other threads run Python while it lives.
class ReleaseGil {
 public:
  ReleaseGil() : thread_(PyEval_SaveThread()) {}
  ~ReleaseGil() {
    or_sleep_for_ever([this] { PyEval_RestoreThread(thread_); });
  }
  ReleaseGil(const ReleaseGil&) = delete;
  ReleaseGil& operator=(const ReleaseGil&) = delete;

 private:
  PyThreadState* thread_;
};

}  // namespace sluiceway::bindings
