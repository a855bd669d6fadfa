// The Python half of the crossing to asyncio: see asyncio_port.h.
#include "bindings/asyncio_port.h"

#include <iterator>
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
PyObject* asyncios_own = nullptr;   // the globals of asyncio.base_events
PyObject* method_name = nullptr;    // "run_until_complete"
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

// Whether the loop can be run again by one of its own tasks. asyncio's and uvloop's refuse that;
// who allows it puts a run_until_complete of his own into the class.
bool may_nest(const py::object& loop) {
  if (!loop || asyncios_own == nullptr) return false;
  auto* type = reinterpret_cast<PyObject*>(Py_TYPE(loop.ptr()));
  const auto method = py::reinterpret_steal<py::object>(PyObject_GetAttr(type, method_name));
  if (!method) PyErr_Clear();
  return method && PyFunction_Check(method.ptr()) != 0 &&
         PyFunction_GET_GLOBALS(method.ptr()) != asyncios_own;
}

// A drain under way on this thread.
struct Drain {
  std::shared_ptr<LoopPort> port;
  py::handle handle;  // the port's
  std::vector<std::shared_ptr<engine::Call>> calls;
  std::size_t done = 0;
  const PyObject* context = nullptr;  // in which the task that was resumed last runs
  bool nests = false;
  Drain* outer = nullptr;

  // Has the loop call the port again, also from inside of this drain. The reader it has cannot be
  // called there: it has entered its context. So it gets another.
  void let_nest() {
    if (nests) return;
    const auto loop = py::reinterpret_steal<py::object>(port->new_loop_reference());
    if (!may_nest(loop)) return;
    nests = true;
    loop.attr("add_reader")(port->fd(), handle);
    port->ring();
  }
  // Puts back what was not served. The one that is being served stays.
  void put_back() {
    if (done >= calls.size()) return;
    const auto first = calls.begin() + static_cast<std::ptrdiff_t>(done);
    std::vector<std::shared_ptr<engine::Call>> rest(std::make_move_iterator(first),
                                                    std::make_move_iterator(calls.end()));
    calls.resize(done);
    port->put_back(std::move(rest), 0);
  }
};
// The innermost. What its tasks await next needs no look-up.
thread_local Drain* draining = nullptr;

bool drain(const py::handle& handle, std::shared_ptr<LoopPort> port) {
  pause_for_fork();  // what is taken may be a turn of the engine
  if (draining != nullptr) {
    for (Drain* outer = draining; outer != nullptr; outer = outer->outer) outer->put_back();
    engine::Cork::lift();
  }
  Drain self{std::move(port), handle};
  self.calls = self.port->take();
  const bool ended_any = !self.calls.empty();  // a bell may be heard twice
  if (ended_any) self.let_nest();
  bool ok = true;
  {
    const engine::Cork cork;
    self.outer = std::exchange(draining, &self);
    while (self.done < self.calls.size() && self.done < kBatchMax && ok) {
      const auto& call = *self.calls[self.done++];
      ok = serve(*self.port, call, self.context);
    }
    pause_for_fork();  // the tasks ran Python code since, and the cork's end goes into the engine
    if (draining != &self) return ok;  // a task has forked, and this is the child
    draining = self.outer;
    self.put_back();
  }
  if (ended_any) self.port->offer_turns();
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
  std::erase_if(all_ports(), [](const auto& other) { return other.expired(); });
  all_ports().push_back(port);
  return port;
}

PyObject* call_port(PyObject* self, PyObject*, PyObject*) {
  return guarded([&]() -> PyObject* {
    if (!drain(self, held<PortHandle>(self).port)) return nullptr;
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
  const py::module_ base = py::module_::import("asyncio.base_events");
  asyncios_own = py::object(base.attr("__dict__")).release().ptr();
  method_name = PyUnicode_InternFromString("run_until_complete");
}

}  // namespace

std::shared_ptr<LoopPort> running_port(engine::Engine& engine) {
  if (draining != nullptr) {
    if (draining->context == PyThreadState_Get()->context) return draining->port;
    // Not the task that was resumed: it runs another loop, or this one again, or (by an eager
    // factory) the first step of another task.
    draining->let_nest();
    pause_for_fork();
    engine.uncork();
  }
  const auto loop = py::reinterpret_steal<py::object>(PyObject_CallNoArgs(running_loop));
  if (!loop) return nullptr;
  if (!loop.is_none()) return port_of(loop.ptr());
  PyErr_SetString(PyExc_RuntimeError,
                  "no running event loop: await this in asyncio or trio, or use the blocking twin");
  return nullptr;
}

void check_not_inherited(const engine::Engine& engine, const engine::Call& call) {
  if (!engine.forked() || call.done()) return;
  raise("ForkedError",
        "the call was made before this process was forked; it goes on in the parent");
}

py::object make_awaitable(Awaited awaited, py::object value) {
  if (py::object other = foreign_awaitable(awaited, value)) return other;
  load_asyncio();
  return new_awaitable(std::move(awaited), std::move(value));
}

void forget_ports_in_child() {
  draining = nullptr;  // the forking thread's, which is the only one here
  forget_foreign_ports_in_child();
  for (const auto& weak : all_ports()) {
    if (const auto port = weak.lock()) port->abandon_in_child();
  }
  all_ports().clear();
  if (ports_by_loop != nullptr) PyObject_CallMethod(ports_by_loop, "clear", nullptr);
}

}  // namespace sluiceway::bindings
