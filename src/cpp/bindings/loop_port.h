// The C++ half of the crossing to asyncio: a queue of calls that have something to take, and its
// bell.
//
// push() and flush() come from the engine thread and never touch Python; drain_queue() belongs to
// the loop's thread. The bell (an eventfd) is rung only when the queue was empty. See
// asyncio_port.h.
#pragma once

#include <Python.h>

#include <atomic>
#include <memory>
#include <mutex>
#include <unordered_map>
#include <vector>

#include "engine/call.h"

namespace sluiceway::bindings {

class LoopPort final : public engine::Port {
 public:
  LoopPort();
  ~LoopPort() override;
  LoopPort(const LoopPort&) = delete;
  LoopPort& operator=(const LoopPort&) = delete;

  int fd() const { return fd_; }
  void push(std::shared_ptr<engine::Call> call) override;
  void flush() override;

  // Silences the bell and takes the queue.
  std::vector<std::shared_ptr<engine::Call>> take();
  // Puts back what was not served, in front, and rings.
  void put_back(std::vector<std::shared_ptr<engine::Call>> calls, std::size_t from);
  void ring();
  void close_fd();
  void abandon_in_child();  // after a fork

  // The loop, by weak reference: with the GIL. Null once it is gone.
  PyObject* loop_ref = nullptr;
  PyObject* new_loop_reference() const;

  // Who waits for which call: strong references, with the GIL, on the loop's thread.
  std::unordered_multimap<const engine::Call*, PyObject*> waiting;

  std::mutex& mutex() { return mutex_; }

 private:
  int fd_;
  std::mutex mutex_;
  std::vector<std::shared_ptr<engine::Call>> queue_;
  std::atomic<bool> ring_{false};
};

}  // namespace sluiceway::bindings
