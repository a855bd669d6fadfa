// The Python half of the crossing to asyncio: see asyncio_port.h.
#include "bindings/asyncio_port.h"

#include <memory>
#include <utility>
#include <vector>

#include "bindings/awaitable.h"
#include "bindings/errors.h"
#include "bindings/foreign_port.h"
#include "bindings/gil.h"
#include "bindings/held.h"
#include "bindings/host.h"
#include "bindings/loop_port.h"

namespace sluiceway::bindings {

std::function<void()> after_drain;

namespace {

constexpr std::size_t kBatchMax = 256;

PyObject* ports_by_loop = nullptr;  // weakref.WeakKeyDictionary: loop -> weak _LoopPort
PyObject* running_loop = nullptr;   // asyncio.events._get_running_loop
std::vector<std::weak_ptr<LoopPort>>& all_ports() {
  static auto* ports = new std::vector<std::weak_ptr<LoopPort>>;
  return *ports;
}

// The loop's own reference to its port; made once, never copied.
struct PortHandle {
  std::shared_ptr<LoopPort> port;
  explicit PortHandle(std::shared_ptr<LoopPort> its_port) : port(std::move(its_port)) {}
  ~PortHandle();
  PortHandle(const PortHandle&) = delete;
  PortHandle& operator=(const PortHandle&) = delete;
};

// The port whose drain is running on this thread: what its tasks await next needs no look-up.
thread_local std::shared_ptr<LoopPort>* draining = nullptr;

bool drain(std::shared_ptr<LoopPort> port) {
  pause_for_fork();  // what is taken may be a turn of the engine
  auto calls = port->take();
  bool ok = true;
  {
    const engine::Cork cork;
    auto* outer = std::exchange(draining, &port);
    std::size_t done = 0;
    for (; done < calls.size() && done < kBatchMax && ok; ++done) {
      ok = serve(*port, *calls[done]);
    }
    pause_for_fork();  // the tasks ran Python code since, and the cork's end goes into the engine
    draining = outer;
    if (done < calls.size()) port->put_back(std::move(calls), done);
  }
  port->offer_turns();
  if (ok && after_drain) after_drain();
  return ok;
}

// The running loop's port, made on first use.
std::shared_ptr<LoopPort> port_of(PyObject* loop) {
  const auto found = py::reinterpret_steal<py::object>(PyObject_GetItem(ports_by_loop, loop));
  if (found) {
    const py::object handle = found();  // a weak reference: the open loop holds the handle
    if (!handle.is_none()) return handle.cast<PortHandle&>().port;
    PyErr_SetString(PyExc_KeyError, "closed");
  }
  if (!PyErr_ExceptionMatches(PyExc_KeyError)) throw py::error_already_set();
  PyErr_Clear();
  auto port = std::make_shared<LoopPort>();
  if (port->fd() < 0) throw std::runtime_error("no descriptors left for the event loop's bell");
  port->loop_ref = PyWeakref_NewRef(loop, nullptr);
  if (port->loop_ref == nullptr) throw py::error_already_set();
  py::object handle = py::cast(std::make_unique<PortHandle>(port));
  py::handle(loop).attr("add_reader")(port->fd(), handle);
  if (PyObject_SetItem(ports_by_loop, loop, py::weakref(handle).ptr()) < 0) {
    throw py::error_already_set();
  }
  all_ports().push_back(port);
  return port;
}

PyObject* call_port(PyObject* self, PyObject*, PyObject*) {
  return guarded([&]() -> PyObject* {
    if (!drain(held<PortHandle>(self).port)) return nullptr;
    Py_RETURN_NONE;
  });
}

PortHandle::~PortHandle() {
  if (!port) return;
  release_waiters(*port);
  port->close_fd();
  Py_CLEAR(port->loop_ref);
}

}  // namespace

void init_asyncio_port(py::module_& module) {
  init_awaitable();
  // The loop calls it at every turn: a slot of the type, since a method by the name __call__ is
  // looked up and bound each time.
  const auto callable = [](PyHeapTypeObject* type) { type->ht_type.tp_call = call_port; };
  const py::class_<PortHandle, std::unique_ptr<PortHandle>> handle(
      module, "_LoopPort", py::custom_type_setup(callable), "A loop's bell; the loop calls it.");
  held_type<PortHandle>(handle);
}

namespace {

// asyncio is looked up when first awaited: importing sluiceway must not import it.
void load_asyncio() {
  if (running_loop != nullptr) return;
  const py::module_ events = py::module_::import("asyncio.events");
  ports_by_loop = py::module_::import("weakref").attr("WeakKeyDictionary")().release().ptr();
  running_loop = py::object(events.attr("_get_running_loop")).release().ptr();
}

}  // namespace

std::shared_ptr<LoopPort> running_port() {
  if (draining != nullptr) return *draining;
  const auto loop = py::reinterpret_steal<py::object>(PyObject_CallNoArgs(running_loop));
  if (!loop) return nullptr;
  if (!loop.is_none()) return port_of(loop.ptr());
  PyErr_SetString(PyExc_RuntimeError,
                  "no running event loop: await this in asyncio or trio, or use the blocking twin");
  return nullptr;
}

void check_not_inherited(const Awaited& awaited) {
  if (!awaited.engine->forked() || awaited.call->done()) return;
  raise("ForkedError",
        "the call was made before this process was forked; it goes on in the parent");
}

py::object make_awaitable(Awaited awaited, py::object value) {
  if (py::object other = foreign_awaitable(awaited, value)) return other;
  load_asyncio();
  return new_awaitable(std::move(awaited), std::move(value));
}

void forget_ports_in_child() {
  forget_foreign_ports_in_child();
  for (const auto& weak : all_ports()) {
    if (const auto port = weak.lock()) port->abandon_in_child();
  }
  all_ports().clear();
  if (ports_by_loop != nullptr) PyObject_CallMethod(ports_by_loop, "clear", nullptr);
}

}  // namespace sluiceway::bindings
