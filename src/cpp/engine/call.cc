// Delivery of a call to its caller: see call.h.
#include "engine/call.h"

#include <linux/futex.h>
#include <sys/syscall.h>
#include <time.h>
#include <unistd.h>

#include <utility>

namespace sluiceway::engine {
namespace {

void futex_wait(std::atomic<std::uint32_t>& word, std::uint32_t seen, std::int64_t timeout_ns) {
  timespec span{timeout_ns / 1'000'000'000, timeout_ns % 1'000'000'000};
  syscall(SYS_futex, reinterpret_cast<std::uint32_t*>(&word), FUTEX_WAIT_PRIVATE, seen, &span,
          nullptr, 0);
}

void futex_wake_all(std::atomic<std::uint32_t>& word) {
  syscall(SYS_futex, reinterpret_cast<std::uint32_t*>(&word), FUTEX_WAKE_PRIVATE, INT32_MAX,
          nullptr, nullptr, 0);
}

}  // namespace

// Tells sleepers and listeners; who waits for the end stays listed until it comes.
void Call::announce(bool for_end, std::vector<std::shared_ptr<Port>>& ports) {
  word_.fetch_add(1);
  if (sleepers_.load() != 0) futex_wake_all(word_);
  std::size_t kept = 0;
  for (auto& listener : listeners_) {
    if (!for_end && !listener.for_deltas) {
      listeners_[kept++] = std::move(listener);
      continue;
    }
    listener.port->push(shared_from_this());
    ports.push_back(std::move(listener.port));
  }
  listeners_.resize(kept);
}

void Call::finish(Ending ending, std::vector<std::shared_ptr<Port>>& ports) {
  const std::lock_guard<std::mutex> lock(mutex_);
  if (done_.load(std::memory_order_relaxed)) return;
  ending_ = std::move(ending);
  done_.store(true, std::memory_order_release);
  announce(true, ports);
}

void Call::deliver(std::vector<Delta>& deltas, bool* over,
                   std::vector<std::shared_ptr<Port>>& ports) {
  const std::lock_guard<std::mutex> lock(mutex_);
  for (auto& delta : deltas) {
    delta_bytes_ += delta.text.size() + sizeof(Delta);
    deltas_.push_back(std::move(delta));
  }
  deltas.clear();
  if (delta_bytes_ > kHighWaterBytes && !paused_) *over = paused_ = true;
  announce(false, ports);
}

void Call::deliver_bytes(std::string_view bytes, bool* over,
                         std::vector<std::shared_ptr<Port>>& ports) {
  const std::lock_guard<std::mutex> lock(mutex_);
  if (deltas_.empty() || deltas_.back().text.size() + bytes.size() > kJoinedBytesMax) {
    deltas_.emplace_back();
  }
  deltas_.back().text.append(bytes);
  delta_bytes_ += bytes.size();
  if (delta_bytes_ > kHighWaterBytes && !paused_) *over = paused_ = true;
  announce(false, ports);
}

void Call::put_head(std::shared_ptr<const Head> head) {
  const std::lock_guard<std::mutex> lock(mutex_);
  head_ = std::move(head);
}

std::shared_ptr<const Head> Call::head() {
  const std::lock_guard<std::mutex> lock(mutex_);
  return head_;
}

bool Call::wait(std::int64_t timeout_ns, bool for_deltas) {
  const std::uint32_t seen = word_.load();
  const auto ready = [&] {
    if (done()) return true;
    if (!for_deltas) return false;
    const std::lock_guard<std::mutex> lock(mutex_);
    return !deltas_.empty();
  };
  if (ready()) return true;
  sleepers_.fetch_add(1);
  if (word_.load() == seen) futex_wait(word_, seen, timeout_ns);
  sleepers_.fetch_sub(1);
  return ready();
}

bool Call::attach(const std::shared_ptr<Port>& port, bool for_deltas) {
  if (done()) return true;  // without the lock, which a fork may have caught held
  const std::lock_guard<std::mutex> lock(mutex_);
  if (done_.load(std::memory_order_relaxed)) return true;
  if (for_deltas && !deltas_.empty()) return true;
  if (!port) return false;
  for (const auto& listener : listeners_) {
    if (listener.port == port && listener.for_deltas == for_deltas) return false;
  }
  listeners_.push_back({port, for_deltas});
  return false;
}

std::vector<Delta> Call::take(bool* resume) {
  const std::lock_guard<std::mutex> lock(mutex_);
  *resume = std::exchange(paused_, false);
  delta_bytes_ = 0;
  return std::exchange(deltas_, {});
}

}  // namespace sluiceway::engine
