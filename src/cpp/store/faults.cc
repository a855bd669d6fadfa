// The fault hook: see faults.h.
#include "store/faults.h"

#include <utility>

namespace sluiceway::store {
namespace {

std::function<void(const char*)>& hook_storage() {
  static auto* hook = new std::function<void(const char*)>;
  return *hook;
}

}  // namespace

namespace internal {

std::atomic<bool> fault_hook_set{false};

void call_fault_hook(const char* label) { hook_storage()(label); }

}  // namespace internal

void set_fault_hook(std::function<void(const char* label)> hook) {
  internal::fault_hook_set.store(false);
  hook_storage() = std::move(hook);
  internal::fault_hook_set.store(static_cast<bool>(hook_storage()));
}

}  // namespace sluiceway::store
