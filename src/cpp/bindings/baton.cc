// Blocked threads, woken one at a time: see baton.h.
#include "bindings/baton.h"

#include <linux/futex.h>
#include <sys/syscall.h>
#include <time.h>
#include <unistd.h>

#include <deque>
#include <mutex>

namespace sluiceway::bindings {

struct Baton {
  std::mutex mutex;
  std::deque<std::shared_ptr<BlockedThread>> queue;
  bool held = false;  // by a thread that was woken and has not left yet

  // With the mutex: gives the baton to the first in the queue that still waits.
  void pass() {
    held = false;
    while (!queue.empty() && !held) {
      const auto next = std::move(queue.front());
      queue.pop_front();
      if (next->state_.load(std::memory_order_relaxed) != BlockedThread::kQueued) continue;
      held = true;
      next->wake();
    }
  }
};

namespace {
Baton* baton = new Baton;  // never destroyed: a thread may outlive static objects
}  // namespace

void BlockedThread::push(std::shared_ptr<engine::Call>) {}

void BlockedThread::flush() {
  const std::lock_guard<std::mutex> lock(baton->mutex);
  const std::uint32_t seen = state_.load(std::memory_order_relaxed);
  if (seen == kLeft) state_.store(kToldLate, std::memory_order_relaxed);
  if (seen != kAsleep) return;
  state_.store(kQueued, std::memory_order_relaxed);
  baton->queue.push_back(shared_from_this());
  if (!baton->held) baton->pass();
}

void BlockedThread::wake() {
  state_.store(kAwake, std::memory_order_release);
  syscall(SYS_futex, reinterpret_cast<std::uint32_t*>(&state_), FUTEX_WAKE_PRIVATE, 1, nullptr,
          nullptr, 0);
}

void BlockedThread::sleep(std::int64_t timeout_ns) {
  const timespec span{timeout_ns / 1'000'000'000, timeout_ns % 1'000'000'000};
  const std::uint32_t seen = state_.load(std::memory_order_acquire);
  if (seen == kAwake) return;
  syscall(SYS_futex, reinterpret_cast<std::uint32_t*>(&state_), FUTEX_WAIT_PRIVATE, seen, &span,
          nullptr, 0);
}

bool BlockedThread::leave() {
  const std::lock_guard<std::mutex> lock(baton->mutex);
  const std::uint32_t seen = state_.exchange(kLeft, std::memory_order_relaxed);
  if (seen == kAwake) baton->pass();
  return seen != kAsleep;
}

bool BlockedThread::come_back() {
  const std::lock_guard<std::mutex> lock(baton->mutex);
  if (state_.load(std::memory_order_relaxed) != kLeft) return false;
  state_.store(kAsleep, std::memory_order_relaxed);
  return true;
}

void forget_blocked_threads() { baton = new Baton; }

}  // namespace sluiceway::bindings
