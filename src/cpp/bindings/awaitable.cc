// The type behind `await call`: see awaitable.h.
#include "bindings/awaitable.h"

#include <memory>
#include <utility>

#include "bindings/errors.h"
#include "bindings/gil.h"
#include "bindings/host.h"
#include "bindings/loop_port.h"

namespace sluiceway::bindings {
namespace {

enum class Phase : std::uint8_t { kNew, kWaiting, kReady, kCancelled };

// Iterator and future in one; lives from __await__ to the end of the wait.
struct Awaitable {
  PyObject_HEAD Awaited awaited;
  PyObject* value;     // what the await gives; for deltas made when it ends
  PyObject* callback;  // the task's wake-up
  PyObject* context;   // the task's context
  PyObject* message;   // of the cancellation
  LoopPort* port;      // while it stands in the port's `waiting`
  Awaitable* next;     // another that waits there for the same call
  Phase phase;
  bool blocking;
};

PyTypeObject* awaitable_type = nullptr;
PyObject* cancelled_error = nullptr;  // asyncio's

Awaitable* as_awaitable(PyObject* object) { return reinterpret_cast<Awaitable*>(object); }

// Puts it into the port's list.
void await_in(LoopPort& port, Awaitable* self) {
  auto* object = Py_NewRef(reinterpret_cast<PyObject*>(self));
  const auto [it, first] = port.waiting.try_emplace(self->awaited.call.get(), object);
  self->next = first ? nullptr : as_awaitable(std::exchange(it->second, object));
  self->port = &port;
}

// Takes it out of its port's list. The call may still announce itself to the port: nobody is found
// then.
void forget_waiter(Awaitable* self) {
  LoopPort* port = std::exchange(self->port, nullptr);
  if (port == nullptr) return;
  const auto it = port->waiting.find(self->awaited.call.get());
  Awaitable* others = std::exchange(self->next, nullptr);
  if (as_awaitable(it->second) != self) {
    Awaitable* before = as_awaitable(it->second);
    while (before->next != self) before = before->next;
    before->next = others;
  } else if (others != nullptr) {
    it->second = reinterpret_cast<PyObject*>(others);
  } else {
    port->waiting.erase(it);
  }
  Py_DECREF(self);
}

void drop_task(Awaitable* self) {
  Py_CLEAR(self->callback);
  Py_CLEAR(self->context);
}

// Calls the task's wake-up inside the task's context. False: KeyboardInterrupt or SystemExit is
// set.
bool resume(Awaitable* self, const PyObject*& current) {
  PyObject* callback = std::exchange(self->callback, nullptr);
  PyObject* context = std::exchange(self->context, nullptr);
  if (callback == nullptr) {
    Py_XDECREF(context);
    return true;
  }
  const bool has_context = context != nullptr && context != Py_None;
  const bool entered = has_context && PyContext_Enter(context) == 0;
  if (has_context && !entered) PyErr_Clear();  // it is entered already: run inside it
  current = PyThreadState_Get()->context;
  PyObject* result = or_sleep_for_ever(
      [&] { return PyObject_CallOneArg(callback, reinterpret_cast<PyObject*>(self)); });
  bool ok = true;
  if (result == nullptr) {
    if (PyErr_ExceptionMatches(PyExc_Exception)) {
      PyErr_WriteUnraisable(callback);
    } else {
      ok = false;
    }
  }
  Py_XDECREF(result);
  if (entered) {
    PyObject *type = nullptr, *error = nullptr, *trace = nullptr;
    PyErr_Fetch(&type, &error, &trace);
    PyContext_Exit(context);
    PyErr_Restore(type, error, trace);
  }
  Py_XDECREF(context);
  Py_DECREF(callback);
  return ok;
}

PyObject* finish_wait(Awaitable* self) {
  self->phase = Phase::kReady;
  if (self->awaited.for_deltas) {
    py::list deltas = take_deltas(*self->awaited.engine, *self->awaited.call);
    Py_XSETREF(self->value, deltas.release().ptr());
  }
  if (self->value == nullptr || self->value == Py_None) return nullptr;  // StopIteration()
  PyObject* stop = PyObject_CallOneArg(PyExc_StopIteration, self->value);
  if (stop == nullptr) return nullptr;
  PyErr_SetObject(PyExc_StopIteration, stop);
  Py_DECREF(stop);
  return nullptr;
}

PyObject* next_step(Awaitable* self) {
  if (self->phase == Phase::kCancelled) {
    PyErr_SetObject(cancelled_error, self->message);
    return nullptr;
  }
  if (self->phase == Phase::kReady) return finish_wait(self);
  if (self->phase == Phase::kWaiting) {
    PyErr_SetString(PyExc_RuntimeError, "await was resumed before its call had something to give");
    return nullptr;
  }
  auto& call = *self->awaited.call;
  check_not_inherited(self->awaited);
  if (call.attach(nullptr, self->awaited.for_deltas)) return finish_wait(self);
  const std::shared_ptr<LoopPort> port = running_port(*self->awaited.engine);
  if (port == nullptr) return nullptr;
  port->know(self->awaited.engine);
  await_in(*port, self);
  if (call.attach(port, self->awaited.for_deltas)) {
    forget_waiter(self);
    return finish_wait(self);
  }
  self->phase = Phase::kWaiting;
  self->blocking = true;
  return Py_NewRef(reinterpret_cast<PyObject*>(self));
}

PyObject* awaitable_next(PyObject* object) {
  return guarded([&] { return next_step(as_awaitable(object)); });
}

PyObject* awaitable_await(PyObject* object) { return Py_NewRef(object); }

void awaitable_dealloc(PyObject* object) {
  Awaitable* self = as_awaitable(object);
  PyObject_GC_UnTrack(object);
  // Dropped while waiting: nobody can take the answer any more.
  if (self->phase == Phase::kWaiting) {
    pause_for_fork();
    self->awaited.engine->cancel(*self->awaited.call);
  }
  std::destroy_at(&self->awaited);
  drop_task(self);
  Py_CLEAR(self->value);
  Py_CLEAR(self->message);
  PyTypeObject* type = Py_TYPE(object);
  type->tp_free(object);
  Py_DECREF(type);
}

int awaitable_traverse(PyObject* object, visitproc visit, void* arg) {
  Awaitable* self = as_awaitable(object);
  Py_VISIT(Py_TYPE(object));
  Py_VISIT(self->value);
  Py_VISIT(self->callback);
  Py_VISIT(self->context);
  Py_VISIT(self->message);
  return 0;
}

int awaitable_clear(PyObject* object) {
  drop_task(as_awaitable(object));
  return 0;
}

PyObject* add_done_callback(PyObject* object, PyObject* const* args, Py_ssize_t count,
                            PyObject* names) {
  Awaitable* self = as_awaitable(object);
  if (count < 1 || self->callback != nullptr) {
    PyErr_SetString(PyExc_TypeError, "this awaitable serves one task");
    return nullptr;
  }
  self->callback = Py_NewRef(args[0]);
  if (names != nullptr && PyTuple_GET_SIZE(names) == 1) {
    self->context = Py_NewRef(args[count]);
  } else {
    self->context = PyContext_CopyCurrent();
  }
  Py_RETURN_NONE;
}

PyObject* remove_done_callback(PyObject* object, PyObject* callback) {
  Awaitable* self = as_awaitable(object);
  const int same =
      self->callback == nullptr ? 0 : PyObject_RichCompareBool(self->callback, callback, Py_EQ);
  if (same < 0) return nullptr;
  if (same != 0) {
    Py_CLEAR(self->callback);
    Py_CLEAR(self->context);
  }
  return PyLong_FromLong(same);
}

PyObject* awaitable_cancel(PyObject* object, PyObject* const* args, Py_ssize_t count,
                           PyObject* names) {
  Awaitable* self = as_awaitable(object);
  if (self->phase != Phase::kWaiting) Py_RETURN_FALSE;
  const Py_ssize_t given = count + (names == nullptr ? 0 : PyTuple_GET_SIZE(names));
  Py_XSETREF(self->message, given > 0 ? Py_NewRef(args[0]) : nullptr);
  self->phase = Phase::kCancelled;
  PyObject* keep = Py_NewRef(object);
  const auto loop = py::reinterpret_steal<py::object>(
      self->port == nullptr ? nullptr : self->port->new_loop_reference());
  forget_waiter(self);
  if (!self->awaited.for_deltas) {
    pause_for_fork();
    self->awaited.engine->cancel(*self->awaited.call);
  }
  PyObject* done = nullptr;
  if (self->callback != nullptr && loop) {
    const py::object soon =
        py::reinterpret_steal<py::object>(PyObject_GetAttrString(loop.ptr(), "call_soon"));
    const py::object arguments =
        py::reinterpret_steal<py::object>(PyTuple_Pack(2, self->callback, object));
    const py::dict named;
    if (self->context != nullptr) named["context"] = py::handle(self->context);
    done = soon && arguments ? PyObject_Call(soon.ptr(), arguments.ptr(), named.ptr()) : nullptr;
    if (done == nullptr) {
      Py_DECREF(keep);
      return nullptr;
    }
  }
  Py_XDECREF(done);
  drop_task(self);
  Py_DECREF(keep);
  Py_RETURN_TRUE;
}

PyObject* awaitable_result(PyObject* object, PyObject*) {
  Awaitable* self = as_awaitable(object);
  if (self->phase == Phase::kCancelled) {
    PyErr_SetObject(cancelled_error, self->message);
    return nullptr;
  }
  Py_RETURN_NONE;
}

PyObject* awaitable_done(PyObject* object, PyObject*) {
  const Phase phase = as_awaitable(object)->phase;
  return PyBool_FromLong(phase == Phase::kReady || phase == Phase::kCancelled);
}

PyObject* awaitable_cancelled(PyObject* object, PyObject*) {
  return PyBool_FromLong(as_awaitable(object)->phase == Phase::kCancelled);
}

PyObject* awaitable_loop(PyObject* object, PyObject*) {
  const LoopPort* port = as_awaitable(object)->port;
  PyObject* loop = port == nullptr ? nullptr : port->new_loop_reference();
  return loop == nullptr ? Py_NewRef(Py_None) : loop;
}

// None until a task waits: asyncio.isfuture() then takes it for a plain awaitable and wraps it.
PyObject* get_blocking(PyObject* object, void*) {
  Awaitable* self = as_awaitable(object);
  if (self->phase == Phase::kNew) Py_RETURN_NONE;
  return PyBool_FromLong(self->blocking);
}

int set_blocking(PyObject* object, PyObject* value, void*) {
  const int truth = value == nullptr ? -1 : PyObject_IsTrue(value);
  if (truth < 0) return -1;
  as_awaitable(object)->blocking = truth != 0;
  return 0;
}

template <typename Function>
PyCFunction as_method(Function* function) {
  return reinterpret_cast<PyCFunction>(reinterpret_cast<void (*)()>(function));
}

PyMethodDef awaitable_methods[] = {
    {"add_done_callback", as_method(add_done_callback), METH_FASTCALL | METH_KEYWORDS, nullptr},
    {"remove_done_callback", remove_done_callback, METH_O, nullptr},
    {"cancel", as_method(awaitable_cancel), METH_FASTCALL | METH_KEYWORDS, nullptr},
    {"result", awaitable_result, METH_NOARGS, nullptr},
    {"exception", awaitable_result, METH_NOARGS, nullptr},
    {"done", awaitable_done, METH_NOARGS, nullptr},
    {"cancelled", awaitable_cancelled, METH_NOARGS, nullptr},
    {"get_loop", awaitable_loop, METH_NOARGS, nullptr},
    {nullptr, nullptr, 0, nullptr}};

PyGetSetDef awaitable_getset[] = {
    {"_asyncio_future_blocking", get_blocking, set_blocking, nullptr, nullptr},
    {nullptr, nullptr, nullptr, nullptr, nullptr}};

template <typename Function>
void* as_slot(Function* function) {
  return reinterpret_cast<void*>(function);
}

PyType_Slot awaitable_slots[] = {{Py_tp_dealloc, as_slot(awaitable_dealloc)},
                                 {Py_tp_traverse, as_slot(awaitable_traverse)},
                                 {Py_tp_clear, as_slot(awaitable_clear)},
                                 {Py_tp_iter, as_slot(PyObject_SelfIter)},
                                 {Py_tp_iternext, as_slot(awaitable_next)},
                                 {Py_am_await, as_slot(awaitable_await)},
                                 {Py_tp_methods, awaitable_methods},
                                 {Py_tp_getset, awaitable_getset},
                                 {0, nullptr}};

PyType_Spec awaitable_spec = {
    "sluiceway._core._Awaitable", sizeof(Awaitable), 0,
    Py_TPFLAGS_DEFAULT | Py_TPFLAGS_HAVE_GC | Py_TPFLAGS_DISALLOW_INSTANTIATION, awaitable_slots};

}  // namespace

void init_awaitable() {
  awaitable_type = reinterpret_cast<PyTypeObject*>(PyType_FromSpec(&awaitable_spec));
  if (awaitable_type == nullptr) throw py::error_already_set();
}

py::object new_awaitable(Awaited awaited, py::object value) {
  if (cancelled_error == nullptr) {  // when first awaited: importing sluiceway imports no asyncio
    const py::module_ exceptions = py::module_::import("asyncio.exceptions");
    cancelled_error = py::object(exceptions.attr("CancelledError")).release().ptr();
  }
  Awaitable* self = PyObject_GC_New(Awaitable, awaitable_type);
  if (self == nullptr) throw py::error_already_set();
  std::construct_at(&self->awaited, std::move(awaited));
  self->value = value.release().ptr();
  self->callback = self->context = self->message = nullptr;
  self->port = nullptr;
  self->next = nullptr;
  self->phase = Phase::kNew;
  self->blocking = false;
  PyObject_GC_Track(reinterpret_cast<PyObject*>(self));
  return py::reinterpret_steal<py::object>(reinterpret_cast<PyObject*>(self));
}

void release_waiters(LoopPort& port) {
  const auto waiting = std::exchange(port.waiting, {});
  for (const auto& [call, object] : waiting) {
    for (Awaitable* self = as_awaitable(object); self != nullptr;) {
      self->port = nullptr;
      Awaitable* next = std::exchange(self->next, nullptr);
      Py_DECREF(self);
      self = next;
    }
  }
}

bool serve(LoopPort& port, const engine::Call& call, const PyObject*& context) {
  const auto it = port.waiting.find(&call);
  if (it == port.waiting.end()) return true;
  const bool done = call.done();
  Awaitable *ready = nullptr, *later = nullptr;  // later: waits for the end
  for (Awaitable* self = as_awaitable(it->second); self != nullptr;) {
    Awaitable*& list = done || self->awaited.for_deltas ? ready : later;
    Awaitable* next = std::exchange(self->next, list);
    list = self;
    self = next;
  }
  if (later == nullptr) {
    port.waiting.erase(it);
  } else {
    it->second = reinterpret_cast<PyObject*>(later);
  }
  // All of them leave the list before the first task runs: it may wait anew, or cancel another.
  for (Awaitable* self = ready; self != nullptr; self = self->next) {
    self->port = nullptr;
    self->phase = Phase::kReady;
  }
  bool ok = true;
  while (ready != nullptr) {
    Awaitable* self = ready;
    ready = std::exchange(self->next, nullptr);
    ok = resume(self, context) && ok;
    Py_DECREF(self);
  }
  return ok;
}

}  // namespace sluiceway::bindings
