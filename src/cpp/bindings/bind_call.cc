// Call and Delta for Python: waiting for a call, and reading how it ended.

#include <optional>

#include <pybind11/stl.h>
#include <pybind11/typing.h>
#include <structmember.h>

#include "bindings/asyncio_port.h"
#include "bindings/baton.h"
#include "bindings/errors.h"
#include "bindings/foreign_port.h"
#include "bindings/gil.h"
#include "bindings/held.h"
#include "bindings/host.h"
#include "bindings/texts.h"

namespace sluiceway::bindings {
namespace {

constexpr std::int64_t kSignalCheckNs = 100 * kNsPerMs;  // how soon Ctrl-C is seen

// --- Delta: two references, made once a piece of a stream, so it is a plain C type.
struct DeltaObject {
  PyObject_HEAD PyObject* text;
  PyObject* kind;
};
PyTypeObject* delta_type = nullptr;
PyObject* kind_text = nullptr;
PyObject* kind_reasoning = nullptr;

void delta_dealloc(PyObject* object) {
  auto* self = reinterpret_cast<DeltaObject*>(object);
  Py_XDECREF(self->text);
  Py_XDECREF(self->kind);
  PyTypeObject* type = Py_TYPE(object);
  type->tp_free(object);
  Py_DECREF(type);
}
PyObject* delta_str(PyObject* object) {
  return Py_NewRef(reinterpret_cast<DeltaObject*>(object)->text);
}
PyObject* delta_repr(PyObject* object) {
  auto* self = reinterpret_cast<DeltaObject*>(object);
  return PyUnicode_FromFormat("Delta(kind=%R, text=%R)", self->kind, self->text);
}
PyMemberDef delta_members[] = {
    {"text", T_OBJECT_EX, offsetof(DeltaObject, text), READONLY, "The piece of text."},
    {"kind", T_OBJECT_EX, offsetof(DeltaObject, kind), READONLY, "'text' or 'reasoning'."},
    {nullptr, 0, 0, 0, nullptr}};
template <typename Function>
void* as_slot(Function* function) {
  return reinterpret_cast<void*>(function);
}
PyType_Slot delta_slots[] = {{Py_tp_dealloc, as_slot(delta_dealloc)},
                             {Py_tp_str, as_slot(delta_str)},
                             {Py_tp_repr, as_slot(delta_repr)},
                             {Py_tp_members, delta_members},
                             {Py_tp_doc, const_cast<char*>("One piece of a stream.")},
                             {0, nullptr}};
PyType_Spec delta_spec = {"sluiceway._core.Delta", sizeof(DeltaObject), 0,
                          Py_TPFLAGS_DEFAULT | Py_TPFLAGS_DISALLOW_INSTANTIATION, delta_slots};

PyObject* make_delta(const engine::Delta& delta) {
  auto* self = PyObject_New(DeltaObject, delta_type);
  if (self == nullptr) throw py::error_already_set();
  self->kind = Py_NewRef(delta.reasoning ? kind_reasoning : kind_text);
  // A provider's text is JSON that was checked to be UTF-8.
  self->text = PyUnicode_DecodeUTF8(delta.text.data(), static_cast<Py_ssize_t>(delta.text.size()),
                                    "replace");
  if (self->text == nullptr) {
    Py_DECREF(self);
    throw py::error_already_set();
  }
  return reinterpret_cast<PyObject*>(self);
}

PyObject* make_bytes(const std::string& text) {
  PyObject* made = PyBytes_FromStringAndSize(text.data(), static_cast<Py_ssize_t>(text.size()));
  if (made == nullptr) throw py::error_already_set();
  return made;
}

// --- Waiting
void sleep_until_woken(PyCall& self, BlockedThread& waiter) {
  bool told = false;
  do {
    {
      const ReleaseGil unlocked;
      waiter.sleep(kSignalCheckNs);
    }
    told = waiter.leave();  // no baton is held while a handler runs
    if (PyErr_CheckSignals() != 0) {
      const py::error_already_set interrupted;
      pause_for_fork();
      self.engine->cancel(*self.call);
      throw py::error_already_set(interrupted);
    }
    check_not_inherited(*self.engine, *self.call);  // a handler may have forked
  } while (!told && !self.engine->forked() && waiter.come_back());
}

void wait(PyCall& self, bool for_deltas) {
  check_not_inherited(*self.engine, *self.call);
  if (!self.call->attach(nullptr, for_deltas)) {
    pause_for_fork();
    self.engine->uncork();  // inside a drain the engine may not have heard of it yet
    if (!wait_in_greenlet({self.engine, self.call, for_deltas})) {
      const auto waiter = std::make_shared<BlockedThread>();
      if (!self.call->attach(waiter, for_deltas)) sleep_until_woken(self, *waiter);
    }
  }
  self.host->pass_events();
}

// The two waits are the C API's methods: pybind11 keeps a stack of its own calls a thread, and a
// wait may switch to another greenlet of the same thread, which makes and leaves calls of its own.
template <bool for_deltas>
PyObject* wait_method(PyObject* object, PyObject*) {
  return guarded([&] {
    auto& self = py::handle(object).cast<PyCall&>();
    wait(self, for_deltas);
    return for_deltas ? take_deltas(*self.engine, *self.call).release().ptr() : Py_NewRef(Py_None);
  });
}
PyMethodDef wait_methods[] = {
    {"wait", wait_method<false>, METH_NOARGS,
     "wait(self: sluiceway._core.Call) -> None\n\nBlocks until the call is done."},
    {"next_events_wait", wait_method<true>, METH_NOARGS,
     "next_events_wait(self: sluiceway._core.Call) -> list\n\n"
     "Blocks for at least one delta; an empty list is the end."},
    {"next_bytes_wait", wait_method<true>, METH_NOARGS,
     "next_bytes_wait(self: sluiceway._core.Call) -> list[bytes]\n\n"
     "next_events_wait() of a byte stream."}};

bool cancel(PyCall& self) {
  if (self.call->done()) return false;
  pause_for_fork();
  self.engine->cancel(*self.call);
  return true;
}

// --- Reading
const engine::Ending& ending(const PyCall& self) {
  static const engine::Ending none;
  return self.call->done() ? self.call->ending() : none;
}
const engine::Answer& answer(const PyCall& self) {
  static const engine::Answer none;
  const auto& found = ending(self).answer;
  return found ? *found : none;
}
py::str text_of(const std::string& text) {
  return py::reinterpret_steal<py::str>(
      PyUnicode_DecodeUTF8(text.data(), static_cast<Py_ssize_t>(text.size()), "replace"));
}

using HeaderList = py::typing::List<py::typing::Tuple<py::str, py::str>>;
HeaderList header_list(const std::vector<std::pair<std::string, std::string>>& headers) {
  py::list out;
  for (const auto& [name, value] : headers) {
    out.append(py::make_tuple(header_text(name), header_text(value)));
  }
  return out;
}

py::dict usage_of(const PyCall& self) {
  py::dict out;
  const Usage& usage = answer(self).usage;
  for (std::size_t i = 0; i < kBucketCount; ++i) {
    const auto bucket = static_cast<Bucket>(i);
    if (usage.has(bucket)) out[py::str(std::string(bucket_name(bucket)))] = usage.get(bucket);
  }
  return out;
}

const char* source_name(engine::CostSource source) {
  switch (source) {
    case engine::CostSource::kProvider:
      return "provider";
    case engine::CostSource::kTable:
      return "table";
    case engine::CostSource::kEstimated:
      return "estimated";
    case engine::CostSource::kNone:
      break;
  }
  return "none";
}

const char* cache_name(engine::CacheWord word) {
  switch (word) {
    case engine::CacheWord::kMiss:
      return "miss";
    case engine::CacheWord::kHit:
      return "hit";
    case engine::CacheWord::kJoined:
      return "joined";
    case engine::CacheWord::kOff:
      break;
  }
  return "off";
}

py::list attempts_of(const PyCall& self) {
  py::list out;
  const auto& end = ending(self);
  for (const auto& attempt : end.attempts) {
    const auto& row = engine::outcome_row(attempt.failure);
    // The last one ended as the call did, which may be better known than by its class alone.
    const bool last = &attempt == &end.attempts.back();
    py::dict item;
    item["number"] = attempt.number;
    item["status_code"] = attempt.status;
    item["error_kind"] = std::string(error_kind_name(row.kind));
    item["failure"] = std::string(row.name);
    item["outcome"] = std::string(outcome_name(last ? end.outcome : row.outcome));
    item["wait_ms"] = static_cast<double>(attempt.wait_ns) / 1e6;
    item["duration_ms"] = static_cast<double>(attempt.duration_ns) / 1e6;
    item["provider_request_id"] = header_text(attempt.request_id);
    out.append(std::move(item));
  }
  return out;
}

std::optional<py::dict> budget_refusal_of(const PyCall& self) {
  const auto& refusal = ending(self).budget;
  if (!refusal) return std::nullopt;
  py::dict out;
  const ScopeBalance& b = refusal->balance;
  out["scope"] = refusal->scope;
  out["limit"] = b.limit == kNanousdMax ? py::object(py::none()) : py::int_(b.limit);
  out["settled"] = b.settled;
  out["held"] = b.held;
  out["in_doubt"] = b.in_doubt;
  out["amount"] = refusal->amount;
  out["blocked"] = b.blocked;
  return out;
}

std::optional<py::dict> limit_refusal_of(const PyCall& self) {
  const auto& refusal = ending(self).limit;
  if (!refusal) return std::nullopt;
  py::dict out;
  out["dimension"] = std::string(dimension_name(refusal->dimension));
  out["wait_s"] = refusal->wait_ns == limits::kNever ? py::object(py::none())
                                                     : py::float_(refusal->wait_ns / 1e9);
  return out;
}

std::optional<std::int64_t> cost_of(const PyCall& self) {
  const auto& end = ending(self);
  return end.cost < 0 ? std::nullopt : std::optional<std::int64_t>(end.cost);
}

std::optional<double> retry_after_of(const PyCall& self) {
  const std::int64_t ns = ending(self).retry_after_ns;
  return ns < 0 ? std::nullopt : std::optional<double>(static_cast<double>(ns) / 1e9);
}

// --- The shortest ways: what every call does goes past pybind11's dispatcher (some 0.1 us each).
py::object awaitable_of(const py::object& self) {
  const auto& call = held<PyCall>(self.ptr());
  return make_awaitable({call.engine, call.call, false}, self);
}

PyObject* await_call(PyObject* self) {
  return guarded(
      [&] { return awaitable_of(py::reinterpret_borrow<py::object>(self)).release().ptr(); });
}
bool is_ok(const PyCall& self) {
  return self.call->done() && ending(self).kind == ErrorKind::kNone;
}
PyObject* get_ok(PyObject* self, void*) {
  return guarded([&] { return PyBool_FromLong(is_ok(held<PyCall>(self))); });
}
PyObject* get_done(PyObject* self, void*) {
  return guarded([&] { return PyBool_FromLong(held<PyCall>(self).call->done()); });
}
PyObject* get_text(PyObject* self, void*) {
  return guarded([&] { return text_of(answer(held<PyCall>(self)).text).release().ptr(); });
}
PyGetSetDef short_ways[] = {{"ok", get_ok, nullptr, "Whether it is done, and well.", nullptr},
                            {"done", get_done, nullptr, "Whether it has ended.", nullptr},
                            {"text", get_text, nullptr, "The answer's text.", nullptr}};

void shorten_ways(const py::handle& call) {
  auto* type = reinterpret_cast<PyTypeObject*>(call.ptr());
  for (PyGetSetDef& way : short_ways) {
    const auto made = py::reinterpret_steal<py::object>(PyDescr_NewGetSet(type, &way));
    if (!made) throw py::error_already_set();
    py::setattr(call, way.name, made);
  }
  reinterpret_cast<PyHeapTypeObject*>(type)->as_async.am_await = await_call;
}

void add_answer(py::class_<PyCall, std::unique_ptr<PyCall>>& call) {
  call.def_property_readonly("reasoning_text",
                             [](const PyCall& s) { return text_of(answer(s).reasoning_text); })
      .def_property_readonly("finish_reason",
                             [](const PyCall& s) { return answer(s).finish_reason; })
      .def_property_readonly("cut_by_max_output", [](const PyCall& s) { return answer(s).cut; })
      .def_property_readonly("served_model", [](const PyCall& s) { return answer(s).model; })
      .def_property_readonly("response_id", [](const PyCall& s) { return answer(s).response_id; })
      .def_property_readonly("body", [](const PyCall& s) { return py::bytes(answer(s).body); })
      .def_property_readonly("headers",
                             [](const PyCall& s) { return header_list(answer(s).headers); })
      .def_property_readonly("usage", &usage_of)
      .def_property_readonly(
          "head",
          [](const PyCall& s) -> std::optional<std::pair<int, HeaderList>> {
            const auto head = s.call->head();
            if (!head) return std::nullopt;
            return std::pair(head->status, header_list(head->headers));
          },
          "Of a byte stream: (status, headers) once its first bytes are there.");
}

void add_ending(py::class_<PyCall, std::unique_ptr<PyCall>>& call) {
  call.def_property_readonly(
          "error_kind",
          [](const PyCall& s) { return std::string(error_kind_name(ending(s).kind)); })
      .def_property_readonly(
          "outcome", [](const PyCall& s) { return std::string(outcome_name(ending(s).outcome)); })
      .def_property_readonly("message", [](const PyCall& s) { return text_of(ending(s).message); })
      .def_property_readonly("call_id",
                             [](const PyCall& s) { return s.call->request.call_id.text(); })
      .def_property_readonly("intent_id",
                             [](const PyCall& s) { return s.call->request.intent_id.text(); })
      .def_property_readonly("status_code", [](const PyCall& s) { return ending(s).status; })
      .def_property_readonly("provider_request_id",
                             [](const PyCall& s) { return header_text(ending(s).request_id); })
      .def_property_readonly("cost_nanousd", &cost_of)
      .def_property_readonly("cost_source",
                             [](const PyCall& s) { return source_name(ending(s).cost_source); })
      .def_property_readonly("ceiling_nanousd",
                             [](const PyCall& s) { return s.call->request.ceiling; })
      .def_property_readonly("held_nanousd", [](const PyCall& s) { return ending(s).held; })
      .def_property_readonly("price_version",
                             [](const PyCall& s) {
                               const auto& settled = ending(s).price_version;
                               return settled.empty() ? s.call->request.price_version : settled;
                             })
      .def_property_readonly("cache", [](const PyCall& s) { return cache_name(ending(s).cache); })
      .def_property_readonly(
          "latency_ms",
          [](const PyCall& s) { return static_cast<double>(ending(s).latency_ns) / 1e6; })
      .def_property_readonly(
          "queue_ms", [](const PyCall& s) { return static_cast<double>(ending(s).queue_ns) / 1e6; })
      .def_property_readonly("retry_after_s", &retry_after_of)
      .def_property_readonly("error_type",
                             [](const PyCall& s) { return text_of(ending(s).error.type); })
      .def_property_readonly("error_code",
                             [](const PyCall& s) { return text_of(ending(s).error.code); })
      .def_property_readonly("attempts", &attempts_of)
      .def_property_readonly("budget_refusal", &budget_refusal_of)
      .def_property_readonly("limit_refusal", &limit_refusal_of)
      .def_property_readonly("duplicate_call_id",
                             [](const PyCall& s) -> std::optional<std::string> {
                               const Id& earlier = ending(s).earlier_call;
                               if (earlier.empty()) return std::nullopt;
                               return earlier.text();
                             });
}

}  // namespace

py::list take_deltas(engine::Engine& engine, engine::Call& call) {
  bool resume = false;
  const auto deltas = call.take(&resume);
  if (resume) {
    pause_for_fork();
    engine.resume(call);
  }
  py::list out(deltas.size());
  const bool bytes = call.request.byte_stream;
  for (std::size_t i = 0; i < deltas.size(); ++i) {
    PyList_SET_ITEM(out.ptr(), static_cast<Py_ssize_t>(i),
                    bytes ? make_bytes(deltas[i].text) : make_delta(deltas[i]));
  }
  return out;
}

void init_call(py::module_& module) {
  delta_type = reinterpret_cast<PyTypeObject*>(PyType_FromSpec(&delta_spec));
  kind_text = PyUnicode_InternFromString("text");
  kind_reasoning = PyUnicode_InternFromString("reasoning");
  if (delta_type == nullptr || kind_text == nullptr || kind_reasoning == nullptr) {
    throw py::error_already_set();
  }
  module.attr("Delta") = py::handle(reinterpret_cast<PyObject*>(delta_type));
  py::class_<PyCall, std::unique_ptr<PyCall>> call(
      module, "Call", "One hop of a call, from submission to its end.");
  for (PyMethodDef& method : wait_methods) {
    auto* type = reinterpret_cast<PyTypeObject*>(call.ptr());
    const auto made = py::reinterpret_steal<py::object>(PyDescr_NewMethod(type, &method));
    if (!made) throw py::error_already_set();
    py::setattr(call, method.ml_name, made);
  }
  call.def("__await__", [](const py::object& self) { return awaitable_of(self); })
      .def("cancel", &cancel, "Asks the engine to stop it; false when it had ended.")
      .def(
          "next_events",
          [](PyCall& self) { return make_awaitable({self.engine, self.call, true}, py::none()); },
          "Awaitable of at least one delta; an empty list is the end.")
      .def(
          "next_bytes",
          [](PyCall& self) { return make_awaitable({self.engine, self.call, true}, py::none()); },
          "next_events() of a byte stream.");
  add_ending(call);
  add_answer(call);
  held_type<PyCall>(call);
  shorten_ways(call);
}

}  // namespace sluiceway::bindings
