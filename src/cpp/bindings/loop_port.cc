// A loop's queue and bell: see loop_port.h.
#include "bindings/loop_port.h"

#include <sys/epoll.h>
#include <sys/eventfd.h>
#include <unistd.h>

#include <iterator>
#include <utility>

namespace sluiceway::bindings {

namespace {
// Drains that are further apart than this do not gain by their own turns what it costs to change
// over.
constexpr std::int64_t kBriskNs = kNsPerMs;
}  // namespace

LoopPort::LoopPort()
    : set_(::epoll_create1(EPOLL_CLOEXEC)), bell_(::eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK)) {
  if (set_ >= 0 && bell_ >= 0) {
    change(EPOLL_CTL_ADD, bell_);
  } else {
    close_fd();
  }
}

LoopPort::~LoopPort() {
  close_fd();
  // The last owner may be the engine thread, which has no GIL: then nobody can be waiting (the
  // loop's handle releases its waiters first, in release_waiters of awaitable.cc).
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
  // No lock: the parent's engine may have held it. The set is the parent's too and is not changed.
  close_both();
}

void LoopPort::close_fd() {
  const std::lock_guard<std::mutex> lock(mutex_);  // the engine may be ringing
  close_both();
}

void LoopPort::close_both() {
  for (int* fd : {&set_, &bell_}) {
    if (*fd >= 0) ::close(std::exchange(*fd, -1));
  }
}

void LoopPort::push(std::shared_ptr<engine::Call> call) {
  const std::lock_guard<std::mutex> lock(mutex_);
  if (queue_.empty()) ring_.store(true);
  queue_.push_back(std::move(call));
}

void LoopPort::flush() {
  // Where the queue is about to be taken, what was pushed before is in it.
  if (ring_.exchange(false) && !taking_.load()) ring();
}

void LoopPort::change(int operation, int fd) {
  epoll_event event{};
  event.events = EPOLLIN;
  event.data.fd = fd;
  ::epoll_ctl(set_, operation, fd, &event);
}

void LoopPort::watch(int fd) {
  const std::lock_guard<std::mutex> lock(mutex_);
  if (set_ >= 0) change(EPOLL_CTL_ADD, fd);
  watched_.fetch_add(1);
}

void LoopPort::ignore(int fd) {
  const std::lock_guard<std::mutex> lock(mutex_);
  watched_.fetch_sub(1);
  if (set_ >= 0) change(EPOLL_CTL_DEL, fd);
}

void LoopPort::know(const std::shared_ptr<engine::Engine>& engine) {
  for (const auto& known : engines_) {
    if (!known.owner_before(engine) && !engine.owner_before(known)) return;
  }
  std::erase_if(engines_, [](const auto& known) { return known.expired(); });
  engines_.push_back(engine);
}

void LoopPort::offer_turns() {
  const std::int64_t now = SystemClock::instance().monotonic_ns();
  const bool brisk = now - std::exchange(drained_ns_, now) < kBriskNs && !waiting.empty();
  if (!brisk) return;
  for (const auto& known : engines_) {
    if (const auto engine = known.lock()) engine->deputize(shared_from_this());
  }
}

void LoopPort::ring() {
  const std::uint64_t one = 1;
  const std::lock_guard<std::mutex> lock(mutex_);
  if (bell_ < 0) return;                             // closed with its loop
  if (::write(bell_, &one, sizeof one) < 0) return;  // full: it rings already
  rung_.store(true);
}

std::vector<std::shared_ptr<engine::Call>> LoopPort::take() {
  taking_.store(true);
  // What woke the loop is not asked: the bell is silenced if it was rung, and a deputy's turn that
  // finds nothing is as cheap as the question.
  std::uint64_t count = 0;
  if (rung_.exchange(false) && ::read(bell_, &count, sizeof count) < 0) count = 0;
  const bool turn = watched_.load() > 0;
  for (std::size_t i = 0; turn && i < engines_.size(); ++i) {
    if (const auto engine = engines_[i].lock()) engine->turn_as_deputy(*this);
  }
  taking_.store(false);
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
