// Forks counted: see process.h.
#include "base/process.h"

#include <pthread.h>
#include <unistd.h>

#include <atomic>

namespace sluiceway {
namespace {

std::atomic<std::uint32_t> forks{0};

void count_fork() { forks.fetch_add(1, std::memory_order_relaxed); }

}  // namespace

std::uint32_t forks_behind() {
  static const bool counted = pthread_atfork(nullptr, nullptr, &count_fork) == 0;
  // No memory for a handler: the slow way tells processes apart, too.
  return counted ? forks.load(std::memory_order_relaxed) : static_cast<std::uint32_t>(::getpid());
}

}  // namespace sluiceway
