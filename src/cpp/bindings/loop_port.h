// The C++ half of the crossing to asyncio: a queue of calls that have something to take, and what
// wakes the loop for them.
//
// The loop watches one descriptor, an epoll set of our own. In it is the bell, an eventfd, which is
// rung only when the queue was empty; and, while this loop is an engine's deputy, that engine's
// set. So the engine begins and ends that without Python.
//
// Threads: push(), flush(), watch() and ignore() on any, they never touch Python; the rest on the
// loop's. See asyncio_port.h.
#pragma once

#include <Python.h>
#include <absl/container/flat_hash_map.h>

#include <atomic>
#include <memory>
#include <mutex>
#include <vector>

#include "engine/engine.h"

namespace sluiceway::bindings {

class LoopPort final : public engine::Port,
                       public engine::Deputy,
                       public std::enable_shared_from_this<LoopPort> {
 public:
  LoopPort();
  ~LoopPort() override;
  LoopPort(const LoopPort&) = delete;
  LoopPort& operator=(const LoopPort&) = delete;

  // What the loop is to watch; below zero: no descriptors left, or closed.
  int fd() const { return set_; }
  void push(std::shared_ptr<engine::Call> call) override;
  void flush() override;
  void watch(int fd) override;
  void ignore(int fd) override;

  // Silences the bell, takes the turns that are this thread's to take, takes the queue.
  std::vector<std::shared_ptr<engine::Call>> take();
  // Its calls are waited for here.
  void know(const std::shared_ptr<engine::Engine>& engine);
  // After a drain: where they come one after the other and more are waited for, becomes the deputy.
  void offer_turns();
  // Puts back what was not served, in front, and rings.
  void put_back(std::vector<std::shared_ptr<engine::Call>> calls, std::size_t from);
  void ring();
  void close_fd();
  void abandon_in_child();  // after a fork

  // The loop, by weak reference: with the GIL. Null once it is gone.
  PyObject* loop_ref = nullptr;
  PyObject* new_loop_reference() const;

  // Who waits for which call: strong references, with the GIL, on the loop's thread. The first of
  // them; it knows the others (awaitable.cc).
  absl::flat_hash_map<const engine::Call*, PyObject*> waiting;

 private:
  void change(int operation, int fd);
  void close_both();

  int set_, bell_;
  std::mutex mutex_;
  std::vector<std::shared_ptr<engine::Call>> queue_;
  std::atomic<bool> ring_{false};
  std::atomic<bool> taking_{false};  // the queue is about to be taken: no bell needed
  std::atomic<bool> rung_{false};    // the bell is to be silenced; set after it was rung
  std::atomic<int> watched_{0};      // engines whose sets stand beside the bell
  std::vector<std::weak_ptr<engine::Engine>> engines_;
  std::int64_t drained_ns_ = 0;
};

}  // namespace sluiceway::bindings
