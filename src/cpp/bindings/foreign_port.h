// Waiting in hosts whose tasks are neither threads nor asyncio's: trio's tasks, gevent's greenlets.
//
// Model. What such a host needs is little: a descriptor that its loop can wait for, and which calls
// it was rung for. A ForeignPort is a LoopPort (queue and eventfd, rung only when the queue was
// empty) that Python code reads; a ForeignWait is one wait for one call. The code that knows the
// host is Python, sluiceway/integrations/trio.py and gevent.py, imported here when a wait begins in
// such a host (or with the gateway); nothing here imports a host itself. A process that has neither
// of them imported pays one look into sys.modules a wait.
//
// Bounds: an eventfd a loop, a queue entry a call that has something to take. Threads: with the
// GIL; the engine pushes into the port without it. Source: trio 0.35 (trio.lowlevel, "Low-level
// wakeups"), gevent 26.9 (gevent.hub, gevent.monkey), documentation read 2026-11-22.
#pragma once

#include <pybind11/pybind11.h>

#include "bindings/asyncio_port.h"

namespace sluiceway::bindings {

void init_foreign_port(py::module_& module);
// Imports what waits in gevent's greenlets, where gevent is here, before there are several threads
// that would: gevent patches the locks of imports, too, and they can hang between native threads
// (seen in 3 of 240 processes whose first calls began in five threads of a pool).
void prepare_for_hosts();
// Inside a task of trio: an awaitable of its own kind (for the end of a call: its iterator), whose
// value is `value`, or the deltas. Elsewhere: a null object.
py::object foreign_awaitable(const Awaited& awaited, const py::object& value);
// Inside a greenlet of a patched gevent: waits there, while other greenlets run, and returns true.
// Elsewhere returns false at once. What ends the wait early (a kill, a timeout, Ctrl-C) cancels the
// call and is raised.
bool wait_in_greenlet(const Awaited& awaited);
// In a fork's child: inherited ports are forgotten and their descriptors closed.
void forget_foreign_ports_in_child();

}  // namespace sluiceway::bindings
