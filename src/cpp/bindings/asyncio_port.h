// The crossing to asyncio: one eventfd a running loop, drained in batches, with awaitables of our
// own.
//
// Model. The engine pushes finished calls into a LoopPort's queue and rings its eventfd only when
// the queue was empty. The loop's reader callback empties the bell first, then the queue, and
// resumes each waiting task directly, inside the task's own context, instead of through call_soon;
// whatever those tasks submit meanwhile rings the engine once, at the end (Cork). What the tasks
// wait on is in awaitable.h.
//
// A task may run a loop inside of its step: another one, or, where nest_asyncio has patched it
// (notebooks, debuggers), the same one again. What the drain keeps back would wait until that loop
// ends, so it is given up as soon as this is seen: by a drain inside of a drain, which the bell is
// rung for where the loop is patched, or by an await of another task than the resumed one.
//
// Bounds: at most kBatchMax tasks are resumed in one callback, then the bell is rung again, so that
// other callbacks of the loop run. Threads: push and flush on the engine thread; everything else on
// the loop's, with the GIL.
#pragma once

#include <pybind11/pybind11.h>

#include <functional>
#include <memory>

#include "engine/engine.h"

namespace sluiceway::bindings {

namespace py = pybind11;
class LoopPort;

// What an awaitable waits for, and what it gives.
struct Awaited {
  std::shared_ptr<engine::Engine> engine;
  std::shared_ptr<engine::Call> call;
  bool for_deltas = false;
};

// Makes the awaitable types ready and puts them into the module. Called once.
void init_asyncio_port(py::module_& module);
// An object whose __await__ completes when the call is done (value: `value`), or, for deltas, when
// there is one (value: make_deltas()).
py::object make_awaitable(Awaited awaited, py::object value);
// The port of the loop that runs on this thread, made on first use, for one who is about to wait
// for something of `engine`. Null: RuntimeError is set.
std::shared_ptr<LoopPort> running_port(engine::Engine& engine);
// Raises ForkedError for a call of this process's parent: its locks may be held for ever.
void check_not_inherited(const engine::Engine& engine, const engine::Call& call);
inline void check_not_inherited(const Awaited& awaited) {
  check_not_inherited(*awaited.engine, *awaited.call);
}
// In a fork's child: inherited ports are forgotten and their descriptors closed.
void forget_ports_in_child();
// Called after a drain or a blocking wait, with the GIL: passes events on. Set by module.cc.
extern std::function<void()> after_drain;
// A list of Delta objects of what the call has for its reader.
py::list take_deltas(engine::Engine& engine, engine::Call& call);

}  // namespace sluiceway::bindings
