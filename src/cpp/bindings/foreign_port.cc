// Ports that trio and gevent read: see foreign_port.h.
#include <pybind11/stl.h>

#include "bindings/foreign_port.h"

#include <algorithm>
#include <cstdint>
#include <utility>
#include <vector>

#include "bindings/gil.h"
#include "bindings/host.h"
#include "bindings/loop_port.h"

namespace sluiceway::bindings {
namespace {

std::vector<std::weak_ptr<LoopPort>>& all_ports() {
  static auto* ports = new std::vector<std::weak_ptr<LoopPort>>;
  return *ports;
}

// A call by a number that stays its own while somebody waits for it.
std::uintptr_t number_of(const engine::Call* call) {
  return reinterpret_cast<std::uintptr_t>(call);
}

struct ForeignPort {
  std::shared_ptr<LoopPort> port = std::make_shared<LoopPort>();

  ForeignPort() {
    if (port->fd() < 0) throw std::runtime_error("no descriptors left for the loop's bell");
    auto& ports = all_ports();
    ports.erase(std::remove_if(ports.begin(), ports.end(), [](auto& p) { return p.expired(); }),
                ports.end());
    ports.push_back(port);
  }
  ~ForeignPort() { port->close_fd(); }
  ForeignPort(const ForeignPort&) = delete;
  ForeignPort& operator=(const ForeignPort&) = delete;

  // Silences the bell. The calls that have something to take, by their numbers. Events go first: a
  // Ctrl-C in their callback leaves the queue, and the bell, as they are.
  std::vector<std::uintptr_t> take() const {
    if (after_drain) after_drain();
    std::vector<std::uintptr_t> numbers;
    for (const auto& call : port->take()) numbers.push_back(number_of(call.get()));
    return numbers;
  }
};

struct ForeignWait {
  Awaited awaited;
  py::object value;

  // 0: there is something to take. Otherwise the port gives this number once there is.
  std::uintptr_t attach(const ForeignPort& given) const {
    check_not_inherited(awaited);
    pause_for_fork();
    const bool ready = awaited.call->attach(given.port, awaited.for_deltas);
    return ready ? 0 : number_of(awaited.call.get());
  }
  void cancel() const {
    if (awaited.call->done() || awaited.engine->forked()) return;
    pause_for_fork();
    awaited.engine->cancel(*awaited.call);
  }
  py::object result() const {
    return awaited.for_deltas ? py::object(take_deltas(*awaited.engine, *awaited.call)) : value;
  }
};

// The function `name` of a module of sluiceway.integrations, looked up once.
PyObject* load(const char* module, const char* name) {
  return py::object(py::module_::import(module).attr(name)).release().ptr();
}

// Whether a module has been imported by whoever; `name` is interned on first use.
bool imported(PyObject*& interned, const char* name) {
  if (interned == nullptr) interned = PyUnicode_InternFromString(name);
  return interned != nullptr && PyDict_GetItem(PyImport_GetModuleDict(), interned) != nullptr;
}

// gevent's wait(); null where gevent is not here.
PyObject* gevent_wait() {
  static PyObject *gevent = nullptr, *wait = nullptr;
  if (wait == nullptr && imported(gevent, "gevent.monkey")) {
    wait = load("sluiceway.integrations.gevent", "wait");
  }
  return wait;
}

}  // namespace

void prepare_for_hosts() { (void)gevent_wait(); }

py::object foreign_awaitable(const Awaited& awaited, const py::object& value) {
  static PyObject *trio = nullptr, *inside = nullptr, *wait = nullptr;
  if (!imported(trio, "trio")) return {};
  if (inside == nullptr) {
    inside = load("sluiceway.integrations.trio", "in_task");
    wait = load("sluiceway.integrations.trio", "wait");
  }
  if (!py::handle(inside)().cast<bool>()) return {};
  const py::object coroutine = py::handle(wait)(ForeignWait{awaited, value});
  return awaited.for_deltas ? coroutine : py::object(coroutine.attr("__await__")());
}

bool wait_in_greenlet(const Awaited& awaited) {
  PyObject* wait = gevent_wait();
  if (wait == nullptr) return false;
  return or_sleep_for_ever(
      [&] { return py::handle(wait)(ForeignWait{awaited, py::none()}).cast<bool>(); });
}

void forget_foreign_ports_in_child() {
  for (const auto& weak : all_ports()) {
    if (const auto port = weak.lock()) port->abandon_in_child();
  }
  all_ports().clear();
}

void init_foreign_port(py::module_& module) {
  py::class_<ForeignPort, std::unique_ptr<ForeignPort>>(module, "_ForeignPort",
                                                        "A bell for a loop that is not asyncio's.")
      .def(py::init<>())
      .def_property_readonly("fd", [](const ForeignPort& self) { return self.port->fd(); })
      .def("take", &ForeignPort::take, "Silences the bell; the numbers of calls to look at.")
      .def("close", [](const ForeignPort& self) { self.port->close_fd(); });
  py::class_<ForeignWait>(module, "_ForeignWait", "One wait for one call.")
      .def("attach", &ForeignWait::attach, py::arg("port"),
           "0: there is something to take; else the number that the port will give.")
      .def("cancel", &ForeignWait::cancel)
      .def("result", &ForeignWait::result)
      .def_property_readonly("for_deltas",
                             [](const ForeignWait& self) { return self.awaited.for_deltas; });
}

}  // namespace sluiceway::bindings
