// Labelled points at which a test may stop the ledger: the hook usually kills the process.
//
// Model. Each step of a commit calls fault_point("label"). Without a hook that is one relaxed load
// and a branch. The labels are listed in kFaultLabels so that a test visits every one of them.
// Threads: set the hook before ledgers are opened; it is called on whatever thread passes the
// point.
//
//   set_fault_hook([](const char* label) { if (label == wanted) raise(SIGKILL); });
#pragma once

#include <array>
#include <atomic>
#include <functional>

namespace sluiceway::store {

inline constexpr std::array kFaultLabels = {
    "owner.entered",        "recover.before_commit", "recover.after_commit",
    "batch.before_lock",    "batch.begun",           "batch.finished",
    "batch.admitted",       "batch.reserved",        "batch.before_commit",
    "batch.after_commit",   "batch.unlocked",        "batch.before_verdicts",
    "batch.after_verdicts", "checkpoint.before",     "checkpoint.after",
    "scope.before_commit",  "scope.after_commit",    "close.before_leave",
    "close.after_leave"};

// Points that the plain worker of the tests does not pass: each has a test of its own.
inline constexpr std::array kOtherFaultLabels = {
    "book.before_commit", "book.after_commit",     "migrate.before_commit", "migrate.after_commit",
    "archive.copied",     "archive.before_commit", "archive.after_commit"};

// An empty function removes the hook. Not to be called while a ledger is open on another thread.
void set_fault_hook(std::function<void(const char* label)> hook);

namespace internal {
extern std::atomic<bool> fault_hook_set;
void call_fault_hook(const char* label);
}  // namespace internal

inline void fault_point(const char* label) {
  if (internal::fault_hook_set.load(std::memory_order_relaxed)) internal::call_fault_hook(label);
}

}  // namespace sluiceway::store
