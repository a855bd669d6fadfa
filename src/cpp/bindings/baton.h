// Blocked threads, woken one at a time.
//
// Model. Several threads wait for calls that the engine ends in one turn. Woken together they would
// queue for the GIL, and each hand-over of the GIL among sleepers costs several futex calls. So the
// engine wakes one; a thread that has the GIL back passes the baton on before it returns to Python,
// and the next one arrives while it works. A thread whose call has ended is woken at once when
// nobody holds the baton: nobody ever waits for a thread that is not on its way to the GIL.
//
// A thread that runs Python code, a signal's handler, is not on its way: the handler may wait for
// any other thread, or make calls of its own. So a waiter leaves before it looks for signals. Where
// its turn had not come it comes back afterwards; what is told to it meanwhile takes no baton.
//
// Threads: push() and flush() on the engine's thread, the rest in the waiting thread. A forked
// child starts anew: no thread waits there.
//
//   auto waiter = std::make_shared<BlockedThread>();
//   if (call.attach(waiter, false)) return;
//   do {
//     waiter->sleep(50'000'000);            // without the GIL
//     if (waiter->leave()) return;          // with it, from here on
//     ... signals ...
//   } while (waiter->come_back());
#pragma once

#include <atomic>
#include <cstdint>
#include <memory>

#include "engine/call.h"

namespace sluiceway::bindings {

class BlockedThread final : public engine::Port,
                            public std::enable_shared_from_this<BlockedThread> {
 public:
  void push(std::shared_ptr<engine::Call> call) override;
  void flush() override;

  // Sleeps until it is this thread's turn, at most `timeout_ns`.
  void sleep(std::int64_t timeout_ns);
  // Ends the wait and wakes the next thread, if it was this one's turn. False: nothing was told
  // yet.
  bool leave();
  // Waits on, after leave() was false. False: something was told meanwhile.
  bool come_back();

 private:
  enum State : std::uint32_t { kAsleep, kQueued, kAwake, kLeft, kToldLate };
  void wake();  // with the baton's mutex held
  std::atomic<std::uint32_t> state_{kAsleep};
  friend struct Baton;
};

// In the child of a fork.
void forget_blocked_threads();

}  // namespace sluiceway::bindings
