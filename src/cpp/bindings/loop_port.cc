// A loop's queue and bell: see loop_port.h.
#include "bindings/loop_port.h"

#include <sys/eventfd.h>
#include <unistd.h>

#include <iterator>
#include <utility>

namespace sluiceway::bindings {

LoopPort::LoopPort() : fd_(eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK)) {}

LoopPort::~LoopPort() {
  close_fd();
  // The last owner may be the engine thread, which has no GIL: then nobody can be waiting (the
  // loop's handle releases its waiters first, in release_waiters of asyncio_port.cc).
}

PyObject* LoopPort::new_loop_reference() const {
  if (loop_ref == nullptr) return nullptr;
#if PY_VERSION_HEX >= 0x030D0000
  PyObject* loop = nullptr;
  return PyWeakref_GetRef(loop_ref, &loop) == 1 ? loop : nullptr;
#else
  PyObject* loop = PyWeakref_GetObject(loop_ref);
  return loop == nullptr || loop == Py_None ? nullptr : Py_NewRef(loop);
#endif
}

void LoopPort::abandon_in_child() {
  if (fd_ >= 0) ::close(std::exchange(fd_, -1));  // no lock: the parent's engine may have held it
}

void LoopPort::close_fd() {
  const std::lock_guard<std::mutex> lock(mutex_);  // the engine may be ringing
  if (fd_ >= 0) ::close(std::exchange(fd_, -1));
}

void LoopPort::push(std::shared_ptr<engine::Call> call) {
  const std::lock_guard<std::mutex> lock(mutex_);
  if (queue_.empty()) ring_.store(true);
  queue_.push_back(std::move(call));
}

void LoopPort::flush() {
  if (ring_.exchange(false)) ring();
}

void LoopPort::ring() {
  const std::uint64_t one = 1;
  const std::lock_guard<std::mutex> lock(mutex_);
  if (fd_ < 0) return;                             // closed with its loop
  if (::write(fd_, &one, sizeof one) < 0) return;  // full: it rings already
}

std::vector<std::shared_ptr<engine::Call>> LoopPort::take() {
  std::uint64_t count = 0;
  if (::read(fd_, &count, sizeof count) < 0) count = 0;  // a spurious wake-up; the queue decides
  const std::lock_guard<std::mutex> lock(mutex_);
  return std::exchange(queue_, {});
}

void LoopPort::put_back(std::vector<std::shared_ptr<engine::Call>> calls, std::size_t from) {
  {
    const std::lock_guard<std::mutex> lock(mutex_);
    queue_.insert(queue_.begin(),
                  std::make_move_iterator(calls.begin() + static_cast<std::ptrdiff_t>(from)),
                  std::make_move_iterator(calls.end()));
  }
  ring();
}

}  // namespace sluiceway::bindings
