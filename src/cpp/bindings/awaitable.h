// What `await call` iterates: an iterator and a future in one object, made for one wait.
//
// Model. It speaks the protocol that asyncio's and uvloop's tasks expect of a future
// (_asyncio_future_blocking, add_done_callback, get_loop, result, cancel). While it waits it stands
// in its port's `waiting`, by its call, and the port's drain resumes its task directly, inside the
// task's own context. A wait that is dropped cancels its call, and so does one that is cancelled,
// unless it is for deltas: then its stream decides. Threads: the loop's, with the GIL. Source:
// CPython's Modules/_asynciomodule.c (task_step_handle_result_impl, task_wakeup), read for 3.11
// to 3.14.
#pragma once

#include "bindings/asyncio_port.h"
#include "bindings/loop_port.h"

namespace sluiceway::bindings {

// Makes the type ready. Called once.
void init_awaitable();
// As make_awaitable(), for asyncio.
py::object new_awaitable(Awaited awaited, py::object value);
// Resumes who waited for this call and can take something now; `context` becomes the one in which a
// task runs, before it does. False: KeyboardInterrupt or SystemExit is set.
bool serve(LoopPort& port, const engine::Call& call, const PyObject*& context);
// Nobody can be resumed any more: the loop is gone or closed.
void release_waiters(LoopPort& port);

}  // namespace sluiceway::bindings
